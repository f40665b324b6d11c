"""FuseMax against the rows of its artifact: latency, busy array and lanes, off-chip traffic, energy.

The rows are data of a public repository that is not part of this one; where they are not beside the checkout, the tests
that read them are skipped.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import accsim
from accsim.workload.ops import Attention

ROWS = Path(__file__).resolve().parents[3] / "shared" / "reference" / "fusemax_attention.csv"
# The artifact's machine is flat_cloud with half the buffer: 32 banks of 1024 rows of 4096 bits.
MACHINE = accsim.load_accelerator("flat_cloud", set={"memories.sg.capacity": "16 MiB"})
# Its energy table at 45 nm, pJ: an operation on 16 bits; a byte of the buffer (of a 512-byte row) and of main memory.
PRICES = {
    "mac.bf16": 17.16, "mac_exp.bf16": 17.16, "vector.multiply": 17.16, "vector.rescale": 17.16, "vector.add": 8.34,
    "vector.max": 0.03, "vector.divide": 36.3, "read.sg": 485 / 512, "write.sg": 451 / 512,
    "read.dram": 249.6 / 8, "write.dram": 249.6 / 8,
}  # fmt: skip


def published() -> list[dict[str, str]]:
    if not ROWS.is_file():
        pytest.skip(f"{ROWS.name} of FuseMax's artifact is not beside this checkout")
    with ROWS.open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return [row for row in rows if row["config"] == "fusemax"]


def simulate(row: dict[str, str], block_q: int | None) -> accsim.Report:
    batch, heads, seq, dim = (int(row[name]) for name in ("batch", "heads", "seq_len", "d_head"))
    op = Attention(batch=batch, heads=heads, q_len=seq, kv_len=seq, head_dim=dim)
    return accsim.simulate(op, MACHINE, dataflow=accsim.FuseMax(block_q))


def rows_that_stay(row: dict[str, str]) -> int:
    """Most tiles of 256 rows of Q, O, maximum and sum, in 2-byte words, that fit 16 MiB beside a block of K and of V.

    They divide the sequence, which is a power of two here, evenly.
    """
    dim = int(row["d_head"])
    tiles = (2**24 - 2 * 256 * dim * 2) // (256 * 2 * (2 * dim + 2))
    return min(int(row["seq_len"]), 256 << tiles.bit_length() - 1)


def test_the_published_rows() -> None:
    rows = published()
    assert len(rows) == 18
    for row in rows:
        report = simulate(row, rows_that_stay(row))
        # The published model takes the larger of each pair's times and hides all transfers; a head's first loads and
        # last stores, which come in a burst, are not hidden here.
        short = {1024: 0.05, 4096: 0.02}.get(int(row["seq_len"]), 0.002)
        assert 1 <= report.latency_s / float(row["latency_s"]) < 1 + short
        ratio = report.latency_s / float(row["latency_s"])
        assert report.utilization["matrix"] * ratio == pytest.approx(float(row["util_2d"]), rel=1e-6)
        assert report.utilization["vector"] * ratio == pytest.approx(float(row["util_1d"]), rel=1e-6)
        traffic = report.traffic_bytes["dram"]
        assert sum(traffic.values()) == pytest.approx(float(row["traffic_bytes"]), rel=1e-9)


def test_a_search_is_as_fast() -> None:
    for row in published():
        assert simulate(row, None).latency_s <= simulate(row, rows_that_stay(row)).latency_s


def test_counts_at_the_artifacts_prices_are_its_energy_without_registers() -> None:
    # Registers of the PEs and of the lanes, which it prices at 0.2 to 0.4 pJ an access, are not counted here.
    for row in published():
        actions = simulate(row, rows_that_stay(row)).actions
        energy_pj = sum(actions[action] * price for action, price in PRICES.items())
        assert 0.965 < energy_pj / float(row["energy_pJ"]) < 0.975

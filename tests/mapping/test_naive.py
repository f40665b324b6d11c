"""The paper's Naive: its work and traffic by hand, and its place among the dataflows."""

from __future__ import annotations

from math import ceil

import pytest

import accsim
from accsim.workload.ops import Attention


@pytest.mark.parametrize(("q", "keys", "dim"), [(128, 128, 64), (100, 70, 24), (32, 32, 32)])
def test_every_tile_is_loaded_anew(q: int, keys: int, dim: int) -> None:
    # flat_edge has 32 x 32 PEs. A product C = A B in tiles of 32 reads A for each column of tiles of C, and B for each
    # row of them; the softmax reads and writes all scores.
    op = Attention(batch=2, heads=3, q_len=q, kv_len=keys, head_dim=dim)
    report = accsim.simulate(op, "flat_edge", dataflow="naive")
    read = write = 0
    for m, n, k in ((q, keys, dim), (q, dim, keys)):
        read += m * k * ceil(n / 32) + k * n * ceil(m / 32)
        write += m * n
    assert report.actions["mac.bf16"] == op.macs
    assert report.traffic_bytes["dram"] == {"read": 6 * 2 * (read + q * keys), "write": 6 * 2 * (write + q * keys)}


@pytest.mark.parametrize("machine", ["flat_edge", "flat_cloud", "tpu_v4"])
@pytest.mark.parametrize("seq", [512, 4096])
def test_searching_is_faster_and_fusing_faster_still(machine: str, seq: int) -> None:
    # FLAT >= FLEX >= Naive in every bar of slides 19 and 20 of the authors' talk (ASPLOS 2023).
    op = Attention(batch=2, heads=12, q_len=seq, kv_len=seq, head_dim=64)
    naive, flex, flat = (accsim.simulate(op, machine, dataflow=name) for name in ("naive", "unfused", "flat"))
    assert flat.overall_utilization * 1.01 >= flex.overall_utilization > naive.overall_utilization


def test_a_single_head_is_dealt_to_all_cores() -> None:
    op = Attention(batch=1, heads=1, q_len=1024, kv_len=1024, head_dim=64)
    (mapping,) = accsim.Naive().candidates(op, accsim.load_accelerator("tpu_v4"), "latency")
    assert isinstance(mapping, accsim.Unfused)
    assert isinstance(mapping.logit, accsim.WeightStationary)
    assert (mapping.logit.split_m, mapping.logit.split_n) == (2, 1)
    assert accsim.Naive().steps(op, accsim.load_accelerator("tpu_v4"))[0].copies == pytest.approx(2)


def test_it_needs_an_array() -> None:
    with pytest.raises(accsim.MappingError, match="naive needs a systolic array, which h100_sxm does not have"):
        accsim.simulate(Attention(1, 1, 64, 64, 16), "h100_sxm", dataflow="naive")

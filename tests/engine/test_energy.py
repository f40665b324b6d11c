"""Energy against prices copied from the papers and counts worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import accsim
from accsim.config.energy import Range
from accsim.engine.energy import Energy, component, energy_of, price_list
from accsim.workload.ops import Gemm, Softmax

MAC_45NM_PJ = 1.1 + 0.9
"""fp16 multiply and fp32 add (Horowitz, ISSCC 2014, Figure 1.1.9)."""
DDR_PJ_PER_BYTE = 1300 / 8
"""64 bits of DDR3/4 (Jouppi et al., ISCA 2021, Table 2)."""


def sram_pj_per_byte(bank_bytes: float) -> float:
    """Horowitz's 20 pJ at 32 KiB and 100 pJ at 1 MiB for 64 bits, on a straight line in log-log."""
    slope = math.log(100 / 20) / math.log(2**20 / 2**15)
    return 20 / 8 * math.exp(slope * math.log(bank_bytes / 2**15))


def test_gemm_by_hand() -> None:
    # One tile on flat_edge, output stationary: A and B into sg once (and C once), A and B read once a fold, C once out
    # of sg. 64 x 96 x 48 on 32 x 32: A for each of 3 column folds, B for each of 2 row folds.
    m, n, k = 64, 96, 48
    rep = accsim.simulate(Gemm(m, n, k), "flat_edge", dataflow=accsim.OutputStationary(m, n, k, "mn", False, 1, 1))
    sg = sram_pj_per_byte(512 * 1024 / 16)
    assert sg == pytest.approx(20 / 8)
    into_sg = 2 * (m * k + k * n + m * n)
    out_of_sg = 2 * (3 * m * k + 2 * k * n + m * n)
    off_chip = 2 * (m * k + k * n + m * n)
    expected = {
        "mac": m * n * k * MAC_45NM_PJ * 1e-12,
        "sg": (into_sg + out_of_sg) * sg * 1e-12,
        "dram": off_chip * DDR_PJ_PER_BYTE * 1e-12,
        "idle": 0.0,
    }
    assert rep.energy_breakdown_j == pytest.approx(expected, rel=1e-12)
    assert rep.energy_j == pytest.approx(sum(expected.values()), rel=1e-12)


def test_softmax_by_hand() -> None:
    # max 0.1, add 0.9 (Horowitz, int32 and fp32 add); exp and divide 94.6 and 36.3 to FuseMax's MAC of 17.16, times the
    # fp32 MAC of 4.6. Scores go out of dram and back. In sg they are written by the load, read by three passes and
    # written by two (subtract and exp; divide), and read by the store.
    rep = accsim.simulate(Softmax(rows=100, cols=64), "flat_edge", dataflow="streamed")
    score_pj = 0.1 + 0.9 + (94.6 + 36.3) / 17.16 * 4.6
    assert rep.energy_breakdown_j["vector"] == pytest.approx(6400 * score_pj * 1e-12, rel=2e-3)
    assert rep.energy_breakdown_j["dram"] == pytest.approx(6400 * 4 * DDR_PJ_PER_BYTE * 1e-12, rel=1e-12)
    assert rep.energy_breakdown_j["sg"] == pytest.approx(6400 * 2 * (1 + 3 + 2 + 1) * 20 / 8 * 1e-12, rel=1e-12)


def test_a_large_memory_costs_more_a_byte() -> None:
    # systolic_128: one bank of 30 MiB, beyond Horowitz's largest: the line goes on.
    prices = price_list(accsim.load_accelerator("systolic_128"), "bf16")
    assert prices["read.sram"].nominal == pytest.approx(sram_pj_per_byte(30 * 2**20), rel=1e-12)
    assert prices["write.sram"] == prices["read.sram"]
    # flat_cloud: 16 banks of 2 MiB.
    prices = price_list(accsim.load_accelerator("flat_cloud"), "bf16")
    assert prices["read.sg"].nominal == pytest.approx(sram_pj_per_byte(2 * 2**20), rel=1e-12)


def test_hbm_prices() -> None:
    # Jouppi et al., ISCA 2021, Table 2: 250 to 450 pJ for 64 bits of HBM2; bf16 multiply 0.21, fp32 add 0.38 at 7 nm.
    prices = price_list(accsim.load_accelerator("tpu_v4"), "bfloat16")
    hbm = prices["read.hbm"]
    assert (hbm.low, hbm.nominal, hbm.high) == pytest.approx((250 / 8, 350 / 8, 450 / 8))
    assert prices["mac.bf16"].nominal == pytest.approx(0.21 + 0.38)
    assert prices["mac_padded.bf16"] == prices["mac.bf16"]


@pytest.mark.slow  # it searches mappings on every machine
def test_every_action_of_a_machine_has_a_price() -> None:
    for name in accsim.list_accelerators():
        for op in (Gemm(64, 64, 64), Softmax(8, 64), accsim.Attention(1, 2, 64, 64, 32, causal=True)):
            rep = accsim.simulate(op, name)
            prices = price_list(rep.accelerator, "bf16")
            assert {action for action in rep.actions if action not in prices} <= {"pe_steady_cycles", "pe_busy_cycles"}


def test_idle_power_over_the_whole_time() -> None:
    rep = accsim.simulate(Gemm(1000, 1000, 1000), "tpu_v4")
    assert rep.energy_breakdown_j["idle"] == pytest.approx(90 * rep.latency_s, rel=1e-12)
    assert rep.power_w == pytest.approx(rep.energy_j / rep.latency_s)
    assert rep.power_w > 90


def test_masked_work_costs_as_much_as_useful_work() -> None:
    op = accsim.Attention(1, 1, 64, 64, 32, causal=True)
    rep = accsim.simulate(op, "flat_edge", dataflow=accsim.Flash(64, 64, False))
    # One tile of 64 x 64 scores is worked on whole, twice.
    assert rep.energy_breakdown_j["mac"] == pytest.approx(2 * 64 * 64 * 32 * MAC_45NM_PJ * 1e-12, rel=1e-12)


PRICES = {"mac.bf16": Range(1, 2, 4, None), "vector.exp": Range(5, 10, 20, None), "read.sg": Range(0.5, 1, 1, None)}
counts = st.dictionaries(st.sampled_from([*PRICES, "pe_busy_cycles"]), st.integers(0, 10**9))


def test_energy_of_counts() -> None:
    energy = energy_of({"mac.bf16": 3, "vector.exp": 2, "read.sg": 10, "pe_busy_cycles": 99}, PRICES, 5.0, 2.0)
    assert energy.breakdown_j == pytest.approx({"mac": 6e-12, "vector": 20e-12, "sg": 10e-12, "idle": 10.0})
    assert energy.low_j - 10 == pytest.approx(18e-12, rel=1e-2)
    assert energy.high_j - 10 == pytest.approx(62e-12, rel=1e-2)
    assert isinstance(energy, Energy)
    assert energy.total_j == sum(energy.breakdown_j.values())


@given(first=counts, second=counts)
def test_energy_is_additive(first: dict[str, int], second: dict[str, int]) -> None:
    both = {name: first.get(name, 0) + second.get(name, 0) for name in {**first, **second}}
    a, b, ab = (energy_of(count, PRICES, 7.0, seconds) for count, seconds in ((first, 0.1), (second, 0.3), (both, 0.4)))
    assert ab.total_j == pytest.approx(a.total_j + b.total_j)
    assert ab.low_j == pytest.approx(a.low_j + b.low_j)
    assert ab.low_j <= ab.total_j * (1 + 1e-12)
    assert ab.total_j <= ab.high_j * (1 + 1e-12)


@pytest.mark.parametrize(
    ("action", "part"),
    [
        ("mac.bf16", "mac"),
        ("mac_padded.int8", "mac"),
        ("vector.exp", "vector"),
        ("read.hbm", "hbm"),
        ("write.sg", "sg"),
    ],
)
def test_component(action: str, part: str) -> None:
    assert component(action) == part

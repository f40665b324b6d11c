"""A run under a power cap, worked out by hand; what the report says of it."""

from __future__ import annotations

import json
import pickle

import pytest

import accsim
from accsim.mapping.vector import Streamed
from accsim.workload.ops import Softmax

ROWS, COLS = 100, 64
ELEMENTS = ROWS * COLS
DYNAMIC_J = ELEMENTS * (0.1 + 0.9 + 25.4 + 9.73 + 4 * 1300 / 8 + 2 * 7 * 20 / 8) * 1e-12
"""Softmax on flat_edge (test_energy.py): max, add, exp, divide; dram in and out; sg seven times. Horowitz's prices."""
FIXED_S = 2 * (2 * ELEMENTS / (50 * 2**30) + 100e-9)
"""One chunk: in and out at dram's rate, with its latency each time; independent of the clock."""
WORK_CYCLES = 4 * ELEMENTS / 32
"""Four operations an element on 32 lanes."""
CLOCKS = {"from": "100 MHz", "to": "900 MHz", "step": "50 MHz"}


def capped(cap: str | None, *, idle: str = "0 W", clocks: object = CLOCKS, **options: object) -> accsim.Report:
    changes = {"power.idle": idle} | ({"power.cap": cap} if cap else {}) | ({"power.clocks": clocks} if clocks else {})
    acc = accsim.load_accelerator("flat_edge", set=changes)
    return accsim.simulate(Softmax(rows=ROWS, cols=COLS), acc, dataflow=Streamed(ELEMENTS), **options)  # type: ignore[arg-type]


def test_the_run_is_what_the_hand_says() -> None:
    rep = capped(None)
    assert rep.latency_s == pytest.approx(FIXED_S + WORK_CYCLES / 940e6, rel=1e-5)
    assert rep.energy_j == pytest.approx(DYNAMIC_J, rel=1e-9)
    assert (rep.cap, rep.clock_hz) == (None, 940e6)


@pytest.mark.parametrize(
    ("cap", "idle", "clock_mhz"),
    [
        ("4 W", "0 W", 940),  # 3.02 W at the full clock
        ("3 W", "0 W", 900),  # 1.539 us, at most 928 MHz
        ("2.5 W", "0 W", 650),  # 1.847 us, at most 684 MHz
        ("2.5 W", "500 mW", 450),  # 2 W are left: 2.308 us, at most 490 MHz
        ("1 W", "0 W", 200),  # 4.617 us, at most 203 MHz
    ],
)
def test_the_largest_step_within_the_cap(cap: str, idle: str, clock_mhz: int) -> None:
    rep = capped(cap, idle=idle)
    left_w = float(cap.split()[0]) - (0.5 if idle == "500 mW" else 0.0)
    limit_hz = WORK_CYCLES / (DYNAMIC_J / left_w - FIXED_S)
    steps = [940e6, *(hz * 1e6 for hz in range(900, 99, -50))]
    assert rep.clock_hz == next(step for step in steps if step <= limit_hz) == clock_mhz * 1e6
    assert rep.latency_s == pytest.approx(FIXED_S + WORK_CYCLES / rep.clock_hz, rel=1e-5)
    assert rep.power_w == pytest.approx(DYNAMIC_J / rep.latency_s + (0.5 if idle == "500 mW" else 0.0), rel=1e-5)
    assert rep.cap is not None
    assert rep.power_w <= rep.cap.cap_w
    assert rep.cap.bound == (clock_mhz < 940)
    assert rep.cap.met


def test_no_clock_is_low_enough() -> None:
    rep = capped("500 mW")
    assert rep.cap is not None
    assert (rep.clock_hz, rep.cap.met, rep.cap.bound) == (100e6, False, True)
    assert str(rep.cap) == "WARNING: above the cap of 0.5 W even at the lowest clock, 100 MHz of 940 MHz"


def test_a_cap_without_clocks_is_compared_only() -> None:
    rep = capped("2.5 W", clocks=None)
    assert rep.cap is not None
    assert (rep.clock_hz, rep.cap.met) == (940e6, False)
    assert "no list of clocks" in str(rep.cap)


def test_off() -> None:
    rep = capped("2.5 W", power_cap=False)
    assert (rep.cap, rep.clock_hz) == (None, 940e6)
    assert rep.power_w > 3.0


def test_what_the_report_says() -> None:
    rep = capped("2.5 W")
    assert rep.cap is not None
    assert rep.machine.clock_hz == 940e6
    assert rep.cap.full_power_w == pytest.approx(capped(None).power_w)
    plain = json.loads(json.dumps(rep.to_dict()))
    assert plain["clock_hz"] == 650e6
    assert plain["machine"]["hash"] == rep.machine.hash
    full_w = rep.cap.full_power_w
    cap = {"cap_w": 2.5, "bound": True, "met": True, "full_clock_hz": 940e6, "full_clock_power_w": full_w}
    assert plain["power_cap"] == cap
    assert plain["ops"][0]["power_w"] == rep.ops[0].power_w == pytest.approx(rep.power_w)
    assert list(rep.to_frame()["power_w"]) == [rep.ops[0].power_w]
    assert plain["ops"][0]["latency_s"] == pytest.approx(rep.latency_s)
    assert capped(None).to_dict()["power_cap"] is None
    assert pickle.loads(pickle.dumps(rep)).to_dict() == rep.to_dict()


def test_power_of_each_op_and_of_all() -> None:
    rep = accsim.simulate("bert_base?seq=64", "tpu_v4")
    spent = [(row.count * row.energy.latency_s, row.power_w) for row in rep.ops]
    assert rep.latency_s == pytest.approx(sum(seconds for seconds, _ in spent))
    assert rep.power_w == pytest.approx(sum(seconds * watts for seconds, watts in spent) / rep.latency_s)
    assert len({watts for _, watts in spent}) > 1


def test_what_if_keeps_the_clock_and_searching_chooses_it_anew() -> None:
    rep = capped("2.5 W")
    kept = rep.what_if({"dram": 2.0})
    assert kept.clock_hz == 650e6
    assert kept.latency_s < rep.latency_s
    assert kept.cap is not None
    assert kept.cap.power_w == kept.power_w > 2.5
    assert not kept.cap.met
    anew = rep.what_if({"dram": 2.0}, search=True)
    assert anew.clock_hz < 650e6
    assert anew.power_w <= 2.5
    assert capped("2.5 W", power_cap=False).what_if({"dram": 2.0}, search=True).clock_hz == 940e6


def test_a_lower_clock_is_a_slower_run_in_a_difference() -> None:
    change = capped(None).diff(capped("2.5 W"))
    assert change.total_cycles > 0  # in cycles of the full clock
    assert change.speedup == pytest.approx(capped(None).latency_s / capped("2.5 W").latency_s)
    assert change.speedup < 1


def test_every_fidelity_has_it() -> None:
    tile, analytic = capped("2.5 W"), capped("2.5 W", fidelity="analytic")
    assert analytic.clock_hz <= tile.clock_hz
    assert analytic.power_w <= 2.5
    acc = accsim.load_accelerator("systolic_128", set={"power.cap": "2 W", "power.clocks": CLOCKS})
    cycle = accsim.simulate(accsim.Gemm(64, 64, 64), acc, fidelity="cycle")
    assert cycle.clock_hz < 1e9
    assert cycle.power_w <= 2

"""Ops that take longer than can be counted, against closed forms of their least time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

import accsim
from accsim.engine.program import MAX_PROGRAM_TICKS, MAX_STAGE_TICKS, TICKS_PER_CYCLE, Program, Stage
from accsim.mapping.limits import YEAR_S, least_seconds
from accsim.mapping.search import search

CLOCK_HZ = 940e6
LIMIT_S = 2**62 / 4096 / CLOCK_HZ


def machine(name: str, **rates: str) -> accsim.Accelerator:
    return accsim.load_accelerator(name, set={f"memories.dram.{key}": value for key, value in rates.items()})


@pytest.mark.parametrize(
    ("op", "shared", "seconds"),
    [
        # A, B and C of 2 bytes at 50 GiB/s; 4096^3 MACs on 1024 elements take longer.
        (accsim.Gemm(4096, 4096, 4096), True, 4096**3 / 1024 / CLOCK_HZ),
        (accsim.Gemm(4096, 1, 4096), True, 2 * (4096 * 4096 + 4096 + 4096) / (50 * 2**30)),
        (accsim.Elementwise(elements=10**9, function="add"), True, 3 * 2 * 10**9 / (50 * 2**30)),
        (accsim.Elementwise(elements=10**9, function="add"), False, 2 * 2 * 10**9 / (50 * 2**30)),
    ],
)
def test_least_seconds(op: Any, shared: bool, seconds: float) -> None:
    acc = accsim.load_accelerator("flat_edge", set={"memories.dram.shared_bandwidth": shared})
    assert least_seconds(op, acc) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize("objective", ["latency", "energy", "edp"])
def test_an_op_just_below_and_just_above_the_limit(objective: str) -> None:
    # Two reads of 2 bytes an element; writes stay as fast as they are.
    op = accsim.Elementwise(elements=10**6, function="add")
    size = 2 * 2 * 10**6
    below = machine("flat_edge", read_bandwidth=f"{size / (0.99 * LIMIT_S)!r} B/s")
    above = machine("flat_edge", read_bandwidth=f"{size / (1.01 * LIMIT_S)!r} B/s")
    assert accsim.simulate(op, below, objective=objective).latency_s == pytest.approx(0.99 * LIMIT_S, rel=1e-6)
    with pytest.raises(
        accsim.TooLongError, match=r"'elementwise' would take at least 14 days .* allowed are 2\^62 ticks, .* 13.9 days"
    ):
        accsim.simulate(op, above, objective=objective)


def test_a_tile_that_is_too_long_leaves_the_smaller_ones() -> None:
    # A is 14.7 MB; at 18 B/s it takes 9.4 days, more than the 3.5 days of one stage, in a whole of 9.5 days.
    op = accsim.Gemm(7168, 64, 1024)
    acc = machine("flat_cloud", read_bandwidth="18 B/s")
    with pytest.raises(accsim.TooLongError, match=r"2\^60 ticks for a tile, .* are 3.47 days") as caught:
        accsim.simulate(op, acc, dataflow=accsim.OutputStationary(7168, 64, 1024))
    assert caught.value.most_ticks == MAX_STAGE_TICKS
    least_s = 2 * (7168 * 1024 + 1024 * 64) / 18
    assert accsim.simulate(op, acc).latency_s == pytest.approx(least_s, rel=1e-3)


def test_bytes_that_overflow_ticks_are_too_long() -> None:
    # 10^12 times the largest tick count there is: no wrap to a small or negative time.
    with pytest.raises(accsim.TooLongError, match="years"):
        accsim.simulate(accsim.Gemm(100, 100, 100), machine("flat_edge", read_bandwidth="1e-20 B/s"))


def test_years() -> None:
    op = accsim.Gemm(10**6, 10**6, 10**6)
    slow = machine("flat_edge", read_bandwidth="1 B/s")
    with pytest.raises(accsim.TooLongError, match=r"at least 1.27e\+05 years on flat_edge"):
        accsim.simulate(op, slow)
    assert f"{2 * 2 * 10**12 / YEAR_S:.3g}" == "1.27e+05"


@dataclass(frozen=True)
class Waiting(accsim.Dataflow):
    """One stage that takes 2**60 ticks ``times`` over; without a number 3 and 5 times are tried."""

    kinds = ("gemm",)
    times: int = 0

    def candidates(self, *_: Any) -> list[Waiting]:
        return [self] if self.times else [Waiting(5), Waiting(3)]

    def steps(self, *_: Any) -> tuple[accsim.Step, ...]:
        return (accsim.Step(self.program()),)

    def program(self) -> Program:
        p = accsim.ProgramBuilder("waiting")
        p.level("i", self.times)
        p.resource("matrix")
        p.stage(Stage("wait", "matrix", 2**60))
        return p.build()


def test_candidates_that_are_too_long_are_left_out() -> None:
    op, acc = accsim.Gemm(1, 1, 1), accsim.load_accelerator("flat_edge")
    found = search(Waiting(), op, acc)
    assert (found.mapping, found.points, found.feasible) == (Waiting(3), 2, 1)
    assert found.cost == 3 * 2**60 / TICKS_PER_CYCLE / CLOCK_HZ
    with pytest.raises(accsim.TooLongError, match=r"'gemm' would take more than 13.9 days") as caught:
        search(Waiting(5), op, acc)
    assert caught.value.most_ticks == MAX_PROGRAM_TICKS
    assert isinstance(caught.value, accsim.InputError)

"""Stacks that go through legs, held against the closed form of a flow shop of equal jobs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accsim.system.halves import Leg, pipelined

TIMES = st.floats(0.0, 1e-3)
TICK = 1e-9 / 4096


def legs(*times: float, units: str = "abc", latency: float = 0.0) -> tuple[Leg, ...]:
    return tuple(
        Leg(f"leg {unit} {i}", unit, time, latency, {unit: time}, {f"{unit}/inside": 1.0})
        for i, (unit, time) in enumerate(zip(units, times, strict=False))
    )


@given(TIMES, TIMES, TIMES, st.integers(1, 40))
def test_legs_on_units_of_their_own_are_a_flow_shop(a: float, b: float, c: float, stacks: int) -> None:
    # Equal jobs on machines in a row: each once, and the slowest for all the others (Johnson, 1954).
    each = [time / stacks for time in (a, b, c)]
    run = pipelined(legs(a, b, c), stacks)
    assert run.time_s == pytest.approx(sum(each) + (stacks - 1) * max(each), abs=3 * (stacks + 2) * TICK)


@given(TIMES, TIMES, TIMES, st.integers(1, 40))
def test_a_unit_with_two_legs_never_works_faster_than_one_after_the_other(
    a: float, b: float, c: float, stacks: int
) -> None:
    run = pipelined(legs(a, b, c, units="aba"), stacks)
    slack = 3 * (stacks + 2) * TICK
    assert max(a + c, b) - slack <= run.time_s <= a + b + c + slack
    assert sum(run.path_s.values()) == pytest.approx(run.time_s)


def test_time_of_a_unit_is_on_the_account_of_what_bounds_its_legs() -> None:
    run = pipelined(legs(3e-3, 1e-3, 1e-3, units="aba"), 1000)
    assert run.path_s["a/inside"] == pytest.approx(4e-3, rel=1e-2)


def test_latency_is_paid_once_by_stacks_that_follow_each_other() -> None:
    slow, quick = (pipelined(legs(1e-3, 1e-5, units="ab", latency=late), 100) for late in (1e-6, 0.0))
    assert slow.time_s - quick.time_s == pytest.approx(2e-6, rel=1e-3)

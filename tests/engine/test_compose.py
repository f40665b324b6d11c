"""Composition: programs one after the other, and several at once at max-min fair rates, by closed forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accsim.engine.builder import ProgramBuilder
from accsim.engine.compose import Alone, Part, at_once, in_sequence
from accsim.engine.counters import Counters, scale_path
from accsim.engine.program import After, Hold, Stage
from accsim.engine.run import run_program


def pipeline(steps: int, load: int, compute: int, servers: int = 1) -> Counters:
    """Counters of a load and compute over two slots; the compute units are a pool if there are several."""
    b = ProgramBuilder("pipeline")
    b.level("i", steps)
    b.resource("dma")
    b.resource("mxu", servers)
    b.buffer("tile", 2)
    b.stage(Stage("load", "dma", load, acquires=(Hold("tile"),), actions={"bytes": 3.0}))
    b.stage(Stage("compute", "mxu", compute, after=(After("load"),), releases=(Hold("tile"),), actions={"macs": 2.0}))
    return run_program(b.build())


# One after the other


def test_in_sequence_adds() -> None:
    a, b = pipeline(10, 5, 7), pipeline(4, 9, 2)
    assert (a.total_ticks, b.total_ticks) == (5 + 10 * 7, 4 * 9 + 2)
    totals = in_sequence([Part(a, times=3, copies=2.5, overhead_ticks=100), Part(b)])
    assert totals.total_ticks == 3 * (75 + 100) + 38
    assert totals.busy == {"dma": 3 * 50 + 36, "mxu": 3 * 70 + 8}
    assert totals.available == {"dma": totals.total_ticks, "mxu": totals.total_ticks}
    # Times are of one copy, actions of all.
    assert totals.actions == {"bytes": 3.0 * (10 * 3 * 2.5 + 4), "macs": 2.0 * (10 * 3 * 2.5 + 4)}
    assert totals.critical_path["overhead/op"] == 300
    assert sum(totals.critical_path.values()) == totals.total_ticks
    assert totals.stalls["mxu"] == {"data:load": 3 * 5 + 9 + 3 * 7}


def test_in_sequence_counts_the_servers_of_a_pool() -> None:
    totals = in_sequence([Part(pipeline(10, 5, 7, servers=2))])
    assert totals.available == {"dma": totals.total_ticks, "mxu": 2 * totals.total_ticks}


def test_nothing_in_sequence() -> None:
    totals = in_sequence([])
    assert (totals.total_ticks, totals.busy, totals.critical_path) == (0, {}, {})


def test_one_copy_that_stands_for_all_counts_for_each_server_of_a_pool() -> None:
    # Half of the time on both of two servers, then three quarters of the time on one that stands for both.
    pool = pipeline(10, 1, 7, servers=2)
    one = pipeline(3, 1, 1)
    totals = in_sequence([Part(pool), Part(one, times=5)])
    assert totals.servers == {"dma": 1, "mxu": 2}
    assert totals.available["mxu"] == 2 * (pool.total_ticks + 5 * one.total_ticks)
    assert totals.busy["mxu"] == 70 + 2 * 5 * 3
    assert sum(totals.stalls["mxu"].values()) == sum(pool.stalls["mxu"].values()) + 2 * 5 * 1


def test_an_inner_path_is_scaled_exactly() -> None:
    path = {"mxu/end": 7, "hbm/data": 4}
    # 110 ticks in proportion 7 to 4; of 10 ticks, 6.4 and 3.6 are cut, and the rest goes to the largest.
    assert dict(scale_path(path, 110)) == {"mxu/end": 70, "hbm/data": 40}
    assert dict(scale_path(path, 10)) == {"mxu/end": 7, "hbm/data": 3}
    assert scale_path({}, 0) == []


# At once


def test_disjoint_programs_take_their_own_times() -> None:
    assert at_once([Alone(5, {"mxu": 5}), Alone(8, {"ici": 2}), Alone(3, {})]) == (5, 8, 3)


def test_bound_by_the_same_resource_they_take_the_sum() -> None:
    # Equal rates of a third, then of a half, then all: 3 x 10, then 2 x 10 more, then 10 more.
    programs = [Alone(10, {"hbm": 10}), Alone(20, {"hbm": 20}), Alone(30, {"hbm": 30})]
    assert at_once(programs) == pytest.approx((30, 50, 60))


def test_one_at_a_rate_below_its_fair_share_leaves_the_rest_to_the_other() -> None:
    # The first needs all of ici, as does the second; the third shares hbm with the second only, which at half speed
    # takes a quarter of it. The third needs 0.6 and goes at full speed.
    programs = [
        Alone(100, {"ici": 100}),
        Alone(100, {"ici": 100, "hbm": 50}),
        Alone(40, {"hbm": 24}),
    ]
    assert at_once(programs) == pytest.approx((200, 200, 40))


def test_rates_are_solved_again_when_one_ends() -> None:
    # Together 0.5 + 0.75 > 1 of hbm: both at 0.8. The first ends at 100 / 0.8; then 100 of the other's 200 are left.
    programs = [Alone(100, {"hbm": 50}), Alone(200, {"hbm": 150})]
    assert at_once(programs) == pytest.approx((125, 225))


def test_nothing_to_do_ends_at_once() -> None:
    assert at_once([]) == ()
    assert at_once([Alone(0, {}), Alone(7, {"mxu": 7})]) == (0, 7)


@st.composite
def several(draw: st.DrawFn) -> list[Alone]:
    """One to five programs on up to three resources, none busier than its time."""
    found = []
    for _ in range(draw(st.integers(1, 5))):
        time = draw(st.integers(1, 1000))
        names = draw(st.lists(st.sampled_from(("hbm", "mxu", "ici")), unique=True))
        found.append(Alone(time, {name: draw(st.integers(0, time)) for name in names}))
    return found


@given(programs=several())
def test_at_once_lies_between_the_longest_and_the_sum(programs: list[Alone]) -> None:
    ends = at_once(programs)
    most = max(ends)
    assert most <= sum(p.time for p in programs) * (1 + 1e-9)
    for program, end in zip(programs, ends, strict=True):
        assert end >= program.time * (1 - 1e-9)
    # No resource does more than its time allows.
    for name in ("hbm", "mxu", "ici"):
        assert sum(p.busy.get(name, 0) for p in programs) <= most * (1 + 1e-9)


@given(programs=several())
def test_order_does_not_matter(programs: list[Alone]) -> None:
    assert at_once(programs[::-1])[::-1] == pytest.approx(at_once(programs), rel=1e-9)

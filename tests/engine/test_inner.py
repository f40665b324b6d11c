"""Stages that stand for inner programs: their counters against explicit copies, hand counts and a naive pool."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accsim.engine.analytic import bound_program
from accsim.engine.builder import ProgramBuilder
from accsim.engine.counters import Occupancy
from accsim.engine.inner import compute_ticks, inner_events, programs_within, stand_for
from accsim.engine.program import After, Hold, Program, Span, Stage
from accsim.engine.run import run_program
from accsim.errors import MappingError
from tests.reference.engine_naive import simulate


def tile(steps: int, hbm: int, compute: int, copy: str = "") -> Program:
    """A load over a memory channel and work on it, two slots."""
    b = ProgramBuilder(f"tile of {steps}")
    b.level("i", steps)
    for name in ("hbm", f"dma{copy}", f"mxu{copy}"):
        b.resource(name)
    b.buffer("ring", 2)
    b.stage(Stage("load", f"dma{copy}", 0, rates=(("hbm", hbm),), acquires=(Hold("ring"),), actions={"bytes": 3.0}))
    b.stage(Stage("work", f"mxu{copy}", compute, after=(After("load"),), releases=(Hold("ring"),)))
    return b.build()


def pool(servers: int, tiles: list[tuple[Program, int, dict[str, int]]]) -> Program:
    """Tiles in launch order, so many of each: program, how many, what it shares."""
    b = ProgramBuilder("pool")
    b.level("tile", sum(count for _, count, _ in tiles))
    b.resource("sm", servers)
    done = 0
    for number, (program, count, shares) in enumerate(tiles):
        b.stage(stand_for(Stage(f"tile{number}", "sm", 0, spans={"tile": Span(done, done + count)}), program, shares))
        done += count
    return b.build()


def wave(active: int) -> Program:
    """Ten steps of one of so many active copies; each has an equal share of the memory channel."""
    return tile(10, 30 * active, 100)


def test_a_pool_with_a_tail_wave() -> None:
    # Four servers, ten tiles: two waves of four, and two tiles for which the channel is shared by two. Bound by the
    # channel's share of 120 a step, then by work of 100.
    program = pool(4, [(wave(4), 8, {"hbm": 4}), (wave(2), 2, {"hbm": 2})])
    full, tail = 10 * 120 + 100, 60 + 10 * 100
    done = run_program(program)
    assert done == run_program(program, jump=False)
    assert done.total_ticks == 2 * full + tail
    assert done.servers == {"sm": 4, "hbm": 1, "dma": 4, "mxu": 4}
    # The channel works 30 a step of each tile; the arrays 100 a step.
    assert done.busy == {"sm": 8 * full + 2 * tail, "hbm": 10 * 10 * 30, "dma": 0, "mxu": 10 * 10 * 100}
    # Two servers have no tile in the tail; they, and what is in them, are done. The channel's last load ends before.
    assert done.done["sm"] == done.done["mxu"] == 2 * tail
    # An array waits for its first load, and for the loads behind it: 120, and 20 a step; in the tail 60 and nothing.
    assert done.stalls["mxu"] == {"data:load": 8 * (120 + 9 * 20) + 2 * 60}
    # A DMA is held by the channel in all of its time. In the tail its third load and those behind it wait for a slot.
    assert done.stalls["dma"] == {"held:hbm": 10 * (8 * 120 + 2 * 60), "slot:ring": 2 * 8 * 40}
    assert done.actions == {"bytes": 10 * 10 * 3.0}
    # A slot is held from the start of its load to the end of the work.
    assert done.occupancy["sm.ring"].reserved == done.occupancy["sm.ring"].peak == 2
    assert done.occupancy["sm.ring"].copies == 4
    path = {"hbm/resource": 2 * 9 * 120, "hbm/data": 2 * 120 + 60, "mxu/end": 3 * 100, "mxu/resource": 9 * 100}
    assert done.critical_path == path
    assert compute_ticks(program, done, "mxu") == 10 * 10 * 100 / 4


@pytest.mark.parametrize(("count", "steps", "hbm", "compute"), [(5, 12, 7, 50), (3, 4, 40, 9), (2, 1, 5, 5)])
def test_a_pool_is_its_servers_written_out(count: int, steps: int, hbm: int, compute: int) -> None:
    # One tile on each server, nothing shared: as many copies side by side.
    b = ProgramBuilder("copies")
    b.level("i", steps)
    for c in range(count):
        for name in (f"hbm{c}", f"dma{c}", f"mxu{c}"):
            b.resource(name)
        b.buffer(f"ring{c}", 2)
        b.stage(Stage(f"load{c}", f"dma{c}", 0, rates=((f"hbm{c}", hbm),), acquires=(Hold(f"ring{c}"),)))
        b.stage(Stage(f"work{c}", f"mxu{c}", compute, after=(After(f"load{c}"),), releases=(Hold(f"ring{c}"),)))
    copies = run_program(b.build())
    done = run_program(pool(count, [(tile(steps, hbm, compute), count, {})]))
    assert done.total_ticks == copies.total_ticks
    for name in ("hbm", "dma", "mxu"):
        each = [f"{name}{c}" for c in range(count)]
        assert done.busy[name] == sum(copies.busy[one] for one in each)
        assert done.done[name] == sum(copies.done[one] for one in each)
        assert sum(done.stalls[name].values()) == sum(sum(copies.stalls[one].values()) for one in each)
    rings = [copies.occupancy[f"ring{c}"] for c in range(count)]
    assert done.occupancy["sm.ring"] == Occupancy(sum(r.slot_ticks for r in rings), rings[0].peak, 2, count)


def test_a_shared_resource_is_as_busy_as_with_explicit_copies() -> None:
    # Four copies on one channel of 7 a load; or four servers that have a quarter of it each.
    b = ProgramBuilder("copies")
    b.level("i", 40)
    b.resource("hbm")
    for c in range(4):
        b.resource(f"dma{c}")
        b.resource(f"mxu{c}")
        b.buffer(f"ring{c}", 2)
        b.stage(Stage(f"load{c}", f"dma{c}", 0, rates=(("hbm", 7),), acquires=(Hold(f"ring{c}"),)))
        b.stage(Stage(f"work{c}", f"mxu{c}", 50, after=(After(f"load{c}"),), releases=(Hold(f"ring{c}"),)))
    explicit = run_program(b.build())
    done = run_program(pool(4, [(tile(40, 4 * 7, 50), 4, {"hbm": 4})]))
    assert done.total_ticks == explicit.total_ticks
    assert done.busy["hbm"] == explicit.busy["hbm"] == 40 * 4 * 7


def test_inner_programs_of_inner_programs() -> None:
    # Two chips of three cores each; every chip has its own channel, every core its own array.
    chip = pool(3, [(tile(5, 3 * 4, 20), 6, {"hbm": 3})])
    b = ProgramBuilder("chips")
    b.level("job", 4)
    b.resource("chip", 2)
    b.stage(stand_for(Stage("job", "chip", 0), chip))
    done = run_program(b.build())
    inside = run_program(chip)
    assert done.total_ticks == 2 * inside.total_ticks
    assert done.servers == {"chip": 2, "sm": 6, "hbm": 2, "dma": 6, "mxu": 6}
    assert done.busy["mxu"] == 4 * 6 * 5 * 20
    assert done.busy["hbm"] == 4 * 6 * 5 * 4
    assert done.occupancy["chip.sm.ring"].copies == 6
    assert done.critical_path == {key: 2 * ticks for key, ticks in inside.critical_path.items()}
    assert [p.name for p in programs_within(b.build())] == ["chips", "pool", "tile of 5"]


def test_too_large_a_share_is_refused() -> None:
    # Four servers at once with half of the channel each, which bounds them.
    with pytest.raises(MappingError, match=r"too large a share of a resource\n.*'hbm' lacks"):
        run_program(pool(4, [(tile(10, 60, 1), 8, {"hbm": 2})]))


def test_a_stage_lasts_as_long_as_what_it_stands_for() -> None:
    b = ProgramBuilder("pool")
    b.level("tile", 3)
    b.resource("sm", 2)
    b.stage(replace(stand_for(Stage("tile", "sm", 0), tile(4, 10, 10)), ticks=7))
    with pytest.raises(MappingError, match="ticks 7; the inner program 'tile of 4' takes 50"):
        b.build()


def test_events_inside_the_first_server() -> None:
    # Two servers, three tiles: the first server has the first and, being free first, the third.
    program = pool(2, [(tile(2, 10, 5), 1, {}), (tile(3, 10, 5), 1, {}), (tile(1, 10, 5), 1, {})])
    done = run_program(program, most_events=100)
    inside = inner_events(program, done.events)
    loads = [(event.stage, event.start, event.end) for event in inside if event.stage.endswith("/load")]
    assert loads == [("tile0/load", 0, 10), ("tile0/load", 10, 20), ("tile2/load", 25, 35)]
    assert {event.stage for event in inside} == {"tile0/load", "tile0/work", "tile2/load", "tile2/work"}


tiles = st.tuples(st.integers(1, 6), st.integers(0, 30), st.integers(0, 30))


@given(st.integers(1, 5), st.lists(st.tuples(tiles, st.integers(1, 6)), min_size=1, max_size=5), st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_pool_is_naive_list_scheduling(
    servers: int, drawn: list[tuple[tuple[int, int, int], int]], shared: bool
) -> None:
    # Every tile on the server that is free first, in launch order; inside it is what the twin says of it alone.
    shares = {"hbm": servers} if shared else {}
    program = pool(servers, [(tile(*numbers), count, shares) for numbers, count in drawn])
    done = run_program(program)
    free = [0] * servers
    busy: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for numbers, count in drawn:
        alone = simulate(tile(*numbers))
        for _ in range(count):
            heapq.heapreplace(free, free[0] + alone.total_ticks)
        for name in ("hbm", "dma", "mxu"):
            busy[name] += count * alone.busy[name]
            lost[name] += count * sum(alone.stalls[name].values())
    assert done.total_ticks == max(free)
    assert done.busy["sm"] == sum(free)
    private = ("dma", "mxu") if shared else ("hbm", "dma", "mxu")
    for name in private:
        assert (done.servers[name], done.busy[name]) == (servers, busy[name])
        assert sum(done.stalls[name].values()) == lost[name]
    if shared:
        assert (done.servers["hbm"], done.busy["hbm"]) == (1, busy["hbm"] // servers)
    for name, ticks in done.busy.items():
        assert done.done[name] >= 0
        assert ticks + sum(done.stalls[name].values()) + done.done[name] == done.total_ticks * done.servers[name]
    assert sum(done.critical_path.values()) == done.total_ticks
    assert not any(key.startswith("sm/") for key in done.critical_path)
    bound = bound_program(program)
    assert bound.total_ticks <= done.total_ticks
    assert sum(bound.critical_path.values()) == bound.total_ticks
    assert bound.busy == done.busy

"""Tiny programs with every time worked out by hand, on the naive twin and on the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from accsim.engine.builder import ProgramBuilder
from accsim.engine.program import START, After, Hold, Program, Span, Stage, vary
from accsim.engine.run import run_program
from accsim.errors import MappingError
from tests.reference.engine_naive import simulate
from tests.reference.order_naive import issue

Run = Callable[[Program], Any]
both = pytest.mark.parametrize("run", [simulate, run_program])


def pipeline(slots: int, load: int, latency: int, compute: int) -> Program:
    """Three tiles: a load fills a buffer that a compute stage empties."""
    b = ProgramBuilder("pipeline")
    b.level("i", 3)
    b.resource("dma")
    b.resource("mxu")
    b.buffer("tile", slots)
    b.stage(Stage("load", "dma", load, latency=latency, acquires=(Hold("tile"),)))
    b.stage(Stage("compute", "mxu", compute, after=(After("load"),), releases=(Hold("tile"),)))
    return b.build()


@both
def test_shift(run: Run) -> None:
    # Two slots: compute gets shift 1 by default. Issue: load0 | load1 compute0 | load2 compute1 | compute2 (virtual).
    # load0 0-10, load1 10-20, compute0 10-17, load2 20-30 (slot free since 17), compute1 20-27, compute2 30-37.
    program = pipeline(slots=2, load=10, latency=0, compute=7)
    assert program.stage("compute").shift == 1
    assert [(s.name, *i) for s, i in issue(program)] == [
        ("load", 0),
        ("load", 1),
        ("compute", 0),
        ("load", 2),
        ("compute", 1),
        ("compute", 2),
    ]
    r = run(program)
    assert r.total_ticks == 37
    assert r.busy == {"dma": 30, "mxu": 21}
    assert r.stalls == {"dma": {}, "mxu": {"data:load": 10 + 3 + 3}}
    assert r.done == {"dma": 7, "mxu": 0}
    # Held 0-17, 10-27, 20-37; while the second is taken the first is still held.
    assert (r.occupancy["tile"].slot_ticks, r.occupancy["tile"].peak, r.occupancy["tile"].reserved) == (51, 2, 2)
    assert r.fires == {"load": 3, "compute": 3}
    assert r.critical_path == {"mxu/end": 7, "dma/data": 10, "dma/resource": 20}


@both
def test_slots(run: Run) -> None:
    # One slot: no shift, each load waits for the compute before it.
    # load 0-4 (result at 7), compute 7-12, load 12-16 (19), compute 19-24, load 24-28 (31), compute 31-36.
    r = run(pipeline(slots=1, load=4, latency=3, compute=5))
    assert r.total_ticks == 36
    assert r.stalls == {"dma": {"slot:tile": 8 + 8}, "mxu": {"data:load": 7 + 7 + 7}}
    assert r.done == {"dma": 8, "mxu": 0}
    assert (r.occupancy["tile"].slot_ticks, r.occupancy["tile"].peak) == (36, 1)
    assert r.critical_path == {"mxu/end": 5, "dma/data": 12, "dma/latency": 9, "mxu/slot": 10}


@both
def test_rate(run: Run) -> None:
    # mul holds mxu (own work 4) as long as the port needs (6); copy holds dma (2) as long as the port needs (3).
    # mul 0-6, copy 6-9, mul 9-15, copy 15-18, mul 18-24, copy 24-27: the port never rests.
    b = ProgramBuilder("rate")
    b.level("i", 3)
    for name in ("mxu", "dma", "port"):
        b.resource(name)
    b.stage(Stage("mul", "mxu", 4, rates=(("port", 6),)))
    b.stage(Stage("copy", "dma", 2, rates=(("port", 3),)))
    r = run(b.build())
    assert r.total_ticks == 27
    assert r.busy == {"mxu": 12, "dma": 6, "port": 27}
    assert r.stalls == {
        "mxu": {"held:port": 2 * 3, "resource:port": 3 + 3},
        "dma": {"held:port": 1 * 3, "resource:port": 6 + 6 + 6},
        "port": {},
    }
    assert r.done == {"mxu": 3, "dma": 0, "port": 0}
    assert r.critical_path == {"port/end": 3, "port/resource": 24}


@both
def test_unit_that_is_also_a_rate(run: Run) -> None:
    # mul0 holds mxu 0-9 and port 0-4; copy0 port 4-9; mul1 mxu 9-18 (tie: own unit), port 9-13; copy1 port 13-18.
    # Back from copy1 (tie, issued last): it waited for the 4 ticks that mul1 held the port; mul1 for the 9 of mul0.
    b = ProgramBuilder("unit and rate")
    b.level("i", 2)
    b.resource("mxu")
    b.resource("port")
    b.stage(Stage("mul", "mxu", 9, rates=(("port", 4),)))
    b.stage(Stage("copy", "port", 5))
    r = run(b.build())
    assert r.total_ticks == 18
    assert r.busy == {"mxu": 18, "port": 18}
    assert r.stalls == {"mxu": {}, "port": {}}
    assert r.done == {"mxu": 0, "port": 0}
    assert r.critical_path == {"port/end": 5, "port/resource": 4, "mxu/resource": 9}


@both
def test_pool(run: Run) -> None:
    # Two servers, tiles of 10, 3, 4, 1, 8: first server 0-10; second 0-3, 3-7, 7-8, 8-16.
    b = ProgramBuilder("pool")
    b.level("tile", 5, runs=(1, 1, 1, 1, 1))
    b.resource("sm", servers=2)
    b.stage(Stage("work", "sm", vary("tile", [10, 3, 4, 1, 8])))
    r = run(b.build())
    assert r.total_ticks == 16
    assert r.busy == {"sm": 26}
    assert r.stalls == {"sm": {}}
    assert r.done == {"sm": 6}
    assert r.critical_path == {"sm/end": 8, "sm/resource": 8}


@both
def test_pool_order(run: Run) -> None:
    # load 0-5; x 5-7 on the first server; y could start at 0 on the second, but not before x: 5-8.
    b = ProgramBuilder("pool order")
    b.resource("dma")
    b.resource("sm", servers=2)
    b.stage(Stage("load", "dma", 5))
    b.stage(Stage("x", "sm", 2, after=(After("load"),)))
    b.stage(Stage("y", "sm", 3))
    r = run(b.build())
    assert r.total_ticks == 8
    assert r.stalls == {"dma": {}, "sm": {"data:load": 5, "order": 5}}
    assert r.done == {"dma": 3, "sm": 1}
    assert r.critical_path == {"sm/end": 3, "dma/data": 5}


def flat(slots: int, shift: int) -> Program:
    """FLAT in small: per row two Logit steps, softmax, two Attend steps; sibling loops are ranges of one level."""
    b = ProgramBuilder("flat")
    b.level("row", 2)
    b.level("k", 4)
    b.resource("mxu")
    b.resource("vpu")
    b.buffer("scores", slots)
    b.stage(Stage("logit", "mxu", 4, spans={"k": Span(0, 2)}, acquires=(Hold("scores", first=("k",)),)))
    b.stage(Stage("softmax", "vpu", 6, spans={"k": Span(1, 2)}, after=(After("logit"),)))
    b.stage(
        Stage(
            "attend",
            "mxu",
            3,
            spans={"k": Span(2, 4)},
            shift=shift,
            shift_level="row",
            after=(After("softmax"),),
            releases=(Hold("scores", last=("k",)),),
        )
    )
    return b.build()


@both
def test_sibling_loops(run: Run) -> None:
    # A row in order: logit 0-4, 4-8, softmax 8-14, attend 14-17, 17-20; the next row 20 later (its slot is free at 20).
    r = run(flat(slots=1, shift=0))
    assert r.total_ticks == 40
    assert r.stalls == {"mxu": {"data:softmax": 12}, "vpu": {"data:logit": 8 + 14}}
    assert r.done == {"mxu": 0, "vpu": 6}
    assert (r.occupancy["scores"].slot_ticks, r.occupancy["scores"].peak) == (40, 1)
    assert r.critical_path == {"mxu/end": 3, "mxu/resource": 4 + 3 + 3 + 4 + 3, "vpu/data": 12, "mxu/data": 8}


@both
def test_sibling_loops_one_row_behind(run: Run) -> None:
    # Logit of both rows 0-4, 4-8, 8-12, 12-16; softmax 8-14, 16-22; attend 16-19, 19-22, then 22-25, 25-28.
    program = flat(slots=2, shift=1)
    assert [(s.name, *i) for s, i in issue(program)][3:] == [
        ("logit", 1, 0),
        ("logit", 1, 1),
        ("softmax", 1, 1),
        ("attend", 0, 2),
        ("attend", 0, 3),
        ("attend", 1, 2),
        ("attend", 1, 3),
    ]
    r = run(program)
    assert r.total_ticks == 28
    assert r.stalls == {"mxu": {}, "vpu": {"data:logit": 8 + 2}}
    assert r.done == {"mxu": 0, "vpu": 6}
    assert (r.occupancy["scores"].slot_ticks, r.occupancy["scores"].peak) == (22 + 20, 2)
    assert r.critical_path == {"mxu/end": 3, "mxu/resource": 25}


def accumulate(carried: bool) -> Program:
    """Two times two steps that each wait for the one before."""
    b = ProgramBuilder("accumulate")
    b.level("o", 2)
    b.level("i", 2)
    b.resource("vpu")
    b.stage(Stage("acc", "vpu", 2, latency=5, after=(After("acc", lag=1, carried=carried),)))
    return b.build()


@both
def test_carried_dependence(run: Run) -> None:
    # 0-2 (7), 7-9 (14), 14-16 (21), 21-23 (28): the chain goes on into the second outer iteration.
    r = run(accumulate(carried=True))
    assert r.total_ticks == 28
    assert r.stalls == {"vpu": {"data:acc": 15}}
    assert r.done == {"vpu": 5}
    assert r.critical_path == {"vpu/end": 2, "vpu/data": 6, "vpu/latency": 20}


@both
def test_dependence_within_the_outer_iteration(run: Run) -> None:
    # 0-2 (7), 7-9 (14); the second chain begins when the unit is free: 9-11 (16), 16-18 (23).
    r = run(accumulate(carried=False))
    assert r.total_ticks == 23
    assert r.stalls == {"vpu": {"data:acc": 10}}
    assert r.critical_path == {"vpu/end": 2, "vpu/data": 4, "vpu/resource": 2, "vpu/latency": 15}


@pytest.mark.parametrize(
    ("trips", "order"),
    [
        # The cursor's iteration is shorter than the main one's: it closes early; the last comes after the end.
        ([1, 3], "a00 a10 b00 a11 a12 b10 b11 b12"),
        # Longer: what is left spills after the main cursor's iteration.
        ([3, 1], "a00 a01 a02 a10 b00 b01 b02 b10"),
    ],
)
def test_shift_of_an_outer_level_with_varying_trips(trips: list[int], order: str) -> None:
    b = ProgramBuilder("triangle")
    b.level("o", 2, runs=(1, 1))
    b.level("i", vary("o", trips))
    b.resource("x")
    b.buffer("tile", 4)
    b.stage(Stage("a", "x", 2, acquires=(Hold("tile"),)))
    b.stage(Stage("b", "x", 1, shift=1, shift_level="o", after=(After("a"),), releases=(Hold("tile"),)))
    program = b.build()
    assert " ".join(f"{s.name}{i}{j}" for s, (i, j) in issue(program)) == order
    # The one unit is never idle; a slot is held from the start of its a to the end of its b.
    names = order.split()
    ends = {name: sum(2 if n[0] == "a" else 1 for n in names[: at + 1]) for at, name in enumerate(names)}
    slot_ticks = sum(ends["b" + n[1:]] - (ends[n] - 2) for n in names if n[0] == "a")
    for run in (simulate, run_program):
        r: Any = run(program)
        assert r.total_ticks == 12
        assert r.occupancy["tile"].slot_ticks == slot_ticks


@both
def test_weights_loaded_once_per_outer_iteration(run: Run) -> None:
    # weights 0-9 | mul 9-11, 11-13, 13-15 | weights 9-18 (second slot) | mul 18-20, 20-22, 22-24.
    b = ProgramBuilder("weights")
    b.level("head", 2)
    b.level("i", 3)
    b.resource("dma")
    b.resource("mxu")
    b.buffer("w", 2)
    b.stage(Stage("weights", "dma", 9, spans={"i": START}, acquires=(Hold("w"),)))
    b.stage(Stage("mul", "mxu", 2, shift=0, after=(After("weights"),), releases=(Hold("w", last=("i",)),)))
    program = b.build()
    assert program.stage("mul").after[0].level == "head"
    r = run(program)
    assert r.total_ticks == 24
    assert r.stalls == {"dma": {}, "mxu": {"data:weights": 9 + 3}}
    assert (r.occupancy["w"].slot_ticks, r.occupancy["w"].peak) == (15 + 15, 2)
    assert r.critical_path == {"mxu/end": 2, "mxu/resource": 4, "dma/data": 9, "dma/resource": 9}


REFUSED = {
    "later firing": ([Stage("a", "x", 1, after=(After("b"),)), Stage("b", "x", 1)], "later firing"),
    "its own firing": ([Stage("a", "x", 1, after=(After("a"),))], "later firing"),
    "void at every firing": (
        [Stage("a", "x", 1), Stage("b", "x", 1, spans={"i": START}, after=(After("a", lag=1, level="i"),))],
        "void at every firing",
    ),
    "slot released too late": (
        [Stage("a", "x", 1, acquires=(Hold("s"),)), Stage("b", "x", 1, shift=2, releases=(Hold("s"),))],
        "slot",
    ),
    "release before acquire": (
        [Stage("b", "x", 1, releases=(Hold("s"),)), Stage("a", "x", 1, acquires=(Hold("s"),))],
        "before",
    ),
    "counts disagree": (
        [
            Stage("a", "x", 1, acquires=(Hold("s"),)),
            Stage("b", "x", 1, spans={"i": Span(0, 3)}, releases=(Hold("s"),)),
        ],
        "4 acquires",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    stages, match = REFUSED[name]
    b = ProgramBuilder(name)
    b.level("i", 4)
    b.resource("x")
    b.buffer("s", 2)
    for stage in stages:
        b.stage(stage)
    program = b.build()
    with pytest.raises(MappingError, match=match):
        simulate(program)
    with pytest.raises(MappingError):
        run_program(program)


def test_empty_loop_takes_no_time() -> None:
    b = ProgramBuilder("empty")
    b.level("i", 1)
    b.resource("x")
    b.stage(Stage("a", "x", 5, spans={"i": Span(0, 0)}))
    b.stage(Stage("b", "x", 5, spans={"i": Span(0, 0)}, after=(After("a"),)))
    for run in (simulate, run_program):
        r: Any = run(b.build())
        assert (r.total_ticks, r.fires, r.critical_path) == (0, {"a": 0, "b": 0}, {})

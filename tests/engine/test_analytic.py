"""Fidelity ``analytic``: firings by counting, bounds by hand, and never above the engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from accsim.engine.analytic import bound_program, count_fires
from accsim.engine.builder import ProgramBuilder
from accsim.engine.program import END, START, After, Hold, Program, Span, Stage, vary
from accsim.engine.run import run_program
from accsim.errors import MappingError
from tests.property.programs import programs
from tests.reference.order_naive import in_spans, walk

slow_to_draw = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def build(*stages: Stage, trips: Any = 10, resources: str = "dma mxu", slots: int = 2, servers: int = 1) -> Program:
    b = ProgramBuilder("bound")
    b.level("i", trips)
    for name in resources.split():
        b.resource(name, servers if name == "mxu" else 1)
    b.buffer("tile", slots)
    for stage in stages:
        b.stage(stage)
    return b.build()


def load_compute(load: int, compute: int, latency: int = 0, **keywords: Any) -> Program:
    return build(
        Stage("load", "dma", load, latency=latency, acquires=(Hold("tile"),)),
        Stage("compute", "mxu", compute, after=(After("load"),), releases=(Hold("tile"),)),
        **keywords,
    )


def test_reach_busy_and_tail() -> None:
    # mxu is reached after the first load and its latency, then busy ten times: 4 + 3 + 10 x 9, as in the engine.
    program = load_compute(4, 9, 3)
    assert bound_program(program).total_ticks == run_program(program).total_ticks == 4 + 3 + 90
    # dma binds: ten loads, and behind the last of them its latency and no less.
    assert bound_program(load_compute(9, 4, 3)).total_ticks == 90 + 3
    assert run_program(load_compute(9, 4, 3)).total_ticks == 90 + 3 + 4


def test_one_slot_is_what_the_bound_does_not_see() -> None:
    program = load_compute(5, 7, slots=1)
    assert bound_program(program).total_ticks == 5 + 10 * 7
    assert run_program(program).total_ticks == 10 * (5 + 7)


def test_a_rate_holds_its_unit() -> None:
    # The unit's own work is 2, the port needs 6 a firing: the unit is held 60 and busy 20.
    program = build(Stage("x", "mxu", 2, rates=(("dma", 6),)))
    bound = bound_program(program)
    assert bound.total_ticks == run_program(program).total_ticks == 60
    assert bound.busy == {"dma": 60, "mxu": 20}


def test_a_pool_is_busy_on_all_its_servers() -> None:
    program = load_compute(0, 12, servers=4, slots=8)
    assert bound_program(program).total_ticks == 10 * 12 // 4
    assert run_program(program).total_ticks == 3 * 12  # three waves of at most four


def test_actions_and_firings_of_ragged_loops() -> None:
    b = ProgramBuilder("ragged")
    b.level("row", 5, [2, 3])
    b.level("key", vary("row", [7, 3]), [2, 1])
    b.resource("mxu")
    b.stage(Stage("all", "mxu", vary(["row", "key"], [[1, 10], [100, 1000]]), actions={"n": 2.0}))
    b.stage(Stage("last", "mxu", 1, spans={"key": END}, actions={"n": 1.0}))
    b.stage(
        Stage(
            "corner",
            "mxu",
            1,
            spans={"key": START, "row": Span(-1)},
            actions={"m": vary("row", [5.0, 0.5], np.float64)},
        )
    )
    program = b.build()
    bound = bound_program(program)
    # Rows 0 and 1 have 2 keys of the first class and 5 of the second; rows 2 to 4 have 2 and 1.
    assert count_fires(program, program.stage("all")).tolist() == [[4, 10], [6, 3]]
    assert bound.fires == {"all": 23, "last": 5, "corner": 1}
    assert bound.busy == {"mxu": 4 * 1 + 10 * 10 + 6 * 100 + 3 * 1000 + 5 + 1}
    assert bound.actions == {"n": 2.0 * 23 + 5, "m": 0.5}
    assert bound.total_ticks == run_program(program).total_ticks


def test_stages_that_never_fire_bind_nothing() -> None:
    program = build(Stage("never", "mxu", 1000, spans={"i": Span(3, 3)}), Stage("x", "dma", 2))
    bound = bound_program(program)
    assert (bound.total_ticks, bound.fires, bound.bound_by) == (20, {"never": 0, "x": 10}, "dma/resource")


@given(program=programs())
@settings(max_examples=150, suppress_health_check=slow_to_draw)
def test_firings_are_counted_as_a_walk_counts_them(program: Program) -> None:
    steps = walk(program)
    for stage in program.stages:
        assert int(count_fires(program, stage).sum()) == sum(in_spans(program, stage, step) for step in steps)


@given(program=programs())
@settings(max_examples=150, suppress_health_check=slow_to_draw)
def test_never_above_the_engine(program: Program) -> None:
    try:
        run = run_program(program, attribution=False)
    except MappingError:
        return
    bound = bound_program(program)
    assert bound.total_ticks <= run.total_ticks
    assert (bound.busy, bound.fires) == (run.busy, run.fires)
    assert bound.actions == pytest.approx(run.actions)
    assert sum(bound.critical_path.values()) == bound.total_ticks

"""Programs whose first tile is there already: by hand, against a walk of the nest, and as laws of any program."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from accsim.engine.analytic import bound_program
from accsim.engine.builder import ProgramBuilder
from accsim.engine.counters import Counters
from accsim.engine.prefetch import first_index, first_ticks, isolate, primed
from accsim.engine.program import START, After, Hold, Program, Span, Stage, vary
from accsim.engine.run import run_program
from accsim.errors import MappingError
from tests.property.programs import build, long_programs, programs
from tests.reference.order_naive import in_spans, number, value, walk

slow_to_draw = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def law(examples: int) -> settings:
    return settings(max_examples=examples, suppress_health_check=slow_to_draw)


def run(program: Program) -> Counters:
    """Counters of a program that the engine takes; another draw else."""
    try:
        return run_program(program)
    except MappingError:
        assume(False)
        raise


def rebuilt(program: Program) -> Program:
    """The program through the builder's checks."""
    return build(program.levels, program.resources, program.buffers, program.stages)


# By hand


def load_multiply(tiles: int, load: int, multiply: int) -> Program:
    b = ProgramBuilder("load and multiply")
    b.level("tile", tiles)
    for name in ("dma", "matrix", "dram"):
        b.resource(name)
    b.buffer("w", 2)
    b.stage(Stage("load", "dma", 1, rates=(("dram", load),), latency=3, acquires=(Hold("w"),), actions={"bytes": 5}))
    b.stage(Stage("multiply", "matrix", multiply, after=(After("load"),), releases=(Hold("w"),)))
    return b.build()


@pytest.mark.parametrize(
    ("load", "multiply", "before", "after"),
    [
        # Loads end at 10, 20, 30; each is multiplied for 4 from 3 ticks later: 13-17, 23-27, 33-37. With the first
        # there, its result is in at 3, and the others end at 10 and 20.
        (10, 4, 37, 27),
        # Multiplications one behind the other: 13 + 3 x 20; from 3 on with the first load there.
        (10, 20, 73, 63),
        # Two slots are all that the loads can be ahead: the third starts at the end of the first multiplication.
        (30, 20, 113, 83),
    ],
)
def test_the_first_load_takes_no_time(load: int, multiply: int, before: int, after: int) -> None:
    program = load_multiply(3, load, multiply)
    assert first_ticks(program, "load") == {"dma": 1, "dram": load}
    whole, rest = run_program(program), run_program(primed(program, "load"))
    assert (whole.total_ticks, rest.total_ticks) == (before, after)
    assert whole.busy["dram"] - rest.busy["dram"] == load
    assert whole.busy["dma"] - rest.busy["dma"] == 1
    assert rest.fires == whole.fires
    assert rest.actions == whole.actions == {"bytes": 15}


def test_a_stage_that_fires_once_and_one_that_never_does() -> None:
    b = ProgramBuilder("once")
    b.level("row", 4)
    b.resource("dma")
    b.stage(Stage("once", "dma", 7, spans={"row": START}))
    b.stage(Stage("never", "dma", 7, spans={"row": Span(2, 2)}))
    program = b.build()
    early = primed(program, "once")
    assert early.levels == program.levels
    assert early.stage("once").ticks == 0
    assert first_ticks(program, "never") == {}
    assert primed(program, "never") is program
    with pytest.raises(KeyError):
        primed(program, "ones")
    with pytest.raises(KeyError):
        isolate(program, "rows", 0)


def test_only_the_first_of_equal_firings_is_early() -> None:
    # Row 0 has no key of its own: the first firing is that of key 1 in row 1, and only it is early.
    b = ProgramBuilder("late")
    b.level("row", 3, (1, 1))
    b.level("key", 4, (2, 1))
    b.resource("dma")
    lo, hi = vary("row", [1, 1]), vary("row", [1, 4])
    b.stage(Stage("load", "dma", vary("key", [5, 8]), spans={"key": Span(lo, hi)}))
    program = b.build()
    assert first_index(program, "load") == (1, 1)
    assert first_ticks(program, "load") == {"dma": 5}
    assert run_program(program).total_ticks == 2 * (5 + 8 + 8)
    assert run_program(primed(program, "load")).total_ticks == 2 * (5 + 8 + 8) - 5


# Against a walk of the nest


@given(program=programs(), data=st.data())
@law(200)
def test_every_other_number_stays(program: Program, data: st.DataObject) -> None:
    chosen = data.draw(st.sampled_from(program.stages)).name
    early = primed(program, chosen)
    steps = walk(program)
    assert walk(early) == steps
    fired = [step for step in steps if in_spans(program, program.stage(chosen), step)]
    assert first_index(program, chosen) == (fired[0] if fired else None)
    event("fires more than once" if len(fired) > 1 else "once or never")
    for old, new in zip(program.stages, early.stages, strict=True):
        assert replace(new, ticks=0, rates=(), spans={}, actions={}) == replace(
            old, ticks=0, rates=(), spans={}, actions={}
        )
        assert list(new.spans) == list(old.spans)
        for step in steps:
            assert in_spans(early, new, step) == in_spans(program, old, step)
            ready = old.name == chosen and step == fired[0] if fired else False
            pairs = [(old.ticks, new.ticks), *((a, b) for (_, a), (_, b) in zip(old.rates, new.rates, strict=True))]
            if in_spans(program, old, step):
                for before, after in pairs:
                    assert value(early, after, step) == (0 if ready else value(program, before, step))
                for name, amount in old.actions.items():
                    assert number(early, new.actions[name], step) == number(program, amount, step)


# Laws


@given(program=programs(), data=st.data())
@law(200)
def test_a_class_of_its_own_changes_nothing(program: Program, data: st.DataObject) -> None:
    level = data.draw(st.sampled_from(program.levels)).name
    split = rebuilt(isolate(program, level, data.draw(st.integers(0, 7))))
    assert run(split) == run(program)
    assert bound_program(split) == bound_program(program)


@given(program=st.one_of(programs(), long_programs()), data=st.data())
@law(300)
def test_total_falls_by_at_most_the_first_firing(program: Program, data: st.DataObject) -> None:
    before = run(program)
    chosen = data.draw(st.sampled_from(program.stages)).name
    first = first_ticks(program, chosen)
    after = run(rebuilt(primed(program, chosen)))
    assert 0 <= before.total_ticks - after.total_ticks <= max(first.values(), default=0)
    event("faster" if after.total_ticks < before.total_ticks else "as fast")
    assert {name: ticks - after.busy[name] for name, ticks in before.busy.items() if ticks != after.busy[name]} == {
        name: ticks for name, ticks in first.items() if ticks
    }
    assert (after.fires, after.actions) == (before.fires, before.actions)
    assert sum(after.critical_path.values()) == after.total_ticks
    assert bound_program(primed(program, chosen)).total_ticks <= after.total_ticks

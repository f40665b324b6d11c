"""The first firings of a program: place, times, holds and producers, against the naive twin."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, reject, settings

from accsim.engine.program import Program
from accsim.engine.run import run_program
from accsim.errors import MappingError
from accsim.report.firings import Firing, bytes_per_tick, first_firings, slots_in_use
from tests.property.programs import programs
from tests.reference import engine_naive as twin
from tests.reference.order_naive import holds, issue, value
from tests.report.shipped import report

MOST = 2_000
law = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def legal(program: Program) -> list[Firing]:
    """All firings of a program that runs; a draw that is refused is left out."""
    try:
        run_program(program)
    except MappingError:
        reject()
    return first_firings(program, MOST)


@given(program=programs())
@law
def test_firings_are_those_of_the_twin(program: Program) -> None:
    found = legal(program)
    firings = []
    for order, (stage, index) in enumerate(issue(program)):
        rates = tuple((name, value(program, ticks, index)) for name, ticks in stage.rates)
        firings.append(twin.Firing(order, stage, index, value(program, stage.ticks, index), rates))
    twin.run(program, twin.Machine.of(program), firings)
    producers = twin.depend(program, firings)
    assert len(found) == len(firings)
    for mine, firing in zip(found, firings, strict=True):
        assert (mine.stage, mine.index, mine.start, mine.finish) == (
            firing.stage,
            firing.index,
            firing.start,
            firing.finish,
        )
        assert (mine.ticks, mine.rates, mine.slowest) == (firing.ticks, firing.rates, firing.slowest[0])
        for edges, taken in ((firing.stage.acquires, mine.takes), (firing.stage.releases, mine.gives)):
            assert taken == tuple(h.buffer for h in edges if holds(program, firing.stage, h, firing.index))
        told = [
            producer.number
            for after, producer in zip(firing.stage.after, producers[firing], strict=True)
            if producer is not None and not (after.carried and after.lag > 1 and program.depth(after.level or ""))
        ]
        assert list(mine.producers) == told


@given(program=programs())
@law
def test_servers_of_a_pool_work_on_one_stage_at_a_time(program: Program) -> None:
    free: dict[tuple[str, int], int] = {}
    servers = {r.name: r.servers for r in program.resources}
    for firing in legal(program):
        place = (firing.stage.unit, firing.server)
        assert 0 <= firing.server < servers[firing.stage.unit]
        assert firing.start >= free.get(place, 0)
        free[place] = firing.end


@given(program=programs())
@law
def test_fewer_firings_are_the_first_ones(program: Program) -> None:
    found = legal(program)
    for most in (1, len(found) // 2 + 1):
        assert first_firings(program, most) == found[:most]


@given(program=programs())
@law
def test_slots_in_use_are_those_that_the_engine_counts(program: Program) -> None:
    found = legal(program)
    counted = run_program(program).occupancy
    for buffer in program.buffers:
        use = slots_in_use(buffer.name, found)
        assert sum(held * (after - at) for (at, held), (after, _) in pairwise(use)) == counted[buffer.name].slot_ticks
        assert max((held for _, held in use), default=0) <= counted[buffer.name].peak
        assert [held for _, held in use[-1:]] in ([], [0])


def test_what_is_shown_of_a_model_is_what_the_engine_counted() -> None:
    for row in report("tpu_v4", "llama3_8b_prefill").ops:
        for step, part in zip(row.steps, row.parts, strict=True):
            counters = part.counters
            found = first_firings(step.program, 100_000)
            assert len(found) == sum(counters.fires.values())
            assert max(firing.finish for firing in found) == counters.total_ticks
            busy = dict.fromkeys(counters.busy, 0)
            for firing in found:
                for name, ticks in ((firing.stage.unit, firing.ticks), *firing.rates):
                    busy[name] += ticks
            assert busy == counters.busy


@pytest.mark.parametrize("machine", ["flat_edge", "h100_sxm", "tpu_v4"])
def test_bytes_a_tick_add_up_to_what_the_engine_counted(machine: str) -> None:
    rep = report(machine, "llama3_8b_prefill")
    memories = {memory.name for memory in rep.accelerator.memories}
    shown = 0
    for row in rep.ops:
        for step, part in zip(row.steps, row.parts, strict=True):
            rates = bytes_per_tick(first_firings(step.program, 100_000))
            for memory, changes in rates.items():
                assert changes[-1][1] == (0.0, 0.0)
                for place, way in enumerate(("read", "write")):
                    area = sum(rate[place] * (after - at) for (at, rate), (after, _) in pairwise(changes))
                    assert area == pytest.approx(part.counters.actions.get(f"{way}.{memory}", 0.0))
            moved = {name.partition(".")[2] for name, size in part.counters.actions.items() if size}
            assert set(rates) == moved & memories
            shown += len(rates)
    assert shown > 10

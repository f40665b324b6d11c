"""Inner programs: a stage each of whose firings is a run of a program of its own, as a tile on an SM of a pool is."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from accsim.engine.counters import Counters, Event
from accsim.engine.program import Inner, Program, Stage
from accsim.engine.run import first_events, run_program


def stand_for(stage: Stage, program: Program, shares: Mapping[str, int] | None = None) -> Stage:
    """The stage with every firing a run of ``program``: its ticks, actions and attribution are the run's.

    Parameters
    ----------
    stage : where and when it fires; its ticks and actions are replaced.
    shares : shared resource of ``program`` -> among how many copies its rate is split there; all others are private.

    Raises
    ------
    MappingError, TooLongError
        When the program cannot run, as :func:`accsim.run_program`.
    """
    counters = run_program(program)
    inner = Inner(program, counters, dict(shares or {}))
    return replace(stage, ticks=counters.total_ticks, actions=counters.actions, inner=inner)


def programs_within(program: Program) -> Iterator[Program]:
    """The program, and all that its stages stand for, from the outside in."""
    yield program
    for stage in program.stages:
        if stage.inner is not None:
            yield from programs_within(stage.inner.program)


def compute_ticks(program: Program, counters: Counters, unit: str = "matrix") -> float:
    """Ticks that a unit works, the average of its servers, and the latency that a stretch of its work pays once."""
    return counters.busy.get(unit, 0) / counters.servers.get(unit, 1) + _paid_once(program, counters, unit)


def _paid_once(program: Program, counters: Counters, unit: str) -> float:
    once: float = max((stage.latency for stage in program.stages if stage.unit == unit), default=0)
    for stage in program.stages:
        if stage.inner is not None:
            each = _paid_once(stage.inner.program, stage.inner.counters, unit)
            once += each * counters.fires[stage.name] / counters.servers[stage.unit]
    return once


def servers_of(program: Program, events: Sequence[Event]) -> Iterator[int]:
    """Which server of its unit each of the first events in issue order is on."""
    free = {r.name: [(0, -1, number) for number in range(r.servers)] for r in program.resources}
    units = {stage.name: stage.unit for stage in program.stages}
    for order, event in enumerate(events):
        pool = free[units[event.stage]]
        server = pool[0][2]
        heapq.heapreplace(pool, (event.end, order, server))
        yield server


def inner_events(program: Program, events: Sequence[Event]) -> tuple[Event, ...]:
    """Firings inside the inner programs on the first server of each unit, named ``"stage/inner stage"``.

    Parameters
    ----------
    events : all firings of the program itself, in issue order.
    """
    inside = {stage.name: stage.inner for stage in program.stages if stage.inner is not None}
    played: dict[str, tuple[Event, ...]] = {}
    found: list[Event] = []
    for event, server in zip(events, servers_of(program, events), strict=True):
        inner = inside.get(event.stage)
        if inner is None or server > 0:
            continue
        if event.stage not in played:
            own = first_events(inner.program, sum(inner.counters.fires.values()))
            played[event.stage] = (*own, *inner_events(inner.program, own))
        found += [
            replace(e, stage=f"{event.stage}/{e.stage}", start=event.start + e.start, end=event.start + e.end)
            for e in played[event.stage]
        ]
    return tuple(found)

"""Legs of the embedding half of a step: what the place that looks rows up takes, and what chips send each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from accsim.embedding.work import Exchange, StepWork
from accsim.engine.energy import energy_of, price_list
from accsim.engine.program import TICKS_PER_CYCLE, Program
from accsim.engine.run import run_program
from accsim.mapping.sparse_core import UnitPrograms, unit_programs
from accsim.system.halves import Leg
from accsim.system.slices import Slice


def embedding_legs(on: Slice, counts: StepWork, where: str) -> tuple[tuple[Leg, ...], dict[str, float]]:
    """The legs of both passes, and the joules of a chip by component."""
    programs = unit_programs(on.chip, counts, where)
    passed = counts.exchange if programs.exchanged else Exchange(0.0, 0.0)
    vectors = _exchange("vectors", on, passed.vectors)
    spent: dict[str, float] = {}
    lookup = _unit_leg("lookup", on, programs, programs.forward, spent)
    update = _unit_leg("table_update", on, programs, programs.backward, spent)
    legs = (
        _exchange("ids", on, passed.ids),
        lookup,
        vectors,
        replace(vectors, name="gradients"),  # links, routes and demand all reversed: as long
        *_row_sums(on, passed.all_reduced),
        update,
    )
    return legs, spent


def _unit_leg(name: str, on: Slice, programs: UnitPrograms, program: Program, spent: dict[str, float]) -> Leg:
    """A pass of the place that looks rows up; its joules are added to those spent."""
    counters = run_program(program)
    second = TICKS_PER_CYCLE * on.chip.clock_hz
    time = counters.total_ticks / second
    own = {name: name if name in programs.shared else f"{programs.where}.{name}" for name in counters.busy}
    busy = {own[name]: ticks / counters.servers[name] / second for name, ticks in counters.busy.items()}
    energy = energy_of(counters.actions, price_list(on.chip), 0.0, time)
    for part, joules in energy.breakdown_j.items():
        if part != "idle":
            spent[part] = spent.get(part, 0.0) + joules
    inside: dict[str, float] = {}
    for cause, ticks in counters.critical_path.items():
        resource, _, why = cause.partition("/")
        inside[f"{own[resource]}/{why}"] = ticks / counters.total_ticks
    return Leg(name, programs.where, time, 0.0, {programs.where: time, **busy}, inside)


def _row_sums(on: Slice, size: float) -> tuple[Leg, ...]:
    """The sum of gradients of replicated rows over all chips, before any of them is updated; none without such rows."""
    if on.chips == 1 or size == 0:
        return ()
    found = on.network.all_reduce(size)
    time = found.time_s - found.latency_s
    return (Leg("row_sums", on.links, time, found.latency_s, {on.links: time}, {f"{on.links}/all_reduce": 1.0}),)


def _exchange(name: str, on: Slice, pattern: float | NDArray[np.float64]) -> Leg:
    """What chips send each other; it ends at the most loaded link."""
    if on.chips == 1 or not np.any(pattern):
        return Leg(name, on.links, 0.0, 0.0, {}, {})
    found = on.network.link_loads(pattern)
    time = found.time_s - found.latency_s
    return Leg(name, on.links, time, found.latency_s, {on.links: time}, {f"{on.links}/{found.bound_by}": 1.0})

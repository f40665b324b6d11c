"""Legs of the embedding half of a step: what the place that looks rows up takes, and what chips send each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accsim.embedding.work import StepWork
from accsim.engine.program import TICKS_PER_CYCLE, Program
from accsim.engine.run import run_program
from accsim.mapping.sparse_core import UnitPrograms, unit_programs
from accsim.system.halves import Leg
from accsim.system.ids import id_legs
from accsim.system.slices import Slice
from accsim.system.sums import sum_over_chips


class EmbeddingLegs(NamedTuple):
    """Legs of both passes, in the order in which a stack goes through them.

    Attributes
    ----------
    stacks
        That go through.
    """

    forward: tuple[Leg, ...]
    backward: tuple[Leg, ...]
    stacks: int


class Links(NamedTuple):
    """What chips send each other in a step, whatever the number of stacks; the last are of replicated rows."""

    ids: Leg
    vectors: Leg
    row_sums: Leg


def links_of(on: Slice, work: StepWork) -> Links:
    """The legs on links between chips."""
    passed = work.exchange
    row_sums = sum_over_chips("row_sums", on, passed.all_reduced)
    return Links(_exchange("ids", on, passed.ids), _exchange("vectors", on, passed.vectors), row_sums)


def embedding_legs(on: Slice, work: StepWork, where: str, links: Links) -> EmbeddingLegs:
    """The legs of a step whose stacks go one behind the other."""
    programs = unit_programs(on.chip, work, where)
    if not programs.exchanged:
        links = Links(*(Leg(leg.name, on.links, 0.0, 0.0, {}, {}) for leg in links))
    alike = Counter(work.stacks) if len(work.stacks) > 1 else {}
    alone = [(unit_programs(on.chip, replace(work, stacks=(stack,)), where), times) for stack, times in alike.items()]
    lookup = _unit_leg("lookup", on, programs, programs.forward, [(one.forward, times) for one, times in alone])
    update = _unit_leg("table_update", on, programs, programs.backward, [(one.backward, times) for one, times in alone])
    gradients = replace(links.vectors, name="gradients")  # links, routes and demand all reversed: as long
    sums = (links.row_sums,) if links.row_sums.alone_s else ()
    forward = (*id_legs(on, work, where, links.ids), lookup, links.vectors)
    return EmbeddingLegs(forward, (gradients, *sums, update), len(work.stacks))


def _unit_leg(
    name: str, on: Slice, programs: UnitPrograms, program: Program, alone: Sequence[tuple[Program, int]]
) -> Leg:
    """A pass of the place that looks rows up.

    Of n stacks, T ticks one behind the other and A ticks a mean one alone, each takes the place for (T - A) / (n - 1):
    what one more adds. The rest of A fills its pipeline, which is the leg's latency.
    """
    counters = run_program(program)
    second = TICKS_PER_CYCLE * on.chip.clock_hz
    fill = 0.0
    if alone:
        each = sum(times * run_program(one).total_ticks for one, times in alone)
        fill = max(0.0, (each - counters.total_ticks) / (sum(times for _, times in alone) - 1))
    own = {name: name if name in programs.shared else f"{programs.where}.{name}" for name in counters.busy}
    busy = {own[name]: ticks / counters.servers[name] / second for name, ticks in counters.busy.items()}
    inside: dict[str, float] = {}
    for cause, ticks in counters.critical_path.items():
        resource, _, why = cause.partition("/")
        inside[f"{own[resource]}/{why}"] = ticks / counters.total_ticks
    time = (counters.total_ticks - fill) / second
    return Leg(name, programs.where, time, fill / second, {programs.where: time, **busy}, inside, counters.actions)


def _exchange(name: str, on: Slice, pattern: float | NDArray[np.float64]) -> Leg:
    """What chips send each other; it ends at the most loaded link."""
    if on.chips == 1 or not np.any(pattern):
        return Leg(name, on.links, 0.0, 0.0, {}, {})
    found = on.network.link_loads(pattern)
    time = found.time_s - found.latency_s
    carried = float(found.link_bytes.sum()) / on.chips
    return Leg(
        name, on.links, time, found.latency_s, {on.links: time}, {f"{on.links}/{found.bound_by}": 1.0}, {}, carried
    )

"""Training steps of recommendation models on slices: tables, unit, network and dense network put together.

``docs/recommendation.md`` has the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accsim.config.frozen import FrozenDict
from accsim.embedding.imbalance import SCOPES
from accsim.embedding.placement import Placement, row_sharded
from accsim.embedding.step_work import step_work
from accsim.embedding.work import StepWork
from accsim.engine.energy import energy_of, price_list
from accsim.engine.program import TICKS_PER_CYCLE, Program
from accsim.engine.run import run_program
from accsim.errors import InputError, check_choice
from accsim.mapping.sparse_core import UnitPrograms, unit_programs
from accsim.system.dense import dense_half, model_tables
from accsim.system.halves import ICI, Leg, pipelined
from accsim.system.runs import Run, Span, in_turn, together
from accsim.system.slices import Slice, read_slice
from accsim.system.step import StepReport
from accsim.workload.catalogue import load_workload
from accsim.workload.embeddings import EmbeddingSet
from accsim.workload.query import parse_query

DEDUP: Final = SCOPES
"""Where duplicates of a batch are dropped."""
STACKS: Final = 8
"""Stacks of features that go through lookups and links one behind the other, unless there are fewer features. Some 5 to
100 are advised to hide the links' latency (OpenXLA documentation, "A deep dive into SparseCore")."""


def train_step(
    model: str, slice: Slice | str, *, placement: Placement | None = None, dedup: str = "owner",  # noqa: A002
    schedule: str = "overlapped", where: str = "sparse_core", set: Mapping[str, object] = FrozenDict({}),  # noqa: A002
    embeddings: EmbeddingSet | None = None,
) -> StepReport:  # fmt: skip
    """A training step of a recommendation model on a slice.

    Parameters
    ----------
    model
        Its name with parameters; ``batch`` is that of all chips.
    slice
        A slice or its name.
    placement
        Of the tables; by default all rows are dealt over all chips.
    dedup
        One of `DEDUP`.
    schedule
        A key of `SCHEDULES`.
    where
        What looks up rows, a key of `accsim.mapping.sparse_core.PLACES`.
    set
        Values of the model's file to replace, as for `accsim.load_workload`.
    embeddings
        Tables and features in place of the model's.

    Raises
    ------
    InputError
        For bad names, a batch of fewer samples than chips, and tables that do not fit.

    Examples
    --------
    >>> step = train_step("dlrm_dcnv2", "tpu_v4:4x4x8")
    >>> step.samples, step.slice.chips
    (65536, 128)
    """
    on = read_slice(slice) if isinstance(slice, str) else slice
    name, query = parse_query(model)
    settings = {**query, **set}
    work = load_workload(name, set=settings)
    tables = embeddings or model_tables(work)
    check_choice("schedule", schedule, tuple(SCHEDULES))
    check_choice("dedup", dedup, DEDUP)
    samples = int(work.parameters["batch"])
    if samples < on.chips:
        raise InputError(f"read a batch of {samples} samples, allowed is at least one for each of {on.chips} chips")
    each = -(-samples // on.chips)
    placed = placement or row_sharded(tables, on.chips)
    dense = dense_half(name, settings, on.chip, each)
    placed.check_memory(tables, on.chip.main_memory.capacity_bytes - dense.held_bytes)
    counts = step_work(tables, each, placed, dedup=dedup, tiles=_tiles(on))
    legs, energy = _legs(on, counts, where)
    summed = dense.gradient_bytes + counts.exchange.all_reduced
    all_reduce = _all_reduce(on, summed)
    spans = SCHEDULES[schedule](
        _Step(legs[:3], legs[3:], dense.segments, all_reduce, min(STACKS, tables.feature_count))
    )
    return StepReport(
        on, work, tables, samples, placed, schedule, where, counts, legs, dense, all_reduce, tuple(spans), energy
    )


def _all_reduce(on: Slice, size: float) -> Run:
    """The sum of gradients over all chips."""
    if on.chips == 1:
        return Run("all_reduce", 0.0, {}, {})
    found = on.network.all_reduce(size)
    return Run("all_reduce", found.time_s, {ICI: found.time_s}, {f"{ICI}/all_reduce": found.time_s})


def _exchange(name: str, on: Slice, pattern: float | NDArray[np.float64]) -> Leg:
    """What chips send each other; it ends at the most loaded link."""
    if on.chips == 1 or not np.any(pattern):
        return Leg(name, ICI, 0.0, 0.0, {}, {})
    found = on.network.link_loads(pattern)
    time = found.time_s - found.latency_s
    return Leg(name, ICI, time, found.latency_s, {ICI: time}, {f"{ICI}/{found.bound_by}": 1.0})


def _tiles(on: Slice) -> int:
    """Tiles of a chip that rows are dealt over; one where there are no embedding units."""
    unit = on.chip.sparse_core
    return unit.all_tiles if unit is not None else 1


def _legs(on: Slice, counts: StepWork, where: str) -> tuple[tuple[Leg, ...], dict[str, float]]:
    """The legs of both passes, and the joules of a chip by component."""
    programs = unit_programs(on.chip, counts, where)
    passed, vectors = counts.exchange, counts.exchange.vectors
    spent: dict[str, float] = {}
    lookup = _unit_leg("lookup", on, programs, programs.forward, spent)
    update = _unit_leg("table_update", on, programs, programs.backward, spent)
    back = vectors.T if isinstance(vectors, np.ndarray) else vectors
    legs = (
        _exchange("ids", on, passed.ids),
        lookup,
        _exchange("vectors", on, vectors),
        _exchange("gradients", on, back),
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


class _Step(NamedTuple):
    """What is there to be scheduled."""

    forward: tuple[Leg, ...]
    backward: tuple[Leg, ...]
    dense: Mapping[str, Run]
    all_reduce: Run
    stacks: int

    def turn(self, *names: str) -> Run:
        """Segments of the dense half one after the other, the sum over chips among them."""
        runs = {**self.dense, "all_reduce": self.all_reduce}
        return in_turn(", ".join(names), [runs[name] for name in names])


def _serial(step: _Step) -> list[Span]:
    """One thing after the other."""
    dense, legs = step.dense, [*(leg.alone for leg in step.forward), *(leg.alone for leg in step.backward)]
    runs = [*legs[:3], *dense.values(), step.all_reduce, *legs[3:]]
    return [together(run) for run in runs]


def _overlapped(step: _Step) -> list[Span]:
    """What needs no vector runs beside the lookups, and what needs no gradient of one beside their update."""
    return [
        together(pipelined(step.forward, step.stacks), step.turn("bottom")),
        together(step.turn("top", "top_backward")),
        together(pipelined(step.backward, step.stacks), step.turn("bottom_backward", "all_reduce", "dense_update")),
    ]


def _pipelined(step: _Step) -> list[Span]:
    """The embedding half beside the dense half of the step before."""
    halves = [pipelined(legs, step.stacks) for legs in (step.forward, step.backward)]
    dense = step.turn("bottom", "top", "top_backward", "bottom_backward", "all_reduce", "dense_update")
    return [together(in_turn("embedding", halves), dense)]


SCHEDULES: Final[Mapping[str, Callable[[_Step], list[Span]]]] = {
    "serial": _serial,
    "overlapped": _overlapped,
    "pipelined": _pipelined,
}
"""How the halves of a step run: one thing after the other; side by side where one needs nothing of the other; or the
embedding half of a step beside the dense half of the one before, whose tables are then read a step late."""

"""Training steps of recommendation models on slices: tables, unit, network and dense network put together.

``docs/recommendation.md`` has the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from accsim.config.frozen import FrozenDict
from accsim.embedding.imbalance import SCOPES
from accsim.embedding.placement import Placement, row_sharded
from accsim.embedding.step_work import step_work
from accsim.errors import InputError, check_choice
from accsim.mapping.sparse_core import place_of
from accsim.system.dense import dense_half, model_tables
from accsim.system.memory import ELSEWHERE, check_tables, step_bytes
from accsim.system.places import check_place
from accsim.system.placing import BEST, ROWS, placements
from accsim.system.plan import Plan, fastest
from accsim.system.schedules import SCHEDULES
from accsim.system.slices import Slice, read_slice
from accsim.system.step import StepReport
from accsim.workload.catalogue import load_workload
from accsim.workload.embeddings import EmbeddingSet
from accsim.workload.query import parse_query

DEDUP: Final = (BEST, *SCOPES)
"""Where duplicates of a batch are dropped; or the one of these places with which the step is fastest."""


def train_step(
    model: str, slice: Slice | str, *, placement: Placement | str = ROWS, dedup: str = BEST,  # noqa: A002
    schedule: str = "overlapped", where: str = "sparse_core", set: Mapping[str, object] = FrozenDict({}),  # noqa: A002
    embeddings: EmbeddingSet | None = None, power_cap: bool = True,
) -> StepReport:  # fmt: skip
    """A training step of a recommendation model on a slice.

    Parameters
    ----------
    model
        Its name with parameters; ``batch`` is that of all chips.
    slice
        A slice or its name.
    placement
        Of the tables: one of `accsim.system.placing.PLACEMENTS`, by default all rows dealt over all chips; or one of
        your own.
    dedup
        One of `DEDUP`.
    schedule
        A key of `SCHEDULES`.
    where
        What looks up rows, a key of `accsim.mapping.sparse_core.PLACES`.
    set
        Values of the model's file to replace, as for `accsim.load_workload`.
    embeddings
        Tables and features in place of the model's: as many features, and as wide.
    power_cap
        Lower the clock as far as the machine's power cap asks for.

    Raises
    ------
    InputError
        For bad names, a batch of fewer samples than chips, tables that are not the model's in number and width, and
        tables that do not fit beside what else a step holds.

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
    tables = model_tables(work, embeddings)
    for name_ in ("part", "phase"):
        if name_ in settings:
            raise InputError(
                f"{name_}: read {settings[name_]!r}, a step on a slice is a training step of the whole model"
            )
    check_choice("schedule", schedule, tuple(SCHEDULES))
    check_choice("dedup", dedup, DEDUP)
    check_place(on.chip, where)
    samples = int(work.parameters["batch"])
    if samples < on.chips:
        raise InputError(f"read a batch of {samples} samples, allowed is at least one for each of {on.chips} chips")
    each = -(-samples // on.chips)
    dense = dense_half(name, settings, on.chip, each)
    capacity = on.chip.main_memory.capacity_bytes
    dealt = placement if isinstance(placement, Placement) else row_sharded(tables, on.chips)
    if dealt.chips == on.chips:
        check_tables(tables, dealt, where, capacity, dense.held_bytes)
    room = math.inf if where in ELSEWHERE else capacity - sum(dense.held_bytes.values())
    at = place_of(on.chip, where)
    plans = [
        Plan(
            on, work, tables, samples, placed, schedule, where,
            step_work(tables, each, placed, dedup=scope, tiles=at.tiles), dense,
        )
        for placed, scopes in placements(tables, each, on, at, placement, room)
        for scope in (scopes if dedup == BEST else (dedup,))
    ]  # fmt: skip
    return fastest(_fitting(plans), power_cap=power_cap)


def _fitting(plans: Sequence[Plan]) -> list[Plan]:
    """Plans whose tables fit beside what else a step holds.

    Raises
    ------
    InputError
        If none does, as for the first.
    """
    found, wrong = [], []
    for plan in plans:
        beside = {**plan.dense.held_bytes, **step_bytes(plan.work, plan.schedule)}
        try:
            check_tables(
                plan.embeddings, plan.placement, plan.where, plan.slice.chip.main_memory.capacity_bytes, beside
            )
            found.append(plan)
        except InputError as error:
            wrong.append(error)
    if not found:
        raise wrong[0]
    return found

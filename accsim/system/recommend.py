"""Training steps of recommendation models on slices: tables, unit, network and dense network put together.

``docs/recommendation.md`` has the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from accsim.config.frozen import FrozenDict
from accsim.embedding.model_trace import Trace
from accsim.embedding.placement import Placement, row_sharded
from accsim.embedding.step_count import count_step_work
from accsim.embedding.step_work import step_work
from accsim.embedding.work import StepWork
from accsim.errors import InputError, read_all
from accsim.system.choices import check_choices
from accsim.system.dense import dense_half
from accsim.system.memory import ELSEWHERE, check_tables, step_bytes
from accsim.system.placing import BEST, ROWS, placements
from accsim.system.plan import Plan, fastest
from accsim.system.slices import Slice
from accsim.system.step import StepReport
from accsim.system.step_inputs import Model, read_model, read_place
from accsim.workload.embeddings import EmbeddingSet


def train_step(
    model: str, slice: Slice | str, *, placement: Placement | str = ROWS, dedup: str = BEST,  # noqa: A002
    schedule: str = "overlapped", where: str = "sparse_core", set: Mapping[str, object] = FrozenDict({}),  # noqa: A002
    machine_set: Mapping[str, object] = FrozenDict({}), embeddings: EmbeddingSet | None = None,
    trace: Trace | None = None, power_cap: bool = True,
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
    machine_set
        Values of the machine's file to replace, where `slice` is a name, as for `accsim.load_accelerator`.
    embeddings
        Tables and features in place of the model's: as many features, and as wide.
    trace
        What is looked up, in place of statistics: a batch, as from `accsim.embedding.draw_batches`, or the path of a
        file that `accsim.embedding.read_batch` reads. Its features are the model's, and its samples the model's batch:
        as many for each chip.
    power_cap
        Lower the clock as far as the machine's power cap asks for.

    Raises
    ------
    InputError
        For bad names, all at once; a batch of fewer samples than chips; tables that are not the model's in number and
        width, and those that do not fit beside what else a step holds; a trace that is not the model's.

    Examples
    --------
    >>> step = train_step("dlrm_dcnv2", "tpu_v4:4x4x8")
    >>> step.samples, step.slice.chips
    (65536, 128)
    """
    named = {"dedup": dedup, "schedule": schedule, **({"placement": placement} if isinstance(placement, str) else {})}
    (on, at), asked, _ = read_all(
        lambda: read_place(slice, machine_set, where),
        lambda: read_model(model, set, embeddings, trace),
        lambda: check_choices(named),
    )
    tables, each = asked.tables, asked.on_each(on.chips)
    dense = dense_half(asked.name, asked.settings, on.chip, each)
    dealt = placement if isinstance(placement, Placement) else row_sharded(tables, on.chips)
    if dealt.chips == on.chips:
        check_tables(tables, dealt, where, on.chip, dense.held_bytes)
    room = math.inf if where in ELSEWHERE else on.chip.main_memory.capacity_bytes - sum(dense.held_bytes.values())
    plans = [
        Plan(
            on, asked.workload, tables, asked.samples, placed, schedule, where,
            _step_work(asked, each, placed, scope, at.tiles), dense,
        )
        for placed, scopes in placements(tables, each, on, at, placement, room)
        for scope in (scopes if dedup == BEST else (dedup,))
    ]  # fmt: skip
    return fastest(_fitting(plans), power_cap=power_cap)


def _step_work(asked: Model, samples: int, placement: Placement, dedup: str, tiles: int) -> StepWork:
    """What a step asks, counted from the batch of a trace or else from statistics."""
    if asked.batch is None:
        return step_work(asked.tables, samples, placement, dedup=dedup, tiles=tiles)
    return count_step_work(asked.batch, asked.tables, placement, dedup=dedup, tiles=tiles)


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
            check_tables(plan.embeddings, plan.placement, plan.where, plan.slice.chip, beside)
            found.append(plan)
        except InputError as error:
            wrong.append(error)
    if not found:
        raise wrong[0]
    return found

"""Training steps of recommendation models on slices: tables, unit, network and dense network put together.

``docs/recommendation.md`` has the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from accsim.config.frozen import FrozenDict
from accsim.embedding.imbalance import SCOPES
from accsim.embedding.placement import Placement
from accsim.embedding.step_work import step_work
from accsim.errors import InputError, check_choice
from accsim.system.dense import dense_half, model_tables
from accsim.system.legs import embedding_legs
from accsim.system.places import check_place
from accsim.system.placing import BEST, ROWS, placements, tiles_of
from accsim.system.runs import Run
from accsim.system.schedules import SCHEDULES, Parts
from accsim.system.slices import Slice, read_slice
from accsim.system.step import StepReport
from accsim.workload.catalogue import load_workload
from accsim.workload.embeddings import EmbeddingSet
from accsim.workload.query import parse_query

DEDUP: Final = (BEST, *SCOPES)
"""Where duplicates of a batch are dropped; or the one of these places with which the step is fastest."""
ELSEWHERE: Final = ("host", "variable_server")
"""Places whose tables do not lie in the chip's memory; how large theirs is, is not asked."""
ALIKE: Final = 1e-3
"""Part by which steps may differ and count as equally fast; of them, that with least to do for embeddings is best."""
STACKS: Final = 8
"""Stacks of features that go through lookups and links one behind the other, unless there are fewer features. Some 5 to
100 are advised to hide the links' latency (OpenXLA documentation, "A deep dive into SparseCore")."""


def train_step(
    model: str, slice: Slice | str, *, placement: Placement | str = ROWS, dedup: str = BEST,  # noqa: A002
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
    room = math.inf if where in ELSEWHERE else on.chip.main_memory.capacity_bytes - dense.held_bytes
    tried = placements(tables, each, on, placement, room)
    all_reduce = _all_reduce(on, dense.gradient_bytes)

    def run(placed: Placement, scope: str) -> StepReport:
        counts = step_work(tables, each, placed, dedup=scope, tiles=tiles_of(on))
        legs, energy = embedding_legs(on, counts, where)
        parts = Parts(legs[:3], legs[3:], dense.segments, all_reduce, min(STACKS, tables.feature_count))
        spans = tuple(SCHEDULES[schedule](parts))
        return StepReport(
            on, work, tables, samples, placed, schedule, where, counts, legs, dense, all_reduce, spans, energy
        )

    steps = [run(placed, scope) for placed, scopes in tried for scope in (scopes if dedup == BEST else (dedup,))]
    fastest = min(step.step_s for step in steps)
    alike = [step for step in steps if step.step_s <= (1 + ALIKE) * fastest]
    return min(alike, key=lambda step: step.embedding_s).beside(steps)


def _all_reduce(on: Slice, size: float) -> Run:
    """The sum of the dense gradients over all chips."""
    if on.chips == 1:
        return Run("all_reduce", 0.0, {}, {})
    found = on.network.all_reduce(size)
    return Run("all_reduce", found.time_s, {on.links: found.time_s}, {f"{on.links}/all_reduce": found.time_s})

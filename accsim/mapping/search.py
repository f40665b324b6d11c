"""Search over a mapping's open choices: exact over its space, guided by the closed-form bound.

Points are tried in the order of their lower bound until none left can win, so the result is the minimum of the whole
space. Among points within a relative 1e-5 of it, the one with the least off-chip traffic, then energy, is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.energy import energy_of, price_list
from accsim.engine.run import run_program
from accsim.engine.tables import IntArray
from accsim.errors import InputError, MappingError, TooLongError, check_choice
from accsim.kernels.matrix import TICKS
from accsim.kernels.work import ACTIONS
from accsim.mapping.base import Dataflow, Step
from accsim.mapping.compiled import (
    TOO_LONG,
    CompiledDataflow,
    FloatArray,
    Lowered,
    Points,
    bounds,
    nearest_fit,
    pj_per_column,
    run_points,
)
from accsim.mapping.limits import too_long
from accsim.workload.ops import Op

OBJECTIVES = ("latency", "energy", "edp")
FIRST_CHUNK = 4
TIE = 1e-5
MAIN = [ACTIONS.index("main_read"), ACTIONS.index("main_write")]


@dataclass(frozen=True)
class Found:
    """The best complete mapping of a search.

    Attributes
    ----------
    cost : its value of the objective, in s, J or J s (without overheads of an op).
    points, feasible : how many points the space has, and how many of them fit.
    """

    mapping: Dataflow
    cost: float
    points: int
    feasible: int


def search(dataflow: Dataflow, op: Op, acc: Accelerator, objective: str = "latency") -> Found:
    """The complete mapping of ``dataflow`` that is best for an op on a machine.

    Parameters
    ----------
    objective : ``latency`` (s), ``energy`` (J) or ``edp`` (J s).

    Raises
    ------
    InputError
        For an unknown objective, or a dataflow that does not serve the op.
    MappingError
        When nothing in the space fits, with the nearest fit.
    TooLongError
        When all that fits takes longer than can be counted.
    """
    check_choice("objective", objective, OBJECTIVES)
    if op.kind not in dataflow.kinds:
        kinds = ", ".join(dataflow.kinds)
        raise InputError(f"{type(dataflow).__name__} maps {kinds}, not the {op.kind} '{op.name}'")
    if isinstance(dataflow, CompiledDataflow):
        return _search_points(dataflow, op, acc, objective)
    return _search_candidates(dataflow, op, acc, objective)


def _search_candidates(dataflow: Dataflow, op: Op, acc: Accelerator, objective: str) -> Found:
    """Each candidate run on its own."""
    candidates = dataflow.candidates(op, acc, objective)
    best: tuple[float, Dataflow] | None = None
    rejected = []
    long: list[TooLongError] = []
    for candidate in candidates:
        try:
            cost = _cost_of_steps(candidate.steps(op, acc), op, acc, objective)
        except TooLongError as error:
            long.append(error)
        except MappingError as error:
            rejected.append(str(error))
        else:
            if best is None or cost < best[0]:
                best = (cost, candidate)
    if best is None and long:
        shortest = min(long, key=lambda error: error.least_ticks)
        raise too_long(op, acc, shortest.least_ticks, shortest.most_ticks)
    if best is None:
        raise MappingError(f"no mapping of '{op.name}' fits {acc.name}", rejected)
    return Found(best[1], best[0], len(candidates), len(candidates) - len(rejected) - len(long))


def _cost_of_steps(steps: Sequence[Step], op: Op, acc: Accelerator, objective: str) -> float:
    prices = price_list(acc, op.dtype)
    seconds = joules = 0.0
    for step in steps:
        counters = run_program(step.program)
        seconds += counters.total_ticks / TICKS / acc.clock_hz
        dynamic = {action: count * step.copies for action, count in counters.actions.items()}
        joules += energy_of(dynamic, prices, 0.0, 0.0).total_j
    joules += acc.power.idle_w * seconds
    return {"latency": seconds, "energy": joules, "edp": seconds * joules}[objective]


@dataclass(frozen=True)
class _Run:
    """A point that was run: its cost, what breaks ties, and where it stands in the space."""

    cost: float
    traffic_bytes: float
    dynamic_j: float
    points: Points
    index: int


@dataclass(frozen=True)
class _Ranked:
    """The feasible points of one shape, from the one with the least possible cost."""

    points: Points
    lowered: Lowered
    index: IntArray
    dynamic_j: FloatArray
    traffic_bytes: FloatArray
    least: FloatArray


def _search_points(dataflow: CompiledDataflow, op: Op, acc: Accelerator, objective: str) -> Found:
    ranked = []
    rejected: dict[str, tuple[int, str]] = {}
    most_ticks = 0
    spaces = dataflow.space(op, acc)
    for points in spaces:
        lowered = dataflow.lower(op, acc, points, actions=True)
        fits = np.flatnonzero(lowered.fits())
        if len(fits) == 0:
            name = lowered.shape.name
            rejected[name] = min(rejected.get(name, (2**62, "")), nearest_fit(lowered))
        else:
            lowered = lowered.select(fits)
            most_ticks = max(most_ticks, lowered.most_ticks())
            ranked.append(_rank(points, lowered, fits, op, acc, objective))
    if not ranked:
        reasons = [reason for _, reason in rejected.values()]
        raise MappingError(f"no mapping of '{op.name}' fits {acc.name}", reasons)
    run: list[_Run] = []
    for shape in sorted(ranked, key=lambda shape: float(shape.least[0])):
        run += _run_points_that_may_win(shape, acc, objective, min((r.cost for r in run), default=np.inf))
    least = min((r.cost for r in run), default=np.inf)
    if least == np.inf:
        raise too_long(op, acc, most_ticks, most_ticks)
    winner = min((r for r in run if r.cost <= least * (1 + TIE)), key=lambda r: (r.traffic_bytes, r.dynamic_j, r.cost))
    mapping = dataflow.complete(op, acc, winner.points, winner.index)
    tried = sum(len(points.table) for points in spaces)
    return Found(mapping, winner.cost, tried, sum(len(shape.index) for shape in ranked))


def _rank(points: Points, lowered: Lowered, fits: IntArray, op: Op, acc: Accelerator, objective: str) -> _Ranked:
    bound, fires = bounds(lowered)
    counted = np.einsum("nr,nra->na", fires, lowered.block.actions) * lowered.copies[:, None]
    dynamic_j = counted @ pj_per_column(acc, op.dtype) * 1e-12
    traffic = counted[:, MAIN].sum(axis=1)
    least = _cost(bound, dynamic_j, acc, objective)
    order = np.lexsort((traffic, least))
    return _Ranked(points, lowered.select(order), fits[order], dynamic_j[order], traffic[order], least[order])


def _cost(ticks: IntArray, dynamic_j: FloatArray, acc: Accelerator, objective: str) -> FloatArray:
    """The objective of points; infinite where a point takes longer than can be counted."""
    seconds = ticks / TICKS / acc.clock_hz
    joules = dynamic_j + acc.power.idle_w * seconds
    cost = {"latency": seconds, "energy": joules, "edp": seconds * joules}[objective]
    return np.where(ticks < TOO_LONG, cost, np.inf)


def _run_points_that_may_win(shape: _Ranked, acc: Accelerator, objective: str, limit: float) -> list[_Run]:
    """The points whose bound allows to be as good as ``limit``, run; those that are much worse left out."""
    run: list[_Run] = []
    first, size = 0, FIRST_CHUNK
    countable = int(np.searchsorted(shape.least, np.inf))
    while first < countable and shape.least[first] <= limit * (1 + TIE):
        end = min(countable, int(np.searchsorted(shape.least, limit * (1 + TIE), side="right")))
        chosen = np.arange(first, min(first + size, end))
        costs = _cost(run_points(shape.lowered.select(chosen)), shape.dynamic_j[chosen], acc, objective)
        limit = min(limit, float(costs.min()))
        for at, cost in zip(chosen.tolist(), costs.tolist(), strict=True):
            if cost <= limit * (1 + TIE) and cost < np.inf:
                index = int(shape.index[at])
                run.append(_Run(cost, float(shape.traffic_bytes[at]), float(shape.dynamic_j[at]), shape.points, index))
        first += len(chosen)
        size *= 2
    return run

"""Search over a mapping's open choices: exact over its space, guided by the closed-form bound.

Points are tried in the order of their lower bound until none left can win, so the result is the minimum of the whole
space; ties go to the point with less off-chip traffic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.energy import energy_of, price_list
from accsim.engine.run import run_program
from accsim.engine.tables import IntArray
from accsim.errors import InputError, MappingError, nearest
from accsim.kernels.matrix import TICKS
from accsim.mapping.base import Dataflow, Step
from accsim.mapping.compiled import (
    CompiledDataflow,
    FloatArray,
    Lowered,
    Points,
    bounds,
    nearest_fit,
    pj_per_column,
    run_points,
)
from accsim.mapping.shape import ACTIONS
from accsim.workload.ops import Op

OBJECTIVES = ("latency", "energy", "edp")
FIRST_CHUNK = 4
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
    """
    if objective not in OBJECTIVES:
        guess = nearest(objective, OBJECTIVES)
        hint = f" Did you mean '{guess}'?" if guess else ""
        raise InputError(f"unknown objective '{objective}', allowed are {', '.join(OBJECTIVES)}.{hint}")
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
    for candidate in candidates:
        try:
            steps = candidate.steps(op, acc)
        except MappingError as error:
            rejected.append(str(error))
            continue
        cost = _cost_of_steps(steps, op, acc, objective)
        if best is None or cost < best[0]:
            best = (cost, candidate)
    if best is None:
        raise MappingError(f"no mapping of '{op.name}' fits {acc.name}", rejected)
    return Found(best[1], best[0], len(candidates), len(candidates) - len(rejected))


def _cost_of_steps(steps: Sequence[Step], op: Op, acc: Accelerator, objective: str) -> float:
    prices = price_list(acc, op.dtype)
    seconds = joules = 0.0
    for step in steps:
        counters = run_program(step.program, attribution=False)
        seconds += counters.total_ticks / TICKS / acc.clock_hz
        dynamic = {action: count * step.copies for action, count in counters.actions.items()}
        joules += energy_of(dynamic, prices, 0.0, 0.0).total_j
    joules += acc.power.idle_w * seconds
    return {"latency": seconds, "energy": joules, "edp": seconds * joules}[objective]


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
    rejected = []
    spaces = dataflow.space(op, acc)
    for points in spaces:
        lowered = dataflow.lower(op, acc, points, actions=True)
        fits = np.flatnonzero(lowered.overflow()[0])
        if len(fits) == 0:
            rejected.append(nearest_fit(lowered))
        else:
            ranked.append(_rank(points, lowered.select(fits), fits, op, acc, objective))
    best: tuple[float, float] = (np.inf, np.inf)
    mapping: Dataflow | None = None
    for shape in sorted(ranked, key=lambda shape: float(shape.least[0])):
        cost, traffic, index = _best_point(shape, acc, objective, best[0])
        if (cost, traffic) < best:
            best = (cost, traffic)
            mapping = dataflow.complete(op, acc, shape.points, index)
    if mapping is None:
        raise MappingError(f"no mapping of '{op.name}' fits {acc.name}", rejected)
    tried = sum(len(points.table) for points in spaces)
    return Found(mapping, best[0], tried, sum(len(shape.index) for shape in ranked))


def _rank(
    points: Points, lowered: Lowered, fits: IntArray, op: Op, acc: Accelerator, objective: str
) -> _Ranked:
    bound, fires = bounds(lowered)
    counted = np.einsum("nr,nra->na", fires, lowered.block.actions) * lowered.copies[:, None]
    dynamic_j = counted @ pj_per_column(acc, op.dtype) * 1e-12
    traffic = counted[:, MAIN].sum(axis=1)
    least = _cost(bound, dynamic_j, acc, objective)
    order = np.lexsort((traffic, least))
    return _Ranked(points, lowered.select(order), fits[order], dynamic_j[order], traffic[order], least[order])


def _cost(ticks: IntArray, dynamic_j: FloatArray, acc: Accelerator, objective: str) -> FloatArray:
    seconds = ticks / TICKS / acc.clock_hz
    joules = dynamic_j + acc.power.idle_w * seconds
    return {"latency": seconds, "energy": joules, "edp": seconds * joules}[objective]


def _best_point(shape: _Ranked, acc: Accelerator, objective: str, limit: float) -> tuple[float, float, int]:
    """(cost, off-chip bytes, index in the space) of the best point, infinite where none is as good as ``limit``."""
    best = (np.inf, np.inf, -1)
    first, size = 0, FIRST_CHUNK
    while first < len(shape.least) and shape.least[first] <= limit:
        chosen = np.arange(first, min(first + size, int(np.searchsorted(shape.least, limit, side="right"))))
        ticks = run_points(shape.lowered.select(chosen))
        costs = _cost(ticks, shape.dynamic_j[chosen], acc, objective)
        winner = int(np.lexsort((shape.traffic_bytes[chosen], costs))[0])
        at = chosen[winner]
        best = min(best, (float(costs[winner]), float(shape.traffic_bytes[at]), int(shape.index[at])))
        limit = min(limit, best[0])
        first += len(chosen)
        size *= 2
    return best

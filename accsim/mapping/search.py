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
from accsim.mapping.compiled import CompiledDataflow, FloatArray, Lowered, bounds, nearest_fit, pj_per_column, run_points
from accsim.mapping.shape import ACTIONS
from accsim.workload.ops import Op

OBJECTIVES = ("latency", "energy", "edp")
CHUNK = 128
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


def _search_points(dataflow: CompiledDataflow, op: Op, acc: Accelerator, objective: str) -> Found:
    best: tuple[float, float, Dataflow] | None = None
    rejected = []
    tried = feasible = 0
    for points in dataflow.space(op, acc):
        lowered = dataflow.lower(op, acc, points, actions=True)
        fits = np.flatnonzero(lowered.overflow()[0])
        tried += len(points.table)
        feasible += len(fits)
        if len(fits) == 0:
            rejected.append(nearest_fit(lowered))
            continue
        winner = _best_point(lowered.select(fits), op, acc, objective, best[0] if best else np.inf)
        if winner is not None and (best is None or winner[:2] < best[:2]):
            best = (winner[0], winner[1], dataflow.complete(op, acc, points, int(fits[winner[2]])))
    if best is None:
        raise MappingError(f"no mapping of '{op.name}' fits {acc.name}", rejected)
    return Found(best[2], best[0], tried, feasible)


def _best_point(
    lowered: Lowered, op: Op, acc: Accelerator, objective: str, limit: float
) -> tuple[float, float, int] | None:
    """(cost, off-chip bytes, index) of the best point that is not worse than ``limit``."""
    arrays = lowered.shape.arrays(lowered.block)
    bound, fires = bounds(lowered, arrays)
    counted = np.einsum("nr,nra->na", fires, lowered.block.actions) * lowered.copies[:, None]
    dynamic_j = counted @ pj_per_column(acc, op.dtype) * 1e-12
    traffic = counted[:, MAIN].sum(axis=1)

    def cost(ticks: IntArray, chosen: IntArray) -> FloatArray:
        seconds = ticks / TICKS / acc.clock_hz
        joules = dynamic_j[chosen] + acc.power.idle_w * seconds
        return {"latency": seconds, "energy": joules, "edp": seconds * joules}[objective]

    everything = np.arange(len(bound))
    least = cost(bound, everything)
    order = np.lexsort((traffic, least))
    best: tuple[float, float, int] | None = None
    for first in range(0, len(order), CHUNK):
        chosen = order[first : first + CHUNK]
        if least[chosen[0]] > limit:
            break
        costs = cost(run_points(lowered.select(chosen), arrays), chosen)
        winner = int(np.lexsort((traffic[chosen], costs))[0])
        entry = (float(costs[winner]), float(traffic[chosen[winner]]), int(chosen[winner]))
        if best is None or entry[:2] < best[:2]:
            best = entry
            limit = min(limit, best[0])
    return best

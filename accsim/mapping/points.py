"""Search over the points of a compiled dataflow: exact over its space, guided by the closed-form bound.

Points are run in the order of their lower bound until none left can be the best or the next, so the result is that of
running every one. What does not depend on time (traffic, footprint) is known without running.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.tables import IntArray
from accsim.errors import AccsimError, MappingError
from accsim.kernels.matrix import TICKS
from accsim.kernels.work import ACTIONS
from accsim.mapping.compiled import (
    TOO_LONG,
    CompiledDataflow,
    Points,
    bounds,
    nearest_fit,
    pj_per_column,
    run_points,
)
from accsim.mapping.format_run import matrix_dtype
from accsim.mapping.found import Found, Scored, best_and_next, unmet
from accsim.mapping.goal import TIE, TIMELESS, Costs, FloatArray, Goal, preference
from accsim.mapping.limits import too_long
from accsim.mapping.machine_numbers import overhead_ticks
from accsim.workload.ops import Op

MAIN = ("main_read", "main_write")
BLOCK = 2048
"""Points that are lowered at once, which bounds the memory."""
FIRST_RUN, MOST_RUN = 16, 512
"""Points that are run at once: at first, and at most."""


@dataclass(frozen=True)
class Space:
    """The points that fit: where each is, and what is known of it before it is run.

    Attributes
    ----------
    tables : the points of each shape; ``place`` (int64[n, 2]) has the shape and the row of its table.
    bound_ticks : int64[n], no more than what the engine says.
    dynamic_j, traffic_bytes, footprint_bytes : float64[n], exact.
    points : how many there are, those that do not fit included.
    """

    dataflow: CompiledDataflow
    op: Op
    acc: Accelerator
    tables: list[Points]
    place: IntArray
    bound_ticks: IntArray
    dynamic_j: FloatArray
    traffic_bytes: FloatArray
    footprint_bytes: FloatArray
    points: int

    @cached_property
    def everything(self) -> IntArray:
        """All points that do not take longer than can be counted, as far as the bound says."""
        return np.flatnonzero(self.bound_ticks < TOO_LONG)

    def costs(self, at: IntArray, ticks: IntArray) -> Costs[FloatArray]:
        """Costs of points that take so many ticks; infinite where they are more than can be counted."""
        seconds = (ticks + overhead_ticks(self.acc, "op")) / TICKS / self.acc.clock_hz
        joules = self.dynamic_j[at] + self.acc.power.idle_w * seconds
        seconds, joules = (np.where(ticks < TOO_LONG, values, np.inf) for values in (seconds, joules))
        return Costs(seconds, joules, self.traffic_bytes[at], self.footprint_bytes[at])

    def least(self, at: IntArray, quantity: str) -> FloatArray:
        """A lower bound of a quantity of points; of power, which falls as time grows, only the idle power."""
        if quantity == "power":
            return np.full(len(at), self.acc.power.idle_w)
        return self.costs(at, self.bound_ticks[at]).of(quantity)

    def run(self, at: IntArray) -> IntArray:
        """Ticks of points from the engine."""
        ticks = np.empty(len(at), np.int64)
        shape, row = self.place[at].T
        for number in np.unique(shape):
            chosen = shape == number
            points = self.tables[number]
            chunk = Points(points.variant, points.table[row[chosen]])
            ticks[chosen] = run_points(self.dataflow.lower(self.op, self.acc, chunk, actions=False))
        return ticks

    def scored(self, at: int, costs: Costs[FloatArray], i: int) -> Scored:
        """A point as a mapping; its costs are the i-th ones."""
        shape, row = self.place[at].tolist()
        mapping = self.dataflow.complete(self.op, self.acc, self.tables[shape], row)
        return Scored(mapping, Costs(*(float(values[i]) for values in costs)))


def search_points(dataflow: CompiledDataflow, op: Op, acc: Accelerator, goal: Goal) -> Found:
    """The best point of a dataflow's space, and the next one.

    Raises
    ------
    MappingError
        When no point fits, or none keeps the constraints.
    TooLongError
        When all that fit take longer than can be counted.
    """
    space = _space(dataflow, op, acc, goal)
    ran = _leaders(space, goal)
    if len(ran.at) == 0:
        raise _nothing(space, goal)
    order = preference(ran.costs, goal.objective)
    best, runner_up = best_and_next(space.scored(int(ran.at[i]), ran.costs, int(i)) for i in order)
    return Found(goal, best, runner_up, space.points, len(space.place))


def _space(dataflow: CompiledDataflow, op: Op, acc: Accelerator, goal: Goal) -> Space:
    tables = dataflow.fine_space(op, acc) if goal.effort == "exhaustive" else dataflow.space(op, acc)
    worth = np.column_stack([pj_per_column(acc, matrix_dtype(op, acc)) * 1e-12, [column in MAIN for column in ACTIONS]])
    local = acc.memories[0].name
    known: list[tuple[IntArray, IntArray, FloatArray, FloatArray, FloatArray]] = []
    rejected: dict[str, tuple[int, str]] = {}
    for number, points in enumerate(tables):
        for at, lowered in dataflow.lower_in_blocks(op, acc, points, BLOCK):
            fits = np.flatnonzero(lowered.fits())
            if len(fits) == 0:
                name = lowered.shape.name
                rejected[name] = min(rejected.get(name, (2**62, "")), nearest_fit(lowered))
                continue
            bound, fires, _ = bounds(lowered, deep=True)
            joules, main = lowered.counted(fires, worth)[fits].T
            place = np.column_stack([np.full(len(fits), number), at.start + fits])
            known.append((place, bound[fits], joules, np.rint(main), lowered.reserved_bytes(local)[fits]))
    if not known:
        reasons = [reason for _, reason in rejected.values()]
        raise MappingError(f"no mapping of '{op.name}' fits {acc.name}", reasons)
    place, bound, joules, traffic, footprint = (np.concatenate(column) for column in zip(*known, strict=True))
    count = sum(len(points.table) for points in tables)
    return Space(dataflow, op, acc, tables, place, bound, joules, traffic, footprint, count)


class _Ran:
    """The points that were run and keep the constraints, with what they cost."""

    def __init__(self, space: Space, goal: Goal) -> None:
        self.space, self.goal = space, goal
        self.at = np.zeros(0, np.int64)
        self.costs: Costs[FloatArray] = Costs(*np.zeros((len(Costs._fields), 0)))

    def run(self, at: IntArray) -> None:
        """Run more points."""
        ticks = self.space.run(at)
        at, ticks = at[ticks < TOO_LONG], ticks[ticks < TOO_LONG]
        costs = self.space.costs(at, ticks)
        kept = self.goal.kept(costs)
        self.at = np.concatenate([self.at, at[kept]])
        self.costs = Costs(*(np.append(old, new[kept]) for old, new in zip(self.costs, costs, strict=True)))

    def least(self, quantity: str) -> float:
        """The least value of a quantity; infinite where there is no point."""
        return float(self.costs.of(quantity).min(initial=np.inf))


def _leaders(space: Space, goal: Goal) -> _Ran:
    """Points run until the best two that keep the constraints are among them."""
    ran = _Ran(space, goal)
    among = space.everything
    for constraint in goal.constraints:
        among = among[space.least(among, constraint.quantity) <= constraint.limit]
    if goal.objective not in TIMELESS:
        _run_in_order(ran, among, goal.objective)
        return ran
    value = space.least(among, goal.objective)
    order = np.argsort(value, kind="stable")
    among, value = among[order], value[order]
    first = 0
    while first < len(among) and (len(ran.at) < 2 or value[first] <= ran.least(goal.objective) * (1 + TIE)):
        most = value[first] if len(ran.at) else value[first] * (1 + TIE)
        end = int(np.searchsorted(value, most, side="right"))
        _run_in_order(ran, among[first:end], "latency")
        first = end
    return ran


def _run_in_order(ran: _Ran, among: IntArray, quantity: str) -> None:
    """Run points in the order of a quantity's lower bound, until none left can be the best or the next."""
    least = ran.space.least(among, quantity)
    order = np.argsort(least, kind="stable")
    among, least = among[order], least[order]
    two_least = np.full(2, np.inf)
    first, size, end = 0, FIRST_RUN, len(among)
    while first < end:
        ran.run(among[first : min(first + size, end)])
        first = min(first + size, end)
        size = min(2 * size, MOST_RUN)
        two_least = np.sort(np.append(ran.costs.of(quantity), [np.inf, np.inf]))[:2]
        end = max(first, int(np.searchsorted(least, two_least[1])))
    tied = among[first : int(np.searchsorted(least, two_least[0] * (1 + TIE), side="right"))]
    _run_ties(ran, tied, quantity)


def _run_ties(ran: _Ran, among: IntArray, quantity: str) -> None:
    """Run points that may be as good as the best, from the least traffic, until ties leave no better one."""
    space = ran.space
    ties = (space.traffic_bytes[among], space.footprint_bytes[among], space.least(among, "energy"))
    order = np.lexsort(ties[::-1])
    among, left = among[order], np.column_stack(ties)[order]
    first, size = 0, FIRST_RUN
    while first < len(among):
        tied = ran.costs.of(quantity) <= ran.least(quantity) * (1 + TIE)
        known = np.column_stack([ran.costs.of(name)[tied] for name in ("traffic", "footprint", "energy")])
        best = sorted(known.tolist())[:2]
        if len(best) == 2 and left[first].tolist() > best[1]:
            break
        ran.run(among[first : first + size])
        first += size
        size = min(2 * size, MOST_RUN)


def _nothing(space: Space, goal: Goal) -> AccsimError:
    """Why no point is left: each takes too long, or breaks a constraint."""
    if not np.isfinite(_least_reached(space, "latency")):
        lowered = (space.dataflow.lower(space.op, space.acc, points, actions=False) for points in space.tables)
        most = max(one.select(one.fits()).most_ticks() for one in lowered if one.fits().any())
        return too_long(space.op, space.acc, most, most)
    least = {constraint.quantity: _least_reached(space, constraint.quantity) for constraint in goal.constraints}
    return unmet(space.op, space.acc, type(space.dataflow).__name__, goal, least)


def _least_reached(space: Space, quantity: str) -> float:
    """The least value of a quantity over all points; infinite when all take too long."""
    ran = _Ran(space, Goal())
    _run_in_order(ran, space.everything, quantity)
    return ran.least(quantity)

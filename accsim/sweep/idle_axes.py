"""Axes on which nothing depends: sections of a machine, and fields, that what is run does not use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from accsim.sweep.axes import Axis, Scalar
from accsim.sweep.columns import RESULTS
from accsim.sweep.evaluate import evaluate_points
from accsim.sweep.space import Point, Space, plain

AREA = "area_mm2"
"""A result that an axis changes whether or not what it gives is used."""
DESIGNS = 8
"""Designs at which an axis is changed before it is called idle; more where there are more machines and workloads."""


class IdleAxes(NamedTuple):
    """Axes along which no result but the area changed, and at how many points each was tried."""

    keys: tuple[str, ...]
    tried: int

    def __str__(self) -> str:
        fields = ", ".join(self.keys)
        return f"no time or energy depends on {fields}, as {self.tried} points tell: what is run does not use it"


def idle_axes(space: Space) -> IdleAxes | None:
    """The axes whose first and last value give the same at each of some points; None where every axis matters.

    Notes
    -----
    At a point of each machine and workload, and at more points of few, one axis after the other takes its first and
    last value, the others stay. An axis is left out as soon as one result differs, of those without constraints. The
    area counts for its own axes alone: larger units have more of it, used or not.
    """
    space = replace(space, constraints=())
    many = [axis for axis in space.axes if axis.interval or axis.size > 1]
    idle = [axis for axis in many if not axis.key.split(".")[-1].startswith("area")]
    tried = 0
    for point in _points(space):
        if not idle:
            return None
        found = _results(space, point)
        idle = [axis for axis in idle if all(_results(space, other) == found for other in _others(point, axis))]
        tried += 1
    return IdleAxes(tuple(axis.key for axis in idle), tried) if idle else None


def _points(space: Space) -> Iterator[Point]:
    """Points evenly over the combinations, of every machine and workload."""
    pairs = [(machine, item.workload) for machine in space.machines for item in space.workloads]
    for draw in np.unique(np.linspace(0, space.draws - 1, -(-DESIGNS // len(pairs))).astype(int)).tolist():
        values = {key: plain(column[0]) for key, column in space.columns(draw, draw + 1).items()}
        yield from (Point(machine, workload, values) for machine, workload in pairs)


def _others(point: Point, axis: Axis) -> Iterator[Point]:
    """The point with each end of an axis that is not its own."""
    ends: list[Scalar] = [plain(end) for end in axis.ends]
    return (point._replace(values={**point.values, axis.key: end}) for end in ends if end != point.values[axis.key])


def _results(space: Space, point: Point) -> dict[str, Any]:
    """What a point gives when it is run by itself."""
    (row,) = evaluate_points(space, [point]).select([name for name in RESULTS if name != AREA]).to_pylist()
    found: dict[str, Any] = row
    return found

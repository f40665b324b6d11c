"""What a sweep would do: points, groups, an estimate of the time from a few points, and the first ten."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from accsim.sweep.evaluate import evaluate_part
from accsim.sweep.groups import Group, Shard
from accsim.sweep.idle_axes import IdleAxes, idle_axes
from accsim.sweep.manifest import SCHEMA_VERSION
from accsim.sweep.part import part_of
from accsim.sweep.space import Point, Space
from accsim.sweep.summary import show_points

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = 10
MOST_POINTS = 4
"""Points of a group that are run where each is searched."""


@dataclass(frozen=True)
class DryRun:
    """A space that was looked at.

    Attributes
    ----------
    seconds : an estimate on one core, from ``tried`` points that were run.
    first : the first points.
    idle : axes on which no result depends.
    """

    space: Space
    shard: Shard
    groups: int
    points: int
    seconds: float
    tried: int
    first: tuple[Point, ...]
    idle: IdleAxes | None

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.space.name,
            "points": self.points,
            "designs": self.space.designs,
            "groups": self.groups,
            "shard": str(self.shard),
            "estimated_seconds_on_one_core": self.seconds,
            "points_tried": self.tried,
            "idle_axes": list(self.idle.keys) if self.idle else [],
            "first": [{"machine": p.machine, "workload": p.workload, **p.values} for p in self.first],
        }

    def show(self, console: Console) -> None:
        """As text and a table."""
        space = self.space
        counted = f"{len(space.machines)} machines x {space.draws:,} combinations x {len(space.workloads)} workloads"
        console.print(f"{space.name}: {self.points:,} points in {self.groups:,} groups ({counted})", markup=False)
        console.print(f"about {self.seconds:.3g} s on one core, from {self.tried} points that were run")
        if self.idle:
            console.print(str(self.idle), markup=False, soft_wrap=True)
        several = [axis.key for axis in space.axes if axis.size != 1] + [link.key for link in space.linked]
        names = {"machine": len(space.machines) > 1, "workload": len(space.workloads) > 1}
        rows = [
            {name: getattr(point, name) for name, shown in names.items() if shown}
            | {key: point.values[key] for key in several}
            for point in self.first
        ]
        if rows[0]:
            show_points(console, f"The first {len(rows)}", rows, space.dimensions)


def dry_run(space: Space, shard: Shard) -> DryRun:
    """Count a space and run a few points of it."""
    groups, points = shard.counted(space)
    chosen = _tried(space, shard, groups)
    seconds = tried = 0.0
    for group in chosen:
        stop = group.stop if group.points > MOST_POINTS * 8 else min(group.stop, group.start + MOST_POINTS)
        part = part_of(space, group.start, stop)
        evaluate_part(space, part_of(space, group.start, group.start + 1))  # what is compiled or loaded once
        begin = time.perf_counter()
        evaluate_part(space, part)
        seconds, tried = seconds + time.perf_counter() - begin, tried + part.points
    first, seconds = tuple(space.points(0, SHOWN)), seconds * points / max(tried, 1)
    return DryRun(space, shard, groups, points, seconds, int(tried), first, idle_axes(space))


def _tried(space: Space, shard: Shard, groups: int) -> list[Group]:
    """The first, middle and last group."""
    wanted = {0, groups // 2, groups - 1}
    return [group for i, group in enumerate(shard.groups(space)) if i in wanted]

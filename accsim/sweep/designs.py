"""Designs: points without their workloads. What is found of one with all workloads, and how many are run at once."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from accsim.sweep.axes import Scalar
from accsim.sweep.evaluate import evaluate_points, failed_part
from accsim.sweep.executors import Done, Executor
from accsim.sweep.groups import Group
from accsim.sweep.kinds.chip_work import runs_in_blocks
from accsim.sweep.run import rows_of
from accsim.sweep.space import Point, Space
from accsim.sweep.work import FEW, done

if TYPE_CHECKING:
    import pandas as pd

SUMMED = ("total_cycles", "latency_s", "energy_j", "main_read_bytes", "main_write_bytes")
"""Results that workloads add to, each with its weight."""
OVER_TIME = ("matrix_utilization", "vector_utilization", "memory_utilization", "samples_per_s")
"""Results that are shares of time, or rates."""
COMMON = ("area_mm2", "clock_hz", "chips")
"""Results that are of the machine."""
NO_RESULT = 1.0
"""Violation of a workload that keeps all constraints but cannot be run; the most that one constraint counts."""


class Design(NamedTuple):
    """A machine, and the values of the axes in base units."""

    machine: str
    values: Mapping[str, Scalar]


class Found(NamedTuple):
    """What a design gives with all workloads.

    Attributes
    ----------
    numbers : column -> its value; nan where a workload has no result.
    violation : how far from feasible, a sum over workloads and constraints; 0 of a feasible design.
    error : why it is not feasible.
    """

    numbers: Mapping[str, float]
    violation: float
    error: str | None


@dataclass(frozen=True)
class RunDesigns:
    """Work on groups of any points of a space; ``warm`` says that a copy of this process has all it needs."""

    space: Space
    points: tuple[Point, ...]
    warm: bool

    def __call__(self, group: Group) -> Done:
        """The rows of a group."""
        start = time.perf_counter()
        table = evaluate_points(self.space, self.points[group.start : group.stop])
        return done(self.space, group, table, time.perf_counter() - start)

    def prepare(self, group: Group) -> None:
        """Run the first few points, which compiles and loads what the others need too."""
        if not self.warm:
            evaluate_points(self.space, self.points[group.start : min(group.stop, group.start + FEW)])

    def give_up(self, group: Group, why: str) -> Done:
        """A group that nobody can run: every point of it is a row with the reason."""
        points = self.points[group.start : group.stop]
        return done(self.space, group, evaluate_points(self.space, points, partial(failed_part, why=why)), 0.0)


def run_designs(space: Space, designs: Sequence[Design], executor: Executor, *, warm: bool = False) -> list[Found]:
    """What is found of some designs, in their order.

    Parameters
    ----------
    warm : an earlier call has run designs of this space in this process.
    """
    import pandas as pd

    if not designs:
        return []
    each = len(space.workloads)
    points = tuple(
        Point(design.machine, item.workload, design.values) for design in designs for item in space.workloads
    )
    size = len(points) if runs_in_blocks(space) else each
    groups = (Group(i, start, start + size) for i, start in enumerate(range(0, len(points), size)))
    parts = sorted(executor.run(RunDesigns(space, points, warm), groups), key=lambda part: part.group.number)
    rows = pd.concat([rows_of(part) for part in parts], ignore_index=True)
    return [_found(space, chosen) for chosen in _split(rows, each)]


def _split(rows: pd.DataFrame, each: int) -> Iterator[list[dict[str, Any]]]:
    plain = rows.to_dict("records")
    return ([{str(key): value for key, value in row.items()} for row in plain[i : i + each]]
            for i in range(0, len(plain), each))  # fmt: skip


def _found(space: Space, rows: Sequence[dict[str, Any]]) -> Found:
    """A design from its rows, one for each workload."""
    numbers = {name: float(rows[0][name]) for name in COMMON}
    numbers |= {name: math.fsum(row["weight"] * row[name] for row in rows) for name in SUMMED}
    seconds = numbers["latency_s"]
    numbers["power_w"] = numbers["energy_j"] / seconds if seconds else math.nan
    for name in OVER_TIME:
        busy = math.fsum(row["weight"] * row["latency_s"] * row[name] for row in rows)
        numbers[name] = busy / seconds if seconds else math.nan
    numbers |= {key: rows[0][key] for key in space.keys if not isinstance(rows[0][key], str)}
    broken = [row for row in rows if not row["feasible"]]
    return Found(numbers, sum(_violation(space, row) for row in broken), str(broken[0]["error"]) if broken else None)


def _violation(space: Space, row: Mapping[str, Any]) -> float:
    """How far the constraints are from being kept, as far as the row tells; `NO_RESULT` where all of them are."""
    told = [constraint for constraint in space.constraints if all(name in row for name in constraint.names)]
    missed = math.fsum(constraint.excess(row) for constraint in told)
    return missed or NO_RESULT

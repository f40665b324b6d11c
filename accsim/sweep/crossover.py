"""What would have to change for one design to beat another: the value of an axis from which on it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accsim.errors import InputError, Problem, nearest
from accsim.sweep.axes import Axis, Scalar, written
from accsim.sweep.designs import Design, run_designs
from accsim.sweep.executors.in_process import InProcess
from accsim.sweep.manifest import SCHEMA_VERSION
from accsim.sweep.objectives import read_objectives
from accsim.sweep.space import Space, plain, read_space

if TYPE_CHECKING:
    from rich.console import Console

LOOKS = 9
"""Values of the axis that are tried first, ends included."""
STEPS = 60
"""Halvings at most."""


@dataclass(frozen=True)
class Side:
    """Both designs at one value of the axis: their objective, infinite for one that is not feasible."""

    value: Scalar
    first: float
    second: float

    def to_dict(self) -> dict[str, Any]:
        """As plain data; no number where a design is not feasible."""
        numbers = {"first": self.first, "second": self.second}
        return {"value": self.value, **{name: None if np.isinf(x) else x for name, x in numbers.items()}}

    @property
    def second_wins(self) -> bool:
        """Whether the second is better."""
        return self.second < self.first

    @property
    def better(self) -> str:
        """``A`` for the first, ``B`` for the second; where they do not differ, in a word."""
        if self.first == self.second:
            return "neither" if np.isinf(self.first) else "both"
        return "B" if self.second_wins else "A"

    def __str__(self) -> str:
        return " and ".join(
            "not feasible" if np.isinf(result) else f"{result:.4g}" for result in (self.first, self.second)
        )


@dataclass(frozen=True)
class Crossover:
    """Where the second design begins to beat the first, or stops to.

    Attributes
    ----------
    axis, objective : what was changed, and what was compared.
    before, after : neighbouring values of the axis between which the winner changes; None where it never does.
    looked : all values that were tried first, in rising order.
    dimension : kind of quantity the axis is.
    """

    axis: str
    objective: str
    before: Side | None
    after: Side | None
    looked: tuple[Side, ...]
    dimension: str | None = None

    def __str__(self) -> str:
        looked = f"from {self._at(self.looked[0])} to {self._at(self.looked[-1])}"
        if self.before is None or self.after is None:
            if all(np.isinf(side.first) and np.isinf(side.second) for side in self.looked):
                return f"{self.axis}: neither of the two is feasible anywhere {looked}"
            if all(side.first == side.second for side in self.looked):
                return f"{self.axis}: both have the same {self.objective} everywhere {looked}"
            winner = "second" if self.looked[0].second_wins else "first"
            return f"{self.axis}: the {winner} has the better {self.objective} everywhere {looked}"
        verb = "begins" if self.after.second_wins else "stops"
        before, after = (f"{self._at(side)} ({side})" for side in (self.before, self.after))
        return f"{self.axis}: the second {verb} to win by {self.objective} between {before} and {after}"

    def _at(self, side: Side) -> Scalar:
        return written(side.value, self.dimension)

    def to_dict(self) -> dict[str, Any]:
        """As plain data; ``before`` and ``after`` are None where the winner never changes."""
        ends = {name: side and side.to_dict() for name, side in (("before", self.before), ("after", self.after))}
        looked = [side.to_dict() for side in self.looked]
        about = {"schema_version": SCHEMA_VERSION, "axis": self.axis, "objective": self.objective}
        return {**about, **ends, "looked": looked, "text": str(self)}

    def show(self, console: Console) -> None:
        """As text, and a table of the values that were tried first."""
        from rich.table import Table

        console.print(str(self), markup=False, soft_wrap=True)
        table = Table(box=None)
        for name in (self.axis, f"{self.objective} of A", "of B", "better"):
            table.add_column(name, justify="left" if name == "better" else "right", overflow="fold")
        for side in self.looked:
            told = ["not feasible" if np.isinf(x) else f"{x:.4g}" for x in (side.first, side.second)]
            table.add_row(str(self._at(side)), *told, side.better)
        console.print(table)


def crossover(
    space: Space | str | Path,
    first: Design,
    second: Design,
    axis: str,
    *,
    objective: str = "latency_s",
    both: bool = False,
    tolerance: float = 1e-3,
) -> Crossover:
    """The least value of an axis at which the winner of two designs changes, found by simulating both.

    Parameters
    ----------
    space : says what the axis may be, and has the workloads and the constraints.
    first, second : designs of the space; an axis that one leaves out has its first value.
    axis : of numbers. Of a list only its values are tried.
    objective : what is better when it is less.
    both : change the axis in both designs ("from what length on does B win?"); else in the second alone ("what does B
        need to beat A?").
    tolerance : an interval is halved until its ends differ by this share.

    Raises
    ------
    InputError
        For a bad space, objective or design, and an axis that is not of numbers.

    Notes
    -----
    At first nine values over the whole axis are compared (evenly by its logarithm where it is a scale or an interval of
    one); then the first two neighbours with different winners are brought together by bisection. Two changes between
    neighbours of the nine go unseen.
    """
    space = read_space(space)
    (goal,) = read_objectives(space, [objective])
    chosen = _axis(space, axis)
    ends = [_complete(space, design) for design in (first, second)]

    def result(design: Design) -> float:
        (found,) = run_designs(space, [design], InProcess())
        return float(goal.of(found.numbers)) if found.error is None else np.inf

    def at(design: Design, value: Scalar) -> float:
        return result(Design(design.machine, {**design.values, axis: value}))

    fixed = None if both else result(ends[0])

    def side(value: Scalar) -> Side:
        return Side(value, at(ends[0], value) if fixed is None else fixed, at(ends[1], value))

    values, between = _values(chosen), _between(chosen, tolerance)
    looked = tuple(side(value) for value in values)
    for before, after in pairwise(looked):
        if before.second_wins != after.second_wins:
            return Crossover(axis, objective, *_narrowed(before, after, side, between), looked, chosen.dimension)
    return Crossover(axis, objective, None, None, looked, chosen.dimension)


def _axis(space: Space, key: str) -> Axis:
    known = [axis.key for axis in space.axes if axis.ends.dtype.kind in "if"]
    found = next((axis for axis in space.axes if axis.key == key), None)
    if found is None or key not in known:
        allowed = f"no axis of numbers of {space.name}, allowed are {', '.join(known)}"
        raise InputError(Problem("crossover", key, allowed, nearest(key, known)))
    return found


def _complete(space: Space, design: Design) -> Design:
    """A design with a value for every axis."""
    keys = [axis.key for axis in space.axes]
    problems = [
        Problem("crossover", key, f"no axis of {space.name}, allowed are {', '.join(keys)}", nearest(key, keys))
        for key in design.values
        if key not in keys
    ]
    if design.machine not in space.machines:
        allowed = f"no machine of {space.name}, allowed are {', '.join(space.machines)}"
        problems.append(Problem("crossover", design.machine, allowed, nearest(design.machine, space.machines)))
    if problems:
        raise InputError(problems)
    return Design(design.machine, {**{axis.key: axis.values[0] for axis in space.axes}, **design.values})


def _values(axis: Axis) -> list[Scalar]:
    """The values that are looked at first."""
    if axis.interval:
        found = np.concatenate([axis.ends, axis.drawn(np.linspace(0.0, 1.0, LOOKS)[1:-1])])
    else:
        every = np.sort(axis.column)
        found = every[np.unique(np.linspace(0, len(every) - 1, LOOKS).round().astype(int))]
    return [plain(value) for value in np.unique(found)]


def _between(axis: Axis, tolerance: float) -> Callable[[Any, Any], Scalar | None]:
    """Says a value between two; None where there is none, or they are close enough."""
    every = None if axis.interval else np.sort(axis.column)

    def of_list(low: Scalar, high: Scalar) -> Scalar | None:
        assert every is not None
        left, right = np.searchsorted(every, [low, high])
        return plain(every[(left + right) // 2]) if right - left > 1 else None

    def of_interval(low: float, high: float) -> Scalar | None:
        if high - low <= tolerance * max(abs(low), abs(high)) or (axis.whole and high - low <= 1):
            return None
        middle = np.sqrt(low * high) if axis.interval == "loguniform" else (low + high) / 2
        return min(max(int(middle), int(low) + 1), int(high) - 1) if axis.whole else float(middle)

    return of_interval if axis.interval else of_list


def _narrowed(
    before: Side, after: Side, side: Callable[[Scalar], Side], between: Callable[[Any, Any], Scalar | None]
) -> tuple[Side, Side]:
    """The last value with the one winner and the first with the other."""
    for _ in range(STEPS):
        value = between(before.value, after.value)
        if value is None:
            break
        middle = side(value)
        if middle.second_wins == before.second_wins:
            before = middle
        else:
            after = middle
    return before, after

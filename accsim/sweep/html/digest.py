"""What the page of a sweep shows, gathered from its table part by part: fronts, a sample, effects, counts.

Memory is that of a part, of the sample and of the fronts, whatever the number of points. The table is read three times:
for counts, for fronts and the sample, and for effects, since by the sample axes of many values are cut into parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from accsim.sweep.analysis import Effects
from accsim.sweep.pareto import front
from accsim.sweep.summary import count_errors
from accsim.sweep.sweep_effects import bins_of
from accsim.sweep.views import SweepTable

MOST_POINTS = 20_000
TOGETHER = (2, 3)
"""Objectives that have a front."""

Objectives = tuple[str, ...]


class ViewDigest:
    """The points of one view: how many, those on a front, and a random sample.

    Parameters
    ----------
    objectives : columns of which less is better.
    most : points of the sample.
    """

    def __init__(self, objectives: Sequence[str], most: int = MOST_POINTS) -> None:
        self.objectives, self.most = tuple(objectives), most
        self.points = 0
        self.best, self.sample = pd.DataFrame(), pd.DataFrame()
        self._random = np.random.default_rng(0)

    def add(self, rows: pd.DataFrame) -> None:
        """Take some more points."""
        rows = rows.reset_index(drop=True)
        keyed = rows.assign(
            **{DRAW: self._random.random(len(rows)), ROW: np.arange(self.points, self.points + len(rows))}
        )
        self.points += len(rows)
        best = pd.concat([self.best, keyed[self._on_some_front(keyed)]], ignore_index=True)
        self.best = best[self._on_some_front(best)]
        least = self.sample[DRAW].max() if len(self.sample) == self.most else 1.0
        drawn = pd.concat([self.sample, keyed[keyed[DRAW] < least]], ignore_index=True)
        self.sample = drawn.nsmallest(self.most, DRAW)

    def front(self, objectives: Objectives) -> list[int]:
        """Numbers of the points on a front, by the first objective; of equal ones the first."""
        found = self.best[_on_front(self.best, objectives)]
        return [int(row) for row in found.sort_values(list(objectives))[ROW]]

    def _on_some_front(self, rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
        found = np.zeros(len(rows), bool)
        for objectives in combined(self.objectives):
            found |= _on_front(rows, objectives)
        return found


DRAW, ROW = "draw", "row"
"""Columns of points that are kept: a random number, the sample being those with the least; a number of their own."""


def combined(objectives: Sequence[str]) -> Iterator[Objectives]:
    """Objectives that have a front together."""
    for count in TOGETHER:
        yield from combinations(objectives, count)


def _on_front(rows: pd.DataFrame, objectives: Objectives) -> npt.NDArray[np.bool_]:
    """Which points no other is below or at; of equal ones the first, and none with a number that is missing."""
    values = rows[list(objectives)].astype(float)
    found: npt.NDArray[np.bool_] = front(values)
    found[found] = ~values[found].duplicated().to_numpy()
    return found


def shown(views: Mapping[str, ViewDigest], most: int = MOST_POINTS) -> pd.DataFrame:
    """Points that are drawn: all that are on a front, and of the others as many as fit, drawn evenly from all views."""
    best = pd.concat([view.best.assign(view=name) for name, view in views.items()])
    drawn = pd.concat([view.sample.assign(view=name) for name, view in views.items()])
    others = drawn[~pd.MultiIndex.from_frame(drawn[["view", ROW]]).isin(pd.MultiIndex.from_frame(best[["view", ROW]]))]
    whole = pd.concat([best, others.nsmallest(max(0, most - len(best)), DRAW)])
    order = {name: place for place, name in enumerate(views)}
    return whole.sort_values(["view", ROW], key=lambda column: column.map(order) if column.name == "view" else column)


@dataclass
class Digest:
    """A whole table.

    Attributes
    ----------
    points, failed : all points, and those without a result.
    errors : a reason, the first of all that differ in nothing but numbers -> points.
    ends : field -> its least and greatest value, or the texts that it has.
    views : view -> its points.
    effects : view -> those of its axes.
    """

    points: int
    failed: int
    errors: dict[str, int]
    ends: dict[str, list[Any]]
    views: dict[str, ViewDigest]
    effects: dict[str, Effects]


def digest(table: SweepTable, objectives: Sequence[str]) -> Digest:
    """Gather what the page of a sweep shows.

    Raises
    ------
    InputError
        When there are no points, or a file of them cannot be read.
    """
    fields = tuple(table.space["axes"])
    found = Digest(0, 0, {}, {}, {}, {})
    reasons: dict[str, tuple[str, int]] = {}
    for rows in table.parts(("error", *fields)):
        found.points += len(rows)
        found.failed += int(rows["error"].notna().sum())
        counted = rows["error"].value_counts()
        count_errors(((str(reason), points) for reason, points in counted.items()), reasons)
        for name in fields:
            found.ends[name] = _ends(found.ends.get(name, []), rows[name])
    found.errors = dict(sorted(reasons.values(), key=lambda item: -item[1]))
    for name, rows in table.views():
        found.views.setdefault(name, ViewDigest(objectives)).add(rows)
    found.views = {name: view for name, view in found.views.items() if view.points}
    if found.views:
        bins = bins_of(table, pd.concat([view.sample for view in found.views.values()]))
        for name, rows in table.views():
            found.effects.setdefault(name, Effects(bins, objectives)).add(rows)
    return found


def _ends(known: list[Any], values: pd.Series[Any]) -> list[Any]:
    given = values.dropna()
    if pd.api.types.is_numeric_dtype(given) and not pd.api.types.is_bool_dtype(given):
        every = [*known, given.min(), given.max()] if len(given) else known
        return [min(every), max(every)] if every else []
    return list(dict.fromkeys([*known, *map(str, given.unique())]))

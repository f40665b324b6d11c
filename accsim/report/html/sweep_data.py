"""What the page of a sweep shows, out of the table of its points: fronts and marginal effects of all, a sample of them.

A *view* is the points of one workload, or of all workloads of a design together, weighted. Objectives are columns of
which less is better.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

OBJECTIVES = {"latency_s": "s", "energy_j": "J", "area_mm2": "mm²", "power_w": "W"}
"""Columns that are to be small, with their units."""

TOGETHER = "all workloads, weighted"
MOST_POINTS = 20_000
MOST_VALUES = 40
"""Values of an axis in its marginal effects; a numeric axis with more is cut into `BINS` of equal counts."""
BINS = 20
DIGITS = 6
"""Digits of the numbers of single points."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Views:
    """The points with a result that keep the constraints.

    Attributes
    ----------
    frame : all points, view by view; the column ``workload`` names the view.
    axes : columns that were swept and have several values.
    objectives : those of `OBJECTIVES` that some points have.
    """

    frame: pd.DataFrame
    axes: tuple[str, ...]
    objectives: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The views in order, that of all workloads together first."""
        return list(self.frame["workload"].unique())

    def rows(self, name: str) -> pd.DataFrame:
        """The points of a view."""
        return self.frame[self.frame["workload"] == name]


def views_of(table: pd.DataFrame, axes: Sequence[str]) -> Views:
    """The views of a sweep's table.

    Parameters
    ----------
    axes : names of the columns that were swept.
    """
    kept = table[table["feasible"].fillna(False).astype(bool) & table["latency_s"].notna()]
    frame = kept.astype({name: object for name in kept if isinstance(kept[name].dtype, pd.CategoricalDtype)})
    if table["workload"].nunique() > 1:
        frame = pd.concat([_together(frame, table["workload"].nunique()), frame])
    frame = frame.reset_index(drop=True)
    several = [name for name in ("machine", *axes) if frame[name].nunique() > 1]
    return Views(frame, tuple(several), tuple(name for name in OBJECTIVES if frame[name].notna().any()))


def _together(frame: pd.DataFrame, workloads: int) -> pd.DataFrame:
    """A row for each design that has a result for every workload: latency and energy are weighted sums."""
    weighted = frame.assign(
        latency_s=frame["latency_s"] * frame["weight"], energy_j=frame["energy_j"] * frame["weight"]
    )
    designs = weighted.groupby("design", sort=True)
    found = designs.first()
    for name in ("latency_s", "energy_j"):
        found[name] = designs[name].sum()
    found["power_w"] = found["energy_j"] / found["latency_s"]
    found["workload"] = TOGETHER
    found["bound_by"] = found["mapping"] = ""
    return found[designs.size() == workloads].reset_index()


def front(x: Numbers, y: Numbers) -> npt.NDArray[np.intp]:
    """Places of the points that no other is below or at in both coordinates, by x; of equal points the first.

    Points with a coordinate that is missing are on no front.

    Examples
    --------
    >>> front(np.array([1.0, 2.0, 2.0, 3.0]), np.array([5.0, 1.0, 4.0, 1.0])).tolist()
    [0, 1]
    """
    order = np.lexsort((y, x))
    order = order[~(np.isnan(x[order]) | np.isnan(y[order]))]
    least = np.minimum.accumulate(y[order])
    before = np.concatenate(([np.inf], least[:-1]))
    return order[y[order] < before]


def fronts(views: Views) -> dict[str, dict[str, list[int]]]:
    """View -> ``"x y"`` of each pair of objectives -> rows of the frame that are on its front, by x."""
    found: dict[str, dict[str, list[int]]] = {}
    for name in views.names:
        rows = views.rows(name)
        found[name] = {
            f"{x} {y}": rows.index[front(rows[x].to_numpy(float), rows[y].to_numpy(float))].tolist()
            for x, y in combinations(views.objectives, 2)
        }
    return found


def sample(views: Views, on_fronts: Mapping[str, Mapping[str, Sequence[int]]], most: int = MOST_POINTS) -> list[int]:
    """Rows that are shown, in order: all that are on a front, and of the others as many as fit, drawn at random."""
    every = len(views.frame)
    if every <= most:
        return list(range(every))
    kept = {row for pairs in on_fronts.values() for rows in pairs.values() for row in rows}
    others = np.setdiff1d(np.arange(every), np.fromiter(kept, int, len(kept)))
    drawn = np.random.default_rng(0).choice(others, max(0, most - len(kept)), replace=False)
    return sorted(kept | set(drawn.tolist()))


def marginals(views: Views) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """View -> axis -> objective -> value by value the least, the quartiles, and how many points there are."""
    return {
        name: {
            axis: {
                objective: _marginal(views.rows(name)[[axis, objective]].dropna(), axis, objective)
                for objective in views.objectives
            }
            for axis in views.axes
        }
        for name in views.names
    }


def _marginal(points: pd.DataFrame, axis: str, objective: str) -> dict[str, Any]:
    by = points[axis]
    if by.nunique() > MOST_VALUES and pd.api.types.is_numeric_dtype(by):
        bins = pd.qcut(by.astype(float), BINS, duplicates="drop")
        by = by.astype(float).groupby(bins, observed=True).transform("median")
    groups = points[objective].astype(float).groupby(by, sort=True)
    found: dict[str, Any] = {"values": [_plain(value) for value in groups.size().index]}
    found["count"] = groups.size().tolist()
    found["least"] = groups.min().map(_rounded).tolist()
    for name, share in (("lower", 0.25), ("median", 0.5), ("upper", 0.75)):
        found[name] = groups.quantile(share).map(_rounded).tolist()
    return found


def column_data(values: pd.Series[Any]) -> dict[str, Any]:
    """The values of a column: numbers as they are, texts as numbers of a list of ``names``."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return {"values": [_plain(value) for value in values]}
    codes, names = pd.factorize(values.map(str))
    return {"values": codes.tolist(), "names": list(names)}


def _plain(value: Any) -> Any:
    """A value for JSON: numbers of few digits, none where it is missing."""
    if isinstance(value, float | np.floating):
        return _rounded(float(value)) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def problems(table: pd.DataFrame) -> Iterator[tuple[str, int]]:
    """(reason, points) of those without a result, the most frequent first."""
    counts = table["error"].dropna().value_counts()
    for reason, points in counts[counts > 0].items():
        yield str(reason), int(points)

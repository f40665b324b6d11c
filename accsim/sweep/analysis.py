"""What a table of designs says of its axes: their effect on a column, one at a time and in all.

A table is read part by part. What is kept of it are *cells*: for each value of an axis, how many rows have a column of
about some size, with their least, most and sum. Memory grows with the values of an axis, never with the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from accsim.errors import InputError, Problem, nearest

if TYPE_CHECKING:
    import pandas as pd

Numbers = npt.NDArray[np.float64]

DIGITS = 9
"""Binary digits that tell cells apart, so that a quartile is within 0.4 % of the exact one."""
BINS = 20
QUARTILES = {"lower": 0.25, "median": 0.5, "upper": 0.75}
TOGETHER = 16
"""Parts whose cells are kept before they are added up."""


@dataclass(frozen=True)
class Bins:
    """Parts of an axis of many numbers: between ``edges`` lie values that count as the one of ``middles``."""

    edges: Numbers
    middles: Numbers

    @classmethod
    def of(cls, values: npt.ArrayLike, count: int = BINS) -> Bins:
        """Parts that have about equal counts of these values; each counts as its median."""
        given = np.sort(np.asarray(values, float))
        edges = np.unique(np.quantile(given, np.linspace(0, 1, count + 1)[1:-1]))
        parts = np.split(given, np.searchsorted(given, edges, side="right"))
        kept = [i for i, part in enumerate(parts) if len(part)]
        return cls(edges[[i for i in kept if i < len(edges)]], np.array([np.median(parts[i]) for i in kept]))

    def __call__(self, values: pd.Series[Any]) -> pd.Series[Any]:
        """The middles of the parts that values lie in."""
        places = np.searchsorted(self.edges, values.to_numpy(float), side="left")
        return values.astype(float).mask(values.notna(), self.middles[np.minimum(places, len(self.middles) - 1)])


class Effects:
    """Effects of axes on columns, from rows that come part by part.

    Parameters
    ----------
    axes : column that is an axis -> its parts, None where each value counts.
    columns : results that are looked at.
    exact : whether each size of a column is a cell of its own, which takes memory for each row.
    """

    def __init__(self, axes: Mapping[str, Bins | None], columns: Sequence[str], *, exact: bool = False) -> None:
        self.axes, self.columns, self.exact = axes, columns, exact
        self._counts: dict[str, list[pd.DataFrame]] = {axis: [] for axis in axes}
        self._cells: dict[tuple[str, str], list[pd.DataFrame]] = {(a, c): [] for a in axes for c in columns}

    def add(self, rows: pd.DataFrame) -> None:
        """Count some rows; those that are not ``feasible`` count as points alone."""
        import pandas as pd

        kept = rows[rows["feasible"].astype(bool)]
        cells = {name: self._cell(kept[name].to_numpy(float)) for name in self.columns}
        for axis, bins in self.axes.items():
            every = bins(rows[axis]) if bins else rows[axis]
            values = every[kept.index]
            counted = rows[["feasible"]].astype(bool).groupby(every.to_numpy(), observed=True)["feasible"]
            _append(self._counts[axis], pd.DataFrame(counted.agg(points="size", feasible="sum")))
            for name in self.columns:
                grouped = kept[name].astype(float).groupby([values.to_numpy(), cells[name]], observed=True)
                added = grouped.agg(points="size", least="min", most="max", total="sum")
                _append(self._cells[axis, name], pd.DataFrame(added))

    def _cell(self, values: Numbers) -> Numbers:
        if self.exact:
            return values
        fraction, power = np.frexp(values)
        rounded: Numbers = np.ldexp(np.rint(np.ldexp(fraction, DIGITS)), power - DIGITS)
        return rounded

    def of(self, axis: str, column: str) -> pd.DataFrame:
        """What each value of an axis goes with: the columns of :func:`marginal_effects` but ``axis``."""
        import pandas as pd

        counts, cells = _added(self._counts[axis]), _added(self._cells[axis, column])
        rows = {value: _effect(part) for value, part in cells.groupby(level=0, sort=True)}
        names = ("counted", "least", *QUARTILES, "mean", "most")
        found = counts[["points"]].assign(feasible_fraction=counts["feasible"] / counts["points"])
        found = found.join(pd.DataFrame.from_dict(rows, orient="index", columns=list(names)))
        return found.assign(variance_share=_variance_share(cells)).rename_axis("value").reset_index()

    def table(self, column: str) -> pd.DataFrame:
        """The effects of all axes on a column, one below the other."""
        import pandas as pd

        parts = [self.of(axis, column).astype({"value": object}) for axis in self.axes]
        for axis, part in zip(self.axes, parts, strict=True):
            part.insert(0, "axis", axis)
        return pd.concat(parts, ignore_index=True)


def marginal_effects(rows: pd.DataFrame, axes: Sequence[str], column: str = "latency_s") -> pd.DataFrame:
    """What each value of each axis goes with, over all values of the others.

    Parameters
    ----------
    rows : the table of a sweep; without a column ``feasible`` all rows count.
    axes : columns that are axes.
    column : the result that is looked at.

    Returns
    -------
    DataFrame
        A row for each axis and value: ``points``; ``feasible_fraction`` of them; how many feasible ones have the column
        (``counted``), and over these its ``least``, the quartiles ``lower``, ``median`` and ``upper``, ``mean`` and
        ``most``; and ``variance_share``, the same for all values of an axis: the share of the column's variance that
        lies between them.

    Raises
    ------
    InputError
        For columns that are not there.

    Notes
    -----
    The variance share is the correlation ratio, sum of n_v (mean_v - mean)² over sum of (x - mean)² (Fisher,
    *Statistical Methods for Research Workers*, 1925, section 45). In a whole grid the shares of all axes add up to 1
    where the column is a sum of functions of one axis each; what is missing from 1 is how axes act together. Where axes
    vary independently it is the first-order Sobol index (Sobol, *Mathematics and Computers in Simulation* 55, 2001).
    """
    check_columns("marginal_effects", (*axes, column), [str(name) for name in rows.columns])
    found = Effects(dict.fromkeys(axes), [column], exact=True)
    found.add(rows if "feasible" in rows else rows.assign(feasible=True))
    return found.table(column)


def check_columns(where: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Refuse names that are no column.

    Raises
    ------
    InputError
        With each of them.
    """
    wrong = [
        Problem(where, name, f"no column, allowed are {', '.join(known)}", nearest(name, known))
        for name in names
        if name not in known
    ]
    if wrong:
        raise InputError(wrong)


def _append(parts: list[pd.DataFrame], part: pd.DataFrame) -> None:
    parts.append(part)
    if len(parts) >= TOGETHER:
        parts[:] = [_added(parts)]


def _added(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Cells of several parts as one."""
    import pandas as pd

    if len(parts) == 1:
        return parts[0]
    whole = pd.concat(parts)
    ways = {name: {"least": "min", "most": "max"}.get(str(name), "sum") for name in whole}
    return whole.groupby(level=list(range(whole.index.nlevels)), observed=True).agg(ways)


def _effect(cells: pd.DataFrame) -> list[float]:
    """How many, least, quartiles, mean and most of the rows of some cells, which are in rising order."""
    points, total = cells["points"].to_numpy(), cells["total"].to_numpy()
    count, least, most = points.sum(), cells["least"].min(), cells["most"].max()
    places = (count - 1) * np.array(list(QUARTILES.values()))
    ends = np.cumsum(points)
    low, high = ((total / points)[np.searchsorted(ends, np.asarray(at), side="right")]
                 for at in (np.floor(places), np.ceil(places)))  # fmt: skip
    quartiles = np.clip(low + (places - np.floor(places)) * (high - low), least, most)
    return [count, least, *quartiles.tolist(), total.sum() / count, most]


def _variance_share(cells: pd.DataFrame) -> float:
    """Share of the variance of all rows that lies between the values of the axis."""
    by_value = cells.groupby(level=0)[["points", "total"]].sum()
    mean = by_value["total"].sum() / max(1, by_value["points"].sum())

    def spread(groups: pd.DataFrame) -> float:
        return float((groups["points"] * (groups["total"] / groups["points"] - mean) ** 2).sum())

    variance = spread(cells)
    return spread(by_value) / variance if variance else 0.0

"""What a table of designs says of its axes: their effect on a column, one at a time and in all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accsim.errors import InputError, Problem, nearest

if TYPE_CHECKING:
    import pandas as pd


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
        A row for each axis and value: ``points``; ``feasible_fraction`` of them; ``least``, ``median``, ``mean`` and
        ``most`` of the column over the feasible ones; and ``variance_share``, the same for all values of an axis: the
        share of the column's variance that lies between them.

    Raises
    ------
    InputError
        For columns that are not there.

    Notes
    -----
    The variance share is the correlation ratio, sum of n_v (mean_v - mean)² over sum of (x - mean)² (Fisher,
    *Statistical Methods for Research Workers*, 1925, section 45). In a whole grid the shares of all axes add up to 1
    where the column is a sum of functions of one axis each; what is missing from 1 is how axes act together.
    """
    import pandas as pd

    _check(rows, (*axes, column))
    feasible = rows["feasible"].astype(bool) if "feasible" in rows else pd.Series(True, rows.index)
    kept = rows[feasible]
    mean, variance = kept[column].mean(), ((kept[column] - kept[column].mean()) ** 2).sum()
    parts = []
    for axis in axes:
        by_value = kept.groupby(axis, observed=True)[column]
        counted = rows.assign(feasible=feasible).groupby(axis, observed=True)["feasible"]
        part = counted.agg(points="size", feasible_fraction="mean")
        part = part.join(by_value.agg(least="min", median="median", mean="mean", most="max"))
        between = (by_value.size() * (by_value.mean() - mean) ** 2).sum()
        part.insert(0, "axis", axis)
        part["variance_share"] = between / variance if variance else 0.0
        parts.append(part.rename_axis("value").reset_index().astype({"value": object}))
    found: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return found[["axis", *(name for name in found.columns if name != "axis")]]


def _check(rows: pd.DataFrame, columns: Sequence[str]) -> None:
    known = [str(name) for name in rows.columns]
    wrong = [
        Problem("marginal_effects", name, f"no column, allowed are {', '.join(known)}", nearest(name, known))
        for name in columns
        if name not in known
    ]
    if wrong:
        raise InputError(wrong)

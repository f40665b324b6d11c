"""Pareto fronts: the designs that no other beats in everything, and how much of the space of objectives they cover.

Every objective is minimized; what is to be large is given with its sign turned. A point dominates another when it is
greater in none of the objectives and smaller in one; equal points do not dominate each other, so all of them are on a
front or none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from accsim.errors import InputError, Problem, nearest
from accsim.kernels import pareto as kernels

if TYPE_CHECKING:
    import pandas as pd

Points = npt.NDArray[np.float64]
T = TypeVar("T", np.bool_, np.int64)


def front(points: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether each point is on the Pareto front.

    Parameters
    ----------
    points : float64[n, d], a row for each point; one with a nan is on no front and dominates nothing.

    Notes
    -----
    n log n for two and three objectives, n log² n for four, at most n² for more.

    Examples
    --------
    >>> front([[1, 4], [2, 2], [3, 3], [4, 1]]).tolist()
    [True, True, False, True]
    """
    values = _matrix(points)
    found = np.empty(len(values), bool)
    kernels.candidates(values, found)
    found[found] = _each(values[found], _front)
    return found


def layers(points: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The layer of each point: 0 on the front, 1 on that of the rest, and so on; -1 for one with a nan.

    Parameters
    ----------
    points : float64[n, d], a row for each point.

    Examples
    --------
    >>> layers([[1, 4], [2, 2], [3, 3], [4, 1], [4, 4]]).tolist()
    [0, 0, 1, 0, 2]
    """
    values = _matrix(points)
    known = ~np.isnan(values).any(axis=1)
    found = np.full(len(values), -1)
    found[known] = _each(values[known], _layers)
    return found


def hypervolume(points: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Volume of the part of space that some point dominates and that dominates the reference point; exact.

    Parameters
    ----------
    points : float64[n, d], a row for each point; those that are not below the reference in all objectives add nothing.
    reference : float64[d].

    Raises
    ------
    InputError
        If the reference is not one finite number for each objective, or a point below it is not finite.

    Notes
    -----
    n log n for two objectives. From four on the space is cut into slices along the first one (Zitzler and Thiele, *IEEE
    Trans. Evolutionary Computation* 3, 1999), so time grows with n to the power of d - 2.

    Examples
    --------
    >>> hypervolume([[1, 3], [2, 1]], [4, 4])
    7.0
    """
    values, at = _matrix(points), np.asarray(reference, np.float64)
    if at.shape != values.shape[1:] or not np.isfinite(at).all():
        raise InputError(Problem("hypervolume", "reference", f"allowed are {values.shape[1]} finite numbers"))
    inside = values[(values < at).all(axis=1)]
    if not np.isfinite(inside).all():
        raise InputError(Problem("hypervolume", "points", "allowed are finite numbers"))
    return _volume(inside[front(inside)], at)


def front_of(frame: pd.DataFrame, objectives: Sequence[str] = ("latency_s", "energy_j")) -> pd.DataFrame:
    """The rows of a sweep that are on the Pareto front, by the first objective; infeasible ones do not count.

    Parameters
    ----------
    frame : the table of a sweep; without a column ``feasible`` all rows count.
    objectives : columns that are minimized.

    Raises
    ------
    InputError
        For an objective that is no column of numbers.
    """
    numbers = [str(name) for name in frame.select_dtypes("number").columns]
    wrong = [
        Problem("front_of", name, f"no column of numbers, allowed are {', '.join(numbers)}", nearest(name, numbers))
        for name in objectives
        if name not in numbers
    ]
    if wrong:
        raise InputError(wrong)
    rows = frame[frame["feasible"]] if "feasible" in frame else frame
    return rows[front(rows[list(objectives)])].sort_values(list(objectives), ignore_index=True)


def _matrix(points: npt.ArrayLike) -> Points:
    values = np.ascontiguousarray(points, np.float64)
    if values.ndim != 2 or values.shape[1] == 0:
        message = f"read an array of shape {values.shape}, allowed is a row for each point, a column for each objective"
        raise InputError(Problem("points", "", message))
    return values


def _each(values: Points, of_distinct: Callable[[Points], npt.NDArray[T]]) -> npt.NDArray[T]:
    """What a function of distinct, sorted points says of every point."""
    values = _without_infinity(values)
    order = _sorted(values)
    ordered = values[order]
    first = np.ones(len(ordered), bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    distinct = of_distinct(ordered[first])
    found = np.empty(len(values), distinct.dtype)
    found[order] = distinct[np.cumsum(first) - 1]
    return found


def _without_infinity(values: Points) -> Points:
    """The same points with infinity as the number after the largest: the kernels take infinity for nothing at all."""
    infinite = values == np.inf
    if not infinite.any():
        return values
    largest = np.where(infinite, -np.inf, values).max()
    return np.where(infinite, np.nextafter(largest, np.inf), values)


def _sorted(values: Points) -> npt.NDArray[np.int64]:
    """The order of points by their first objective, then the second, and so on."""
    order = np.argsort(values[:, 0])
    by_first = values[order, 0]
    return np.lexsort(values.T[::-1]) if (by_first[1:] == by_first[:-1]).any() else order


def _front(points: Points) -> npt.NDArray[np.bool_]:
    n, d = points.shape
    found = np.ones(n, bool)
    if d == 1:
        found[1:] = False
    elif d <= 3:
        place = _ranks(points[:, 1]) if d == 3 else np.zeros(n, np.int64)
        kernels.sweep_front(np.ascontiguousarray(points[:, -1]), place, np.full(n + 1, np.inf), found)
    else:
        kernels.merged_front(points, found)
    return found


def _ranks(values: Points) -> npt.NDArray[np.int64]:
    """The rank of each value, the same for equal ones."""
    order = np.argsort(values)
    rises = np.diff(values[order], prepend=values[order[:1]]) > 0
    found = np.empty(len(values), np.int64)
    found[order] = np.cumsum(rises)
    return found


def _layers(points: Points) -> npt.NDArray[np.int64]:
    found = np.zeros(len(points), np.int64)
    kernels.layers(points, found)
    return found


def _volume(points: Points, reference: Points) -> float:
    """Volume of points that are all before the reference."""
    if not len(points):
        return 0.0
    d = len(reference)
    if d == 1:
        return float(reference[0] - points.min())
    points = points[np.lexsort(points.T[::-1])]
    if d <= 3:
        return float((kernels.area if d == 2 else kernels.volume)(points, reference))
    ends = np.append(points[1:, 0], reference[0])
    return sum(
        float(ends[i] - points[i, 0]) * _volume(points[: i + 1, 1:], reference[1:])
        for i in range(len(points))
        if ends[i] > points[i, 0]
    )

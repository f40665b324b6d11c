"""Axes of a space: the values one field takes, as a list, a range, a spaced scale, or an interval to draw from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accsim.config.reader import PlacedError, Wrong
from accsim.errors import nearest
from accsim.units import UnitError, format_quantity, parse_quantity

Scalar = str | int | float | bool
Column = npt.NDArray[Any]
"""Values of one field for many points: int64, float64, bool or object (text)."""

DIMENSIONS = ("frequency", "bytes", "bandwidth", "time", "power", "area", "energy")
"""What a text with a unit may be, in the order in which they are tried."""
SCALES = ("range", "linspace", "logspace")
INTERVALS = ("uniform", "loguniform")
MOST_VALUES = 10_000_000


@dataclass(frozen=True)
class Axis:
    """One field and the values it takes.

    Attributes
    ----------
    key : dotted path, ``"matrix_unit.rows"``, ``"workload.seq"`` or ``"mapping.block_q"``.
    values : those of a list or scale, in the base unit; the two ends of an interval.
    dimension : kind of quantity the values are; None for plain values.
    interval : None, ``"uniform"`` or ``"loguniform"``.
    """

    key: str
    values: tuple[Scalar, ...]
    dimension: str | None = None
    interval: str | None = None

    @property
    def size(self) -> int:
        """How many values it has; an interval has none of its own."""
        return 0 if self.interval else len(self.values)

    @property
    def counts_choices(self) -> bool:
        """Whether it is a choice of mappings that is a whole number: points that differ in nothing else run at once."""
        return self.key.startswith("mapping.") and self.ends.dtype.kind == "i"

    @property
    def whole(self) -> bool:
        """Whether the values of an interval are whole numbers."""
        return self.dimension == "bytes" or all(isinstance(end, int) for end in self.values)

    @property
    def ends(self) -> Column:
        """Its first and last value."""
        return as_column((self.values[0], self.values[-1]))

    @property
    def column(self) -> Column:
        """All values of a list or scale."""
        return as_column(self.values)

    def drawn(self, unit: npt.NDArray[np.float64]) -> Column:
        """The values at places between 0 and 1, each value of a list equally often."""
        if not self.interval:
            return np.asarray(self.column[np.minimum((unit * self.size).astype(np.int64), self.size - 1)])
        low, high = (float(end) for end in self.values)
        if self.interval == "loguniform":
            found = np.exp(math.log(low) + unit * (math.log(high) - math.log(low)))
        else:
            found = low + unit * (high - low)
        found = np.clip(found, low, high)
        return np.rint(found).astype(np.int64) if self.whole else found


def as_column(values: Sequence[Scalar]) -> Column:
    """Values as an array: whole numbers as int64, numbers as float64, truth values as bool, all else as text."""
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return np.array(values, bool)
    if kinds == {int}:
        return np.array(values, np.int64)
    if kinds <= {int, float}:
        return np.array(values, np.float64)
    return np.array([str(value) for value in values], object)


def written(value: Any, dimension: str | None) -> Scalar:
    """A value of a column as a file would give it.

    Examples
    --------
    >>> written(np.int64(32768), "bytes"), written(np.int64(64), None)
    ('32 KiB', 64)
    """
    plain: Scalar = value.item() if isinstance(value, np.generic) else value
    return format_quantity(float(plain) if dimension != "bytes" else int(plain), dimension) if dimension else plain


def read_axis(key: str, form: object) -> Axis:
    """An axis from what its file gives.

    Raises
    ------
    PlacedError
        With every problem, below the axis.
    """
    if isinstance(form, list):
        return _listed(key, form)
    if isinstance(form, Mapping) and len(form) == 1:
        kind, given = next(iter(form.items()))
        if kind in SCALES + INTERVALS:
            return _spaced(key, kind, given)
        allowed = ", ".join(SCALES + INTERVALS)
        raise PlacedError([Wrong((kind,), f"unknown kind of axis, allowed are {allowed}", nearest(kind, SCALES), True)])
    raise PlacedError(
        [Wrong((), "allowed is a list of values, or one of {range: [from, to, step]}, {linspace: [from, to, count]}, "
               "{logspace: [from, to, count]}, {uniform: [from, to]}, {loguniform: [from, to]}")]
    )  # fmt: skip


def _listed(key: str, form: list[object]) -> Axis:
    if not form:
        raise PlacedError([Wrong((), "read an empty list, allowed is at least one value")])
    wrong = [
        Wrong((i,), "allowed is a number, a text, true or false")
        for i, value in enumerate(form)
        if not isinstance(value, str | int | float | bool) or (isinstance(value, float) and not math.isfinite(value))
    ]
    if wrong:
        raise PlacedError(wrong)
    values, dimension = _in_base_unit(form)
    twice = [Wrong((i,), f"{value!r} is given twice") for i, value in enumerate(values) if value in values[:i]]
    if twice and len(values) < 1000:
        raise PlacedError(twice)
    return Axis(key, tuple(values), dimension)


def _in_base_unit(form: Sequence[Any]) -> tuple[list[Any], str | None]:
    """Values of texts that all are quantities of one dimension in its base unit; else the values as they are."""
    if all(isinstance(value, str) for value in form):
        for dimension in DIMENSIONS:
            try:
                return [parse_quantity(value, dimension) for value in form], dimension
            except UnitError:
                continue
    return list(form), None


def _spaced(key: str, kind: str, given: object) -> Axis:
    parts = {"range": "[from, to, step]", "linspace": "[from, to, count]", "logspace": "[from, to, count]"}
    wanted = parts.get(kind, "[from, to]")
    size = wanted.count(",") + 1
    if not isinstance(given, list) or len(given) != size:
        raise PlacedError([Wrong((kind,), f"allowed is {wanted}")])
    counted = kind in ("linspace", "logspace")
    values, dimension = _in_base_unit(given[:2] if counted else given)
    wrong = [
        Wrong((kind, i), f"read {given[i]!r}, allowed is a number, or quantities of one kind on all places")
        for i, value in enumerate(values)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)
    ]
    count = given[2] if counted else 2
    if isinstance(count, bool) or not isinstance(count, int) or not 2 <= count <= MOST_VALUES:
        wrong.append(Wrong((kind, 2), f"read {count!r}, allowed is a whole number from 2 to {MOST_VALUES}"))
    if not wrong:
        low, high = values[:2]
        if low >= high:
            wrong.append(Wrong((kind, 1), f"read {given[1]!r}, allowed is more than {given[0]!r}"))
        elif kind.startswith("log") and low <= 0:
            wrong.append(Wrong((kind, 0), f"read {given[0]!r}, allowed is a number above 0"))
        elif kind == "range" and (values[2] <= 0 or (high - low) / values[2] > MOST_VALUES):
            wrong.append(
                Wrong((kind, 2), f"read {given[2]!r}, allowed is a step above 0 with at most {MOST_VALUES:,} values")
            )
    if wrong:
        raise PlacedError(wrong)
    if kind in INTERVALS:
        return Axis(key, tuple(values), dimension, kind)
    return Axis(key, _steps(kind, values, count, dimension == "bytes"), dimension)


def _steps(kind: str, values: Sequence[Any], count: int, whole: bool) -> tuple[Scalar, ...]:
    """The values of a scale, both ends included; whole numbers between whole ends, none twice."""
    low, high = values[:2]
    whole = whole or all(isinstance(value, int) for value in values)
    if kind == "range":
        steps = math.floor((high - low) / values[2] * (1 + 1e-12)) + 1
        found = [low + i * values[2] for i in range(steps)]
    elif kind == "linspace":
        found = np.linspace(low, high, count).tolist()
    else:
        found = np.geomspace(low, high, count).tolist()
    return tuple(dict.fromkeys(round(value) for value in found)) if whole else tuple(found)

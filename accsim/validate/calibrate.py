"""Constants of a machine file from measured rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from accsim.errors import InputError, Problem
from accsim.report.result import SCHEMA_VERSION
from accsim.validate.kind import Kind
from accsim.validate.statistics import ErrorStatistics, error_statistics
from accsim.validate.table import Rows, read_rows, refuse

STARTS = 4
"""From the file's constants, and from others up to a factor of two away."""
_SPREAD = 2.0
_DIGITS = 3
"""That a fitted constant keeps: more are not supported by the rows."""


@dataclass(frozen=True)
class Constant:
    """A number of a machine file that is fitted.

    Attributes
    ----------
    path : dotted key in the file.
    value : in the file, in the base unit of `dimension`; above 0.
    dimension : key of `accsim.units.DIMENSIONS`, or an empty text for a plain number.
    most : largest value allowed.
    """

    path: str
    value: float
    dimension: str = ""
    most: float = np.inf


@dataclass(frozen=True)
class Fittable:
    """What a kind of rows says of one machine, as a function of constants.

    Attributes
    ----------
    constants : those that are fitted, with the file's values.
    predict : the rows' first quantity for a value of each constant.
    """

    constants: tuple[Constant, ...]
    predict: Callable[[Sequence[float]], NDArray[np.float64]]


@dataclass(frozen=True)
class Calibration:
    """Fitted constants, and the errors with the file's and with the fitted ones."""

    kind: str
    machine: str
    file: str
    rows: int
    constants: tuple[Constant, ...]
    fitted: tuple[float, ...]
    before: ErrorStatistics
    after: ErrorStatistics

    def to_dict(self) -> dict[str, Any]:
        """As plain data, constants in base units."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": self.kind,
            "machine": self.machine,
            "data": self.file,
            "rows": self.rows,
            "constants": {
                constant.path: {"file": constant.value, "fitted": value}
                for constant, value in zip(self.constants, self.fitted, strict=True)
            },
            "before": asdict(self.before),
            "after": asdict(self.after),
        }


Fit = Callable[[Rows, str], Fittable]


def calibrate(kind: Kind, fittable: Fit, path: Path, machine: str) -> Calibration:
    """Fit a machine's constants to the rows of a file.

    The mean of |log(predicted / measured)| is made small, which weighs rows of all sizes alike and outliers little, by
    Nelder and Mead's simplex search from a few starts. Constants keep three digits.

    Raises
    ------
    InputError
        If the file or the machine cannot be used, or there are fewer rows than constants.
    """
    rows = read_rows(path, kind.columns)
    refuse(kind.check(rows))
    here = rows.take(kind.select(rows, machine))
    model = fittable(here, machine)
    needed = len(model.constants)
    if len(here) < needed:
        message = f"{len(here)} of {len(rows)} rows are of {machine}, needed are {needed}, one for each constant"
        raise InputError(Problem(rows.file, "", message))
    given = np.asarray(here[kind.quantities[0].column], np.float64)
    most = np.array([constant.most for constant in model.constants])

    def loss(logs: NDArray[np.float64]) -> float:
        values = np.exp(logs)
        if (values > most).any():
            return float("inf")
        return float(np.abs(np.log(model.predict(values.tolist()) / given)).mean())

    file = np.log([constant.value for constant in model.constants])
    random = np.random.default_rng(0)
    starts = [file, *(file + random.uniform(-1, 1, (STARTS - 1, needed)) * np.log(_SPREAD))]
    starts = [np.minimum(start, np.log(most)) for start in starts]
    found = [_descend(loss, start) for start in starts]
    best = min([*found, file], key=loss)
    fitted = tuple(float(f"{value:.{_DIGITS}g}") for value in np.exp(best))
    before, after = (
        error_statistics(model.predict(values) / given - 1)
        for values in ([constant.value for constant in model.constants], fitted)
    )
    return Calibration(kind.name, machine, rows.file, len(here), model.constants, fitted, before, after)


def _descend(loss: Callable[[NDArray[np.float64]], float], start: NDArray[np.float64]) -> NDArray[np.float64]:
    """The simplex restarts where it ends, until that gains nothing: it can get stuck in a fold of the loss."""
    at, least = start, loss(start)
    while True:
        found = minimize(loss, at, method="Nelder-Mead", options={"maxfev": 400 * len(start), "adaptive": True})
        if not found.fun < least - 1e-4:
            return np.asarray(found.x if found.fun < least else at)
        at, least = found.x, found.fun

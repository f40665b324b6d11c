"""Predictions held against the rows of a file: errors, and which of them are beyond tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accsim.errors import InputError, Problem
from accsim.report.result import SCHEMA_VERSION
from accsim.validate.kind import Kind, Prediction, Quantity
from accsim.validate.statistics import ErrorStatistics, error_statistics
from accsim.validate.table import Rows, read_rows, refuse


@dataclass(frozen=True)
class Miss:
    """A row whose error is beyond tolerance."""

    line: int
    label: str
    quantity: str
    given: float
    predicted: float
    error: float
    reason: str = ""


@dataclass(frozen=True)
class QuantityErrors:
    """The errors of one quantity: over all rows, and over each group of rows.

    Attributes
    ----------
    tolerances : those of its rows, each once, in ascending order.
    """

    quantity: Quantity
    tolerances: tuple[float, ...]
    all: ErrorStatistics
    regimes: Mapping[str, ErrorStatistics]
    misses: tuple[Miss, ...]

    @property
    def mean_passed(self) -> bool:
        """The mean error over all rows is not beyond its tolerance."""
        limit = self.quantity.mean_tolerance
        return limit is None or self.all.mape <= limit

    @property
    def passed(self) -> bool:
        """No row is beyond tolerance, nor their mean."""
        return not self.misses and self.mean_passed


@dataclass(frozen=True)
class Comparison:
    """Errors of every quantity of a kind against a file.

    Attributes
    ----------
    skipped : rows of other machines.
    regimes : ways to group the rows, by name, and their groups.
    baselines : simpler models, and their errors of the first quantity.
    """

    kind: str
    summary: str
    file: str
    rows: int
    skipped: int
    quantities: tuple[QuantityErrors, ...]
    regimes: Mapping[str, tuple[str, ...]]
    baselines: Mapping[str, ErrorStatistics]

    @property
    def misses(self) -> tuple[Miss, ...]:
        """Every number beyond tolerance."""
        return tuple(miss for one in self.quantities for miss in one.misses)

    @property
    def passed(self) -> bool:
        """Nothing is beyond tolerance."""
        return all(one.passed for one in self.quantities)

    @property
    def beyond(self) -> str:
        """What is beyond tolerance, in words."""
        means = [
            f"the mean error of {one.quantity.name}, {one.all.mape:.1%} of at most {one.quantity.mean_tolerance:.1%}"
            for one in self.quantities
            if not one.mean_passed
        ]
        rows = [f"{len(self.misses):,}"] if self.misses else []
        return " and ".join(rows + means)

    def to_dict(self) -> dict[str, Any]:
        """As plain data: the statistics of the first quantity, then those of all; errors as fractions."""
        first = self.quantities[0]
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": self.kind,
            "data": self.file,
            "skipped": self.skipped,
            "passed": self.passed,
            "quantity": first.quantity.name,
            **asdict(first.all),
            "regimes": {name: asdict(stats) for name, stats in first.regimes.items()},
            "baselines": {name: asdict(stats) for name, stats in self.baselines.items()},
            "quantities": {one.quantity.name: _quantity_dict(one) for one in self.quantities},
            "beyond_tolerance": [asdict(miss) for miss in self.misses],
        }


def _quantity_dict(one: QuantityErrors) -> dict[str, Any]:
    quantity = one.quantity
    return {
        "column": quantity.column,
        "relative": quantity.relative,
        "tolerance": quantity.tolerance,
        "tolerances": list(one.tolerances),
        "mean_tolerance": quantity.mean_tolerance,
        "passed": one.passed,
        **asdict(one.all),
        "regimes": {name: asdict(stats) for name, stats in one.regimes.items()},
    }


def compare(kind: Kind, path: Path, machine: str | None = None) -> Comparison:
    """Hold a kind's predictions against the rows of a file.

    Parameters
    ----------
    kind
        One of `accsim.validate.registry.KINDS`.
    path
        A CSV (with comment lines that begin with ``#``) or Parquet file; columns that are not needed are ignored.
    machine
        Only this machine's rows.

    Raises
    ------
    InputError
        If the file or the machine cannot be used.
    """
    rows = read_rows(path, kind.columns)
    refuse(kind.check(rows))
    chosen = kind.select(rows, machine)
    here = rows.take(chosen)
    if not len(here):
        raise InputError(Problem(rows.file, "", f"none of the {len(rows)} rows is of {machine}, needed is one"))
    prediction = kind.predict(here, machine)
    ways = {name: tuple(dict.fromkeys(groups.tolist())) for name, groups in prediction.regimes.items()}
    found = []
    for quantity in kind.quantities:
        if quantity.column in here:
            errors = _errors(quantity, prediction.values[quantity.name], here)
            misses, limits = _misses(quantity, prediction, errors, here)
            by_group = {
                group: error_statistics(errors[prediction.regimes[way] == group])
                for way, groups in ways.items()
                for group in groups
            }
            found.append(QuantityErrors(quantity, limits, error_statistics(errors), by_group, misses))
    first = kind.quantities[0]
    baselines = {name: error_statistics(_errors(first, values, here)) for name, values in prediction.baselines.items()}
    skipped = len(rows) - len(here)
    return Comparison(kind.name, kind.summary, rows.file, len(here), skipped, tuple(found), ways, baselines)


def _errors(quantity: Quantity, predicted: NDArray[np.float64], rows: Rows) -> NDArray[np.float64]:
    given = np.asarray(rows[quantity.column], dtype=np.float64)
    return np.asarray((predicted - given) / (given if quantity.relative else 1.0))


def _misses(
    quantity: Quantity, prediction: Prediction, errors: NDArray[np.float64], rows: Rows
) -> tuple[tuple[Miss, ...], tuple[float, ...]]:
    """The rows beyond tolerance, an error that is no number is; and the tolerances."""
    if quantity.tolerance is None:
        return (), ()
    limits = prediction.tolerances.get(quantity.name, np.full(len(rows), quantity.tolerance))
    given, predicted = rows[quantity.column], prediction.values[quantity.name]
    reasons = prediction.reasons or [""] * len(rows)
    misses = tuple(
        Miss(
            int(rows.lines[i]),
            prediction.labels[i],
            quantity.name,
            float(given[i]),
            float(predicted[i]),
            float(errors[i]),
            reasons[i],
        )
        for i in np.flatnonzero(~(np.abs(errors) <= limits)).tolist()
    )
    return misses, tuple(np.unique(limits).tolist())

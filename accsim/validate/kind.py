"""What a kind of validation is: which columns its rows have, and what accsim says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from accsim.errors import Problem
from accsim.validate.table import Column, Rows


@dataclass(frozen=True)
class Quantity:
    """A number of each row that is predicted.

    Attributes
    ----------
    name : what the prediction is called.
    column : where the rows have it; where a file lacks it, it is left out.
    tolerance : largest error that passes; None: it is only shown.
    relative : errors are relative to the row's number, else differences.
    mean_tolerance : largest mean error over all rows that passes; None: it is only shown.
    """

    name: str
    column: str
    tolerance: float | None = None
    relative: bool = True
    mean_tolerance: float | None = None


@dataclass(frozen=True)
class Prediction:
    """What is said of rows: arrays with an element for each.

    Attributes
    ----------
    values : name of a quantity to its numbers.
    regimes : ways to group the rows, by name: each row's group. Groups of different ways have different names.
    baselines : name of a simpler model to its numbers of the first quantity, to compare the errors with.
    labels : what each row is, in few words.
    tolerances : name of a quantity to the largest error of each row that passes, where it is not the quantity's own.
    reasons : why a row may be off, as far as it is known, else an empty text; empty: of no row.
    """

    values: Mapping[str, NDArray[np.float64]]
    regimes: Mapping[str, NDArray[Any]]
    labels: Sequence[str]
    baselines: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    tolerances: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    reasons: Sequence[str] = ()


class Kind(Protocol):
    """A kind of rows that accsim can be held against; ``accsim/validate/registry.py`` lists them."""

    @property
    def name(self) -> str:
        """What the command line calls it."""

    @property
    def summary(self) -> str:
        """What is held against what, in one line."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that are read."""

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """What is predicted; the first is the most important, and a file has its column."""

    def check(self, rows: Rows) -> list[Problem]:
        """What is wrong between the cells of a row."""

    def select(self, rows: Rows, machine: str | None) -> NDArray[np.bool_]:
        """Which rows are of a machine; of None, all that can be predicted without one.

        Raises
        ------
        InputError
            If there is no such machine, or the kind needs one.
        """

    def predict(self, rows: Rows, machine: str | None) -> Prediction:
        """Predict the selected rows."""

"""Statistics of errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ErrorStatistics:
    """What there is to say of the errors of some rows; fractions, not percent.

    Attributes
    ----------
    count : rows.
    mape : mean of the absolute errors.
    median, p90 : of the absolute errors; p90 is not exceeded by nine rows of ten (linear between rows).
    bias : mean of the errors with their signs; above 0, too much is predicted.
    max : largest absolute error.
    """

    count: int
    mape: float
    median: float
    p90: float
    bias: float
    max: float


def error_statistics(errors: NDArray[np.float64]) -> ErrorStatistics:
    """Statistics of at least one error, (predicted - given) / given.

    Examples
    --------
    >>> error_statistics(np.array([0.25, -0.75]))
    ErrorStatistics(count=2, mape=0.5, median=0.5, p90=0.7, bias=-0.25, max=0.75)
    """
    sizes = np.abs(errors)
    parts = (sizes.mean(), np.median(sizes), np.quantile(sizes, 0.9), errors.mean(), sizes.max())
    return ErrorStatistics(len(errors), *(float(part) for part in parts))

"""Reuse: how often the rows of a batch are looked up, as a histogram, and the popularity that makes such a one.

The bins are those of the public traces' statistics (facebookresearch/dlrm_datasets, ``locality_stats.txt``): 1, 2, 3 to
4, 5 to 8, … uses, each twice as wide as the one before, the last open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from accsim.config.checks import shown
from accsim.embedding.law import FloatArray, rank_law
from accsim.embedding.trace import TraceBatch
from accsim.errors import InputError
from accsim.workload.embeddings import Popularity

EDGES: Final = 2 ** np.arange(16)
"""Largest number of uses of each bin but the last."""
MOST_ROWS: Final = 1e10
LARGEST_SHIFT: Final = 1e6
LARGEST_EXPONENT: Final = 3.0
"""What a fit looks for, at most."""
STARTS: Final = 4
"""Starts from which the nearest laws are looked for."""
MOST_STEPS: Final = 60
"""Steps from each of them."""


@dataclass(frozen=True, eq=False)
class Reuse:
    """Rows that are used at all, by how often.

    Attributes
    ----------
    rows
        Share of the rows used in each bin, float64[17].
    lookups
        Share of the lookups that are of these, float64[17].
    mean
        Lookups a row used.
    """

    rows: FloatArray
    lookups: FloatArray
    mean: float

    def distance(self, other: Reuse) -> tuple[float, float]:
        """Largest difference of the distribution functions (Kolmogorov and Smirnov), of rows and of lookups."""
        rows = np.abs(np.cumsum(self.rows - other.rows)).max()
        return float(rows), float(np.abs(np.cumsum(self.lookups - other.lookups)).max())


def count_reuse(batch: TraceBatch) -> Reuse:
    """Reuse of the rows of all tables of a batch; features that read one table share its rows."""
    rows, lookups = np.zeros(len(EDGES) + 1), np.zeros(len(EDGES) + 1)
    for table in range(len(batch.rows)):
        parts = [batch.of_feature(int(feature)) for feature in np.flatnonzero(batch.tables == table)]
        if parts:
            _, uses = np.unique(np.concatenate(parts), return_counts=True)
            bins = np.searchsorted(EDGES, uses)
            rows += np.bincount(bins, minlength=len(rows))
            lookups += np.bincount(bins, uses, minlength=len(rows))
    return _reuse(rows, lookups)


@dataclass(frozen=True)
class Draws:
    """Tables alike, each with so many lookups of a law.

    Attributes
    ----------
    popularity, rows
        The law.
    lookups
        Of each table.
    count
        Tables, relative to others.
    """

    popularity: Popularity
    rows: int
    lookups: float
    count: float = 1.0


def expected_reuse(tables: Sequence[Draws]) -> Reuse:
    """Expected reuse of the rows of a mixture of tables.

    Formula: a row of chance p is used Poisson(p · lookups) times; Σ over rows of P(uses in the bin), and of the uses in
    it, λ P(Poisson(λ) = k − 1) being k P(Poisson(λ) = k).
    """
    from scipy.special import pdtr

    rows, lookups = np.zeros(len(EDGES) + 1), np.zeros(len(EDGES) + 1)
    for table in tables:
        law = rank_law(table.popularity, table.rows)
        means = law.chances * table.lookups
        least = np.append(0, EDGES)  # of each bin, less one
        at_most = np.vstack([pdtr(edge, means) for edge in least] + [np.ones_like(means)])
        one_less = np.vstack([np.zeros_like(means)] + [pdtr(edge - 1, means) for edge in EDGES] + [np.ones_like(means)])
        rows += table.count * (np.diff(at_most, axis=0) @ law.weights)
        lookups += table.count * (np.diff(one_less, axis=0) @ (law.weights * means))
    return _reuse(rows, lookups)


def _reuse(rows: FloatArray, lookups: FloatArray) -> Reuse:
    return Reuse(rows / rows.sum(), lookups / lookups.sum(), float(lookups.sum() / rows.sum()))


def fit_mixture(reuse: Reuse, lookups: float, *, tables: int = 1, kinds: int = 1, seed: int = 0) -> tuple[Draws, ...]:
    """The laws nearest to a reuse: least squares of its distribution functions and of the logarithm of its mean.

    Parameters
    ----------
    reuse
        What a trace has.
    lookups
        All its lookups.
    tables
        Tables that share them.
    kinds
        Kinds of tables; each has as many tables as the others, and a law, rows and a share of the lookups of its own.
    seed
        Of the starts that are tried.

    Returns
    -------
    tuple of Draws
        The one with most lookups first.

    Raises
    ------
    InputError
        If a number is out of range.
    """
    from scipy.optimize import least_squares

    wrong = [
        f"{name}: read {shown(value)}, allowed is a number above 0"
        for name, value in (("lookups", lookups), ("tables", tables), ("kinds", kinds))
        if not value > 0
    ]
    if wrong or kinds > tables:
        raise InputError("; ".join(wrong) or f"kinds: read {kinds}, allowed are at most the {tables} tables")

    def drawn(numbers: FloatArray) -> list[Draws]:
        exponents, shifts, rows, shares = numbers.reshape(4, kinds)
        parts = np.exp(shares - shares.max())
        each = (lookups / (tables / kinds) * parts / parts.sum()).tolist()
        return [
            Draws(Popularity(s, np.expm1(q)), max(1, round(np.exp(r))), n, tables / kinds)
            for s, q, r, n in zip(exponents, shifts, rows, each, strict=True)
        ]

    def error(numbers: FloatArray) -> FloatArray:
        found = expected_reuse(drawn(numbers))
        parts = [np.cumsum(found.rows - reuse.rows), np.cumsum(found.lookups - reuse.lookups)]
        return np.concatenate([*parts, [np.log(found.mean / reuse.mean)]])

    low = np.repeat([0.0, 0.0, 0.0, -8.0], kinds)
    high = np.repeat([LARGEST_EXPONENT, np.log(LARGEST_SHIFT), np.log(MOST_ROWS), 8.0], kinds)
    rng = np.random.default_rng(seed)
    usual = np.log(lookups / tables / reuse.mean)
    best = None
    for _ in range(STARTS):
        start = [rng.uniform(0.5, 1.5, kinds), rng.uniform(0, 5, kinds), rng.normal(usual, 1.5, kinds)]
        first = np.clip(np.concatenate([*start, rng.normal(0, 1, kinds)]), low + 1e-6, high - 1e-6)
        found = least_squares(error, first, bounds=(low, high), diff_step=np.full(4 * kinds, 1e-4), max_nfev=MOST_STEPS)
        best = found if best is None or found.cost < best.cost else best
    assert best is not None
    return tuple(sorted(drawn(best.x), key=lambda one: -one.lookups * one.count))

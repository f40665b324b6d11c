"""Parts that the sum of a bag comes in when the rows of its table are dealt over several chips, expected."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from accsim.embedding.law import FloatArray, RankLaw, rank_law
from accsim.workload.embeddings import Popularity, Valency

MANY_ROWS: Final = 10**5
"""Rows from which on factorials are not formed."""


class Parts(NamedTuple):
    """Vectors that the owners of a bag's rows send for it, each the sum of the rows that it has.

    Attributes
    ----------
    sent
        Of all bags, mean of a bag.
    joined
        Those of bags of two rows and more, which have to be added up.
    """

    sent: float
    joined: float


@lru_cache(maxsize=4096)
def expected_parts(valency: Valency, popularity: Popularity, rows: int, owners: int) -> Parts:
    """Parts of a bag whose rows are dealt evenly over owners.

    Notes
    -----
    Formula: N (1 − (1 − 1/N)^v) for v rows over N owners, if all differ and there are many more
    (``docs/embeddings.md``). Here a bag has D different rows of the R in the table, an owner k = ⌊R/N⌋ or one more of
    them, and none of the bag's with the probability (R − D choose k) / (R choose k), averaged over k, D and v. D has
    the mean m = Σ_r 1 − (1 − p_r)^v and a variance s², and a function of D the mean of its values at m − s and m + s.

    Examples
    --------
    >>> found = expected_parts(Valency(20, 20), Popularity(), 10**7, 128)
    >>> round(found.sent, 2), round(128 * (1 - (127 / 128) ** 20), 2)
    (18.58, 18.58)
    """
    shares = valency.probabilities()
    sizes = 1.0 + np.flatnonzero(shares[1:]).astype(np.float64)
    if owners == 1 or not len(sizes):
        return Parts(float(shares[1:].sum()), 0.0)
    each = owners * (1 - _none_of(sizes, rank_law(popularity, rows), rows, owners))
    weights = shares[sizes.astype(np.intp)] * each
    return Parts(float(weights.sum()), float(weights[sizes > 1].sum()))


def _none_of(sizes: FloatArray, law: RankLaw, rows: int, owners: int) -> FloatArray:
    """Probability that an owner has no row of a bag, by the size of the bag."""
    mean, deviation = _distinct(sizes, law)
    reach = np.minimum(deviation, np.minimum(mean - 1, np.minimum(sizes, rows) - mean))
    whole = rows // owners
    more = rows / owners - whole
    missed = np.zeros_like(sizes)
    for different in (mean - reach, mean + reach):
        missed += (1 - more) * _missed(different, whole, rows) + more * _missed(different, whole + 1, rows)
    return missed / 2


def _distinct(sizes: FloatArray, law: RankLaw) -> tuple[FloatArray, FloatArray]:
    """Different rows of bags of these sizes, mean and standard deviation.

    Formula: mean Σ 1 − q, variance Σ q (1 − q) − v ((Σ p q′)² − Σ (p q′)²) with q = (1 − p)^v, q′ = (1 − p)^(v − 1):
    the covariance of two rows to the first order in their chances.
    """
    weights, chances = law.weights, law.chances[:, None]
    none, but_one = (1 - chances) ** sizes, chances * (1 - chances) ** (sizes - 1)
    variance = weights @ (none * (1 - none)) - sizes * ((weights @ but_one) ** 2 - weights @ but_one**2)
    return weights @ (1 - none), np.sqrt(np.maximum(variance, 0.0))


def _missed(different: FloatArray, held: int, rows: int) -> FloatArray:
    """Probability that none of `different` rows is among the `held` of all `rows`."""
    from scipy.special import gammaln

    if held <= 1:
        return 1 - held * different / rows
    if rows > MANY_ROWS:
        return (1 - held / (rows - (different - 1) / 2)) ** different
    left = np.maximum(rows - different - held, -0.5)
    log_missed = gammaln(rows - different + 1) - gammaln(left + 1) + gammaln(rows - held + 1) - math.lgamma(rows + 1)
    missed: FloatArray = np.where(left < 0, 0.0, np.exp(log_missed))
    return missed

"""Ids that a chip asks for, from statistics: the mean of chips, and the one that asks for most."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np

from accsim.embedding.imbalance import Imbalance
from accsim.embedding.law import rank_law
from accsim.embedding.unique import absence
from accsim.workload.embeddings import EmbeddingSet, Valency

DEVIATIONS: Final = 9.0
"""Standard deviations to which normal laws are followed."""
POINTS: Final = 2001


def expected_asked(embeddings: EmbeddingSet, samples: int, *, chips: int, distinct: bool) -> Imbalance:
    """Lookups by the samples of a chip, or rows that they are of, mean and largest of chips.

    Parameters
    ----------
    embeddings
        Tables and features.
    samples
        Of each chip.
    chips
        Chips with as many samples.
    distinct
        True: a row is asked for once by a chip.

    Notes
    -----
    Samples are drawn alike on all chips, so loads differ by chance alone and are taken as normal. Variance of L
    lookups: samples · Σ_f Var(v). Of U rows with the chances q of not being looked up: Σ q (1 − q) − E L (Σ p q)², for
    so many balls in boxes (Johnson and Kotz, *Urn models and their application*, 1977), and (Σ p q)² Var(L).
    """
    means, variances = [], []
    for table in embeddings.tables:
        readings = embeddings.readings(table)
        mean = samples * sum(times * feature.valency.mean for feature, times in readings)
        variance = samples * sum(times * _variance(feature.valency) for feature, times in readings)
        if distinct:
            law = rank_law(table.popularity, table.rows)
            absent = np.exp(absence(readings, samples, law.chances))
            slope = float(law.weights @ (law.chances * absent))
            variance = float(law.weights @ (absent * (1 - absent))) + slope**2 * (variance - mean)
            mean = float(law.weights @ (1 - absent))
        means.append(table.count * mean)
        variances.append(table.count * max(variance, 0.0))
    mean = sum(means)
    return Imbalance(mean, mean + math.sqrt(sum(variances)) * largest_normal(chips))


@lru_cache(maxsize=1024)
def _variance(valency: Valency) -> float:
    sizes = np.arange(valency.most + 1.0)
    return float(valency.probabilities() @ sizes**2) - valency.mean**2


@lru_cache(maxsize=1024)
def largest_normal(count: int) -> float:
    """Expected largest of independent standard normal numbers: the integral of x dΦ(x)^count."""
    from scipy.special import ndtr

    x = np.linspace(-DEVIATIONS, DEVIATIONS, POINTS)
    return DEVIATIONS - float(np.trapezoid(ndtr(x) ** count, x))

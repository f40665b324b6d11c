"""Parts that the sum of a bag comes in when the rows of its table are dealt over several chips, expected."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from accsim.embedding.imbalance import Imbalance
from accsim.embedding.law import FloatArray, RankLaw, rank_law
from accsim.embedding.shard_load import RowLoads, largest_load
from accsim.embedding.unique import absence
from accsim.workload.embeddings import EmbeddingSet, Popularity, Reading, Valency

MANY_ROWS: Final = 10**5
"""Rows from which on factorials are not formed."""


class Parts(NamedTuple):
    """Vectors that the owners of rows send for bags, each the sum of the rows of a bag that an owner has.

    Attributes
    ----------
    sent
        Of all bags.
    joined
        Of bags of two rows and more; with several owners they have to be added up.
    rows
        Different rows in bags.
    beside
        Of them, those at an owner that has another row of the bag, as far as any owner is as likely.
    """

    sent: float
    joined: float = 0.0
    rows: float = 0.0
    beside: float = 0.0


def expected_parts(tables: EmbeddingSet, owners: int) -> Parts:
    """Parts of all bags of a sample, the rows of each table dealt over so many owners.

    Examples
    --------
    >>> from accsim.workload.catalogue import load_workload
    >>> round(expected_parts(load_workload("dlrm_dcnv2").embeddings, 128).sent)
    179
    """
    each = [[times * count for count in parts] for times, parts in _each(tables, owners)]
    return Parts(*map(sum, zip(*each, strict=True)))


def expected_sums(tables: EmbeddingSet, samples: int, *, owners: int, groups: int = 1) -> Imbalance:
    """Parts that owners send for all bags of a batch, mean and largest of owners.

    Parameters
    ----------
    tables
        Tables and features.
    samples
        Of the batch.
    owners
        That the rows of each table are dealt over.
    groups
        Groups of so many owners, each with such tables of its own; the mean is of a group, the largest of all.

    Notes
    -----
    A row counts once for each bag that has it. What the owner with the largest such load has over the mean, it sends
    but for the share of rows beside others of their bag.
    """
    parts = expected_parts(tables, owners)
    mean = samples * parts.sent / owners
    if owners == 1:
        return Imbalance(mean, mean)
    rows = _rows_of_bags(tables, samples)
    above = largest_load(tables, rows, shards=owners, groups=groups) - float(rows.weights @ rows.means) / owners
    return Imbalance(mean, mean + max(above, 0.0) * (1 - parts.beside / parts.rows))


def _each(tables: EmbeddingSet, owners: int) -> Iterator[tuple[int, Parts]]:
    """Features alike of a kind of tables, and the parts of one of their bags."""
    for table in tables.tables:
        for feature, times in tables.readings(table):
            yield times * table.count, bag_parts(feature.valency, table.popularity, table.rows, owners)


def _rows_of_bags(tables: EmbeddingSet, samples: int) -> RowLoads:
    """The rows of all tables, each counted once for a bag that has it."""
    nodes = []
    for number, table in enumerate(tables.tables):
        readings = tables.readings(table)
        law = rank_law(table.popularity, table.rows)
        bags = sum(times for _, times in readings)
        in_bags = [-times * np.expm1(absence((Reading(f, 1),), 1.0, law.chances)) for f, times in readings]
        chances = sum(in_bags, np.zeros_like(law.chances)) / max(bags, 1)
        shape = len(chances)
        nodes.append(
            (law.weights * table.count, chances, np.full(shape, float(samples * bags)), np.full(shape, number))
        )
    return RowLoads(*(np.concatenate(parts) for parts in zip(*nodes, strict=True)))


@lru_cache(maxsize=4096)
def bag_parts(valency: Valency, popularity: Popularity, rows: int, owners: int) -> Parts:
    """Parts of a bag.

    Notes
    -----
    Formula: N (1 − (1 − 1/N)^v) for v rows over N owners, if all differ and there are many more
    (``docs/embeddings.md``). Here a bag has D different rows of the R in the table, an owner k = ⌊R/N⌋ or one more of
    them, and none of the bag's with the probability (R − D choose k) / (R choose k), averaged over k, D and v. D has
    the mean m = Σ_r 1 − (1 − p_r)^v and a variance s², and a function of D the mean of its values at m − s and m + s.

    Examples
    --------
    >>> found = bag_parts(Valency(20, 20), Popularity(), 10**7, 128)
    >>> round(found.sent, 2), round(128 * (1 - (127 / 128) ** 20), 2)
    (18.58, 18.58)
    """
    shares = valency.probabilities()
    sizes = 1.0 + np.flatnonzero(shares[1:]).astype(np.float64)
    if owners == 1 or not len(sizes):
        return Parts(float(shares[1:].sum()))
    mean, deviation = _distinct(sizes, rank_law(popularity, rows))
    some = 1 - _none_of(mean, deviation, sizes, rows, owners)
    share = shares[sizes.astype(np.intp)]
    sent, others = owners * share * some, share * mean * np.where(sizes > 1, some, 0.0)
    return Parts(float(sent.sum()), float(sent[sizes > 1].sum()), float(share @ mean), float(others.sum()))


def _none_of(mean: FloatArray, deviation: FloatArray, sizes: FloatArray, rows: int, owners: int) -> FloatArray:
    """Probability that an owner has no row of a bag, from the different rows of bags of these sizes."""
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

"""Load imbalance of rows that are hashed over shards (chips, cores, tiles, channels): counted, and expected.

A shard's load is the number of rows it fetches. What a row adds to it depends on where a batch is freed of duplicates:

- ``none``: every lookup fetches;
- ``source``: each chip asks for a row once, so the owner fetches it once for each chip that asks;
- ``owner``: a row is fetched once.

The largest of all shards takes as long as the step. Hot rows make it large, and hashing cannot divide a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accsim.config.checks import MAX_SIZE, shown
from accsim.embedding.law import FloatArray, rank_law
from accsim.embedding.trace import TraceBatch
from accsim.embedding.unique import absence, count_unique
from accsim.errors import InputError, check_choice
from accsim.workload.embeddings import EmbeddingSet

ComplexArray = NDArray[np.complex128]

SCOPES: Final = ("none", "source", "owner")
"""Where duplicates are dropped."""

POINTS: Final = 4096
"""Loads at which a distribution is known."""
HOT_ROWS: Final = 32
"""Rows, the hottest of all tables, whose shards are told apart."""
DEVIATIONS: Final = 10
"""Standard deviations around the mean that a distribution covers beside the hot rows."""
BLOCK: Final = 64
"""Frequencies that are worked on at a time."""
NEGLIGIBLE: Final = 1e-13
"""Size of a transform behind which it is left out."""


@dataclass(frozen=True)
class Imbalance:
    """Rows that shards fetch for a batch.

    Attributes
    ----------
    mean
        Of all shards.
    largest
        Of the shard that fetches most.
    """

    mean: float
    largest: float

    @property
    def ratio(self) -> float:
        """Largest over mean, at least 1."""
        return self.largest / self.mean


def count_imbalance(batch: TraceBatch, *, shards: int, dedup: str, chips: int = 1) -> Imbalance:
    """Loads of the shards of a batch, whose rows are dealt over them in turn, table after table.

    Raises
    ------
    InputError
        If a number or the scope is out of range.
    """
    check_choice("dedup", dedup, SCOPES)
    found = count_unique(batch, chips=chips if dedup == "source" else 1, shards=shards)
    loads = (found.lookups if dedup == "none" else found.unique).sum(axis=(0, 1))
    return Imbalance(float(loads.mean()), float(loads.max()))


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows of all tables, as nodes: what each adds to its shard is binomial."""

    weights: FloatArray
    """Rows that a node stands for."""
    chances: FloatArray
    """Probability of each fetch."""
    fetches: FloatArray
    """How often it may be fetched."""
    tables: NDArray[np.intp]
    """Which table of the set each node is of."""

    @property
    def means(self) -> FloatArray:
        """Mean fetches of a row."""
        return self.chances * self.fetches

    def spectrum(self, frequencies: FloatArray) -> ComplexArray:
        """Characteristic functions of a row's fetches, complex128[nodes, frequencies]."""
        turns = np.log(1 + self.chances[:, None] * np.expm1(1j * frequencies) + 1e-300)
        powers: ComplexArray = np.exp(self.fetches[:, None] * turns)
        return powers


def expected_imbalance(embeddings: EmbeddingSet, samples: int, *, shards: int, dedup: str, chips: int = 1) -> Imbalance:
    """Loads of shards over which the rows of each table are dealt evenly and at random, expected, without a trace.

    Parameters
    ----------
    embeddings
        Tables and features.
    samples
        Of the batch.
    shards
        Each has as many rows of a table as the others; which ones is chance.
    dedup
        Where duplicates are dropped, one of `SCOPES`.
    chips
        Chips that the samples come from; they count with ``source`` alone.

    Raises
    ------
    InputError
        If a number or the scope is out of range.

    Notes
    -----
    What a row adds to its shard is binomial; its characteristic function is ψ. A shard has c rows of a table on
    average, k = ⌊c⌋ or one more of them, with the probability f = c − k. Rows alike add ψ^k (1 − f + f ψ); R rows that
    differ, with the mean ψ̄, add that of ψ̄ times Π (1 + c/R (ψ − 1)) / (1 + c/R (ψ̄ − 1))^R, right to the second order.
    The hottest rows are told apart: a shard of one has it, c less one of its table, and each colder of them with
    probability 1 / shards. All this is inverted by a Fourier transform, and, the shards taken as independent, the
    largest load is at most x with the probability P(L ≤ x)^{shards − hot rows} Π_h P(L_h ≤ x). If hot rows were not
    told apart, each were in no shard at all with probability 1/e. ``docs/embeddings.md`` holds it against traces.
    """
    _check(samples, shards, chips)
    check_choice("dedup", dedup, SCOPES)
    rows = _rows(embeddings, samples, dedup, chips)
    mean = float(rows.weights @ rows.means) / shards
    if shards == 1:
        return Imbalance(mean, mean)
    deal = _deal(embeddings, rows, _hottest(rows, min(HOT_ROWS, shards // 2)), shards)
    first, step = _window(rows, deal, shards)
    blocks = []
    for at in range(0, POINTS // 2 + 1, BLOCK):
        frequencies = np.arange(float(at), min(at + BLOCK, POINTS // 2 + 1)) * (2 * math.pi / (POINTS * step))
        moved = np.exp(-1j * first * frequencies - (step * frequencies) ** 2 / 2)
        blocks.append(moved * _transforms(rows, deal, frequencies, shards))
        if np.abs(blocks[-1]).max() < NEGLIGIBLE:
            break
    cold_shard, *hot_shards = np.hstack(blocks)
    below = _cumulative(cold_shard) ** (shards - len(deal.hot))
    for spectrum in hot_shards:
        below *= _cumulative(spectrum)
    return Imbalance(mean, max(mean, first + step * float(np.sum(1 - below))))


class _Deal(NamedTuple):
    """How rows lie over shards."""

    hot: NDArray[np.intp]
    """Nodes of the hottest rows."""
    cold: FloatArray
    """Rows that a node stands for, without the hottest."""
    counts: FloatArray
    """Tables alike."""
    away: FloatArray
    """Cold rows of a table in a shard without a hot row."""
    near: FloatArray
    """And in one with a hot row of that table."""
    meet: FloatArray
    """For each hot row, those colder that may be in its shard: 1, or the part of the tables alike that are others."""


def _deal(embeddings: EmbeddingSet, rows: _Rows, hot: NDArray[np.intp], shards: int) -> _Deal:
    cold = rows.weights.copy()
    np.subtract.at(cold, hot, 1.0)
    counts = np.array([float(table.count) for table in embeddings.tables])
    sizes = np.array([float(table.rows) for table in embeddings.tables])
    of_hot = rows.tables[hot]
    told_apart = np.bincount(of_hot, minlength=len(counts)) / counts
    away = np.where(sizes > shards, sizes / shards, (sizes - told_apart) / (shards - told_apart))
    near = np.maximum(sizes / shards - 1, 0.0)
    never = (of_hot[:, None] == of_hot) & (sizes[of_hot] <= shards)
    return _Deal(hot, cold, counts, away, near, np.triu(1 - never / counts[of_hot], k=1))


def _transforms(rows: _Rows, deal: _Deal, frequencies: FloatArray, shards: int) -> ComplexArray:
    """Characteristic functions of the load of a shard without a hot row, and of those with one, hottest first."""
    one = rows.spectrum(frequencies)
    tables = [(one[part], deal.cold[part]) for part in (rows.tables == i for i in range(len(deal.counts)))]
    away, near = (
        np.array([_dealt(psi, w / n, c) for (psi, w), n, c in zip(tables, deal.counts, held, strict=True)])
        for held in (deal.away, deal.near)
    )
    cold = deal.counts @ away
    colder = deal.meet @ np.log1p((one[deal.hot] - 1) / shards)
    hot = one[deal.hot] * np.exp(cold + (near - away)[rows.tables[deal.hot]] + colder)
    found: ComplexArray = np.vstack([np.exp(cold), hot])
    return found


def _dealt(one: ComplexArray, weights: FloatArray, held: float) -> ComplexArray:
    """Logarithm of the characteristic function of what the rows of a table add to a shard that has `held` of them."""
    rows = weights.sum()
    if rows < 0.5 or held <= 0:
        return np.zeros(one.shape[1], np.complex128)
    share = min(held / rows, 1.0)
    usual = weights @ one / rows
    whole = math.floor(held + 1e-9)
    dealt: ComplexArray = weights @ np.log1p(share * (one - 1)) - rows * np.log1p(share * (usual - 1))
    dealt += np.log1p(max(held - whole, 0.0) * (usual - 1))
    return dealt + whole * np.log(usual + 1e-300) if whole else dealt


def _rows(embeddings: EmbeddingSet, samples: int, dedup: str, chips: int) -> _Rows:
    """The rows of all tables, those of tables alike together."""
    weights, chances, fetches, tables = [], [], [], []
    for number, table in enumerate(embeddings.tables):
        readings = embeddings.readings(table)
        law = rank_law(table.popularity, table.rows)
        if dedup == "none":
            most = samples * sum(times * feature.valency.mean for feature, times in readings)
            chance = law.chances
        else:
            most = chips if dedup == "source" else 1
            chance = -np.expm1(absence(readings, samples / most, law.chances))
        weights.append(law.weights * table.count)
        chances.append(np.minimum(chance, 1.0))
        fetches.append(np.full(len(chance), float(most)))
        tables.append(np.full(len(chance), number))
    return _Rows(*(np.concatenate(parts) for parts in (weights, chances, fetches, tables)))


def _hottest(rows: _Rows, most: int) -> NDArray[np.intp]:
    """Nodes of the rows that add most, hottest first; a node that stands for several rows is there so often."""
    order = np.argsort(-rows.means, kind="stable")
    found = np.repeat(order, np.minimum(np.floor(rows.weights[order] + 1e-9), most).astype(np.int64))
    return found[:most]


def _window(rows: _Rows, deal: _Deal, shards: int) -> tuple[float, float]:
    """(least load, distance of loads) that distributions are known at: around the mean, with the hottest rows."""
    means, hot = rows.means, deal.hot
    inner = means * (1 - rows.chances)
    deviation = math.sqrt(max(0.0, float(deal.cold @ (inner + means**2))) / shards)
    reach = DEVIATIONS * (deviation + math.sqrt(max(inner[hot], default=0.0)) + 1)
    first = float(rows.weights @ means - means[hot].sum()) / shards - reach
    last = float(rows.weights @ means) / shards + reach + float(means[hot[:3]].sum())
    return first, (last - first) / POINTS


def _cumulative(spectrum: ComplexArray) -> FloatArray:
    """Distribution function of a load at the window's points, from its characteristic function there."""
    density = np.fft.irfft(np.conj(spectrum), POINTS)
    return np.clip(np.cumsum(density), 0.0, 1.0)


def _check(samples: int, shards: int, chips: int) -> None:
    numbers: Iterable[tuple[str, object, int]] = (
        ("samples", samples, MAX_SIZE),
        ("shards", shards, 2**20),
        ("chips", chips, 2**20),
    )
    for name, value, most in numbers:
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise InputError(f"{name}: read {shown(value)}, allowed is a whole number from 1 to {most}")

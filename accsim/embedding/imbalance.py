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
from typing import Final

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
    usual: FloatArray
    """The m of `expected_imbalance`."""

    @property
    def means(self) -> FloatArray:
        """Mean fetches of a row."""
        return self.chances * self.fetches

    def spectrum(self, frequencies: FloatArray) -> ComplexArray:
        """Characteristic functions of a row's fetches less the usual ones, complex128[nodes, frequencies]."""
        turns = np.log(1 + self.chances[:, None] * np.expm1(1j * frequencies) + 1e-300)
        powers: ComplexArray = np.exp(self.fetches[:, None] * turns - 1j * self.usual[:, None] * frequencies)
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
    What row r adds to its shard is binomial, B_r. A shard without hot rows has a load L with the characteristic
    function e^{itM} Π (1 + (E e^{it(B − m)} − 1) / shards) over all other rows, M being the sum of m over all rows,
    divided by the shards. With m = 0 these are rows hashed one by one. Rows dealt evenly have, to the second order, the
    mean of B over the rows of their table as m, times `_evenness` where rows / shards leaves a remainder. The shard of
    hot row h has L + B_h − m, plus each colder hot row with probability 1 / shards. These are inverted by a Fourier
    transform, and, the shards taken as independent, the largest load is at most x with the probability
    P(L ≤ x)^{shards − hot rows} Π_h P(L_h ≤ x). If hot rows were not told apart, each were in no shard at all with
    probability 1/e. ``docs/embeddings.md`` holds it against traces.
    """
    _check(samples, shards, chips)
    check_choice("dedup", dedup, SCOPES)
    rows = _rows(embeddings, samples, dedup, chips, shards)
    mean = float(rows.weights @ rows.means) / shards
    if shards == 1:
        return Imbalance(mean, mean)
    hot = _hottest(rows, min(HOT_ROWS, shards // 2))
    cold = rows.weights.copy()
    np.subtract.at(cold, hot, 1.0)
    first, step = _window(rows, hot, cold, shards)
    usual = float(rows.weights @ rows.usual) / shards
    blocks = []
    for at in range(0, POINTS // 2 + 1, BLOCK):
        frequencies: FloatArray = np.arange(float(at), min(at + BLOCK, POINTS // 2 + 1)) * (2 * np.pi / (POINTS * step))
        one = rows.spectrum(frequencies)
        moved = np.exp(1j * (usual - first) * frequencies - (step * frequencies) ** 2 / 2)
        load = moved * np.exp(cold @ np.log1p((one - 1) / shards))
        met = np.cumsum(np.log1p((one[hot[::-1]] - 1) / shards), axis=0)[::-1]  # a hot row and all colder ones
        colder = np.exp(np.vstack([met[1:], np.zeros((1, len(load)))]))
        blocks.append(np.vstack([load, load * one[hot] * colder]))
        if np.abs(load).max() < NEGLIGIBLE:
            break
    cold_shard, *hot_shards = np.hstack(blocks)
    below = _cumulative(cold_shard) ** (shards - len(hot))
    for spectrum in hot_shards:
        below *= _cumulative(spectrum)
    return Imbalance(mean, max(mean, first + step * float(np.sum(1 - below))))


def _rows(embeddings: EmbeddingSet, samples: int, dedup: str, chips: int, shards: int) -> _Rows:
    """The rows of all tables, those of tables alike together."""
    weights, chances, fetches, usual = [], [], [], []
    for table in embeddings.tables:
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
        mean = most * float(law.weights @ chances[-1]) / table.rows
        usual.append(np.full(len(chance), mean * _evenness(table.rows, shards)))
    return _Rows(*(np.concatenate(parts) for parts in (weights, chances, fetches, usual)))


def _hottest(rows: _Rows, most: int) -> NDArray[np.intp]:
    """Nodes of the rows that add most, hottest first; a node that stands for several rows is there so often."""
    order = np.argsort(-rows.means, kind="stable")
    found = np.repeat(order, np.minimum(np.floor(rows.weights[order] + 1e-9), most).astype(np.int64))
    return found[:most]


def _evenness(rows: int, shards: int) -> float:
    """1 where each shard has as many rows as the others, near 0 where few have any.

    Of the number of rows a shard has, f (1 − f) is the variance with a remainder f of rows / shards; a binomial's is
    rows / shards · (1 − 1 / shards). One less the root of their ratio is what m has to be multiplied by.
    """
    if shards == 1:
        return 1.0
    rest = rows / shards % 1.0
    return 1.0 - math.sqrt(rest * (1 - rest) / (rows / shards * (1 - 1 / shards)))


def _window(rows: _Rows, hot: NDArray[np.intp], cold: FloatArray, shards: int) -> tuple[float, float]:
    """(least load, distance of loads) that distributions are known at: around the mean, with the hottest rows."""
    means = rows.means
    inner = means * (1 - rows.chances)
    deviation = math.sqrt(max(0.0, float(cold @ (inner + (means - rows.usual) ** 2))) / shards)
    reach = DEVIATIONS * (deviation + math.sqrt(max(inner[hot], default=0.0)) + 1)
    first = float(rows.weights @ means - (means - rows.usual)[hot].sum()) / shards - reach
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

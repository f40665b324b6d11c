"""The largest load of shards over which the rows of tables are dealt, from what each row adds to its shard.

What a row adds to its shard is binomial; its characteristic function is ψ. A shard has c rows of a table on average,
k = ⌊c⌋ or one more of them, with the probability f = c − k. Rows alike add ψ^k (1 − f + f ψ); R rows that differ, with
the mean ψ̄, add that of ψ̄ times Π (1 + c/R (ψ − 1)) / (1 + c/R (ψ̄ − 1))^R, right to the second order.

The hottest rows are told apart: a shard of one has it, c less one of its table, and each colder of them with
probability 1 / shards. All this is inverted by a Fourier transform, and, the shards taken as independent, the largest
load is at most x with the probability P(L ≤ x)^{shards − hot rows} Π_h P(L_h ≤ x). If hot rows were not told apart,
each were in no shard at all with probability 1/e.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accsim.embedding.law import FloatArray
from accsim.kernels.shard_load import HotRows, RowNodes, TableDeals, load_spectra
from accsim.workload.embeddings import EmbeddingSet

POINTS: Final = 4096
"""Loads at which a distribution is known."""
HOT_ROWS: Final = 32
"""Rows, the hottest of all tables, whose shards are told apart."""
LUKEWARM: Final = 1e-3
"""Share of a mean shard's load below which a row is not told apart: the expectation moves by 4e-5 (measured)."""
DEVIATIONS: Final = 10
"""Standard deviations around the mean that a distribution covers beside the hot rows."""
NEGLIGIBLE: Final = 1e-13
"""Size of a transform behind which it is left out."""


@dataclass(frozen=True, eq=False)
class RowLoads:
    """Rows of all tables, as nodes, table after table: what each adds to its shard is binomial.

    Attributes
    ----------
    weights
        Rows that a node stands for.
    chances
        Probability of each fetch.
    fetches
        How often it may be fetched.
    tables
        Which table of the set each node is of, rising.
    """

    weights: FloatArray
    chances: FloatArray
    fetches: FloatArray
    tables: NDArray[np.intp]

    @property
    def means(self) -> FloatArray:
        """Mean fetches of a row."""
        return self.chances * self.fetches


def largest_load(embeddings: EmbeddingSet, rows: RowLoads, *, shards: int, groups: int = 1) -> float:
    """Expected largest load.

    Parameters
    ----------
    embeddings
        The tables.
    rows
        Their rows.
    shards
        That the rows are dealt over.
    groups
        Groups of so many shards, each with rows of its own.
    """
    if shards == 1:
        return float(rows.weights @ rows.means)
    hot = _hottest(rows, min(HOT_ROWS, shards // 2), shards)
    cold = rows.weights.copy()
    np.subtract.at(cold, hot, 1.0)
    nodes, deals, hottest = _dealt(embeddings, rows, cold, hot, shards)
    first, step = _window(rows, cold, hot, shards)
    frequencies = np.arange(POINTS // 2 + 1.0) * (2 * math.pi / (POINTS * step))
    spectra = np.zeros((1 + len(hot), len(frequencies)), np.complex128)
    known = load_spectra(frequencies, first, step, float(shards), nodes, deals, hottest, NEGLIGIBLE, spectra)
    below = _cumulative(spectra[:, :known])
    most = below[0] ** (shards - len(hot)) * below[1:].prod(axis=0)
    return first + step * float(np.sum(1 - most**groups))


def _hottest(rows: RowLoads, most: int, shards: int) -> NDArray[np.intp]:
    """Nodes of the rows that add most, hottest first; a node that stands for several rows is there so often."""
    means = rows.means
    order = np.argsort(-means, kind="stable")
    order = order[means[order] * shards >= LUKEWARM * (rows.weights @ means)]
    found = np.repeat(order, np.minimum(np.floor(rows.weights[order] + 1e-9), most).astype(np.int64))
    return found[:most]


def _dealt(
    embeddings: EmbeddingSet, rows: RowLoads, cold: FloatArray, hot: NDArray[np.intp], shards: int
) -> tuple[RowNodes, TableDeals, HotRows]:
    """How rows lie over shards, those told apart and the others."""
    counts = np.array([float(table.count) for table in embeddings.tables])
    sizes = np.array([float(table.rows) for table in embeddings.tables])
    of_hot = rows.tables[hot]
    told_apart = np.bincount(of_hot, minlength=len(counts)) / counts
    away = np.where(sizes > shards, sizes / shards, (sizes - told_apart) / (shards - told_apart))
    near = np.maximum(sizes / shards - 1, 0.0)
    apart = np.where(sizes > shards, 0.0, 1 / counts)
    bounds = np.searchsorted(rows.tables, np.arange(len(counts) + 1))
    alike = counts[rows.tables]
    return (
        RowNodes(cold / alike, rows.chances, rows.fetches, bounds),
        TableDeals(counts, away, near, told_apart > 0, apart),
        HotRows(hot, of_hot),
    )


def _window(rows: RowLoads, cold: FloatArray, hot: NDArray[np.intp], shards: int) -> tuple[float, float]:
    """(least load, distance of loads) that distributions are known at: around the mean, with the hottest rows."""
    means = rows.means
    inner = means * (1 - rows.chances)
    deviation = math.sqrt(max(0.0, float(cold @ (inner + means**2))) / shards)
    reach = DEVIATIONS * (deviation + math.sqrt(max(inner[hot], default=0.0)) + 1)
    first = float(rows.weights @ means - means[hot].sum()) / shards - reach
    last = float(rows.weights @ means) / shards + reach + float(means[hot[:3]].sum())
    return first, (last - first) / POINTS


def _cumulative(spectra: NDArray[np.complex128]) -> FloatArray:
    """Distribution functions of loads at the window's points, from their characteristic functions there."""
    density = np.fft.irfft(np.conj(spectra), POINTS, axis=1)
    return np.clip(np.cumsum(density, axis=1), 0.0, 1.0)

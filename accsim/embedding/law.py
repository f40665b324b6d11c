"""Sums over all rows of a table without going through them: a quadrature over ranks.

The first ranks are taken one by one; behind them Σ f(r) is the integral of f from half a rank before to half a rank
after (Euler and Maclaurin), in pieces of equal length in ln(r + shift) with Gauss and Legendre's nodes. A table of 10^8
rows takes some 200 nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accsim.workload.embeddings import Popularity

FloatArray = NDArray[np.float64]

HEAD: Final = 64
"""Ranks taken one by one."""
NODES: Final = 4
"""Nodes of a piece."""
PIECE: Final = 0.5
"""Length of a piece in ln(r + shift), at most."""


@dataclass(frozen=True, eq=False)
class RankLaw:
    """A popularity over the rows of a table, as nodes that stand for many rows each.

    Attributes
    ----------
    weights
        Rows that a node stands for, float64[nodes], ones for the head of a law that is not even; they add up to the
        rows.
    chances
        Probability that a lookup is of one such row, float64[nodes], falling.
    """

    weights: FloatArray
    chances: FloatArray

    def total(self, function: Callable[[FloatArray], FloatArray]) -> float:
        """Sum over all rows of a smooth function of their chances."""
        return float(self.weights @ function(self.chances))


@lru_cache(maxsize=4096)
def rank_law(popularity: Popularity, rows: int) -> RankLaw:
    """The law of a table of `rows` rows.

    Examples
    --------
    >>> law = rank_law(Popularity(exponent=1.0), rows=10**8)
    >>> len(law.weights), round(1 / float(law.chances[0]), 4)  # the harmonic number of 10^8
    (180, 18.9979)
    """
    head = min(HEAD, rows)
    ranks = [np.arange(1.0, head + 1)]
    weights = [np.ones(head)]
    if rows > head:
        low, high = (math.log(rank + 0.5 + popularity.shift) for rank in (head, rows))
        edges = np.linspace(low, high, 1 + math.ceil((high - low) / PIECE))
        nodes, shares = np.polynomial.legendre.leggauss(NODES)
        half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
        shifted = np.exp(middle + half * nodes)
        widths = half * shares * shifted
        ranks.append((shifted - popularity.shift).ravel())
        weights.append(widths.ravel() * ((rows - head) / widths.sum()))
    every, count = np.concatenate(ranks), np.concatenate(weights)
    heights = ((every + popularity.shift) / (1 + popularity.shift)) ** -popularity.exponent
    falling, node = np.unique(-heights, return_inverse=True)  # an even law has one node
    alike = np.bincount(node, count).astype(np.float64)
    return RankLaw(alike, -falling / (alike @ -falling))

"""Characteristic functions of shards' loads as their formulas stand, in extended precision: the twin of the kernel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accsim.kernels.shard_load import HotRows, RowNodes, TableDeals

Complex = NDArray[np.clongdouble]


def spectra(
    frequencies: NDArray[np.float64],
    offset: float,
    blur: float,
    shards: float,
    rows: RowNodes,
    deals: TableDeals,
    hot: HotRows,
) -> Complex:
    """Of a shard without a hot row, and of those with one, [1 + hot, frequencies]."""
    turn = 1j * frequencies.astype(np.clongdouble)
    one = [(1 + p * (np.exp(turn) - 1)) ** n for p, n in zip(rows.chances, rows.fetches, strict=True)]
    moved = np.exp(-turn * offset - (blur * frequencies.astype(np.longdouble)) ** 2 / 2)
    parts = [slice(a, b) for a, b in zip(rows.bounds[:-1], rows.bounds[1:], strict=True)]
    away = [dealt(one[p], rows.weights[p], held) for p, held in zip(parts, deals.away, strict=True)]
    near = [dealt(one[p], rows.weights[p], held) for p, held in zip(parts, deals.near, strict=True)]
    cold = np.prod([a**n for a, n in zip(away, deals.counts, strict=True)], axis=0)
    found = [cold]
    for i, (node, table) in enumerate(zip(hot.nodes, hot.tables, strict=True)):
        beside = cold * near[table] / away[table] * one[node]
        for other, its in zip(hot.nodes[i + 1 :], hot.tables[i + 1 :], strict=True):
            beside = beside * (1 + (one[other] - 1) / shards) ** (1 - deals.apart[its] * (its == table))
        found.append(beside)
    return np.array(found) * moved


def dealt(one: list[Complex], weights: NDArray[np.float64], held: float) -> Complex:
    """Of what a table's rows add to a shard that has `held` of them."""
    rows = weights.sum()
    if rows < 0.5 or held <= 0:
        return np.ones_like(one[0])
    usual = sum(w * psi for w, psi in zip(weights, one, strict=True)) / rows
    whole = np.floor(held + 1e-9)
    found = usual**whole * (1 + max(held - whole, 0.0) * (usual - 1))
    share = min(held / rows, 1.0)
    for weight, psi in zip(weights, one, strict=True):
        found = found * ((1 + share * (psi - 1)) / (1 + share * (usual - 1))) ** weight
    return found

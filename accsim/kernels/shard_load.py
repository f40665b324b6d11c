"""Characteristic functions of the rows that a shard fetches, of tables whose rows are dealt evenly over shards."""

from __future__ import annotations

import cmath
from typing import NamedTuple

import numpy as np

from accsim.kernels.jit import kernel

SMALL = 0.01
"""Sizes of arguments below which logarithms and exponentials are series; what is left out is below 1e-14 of them."""
QUIET = 64
"""Frequencies in a row at which all functions are negligible, behind which the rest are left out."""


class RowNodes(NamedTuple):
    """Rows of all tables, table after table; a node stands for many rows."""

    weights: np.ndarray
    """float64[nodes], rows of each, without those told apart."""
    chances: np.ndarray
    """float64[nodes], of each fetch of a row."""
    fetches: np.ndarray
    """float64[nodes], how often a row may be fetched."""
    bounds: np.ndarray
    """int64[tables + 1], where the nodes of each table begin and the last one's end."""


class TableDeals(NamedTuple):
    """How the rows of each table lie over the shards, float64[tables] each."""

    counts: np.ndarray
    """Tables alike."""
    away: np.ndarray
    """Rows in a shard without a hot row of the table."""
    near: np.ndarray
    """And beside the hot row in one with it."""
    hot: np.ndarray
    """bool[tables], whether a table has a hot row."""
    apart: np.ndarray
    """float64[tables], probability that two hot rows cannot meet: one table has both, and at most a row a shard."""


class HotRows(NamedTuple):
    """The rows told apart, hottest first."""

    nodes: np.ndarray
    """int64[hot], which node each is of."""
    tables: np.ndarray
    """int64[hot], which table."""


@kernel(inline="late")
def _log1p(x):
    """ln(1 + x), of -1 a large negative number."""
    if x.real * x.real + x.imag * x.imag < SMALL * SMALL:
        return x * (1.0 - x * (0.5 - x * (1 / 3 - x * (0.25 - x * (0.2 - x * (1 / 6))))))
    return cmath.log(1.0 + x + 1e-300)


@kernel(inline="late")
def _expm1(x):
    """exp(x) - 1."""
    if x.real * x.real + x.imag * x.imag < SMALL * SMALL:
        return x * (1.0 + x * (0.5 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x * (1 / 720))))))
    return cmath.exp(x) - 1.0


@kernel
def _dealt(gain, rows, first, last, held):
    """Logarithm of the function of what the rows of a table add to a shard that has ``held`` of them.

    Rows alike add ψ^k (1 − f + f ψ), where k + f are held; rows that differ add that of their mean and, to the second
    order, what their differences do.
    """
    total, usual = 0.0, 0j
    for i in range(first, last):
        total += rows[i]
        usual += rows[i] * gain[i]
    if total < 0.5 or held <= 0.0:
        return 0j
    usual /= total
    whole = np.floor(held + 1e-9)
    found = _log1p(max(held - whole, 0.0) * usual)
    if whole > 0.0:
        found += whole * _log1p(usual)
    if last - first > 1:
        share = min(held / total, 1.0)
        found -= total * _log1p(share * usual)
        for i in range(first, last):
            found += rows[i] * _log1p(share * gain[i])
    return found


@kernel(allocates=True)
def load_spectra(frequencies, offset, blur, shards, rows, deals, hot, negligible, spectra):
    """Characteristic functions of the load of a shard without a hot row, and of those with one; how many are not 0.

    Parameters
    ----------
    frequencies : float64[n].
    offset : load that is taken off, as a factor exp(-i offset θ).
    blur : deviation of a normal number that is added, as a factor exp(-(blur θ)² / 2).
    shards : that rows are dealt over.
    rows, deals, hot : `RowNodes`, `TableDeals`, `HotRows`.
    negligible : size of a function behind which it is left out.
    spectra : complex128[1 + hot, n], filled.
    """
    tables, hottest = rows.bounds.shape[0] - 1, hot.nodes.shape[0]
    gain = np.empty(rows.weights.shape[0], np.complex128)
    beside = np.empty(tables, np.complex128)
    own = np.empty(tables, np.complex128)
    quiet = 0
    for k in range(frequencies.shape[0]):
        unit = _expm1(complex(0.0, frequencies[k]))
        for i in range(gain.shape[0]):
            one = rows.chances[i] * unit
            gain[i] = one if rows.fetches[i] == 1.0 else _expm1(rows.fetches[i] * _log1p(one))
        cold = complex(-0.5 * (blur * frequencies[k]) ** 2, -offset * frequencies[k])
        for t in range(tables):
            first, last = rows.bounds[t], rows.bounds[t + 1]
            away = _dealt(gain, rows.weights, first, last, deals.away[t])
            cold += deals.counts[t] * away
            if deals.hot[t]:
                beside[t] = _dealt(gain, rows.weights, first, last, deals.near[t]) - away
        spectra[0, k] = cmath.exp(cold)
        size = abs(spectra[0, k])
        colder, met, found, meeting, last = 0j, 0j, 0j, 0j, -1
        own[:] = 0j
        for h in range(hottest - 1, -1, -1):
            node, t = hot.nodes[h], hot.tables[h]
            if node == last:
                found *= meeting
            else:
                met = _log1p(gain[node] / shards)
                meeting = cmath.exp((1.0 - deals.apart[t]) * met)
                found = (1.0 + gain[node]) * cmath.exp(cold + beside[t] + colder - deals.apart[t] * own[t])
                last = node
            colder += met
            own[t] += met
            spectra[h + 1, k] = found
            size = max(size, abs(found))
        quiet = quiet + 1 if size < negligible else 0
        if quiet == QUIET:
            return k + 1
    return frequencies.shape[0]

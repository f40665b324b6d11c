"""Lanes that share a sparse operand wait for the one with most work: by how much, in closed form and of a mask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from accsim.errors import InputError
from accsim.sparsity.mask import Mask, as_mask

NEGLIGIBLE = 1e-9
"""Chance below which the rest of a sum of falling chances is left out."""


@dataclass(frozen=True, slots=True)
class Imbalance:
    """Work of lanes that start each tile together.

    Attributes
    ----------
    lanes
        Lanes that wait for each other.
    mean
        Nonzeros of a lane and tile.
    longest
        Nonzeros of the fullest lane, expected or averaged over the groups: what a tile takes.
    exact
        False where `longest` is an approximation.
    standard_error
        Of `longest`, where it is an average; else 0.
    """

    lanes: int
    mean: float
    longest: float
    exact: bool = True
    standard_error: float = 0.0

    @property
    def efficiency(self) -> float:
        """Share of the time that lanes work: mean / longest; 1 without work."""
        return self.mean / self.longest if self.longest else 1.0

    @property
    def imbalance(self) -> float:
        """Time lost, as a share of the time that a perfect balance would take: longest / mean − 1."""
        return self.longest / self.mean - 1 if self.mean else 0.0


def expected_max(positions: int, density: float, lanes: int) -> float:
    """Expected largest of `lanes` independent binomial counts, exactly.

    Parameters
    ----------
    positions, density
        Of each count: trials, and probability of a success.
    lanes
        Number of counts.

    Notes
    -----
    E[max] = Σ_{k ≥ 0} (1 − F(k)^P) with F the distribution function; with the tail T = 1 − F a term is
    −expm1(P · log1p(−T)), which loses no digits where F is near 1.

    Examples
    --------
    >>> round(expected_max(64, 0.1, 32), 1), expected_max(8, 1.0, 5)
    (11.8, 8.0)
    """
    from scipy.special import bdtrc

    tail = bdtrc(np.arange(positions, dtype=np.float64), positions, density)
    with np.errstate(divide="ignore"):
        return float(-np.expm1(lanes * np.log1p(-np.minimum(tail, 1.0))).sum())


@lru_cache(maxsize=256)
def fullest_bank(sums: int, banks: int) -> float:
    """Expected number of sums in the fullest of the banks that so many are spread over at random.

    Parameters
    ----------
    sums
        Each lies in any bank with the same chance, whatever the others do.
    banks
        Number of banks.

    Notes
    -----
    E[max] = Σ_{c ≥ 0} (1 − P(max ≤ c)). Given their total, independent Poisson counts of mean λ = sums / banks are
    multinomial, so P(max ≤ c) is the coefficient of x^sums in (Σ_{j ≤ c} e^−λ λ^j x^j / j!)^banks, over the Poisson
    chance of the total; the power is that of a Fourier transform long enough not to wrap around.

    Source: Feller, An Introduction to Probability Theory and Its Applications, volume 1 (occupancy).

    Examples
    --------
    >>> round(fullest_bank(2, 2), 6), round(fullest_bank(128, 128), 2)
    (1.5, 4.38)
    """
    from scipy.fft import next_fast_len
    from scipy.stats import poisson

    least = math.ceil(sums / banks)
    total, expected = poisson.pmf(sums, sums), float(least)
    for most in range(least, sums):
        counts = poisson.pmf(np.arange(most + 1), sums / banks)
        length = next_fast_len(banks * most + 1, real=True)
        within = np.fft.irfft(np.fft.rfft(counts, length) ** banks, length)[sums] / total
        more = max(0.0, 1.0 - float(within))
        expected += more
        if more < NEGLIGIBLE:
            break
    return expected


def uniform_imbalance(positions: int, density: float | Fraction, lanes: int, *, fixed_total: bool = False) -> Imbalance:
    """Imbalance of lanes whose places are nonzero independently of each other.

    Parameters
    ----------
    positions
        Places of a lane and tile. A queue that lets lanes drift over q tiles acts like q times as many.
    density
        Probability that a place is nonzero.
    lanes
        Lanes that wait for each other.
    fixed_total
        True: it is the number of nonzeros of the whole tensor that is given, not a probability. The counts of the lanes
        then depend on each other, the same numbers are an approximation, and the result says so.

    Raises
    ------
    InputError
        If a number is out of range.

    Notes
    -----
    The expected maximum with independent places is the mean of that with a fixed total over all totals, so the two
    agree to first order. For 4 lanes that are the whole tensor, with density 1/4, they differ by 3.7 % at 4 places a
    lane and by 1.2 % at 8. Hypergeometric counts taken as independent would be off by 6.6 % at 8.

    Examples
    --------
    >>> round(uniform_imbalance(64, 0.5, 32).efficiency, 2)
    0.8
    """
    share = float(density)
    if positions < 1 or lanes < 1 or not 0 <= share <= 1:
        read = f"read {positions} positions, density {share} and {lanes} lanes"
        raise InputError(f"{read}; allowed are at least 1, 0 to 1, and at least 1")
    return Imbalance(lanes, positions * share, expected_max(positions, share, lanes), exact=not fixed_total)


def mask_imbalance(mask: ArrayLike | Mask, lanes: int, positions: int) -> Imbalance:
    """Imbalance of a real mask: `lanes` rows at a time, `positions` places of each row a tile.

    Parameters
    ----------
    mask
        A `Mask` or an array of two axes whose nonzero places are kept. Row r goes to lane r mod `lanes`.
    lanes, positions
        Rows that run side by side and wait for each other after each tile, and places of a row in a tile. What is left
        over at the end of an axis is a smaller tile.

    Raises
    ------
    InputError
        If the mask is not of two axes, or a number is below 1.

    Examples
    --------
    >>> mask_imbalance([[1, 0, 1, 1], [0, 1, 0, 0]], lanes=2, positions=2).longest
    1.5
    """
    places = mask.array if isinstance(mask, Mask) else as_mask(mask)
    if places.ndim != 2 or lanes < 1 or positions < 1:
        read = f"read a mask of shape {places.shape}, {lanes} lanes and {positions} positions"
        raise InputError(f"{read}; allowed are two axes, and numbers of at least 1")
    counts = np.add.reduceat(places, np.arange(0, places.shape[1], positions), axis=1, dtype=np.int64)
    longest = np.maximum.reduceat(counts, np.arange(0, places.shape[0], lanes), axis=0)
    groups = longest.size
    error = float(longest.std(ddof=1)) / math.sqrt(groups) if groups > 1 else math.inf
    return Imbalance(lanes, float(counts.sum()) / (groups * lanes), float(longest.mean()), standard_error=error)

"""Nonzeros of tiles: the analytic model of uniformly random masks, and what a real mask has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accsim.config.checks import ArgumentChecks
from accsim.errors import InputError
from accsim.sparsity.base import kept_of
from accsim.sparsity.mask import Mask, as_mask

Chances = NDArray[np.float64]


class Moments(NamedTuple):
    """Mean and standard deviation of a number of nonzeros."""

    mean: float
    deviation: float


class TileGap(NamedTuple):
    """How far a mask is from random ones, signed: what it has less what the model expects."""

    empty: float
    """Share of empty tiles."""
    deviation: float
    """Standard deviation of a tile's nonzeros: positive where they cluster."""


@dataclass(frozen=True, slots=True)
class UniformDensity:
    """Nonzeros of a tile in a mask whose places are nonzero at random, all alike.

    Parameters
    ----------
    positions
        Places of the tile.
    density
        Kept fraction of the mask, or the probability that a place is kept.
    whole
        Places of a mask that keeps just so many of them as `density` says, as magnitude pruning does; None: each place
        is kept or not by itself.

    Raises
    ------
    InputError
        If a number is out of range, or the tile is larger than the mask.

    Notes
    -----
    Of a mask of T places that keeps K, a tile of n holds x with the hypergeometric chance
    C(n, x) C(T − n, K − x) / C(T, K): the *uniform* density model of Sparseloop (Wu et al., MICRO 2022, section 5.3).
    For T → ∞ that is the binomial chance, of independent places.

    Examples
    --------
    >>> tile = UniformDensity(16, Fraction(1, 10), whole=4096)
    >>> round(tile.empty, 3), round(UniformDensity(16, Fraction(1, 10)).empty, 3)
    (0.184, 0.185)
    """

    positions: int
    density: Fraction
    whole: int | None = None

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        counted = check.count("positions")
        check.share("density")
        if self.whole is not None and check.count("whole") and counted and self.positions > self.whole:
            check.fail("whole", f"read {self.whole}, allowed is at least the {self.positions} positions of the tile")
        check.finish()

    @property
    def chances(self) -> Chances:
        """Chance of each number of nonzeros, shape (positions + 1,)."""
        from scipy.stats import binom, hypergeom

        counts = np.arange(self.positions + 1)
        if self.whole is None:
            found = binom.pmf(counts, self.positions, float(self.density))
        else:
            found = hypergeom.pmf(counts, self.whole, kept_of(self.whole, self.density), self.positions)
        return np.asarray(found, dtype=np.float64)

    @property
    def nonzeros(self) -> Moments:
        """Nonzeros of the tile."""
        return _moments(self.chances)

    @property
    def empty(self) -> float:
        """Chance that the tile holds no nonzero: the share of tiles that a unit skipping whole tiles leaves out."""
        return float(self.chances[0])

    def fullest(self, lanes: int) -> Moments:
        """Nonzeros of the fullest of several such tiles, which do not overlap: what lanes that wait take.

        Raises
        ------
        InputError
            If `lanes` is below 1, or the tiles are more than the mask has.

        Notes
        -----
        With independent places P(max ≤ k) = F(k)^P. With a fixed total the counts of the P tiles and of the rest are
        independent binomial counts given that they sum to K, so that P(max ≤ k) is a convolution of P binomial
        distributions cut off above k, and of that of the rest, at K: taken as a power of a Fourier transform.
        """
        if lanes < 1 or (self.whole is not None and lanes * self.positions > self.whole):
            room = "" if self.whole is None else f", and {self.whole} places for all"
            raise InputError(f"read {lanes} lanes of {self.positions} positions; allowed is at least 1{room}")
        below = np.cumsum(self.chances) ** lanes if self.whole is None else self._below_given_total(lanes, self.whole)
        return _moments(np.diff(below, prepend=0.0))

    def _below_given_total(self, lanes: int, whole: int) -> Chances:
        """P(max ≤ k) for each k, with a fixed total."""
        from scipy.fft import next_fast_len
        from scipy.stats import binom

        kept = kept_of(whole, self.density)
        share = kept / whole
        single = binom.pmf(np.arange(self.positions + 1), self.positions, share)
        others = binom.pmf(kept - np.arange(lanes * self.positions + 1), whole - lanes * self.positions, share)
        total = binom.pmf(kept, whole, share)
        size = next_fast_len(len(others), real=True)
        below = []
        for most in range(self.positions + 1):
            sums = np.fft.irfft(np.fft.rfft(single[: most + 1], size) ** lanes, size)
            below.append(sums[: len(others)] @ others / total)
        return np.array(below)


def _moments(chances: Chances) -> Moments:
    counts = np.arange(len(chances))
    mean = float(chances @ counts)
    return Moments(mean, math.sqrt(max(0.0, float(chances @ (counts - mean) ** 2))))


def tile_counts(mask: ArrayLike | Mask, rows: int, cols: int) -> NDArray[np.int64]:
    """Nonzeros of each tile of a mask.

    Parameters
    ----------
    mask
        A `Mask` or an array of two axes whose nonzero places are kept.
    rows, cols
        Sides of a tile; they divide the mask's.

    Returns
    -------
    array of shape (tiles down, tiles across)

    Raises
    ------
    InputError
        If the mask is not of two axes, or the tile does not divide it.

    Examples
    --------
    >>> tile_counts([[1, 0, 1, 1], [0, 1, 0, 0]], 1, 2)
    array([[1, 2],
           [1, 0]])
    """
    places = mask.array if isinstance(mask, Mask) else as_mask(mask)
    if places.ndim != 2 or rows < 1 or cols < 1 or places.shape[0] % rows or places.shape[1] % cols:
        shape = " x ".join(map(str, places.shape))
        raise InputError(
            f"read tiles of {rows} x {cols} of a mask of {shape}; allowed are two axes, and sides that divide"
        )
    cut = places.reshape(places.shape[0] // rows, rows, places.shape[1] // cols, cols)
    counts: NDArray[np.int64] = cut.sum(axis=(1, 3), dtype=np.int64)
    return counts


def tile_gap(mask: ArrayLike | Mask, rows: int, cols: int) -> TileGap:
    """Signed gap of a mask to the uniform model with as many nonzeros.

    Parameters
    ----------
    mask, rows, cols
        As for `tile_counts`.

    Raises
    ------
    InputError
        As `tile_counts`, and if the mask keeps nothing.

    Examples
    --------
    >>> halves = np.repeat([[True], [False]], 32, axis=0).repeat(64, axis=1)
    >>> tuple(round(gap, 2) for gap in tile_gap(halves, 4, 4))
    (0.5, 6.0)
    """
    mask = Mask.of(mask)
    counts = tile_counts(mask, rows, cols)
    model = UniformDensity(rows * cols, mask.density, counts.size * rows * cols)
    return TileGap(float((counts == 0).mean()) - model.empty, float(counts.std()) - model.nonzeros.deviation)

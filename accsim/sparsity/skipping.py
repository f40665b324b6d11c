"""What is left of a product's time where zeros are skipped one by one, or row by row: of a pattern, and of a mask.

Of a pattern, the mean over masks with independent places is exact; where the number of nonzeros is fixed, as in a drawn
mask, it is an approximation, as is N:M of places that are taken as independent. Of a mask, it is counted. Shares are of
the dense product's; those of a time include what waits for the slowest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accsim.sparsity.base import Axes, Bools, groups
from accsim.sparsity.imbalance import expected_max, mask_imbalance
from accsim.sparsity.nm import NM, VNM, most_in_run
from accsim.sparsity.patterns import Block, Unstructured, WeightPattern

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lines:
    """An operand as lines along the axis that a product contracts: the rows of A, the columns of B.

    Attributes
    ----------
    pattern
        Of the operand; one of density 1 is dense.
    lines, places
        Extents across and along the contracted axis.
    axes, along
        Names of the operand's axes, and of the contracted one.
    """

    pattern: WeightPattern
    lines: int
    places: int
    axes: Axes
    along: str = "k"

    @property
    def density(self) -> float:
        """Kept fraction, of whole places."""
        shape = (self.lines, self.places) if self.axes[1] == self.along else (self.places, self.lines)
        return float(self.pattern.density_in(shape, self.axes))

    @property
    def mask(self) -> Bools | None:
        """The places kept, line by line, if they are known."""
        if not isinstance(self.pattern, Unstructured) or self.pattern.mask is None:
            return None
        places = self.pattern.mask.array
        return places if self.axes[1] == self.along else places.T

    @property
    def block(self) -> tuple[int, int]:
        """(lines, places) that are kept or dropped together."""
        if not isinstance(self.pattern, Block):
            return 1, 1
        sides = (self.pattern.rows, self.pattern.cols)
        return sides if self.axes[1] == self.along else sides[::-1]


class Left(NamedTuple):
    """Shares of a dense product that are left: of the time of its steady cycles, and of its multiplications."""

    time: float
    issued: float


def skipped_by_lanes(operand: Lines, lanes: int, window: int) -> Left:
    """What is left where lanes skip the zeros of their own lines and start each window together.

    Parameters
    ----------
    lanes
        Lines that run side by side and wait for the fullest.
    window
        Places between two starts.

    Notes
    -----
    The order statistic of `accsim.sparsity.imbalance`; a block counts as one place of a lane. N:M has no imbalance
    where m divides the window; else the fullest window that a mask can have is taken.

    Examples
    --------
    >>> left = skipped_by_lanes(Lines(Unstructured(0.1), 4096, 4096, ("m", "k")), lanes=32, window=64)
    >>> round(left.time, 3), round(left.issued, 3)
    (0.184, 0.1)
    """
    lanes, window = min(lanes, operand.lines), min(window, operand.places)
    known = operand.mask
    if known is not None:
        longest = mask_imbalance(known, lanes, window).longest
        return Left(longest * math.ceil(operand.places / window) / operand.places, operand.density)
    pattern = operand.pattern.row if isinstance(operand.pattern, VNM) else operand.pattern
    if isinstance(pattern, NM) and pattern.axis == operand.along:
        return Left(max(most_in_run(pattern.n, pattern.m, window) / window, operand.density), operand.density)
    across, size = operand.block
    size = min(size, window)
    longest = expected_max(math.ceil(window / size), operand.density, math.ceil(lanes / across)) * size
    return Left(min(1.0, longest / window), operand.density)


def run_by_rows(operand: Lines, modes: Sequence[tuple[int, int]], rows: int, window: int) -> Left:
    """What is left where each line runs in the mode that it needs, for a window of places at a time.

    Parameters
    ----------
    modes
        Pairs (n, m) of one m; m of m is always there.
    rows
        Neighbouring lines that share a mode, that of the densest.

    Notes
    -----
    The most of the window's runs of m places decides. With independent places P(most <= n) is F(n)^(runs · rows), F the
    binomial distribution function of a run. A block counts as one place of a run, and of several runs or rows that lie
    in it as one.

    Examples
    --------
    >>> round(run_by_rows(Lines(Unstructured(0.05), 64, 64, ("m", "k")), ((1, 4), (2, 4)), 1, 64).time, 3)
    0.304
    """
    m = modes[0][1]
    steps = np.array([*sorted(n for n, _ in modes), m])
    known = operand.mask
    if known is None:
        from scipy.special import bdtr

        across, size = operand.block
        blocks = math.ceil(window / max(size, m)) * math.ceil(rows / across)
        size = min(size, m)
        most = bdtr((steps // size).astype(np.float64), math.ceil(m / size), float(operand.pattern.density)) ** blocks
        share = float((steps * np.diff(most, prepend=0.0)).sum()) / m
        return Left(share, share)
    runs = groups(known, 1, m).sum(axis=-1)
    most = np.maximum.reduceat(runs, np.arange(0, runs.shape[1], window // m), axis=1)
    needed = steps[np.searchsorted(steps, most)]
    shared = np.maximum.reduceat(needed, np.arange(0, len(needed), rows), axis=0)
    share = float(shared.mean()) / m
    return Left(share, share)


class Packing(NamedTuple):
    """How an outer-product unit takes its operands.

    Attributes
    ----------
    tile
        Lines of A and of B whose nonzeros at a place are packed together.
    sides
        Nonzeros of A and of B that are multiplied in a cycle.
    window, units
        Places between two starts of so many units, each of which has tiles of A and of B of its own.
    """

    tile: tuple[int, int]
    sides: tuple[int, int]
    window: int
    units: int


def skipped_by_outer_products(a: Lines, b: Lines, packing: Packing) -> Left:
    """What is left where the nonzeros of a column of A and of a row of B are packed and multiplied as outer products.

    Notes
    -----
    A tile takes ceil(nnz_A / side) · ceil(nnz_B / side) cycles at a place along k, none where either has no nonzero.
    A unit's time of a window is a sum of these, and the units of a core wait for the slowest. Of masks it is counted.
    Of patterns, nonzeros are binomial; the time of a place has the distribution of a product, that of a window is
    convolved from it, and that of the slowest unit is the order statistic.

    Source: Wang et al., Dual-side Sparse Tensor Core, ISCA 2021 (outer products of packed bitmaps); the ceilings as in
    Sparseloop's model of it (Wu et al., MICRO 2022).

    Examples
    --------
    >>> left = skipped_by_outer_products(
    ...     Lines(Unstructured(0.25), 256, 256, ("m", "k")), Lines(Unstructured(0.25), 256, 256, ("k", "n")),
    ...     Packing((32, 32), (16, 16), 1, 1),
    ... )
    >>> round(left.time, 2), left.time == left.issued
    (0.25, True)
    """
    sizes = [min(tile, operand.lines) for tile, operand in zip(packing.tile, (a, b), strict=True)]
    steps = [math.ceil(tile / side) for tile, side in zip(sizes, packing.sides, strict=True)]
    packing = packing._replace(tile=(sizes[0], sizes[1]), window=min(packing.window, a.places))
    masks = [_known(a, b, sizes[0] * packing.units), _known(b, a, sizes[1] * packing.units)]
    if masks[0] is not None and masks[1] is not None:
        return _counted(masks[0], masks[1], packing, math.prod(steps))
    at_place = _at_a_place(a, b, packing)
    issued = _mean(at_place) / math.prod(steps)
    if packing.units == 1:
        return Left(issued, issued)
    below = np.minimum(np.cumsum(_convolved(at_place, packing.window)), 1.0)
    return Left(float((1.0 - below**packing.units).sum()) / (packing.window * math.prod(steps)), issued)


def bitmap_bits(operand: Lines, tile: int, window: int) -> float:
    """Bits a place of a two-level bitmap: one for each tile of lines and places, one a place of those not empty."""
    size = min(tile, operand.lines) * min(window, operand.places)
    known = operand.mask
    if known is None:
        return 1.0 - (1.0 - operand.density) ** size + 1.0 / size
    rows = np.logical_or.reduce(groups(known, 1, window), axis=-1)
    return float(groups(rows, 0, tile).any(axis=-1).mean()) + 1.0 / size


def _known(operand: Lines, other: Lines, lines: int) -> Bools | None:
    """The places of a mask, and of a dense operand beside one: of so many lines, since all are alike."""
    if operand.pattern.density == 1 and other.mask is not None:
        return np.ones((min(lines, operand.lines), operand.places), np.bool_)
    return operand.mask


def _packed(mask: Bools, tile: int, side: int) -> NDArray[np.int64]:
    """Steps that each tile of lines takes at each place."""
    return -(-np.add.reduceat(mask, np.arange(0, len(mask), tile), axis=0, dtype=np.int64) // side)


def _counted(a: Bools, b: Bools, packing: Packing, dense: int) -> Left:
    """Of two masks: the steps of every pair of tiles, and the slowest of units that share no tile."""
    found = [
        _packed(mask, *sizes) for mask, sizes in zip((a, b), zip(packing.tile, packing.sides, strict=True), strict=True)
    ]
    more, fewer = sorted(found, key=len, reverse=True)
    rows, cols = len(more), len(fewer)
    down = np.arange(rows)[:, None]
    pairs = (down, (down + np.arange(cols)) % cols)
    firsts = np.arange(0, rows, packing.units)
    longest = issued = 0
    for first in range(0, a.shape[1], packing.window):
        part = slice(first, first + packing.window)
        time = (more[:, part] @ fewer[:, part].T)[pairs]
        issued += int(time.sum())
        longest += int(np.maximum.reduceat(time, firsts, axis=0).sum())
    whole = cols * a.shape[1] * dense
    return Left(longest / (whole * len(firsts)), issued / (whole * rows))


def _at_a_place(a: Lines, b: Lines, packing: Packing) -> Floats:
    """Probability of 0, 1, ... cycles of a pair of tiles at a place along k."""
    of_a, of_b = (
        _steps_of(one, tile, side) for one, tile, side in zip((a, b), packing.tile, packing.sides, strict=True)
    )
    cycles = np.outer(np.arange(len(of_a)), np.arange(len(of_b)))
    return np.bincount(cycles.ravel(), weights=np.outer(of_a, of_b).ravel()).astype(np.float64)


def _steps_of(operand: Lines, tile: int, side: int) -> Floats:
    """Probability of 0, 1, ... steps of a tile of lines at a place along k; of a mask, as often as they occur."""
    if operand.mask is not None:
        steps = _packed(operand.mask, tile, side)
        return np.bincount(steps.ravel()) / steps.size
    from scipy.stats import binom

    size = min(operand.block[0], tile)
    nonzeros = np.arange(math.ceil(tile / size) + 1)
    steps = -(-np.minimum(nonzeros * size, tile) // side)
    chances = binom.pmf(nonzeros, nonzeros[-1], operand.density)
    return np.bincount(steps, weights=chances).astype(np.float64)


def _mean(chances: Floats) -> float:
    return float((chances * np.arange(len(chances))).sum())


def _convolved(chances: Floats, times: int) -> Floats:
    """Distribution of the sum of so many independent numbers."""
    found = np.ones(1)
    while times:
        if times % 2:
            found = np.convolve(found, chances)
        chances, times = np.convolve(chances, chances), times // 2
    return found

"""Patterns with so many nonzeros in each run: N:M, and V:N:M of VENOM."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import ClassVar

import numpy as np

from accsim.config.checks import ArgumentChecks
from accsim.errors import InputError
from accsim.sparsity.base import (
    MAX_GROUP,
    WEIGHT_AXES,
    Axes,
    Bools,
    Pattern,
    Shape,
    axis_index,
    groups,
    sides,
    smallest,
    ungroup,
)

VENOM_COLUMNS = 4
"""Columns that V:N:M keeps of each M, the run of the 2:4 unit it is made for (VENOM, SC 2023)."""


@dataclass(frozen=True, slots=True)
class NM(Pattern):
    """At most n nonzeros in each aligned run of m along one axis.

    Parameters
    ----------
    n, m
        Nonzeros, and length of a run; n <= m <= 65536.
    axis
        Name of the axis: ``"k"``, which the product contracts, by default.
    transposable
        True: the rule holds along both axes of a matrix.

    Notes
    -----
    A last run that is shorter than m counts as filled up with zeros.

    Examples
    --------
    >>> NM(2, 4).density, NM(2, 4).kept((10, 3))
    (Fraction(1, 2), 18)
    """

    kind: ClassVar[str] = "nm"
    n: int
    m: int
    axis: str = "k"
    transposable: bool = False

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        if check.count("n", "m", most=MAX_GROUP) and self.n > self.m:
            check.fail("n", f"read {self.n}, allowed is at most m = {self.m}")
        check.name("axis")
        check.flag("transposable")
        check.finish()

    @property
    def density(self) -> Fraction:
        """Kept fraction of whole runs: n / m."""
        return Fraction(self.n, self.m)

    def kept(self, shape: Shape, axes: Axes = WEIGHT_AXES) -> int:
        whole, rest = divmod(shape[axis_index(self.axis, axes)], self.m)
        self._check_transposable(shape)
        return math.prod(shape) // (whole * self.m + rest) * (whole * self.n + min(self.n, rest))

    def draw(self, shape: Shape, axes: Axes, rng: np.random.Generator) -> Bools:
        self._check_transposable(shape)
        if self.transposable:
            return self._draw_both_ways(shape, rng)
        axis = axis_index(self.axis, axes)
        real = groups(np.ones(shape, dtype=np.bool_), axis, self.m)
        return ungroup(smallest(rng.random(real.shape) + ~real, self.n), shape, axis)

    def allows(self, mask: Bools, axes: Axes) -> bool:
        along = range(mask.ndim) if self.transposable else (axis_index(self.axis, axes),)
        return all(bool((groups(mask, axis, self.m).sum(axis=-1) <= self.n).all()) for axis in along)

    def __str__(self) -> str:
        plain = len(self.form()) == len(("kind", "n", "m"))
        return f"{self.n}:{self.m}" if plain else Pattern.__str__(self)

    def _check_transposable(self, shape: Shape) -> None:
        if self.transposable and any(side % self.m for side in sides("transposable N:M", shape)):
            raise InputError(f"a transposable mask needs sides that {self.m} divides; read the shape {shape}")

    def _draw_both_ways(self, shape: Shape, rng: np.random.Generator) -> Bools:
        """Blocks of m x m with n in each row and column: a circulant with shuffled rows and columns."""
        down, across = shape[0] // self.m, shape[1] // self.m
        circulant = (np.arange(self.m) - np.arange(self.m)[:, None]) % self.m < self.n
        rows, cols = (rng.random((down, across, self.m)).argsort(axis=-1) for _ in range(2))
        blocks = circulant[rows[..., :, None], cols[..., None, :]]
        return np.ascontiguousarray(blocks.transpose(0, 2, 1, 3)).reshape(shape)


@dataclass(frozen=True, slots=True)
class VNM(Pattern):
    """V:N:M of VENOM: blocks of v rows keep 4 columns of each m, and each row n of those 4.

    Parameters
    ----------
    v, n, m
        Rows of a block (along the axis that is not `axis`), nonzeros of a row, and columns; n <= 4 <= m.
    axis
        Name of the axis of the columns.

    Source: Castro et al., VENOM, SC 2023.

    Examples
    --------
    >>> VNM(64, 2, 8).density
    Fraction(1, 4)
    """

    kind: ClassVar[str] = "vnm"
    v: int
    n: int
    m: int
    axis: str = "k"

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.count("v", most=MAX_GROUP)
        check.count("n", most=VENOM_COLUMNS)
        check.count("m", least=VENOM_COLUMNS, most=MAX_GROUP)
        check.name("axis")
        check.finish()

    @property
    def density(self) -> Fraction:
        """Kept fraction of whole blocks: n / m."""
        return Fraction(self.n, self.m)

    @property
    def row(self) -> NM:
        """The N:M rule that each row meets by itself."""
        return NM(self.n, self.m, self.axis)

    def kept(self, shape: Shape, axes: Axes = WEIGHT_AXES) -> int:
        sides("V:N:M", shape)
        return self.row.kept(shape, axes)

    def draw(self, shape: Shape, axes: Axes, rng: np.random.Generator) -> Bools:
        sides("V:N:M", shape)
        axis = axis_index(self.axis, axes)
        real = groups(np.ones(shape, dtype=np.bool_), axis, self.m)
        rows, runs, _ = real.shape
        columns = smallest(rng.random((-(-rows // self.v), runs, self.m)) + ~real[0], VENOM_COLUMNS)
        chosen = np.repeat(columns, self.v, axis=0)[:rows]
        return ungroup(smallest(rng.random(real.shape) + ~chosen + ~real, self.n), shape, axis)

    def __str__(self) -> str:
        plain = len(self.form()) == len(("kind", "v", "n", "m"))
        return f"{self.v}:{self.n}:{self.m}" if plain else Pattern.__str__(self)

    def allows(self, mask: Bools, axes: Axes) -> bool:
        sides("V:N:M", mask.shape)
        cut = groups(mask, axis_index(self.axis, axes), self.m)
        columns = groups(cut, 0, self.v).any(axis=-1).sum(axis=1)
        return self.row.allows(mask, axes) and bool((columns <= VENOM_COLUMNS).all())


def most_in_run(n: int, m: int, run: int) -> int:
    """Most nonzeros that a mask of n:m can have in an aligned run of another length.

    Notes
    -----
    A run from place s on meets the pattern's own runs in pieces; each piece of p places holds at most min(n, p). The
    positions s mod m repeat after lcm(m, run) places.

    Examples
    --------
    >>> most_in_run(2, 8, 4), most_in_run(2, 6, 4), most_in_run(1, 2, 4)
    (2, 4, 2)
    """
    most = 0
    for start in range(0, math.lcm(m, run), run):
        edges = [start, *range((start // m + 1) * m, start + run, m), start + run]
        most = max(most, sum(min(n, b - a) for a, b in pairwise(edges)))
    return most

"""Sparsity patterns of weights and activations: dense, blocks, channels, unstructured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, TypeAlias, cast

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
    kept_of,
    sides,
    smallest,
)
from accsim.sparsity.mask import Mask
from accsim.sparsity.nm import NM, VNM

OF_MASK = cast(Fraction, None)
"""Default of a density that is counted in a mask; once constructed it is always a fraction."""


@dataclass(frozen=True, slots=True)
class Dense(Pattern):
    """Every place kept."""

    kind: ClassVar[str] = "dense"
    density: ClassVar[Fraction] = Fraction(1)

    def kept(self, shape: Shape, axes: Axes = WEIGHT_AXES) -> int:
        return math.prod(shape)

    def draw(self, shape: Shape, axes: Axes, rng: np.random.Generator) -> Bools:
        return np.ones(shape, dtype=np.bool_)

    def allows(self, mask: Bools, axes: Axes) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Block(Pattern):
    """Whole blocks kept or dropped.

    Parameters
    ----------
    rows, cols
        Sides of a block along the array's first and second axis; they divide the array's.
    density
        Share of the blocks that is kept.
    """

    kind: ClassVar[str] = "block"
    rows: int
    cols: int
    density: Fraction

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.count("rows", "cols", most=MAX_GROUP)
        check.share("density")
        check.finish()

    def _blocks(self, shape: Shape) -> tuple[int, int]:
        down, across = sides("block", shape)
        if down % self.rows or across % self.cols:
            raise InputError(f"blocks of {self.rows} x {self.cols} do not divide the shape {down} x {across}")
        return down // self.rows, across // self.cols

    def kept(self, shape: Shape, axes: Axes = WEIGHT_AXES) -> int:
        return kept_of(math.prod(self._blocks(shape)), self.density) * self.rows * self.cols

    def draw(self, shape: Shape, axes: Axes, rng: np.random.Generator) -> Bools:
        blocks = self._blocks(shape)
        chosen = smallest(rng.random(math.prod(blocks)), kept_of(math.prod(blocks), self.density))
        return chosen.reshape(blocks).repeat(self.rows, axis=0).repeat(self.cols, axis=1)

    def allows(self, mask: Bools, axes: Axes) -> bool:
        down, across = self._blocks(mask.shape)
        used = mask.reshape(down, self.rows, across, self.cols).any(axis=(1, 3))
        return int(used.sum()) <= kept_of(down * across, self.density)


@dataclass(frozen=True, slots=True)
class Channel(Pattern):
    """Whole channels kept or dropped: all places that share an index of one axis.

    Parameters
    ----------
    density
        Share of the channels that is kept.
    axis
        Name of the axis that counts the channels; the outputs, ``"n"``, by default.
    """

    kind: ClassVar[str] = "channel"
    density: Fraction
    axis: str = "n"

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.share("density")
        check.name("axis")
        check.finish()

    def channels(self, shape: Shape, axes: Axes = WEIGHT_AXES) -> int:
        """Channels kept."""
        return kept_of(shape[axis_index(self.axis, axes)], self.density)

    def kept(self, shape: Shape, axes: Axes = WEIGHT_AXES) -> int:
        return self.channels(shape, axes) * (math.prod(shape) // shape[axis_index(self.axis, axes)])

    def draw(self, shape: Shape, axes: Axes, rng: np.random.Generator) -> Bools:
        axis = axis_index(self.axis, axes)
        chosen = smallest(rng.random(shape[axis]), self.channels(shape, axes))
        along = [-1 if at == axis else 1 for at in range(len(shape))]
        return np.ascontiguousarray(np.broadcast_to(chosen.reshape(along), shape))

    def allows(self, mask: Bools, axes: Axes) -> bool:
        cut = np.moveaxis(mask, axis_index(self.axis, axes), 0)
        return int(cut.reshape(cut.shape[0], -1).any(axis=1).sum()) <= self.channels(mask.shape, axes)


@dataclass(frozen=True, slots=True)
class Unstructured(Pattern):
    """Any places: a share of them, or those of a mask.

    Parameters
    ----------
    density
        Share of the places that is kept; of a mask, it is counted.
    mask
        A `Mask`, or an array whose nonzero places are kept.

    Examples
    --------
    >>> Unstructured(0.1).density, Unstructured(mask=[[1, 0], [0, 0]]).density
    (Fraction(1, 10), Fraction(1, 4))
    """

    kind: ClassVar[str] = "unstructured"
    density: Fraction = OF_MASK
    mask: Mask | None = None

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        if self.mask is None:
            check.share("density")
        else:
            mask = Mask.of(cast(Any, self.mask))
            object.__setattr__(self, "mask", mask)
            if self.density not in (None, mask.density):
                check.fail("density", f"read {self.density}, allowed beside a mask is none, or its own {mask.density}")
            object.__setattr__(self, "density", mask.density)
        check.finish()

    def kept(self, shape: Shape, axes: Axes = WEIGHT_AXES) -> int:
        return kept_of(math.prod(shape), self.density) if self.mask is None else self._own(self.mask, shape).kept

    def draw(self, shape: Shape, axes: Axes, rng: np.random.Generator) -> Bools:
        if self.mask is not None:
            return self._own(self.mask, shape).array
        places = math.prod(shape)
        return smallest(rng.random(places), kept_of(places, self.density)).reshape(shape)

    def allows(self, mask: Bools, axes: Axes) -> bool:
        if self.mask is not None:
            return not bool((mask & ~self._own(self.mask, mask.shape).array).any())
        return int(mask.sum()) <= kept_of(mask.size, self.density)

    def _own(self, mask: Mask, shape: Shape) -> Mask:
        if mask.shape != tuple(shape):
            raise InputError(f"the mask of the pattern has the shape {mask.shape}, not {tuple(shape)}")
        return mask


WeightPattern: TypeAlias = Dense | NM | VNM | Block | Channel | Unstructured
"""A pattern of one operand of a matrix product."""

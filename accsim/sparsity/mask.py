"""A mask as a value: it can be hashed, compared and pickled, and takes one bit a place."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from accsim.errors import InputError
from accsim.sparsity.base import Bools, Shape


@dataclass(frozen=True, slots=True)
class Mask:
    """Places kept of an array.

    Attributes
    ----------
    shape
        Of the array; no side is 0.
    bits
        A bit a place, first axis slowest, from the highest bit of the first byte on.

    Examples
    --------
    >>> mask = Mask.of([[0.5, 0.0], [0.0, -1.0]])
    >>> mask.density, mask == Mask.of([[1, 0], [0, 1]])
    (Fraction(1, 2), True)
    """

    shape: Shape
    bits: bytes = field(repr=False)

    @classmethod
    def of(cls, values: ArrayLike | Mask) -> Mask:
        """The nonzero places of an array.

        Raises
        ------
        InputError
            If it is empty or not of numbers.
        """
        if isinstance(values, Mask):
            return values
        places = as_mask(values)
        return cls(places.shape, np.packbits(places).tobytes())

    def __str__(self) -> str:
        digest = hashlib.sha256(repr(self.shape).encode() + self.bits).hexdigest()
        return f"{' x '.join(map(str, self.shape))} {digest[:12]}"

    @property
    def array(self) -> Bools:
        """The mask as an array, True where kept."""
        packed = np.frombuffer(self.bits, dtype=np.uint8)
        return np.unpackbits(packed, count=math.prod(self.shape)).astype(np.bool_).reshape(self.shape)

    @property
    def kept(self) -> int:
        """Places kept."""
        return int(self.array.sum())

    @property
    def density(self) -> Fraction:
        """Kept fraction."""
        return Fraction(self.kept, math.prod(self.shape))


def as_mask(values: ArrayLike) -> Bools:
    """True where an array is not zero.

    Raises
    ------
    InputError
        If it is empty, has no axis, or is not of numbers.
    """
    array = np.asarray(values)
    places = array != 0
    numbers = array.dtype.kind in "biufcV" and np.shape(places) == array.shape
    if not numbers or array.ndim == 0 or array.size == 0:
        raise InputError(f"read an array of {array.dtype} of shape {array.shape}, allowed is one of numbers, not empty")
    return np.ascontiguousarray(places)

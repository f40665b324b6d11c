"""Unsigned numbers of any width packed into one string of bits."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Codes: TypeAlias = NDArray[np.uint64]
Bits: TypeAlias = NDArray[np.uint8]


def index_bits(count: int) -> int:
    """Bits that tell `count` things apart: ceil(log2 count).

    Examples
    --------
    >>> index_bits(1), index_bits(4), index_bits(5)
    (0, 2, 3)
    """
    return (count - 1).bit_length()


def to_bits(numbers: NDArray[np.generic], width: int) -> Bits:
    """One bit an element, 0 or 1, `width` for each number, highest first."""
    places = np.arange(width - 1, -1, -1, dtype=np.uint64)
    return ((numbers.astype(np.uint64).reshape(-1, 1) >> places) & np.uint64(1)).astype(np.uint8).reshape(-1)


class BitReader:
    """Reads numbers off a string of bits, front to back."""

    def __init__(self, bits: Bits) -> None:
        self._bits = bits
        self._at = 0

    @property
    def left(self) -> int:
        """Bits not read yet."""
        return len(self._bits) - self._at

    def take(self, count: int, width: int) -> Codes:
        """The next `count` numbers of `width` bits."""
        piece = self._bits[self._at : self._at + count * width].reshape(count, width).astype(np.uint64)
        self._at += count * width
        places = np.arange(width - 1, -1, -1, dtype=np.uint64)
        numbers: Codes = (piece << places).sum(axis=1, dtype=np.uint64)
        return numbers

"""How a sparse matrix is stored: the interface of a format, and what is made of several of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from accsim.errors import InputError
from accsim.sparsity.base import Bools
from accsim.sparsity.bitstream import BitReader, Bits, Codes
from accsim.sparsity.mask import Mask, as_mask

MOST_VALUE_BITS = 64


class Matrix(NamedTuple):
    """What a decoder knows beforehand: the shape, and the bits of a value."""

    rows: int
    cols: int
    value_bits: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """A matrix of value codes in a storage format.

    Attributes
    ----------
    format
        The format.
    matrix
        Shape, and bits of a value.
    bits
        Length of the string.
    data
        The string, eight bits a byte, the last byte filled up with zeros.
    """

    format: StorageFormat
    matrix: Matrix
    bits: int
    data: bytes = field(repr=False)

    def decode(self) -> Codes:
        """The matrix of codes, exactly as it was."""
        string = np.unpackbits(np.frombuffer(self.data, dtype=np.uint8), count=self.bits)
        return self.format.read(BitReader(string), self.matrix)


class StorageFormat(ABC):
    """A way to store a matrix whose values are codes of a fixed width, 0 of them for zero."""

    __slots__ = ()
    linear: ClassVar[bool] = True
    """True if the size depends on the number of nonzeros alone, and grows linearly with it."""

    @abstractmethod
    def expected_bits(self, rows: int, cols: int, density: float | Fraction, value_bits: int) -> float | Fraction:
        """Bits of a matrix with this density: exact where `linear`, else the mean over independent uniform places."""

    @abstractmethod
    def mask_bits(self, places: Bools, value_bits: int) -> int:
        """Bits of a matrix with these nonzero places, exactly."""

    @abstractmethod
    def write(self, codes: Codes, value_bits: int) -> Bits:
        """The string of bits of a matrix."""

    @abstractmethod
    def read(self, bits: BitReader, matrix: Matrix) -> Codes:
        """The matrix of a string of bits."""


def stored_bits(form: StorageFormat, mask: ArrayLike | Mask, value_bits: int) -> int:
    """Bits that a matrix takes in a storage format, by its mask, exactly.

    Parameters
    ----------
    form
        The format.
    mask
        A `Mask` or an array of two axes whose nonzero places are stored.
    value_bits
        Bits of a value.

    Raises
    ------
    InputError
        If the mask is not of two axes, or does not meet the format's rule.

    Examples
    --------
    >>> from accsim.sparsity.formats import BITMASK
    >>> stored_bits(BITMASK, [[0, 1], [0, 0]], value_bits=16)
    20
    """
    places = mask.array if isinstance(mask, Mask) else as_mask(mask)
    _check(places.shape, value_bits)
    return form.mask_bits(places, value_bits)


def encode(form: StorageFormat, codes: ArrayLike, value_bits: int) -> Encoded:
    """A matrix in a storage format, bit for bit.

    Parameters
    ----------
    form
        The format.
    codes
        Array of two axes of whole numbers from 0 to 2^value_bits − 1; those that are not 0 are stored.
    value_bits
        Bits of a value, at most 64.

    Raises
    ------
    InputError
        If the codes are out of range or not of two axes, or do not meet the format's rule.

    Examples
    --------
    >>> from accsim.sparsity.formats import BITMASK
    >>> packed = encode(BITMASK, [[0, 5], [0, 0]], value_bits=4)
    >>> packed.bits, packed.decode().tolist()
    (8, [[0, 5], [0, 0]])
    """
    array = np.asarray(codes)
    _check(array.shape, value_bits)
    if array.dtype.kind not in "bui" or int(array.min()) < 0 or int(array.max()) >> value_bits:
        raise InputError(f"read codes of {array.dtype}, allowed are whole numbers from 0 to 2^{value_bits} - 1")
    bits = form.write(array.astype(np.uint64), value_bits)
    matrix = Matrix(array.shape[0], array.shape[1], value_bits)
    return Encoded(form, matrix, len(bits), np.packbits(bits).tobytes())


def _check(shape: tuple[int, ...], value_bits: int) -> None:
    if len(shape) != 2 or not all(shape) or not 1 <= value_bits <= MOST_VALUE_BITS:
        read = f"read the shape {shape} and {value_bits} bits a value"
        raise InputError(f"{read}; allowed are two axes, neither empty, and 1 to {MOST_VALUE_BITS} bits")


def crossover_density(
    one: StorageFormat, other: StorageFormat, rows: int, cols: int, value_bits: int
) -> Fraction | None:
    """Density at which two formats take equally many bits; None if there is none from 0 to 1.

    Parameters
    ----------
    one, other
        Formats whose size is linear in the density.
    rows, cols, value_bits
        Of the matrix.

    Raises
    ------
    InputError
        If a format is not linear.

    Examples
    --------
    >>> from accsim.sparsity.formats import BITMASK, COO
    >>> crossover_density(BITMASK, COO, 1024, 1024, 16)
    Fraction(1, 20)
    """
    if not (one.linear and other.linear):
        raise InputError(f"allowed are formats linear in the density; read {one} and {other}")
    empty, full = (
        Fraction(one.expected_bits(rows, cols, density, value_bits))
        - Fraction(other.expected_bits(rows, cols, density, value_bits))
        for density in (Fraction(0), Fraction(1))
    )
    if empty == full:
        return None
    crossing = empty / (empty - full)
    return crossing if 0 <= crossing <= 1 else None

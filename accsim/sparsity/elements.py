"""Elements of number formats: floating point with few bits, and fixed point; both round to nearest, ties to even."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Specials: TypeAlias = Literal["infinities", "nan", "none"]

_DOUBLE_MANTISSA = 52
_DOUBLE_EXPONENT = 0x7FF0_0000_0000_0000


@dataclass(frozen=True, slots=True)
class FloatElement:
    """A sign, an exponent and a mantissa, with subnormals.

    Parameters
    ----------
    exponent_bits, mantissa_bits
        Widths; one more bit is the sign.
    bias
        Subtracted from a stored exponent.
    specials
        ``"infinities"``: the highest exponent is kept for infinities and NaN, as in IEEE 754; ``"nan"``: only its
        highest mantissa is, for NaN; ``"none"``: every code is a number.

    Examples
    --------
    >>> FloatElement(4, 3, 7, "nan").largest, FloatElement(2, 1, 1, "none").decode(range(8)).tolist()
    (448.0, [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    """

    exponent_bits: int
    mantissa_bits: int
    bias: int
    specials: Specials

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def largest_exponent(self) -> int:
        """Exponent of the largest number: `emax` of the MX specification."""
        return (1 << self.exponent_bits) - 1 - self.bias - (self.specials == "infinities")

    @property
    def largest(self) -> float:
        """Largest number."""
        missing = 2 if self.specials == "nan" else 1
        return (2.0 - missing * 2.0**-self.mantissa_bits) * 2.0**self.largest_exponent

    @property
    def smallest_normal(self) -> float:
        """Smallest positive number with a whole mantissa."""
        return 2.0 ** (1 - self.bias)

    def round(self, values: Floats) -> Floats:
        """Nearest numbers, ties to even; beyond the largest, infinities included, the largest; NaN stays.

        Notes
        -----
        Below a magnitude of 2^(e+1), adding 1.5 · 2^(52 − mantissa + e) leaves a double no bits below the last place of
        the element: the sum is rounded there, to even, by the addition itself. Below the smallest normal number e is
        its exponent.
        """
        clipped = np.clip(values, -self.largest, self.largest)
        power = (clipped.view(np.int64) & _DOUBLE_EXPONENT).view(np.float64)
        anchor = np.maximum(power, self.smallest_normal) * (1.5 * 2.0 ** (_DOUBLE_MANTISSA - self.mantissa_bits))
        return np.copysign((clipped + anchor) - anchor, values)

    def decode(self, codes: ArrayLike) -> Floats:
        """Values of codes, whole numbers from 0 to 2^bits − 1."""
        whole = np.asarray(codes, dtype=np.int64)
        mantissa = whole & ((1 << self.mantissa_bits) - 1)
        exponent = (whole >> self.mantissa_bits) & ((1 << self.exponent_bits) - 1)
        significand = mantissa + ((exponent > 0) << np.int64(self.mantissa_bits))
        power = np.maximum(exponent, 1) - self.bias - self.mantissa_bits
        size: Floats = np.ldexp(significand.astype(np.float64), power)
        top = exponent == (1 << self.exponent_bits) - 1
        if self.specials == "infinities":
            size = np.where(top, np.where(mantissa == 0, np.inf, np.nan), size)
        elif self.specials == "nan":
            size = np.where(top & (mantissa == (1 << self.mantissa_bits) - 1), np.nan, size)
        signed: Floats = np.where(whole >> (self.bits - 1) == 0, size, -size)
        return signed


@dataclass(frozen=True, slots=True)
class FixedElement:
    """A two's complement whole number times 2^−fraction_bits.

    Parameters
    ----------
    bits
        Width, the sign included.
    fraction_bits
        Bits behind the point.
    symmetric
        True: the lowest code is not used, so that the smallest number is minus the largest.

    Examples
    --------
    >>> FixedElement(4).decode(range(16)).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, -8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0]
    """

    bits: int
    fraction_bits: int = 0
    symmetric: bool = False

    @property
    def largest_exponent(self) -> int:
        """Exponent of the largest number: `emax` of the MX specification."""
        return self.bits - 2 - self.fraction_bits

    @property
    def largest(self) -> float:
        """Largest number."""
        return (2.0 ** (self.bits - 1) - 1) * 2.0**-self.fraction_bits

    def round(self, values: Floats) -> Floats:
        """Nearest numbers, ties to even; beyond the range, its ends; NaN stays. There is no negative zero."""
        lowest = -(2 ** (self.bits - 1)) + self.symmetric
        whole = np.clip(np.rint(values * 2.0**self.fraction_bits), lowest, 2 ** (self.bits - 1) - 1)
        rounded: Floats = whole * 2.0**-self.fraction_bits + 0.0
        return rounded

    def decode(self, codes: ArrayLike) -> Floats:
        """Values of codes, whole numbers from 0 to 2^bits − 1."""
        whole = np.asarray(codes, dtype=np.int64)
        return (whole - ((whole >> (self.bits - 1)) << self.bits)) * 2.0**-self.fraction_bits


Element: TypeAlias = FloatElement | FixedElement
"""Any element."""

"""A matrix product on an accumulator of few bits, one product after the other, in exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np


def exponent(value: Fraction) -> int:
    """The e of 2^e <= |value| < 2^(e+1)."""
    size, e = abs(value), 0
    while size >= 2:
        size, e = size / 2, e + 1
    while size < 1:
        size, e = size * 2, e - 1
    return e


def kept(value: Fraction, e: int, bits: int) -> Fraction:
    """The value without its bits below those of 2^(e - bits + 1), towards zero."""
    unit = Fraction(2) ** (e - bits + 1)
    return int(value / unit) * unit


def dot(a: list[float], b: list[float], bits: int, step: int, promote_every: int | None) -> float:
    """Σ a b, of which each step's products and the sum so far are cut to the bits of the largest, then added."""
    total, single = Fraction(0), np.float32(0)
    for at in range(0, len(a), step):
        terms = [Fraction(x) * Fraction(y) for x, y in zip(a[at : at + step], b[at : at + step], strict=True)]
        terms = [term for term in [*terms, total] if term]
        if terms:
            highest = max(map(exponent, terms))
            total = sum((kept(term, highest, bits) for term in terms), Fraction(0))
            total = kept(total, exponent(total), bits) if total else total
        if promote_every is not None and (at + step) % promote_every == 0:
            single, total = single + np.float32(float(total)), Fraction(0)
    return float(total) if promote_every is None else float(single + np.float32(float(total)))

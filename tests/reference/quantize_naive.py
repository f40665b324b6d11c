"""Number formats from their definitions, one value at a time, in exact fractions; nothing of the package is used."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

F = Fraction


def numbers_of(exponent_bits: int, mantissa_bits: int, bias: int, left_out: int) -> list[Fraction]:
    """Numbers of at least 0 in the order of their codes, without the `left_out` highest codes."""
    found = []
    for exponent in range(2**exponent_bits):
        for mantissa in range(2**mantissa_bits):
            hidden = 1 if exponent else 0
            found.append((hidden + F(mantissa, 2**mantissa_bits)) * F(2) ** (max(exponent, 1) - bias))
    return found[: len(found) - left_out]


FLOATS: dict[str, tuple[int, int, int, int]] = {
    "e4m3": (4, 3, 7, 1),  # S.1111.111 is NaN
    "e5m2": (5, 2, 15, 4),  # S.11111.xx are infinity and NaN
    "e3m2": (3, 2, 3, 0),
    "e2m3": (2, 3, 1, 0),
    "e2m1": (2, 1, 1, 0),
}
NUMBERS = {name: numbers_of(*layout) for name, layout in FLOATS.items()}
"""Numbers of at least 0 of each float, by code."""


def nearest(value: Fraction, numbers: Sequence[Fraction]) -> Fraction:
    """The nearest number of the value's sign; of two as near, the one whose code is even; the last beyond it."""
    size = abs(value)
    best = min(range(len(numbers)), key=lambda code: (abs(numbers[code] - size), code % 2))
    return numbers[best] if value >= 0 else -numbers[best]


def floor_log2(value: Fraction) -> int:
    """Largest e with 2^e <= value."""
    exponent = 0
    while F(2) ** exponent > value:
        exponent -= 1
    while F(2) ** (exponent + 1) <= value:
        exponent += 1
    return exponent


def mx(block: Sequence[float], element: str) -> list[Fraction]:
    """One block of MX: shared exponent floor(log2 max) − emax, from −127 to 127."""
    values = [F(x) for x in block]
    largest = max(abs(x) for x in values)
    if largest == 0:
        return values
    emax = 0 if element == "int8" else floor_log2(NUMBERS[element][-1])
    scale = F(2) ** min(max(floor_log2(largest) - emax, -127), 127)
    if element == "int8":
        return [scale * F(min(max(round(64 * x / scale), -127), 127), 64) for x in values]
    return [scale * nearest(x / scale, NUMBERS[element]) for x in values]


def hbfp(block: Sequence[float], bits: int) -> list[Fraction]:
    """One block of HBFP: exponent e = ceil(log2 max), steps of 2^(e − m), clipped to ±(2^e − step); m = bits − 1."""
    values = [F(x) for x in block]
    largest = max(abs(x) for x in values)
    if largest == 0:
        return values
    e = floor_log2(largest)
    if F(2) ** e < largest:
        e += 1
    e = min(max(e, -127), 128)
    step = F(2) ** (e - (bits - 1))
    top = F(2) ** e - step
    return [min(max(round(x / step) * step, -top), top) for x in values]


def row(values: Sequence[float], bits: int, fp32: type) -> list[float]:
    """Symmetric whole numbers whose largest is the largest magnitude; the scale is an fp32, a quotient a double."""
    top = 2 ** (bits - 1) - 1
    scale = float(fp32(max(abs(x) for x in values) / top))
    return [scale * min(max(round(F(x / scale)), -top - 1), top) if scale else 0.0 for x in values]


def nvfp4(blocks: Sequence[Sequence[float]], fp32: type) -> list[list[float]]:
    """A tensor of NVFP4: its own fp32 scale, an E4M3 scale a block, E2M1 elements; quotients are doubles."""
    tensor = float(fp32(max(abs(x) for block in blocks for x in block) / (6 * 448)))
    found = []
    for block in blocks:
        ratio = max(abs(x) for x in block) / (6 * tensor) if tensor else 0.0
        scale = float(nearest(F(ratio), NUMBERS["e4m3"])) * tensor
        found.append([float(nearest(F(x / scale), NUMBERS["e2m1"])) * scale if scale else 0.0 for x in block])
    return found


def group(values: Sequence[float], bf16: type) -> list[float]:
    """Codes 0 to 15 from the least value to the largest: a scale, and the value of code 8, both as bf16."""
    scale = float(bf16((max(values) - min(values)) / 15))
    middle = float(bf16(min(values) + 8 * scale))
    codes = [min(max(round(F((x - middle) / scale)), -8), 7) if scale else 0 for x in values]
    return [code * scale + middle for code in codes]

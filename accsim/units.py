"""Quantities with units, and data types by their many names.

GB is 10^9 bytes and GiB is 2^30 bytes; there is no third reading. Units are case-sensitive, because ``Gb`` (bits) is
not ``GB``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from accsim.errors import InputError, Problem, nearest, plain_name

MAX_BYTES = 2**62
"""Largest byte count accepted; sums of a few still fit an int64."""

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?)\s*([^\d\s.+-]\S*(?:\s*/\s*\S+)?)?", re.ASCII)
_MAX_TEXT = 80


class UnitError(InputError, ValueError):
    """A quantity or data type that cannot be read.

    It is an `InputError`, so a direct caller shows it as it is, and a `ValueError`, so a schema turns it into a problem
    with a place.

    Attributes
    ----------
    message
        What was read and what is allowed.
    suggestion
        Nearest valid spelling, or None.
    """

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        self.message = message
        self.suggestion = suggestion
        super().__init__(Problem("", "", message, suggestion))

    def __reduce__(self) -> tuple[type[UnitError], tuple[str, str | None]]:
        return type(self), (self.message, self.suggestion)


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity: its units as exact multiples of the unit that values are kept in."""

    name: str
    units: dict[str, Fraction]
    example: str
    whole: bool = False
    """True if the value must be a whole number of the base unit."""

    @property
    def allowed(self) -> str:
        """What a user may write, for messages."""
        units = [unit for unit in self.units if unit.isascii()]
        shown = ", ".join(units) if len(units) <= 12 else ", ".join(units[:11]) + ", ..."
        return f"a number with a unit ({shown}), such as '{self.example}'"


_PREFIX = {
    p: Fraction(10) ** e for p, e in (("f", -15), ("p", -12), ("n", -9), ("u", -6), ("µ", -6), ("μ", -6), ("m", -3))
}
_PREFIX |= {p: Fraction(10) ** e for p, e in (("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15))}
_BINARY = {f"{p}i": Fraction(2) ** (10 * (i + 1)) for i, p in enumerate("KMGTP")}


def _si(unit: str, prefixes: tuple[str, ...], scale: Fraction = Fraction(1)) -> dict[str, Fraction]:
    return {p + unit: _PREFIX[p] * scale for p in prefixes}


_BYTES = {
    **_si("B", ("", "k", "M", "G", "T", "P")),
    "KB": Fraction(1000),
    **{f"{p}B": v for p, v in _BINARY.items()},
}
_BITS = {
    spelled: value / 8
    for prefix, value in {**{p: _PREFIX[p] for p in ("", "k", "M", "G", "T", "P")}, **_BINARY}.items()
    for spelled in (f"{prefix}bit", f"{prefix}b")
}
_JOULE_PREFIXES = ("", "m", "u", "µ", "μ", "n", "p", "f")


def _energy_per(scale_bit: Fraction, scale_byte: Fraction) -> dict[str, Fraction]:
    per_bit = {f"{u}/bit": v * scale_bit for u, v in _si("J", _JOULE_PREFIXES).items()}
    return per_bit | {f"{u}/B": v * scale_byte for u, v in _si("J", _JOULE_PREFIXES).items()}


_TIME = _si("s", ("", "m", "u", "µ", "μ", "n", "p"))
_ENERGY = _si("J", _JOULE_PREFIXES)

DIMENSIONS: dict[str, Dimension] = {
    d.name: d
    for d in (
        Dimension("frequency", _si("Hz", ("", "k", "M", "G", "T")), "940 MHz"),
        Dimension("bytes", _BYTES, "512 KiB", whole=True),
        Dimension("bandwidth", {f"{u}/s": v for u, v in (_BYTES | _BITS).items()}, "50 GiB/s"),
        Dimension("time", _TIME, "2 ns"),
        Dimension("energy", _ENERGY, "10 pJ"),
        Dimension("energy_pj", {u: v * 10**12 for u, v in _ENERGY.items()}, "10 pJ"),
        Dimension("energy_per_bit", _energy_per(Fraction(1), Fraction(1, 8)), "7 pJ/bit"),
        Dimension("energy_per_byte", _energy_per(Fraction(8), Fraction(1)), "7 pJ/bit"),
        Dimension("energy_delay", {f"{u}*s": v for u, v in _ENERGY.items()}, "2 mJ*s"),
        Dimension("power", _si("W", ("", "m", "u", "µ", "μ", "n", "k", "M")), "90 W"),
        Dimension(
            "area",
            {"mm2": Fraction(1), "mm^2": Fraction(1), "um2": Fraction(1, 10**6), "cm2": Fraction(100)},
            "600 mm2",
        ),
        Dimension("number", {}, "0.5"),
    )
}
"""Every dimension by name. Kept in Hz, bytes, bytes/s, s, J (or pJ), J/bit, J/byte, J s, W, mm2."""


def parse_quantity(value: object, dimension: str) -> float:
    """Value of a quantity in the base unit of its dimension; an int for bytes, a float otherwise.

    Parameters
    ----------
    value
        Text such as ``"940 MHz"``; a bare number only for the dimension ``number``.
    dimension
        A key of `DIMENSIONS`.

    Raises
    ------
    UnitError
        If the unit is missing, unknown or of another dimension, or the number is negative, not finite, too large, or
        (bytes) not whole.

    Examples
    --------
    >>> parse_quantity("50 GiB/s", "bandwidth")
    53687091200.0
    >>> parse_quantity("512 KiB", "bytes")
    524288
    >>> parse_quantity("400 Gb/s", "bandwidth")
    50000000000.0
    """
    dim = DIMENSIONS[dimension]
    if dimension == "number":
        return _plain_number(value)
    if not isinstance(value, str):
        bare = isinstance(value, (int, float)) and not isinstance(value, bool)
        what = f"{_short(value)} without a unit" if bare else f"'{_short(value)}'"
        raise UnitError(f"read {what}, allowed is {dim.allowed}")
    match = _QUANTITY.fullmatch(value.strip()) if len(value) <= _MAX_TEXT else None
    if match is None:
        raise UnitError(f"read '{_short(value)}', allowed is {dim.allowed}")
    number, unit = match.group(1), (match.group(2) or "").replace(" ", "")
    if not unit:
        raise UnitError(f"read '{value}' without a unit, allowed is {dim.allowed}")
    if unit not in dim.units:
        raise UnitError(f"read '{value}' with the unit '{unit}', allowed is {dim.allowed}", _nearest_unit(unit, dim))
    exact = Fraction(number) * dim.units[unit]
    if exact < 0:
        raise UnitError(f"read '{value}', which is negative; allowed is {dim.allowed}")
    return _whole(value, exact) if dim.whole else _finite(value, exact)


def _whole(text: str, exact: Fraction) -> int:
    if exact.denominator != 1:
        raise UnitError(f"read '{text}', which is not a whole number of bytes")
    if exact > MAX_BYTES:
        raise UnitError(f"read '{text}', which is too large; allowed are at most 2^62 bytes")
    return exact.numerator


def _finite(text: str, exact: Fraction) -> float:
    try:
        number = float(exact)
    except OverflowError as error:
        raise UnitError(f"read '{text}', which is too large for a number") from error
    if number == 0 and exact != 0:
        raise UnitError(f"read '{text}', which is too small for a number")
    return number


def _plain_number(value: object) -> float:
    allowed = "allowed is a finite number of at least 0 without a unit"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UnitError(f"read '{_short(value)}', {allowed}")
    try:
        number = float(value)
    except OverflowError as error:
        raise UnitError(f"read {_short(value)}, which is too large; {allowed}") from error
    if not math.isfinite(number) or number < 0:
        raise UnitError(f"read {_short(value)}, {allowed}")
    return number


def _short(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 200:
        return f"an integer of {value.bit_length()} bits"
    text = str(value)
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."


def _nearest_unit(unit: str, dim: Dimension) -> str | None:
    for known in dim.units:
        if known.casefold() == unit.casefold():
            return known
    return nearest(unit, dim.units)


@lru_cache(maxsize=1024)
def format_quantity(value: float, dimension: str) -> str:
    """Shortest text that `parse_quantity` reads back as exactly the same value.

    Examples
    --------
    >>> format_quantity(53687091200.0, "bandwidth"), format_quantity(940e6, "frequency")
    ('50 GiB/s', '940 MHz')
    """
    dim = DIMENSIONS[dimension]
    if not dim.units:
        return _digits(value)
    base = next(u for u, v in dim.units.items() if v == 1)
    best = f"{_digits(value)} {base}"
    if value == 0:
        return best
    exact = Fraction(value)
    for unit, scale in dim.units.items():
        scaled = exact / scale
        if not 1 <= scaled < 10**6 or not unit.isascii():
            continue
        number = _digits(float(scaled))
        text = f"{number} {unit}"
        read_back = Fraction(number) * scale
        if _text_cost(text) < _text_cost(best) and (read_back if dim.whole else float(read_back)) == value:
            best = text
    return best


def _text_cost(text: str) -> tuple[bool, int]:
    number = text.split(" ", 1)[0]
    return "e" in number, len(number)


def _digits(value: float) -> str:
    whole = isinstance(value, int) or (abs(value) < 1e16 and value == int(value))
    return str(int(value)) if whole else repr(float(value))


class Layout(NamedTuple):
    """How a tensor of a data type lies in memory.

    Attributes
    ----------
    element_bits
        Bits of one element.
    block
        Elements that share one scale; 1 without scales.
    scale_bits
        Bits of a scale, and of a zero point beside it where there is one.
    zero_point
        Whether there is.
    """

    element_bits: int
    block: int = 1
    scale_bits: int = 0
    zero_point: bool = False


_DTYPES: dict[str, tuple[Layout, str]] = {
    "fp32": (Layout(32), "float32 float single f32"),
    "tf32": (Layout(32), "tensorfloat32 tensorfloat"),
    "fp16": (Layout(16), "float16 half f16"),
    "bf16": (Layout(16), "bfloat16 bfloat"),
    "fp8": (
        Layout(8),
        "float8 f8 e4m3 e5m2 e4m3fn e4m3fnuz e5m2fnuz fp8e4m3 fp8e5m2 float8e4m3 float8e5m2 float8e4m3fn",
    ),
    "int8": (Layout(8), "i8 s8"),
    "int4": (Layout(4), "i4 s4"),
    "int4_g32": (Layout(4, 32, 32, True), "i4g32"),
    "int4_g64": (Layout(4, 64, 32, True), "i4g64"),
    "int4_g128": (Layout(4, 128, 32, True), "i4g128"),
    "int32": (Layout(32), "i32 s32"),
    "hbfp8": (Layout(8, 64, 8), "bfp8"),
    "hbfp6": (Layout(6, 64, 8), "bfp6"),
    "hbfp4": (Layout(4, 64, 8), "bfp4"),
    "mxfp8": (Layout(8, 32, 8), "mxfp8e4m3 mxfp8e5m2"),
    "mxfp6": (Layout(6, 32, 8), "mxfp6e2m3 mxfp6e3m2"),
    "mxfp4": (Layout(4, 32, 8), "mxfp4e2m1"),
    "mxint8": (Layout(8, 32, 8), ""),
    "nvfp4": (Layout(4, 16, 8), "nvfp4e2m1"),
}
DTYPES: tuple[str, ...] = tuple(_DTYPES)
"""Canonical names of the data types."""

_DTYPE_ALIASES = {
    alias: name for name, (_, aliases) in _DTYPES.items() for alias in (plain_name(name), *aliases.split())
}


def canonical_dtype(name: str) -> str:
    """Canonical name of a data type in any of the field's spellings.

    Raises
    ------
    UnitError
        If the name is unknown; names the allowed ones and the nearest.

    Examples
    --------
    >>> [canonical_dtype(n) for n in ("BF16", "bfloat16", "half", "float", "e4m3", "torch.float16")]
    ['bf16', 'bf16', 'fp16', 'fp32', 'fp8', 'fp16']
    """
    if isinstance(name, str) and len(name) <= _MAX_TEXT:
        plain = plain_name(name.strip()).removeprefix("torch.")
        if plain in _DTYPE_ALIASES:
            return _DTYPE_ALIASES[plain]
        near = nearest(plain, _DTYPE_ALIASES)
    else:
        near = None
    raise UnitError(f"read data type '{_short(name)}', allowed are {', '.join(DTYPES)}", near and _DTYPE_ALIASES[near])


def dtype_layout(name: str) -> Layout:
    """How a tensor of a data type, in any spelling, lies in memory.

    Examples
    --------
    >>> dtype_layout("NVFP4")
    Layout(element_bits=4, block=16, scale_bits=8, zero_point=False)
    """
    return _DTYPES[canonical_dtype(name)][0]


def dtype_bits(name: str) -> float:
    """Bits one element takes in memory, exactly, its share of a block's scale included (tf32 is stored in 32 bits).

    Examples
    --------
    >>> dtype_bits("bf16"), dtype_bits("int4"), dtype_bits("tf32"), dtype_bits("mxfp8")
    (16, 4, 32, 8.25)
    """
    layout = dtype_layout(name)
    return layout.element_bits + layout.scale_bits / layout.block if layout.scale_bits else layout.element_bits


def tensor_bits(elements: int, name: str) -> int:
    """Bits of a densely packed tensor; its last block may be short, but has a whole scale.

    Examples
    --------
    >>> tensor_bits(64, "mxfp8"), tensor_bits(33, "mxfp4"), tensor_bits(3, "int4")
    (528, 148, 12)
    """
    layout = dtype_layout(name)
    return elements * layout.element_bits + -(-elements // layout.block) * layout.scale_bits

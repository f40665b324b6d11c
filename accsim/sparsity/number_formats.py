"""Number formats by name: their element, and how blocks of them share a scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from accsim.errors import InputError, Problem, nearest, plain_name
from accsim.sparsity.elements import Element, FixedElement, FloatElement
from accsim.units import UnitError, canonical_dtype, dtype_layout

Scaling: TypeAlias = Literal["none", "row", "group", "mx", "hbfp", "nvfp4"]
"""How a scale follows from the values that share it; `accsim.sparsity.quantize` has the rules."""


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """How a value is stored.

    Attributes
    ----------
    name
        Canonical name.
    dtype
        Data type of ops and machines that it belongs to: what rates, energies and sizes depend on.
    element
        What a single code means.
    scaling
        Rule of the scales.
    block
        Elements along an axis that share a scale; with the scaling ``"row"`` all of them do.
    element_bits, scale_bits
        Bits in memory of a code, and of a block's scale, with its zero point in the scaling ``"group"``.
    """

    name: str
    dtype: str
    element: Element
    scaling: Scaling
    block: int
    element_bits: int
    scale_bits: int

    @property
    def bits(self) -> float:
        """Bits a value in whole blocks, exactly, its share of the scale included.

        The scale of a row (`int8`, `int4`) or of a tensor (`nvfp4`), 32 bits each, is not counted.
        """
        return self.element_bits + self.scale_bits / self.block


E4M3 = FloatElement(4, 3, 7, "nan")
"""OCP 8-bit Floating Point Specification (OFP8) v1.0."""
E5M2 = FloatElement(5, 2, 15, "infinities")
"""OFP8 v1.0."""
E3M2 = FloatElement(3, 2, 3, "none")
"""OCP Microscaling Formats (MX) v1.0, section 5.3.2."""
E2M3 = FloatElement(2, 3, 1, "none")
"""MX v1.0, section 5.3.2."""
E2M1 = FloatElement(2, 1, 1, "none")
"""MX v1.0, section 5.3.3."""

_FORMATS: tuple[tuple[str, str, Element, Scaling], ...] = (
    ("fp32", "fp32", FloatElement(8, 23, 127, "infinities"), "none"),
    ("tf32", "tf32", FloatElement(8, 10, 127, "infinities"), "none"),
    ("bf16", "bf16", FloatElement(8, 7, 127, "infinities"), "none"),
    ("fp16", "fp16", FloatElement(5, 10, 15, "infinities"), "none"),
    ("fp8_e4m3", "fp8", E4M3, "none"),
    ("fp8_e5m2", "fp8", E5M2, "none"),
    ("int8", "int8", FixedElement(8), "row"),
    ("int4", "int4", FixedElement(4), "row"),
    ("int4_g32", "int4_g32", FixedElement(4), "group"),
    ("int4_g64", "int4_g64", FixedElement(4), "group"),
    ("int4_g128", "int4_g128", FixedElement(4), "group"),
    ("hbfp8", "hbfp8", FixedElement(8, 7, symmetric=True), "hbfp"),
    ("hbfp6", "hbfp6", FixedElement(6, 5, symmetric=True), "hbfp"),
    ("hbfp4", "hbfp4", FixedElement(4, 3, symmetric=True), "hbfp"),
    ("mxfp8_e4m3", "mxfp8", E4M3, "mx"),
    ("mxfp8_e5m2", "mxfp8", E5M2, "mx"),
    ("mxfp6_e3m2", "mxfp6", E3M2, "mx"),
    ("mxfp6_e2m3", "mxfp6", E2M3, "mx"),
    ("mxfp4", "mxfp4", E2M1, "mx"),
    ("mxint8", "mxint8", FixedElement(8, 6, symmetric=True), "mx"),
    ("nvfp4", "nvfp4", E2M1, "nvfp4"),
)
NUMBER_FORMATS: Mapping[str, NumberFormat] = {
    name: NumberFormat(name, dtype, element, scaling, layout.block, layout.element_bits, layout.scale_bits)
    for name, dtype, element, scaling in _FORMATS
    for layout in (dtype_layout(dtype),)
}
"""Every number format by its canonical name."""

_DEFAULTS: Mapping[str, str] = {"fp8": "fp8_e4m3", "mxfp8": "mxfp8_e4m3", "mxfp6": "mxfp6_e2m3"}
"""Format that the name of a data type with several elements stands for."""

WIDER: Mapping[str, tuple[str, ...]] = {
    "int4": ("int8", "fp8", "fp16", "bf16", "tf32", "fp32"),
    "int4_g32": ("fp16", "bf16", "tf32", "fp32"),
    "int4_g64": ("fp16", "bf16", "tf32", "fp32"),
    "int4_g128": ("fp16", "bf16", "tf32", "fp32"),
    "int8": ("fp16", "bf16", "tf32", "fp32"),
    "fp8": ("fp16", "bf16", "tf32", "fp32"),
    "fp16": ("tf32", "fp32"),
    "bf16": ("tf32", "fp32"),
    "tf32": ("fp32",),
    "hbfp4": ("hbfp6", "hbfp8", "bf16", "tf32", "fp32"),
    "hbfp6": ("hbfp8", "bf16", "tf32", "fp32"),
    "hbfp8": ("bf16", "tf32", "fp32"),
    "mxfp4": ("mxfp6", "mxfp8", "bf16", "tf32", "fp32"),
    "mxfp6": ("mxfp8", "bf16", "tf32", "fp32"),
    "mxfp8": ("bf16", "tf32", "fp32"),
    "mxint8": ("bf16", "tf32", "fp32"),
    "nvfp4": ("fp16", "bf16", "tf32", "fp32"),
}
"""Data type to those that hold all of its values; of rows and groups (`int8`, `int4`) and tensors (`nvfp4`), without
their scale.

Scales of powers of two are taken to stay within the exponents of fp32.
"""

_PLAIN = {plain_name(name): name for name in NUMBER_FORMATS}
_PLAIN |= dict.fromkeys(("e5m2", "float8e5m2"), "fp8_e5m2")


def number_format(name: str | NumberFormat) -> NumberFormat:
    """The number format of a name in any of the field's spellings.

    Parameters
    ----------
    name
        Name of a format, or of a data type: ``fp8`` and ``mxfp8`` stand for their E4M3, ``mxfp6`` for E2M3.

    Raises
    ------
    InputError
        If there is no such format; names all and the nearest.

    Examples
    --------
    >>> number_format("E5M2").name, number_format("bfloat16").name, number_format("MXFP8").bits
    ('fp8_e5m2', 'bf16', 8.25)
    """
    if isinstance(name, NumberFormat):
        return name
    plain = plain_name(str(name)).removeprefix("torch.")
    if plain in _PLAIN:
        return NUMBER_FORMATS[_PLAIN[plain]]
    try:
        dtype = canonical_dtype(name)
    except UnitError:
        dtype = ""
    found = _DEFAULTS.get(dtype, dtype)
    if found not in NUMBER_FORMATS:
        allowed = f"allowed are {', '.join(NUMBER_FORMATS)}"
        raise InputError(
            Problem("", "", f"unknown number format '{str(name)[:60]}', {allowed}", nearest(plain, _PLAIN))
        )
    return NUMBER_FORMATS[found]

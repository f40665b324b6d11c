"""Values rounded to what a number format can hold: to nearest, ties to even, saturating."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accsim.errors import InputError
from accsim.sparsity.elements import Element, Floats
from accsim.sparsity.number_formats import E4M3, NumberFormat, number_format

MX_SCALE_EXPONENTS = (-127, 127)
"""Exponents of E8M0 scales. Source: MX v1.0, section 5.4.1."""

HBFP_SCALE_EXPONENTS = (-127, 128)
"""Exponents of HBFP's scales: what 8 bits tell apart, enough for the largest fp32."""

_BF16 = number_format("bf16").element


def quantize(values: ArrayLike, form: str | NumberFormat, axis: int = -1) -> NDArray[np.floating]:
    """Values rounded to a number format and read back.

    Parameters
    ----------
    values
        Array of numbers.
    form
        A `NumberFormat` or its name.
    axis
        Axis along which elements share scales; for a product, the one that it contracts. The last block may be short.

    Returns
    -------
    array of the same shape: float32, or float64 where the values are float64 or whole numbers

    Raises
    ------
    InputError
        If the format is unknown, there is no such axis, or a value is not finite where scales are shared.

    Notes
    -----
    A format without scales saturates infinities and keeps NaN. With scales, value = scale · element(x / scale); of
    groups with a zero point, value = zero + scale · element((x − zero) / scale).

    Examples
    --------
    >>> quantize([1.0, 1.06, 500.0], "fp8").tolist()
    [1.0, 1.0, 448.0]
    >>> quantize([0.3, -7.0, 100.0], "mxfp4").tolist()
    [0.0, -8.0, 96.0]
    """
    form = number_format(form)
    array, wide = _wide(values)
    if form.scaling == "none":
        return form.element.round(wide).reshape(array.shape).astype(_kept_type(array))
    blocks = _blocks(wide, form, axis)
    rounded = (
        _rounded_groups(blocks, form) if form.scaling == "group" else _rounded(blocks, _scales(blocks, form), form)
    )
    lines = np.moveaxis(wide, axis, -1).shape
    joined = rounded.reshape(*lines[:-1], -1)[..., : lines[-1]]
    return np.moveaxis(joined, -1, axis).reshape(array.shape).astype(_kept_type(array))


def _rounded(blocks: Floats, scale: Floats, form: NumberFormat) -> Floats:
    usable = np.where(scale > 0, scale, 1.0)
    return np.where(scale > 0, form.element.round(blocks / usable) * usable, 0.0)


def _rounded_groups(blocks: Floats, form: NumberFormat) -> Floats:
    """Codes −8 to 7 of values from a group's least to its largest; scale and zero point are bf16.

    Source: torchao, int4 weights in groups, `get_group_qparams_tinygemm`.
    """
    scale = _scales(blocks, form)
    zero = _BF16.round(blocks.min(axis=-1, keepdims=True) + 2 ** (form.element_bits - 1) * scale)
    return _rounded(blocks - zero, scale, form) + zero


def block_scales(values: ArrayLike, form: str | NumberFormat, axis: int = -1) -> Floats:
    """Scales of the blocks along an axis, which comes last; 0 where a block is stored as zeros.

    Parameters
    ----------
    values, form, axis
        As for `quantize`.

    Raises
    ------
    InputError
        As for `quantize`, and if the format has no scales.

    Examples
    --------
    >>> block_scales([0.3, -7.0, 100.0], "mxfp4").tolist()
    [16.0]
    """
    form = number_format(form)
    if form.scaling == "none":
        raise InputError(f"the number format {form.name} has no scales")
    return _scales(_blocks(_wide(values)[1], form, axis), form)[..., 0]


def _wide(values: ArrayLike) -> tuple[NDArray[np.generic], Floats]:
    array = np.asarray(values)
    try:
        return array, np.atleast_1d(array.astype(np.float64))
    except (TypeError, ValueError) as error:
        raise InputError(f"read an array of {array.dtype}, allowed is one of numbers") from error


def _kept_type(array: NDArray[np.generic]) -> type[np.floating]:
    return np.float64 if array.dtype.kind in "biu" or array.dtype == np.float64 else np.float32


def _blocks(wide: Floats, form: NumberFormat, axis: int) -> Floats:
    """Shape (..., blocks, elements of a block), the last block filled up with zeros, or with its last value."""
    if not -wide.ndim <= axis < wide.ndim:
        raise InputError(f"read the axis {axis}, allowed are {-wide.ndim} to {wide.ndim - 1}")
    if not np.isfinite(wide).all():
        raise InputError(f"values that share a scale ({form.name}) must be finite")
    lines = np.moveaxis(wide, axis, -1)
    block = max(lines.shape[-1], 1) if form.scaling == "row" else form.block
    short = [(0, 0)] * (lines.ndim - 1) + [(0, -lines.shape[-1] % block)]
    padded = np.pad(lines, short, mode="edge" if form.scaling == "group" and lines.shape[-1] else "constant")
    return padded.reshape(*lines.shape[:-1], -1, block)


def _scales(blocks: Floats, form: NumberFormat) -> Floats:
    """Shape (..., blocks, 1)."""
    if form.scaling == "group":
        return _BF16.round(np.ptp(blocks, axis=-1, keepdims=True) / (2**form.element_bits - 1))
    largest = np.abs(blocks).max(axis=-1, keepdims=True, initial=0.0)
    return np.where(largest > 0, _RULES[form.scaling](largest, form.element), 0.0)


def _row_scale(largest: Floats, element: Element) -> Floats:
    """The largest magnitude becomes the largest number; kept as fp32."""
    return (largest / element.largest).astype(np.float32).astype(np.float64)


def _mx_scale(largest: Floats, element: Element) -> Floats:
    """2^(floor log2 max − emax). Source: MX v1.0, section 6.3."""
    return np.ldexp(1.0, np.clip(_floor_log2(largest) - element.largest_exponent, *MX_SCALE_EXPONENTS))


def _hbfp_scale(largest: Floats, _element: Element) -> Floats:
    """2^(ceil log2 max): a maximum that is a power of two saturates. Source: Drumond et al., NeurIPS 2018."""
    floor = _floor_log2(largest)
    return np.ldexp(1.0, np.clip(floor + (largest > np.ldexp(1.0, floor)), *HBFP_SCALE_EXPONENTS))


def _nvfp4_scale(largest: Floats, element: Element) -> Floats:
    """E4M3(max / 6 / t) · t with the tensor's own t = max / (6 · 448), kept as fp32. Source: NVIDIA's NVFP4 recipe."""
    tensor = float(np.float32(largest.max(initial=0.0) / (element.largest * E4M3.largest)))
    return E4M3.round(largest / (element.largest * tensor)) * tensor if tensor else np.zeros_like(largest)


def _floor_log2(positive: Floats) -> NDArray[np.int32]:
    return np.frexp(positive)[1] - 1


_RULES: Mapping[str, Callable[[Floats, Element], Floats]] = {
    "row": _row_scale, "mx": _mx_scale, "hbfp": _hbfp_scale, "nvfp4": _nvfp4_scale,
}  # fmt: skip

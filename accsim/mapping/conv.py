"""Convolutions as products whose operand A is read out of a feature map: what a tile of A takes from it.

A tile of A has rows (output pixels, row by row of an image) and columns (taps of input channels, channel by channel).
It is made from the patch of the feature map under its windows: that patch is what is loaded and kept, once. The array
reads every element of A out of it. ``docs/conv.md`` has the model.
"""

from __future__ import annotations

from typing import NamedTuple

from accsim.kernels.jit import kernel
from accsim.kernels.matrix import ceil_div
from accsim.workload.ops import Conv2d, Gemm


class FeatureMap(NamedTuple):
    """Extents of one image that A is read from; ``taps`` is 0 where A is a matrix of its own.

    ``height`` and ``width`` are of the part that some window covers, ``span_*`` of one window, ``out_*`` of the output.
    """

    taps: int
    height: int
    width: int
    span_h: int
    span_w: int
    out_h: int
    out_w: int
    stride: int


def feature_map(op: Gemm | Conv2d) -> FeatureMap:
    """Where A of an op comes from."""
    if isinstance(op, Gemm):
        return FeatureMap(0, 0, 0, 0, 0, 0, 0, 0)
    return FeatureMap(op.taps, op.seen_h, op.seen_w, op.span_h, op.span_w, op.out_h, op.out_w, op.stride)


@kernel
def operand_elements(source, rows, cols):
    """Elements that a tile of A of so many rows and columns is loaded from: of its patch, at most one an element of A.

    The tile is taken to begin at the start of a row of the output.
    """
    if source.taps == 0:
        return rows * cols
    if rows < source.out_w:
        pixels = min(source.height, source.span_h) * min(source.width, (rows - 1) * source.stride + source.span_w)
    else:
        lines = ceil_div(rows, source.out_w)
        rest = lines % source.out_h
        high = lines // source.out_h * source.height
        if rest > 0:
            high += min(source.height, (rest - 1) * source.stride + source.span_h)
        pixels = high * source.width
    return min(pixels * ceil_div(cols, source.taps), rows * cols)

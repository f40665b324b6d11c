"""Ops on feature maps: convolution and pooling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from accsim.config.checks import ArgumentChecks
from accsim.workload.ops_base import FROM_OTHERS, Counted, Product, check_own_dtypes, tensor_bytes
from accsim.workload.vector_counts import POOLS


class _Window:
    """Extents of what slides a window over a feature map; `Conv2d` and `Pool2d` have these fields."""

    __slots__ = ()
    height: int
    width: int
    kernel: int
    kernel_w: int
    stride: int
    padding: int
    padding_w: int
    dilation: int

    def _check_window(self, check: ArgumentChecks) -> None:
        """Fill in what the other axis gives, and check that at least one window lies on the padded map."""
        sized = check.count("height", "kernel", "stride", "dilation")
        sized &= check.count("padding", least=0)
        others = (("width", self.height), ("kernel_w", self.kernel), ("padding_w", self.padding))
        filled = [check.fill(field, value) for field, value in others]
        if not (sized and check.count("width", "kernel_w") and check.count("padding_w", least=0)):
            return
        axes = (("height", "kernel", "padding", self.span_h), ("width", "kernel_w", "padding_w", self.span_w))
        for side, field, border, span in axes[: 1 if all(filled) else 2]:
            padding, size = getattr(self, border), getattr(self, field)
            padded = getattr(self, side) + 2 * padding
            if padding >= span:
                check.fail(border, f"read {padding}, allowed is less than the {span} elements that a window spans")
            elif span > padded:
                check.fail(field, f"read {size}, which spans {span} of the {padded} elements of the padded {side}")

    @property
    def span_h(self) -> int:
        """Rows from the first to the last of a window."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def span_w(self) -> int:
        """Columns from the first to the last of a window."""
        return (self.kernel_w - 1) * self.dilation + 1

    @property
    def out_h(self) -> int:
        """Rows of the output."""
        return (self.height + 2 * self.padding - self.span_h) // self.stride + 1

    @property
    def out_w(self) -> int:
        """Columns of the output."""
        return (self.width + 2 * self.padding_w - self.span_w) // self.stride + 1

    @property
    def taps(self) -> int:
        """Elements of a window."""
        return self.kernel * self.kernel_w

    @property
    def seen_h(self) -> int:
        """Rows of the input from the first to the last window, without padding."""
        return min(self.height, (self.out_h - 1) * self.stride + self.span_h - self.padding)

    @property
    def seen_w(self) -> int:
        """Columns of the input from the first to the last window, without padding."""
        return min(self.width, (self.out_w - 1) * self.stride + self.span_w - self.padding_w)

    @property
    def pixels(self) -> int:
        """Input pixels of one image that have to be read: those from the first window to the last, or one a tap."""
        return min(self.seen_h * self.seen_w, self.out_h * self.out_w * self.taps)


@dataclass(frozen=True, slots=True)
class Conv2d(Product, _Window, Counted):
    """Convolution of feature maps with learned filters, as deep learning has it (no flip of the filter).

    It is the product of the im2col matrix with the filters, for each group C[m,n] = A[m,k] B[k,n] with
    m = batch · out_h · out_w, n = out_channels / groups, k = in_channels / groups · kernel · kernel_w. A is never
    stored: its elements are read out of the feature map.

    Parameters
    ----------
    in_channels, out_channels
        Channels of input and output.
    height, width
        Extents of the input map. Default of the width: the height.
    kernel, kernel_w
        Rows and columns of a filter. Default of the columns: the rows.
    batch
        Images.
    stride
        Pixels from one window to the next, both ways.
    padding, padding_w
        Rows of zeros above and below, columns of zeros on the left and the right. Default of the columns: the rows.
    dilation
        Pixels from one tap of a filter to the next, both ways.
    groups
        Parts of the channels that do not meet, a divisor of both; in_channels of them make it a depthwise convolution.
    dtype
        Data type of the input in any spelling, and of filters and output unless they have their own.
    name
        Name in reports.
    weight_dtype
        Data type of the filters, None for `dtype`.
    out_dtype
        Data type of the output, None for `dtype`.

    Raises
    ------
    InputError
        With every field that is out of range.

    Notes
    -----
    out_h = (height + 2 padding - (kernel - 1) dilation - 1) // stride + 1, and the same with the columns. Taps that
    fall on padding are counted as multiply-accumulates, as published counts have them.

    Source: Chetlur et al., cuDNN, arXiv 1410.0759, section 3 (a convolution as a product, its matrix made on the fly).

    Examples
    --------
    >>> op = Conv2d(in_channels=3, out_channels=64, height=224, kernel=7, stride=2, padding=3)
    >>> op.out_h, op.macs, op.weight_bytes
    (112, 118013952, 18816)
    """

    kind: ClassVar[str] = "conv2d"
    in_channels: int
    out_channels: int
    height: int
    kernel: int
    width: int = FROM_OTHERS
    kernel_w: int = FROM_OTHERS
    batch: int = 1
    stride: int = 1
    padding: int = 0
    padding_w: int = FROM_OTHERS
    dilation: int = 1
    groups: int = 1
    dtype: str = "bf16"
    name: str = "conv2d"
    weight_dtype: str | None = None
    out_dtype: str | None = None

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        if check.count("in_channels", "out_channels", "groups"):
            for side in ("in_channels", "out_channels"):
                if getattr(self, side) % self.groups:
                    check.fail("groups", f"read {self.groups}, allowed is a divisor of {side} = {getattr(self, side)}")
        check.count("batch")
        self._check_window(check)
        check.dtype()
        check_own_dtypes(self, check, "weight_dtype", "out_dtype")
        check.name()
        check.finish()

    @property
    def products(self) -> int:
        """Products that share no operand: the groups."""
        return self.groups

    @property
    def rows(self) -> int:
        """Rows of the im2col matrix: an output pixel each."""
        return self.batch * self.out_h * self.out_w

    @property
    def n(self) -> int:
        """Output channels of a group."""
        return self.out_channels // self.groups

    @property
    def k(self) -> int:
        """Columns of the im2col matrix of a group: taps of its input channels."""
        return self.in_channels // self.groups * self.taps

    @property
    def macs(self) -> int:
        """Multiply-accumulates: groups x rows x n x k."""
        return self.groups * self.rows * self.n * self.k

    @property
    def weight_bytes(self) -> int:
        """Bytes of the filters."""
        return tensor_bytes(self.out_channels * self.k, self.operand_dtypes[1])

    @property
    def input_bytes(self) -> int:
        """Bytes of the input map, without pixels that no tap falls on."""
        return tensor_bytes(self.batch * self.in_channels * self.pixels, self.dtype)

    @property
    def output_bytes(self) -> int:
        """Bytes of the output map."""
        return tensor_bytes(self.rows * self.out_channels, self.operand_dtypes[2])


@dataclass(frozen=True, slots=True)
class Pool2d(_Window, Counted):
    """The largest element, or the mean, of each window of a feature map.

    Parameters
    ----------
    channels
        Channels of input and output.
    height, width, kernel, kernel_w, batch, stride, padding, padding_w, dilation, dtype, name
        As of `Conv2d`.
    function
        ``max`` or ``average``.

    Raises
    ------
    InputError
        With every field that is out of range.

    Examples
    --------
    >>> Pool2d(channels=64, height=112, kernel=3, stride=2, padding=1).vector_ops
    {'max': 1605632}
    """

    kind: ClassVar[str] = "pool2d"
    channels: int
    height: int
    kernel: int
    width: int = FROM_OTHERS
    kernel_w: int = FROM_OTHERS
    batch: int = 1
    stride: int = 1
    padding: int = 0
    padding_w: int = FROM_OTHERS
    dilation: int = 1
    function: str = "max"
    dtype: str = "bf16"
    name: str = "pool2d"

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.count("channels", "batch")
        self._check_window(check)
        check.choice("function", POOLS)
        check.dtype()
        check.name()
        check.finish()

    @property
    def elements(self) -> int:
        """Elements of the output."""
        return self.batch * self.channels * self.out_h * self.out_w

    @property
    def input_bytes(self) -> int:
        """Bytes of the input map, without pixels that no window covers."""
        return tensor_bytes(self.batch * self.channels * self.pixels, self.dtype)

    @property
    def output_bytes(self) -> int:
        """Bytes of the output map."""
        return tensor_bytes(self.elements, self.dtype)

    @property
    def vector_ops(self) -> Mapping[str, int]:
        """Of each window, one operation less than it has elements, and for a mean one multiply; padding is counted."""
        pool = POOLS[self.function]
        joined = {pool.join: self.elements * (self.taps - 1)}
        return joined | ({"multiply": self.elements} if pool.scaled else {})

"""Ops of the vector unit alone: softmax, norms, element-wise functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from accsim.config.checks import ArgumentChecks
from accsim.workload.ops_base import FROM_OTHERS, Counted, check_own_dtypes, tensor_bytes
from accsim.workload.vector_counts import ELEMENTWISE, NORMS, quantizing

MAX_INPUTS = 64
"""Most tensors an element-wise op may read."""


@dataclass(frozen=True, slots=True)
class Softmax(Counted):
    """Softmax of each row.

    Parameters
    ----------
    rows, cols
        Extents; a row is normalized over its `cols` scores.
    dtype
        Data type of input and output, in any spelling.
    name
        Name in reports.

    Raises
    ------
    InputError
        With every field that is out of range.

    Notes
    -----
    Three passes, 4 operations a score: max; subtract and exp, counted as one ``exp``; sum; divide.

    Examples
    --------
    >>> Softmax(rows=2, cols=8).vector_ops
    {'max': 16, 'exp': 16, 'add': 16, 'divide': 16}
    """

    kind: ClassVar[str] = "softmax"
    rows: int
    cols: int
    dtype: str = "bf16"
    name: str = "softmax"

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.count("rows", "cols")
        check.dtype()
        check.name()
        check.finish()

    @property
    def scores(self) -> int:
        """Elements, rows x cols."""
        return self.rows * self.cols

    @property
    def input_bytes(self) -> int:
        """Bytes of the scores."""
        return tensor_bytes(self.scores, self.dtype)

    @property
    def output_bytes(self) -> int:
        """Bytes of the result."""
        return tensor_bytes(self.scores, self.dtype)

    @property
    def vector_ops(self) -> Mapping[str, int]:
        """One max, exp, add and divide a score."""
        return dict.fromkeys(("max", "exp", "add", "divide"), self.scores)


@dataclass(frozen=True, slots=True)
class Norm(Counted):
    """Normalization of each row with learned scale, and with learned shift where it is a layer norm.

    Parameters
    ----------
    rows, cols
        Extents; a row is normalized over its `cols` elements.
    function
        ``layer`` (mean and variance, scale and shift) or ``rms`` (root mean square, scale).
    dtype
        Data type of input, output and parameters, in any spelling.
    name
        Name in reports.

    Raises
    ------
    InputError
        With every field that is out of range.

    Notes
    -----
    Source: Ba et al., arXiv 1607.06450, eqs. 3 and 4 (layer); Zhang and Sennrich, arXiv 1910.07467, eq. 4 (rms).
    The counts, an element and a row, are in `accsim.workload.vector_counts`.

    Examples
    --------
    >>> Norm(rows=1, cols=8, function="rms").vector_ops
    {'multiply': 25, 'add': 9, 'divide': 1}
    """

    kind: ClassVar[str] = "norm"
    rows: int
    cols: int
    function: str = "layer"
    dtype: str = "bf16"
    name: str = "norm"

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.count("rows", "cols")
        check.choice("function", NORMS)
        check.dtype()
        check.name()
        check.finish()

    @property
    def weight_bytes(self) -> int:
        """Bytes of the scale, and of the shift of a layer norm."""
        return tensor_bytes(NORMS[self.function].vectors * self.cols, self.dtype)

    @property
    def input_bytes(self) -> int:
        """Bytes of the rows."""
        return tensor_bytes(self.rows * self.cols, self.dtype)

    @property
    def output_bytes(self) -> int:
        """Bytes of the normalized rows."""
        return tensor_bytes(self.rows * self.cols, self.dtype)

    @property
    def vector_ops(self) -> Mapping[str, int]:
        """Operations an element times the elements, plus operations a row times the rows."""
        norm = NORMS[self.function]
        return {
            op: self.rows * (self.cols * norm.per_element.get(op, 0) + norm.per_row.get(op, 0)) for op in norm.per_row
        }


@dataclass(frozen=True, slots=True)
class Elementwise(Counted):
    """A function of corresponding elements of one or more tensors.

    Parameters
    ----------
    elements
        Elements of an output.
    function
        A key of `accsim.workload.vector_counts.ELEMENTWISE`: add, multiply, relu, gelu, silu, swiglu, rope, copy, ...
        ``lstm_gates`` writes two tensors, cell state and output; every other function writes one.
    inputs
        Tensors read, each with as many elements as the output. Default: what the function needs (2 for add and
        swiglu, 1 for gelu). ``add`` and ``multiply`` may have more, or 1: then the other operand is a constant.
    dtype
        Data type of inputs and output, in any spelling.
    name
        Name in reports.
    out_dtype
        Data type of the output, None for `dtype`. Each element is converted; where blocks share a scale, that is found.

    Raises
    ------
    InputError
        With every field that is out of range.

    Notes
    -----
    A block with a scale takes a max an element for its largest magnitude, a divide for the inverse of the scale, a
    convert of the scale itself, and a multiply an element; with a zero point also a max an element for the least value.

    Examples
    --------
    >>> op = Elementwise(elements=8, function="swiglu")
    >>> op.input_bytes, op.output_bytes, op.vector_ops
    (32, 16, {'exp': 8, 'add': 8, 'divide': 8, 'multiply': 8})
    """

    kind: ClassVar[str] = "elementwise"
    elements: int
    function: str
    inputs: int = FROM_OTHERS
    dtype: str = "bf16"
    name: str = "elementwise"
    out_dtype: str | None = None

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.count("elements")
        if check.choice("function", ELEMENTWISE):
            needs = ELEMENTWISE[self.function]
            check.fill("inputs", needs.inputs)
            if check.count("inputs", most=MAX_INPUTS) and not needs.any_inputs and self.inputs != needs.inputs:
                check.fail("inputs", f"read {self.inputs}, allowed for {self.function} is {needs.inputs}")
        check.dtype()
        check_own_dtypes(self, check, "out_dtype")
        check.name()
        check.finish()

    @property
    def input_bytes(self) -> int:
        """Bytes of all inputs."""
        return tensor_bytes(self.inputs * self.elements, self.dtype)

    @property
    def output_bytes(self) -> int:
        """Bytes of the output."""
        return tensor_bytes(self._results, self.out_dtype or self.dtype)

    @property
    def _results(self) -> int:
        return ELEMENTWISE[self.function].outputs * self.elements

    @property
    def vector_ops(self) -> Mapping[str, int]:
        """Operations an element times the elements; empty for a copy, which only moves data."""
        needs = ELEMENTWISE[self.function]
        times = max(1, self.inputs - 1) if needs.any_inputs else 1
        counts = {op: times * count * self.elements for op, count in needs.per_element.items()}
        if self.out_dtype is None:
            return counts
        return dict(Counter(counts) + Counter(quantizing(self._results, self.out_dtype)))

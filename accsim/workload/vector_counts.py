"""Vector operations of norms and element-wise functions, an element each, counted from their formulas.

Each elementary operation of the formula counts as one operation of the vector unit; what it costs there is in the
machine's file. A change of sign is free, a subtraction is an ``add``, a reciprocal square root (once a row) is a
``divide``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from accsim.units import dtype_layout

VECTOR_OPERATIONS: tuple[str, ...] = ("max", "exp", "add", "multiply", "divide", "rescale", "convert")
"""Names of all operations of the vector unit."""


class NormCount(NamedTuple):
    """Work of one kind of normalization."""

    vectors: int
    """Parameter vectors as long as a row."""
    per_element: Mapping[str, int]
    per_row: Mapping[str, int]
    """Operations once a row; has every operation that `per_element` has."""


class ElementwiseCount(NamedTuple):
    """Work of one element-wise function."""

    inputs: int
    """Tensors read."""
    per_element: Mapping[str, int]
    any_inputs: bool = False
    """True if the function takes any number of inputs: n of them need n - 1 times `per_element`, one needs it once."""
    outputs: int = 1
    """Tensors written."""


class PoolCount(NamedTuple):
    """Work of one kind of pooling."""

    join: str
    """Operation that joins two elements of a window."""
    scaled: bool
    """True if the result is divided by the number of elements (a multiply by its inverse)."""


NORMS: Mapping[str, NormCount] = {
    "layer": NormCount(2, {"add": 4, "multiply": 3}, {"add": 1, "multiply": 2, "divide": 1}),
    "rms": NormCount(1, {"multiply": 3, "add": 1}, {"multiply": 1, "add": 1, "divide": 1}),
}
"""Layer norm (Ba et al., arXiv 1607.06450, eqs. 3 and 4): an element, sum (add), subtract the mean (add), square
(multiply), sum (add), scale by the inverse deviation (multiply), gain (multiply), bias (add); a row, two divisions by
the length (multiply by its inverse), epsilon (add), inverse root (divide). RMS norm (Zhang and Sennrich, arXiv
1910.07467, eq. 4): an element, square, sum, scale, gain; a row, one division by the length, epsilon, inverse root."""

ELEMENTWISE: Mapping[str, ElementwiseCount] = {
    "copy": ElementwiseCount(1, {}),
    "convert": ElementwiseCount(1, {"convert": 1}),
    "add": ElementwiseCount(2, {"add": 1}, any_inputs=True),
    "multiply": ElementwiseCount(2, {"multiply": 1}, any_inputs=True),
    "multiply_add": ElementwiseCount(2, {"multiply": 1, "add": 1}),
    "relu": ElementwiseCount(1, {"max": 1}),
    "sigmoid": ElementwiseCount(1, {"exp": 1, "add": 1, "divide": 1}),
    "tanh": ElementwiseCount(1, {"exp": 1, "multiply": 1, "add": 2, "divide": 1}),
    "gelu": ElementwiseCount(1, {"exp": 1, "multiply": 3, "add": 2, "divide": 1}),
    "silu": ElementwiseCount(1, {"exp": 1, "add": 1, "divide": 1}),
    "swiglu": ElementwiseCount(2, {"exp": 1, "add": 1, "divide": 1, "multiply": 1}),
    "geglu": ElementwiseCount(2, {"exp": 1, "multiply": 4, "add": 2, "divide": 1}),
    "rope": ElementwiseCount(1, {"multiply": 2, "add": 1}),
    "lstm_gates": ElementwiseCount(5, {"exp": 5, "add": 8, "divide": 5, "multiply": 5}, outputs=2),
}
"""Counted from these forms: multiply_add a x + y with the number a given; sigmoid 1/(1 + exp(-x)); tanh
1 - 2/(1 + exp(2x)); gelu x/(1 + exp(-2u)) with u = x (a + b x²), which is the tanh form of Hendrycks and Gimpel, arXiv
1606.08415, section 2, with the tanh written out; silu x/(1 + exp(-x)); swiglu silu(p) q and geglu gelu(p) q (Shazeer,
arXiv 2002.05202, eq. 6); rope x cos + rotated(x) sin with the tables given (Su et al., arXiv 2104.09864, eq. 34);
lstm_gates c' = s(f) c + s(i) t(g) and h' = s(o) t(c') with s a sigmoid and t a tanh, of i, f, g, o and c (Zaremba et
al., arXiv 1409.2329, section 3)."""

POOLS: Mapping[str, PoolCount] = {"max": PoolCount("max", False), "average": PoolCount("add", True)}
"""Kinds of pooling."""


def quantizing(results: int, dtype: str) -> Mapping[str, int]:
    """Operations that make results of a data type: a conversion each, and, where blocks share a scale, finding it.

    Examples
    --------
    >>> quantizing(64, "fp8"), quantizing(64, "mxfp8")
    ({'convert': 64}, {'convert': 66, 'max': 64, 'multiply': 64, 'divide': 2})
    """
    layout = dtype_layout(dtype)
    if layout.scale_bits == 0:
        return {"convert": results}
    blocks, bounds = -(-results // layout.block), 1 + layout.zero_point
    return {"convert": results + blocks, "max": bounds * results, "multiply": results, "divide": blocks}

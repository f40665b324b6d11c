"""The backward pass of a chain of ops: what each op's gradients take, last op first.

A product C = A B has two: that of A is dC Bᵀ, that of a parameter B is Aᵀ dC. Element-wise functions multiply the
gradient by their derivative, of values that the forward pass has kept. Source: Rumelhart, Hinton and Williams,
*Learning representations by back-propagating errors*, Nature 323, 1986.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from accsim.errors import InputError
from accsim.workload.ops import Elementwise, Gemm, Op
from accsim.workload.ops_base import tensor_bytes
from accsim.workload.trace import Entry

PREFIX = "backward."
"""Start of the names of a backward pass's entries."""
UPDATE = "update."
"""Start of the names of an optimizer's entries."""

_DERIVATIVES = {"copy": ("copy", 1), "add": ("add", 2), "multiply": ("multiply", 2), "relu": ("multiply", 2),
                "sigmoid": ("multiply", 3)}  # fmt: skip
"""Function -> (what its gradient takes, tensors read). copy: a piece of a joined tensor is copied out; add: both
operands get the gradient as it is, and the value that went past the sum adds it to its own; relu: by 0 or 1; sigmoid:
by y and 1 - y. multiply has two such gradients, one an operand."""
_OF_OUTPUTS = ("relu", "sigmoid")
"""Functions whose derivative is one of their outputs."""


def backward(entries: Sequence[Entry], *, first: str = "") -> tuple[Entry, ...]:
    """Entries of the backward pass of a chain.

    Parameters
    ----------
    entries
        The forward pass; products and element-wise functions.
    first
        Name of an entry whose input needs no gradient, as it is the model's.

    Raises
    ------
    InputError
        If the pass has an op whose gradient is not known here.

    Examples
    --------
    >>> layer = [Entry(Gemm(64, 16, 8, name="linear")), Entry(Elementwise(1024, "relu", name="act"))]
    >>> [entry.name for entry in backward(layer)]
    ['backward.act', 'backward.linear.weights', 'backward.linear.input']
    """
    found: list[Entry] = []
    for entry in reversed(entries):
        found += [
            replace(entry, op=op, name=op.name, after=(), weight_sets=entry.repeat)
            for op in _gradients(entry.op, entry.name)
            if not (entry.name == first and op.name.endswith(".input"))
        ]
    return tuple(found)


def update(entries: Iterable[Entry], dtype: str = "fp32") -> tuple[Entry, ...]:
    """Plain gradient descent of all parameters of a forward pass: w − η g in one pass over weights and gradients.

    Both are read in `dtype` and the weights written; the product with the rate and the sum are two operations each.
    """
    weights = sum(entry.op.k * entry.op.n * _sets(entry) for entry in entries if isinstance(entry.op, Gemm))
    return (Entry(Elementwise(weights, "multiply_add", dtype=dtype, name=f"{UPDATE}weights")),)


def kept_bytes(entries: Iterable[Entry]) -> int:
    """Bytes of a chain's forward pass that its backward pass reads, parameters apart.

    A product keeps its operands that are no parameter, an element-wise function the values of which its derivative is.
    What an op hands to the next one is kept once; an operand from farther back counts for each op that reads it.

    Parameters
    ----------
    entries
        As for `backward`.

    Examples
    --------
    Of a layer of 64 samples, 16 outputs and 8 inputs in bf16: its inputs, and its outputs for ReLU's derivative.

    >>> kept_bytes([Entry(Gemm(64, 16, 8, name="linear")), Entry(Elementwise(1024, "relu", name="act"))])
    3072
    """
    kept = 0
    handed = 0
    for entry in entries:
        inputs, outputs = _kept(entry.op)
        kept += entry.repeat * (max(0, inputs - handed) + outputs)
        handed = outputs
    return kept


def _kept(op: Op) -> tuple[int, int]:
    """Bytes of an op's inputs, and of its outputs, that its gradients read."""
    if isinstance(op, Gemm):
        second = 0 if op.weights else op.k * op.n
        return tensor_bytes(op.batch * (op.m * op.k + second), op.dtype), 0
    if isinstance(op, Elementwise):
        tensor = tensor_bytes(op.elements, op.dtype)
        return (2 * tensor, 0) if op.function == "multiply" else (0, tensor if op.function in _OF_OUTPUTS else 0)
    return 0, 0


def _sets(entry: Entry) -> int:
    """Parameters of a product's shape that an entry has."""
    op = entry.op
    assert isinstance(op, Gemm)
    return entry.weight_sets * (op.batch if op.grouped else 1) if op.weights else 0


def _gradients(op: Op, name: str) -> list[Gemm] | list[Elementwise]:
    """What the gradients of an op's operands take."""
    name = PREFIX + name
    if isinstance(op, Gemm) and op.sparsity is None and not op.grouped:
        # One product for all batch elements where they share B, else one each. B is the forward pass's own parameter.
        rows, times = (op.m * op.batch, 1) if op.weights else (op.m, op.batch)
        of_b = f"{name}.weights" if op.weights else f"{name}.other"
        return [
            Gemm(op.k, op.n, rows, times, op.dtype, of_b, weights=False),
            Gemm(rows, op.k, op.n, times, op.dtype, f"{name}.input", weights=False),
        ]
    if isinstance(op, Elementwise) and op.function in _DERIVATIVES:
        function, inputs = _DERIVATIVES[op.function]
        one = Elementwise(op.elements, function, inputs, op.dtype, name)
        both = [replace(one, name=f"{name}.{operand}") for operand in ("first", "second")]
        return both if op.function == "multiply" else [one]
    what = f"{op.kind} {op.function}" if isinstance(op, Elementwise) else op.kind
    raise InputError(f"{name}: the gradient of {what} is not known, allowed are dense products and {_names()}")


def _names() -> str:
    return ", ".join(_DERIVATIVES)

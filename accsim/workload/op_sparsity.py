"""The sparse operands of a product: what is allowed, and the work that is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray

from accsim.config.checks import ArgumentChecks, shown
from accsim.errors import InputError
from accsim.sparsity.base import Axes, Shape
from accsim.sparsity.legality import OPERANDS
from accsim.sparsity.nm import NM, VNM
from accsim.sparsity.patterns import Dense, Unstructured, WeightPattern
from accsim.sparsity.spelling import read_pattern

if TYPE_CHECKING:
    from accsim.workload.ops import Gemm

SPARSE_OPERANDS = ("A", "B")
"""Operands of a product that may be sparse."""
RESULTS = "C"
"""Its results, as the operand A of a product that takes them."""


def check_sparsity(op: Gemm, check: ArgumentChecks, sized: bool) -> None:
    """Read the patterns of a product and their operands, none if dense; `sized` is False if the extents are wrong."""
    if op.out_sparsity is not None:
        _check_pattern(op, check, "out_sparsity", RESULTS if sized else None)
        if isinstance(op.out_sparsity, Dense):
            object.__setattr__(op, "out_sparsity", None)
    if op.sparsity is None:
        for name in ("sparse_operand", "other_sparsity"):
            if getattr(op, name) is not None:
                check.fail(name, f"read {shown(getattr(op, name))}, allowed without sparsity is none")
        return
    check.fill("sparse_operand", "B")
    sized = check.choice("sparse_operand", SPARSE_OPERANDS) and sized
    _check_pattern(op, check, "sparsity", op.sparse_operand if sized else None)
    if op.other_sparsity is not None:
        _check_pattern(op, check, "other_sparsity", other_operand(op) if sized else None)
    if isinstance(op.other_sparsity, Dense):
        object.__setattr__(op, "other_sparsity", None)
    if isinstance(op.sparsity, Dense):
        object.__setattr__(op, "sparse_operand", None if op.other_sparsity is None else other_operand(op))
        object.__setattr__(op, "sparsity", op.other_sparsity)
        object.__setattr__(op, "other_sparsity", None)


def _check_pattern(op: Gemm, check: ArgumentChecks, field: str, operand: str | None) -> None:
    try:
        pattern = read_pattern(getattr(op, field))
        if not isinstance(pattern, get_args(WeightPattern)):
            raise InputError(f"read {pattern}, allowed is a pattern of weights; this one is of attention scores")
        object.__setattr__(op, field, pattern)
        if operand is not None:
            pattern.kept(*operand_tensor(op, operand))
    except InputError as error:
        for problem in error.problems:
            check.fail(field, ": ".join(filter(None, (problem.path, problem.message))), problem.suggestion)


def other_operand(op: Gemm) -> str:
    """The operand that `sparse_operand` does not name."""
    return "B" if op.sparse_operand == "A" else "A"


def operand_patterns(op: Gemm) -> dict[str, WeightPattern]:
    """Patterns of the operands that have one, that of `sparsity` first."""
    found = {op.sparse_operand: op.sparsity, other_operand(op): op.other_sparsity}
    return {str(operand): pattern for operand, pattern in found.items() if pattern is not None}


def operand_tensor(op: Gemm, operand: str) -> tuple[Shape, Axes]:
    """Shape and axes of an operand, or of the results, of one of the products that share none."""
    if operand == RESULTS:
        return (op.rows, op.n), OPERANDS["A"]
    return (op.rows, op.k) if operand == "A" else (op.k, op.n), OPERANDS[operand]


def effectual_macs(op: Gemm) -> int:
    """Multiply-accumulates by values that are not pruned: exactly, or with two patterns on average, rounded.

    Notes
    -----
    With a pattern on either operand it is Σ over k of the values of A and of B that are kept at that place: exact of
    two masks, and the mean where a pattern is drawn independently of the other operand.
    """
    patterns = operand_patterns(op)
    if len(patterns) == 2:
        return round(op.products * _matches(*(_kept_along_k(op, *item) for item in sorted(patterns.items()))))
    for operand, pattern in patterns.items():
        return op.products * pattern.kept(*operand_tensor(op, operand)) * (op.n if operand == "A" else op.rows)
    return op.macs


_Steps = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Ends of pieces of k, and the values kept at each place of a piece, on average."""


def _kept_along_k(op: Gemm, operand: str, pattern: WeightPattern) -> _Steps:
    shape, axes = operand_tensor(op, operand)
    others = shape[1 - axes.index("k")]
    if isinstance(pattern, Unstructured) and pattern.mask is not None:
        counts = pattern.mask.array.sum(axis=1 - axes.index("k"))
        return np.arange(1, op.k + 1), counts.astype(np.float64)
    if isinstance(pattern, (NM, VNM)) and pattern.axis == "k":
        whole, rest = divmod(op.k, pattern.m)
        pieces = [(whole * pattern.m, pattern.n / pattern.m), (op.k, min(pattern.n, rest) / max(rest, 1))]
        ends, shares = np.array([piece for piece in pieces if piece[0]]).T
        return ends.astype(np.int64), shares * others
    return np.array([op.k]), np.array([pattern.kept(shape, axes) / op.k])


def _matches(one: _Steps, two: _Steps) -> float:
    """Sum over k of the products of values kept."""
    ends = np.union1d(one[0], two[0])
    lengths = np.diff(ends, prepend=0)
    return float((lengths * one[1][np.searchsorted(one[0], ends)] * two[1][np.searchsorted(two[0], ends)]).sum())

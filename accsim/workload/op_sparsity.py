"""The sparse operand of a product: what is allowed, and the work that is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from accsim.config.checks import ArgumentChecks, shown
from accsim.errors import InputError
from accsim.sparsity.base import Axes, Shape
from accsim.sparsity.legality import OPERANDS
from accsim.sparsity.patterns import Dense, WeightPattern
from accsim.sparsity.spelling import read_pattern

if TYPE_CHECKING:
    from accsim.workload.ops import Gemm

SPARSE_OPERANDS = ("A", "B")
"""Operands of a product that may be sparse."""


def check_sparsity(op: Gemm, check: ArgumentChecks, sized: bool) -> None:
    """Read the pattern of a product and its operand, none if it is dense; `sized` is False if the extents are wrong."""
    if op.sparsity is None:
        if op.sparse_operand is not None:
            check.fail("sparse_operand", f"read {shown(op.sparse_operand)}, allowed without sparsity is none")
        return
    check.fill("sparse_operand", "B")
    named = check.choice("sparse_operand", SPARSE_OPERANDS)
    try:
        pattern = read_pattern(op.sparsity)
        if not isinstance(pattern, get_args(WeightPattern)):
            raise InputError(f"read {pattern}, allowed is a pattern of weights; this one is of attention scores")
        object.__setattr__(op, "sparsity", pattern)
        if named and sized:
            pattern.kept(*sparse_tensor(op))
        if isinstance(pattern, Dense):
            object.__setattr__(op, "sparsity", None)
            object.__setattr__(op, "sparse_operand", None)
    except InputError as error:
        for problem in error.problems:
            check.fail("sparsity", ": ".join(filter(None, (problem.path, problem.message))), problem.suggestion)


def sparse_tensor(op: Gemm) -> tuple[Shape, Axes]:
    """Shape and axes of the sparse operand of one of the products that share none."""
    shape = (op.rows, op.k) if op.sparse_operand == "A" else (op.k, op.n)
    return shape, OPERANDS[str(op.sparse_operand)]


def effectual_macs(op: Gemm) -> int:
    """Multiply-accumulates by values that are not pruned, exactly."""
    if op.sparsity is None:
        return op.macs
    others = op.n if op.sparse_operand == "A" else op.rows
    return op.products * op.sparsity.kept(*sparse_tensor(op)) * others

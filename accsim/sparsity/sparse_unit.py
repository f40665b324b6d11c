"""Descriptions of what matrix units can leave out of a product."""

from __future__ import annotations

from dataclasses import dataclass

from accsim.config.checks import ArgumentChecks


@dataclass(frozen=True, slots=True)
class SparseUnit:
    """What a matrix unit can leave out. It reads its sparse operand compressed along the axis that it contracts.

    Parameters
    ----------
    name
        For reports.
    modes
        Pairs (n, m): of each aligned run of m it multiplies n, m / n times as fast as dense. Several: a flexible unit.
    gathers
        True: it reads only the columns that a V:N:M pattern keeps, each block of rows its own (VENOM's kernel).
    gathered_rows
        Rows that share one choice of columns, of which V is a multiple.
    blocks
        Sides (along the contracted axis, the other) of the blocks that it can skip, or None.
    unstructured
        True: it skips single zeros wherever they are.
    """

    name: str
    modes: tuple[tuple[int, int], ...] = ()
    gathers: bool = False
    gathered_rows: int = 1
    blocks: tuple[int, int] | None = None
    unstructured: bool = False

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.name()
        check.flag("gathers", "unstructured")
        check.count("gathered_rows")
        for n, m in self.modes:
            if not 0 < n < m:
                check.fail("modes", f"read ({n}, {m}), allowed are pairs with 0 < n < m")
        check.finish()


NO_SPARSE_UNIT = SparseUnit("dense")
"""A unit that multiplies everything."""

SPARSE_TENSOR_CORE = SparseUnit("sparse_tensor_core", modes=((2, 4),))
"""Ampere and later, and AMD's SMFMA, with 16- and 8-bit operands. Source: Mishra et al., arXiv 2104.08378."""

SPARSE_TENSOR_CORE_TF32 = SparseUnit("sparse_tensor_core_tf32", modes=((1, 2),))
"""The same with TF32 operands. Source: as above."""

VEGETA = SparseUnit("vegeta", modes=((1, 4), (2, 4)))
"""Flexible N:4. Source: Jeong et al., VEGETA, HPCA 2023."""

FLEXIBLE_TENSOR_CORE = SparseUnit("flexible_tensor_core", modes=((2, 4), (2, 6), (2, 8)))
"""The flexible sparse tensor core of Sparseloop's case study. Source: Wu et al., MICRO 2022, section 7.1."""

VENOM_KERNEL = SparseUnit("venom", modes=((2, 4),), gathers=True, gathered_rows=16)
"""VENOM's kernel on a 2:4 tensor core, whose instructions have 16 rows. Source: Castro et al., SC 2023."""

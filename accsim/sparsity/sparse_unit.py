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
    gathered_rows
        Rows that share the columns it reads, where it gathers just those that a V:N:M pattern keeps (VENOM's kernel); V
        is a multiple. 0: it does not gather.
    row_wise
        (neighbouring rows that share a mode, places that a mode holds for), where each row has a mode of its own, or
        None. All modes have one m, which divides the places.
    blocks
        Sides (along the contracted axis, the other) of the blocks that it can skip, or None.
    unstructured
        True: it skips single zeros wherever they are.
    """

    name: str
    modes: tuple[tuple[int, int], ...] = ()
    gathered_rows: int = 0
    row_wise: tuple[int, int] | None = None
    blocks: tuple[int, int] | None = None
    unstructured: bool = False

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.name()
        check.flag("unstructured")
        check.count("gathered_rows", least=0)
        check.sequence("modes", tuple, "pairs (n, m)")
        for mode in self.modes:
            if len(mode) != 2 or not 0 < mode[0] < mode[1]:
                check.fail("modes", f"read {mode}, allowed are pairs (n, m) with 0 < n < m")
        if self.row_wise is not None:
            lengths = {mode[-1] for mode in self.modes}
            if len(lengths) != 1 or self.row_wise[0] < 1 or self.row_wise[1] % max(lengths, default=1):
                what = "allowed are (rows, places) with modes of one m that divides the places"
                check.fail("row_wise", f"read {self.row_wise}, {what}")
        if self.blocks is not None and (len(self.blocks) != 2 or min(self.blocks) < 1):
            check.fail("blocks", f"read {self.blocks}, allowed are two sides of at least 1")
        check.finish()


NO_SPARSE_UNIT = SparseUnit("dense")
"""A unit that multiplies everything."""

SPARSE_TENSOR_CORE = SparseUnit("sparse_tensor_core", modes=((2, 4),))
"""Ampere and later, and AMD's SMFMA, with 16- and 8-bit operands. Source: Mishra et al., arXiv 2104.08378."""

SPARSE_TENSOR_CORE_TF32 = SparseUnit("sparse_tensor_core_tf32", modes=((1, 2),))
"""The same with TF32 operands. Source: as above."""

VEGETA = SparseUnit("vegeta", modes=((1, 4), (2, 4)))
"""Flexible N:4. Source: Jeong et al., VEGETA, HPCA 2023."""

VEGETA_ROW_WISE = SparseUnit("vegeta_row_wise", modes=((1, 4), (2, 4)), row_wise=(1, 64))
"""VEGETA's instructions with an N:4 for each row of a tile, 64 dense places long. Source: as above."""

DENSITY_BOUND_BLOCKS = SparseUnit("density_bound_blocks", modes=tuple((n, 8) for n in range(1, 8)))
"""Blocks of 8 with at most n nonzeros, one operand of S2TA. Source: Liu et al., S2TA, HPCA 2022."""

OUTER_PRODUCT = SparseUnit("outer_product", unstructured=True)
"""Outer products of the nonzeros of both operands. Source: Wang et al., Dual-side Sparse Tensor Core, ISCA 2021."""

LANE_SKIPPING = SparseUnit("lane_skipping", unstructured=True)
"""Lanes that skip the zeros of their own rows or columns, and wait for each other. Source: Zhang et al., Cambricon-X,
MICRO 2016."""

BLOCK_SKIPPING = SparseUnit("block_skipping", blocks=(16, 8))
"""Whole blocks of weights as large as those of a tensor-core instruction (PTX ISA, mma.m16n8k16: 16 along k by 8).
Source of such kernels: Gray et al., GPU Kernels for Block-Sparse Weights, 2017."""

FLEXIBLE_TENSOR_CORE = SparseUnit("flexible_tensor_core", modes=((2, 4), (2, 6), (2, 8)))
"""The flexible sparse tensor core of Sparseloop's case study. Source: Wu et al., MICRO 2022, figure 15."""

VENOM_KERNEL = SparseUnit("venom", modes=((2, 4),), gathered_rows=16)
"""VENOM's kernel on a 2:4 tensor core, whose instructions have 16 rows. Source: Castro et al., SC 2023."""

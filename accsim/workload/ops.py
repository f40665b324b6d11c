"""The operations of a workload, each with the exact work it needs on any machine.

Counts are of the op itself: multiply-accumulates, vector operations, and *compulsory* bytes, that is each operand
read once and each result written once. How often a machine moves them is the business of a mapping.

Every op has ``kind``, ``macs``, ``macs_effectual`` (those by values that are not pruned), ``flop`` (2 a MAC),
``weight_bytes``, ``input_bytes``, ``output_bytes``, ``vector_ops``, ``key`` and ``to_dict()``. Weights, inputs and
outputs all have the op's one data type; only the weights and the results of a product, the keys and values of an
attention, and the results of an element-wise function may have others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, get_args

from accsim.config.checks import ArgumentChecks
from accsim.sparsity.patterns import WeightPattern
from accsim.workload.op_sparsity import check_sparsity, effectual_macs
from accsim.workload.ops_attention import Attention
from accsim.workload.ops_base import Counted, Product, check_own_dtypes, tensor_bytes
from accsim.workload.ops_image import Conv2d, Pool2d
from accsim.workload.ops_sequence import Embedding, EmbeddingBag, LstmCell
from accsim.workload.ops_vector import Elementwise, Norm, Softmax
from accsim.workload.vector_counts import VECTOR_OPERATIONS

__all__ = [
    "OPS",
    "VECTOR_OPERATIONS",
    "Attention",
    "Conv2d",
    "Elementwise",
    "Embedding",
    "EmbeddingBag",
    "Gemm",
    "LstmCell",
    "Norm",
    "Op",
    "Pool2d",
    "Softmax",
    "tensor_bytes",
]


@dataclass(frozen=True, slots=True)
class Gemm(Product, Counted):
    """Matrix product C[m,n] = A[m,k] B[k,n], once for every batch element.

    Parameters
    ----------
    m, n, k
        Extents, from 1 to 2^40 - 1.
    batch
        Number of products.
    dtype
        Data type of A in any spelling, and of B and C unless they have their own.
    name
        Name in reports.
    weights
        True: B is a parameter, one for the whole batch, so the op equals one product with m x batch rows.
        False: B is an activation, one for every batch element.
    grouped
        With `weights`, True: every batch element has a parameter B of its own, as the experts of a layer have (a
        grouped product). Of one batch element it becomes False, the default.
    sparsity
        Where an operand has nonzero values: a pattern, its text (``"2:4"``) or mapping, or None. It counts in
        `macs_effectual`; a machine with a mode for it runs it sparse, others dense.
    sparse_operand
        ``"B"`` (the default with a sparsity), with the axes k and n, or ``"A"``, with m (m x batch rows with `weights`)
        and k.
    other_sparsity
        With `sparsity`, the pattern of the other operand, or None.
    weight_dtype
        Data type of B, a parameter or not, None for `dtype`.
    out_dtype
        Data type of C, None for `dtype`.
    out_sparsity
        Pattern of C as the product that takes it for its A has it, with the axes m and k (C's n), or None. A machine
        with a compressor stores C compressed.

    Raises
    ------
    InputError
        With every field that is out of range.

    Examples
    --------
    >>> op = Gemm(m=512, n=768, k=768, name="q_proj")
    >>> op.macs, op.weight_bytes
    (301989888, 1179648)
    >>> Gemm(m=512, n=768, k=768, sparsity="2:4").macs_effectual
    150994944
    >>> Gemm(m=512, n=768, k=768, weight_dtype="mxfp4").weight_bytes  # 4 bits, and 8 for a block of 32
    313344
    """

    kind: ClassVar[str] = "gemm"
    m: int
    n: int
    k: int
    batch: int = 1
    dtype: str = "bf16"
    name: str = "gemm"
    weights: bool = True
    grouped: bool = False
    sparsity: WeightPattern | None = None
    sparse_operand: str | None = None
    other_sparsity: WeightPattern | None = None
    weight_dtype: str | None = None
    out_dtype: str | None = None
    out_sparsity: WeightPattern | None = None

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        sized = check.count("m", "n", "k", "batch")
        check.dtype()
        check.name()
        check.flag("weights", "grouped")
        if self.grouped is True and self.weights is False:
            check.fail("grouped", "read True, allowed without weights is False: each product has a B of its own")
        if self.batch == 1:
            object.__setattr__(self, "grouped", False)
        check_sparsity(self, check, sized)
        check_own_dtypes(self, check, "weight_dtype", "out_dtype")
        check.finish()

    @property
    def products(self) -> int:
        """Number of products that share no operand: 1 with weights that all share, else the batch."""
        return 1 if self.weights and not self.grouped else self.batch

    @property
    def rows(self) -> int:
        """Rows of A that meet one B: m x batch with weights that all share, else m."""
        return self.m * self.batch // self.products

    @property
    def macs(self) -> int:
        """Multiply-accumulates: batch x m x n x k."""
        return self.batch * self.m * self.n * self.k

    @property
    def macs_effectual(self) -> int:
        """Multiply-accumulates by values that the sparsity keeps, on average if both operands have a pattern."""
        return effectual_macs(self)

    @property
    def weight_bytes(self) -> int:
        """Bytes of B where it is a parameter, else 0."""
        return tensor_bytes(self.products * self.k * self.n, self.operand_dtypes[1]) if self.weights else 0

    @property
    def input_bytes(self) -> int:
        """Bytes of A, and of B where it is an activation."""
        a, b = self.batch * self.m * self.k, 0 if self.weights else self.batch * self.k * self.n
        if self.weight_dtype is None:
            return tensor_bytes(a + b, self.dtype)
        return tensor_bytes(a, self.dtype) + tensor_bytes(b, self.weight_dtype)

    @property
    def output_bytes(self) -> int:
        """Bytes of C."""
        return tensor_bytes(self.batch * self.m * self.n, self.operand_dtypes[2])


Op: TypeAlias = Gemm | Attention | Softmax | Norm | Elementwise | Conv2d | Pool2d | Embedding | EmbeddingBag | LstmCell
"""Any op."""

OPS: Mapping[str, type[Op]] = {op.kind: op for op in get_args(Op)}
"""Class of each kind of op."""

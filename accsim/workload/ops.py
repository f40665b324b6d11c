"""The operations of a workload, each with the exact work it needs on any machine.

Counts are of the op itself: multiply-accumulates, vector operations, and *compulsory* bytes, that is each operand
read once and each result written once. How often a machine moves them is the business of a mapping.

Every op has ``kind``, ``macs``, ``macs_effectual`` (those by values that are not pruned), ``flop`` (2 a MAC),
``weight_bytes``, ``input_bytes``, ``output_bytes``, ``vector_ops``, ``key`` and ``to_dict()``. Weights, inputs and
outputs all have the op's one data type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, get_args

from accsim.config.checks import ArgumentChecks
from accsim.sparsity.patterns import WeightPattern
from accsim.workload.op_sparsity import check_sparsity, effectual_macs
from accsim.workload.ops_base import FROM_OTHERS, Counted, tensor_bytes
from accsim.workload.ops_image import Conv2d, Pool2d
from accsim.workload.ops_sequence import Embedding, LstmCell
from accsim.workload.ops_vector import Elementwise, Norm, Softmax
from accsim.workload.vector_counts import VECTOR_OPERATIONS

__all__ = [
    "OPS",
    "VECTOR_OPERATIONS",
    "Attention",
    "Conv2d",
    "Elementwise",
    "Embedding",
    "Gemm",
    "LstmCell",
    "Norm",
    "Op",
    "Pool2d",
    "Softmax",
    "tensor_bytes",
]


@dataclass(frozen=True, slots=True)
class Gemm(Counted):
    """Matrix product C[m,n] = A[m,k] B[k,n], once for every batch element.

    Parameters
    ----------
    m, n, k
        Extents, from 1 to 2^40 - 1.
    batch
        Number of products.
    dtype
        Data type of A, B and C in any spelling.
    name
        Name in reports.
    weights
        True: B is a parameter, one for the whole batch, so the op equals one product with m x batch rows.
        False: B is an activation, one for every batch element.
    sparsity
        Where an operand has nonzero values: a pattern, its text (``"2:4"``) or mapping, or None. It counts in
        `macs_effectual`; a machine with a mode for it runs it sparse, others dense.
    sparse_operand
        ``"B"`` (the default with a sparsity), with the axes k and n, or ``"A"``, with m (m x batch rows with `weights`)
        and k.

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
    """

    kind: ClassVar[str] = "gemm"
    m: int
    n: int
    k: int
    batch: int = 1
    dtype: str = "bf16"
    name: str = "gemm"
    weights: bool = True
    sparsity: WeightPattern | None = None
    sparse_operand: str | None = None

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        sized = check.count("m", "n", "k", "batch")
        check.dtype()
        check.name()
        check.flag("weights")
        check_sparsity(self, check, sized)
        check.finish()

    @property
    def products(self) -> int:
        """Number of products that share no operand: 1 with weights, else the batch."""
        return 1 if self.weights else self.batch

    @property
    def rows(self) -> int:
        """Rows of A that meet one B: m x batch with weights, else m."""
        return self.m * self.batch if self.weights else self.m

    @property
    def macs(self) -> int:
        """Multiply-accumulates: batch x m x n x k."""
        return self.batch * self.m * self.n * self.k

    @property
    def macs_effectual(self) -> int:
        """Multiply-accumulates by values that the sparsity keeps."""
        return effectual_macs(self)

    @property
    def weight_bytes(self) -> int:
        """Bytes of B where it is a parameter, else 0."""
        return tensor_bytes(self.k * self.n, self.dtype) if self.weights else 0

    @property
    def input_bytes(self) -> int:
        """Bytes of A, and of B where it is an activation."""
        operand = 0 if self.weights else self.k * self.n
        return tensor_bytes(self.batch * (self.m * self.k + operand), self.dtype)

    @property
    def output_bytes(self) -> int:
        """Bytes of C."""
        return tensor_bytes(self.batch * self.m * self.n, self.dtype)


@dataclass(frozen=True, slots=True)
class Attention(Counted):
    """Attention softmax(Q Kᵀ / √d) V: FLAT's Logit, the softmax, and Attend, as one op.

    Parameters
    ----------
    batch, heads
        Sequences, and query heads of each.
    q_len, kv_len
        Queries and keys of each sequence.
    head_dim
        Width of one head, of keys and values alike.
    kv_heads
        Heads of keys and values, a divisor of `heads`: fewer is grouped-query, 1 is multi-query attention.
        Default: `heads`.
    causal
        True: query i sees the keys 0 to kv_len - q_len + i. Needs q_len <= kv_len.
    window
        With `causal` alone: of these keys, query i sees the last `window`, its own included (a sliding window). One of
        at least kv_len hides nothing and becomes None, the default.
    dtype
        Data type of Q, K, V, the weights after the softmax, and the output, in any spelling.
    name
        Name in reports.

    Raises
    ------
    InputError
        With every field that is out of range.

    Notes
    -----
    The factor 1/√d is folded into the queries, and costs nothing.

    Examples
    --------
    >>> Attention(batch=1, heads=2, q_len=3, kv_len=3, head_dim=8, causal=True).scores
    12
    """

    kind: ClassVar[str] = "attention"
    batch: int
    heads: int
    q_len: int
    kv_len: int
    head_dim: int
    kv_heads: int = FROM_OTHERS
    causal: bool = False
    dtype: str = "bf16"
    name: str = "attention"
    window: int | None = None

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        sized = check.count("batch", "heads", "q_len", "kv_len", "head_dim")
        given = not check.fill("kv_heads", self.heads)
        if given and check.count("kv_heads") and sized and self.heads % self.kv_heads:
            check.fail("kv_heads", f"read {self.kv_heads}, allowed is a divisor of the {self.heads} heads")
        check.flag("causal")
        if sized and self.causal is True and self.q_len > self.kv_len:
            check.fail("q_len", f"read {self.q_len}, allowed with a causal mask is at most kv_len = {self.kv_len}")
        if self.window is not None and check.count("window") and sized:
            if self.causal is False:
                check.fail("window", f"read {self.window}, allowed without causal is none")
            elif self.window >= self.kv_len:
                object.__setattr__(self, "window", None)
        check.dtype()
        check.name()
        check.finish()

    @property
    def scores(self) -> int:
        """Visible scores over all sequences and heads.

        Of each q_len x kv_len, a causal mask hides the upper corner, and a window the lower one.
        """
        each = self.q_len * self.kv_len
        if self.causal:
            each -= self.q_len * (self.q_len - 1) // 2
        if self.window is not None:
            past = min(self.q_len, self.kv_len - self.window)  # queries with more keys behind them than the window has
            most = self.kv_len - self.window
            each -= past * most - past * (past - 1) // 2
        return self.batch * self.heads * each

    @property
    def seen_keys(self) -> int:
        """Keys of a sequence that any query sees: under a window, those from the first query's on."""
        return self.kv_len if self.window is None else min(self.kv_len, self.q_len + self.window - 1)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of Logit and Attend over the visible scores."""
        return 2 * self.scores * self.head_dim

    @property
    def kv_bytes(self) -> int:
        """Bytes of the keys and values that any query sees."""
        return tensor_bytes(2 * self.batch * self.kv_heads * self.seen_keys * self.head_dim, self.dtype)

    @property
    def input_bytes(self) -> int:
        """Bytes of queries, keys and values."""
        return tensor_bytes(self.batch * self.heads * self.q_len * self.head_dim, self.dtype) + self.kv_bytes

    @property
    def output_bytes(self) -> int:
        """Bytes of the output."""
        return tensor_bytes(self.batch * self.heads * self.q_len * self.head_dim, self.dtype)

    @property
    def vector_ops(self) -> Mapping[str, int]:
        """Operations of a three-pass softmax over the visible scores; an online softmax, a mapping's, has its own."""
        return dict.fromkeys(("max", "exp", "add", "divide"), self.scores)


Op: TypeAlias = Gemm | Attention | Softmax | Norm | Elementwise | Conv2d | Pool2d | Embedding | LstmCell
"""Any op."""

OPS: Mapping[str, type[Op]] = {op.kind: op for op in get_args(Op)}
"""Class of each kind of op."""

"""Ops on sequences besides attention: embedding of tokens and of bags, and one step of a recurrent layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from accsim.config.checks import ArgumentChecks
from accsim.workload.ops_base import Counted, Product, check_own_dtypes, tensor_bytes
from accsim.workload.ops_vector import Elementwise

INDEX_BYTES = 4
"""Bytes of the number of a token, or of a row (int32)."""


@dataclass(frozen=True, slots=True)
class Embedding(Counted):
    """Token embedding: one row of a table for each token, out of main memory.

    Parameters
    ----------
    tokens
        Rows fetched.
    dim
        Elements of a row.
    vocab
        Rows of the table.
    dtype
        Data type of the table and the output, in any spelling.
    name
        Name in reports.
    tied
        Whether the table is also the weight of a product of the same workload, and lies in memory once.

    Raises
    ------
    InputError
        With every field that is out of range.

    Notes
    -----
    The rows that are fetched are input, a row for each token even where one recurs. The table as a whole is not among
    the weight bytes, since it is not read; `table_bytes` is its size.

    Examples
    --------
    >>> op = Embedding(tokens=512, dim=768, vocab=30522)
    >>> op.input_bytes, op.output_bytes, op.table_bytes
    (788480, 786432, 46881792)
    """

    kind: ClassVar[str] = "embedding"
    tokens: int
    dim: int
    vocab: int
    dtype: str = "bf16"
    name: str = "embedding"
    tied: bool = False

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.count("tokens", "dim", "vocab")
        check.dtype()
        check.name()
        check.flag("tied")
        check.finish()

    @property
    def table_bytes(self) -> int:
        """Bytes of the table."""
        return tensor_bytes(self.vocab * self.dim, self.dtype)

    @property
    def input_bytes(self) -> int:
        """Bytes of the rows fetched, and of the tokens' numbers."""
        return tensor_bytes(self.tokens * self.dim, self.dtype) + INDEX_BYTES * self.tokens

    @property
    def output_bytes(self) -> int:
        """Bytes of the result."""
        return tensor_bytes(self.tokens * self.dim, self.dtype)


@dataclass(frozen=True, slots=True)
class EmbeddingBag(Counted):
    """Embedding of bags: the sum of some rows of a table for each bag, out of main memory.

    Parameters
    ----------
    bags
        Sums made: the samples of a batch.
    lookups
        Rows fetched for all bags together, at least one a bag.
    dim
        Elements of a row.
    vocab
        Rows of the table.
    dtype
        Data type of the table and the output, in any spelling.
    name
        Name in reports.

    Raises
    ------
    InputError
        With every field that is out of range.

    Notes
    -----
    As for `Embedding`, each lookup fetches a row, also where one recurs, and the table is not among the weight bytes.

    Examples
    --------
    >>> op = EmbeddingBag(bags=512, lookups=2048, dim=128, vocab=40_000_000, dtype="fp32")
    >>> op.input_bytes, op.output_bytes, op.table_bytes, op.vector_ops
    (1056768, 262144, 20480000000, {'add': 196608})
    """

    kind: ClassVar[str] = "embedding_bag"
    bags: int
    lookups: int
    dim: int
    vocab: int
    dtype: str = "bf16"
    name: str = "embedding_bag"

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        if check.count("bags", "lookups", "dim", "vocab") and self.lookups < self.bags:
            check.fail("lookups", f"read {self.lookups}, allowed is at least one for each of the {self.bags} bags")
        check.dtype()
        check.name()
        check.finish()

    @property
    def table_bytes(self) -> int:
        """Bytes of the table."""
        return tensor_bytes(self.vocab * self.dim, self.dtype)

    @property
    def input_bytes(self) -> int:
        """Bytes of the rows fetched, and of their numbers."""
        return tensor_bytes(self.lookups * self.dim, self.dtype) + INDEX_BYTES * self.lookups

    @property
    def output_bytes(self) -> int:
        """Bytes of the sums."""
        return tensor_bytes(self.bags * self.dim, self.dtype)

    @property
    def vector_ops(self) -> Mapping[str, int]:
        """One add an element for each row of a bag but the first."""
        return {"add": (self.lookups - self.bags) * self.dim}


@dataclass(frozen=True, slots=True)
class LstmCell(Product, Counted):
    """One step of an LSTM layer: the products with the step's input and with the last output as one, and the gates.

    Each step needs the one before it, so a layer over a sequence is this op, repeated, with weights that its repeats
    share (`Entry.weight_sets` is 1).

    Parameters
    ----------
    batch
        Sequences.
    input_size
        Width of the step's input.
    hidden_size
        Width of the cell state and of the output.
    dtype
        Data type of inputs and states in any spelling, and of weights and outputs unless they have their own.
    name
        Name in reports.
    weight_dtype
        Data type of the weight, None for `dtype`.
    out_dtype
        Data type of the output and the cell state that are written, None for `dtype`, in which the last ones are read.

    Raises
    ------
    InputError
        With every field that is out of range.

    Notes
    -----
    One product [x, h] W with a weight of (input_size + hidden_size) x 4 hidden_size, then c' = σ(f) c + σ(i) tanh(g)
    and h' = σ(o) tanh(c'); biases start the product's sums. Source: Zaremba et al., arXiv 1409.2329, section 3.

    Examples
    --------
    >>> op = LstmCell(batch=20, input_size=1500, hidden_size=1500)
    >>> op.macs, op.weight_bytes
    (360000000, 36000000)
    """

    kind: ClassVar[str] = "lstm_cell"
    batch: int
    input_size: int
    hidden_size: int
    dtype: str = "bf16"
    name: str = "lstm_cell"
    weight_dtype: str | None = None
    out_dtype: str | None = None

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.count("batch", "input_size", "hidden_size")
        check.dtype()
        check_own_dtypes(self, check, "weight_dtype", "out_dtype")
        check.name()
        check.finish()

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the product: batch x (input_size + hidden_size) x 4 hidden_size."""
        return self.batch * (self.input_size + self.hidden_size) * 4 * self.hidden_size

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weight."""
        return tensor_bytes((self.input_size + self.hidden_size) * 4 * self.hidden_size, self.operand_dtypes[1])

    @property
    def input_bytes(self) -> int:
        """Bytes of the step's input, the last output and the last cell state."""
        return tensor_bytes(self.batch * (self.input_size + 2 * self.hidden_size), self.dtype)

    @property
    def output_bytes(self) -> int:
        """Bytes of the output and the cell state."""
        return tensor_bytes(2 * self.batch * self.hidden_size, self.operand_dtypes[2])

    @property
    def vector_ops(self) -> Mapping[str, int]:
        """Operations of the gates: those of the function ``lstm_gates`` for each element of the state."""
        gates = Elementwise(self.batch * self.hidden_size, "lstm_gates", dtype=self.dtype, out_dtype=self.out_dtype)
        return gates.vector_ops

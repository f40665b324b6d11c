"""A step of an LSTM layer: the product, then the gates, as two programs with the sums in main memory in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from accsim.config.machine import Accelerator
from accsim.mapping.base import Dataflow, Step, register_dataflow
from accsim.mapping.compiled import CompiledDataflow
from accsim.mapping.gemm import default_gemm
from accsim.mapping.search import search
from accsim.mapping.vector import Streamed
from accsim.workload.ops import Elementwise, Gemm, LstmCell, Op


@dataclass(frozen=True)
class Lstm(Dataflow):
    """Product and gates mapped on their own; choices left ``None`` are searched.

    Parameters
    ----------
    product : mapping of the GEMM with the four gates' weights side by side.
    gates : mapping of the vector work.
    """

    kinds: ClassVar[tuple[str, ...]] = ("lstm_cell",)

    product: CompiledDataflow | None = None
    gates: Streamed | None = None

    def candidates(self, op: Op, acc: Accelerator, objective: str) -> Sequence[Lstm]:
        assert isinstance(op, LstmCell)
        product, gates = parts(op)
        best = search(self.product or default_gemm(acc), product, acc, objective).mapping
        streamed = search(self.gates or Streamed(), gates, acc, objective).mapping
        assert isinstance(best, CompiledDataflow)
        assert isinstance(streamed, Streamed)
        return (Lstm(best, streamed),)

    def steps(self, op: Op, acc: Accelerator) -> tuple[Step, ...]:
        assert isinstance(op, LstmCell)
        whole = self if self.product and self.gates else self.candidates(op, acc, "latency")[0]
        assert whole.product is not None
        assert whole.gates is not None
        product, gates = parts(op)
        return (*whole.product.steps(product, acc), *whole.gates.steps(gates, acc))


register_dataflow("lstm", Lstm)


def parts(op: LstmCell) -> tuple[Gemm, Elementwise]:
    """The two operators."""
    product = Gemm(op.batch, 4 * op.hidden_size, op.input_size + op.hidden_size, dtype=op.dtype, name="product")
    return product, Elementwise(op.batch * op.hidden_size, "lstm_gates", dtype=op.dtype, name="gates")

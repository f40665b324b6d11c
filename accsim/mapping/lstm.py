"""A step of an LSTM layer: the product, then the gates, as two programs with the sums in main memory in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from accsim.config.machine import Accelerator
from accsim.mapping.base import register_dataflow
from accsim.mapping.compiled import CompiledDataflow
from accsim.mapping.composed import Composed, Part
from accsim.mapping.gemm import default_gemm
from accsim.mapping.vector import Streamed
from accsim.workload.ops import Elementwise, Gemm, LstmCell, Op


@dataclass(frozen=True)
class Lstm(Composed):
    """Product and gates mapped on their own; choices left ``None`` are searched.

    Parameters
    ----------
    product : mapping of the GEMM with the four gates' weights side by side.
    gates : mapping of the vector work.
    """

    kinds: ClassVar[tuple[str, ...]] = ("lstm_cell",)

    product: CompiledDataflow | None = None
    gates: Streamed | None = None

    def parts(self, op: Op, acc: Accelerator) -> dict[str, Part]:
        assert isinstance(op, LstmCell)
        product, gates = parts(op)
        return {
            "product": Part(product, (self.product or default_gemm(acc),)),
            "gates": Part(gates, (self.gates or Streamed(),)),
        }


register_dataflow("lstm", Lstm)


def parts(op: LstmCell) -> tuple[Gemm, Elementwise]:
    """The two operators."""
    sizes = (op.batch, 4 * op.hidden_size, op.input_size + op.hidden_size)
    product = Gemm(*sizes, dtype=op.dtype, name="product", weight_dtype=op.weight_dtype)
    elements = op.batch * op.hidden_size
    return product, Elementwise(elements, "lstm_gates", dtype=op.dtype, name="gates", out_dtype=op.out_dtype)

"""The paper's Naive: un-fused attention on a systolic array, weight-stationary, with a fixed tile; nothing is searched.

Source: FLAT, Kao et al., ASPLOS 2023, Table 3 (arXiv 2107.06419, version 7): "weight-stationary, fixed tile". The tile
is not published; here it is one fold of the array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from accsim.config.compute_units import SystolicArray
from accsim.config.machine import Accelerator
from accsim.errors import MappingError
from accsim.mapping.attention import check_equal_lengths
from accsim.mapping.base import Dataflow, Step, register_dataflow
from accsim.mapping.gemm import WeightStationary
from accsim.mapping.unfused import Unfused, parts
from accsim.mapping.vector import Streamed
from accsim.workload.ops import Attention, Gemm, Op


@dataclass(frozen=True)
class Naive(Dataflow):
    """Logit and Attend weight-stationary in square tiles of the array's side, softmax by one row; no choices."""

    kinds: ClassVar[tuple[str, ...]] = ("attention",)

    def candidates(self, op: Op, acc: Accelerator, objective: str) -> Sequence[Dataflow]:
        assert isinstance(op, Attention)
        check_equal_lengths(op, "naive")
        logit, softmax, attend = parts(op)
        row = Streamed(chunk_elements=softmax.cols)
        return (Unfused(_fixed(logit, acc), row, _fixed(attend, acc)),)

    def steps(self, op: Op, acc: Accelerator) -> tuple[Step, ...]:
        return self.candidates(op, acc, "latency")[0].steps(op, acc)


register_dataflow("naive", Naive)


def _fixed(op: Gemm, acc: Accelerator) -> WeightStationary:
    """One fold of the array a tile, as many rows of A as it has rows; products dealt to the cores, then rows of C."""
    unit = acc.matrix_unit
    if not isinstance(unit, SystolicArray):
        raise MappingError(f"naive needs a systolic array, which {acc.name} does not have")
    split_m = max(1, min(acc.cores // op.products, op.rows))
    return WeightStationary(unit.rows, unit.cols, unit.rows, "mn", False, split_m, 1)

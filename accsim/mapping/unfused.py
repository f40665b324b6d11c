"""Un-fused attention: Logit, softmax and Attend as three programs, scores to main memory and back in between.

Source: the baseline of FLAT (Kao et al., ASPLOS 2023; FLEX when every part is searched on its own).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from accsim.config.machine import Accelerator
from accsim.mapping.attention import check_equal_lengths
from accsim.mapping.base import Dataflow, register_dataflow
from accsim.mapping.compiled import CompiledDataflow
from accsim.mapping.composed import Composed, Part
from accsim.mapping.gemm import FORMS, default_gemm
from accsim.mapping.vector import Streamed
from accsim.workload.ops import Attention, Gemm, Op, Softmax


@dataclass(frozen=True)
class Unfused(Composed):
    """Each operator mapped on its own; choices left ``None`` are searched.

    Parameters
    ----------
    logit, attend : GEMM mappings of the two operators.
    softmax : mapping of the softmax.
    """

    kinds: ClassVar[tuple[str, ...]] = ("attention",)

    logit: CompiledDataflow | None = None
    softmax: Streamed | None = None
    attend: CompiledDataflow | None = None

    def parts(self, op: Op, acc: Accelerator) -> dict[str, Part]:
        assert isinstance(op, Attention)
        check_equal_lengths(op, "unfused")
        logit, softmax, attend = parts(op)
        useful = op.scores / (softmax.rows * softmax.cols)  # no mask hides these
        return {
            "logit": Part(logit, _forms(self.logit, acc), useful),
            "softmax": Part(softmax, (self.softmax or Streamed(),)),
            "attend": Part(attend, _forms(self.attend, acc), useful),
        }


register_dataflow("unfused", Unfused)


def parts(op: Attention) -> tuple[Gemm, Softmax, Gemm]:
    """The three operators: query heads that share keys are rows of one product.

    A mask saves them nothing, but keys that no query sees are left out.
    """
    groups, rows = op.batch * op.kv_heads, op.q_len * op.heads // op.kv_heads
    return (
        Gemm(rows, op.seen_keys, op.head_dim, groups, op.dtype, "logit", weights=False, weight_dtype=op.read_dtype),
        Softmax(groups * rows, op.seen_keys, op.dtype, "softmax"),
        Gemm(rows, op.value_dim, op.seen_keys, groups, op.dtype, "attend", weights=False, weight_dtype=op.read_dtype),
    )


def _forms(given: CompiledDataflow | None, acc: Accelerator) -> tuple[Dataflow, ...]:
    """The given mapping, else all stationary forms on a systolic array and thread blocks on tensor cores."""
    if given is not None:
        return (given,)
    return tuple(form() for form in FORMS.values()) if acc.matrix_unit.kind == "systolic" else (default_gemm(acc),)

"""Un-fused attention: Logit, softmax and Attend as three programs, scores to main memory and back in between.

Source: the baseline of FLAT (Kao et al., ASPLOS 2023; FLEX when every part is searched on its own).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from accsim.config.machine import Accelerator
from accsim.mapping.base import Dataflow, Step, register_dataflow
from accsim.mapping.compiled import CompiledDataflow
from accsim.mapping.gemm import FORMS, default_gemm
from accsim.mapping.search import search
from accsim.mapping.vector import Streamed
from accsim.workload.ops import Attention, Gemm, Op, Softmax


@dataclass(frozen=True)
class Unfused(Dataflow):
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

    def candidates(self, op: Op, acc: Accelerator, objective: str) -> Sequence[Unfused]:
        assert isinstance(op, Attention)
        logit, softmax, attend = parts(op)
        streamed = search(self.softmax or Streamed(), softmax, acc, objective).mapping
        assert isinstance(streamed, Streamed)
        return (
            Unfused(
                self.logit or best_form(logit, acc, objective),
                streamed,
                self.attend or best_form(attend, acc, objective),
            ),
        )

    def steps(self, op: Op, acc: Accelerator) -> tuple[Step, ...]:
        assert isinstance(op, Attention)
        whole = self if self.logit and self.softmax and self.attend else self.candidates(op, acc, "latency")[0]
        assert whole.logit is not None
        assert whole.softmax is not None
        assert whole.attend is not None
        logit, softmax, attend = parts(op)
        useful = op.scores / (softmax.rows * softmax.cols)
        found = [replace(step, useful=useful) for step in whole.logit.steps(logit, acc)]
        found += whole.softmax.steps(softmax, acc)
        found += [replace(step, useful=useful) for step in whole.attend.steps(attend, acc)]
        return tuple(found)


register_dataflow("unfused", Unfused)


def parts(op: Attention) -> tuple[Gemm, Softmax, Gemm]:
    """The three operators: query heads that share keys are rows of one product.

    A mask saves them nothing, but keys that no query sees are left out.
    """
    groups, rows = op.batch * op.kv_heads, op.q_len * op.heads // op.kv_heads
    return (
        Gemm(rows, op.seen_keys, op.head_dim, groups, op.dtype, "logit", weights=False),
        Softmax(groups * rows, op.seen_keys, op.dtype, "softmax"),
        Gemm(rows, op.value_dim, op.seen_keys, groups, op.dtype, "attend", weights=False),
    )


def best_form(op: Gemm, acc: Accelerator, objective: str) -> CompiledDataflow:
    """The best stationary form on a systolic array, thread blocks on tensor cores; everything searched."""
    forms = [form() for form in FORMS.values()] if acc.matrix_unit.kind == "systolic" else [default_gemm(acc)]
    best = min((search(form, op, acc, objective) for form in forms), key=lambda found: found.cost).mapping
    assert isinstance(best, CompiledDataflow)
    return best

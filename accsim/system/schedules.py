"""How the halves of a training step run: in turn, side by side, or across steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from accsim.system.halves import pipelined
from accsim.system.legs import EmbeddingLegs
from accsim.system.runs import Run, Span, in_turn, together


class Parts(NamedTuple):
    """What is there to be scheduled."""

    embedding: EmbeddingLegs
    dense: Mapping[str, Run]
    all_reduce: Run

    def turn(self, *names: str) -> Run:
        """Segments of the dense half one after the other, the sum over chips among them."""
        runs = {**self.dense, "all_reduce": self.all_reduce}
        return in_turn(", ".join(names), [runs[name] for name in names])

    def forward(self) -> Run:
        """Stacks through ids, lookup and vectors."""
        return pipelined(self.embedding.forward, self.embedding.stacks)

    def backward(self) -> Run:
        """Stacks back through gradients and update."""
        return pipelined(self.embedding.backward, self.embedding.stacks)


def _serial(step: Parts) -> list[Span]:
    """One thing after the other."""
    forward, backward = ([leg.alone for leg in legs] for legs in (step.embedding.forward, step.embedding.backward))
    return [together(run) for run in (*forward, *step.dense.values(), step.all_reduce, *backward)]


def _overlapped(step: Parts) -> list[Span]:
    """What needs no vector runs beside the lookups, and what needs no gradient of one beside their update."""
    return [
        together(step.forward(), step.turn("bottom")),
        together(step.turn("top", "top_backward")),
        together(step.backward(), step.turn("bottom_backward", "all_reduce", "dense_update")),
    ]


def _pipelined(step: Parts) -> list[Span]:
    """The embedding half beside the dense half of the step before."""
    dense = step.turn("bottom", "top", "top_backward", "bottom_backward", "all_reduce", "dense_update")
    return [together(in_turn("embedding", [step.forward(), step.backward()]), dense)]


SCHEDULES: Final[Mapping[str, Callable[[Parts], list[Span]]]] = {
    "serial": _serial,
    "overlapped": _overlapped,
    "pipelined": _pipelined,
}
"""How the halves of a step run: one thing after the other; side by side where one needs nothing of the other; or the
embedding half of a step beside the dense half of the one before, whose tables are then read a step late."""

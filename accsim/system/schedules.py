"""How the halves of a training step run: in turn, side by side, or across steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from accsim.system.halves import Leg, pipelined
from accsim.system.runs import Run, Span, in_turn, together


class Parts(NamedTuple):
    """What is there to be scheduled."""

    forward: tuple[Leg, ...]
    backward: tuple[Leg, ...]
    dense: Mapping[str, Run]
    all_reduce: Run
    stacks: int

    def turn(self, *names: str) -> Run:
        """Segments of the dense half one after the other, the sum over chips among them."""
        runs = {**self.dense, "all_reduce": self.all_reduce}
        return in_turn(", ".join(names), [runs[name] for name in names])


def _serial(step: Parts) -> list[Span]:
    """One thing after the other."""
    dense, legs = step.dense, [*(leg.alone for leg in step.forward), *(leg.alone for leg in step.backward)]
    runs = [*legs[:3], *dense.values(), step.all_reduce, *legs[3:]]
    return [together(run) for run in runs]


def _overlapped(step: Parts) -> list[Span]:
    """What needs no vector runs beside the lookups, and what needs no gradient of one beside their update."""
    return [
        together(pipelined(step.forward, step.stacks), step.turn("bottom")),
        together(step.turn("top", "top_backward")),
        together(pipelined(step.backward, step.stacks), step.turn("bottom_backward", "all_reduce", "dense_update")),
    ]


def _pipelined(step: Parts) -> list[Span]:
    """The embedding half beside the dense half of the step before."""
    halves = [pipelined(legs, step.stacks) for legs in (step.forward, step.backward)]
    dense = step.turn("bottom", "top", "top_backward", "bottom_backward", "all_reduce", "dense_update")
    return [together(in_turn("embedding", halves), dense)]


SCHEDULES: Final[Mapping[str, Callable[[Parts], list[Span]]]] = {
    "serial": _serial,
    "overlapped": _overlapped,
    "pipelined": _pipelined,
}
"""How the halves of a step run: one thing after the other; side by side where one needs nothing of the other; or the
embedding half of a step beside the dense half of the one before, whose tables are then read a step late."""

"""A step of which all is settled but the number of stacks and the clock, and how these are chosen."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from accsim.config.machine import Accelerator
from accsim.embedding.placement import Placement
from accsim.embedding.work import StepWork
from accsim.engine.power import within_cap
from accsim.system.cut import cut
from accsim.system.dense import Dense
from accsim.system.ids import input_run
from accsim.system.legs import Links, embedding_legs, links_of
from accsim.system.schedules import SCHEDULES, Parts
from accsim.system.slices import Slice
from accsim.system.step import StepReport
from accsim.system.sums import sum_over_chips
from accsim.workload.embeddings import EmbeddingSet
from accsim.workload.trace import Workload

STACKS: Final = (1, 2, 4, 8, 16, 32, 64)
"""Stacks of features that may go through lookups and links one behind the other. Some 5 to 100 are advised (OpenXLA
documentation, "A deep dive into SparseCore"): more hide more of the links' time, and each has its fixed costs."""
FIRST_STACKS: Final = 8
"""Stacks with which plans are compared."""
ALIKE: Final = 1e-3
"""Part by which steps may differ and count as equally fast; of them, that with least to do for embeddings is best."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A step on a slice; fields are those of `StepReport`."""

    slice: Slice
    workload: Workload
    embeddings: EmbeddingSet
    samples: int
    placement: Placement
    schedule: str
    where: str
    work: StepWork
    dense: Dense

    @cached_property
    def links(self) -> Links:
        """What chips send each other."""
        return links_of(self.slice, self.work)

    @property
    def stacks(self) -> list[int]:
        """Numbers of stacks to choose from: from those that tables make to as many as features."""
        least, most = len(self.work.stacks), sum(stack.features for stack in self.work.stacks)
        return sorted({min(max(count, least), most) for count in STACKS})

    def run(self, stacks: int) -> StepReport:
        """The step with so many stacks."""
        on, where = self.slice, self.where
        legs = embedding_legs(on, cut(self.work, stacks), where, self.links)
        gradients = sum_over_chips("all_reduce", on, self.dense.gradient_bytes)
        spans = tuple(SCHEDULES[self.schedule](Parts(legs, self.dense.segments, gradients.alone)))
        return StepReport(
            on, self.workload, self.embeddings, self.samples, self.placement, self.schedule, where, self.work, legs,
            self.dense, gradients, spans, input_run(on, self.work, where),
        )  # fmt: skip

    def at(self, chip: Accelerator) -> Plan:
        """The same with all chips at another clock."""
        return replace(self, slice=replace(self.slice, chip=chip), dense=self.dense.at(chip))


def fastest(plans: Sequence[Plan], *, power_cap: bool = True) -> StepReport:
    """The fastest step of several plans, by the number of stacks with which it is fastest, within the power cap."""
    compared = [(plan, plan.run(FIRST_STACKS)) for plan in plans]
    least = min(step.step_s for _, step in compared)
    alike = [(plan, step) for plan, step in compared if step.step_s <= (1 + ALIKE) * least]
    plan, first = min(alike, key=lambda one: one[1].embedding_s)
    others = [_best_stacks(other, run) for other, run in compared if other.placement is not plan.placement]
    step = _best_stacks(plan, first).beside(others)
    if not power_cap:
        return step
    stacks = step.embedding.stacks
    run, cap = within_cap(plan.slice.chip, step, lambda chip: plan.at(chip).run(stacks))
    return replace(run, cap=cap, other_placements_s=step.other_placements_s)


def _best_stacks(plan: Plan, first: StepReport) -> StepReport:
    """The step with more stacks, or with fewer, as long as that is faster.

    More stacks hide more and cost more, so a number beyond one that does not gain does not either.
    """
    counts, best = plan.stacks, first
    at = bisect_left(counts, first.embedding.stacks)
    for more in (counts[at + 1 :], counts[:at][::-1]):
        for count in more:
            step = plan.run(count)
            if step.step_s >= best.step_s:
                break
            best = step
        if best is not first:
            break
    return best

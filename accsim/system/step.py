"""A training step of a recommendation model on a slice: its halves, how they overlap, and what binds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from typing import Any

from accsim.config.frozen import FrozenDict
from accsim.embedding.placement import Placement
from accsim.embedding.work import StepWork
from accsim.engine.power import PowerCap
from accsim.report.tables import cap_dict
from accsim.report.terminal import printed
from accsim.report.words import si
from accsim.system.dense import Dense
from accsim.system.halves import Leg
from accsim.system.legs import EmbeddingLegs
from accsim.system.memory import Outside, outside, step_bytes, table_bytes
from accsim.system.placement_words import placement_words
from accsim.system.runs import Run, Span, dynamic_j, summed, together
from accsim.system.slices import Slice
from accsim.system.unit_share import UnitShare, unit_share
from accsim.workload.embeddings import EmbeddingSet
from accsim.workload.trace import Workload


@dataclass(frozen=True, eq=False, repr=False)
class StepReport:
    """Result of a training step of a recommendation model on a slice; times in seconds, energy and memory of one chip.

    Attributes
    ----------
    samples
        Of the whole batch.
    where
        What looks rows up: ``sparse_core``, or one of the alternatives.
    work
        Counts of the embedding half, by dedup and placement.
    embedding
        Parts of the embedding half, each alone, and the stacks that go through them.
    dense
        The dense half.
    gradient_sum
        Sum of the dense gradients over all chips.
    spans
        What runs at once.
    input
        Ids of the next step on their way to the chip, beside all spans.
    cap
        What the machine's power cap did; None without one.
    other_placements_s
        Placement of tables that was tried too -> time of its fastest step.
    """

    slice: Slice
    workload: Workload
    embeddings: EmbeddingSet
    samples: int
    placement: Placement
    schedule: str
    where: str
    work: StepWork
    embedding: EmbeddingLegs
    dense: Dense
    gradient_sum: Leg
    spans: tuple[Span, ...]
    input: Run
    cap: PowerCap | None = None
    other_placements_s: Mapping[str, float] = field(default_factory=FrozenDict)

    @cached_property
    def whole(self) -> Span:
        """What runs one after the other, and the next step's ids beside it."""
        busy = summed(run.busy_s for span in self.spans for run in span.runs)
        path = summed(span.path_s for span in self.spans)
        return together(Run("step", sum(span.time_s for span in self.spans), busy, path), self.input)

    @property
    def step_s(self) -> float:
        """Time of a step: until both have ended."""
        return self.whole.time_s

    @property
    def latency_s(self) -> float:
        """The same."""
        return self.step_s

    @property
    def total_cycles(self) -> float:
        """The same in cycles of the chip's clock."""
        return self.step_s * self.slice.chip.clock_hz

    @property
    def samples_per_s(self) -> float:
        """Of all chips."""
        return self.samples / self.step_s

    @cached_property
    def critical_path_s(self) -> dict[str, float]:
        """What binds -> seconds, largest first; sums to `step_s`."""
        found = self.whole.path_s
        return {cause: found[cause] for cause in sorted(found, key=lambda cause: -found[cause])}

    @property
    def bound_by(self) -> str:
        """The largest entry of the critical path."""
        return next(iter(self.critical_path_s))

    @property
    def utilization(self) -> dict[str, float]:
        """Resource -> busy time over the step."""
        busy = summed(run.busy_s for run in self.whole.runs)
        return {name: seconds / self.step_s for name, seconds in busy.items()}

    @property
    def legs(self) -> tuple[Leg, ...]:
        """Parts of the embedding half."""
        return (*self.embedding.forward, *self.embedding.backward)

    @property
    def all_reduce(self) -> Run:
        """The sum of the dense gradients over all chips, alone."""
        return self.gradient_sum.alone

    @property
    def parts_s(self) -> dict[str, float]:
        """Part of the step -> what it takes alone; its ids have come before."""
        found = {leg.name: leg.alone_s for leg in self.legs}
        found |= {name: run.time_s for name, run in self.dense.segments.items()}
        return found | {"all_reduce": self.all_reduce.time_s}

    @property
    def embedding_s(self) -> float:
        """Embedding half alone, with nothing else beside it and its legs one after the other."""
        return sum(leg.alone_s for leg in self.legs)

    @property
    def dense_s(self) -> float:
        """Dense half alone, without its all-reduce."""
        return sum(run.time_s for run in self.dense.segments.values())

    @property
    def placed(self) -> str:
        """How tables lie on the slice, in words."""
        return placement_words(self.placement, self.embeddings)

    @property
    def choices(self) -> str:
        """What was chosen or given, in words."""
        return f"{self.placed}; dedup {self.work.dedup}; {self.schedule}; {self.where}"

    @cached_property
    def memory(self) -> dict[str, int]:
        """Bytes of a chip's main memory by what they are, of the fullest chip."""
        tables = table_bytes(self.embeddings, self.placement, self.where)
        return {**tables, **self.dense.held_bytes, **step_bytes(self.work, self.schedule)}

    @property
    def outside(self) -> Outside | None:
        """The tables in the memory of a host or a server; None where chips have them."""
        return outside(self.embeddings, self.placement, self.where, self.slice.chip)

    @property
    def fits(self) -> bool:
        """Whether they fit."""
        return sum(self.memory.values()) <= self.slice.chip.main_memory.capacity_bytes

    @property
    def link_bytes(self) -> float:
        """Bytes over links between chips, of a mean chip; they have no price."""
        return self.gradient_sum.link_bytes + sum(leg.link_bytes for leg in self.legs)

    @cached_property
    def embedding_energy_j(self) -> dict[str, float]:
        """Joules of one chip for the embedding half, by component, idle power apart."""
        return dynamic_j(self.slice.chip, summed(leg.actions for leg in self.legs))

    @cached_property
    def energy_breakdown_j(self) -> dict[str, float]:
        """Joules of one chip by component; links have no price."""
        chip = self.slice.chip
        runs = [*(run for span in self.spans for run in span.runs), self.input]
        return dynamic_j(chip, summed(run.actions for run in runs)) | {"idle": chip.power.idle_w * self.step_s}

    @property
    def energy_j(self) -> float:
        """Joules of one chip."""
        return sum(self.energy_breakdown_j.values())

    @property
    def power_w(self) -> float:
        """Average power of one chip."""
        return self.energy_j / self.step_s

    @property
    def unit_share(self) -> UnitShare | None:
        """Share of the embedding units in the chip; None where something else looks rows up."""
        return unit_share(self.slice.chip, self.where, self.embedding_energy_j, self.energy_j)

    def beside(self, tried: Iterable[StepReport]) -> StepReport:
        """The same, with the other placements among steps that were tried."""
        others: dict[str, float] = {}
        for step in tried:
            if step.placed != self.placed:
                others[step.placed] = min(step.step_s, others.get(step.placed, step.step_s))
        return replace(self, other_placements_s=others)

    def __repr__(self) -> str:
        step = f"a step of {self.workload.name} on {self.slice.name}"
        return f"<StepReport of {step}: {si(self.step_s, 's')}, bound by {self.bound_by}>"

    def __str__(self) -> str:
        from accsim.system.render import print_step

        return printed(lambda console: print_step(console, self))

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        share = self.unit_share
        return {
            "schema_version": 1,
            "slice": self.slice.name,
            "chips": self.slice.chips,
            "workload": self.workload.name,
            "parameters": dict(self.workload.parameters),
            "samples": self.samples,
            "where": self.where,
            "dedup": self.work.dedup,
            "placement": self.placed,
            "other_placements_s": dict(self.other_placements_s),
            "lookups": "trace" if self.work.counted else "statistics",
            "schedule": self.schedule,
            "stacks": self.embedding.stacks,
            "step_s": self.step_s,
            "samples_per_s": self.samples_per_s,
            "bound_by": self.bound_by,
            "parts_s": self.parts_s,
            "input_s": self.input.time_s,
            "critical_path_s": self.critical_path_s,
            "utilization": self.utilization,
            "memory_bytes": self.memory,
            "memory_capacity_bytes": self.slice.chip.main_memory.capacity_bytes,
            "fits": self.fits,
            "outside_memory": None if self.outside is None else self.outside._asdict(),
            "energy_j": self.energy_j,
            "energy_breakdown_j": self.energy_breakdown_j,
            "unpriced": {f"{self.slice.links}_bytes": self.link_bytes},
            "power_w": self.power_w,
            "power_cap": cap_dict(self.cap),
            "embedding_unit": None if share is None else share.to_dict(),
        }

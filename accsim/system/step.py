"""A training step of a recommendation model on a slice: its halves, how they overlap, and what binds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from accsim.config.frozen import FrozenDict
from accsim.embedding.placement import Placement
from accsim.embedding.work import StepWork
from accsim.system.dense import Dense
from accsim.system.halves import Leg
from accsim.system.placement_words import placement_words
from accsim.system.runs import Run, Span
from accsim.system.slices import Slice
from accsim.workload.embeddings import EmbeddingSet
from accsim.workload.trace import Workload


@dataclass(frozen=True, eq=False)
class StepReport:
    """Result of a training step of a recommendation model on a slice; times in seconds, energy of one chip.

    Attributes
    ----------
    samples
        Of the whole batch.
    where
        What looks rows up: ``sparse_core``, or one of the alternatives.
    work
        Counts of the embedding half, by dedup and placement.
    legs
        Parts of the embedding half, each alone.
    dense
        The dense half.
    all_reduce
        Sum of the dense gradients over all chips.
    spans
        What runs at once.
    embedding_energy_j
        Joules of a chip for the embedding half, by component, idle power apart.
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
    legs: tuple[Leg, ...]
    dense: Dense
    all_reduce: Run
    spans: tuple[Span, ...]
    embedding_energy_j: Mapping[str, float]
    other_placements_s: Mapping[str, float] = field(default_factory=FrozenDict)

    @property
    def step_s(self) -> float:
        """Time of a step."""
        return sum(span.time_s for span in self.spans)

    @property
    def latency_s(self) -> float:
        """The same."""
        return self.step_s

    @property
    def samples_per_s(self) -> float:
        """Of all chips."""
        return self.samples / self.step_s

    @cached_property
    def critical_path_s(self) -> dict[str, float]:
        """What binds -> seconds, largest first; sums to `step_s`."""
        found: dict[str, float] = {}
        for span in self.spans:
            for cause, seconds in span.path_s.items():
                found[cause] = found.get(cause, 0.0) + seconds
        return {cause: found[cause] for cause in sorted(found, key=lambda cause: -found[cause])}

    @property
    def bound_by(self) -> str:
        """The largest entry of the critical path."""
        return next(iter(self.critical_path_s))

    @property
    def utilization(self) -> dict[str, float]:
        """Resource -> busy time over the step."""
        busy: dict[str, float] = {}
        for span in self.spans:
            for run in span.runs:
                for name, seconds in run.busy_s.items():
                    busy[name] = busy.get(name, 0.0) + seconds
        return {name: seconds / self.step_s for name, seconds in busy.items()}

    @property
    def parts_s(self) -> dict[str, float]:
        """Part of the step -> what it takes alone."""
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

    @property
    def table_bytes(self) -> int:
        """Rows and optimizer state on the fullest chip."""
        return int(self.placement.held_bytes(self.embeddings).max())

    @property
    def energy_breakdown_j(self) -> dict[str, float]:
        """Joules of one chip by component; links have no price."""
        found = dict(self.dense.energy_j)
        for part, joules in self.embedding_energy_j.items():
            found[part] = found.get(part, 0.0) + joules
        return found | {"idle": self.slice.chip.power.idle_w * self.step_s}

    @property
    def energy_j(self) -> float:
        """Joules of one chip."""
        return sum(self.energy_breakdown_j.values())

    @property
    def power_w(self) -> float:
        """Average power of one chip."""
        return self.energy_j / self.step_s

    def beside(self, tried: Iterable[StepReport]) -> StepReport:
        """The same, with the other placements among steps that were tried."""
        others: dict[str, float] = {}
        for step in tried:
            if step.placed != self.placed:
                others[step.placed] = min(step.step_s, others.get(step.placed, step.step_s))
        return replace(self, other_placements_s=others)

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
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
            "schedule": self.schedule,
            "step_s": self.step_s,
            "samples_per_s": self.samples_per_s,
            "bound_by": self.bound_by,
            "parts_s": self.parts_s,
            "critical_path_s": self.critical_path_s,
            "utilization": self.utilization,
            "energy_j": self.energy_j,
            "energy_breakdown_j": self.energy_breakdown_j,
            "power_w": self.power_w,
        }

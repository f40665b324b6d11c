"""The dense half of a recommendation model's training step, on one chip: its network runs data-parallel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from accsim.config.compute_units import SystolicArray
from accsim.config.machine import Accelerator
from accsim.engine.program import TICKS_PER_CYCLE
from accsim.errors import InputError, Problem
from accsim.report.result import OpRow, Report
from accsim.report.simulate import run_again, simulate
from accsim.system.runs import Run, in_turn
from accsim.workload.backward import PREFIX, UPDATE, kept_bytes
from accsim.workload.catalogue import load_workload
from accsim.workload.embeddings import EmbeddingSet
from accsim.workload.ops import Gemm
from accsim.workload.trace import Entry, Workload

BOTTOM = "bottom."
"""Start of the names of what needs no embedding."""
TENSOR_CORE, CORES = "tensor_core", "cores"
"""What issues the dense half's ops one after the other, and so is held throughout, on systolic arrays and elsewhere."""
GRADIENT_BYTES = 4
"""Of a gradient that is summed over chips: fp32."""
MASTER_BYTES = 4
"""Of a weight as the update reads and writes it: fp32."""

SEGMENTS = ("bottom", "top", "top_backward", "bottom_backward", "dense_update")
"""Parts of the dense half in the order in which they run; top includes the interaction."""


@dataclass(frozen=True)
class Dense:
    """The dense half on one chip.

    Attributes
    ----------
    report
        Of a chip's share of the batch, one op after the other.
    """

    report: Report

    @cached_property
    def segments(self) -> dict[str, Run]:
        """What each part takes, by name."""
        rows = {name: row for row in self.report.ops for name in row.names}
        runs: dict[str, list[Run]] = {name: [] for name in SEGMENTS}
        for entry in self.report.workload.entries:
            runs[_segment(entry.name)].append(_run(rows[entry.name], entry.repeat, self.report))
        return {name: in_turn(name, each) for name, each in runs.items()}

    @cached_property
    def weights(self) -> int:
        """Parameters: those of the products of the forward pass."""
        return sum(
            entry.op.k * entry.op.n * entry.weight_sets
            for entry in self.report.workload.entries
            if isinstance(entry.op, Gemm) and entry.op.weights
        )

    @property
    def unit(self) -> str:
        """What the chip's cores are called."""
        return unit_of(self.report.accelerator)

    @property
    def gradient_bytes(self) -> int:
        """Bytes that an all-reduce sums in a step."""
        return GRADIENT_BYTES * self.weights

    @cached_property
    def held_bytes(self) -> dict[str, int]:
        """Bytes of a chip's main memory by what they are.

        Weights as products read them; for the update weights and gradients in fp32; what the backward pass reads of the
        forward pass, and the tensors of its largest op.
        """
        entries = self.report.workload.entries
        largest = max(_tensor_bytes(entry) for entry in entries if not entry.name.startswith(UPDATE))
        forward = [entry for entry in entries if not entry.name.startswith((PREFIX, UPDATE))]
        return {
            "dense_weights": int(self.report.memory["weights"]),
            "fp32_weights_and_gradients": (MASTER_BYTES + GRADIENT_BYTES) * self.weights,
            "activations": kept_bytes(forward) + largest,
        }

    def at(self, chip: Accelerator) -> Dense:
        """The same ops, mapped alike, on the chip at another clock."""
        return Dense(run_again(self.report, chip))


def dense_half(name: str, settings: Mapping[str, object], chip: Accelerator, samples: int) -> Dense:
    """Simulate the dense half of a training step.

    Parameters
    ----------
    name, settings
        A recommendation model, and values of its file to replace.
    samples
        A chip's share of the batch.

    Raises
    ------
    InputError
        If it is none.
    """
    trace = load_workload(name, set={**settings, "part": "dense", "phase": "training", "batch": samples})
    return _simulated(trace, chip)


@lru_cache(maxsize=32)
def _simulated(trace: Workload, chip: Accelerator) -> Dense:
    """Steps that differ in their embeddings, their slice or their schedule have the same dense half."""
    return Dense(simulate(trace, chip, power_cap=False))


def _tensor_bytes(entry: Entry) -> int:
    return entry.op.input_bytes + entry.op.output_bytes


def _segment(name: str) -> str:
    if name.startswith(UPDATE):
        return "dense_update"
    if name.startswith(PREFIX):
        return "bottom_backward" if name.startswith(PREFIX + BOTTOM) else "top_backward"
    return "bottom" if name.startswith(BOTTOM) else "top"


def unit_of(chip: Accelerator) -> str:
    """What a chip's cores are called: on TPUs TensorCores."""
    return TENSOR_CORE if isinstance(chip.matrix_unit, SystolicArray) else CORES


def _run(row: OpRow, times: int, report: Report) -> Run:
    """An op done so many times; of a resource, the average of its servers works."""
    totals = row.totals
    each = times / TICKS_PER_CYCLE / report.clock_hz
    busy = {name: ticks / totals.servers[name] * each for name, ticks in totals.busy.items()}
    path = {cause: ticks * each for cause, ticks in totals.critical_path.items()}
    actions = {action: times * count for action, count in row.actions.items()}
    time = totals.total_ticks * each
    return Run(row.label, time, {unit_of(report.accelerator): time, **busy}, path, actions)


def model_tables(work: Workload, given: EmbeddingSet | None) -> EmbeddingSet:
    """The embedding tables of a recommendation model, or those that are given in their place.

    Raises
    ------
    InputError
        If the model has none, or its interaction does not take the vectors of those that are given.
    """
    if work.embeddings is None:
        message = f"'{work.name}' has no embedding tables, allowed on a slice are recommendation models (dlrm)"
        raise InputError(message)
    if given is None:
        return work.embeddings
    features, width = work.embeddings.feature_count, int(work.hyperparameters["embedding_dim"])
    allowed = f"allowed are {features} features of width {width}, which the interaction of {work.name} takes"
    problems = [
        Problem("embeddings", table.name, f"read a width of {table.width}, {allowed}")
        for table in given.tables
        if table.width != width
    ]
    if given.feature_count != features:
        problems.append(Problem("embeddings", "features", f"read {given.feature_count}, {allowed}"))
    if problems:
        raise InputError(problems)
    return given

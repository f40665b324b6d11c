"""The dense half of a recommendation model's training step, on one chip: its network runs data-parallel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accsim.config.compute_units import SystolicArray
from accsim.config.machine import Accelerator
from accsim.engine.energy import energy_of, price_list
from accsim.engine.program import TICKS_PER_CYCLE
from accsim.errors import InputError
from accsim.report.result import OpRow, Report
from accsim.report.simulate import simulate
from accsim.system.runs import Run, in_turn
from accsim.workload.backward import PREFIX, UPDATE
from accsim.workload.catalogue import load_workload
from accsim.workload.embeddings import EmbeddingSet
from accsim.workload.ops import Gemm
from accsim.workload.trace import Workload

BOTTOM = "bottom."
"""Start of the names of what needs no embedding."""
TENSOR_CORE, CORES = "tensor_core", "cores"
"""What issues the dense half's ops one after the other, and so is held throughout, on systolic arrays and elsewhere."""
GRADIENT_BYTES = 4
"""Of a gradient that is summed over chips: fp32."""

SEGMENTS = ("bottom", "top", "top_backward", "bottom_backward", "dense_update")
"""Parts of the dense half in the order in which they run; top includes the interaction."""


@dataclass(frozen=True)
class Dense:
    """The dense half on one chip.

    Attributes
    ----------
    report
        Of a chip's share of the batch, one op after the other.
    segments
        What each part takes, by name.
    weights
        Parameters.
    """

    report: Report
    segments: Mapping[str, Run]
    weights: int

    @property
    def unit(self) -> str:
        """What the chip's cores are called."""
        return unit_of(self.report.accelerator)

    @property
    def gradient_bytes(self) -> int:
        """Bytes that an all-reduce sums in a step."""
        return GRADIENT_BYTES * self.weights

    @property
    def held_bytes(self) -> int:
        """Bytes of a chip's main memory that weights and the largest op's tensors take."""
        memory = self.report.memory
        return int(memory["weights"] + memory["activations"])

    @property
    def energy_j(self) -> Mapping[str, float]:
        """Joules of a chip by component, idle power apart."""
        prices = price_list(self.report.accelerator)
        spent = dict(energy_of(self.report.actions, prices, 0.0, self.report.latency_s).breakdown_j)
        del spent["idle"]
        return spent


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
    report = simulate(trace, chip, power_cap=False)
    rows = {name: row for row in report.ops for name in row.names}
    runs: dict[str, list[Run]] = {name: [] for name in SEGMENTS}
    for entry in trace.entries:
        runs[_segment(entry.name)].append(_run(rows[entry.name], entry.repeat, report))
    return Dense(report, {name: in_turn(name, each) for name, each in runs.items()}, _weights(trace))


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
    time = totals.total_ticks * each
    return Run(row.label, time, {unit_of(report.accelerator): time, **busy}, path)


def _weights(trace: Workload) -> int:
    """Parameters of the products of the forward pass."""
    return sum(
        entry.op.k * entry.op.n * entry.weight_sets
        for entry in trace.entries
        if isinstance(entry.op, Gemm) and entry.op.weights
    )


def model_tables(work: Workload) -> EmbeddingSet:
    """The embedding tables of a recommendation model.

    Raises
    ------
    InputError
        If it is none.
    """
    if work.embeddings is None:
        message = f"'{work.name}' has no embedding tables, allowed on a slice are recommendation models (dlrm)"
        raise InputError(message)
    return work.embeddings

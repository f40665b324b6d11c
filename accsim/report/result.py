"""The report of a simulation: what it took, why, and what it moved. Frozen, printable, comparable, picklable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from accsim.config.machine import Accelerator
from accsim.engine.compose import Part, Totals, in_sequence
from accsim.engine.counters import Event
from accsim.engine.energy import Energy
from accsim.engine.inner import compute_ticks
from accsim.engine.power import PowerCap
from accsim.engine.program import TICKS_PER_CYCLE
from accsim.mapping.base import Dataflow, Step
from accsim.mapping.format_run import matrix_dtype
from accsim.mapping.found import Found
from accsim.mapping.goal import Goal
from accsim.mapping.sparse_run import sparsity_told, stored_weight_bytes
from accsim.report import views
from accsim.report.formats import formats_told
from accsim.report.words import si
from accsim.workload.ops import Attention, Gemm, Op
from accsim.workload.trace import Workload

if TYPE_CHECKING:
    from accsim.report.runner_up import RunnerUp

SCHEMA_VERSION = 1


def _cached_bytes(op: Op) -> int:
    """Bytes of keys and values that an attention reads from the KV cache, see :attr:`Report.memory`."""
    return op.cached_bytes if isinstance(op, Attention) and (op.causal or op.kv_len != op.q_len) else 0


def _activation_bytes(op: Op) -> int:
    """Bytes of inputs and outputs that do not lie in the KV cache; keys and values made from a latent do not."""
    made = isinstance(op, Attention) and op.latent_dim is not None
    return op.input_bytes + op.output_bytes - (0 if made else _cached_bytes(op))


@dataclass(frozen=True)
class OpRow:
    """One distinct op of a trace, simulated once.

    Attributes
    ----------
    count : how often the trace has it; times, actions and energy here are of one.
    names : its names in the trace.
    found : the mapping that the search chose, and those that lost.
    steps, parts : the mapping's programs, and their counters.
    actions : counts of one run of the op, all copies.
    early : stages whose first firing was done while the op before ran (``prefetch_weights``); ``steps`` are the
        mapping's programs, in which it is not.
    """

    op: Op
    count: int
    names: tuple[str, ...]
    found: Found
    steps: tuple[Step, ...]
    parts: tuple[Part, ...]
    actions: Mapping[str, float]
    energy: Energy
    early: tuple[str, ...] = ()

    @property
    def mapping(self) -> Dataflow:
        """The complete mapping."""
        return self.found.mapping

    @property
    def searched(self) -> int:
        """Mappings the search chose from."""
        return self.found.points

    @property
    def label(self) -> str:
        """First of its names, with a mark on a row whose first weights were early."""
        return f"{self.names[0]} (weights early)" if self.early else self.names[0]

    @cached_property
    def totals(self) -> Totals:
        """Sums over the op's programs."""
        return in_sequence(self.parts)

    @property
    def ticks(self) -> int:
        """Ticks of one run of the op, overheads included."""
        return self.totals.total_ticks

    @property
    def power_w(self) -> float:
        """Average power while the op runs."""
        return self.energy.power_w

    @property
    def bound_by(self) -> str:
        """Largest entry of the op's critical path, ``"resource/why"``."""
        path = self.totals.critical_path
        return max(path, key=lambda key: path[key], default="")


@dataclass(frozen=True, repr=False)
class Report:
    """Result of :func:`accsim.simulate`. Cycles are of the clock it ran at, unrounded; utilizations are 0 to 1.

    Attributes
    ----------
    accelerator : the machine at the clock it ran at.
    cap : what the power cap did; None without one.
    """

    accelerator: Accelerator
    workload: Workload
    ops: tuple[OpRow, ...]
    goal: Goal
    fidelity: str
    dataflow: Dataflow | str | None = None
    cap: PowerCap | None = None
    prefetch_weights: bool = False

    @property
    def objective(self) -> str:
        """What the search minimized."""
        return self.goal.objective

    @property
    def machine(self) -> Accelerator:
        """The machine as it is described, at its full clock."""
        return self.accelerator if self.cap is None else self.cap.machine

    @property
    def clock_hz(self) -> float:
        """The clock it ran at."""
        return self.accelerator.clock_hz

    @cached_property
    def _totals(self) -> Totals:
        return in_sequence(replace(p, times=p.times * row.count) for row in self.ops for p in row.parts)

    @property
    def total_cycles(self) -> float:
        """Time of the whole trace in cycles."""
        return self._totals.total_ticks / TICKS_PER_CYCLE

    @property
    def latency_s(self) -> float:
        """Time of the whole trace in seconds."""
        return self.total_cycles / self.clock_hz

    @property
    def energy_breakdown_j(self) -> dict[str, float]:
        """Joules by component: memories, ``mac``, ``vector``, ``idle``; nominal prices."""
        total: dict[str, float] = {}
        for row in self.ops:
            for part, joules in row.energy.breakdown_j.items():
                total[part] = total.get(part, 0.0) + joules * row.count
        return total

    @property
    def energy_j(self) -> float:
        """Sum of the energy breakdown."""
        return sum(self.energy_breakdown_j.values())

    @property
    def energy_range_j(self) -> tuple[float, float]:
        """Energy at the energy table's low and high prices."""
        return (
            sum(row.energy.low_j * row.count for row in self.ops),
            sum(row.energy.high_j * row.count for row in self.ops),
        )

    @property
    def power_w(self) -> float:
        """Average power: energy over time."""
        return self.energy_j / self.latency_s if self.latency_s else 0.0

    @property
    def area_mm2(self) -> float | None:
        """Area of the chip; None where its file has none and not all of its parts have one."""
        return self.accelerator.area_mm2

    @property
    def area_breakdown_mm2(self) -> dict[str, float]:
        """Area of each part of the chip that is known: units, memories by name, the ``rest`` of a given die."""
        return self.accelerator.area_breakdown_mm2

    @property
    def utilization(self) -> dict[str, float]:
        """Resource -> busy time over total time."""
        totals = self._totals
        return {name: ticks / max(1, totals.available[name]) for name, ticks in totals.busy.items()}

    @property
    def actions(self) -> dict[str, float]:
        """Counts of every action over the whole trace, all copies."""
        return dict(self._totals_actions)

    @cached_property
    def _totals_actions(self) -> dict[str, float]:
        total: dict[str, float] = {}
        for row in self.ops:
            for action, count in row.actions.items():
                total[action] = total.get(action, 0.0) + count * row.count
        return total

    @property
    def macs(self) -> int:
        """Useful multiply-accumulates of the workload."""
        return self.workload.macs

    @property
    def mapping_utilization(self) -> float:
        """Useful MACs over those of all processing elements in the matrix units' steady cycles."""
        return self._share_of("pe_steady_cycles")

    @property
    def array_utilization(self) -> float:
        """Useful MACs over those of all processing elements while the units compute, fill and drain included."""
        return self._share_of("pe_busy_cycles")

    def _share_of(self, action: str) -> float:
        cycles = self._totals_actions.get(action, 0.0)
        return self.workload.macs_effectual / cycles if cycles else 0.0

    @property
    def overall_utilization(self) -> float:
        """Useful MACs over the peak of the whole time.

        An op in a data type that the matrix unit does not have, and so without MACs, counts at the highest peak of
        those that have some.
        """
        acc = self.accelerator
        dtypes = [matrix_dtype(row.op, acc) for row in self.ops]
        peaks = [acc.peak_macs_per_s(dtype) if dtype in acc.matrix_unit.rates else None for dtype in dtypes]
        others = max((peak or 0.0 for peak, row in zip(peaks, self.ops, strict=True) if row.op.macs), default=0.0)
        whole = sum(
            (others if peak is None else peak) * row.count * row.ticks
            for peak, row in zip(peaks, self.ops, strict=True)
        )
        return self.workload.macs_effectual / (whole / TICKS_PER_CYCLE / self.clock_hz) if whole else 0.0

    @property
    def compute_cycles(self) -> float:
        """Matrix-unit cycles with fill and drain, no stalls: busy time plus what a stretch pays once.

        Of a pool whose tiles differ, the average of its servers.
        """
        return sum(
            row.count * compute_ticks(step.program, part.counters) / TICKS_PER_CYCLE
            for row in self.ops
            for step, part in zip(row.steps, row.parts, strict=True)
        )

    @property
    def critical_path(self) -> dict[str, float]:
        """``"resource/why"`` -> cycles; sums to `total_cycles`."""
        path = self._totals.critical_path
        return {key: path[key] / TICKS_PER_CYCLE for key in sorted(path, key=lambda key: -path[key])}

    @property
    def bound_by(self) -> str:
        """Largest entry of the critical path."""
        return next(iter(self.critical_path), "")

    @property
    def stalls(self) -> dict[str, dict[str, float]]:
        """Resource -> cause -> cycles it stood waiting, the average of its servers."""
        totals = self._totals
        return {
            resource: {cause: ticks / totals.servers[resource] / TICKS_PER_CYCLE for cause, ticks in causes.items()}
            for resource, causes in totals.stalls.items()
        }

    @property
    def traffic_bytes(self) -> dict[str, dict[str, float]]:
        """Memory -> bytes leaving it (``read``) and entering it (``write``), from the array outward."""
        counts = self._totals_actions
        return {
            memory.name: {way: counts.get(f"{way}.{memory.name}", 0.0) for way in ("read", "write")}
            for memory in self.accelerator.memories
        }

    @property
    def memory(self) -> dict[str, Any]:
        """Main memory: bytes of weights, tables, KV cache and the largest op's activations; capacity; whether it fits.

        The KV cache is what a decoder keeps for the tokens to come: keys and values of every causal attention, and of
        every attention with another number of keys than queries, since they are of other tokens than the queries:
        earlier ones (decode), or those of an encoder (cross-attention). As many keys as queries without a mask are
        taken for an encoder's own, which it does not keep. Sparse weights that run in a mode of the matrix unit are
        stored compressed. Tables are those that only lookups read.
        """
        entries = self.workload.entries
        weights = sum(stored_weight_bytes(entry.op, self.accelerator) * entry.weight_sets for entry in entries)
        kv_cache = sum(_cached_bytes(row.op) * row.count for row in self.ops)
        activations = max((_activation_bytes(row.op) for row in self.ops), default=0)
        held = {
            "weights": weights,
            "tables": self.workload.table_bytes,
            "kv_cache": kv_cache,
            "activations": activations,
        }
        capacity = self.accelerator.main_memory.capacity_bytes
        return {**held, "needed": sum(held.values()), "capacity": capacity, "fits": sum(held.values()) <= capacity}

    @property
    def occupancy(self) -> dict[str, dict[str, float]]:
        """Buffer (``"op.buffer"``, ``"op.pool.buffer"``) -> average and peak share of its slots in use."""
        found = {}
        for row in self.ops:
            for part in row.parts:
                for name, use in part.counters.occupancy.items():
                    whole = max(1, part.counters.total_ticks) * use.reserved * use.copies
                    found[f"{row.label}.{name}"] = {
                        "average": use.slot_ticks / whole,
                        "peak": use.peak / use.reserved,
                    }
        return found

    @property
    def mapping(self) -> dict[str, Dataflow]:
        """Op name -> its complete mapping."""
        return {row.names[0]: row.mapping for row in self.ops}

    @property
    def sparsity(self) -> dict[str, str]:
        """Name of each op with a pattern -> how it runs, in which mode, or dense, and why; how C is stored."""
        products = {row.names[0]: row.op for row in self.ops if isinstance(row.op, Gemm)}
        told = {name: sparsity_told(op, self.accelerator) for name, op in products.items()}
        return {name: reason for name, reason in told.items() if reason}

    @property
    def formats(self) -> dict[str, str]:
        """Name of each op with data types that are not one of the matrix unit -> what is done to them."""
        told = {row.names[0]: formats_told(row.op, self.accelerator) for row in self.ops}
        return {name: reason for name, reason in told.items() if reason}

    @cached_property
    def runners_up(self) -> dict[str, tuple[RunnerUp, ...]]:
        """Op name -> the best other mapping, then the best of every other dataflow tried, each with why it lost.

        Their programs are run when this is first asked for.
        """
        from accsim.report.runner_up import runners_up

        return {row.names[0]: runners_up(self, row) for row in self.ops}

    @property
    def ops_with_early_weights(self) -> int:
        """How many ops of the trace found their first weight tile loaded while the op before ran."""
        return sum(row.count for row in self.ops if row.early)

    @property
    def trust(self) -> str:
        """How far the machine's numbers are to be trusted: calibrated, transferred, or data_sheet."""
        return self.accelerator.trust

    @property
    def program(self) -> str:
        """The loop nests of all ops as text."""
        from accsim.report.nest import print_op

        return "\n\n".join(print_op(row) for row in self.ops)

    @property
    def events(self) -> dict[str, tuple[Event, ...]]:
        """Op name -> its event list, when it was asked for.

        Behind the firings of a program that has inner programs come those inside the ones that the first server of each
        pool runs, as ``"stage/inner stage"``.
        """
        return {row.label: event for row in self.ops for event in [sum((p.counters.events for p in row.parts), ())]}

    def __repr__(self) -> str:
        time, energy = si(self.latency_s, "s"), si(self.energy_j, "J")
        return f"<Report of {self.workload.name} on {self.machine.name}: {time}, {energy}, bound by {self.bound_by}>"

    # What can be done with a report; printed, it is as the command line shows it.
    __str__ = views.as_text
    _repr_html_ = views.as_html
    what_if = views.what_if
    diff = views.diff
    to_dict = views.to_dict
    to_frame = views.to_frame
    save = views.save
    trace_events = views.trace_events
    plot_roofline = views.plot_roofline
    plot_energy = views.plot_energy
    plot_utilization = views.plot_utilization
    plot_timeline = views.plot_timeline
    plot_buffers = views.plot_buffers

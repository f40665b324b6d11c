"""Points whose mappings are complete: lowered, bounded and run in blocks by the compiled entry of their dataflow.

The result is that of :func:`accsim.simulate` for each point, without attribution: ``bound_by`` is the resource that
works longest, and not why. Ops that the dataflow does not serve are mapped and run once for all points.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from accsim.config.machine import Accelerator
from accsim.engine.energy import energy_of, price_list
from accsim.kernels.matrix import TICKS
from accsim.mapping.by_length import by_length
from accsim.mapping.choose import choose
from accsim.mapping.compiled import CompiledDataflow, Placed, Points
from accsim.mapping.found import Found
from accsim.mapping.goal import Goal
from accsim.mapping.machine_numbers import overhead_ticks
from accsim.mapping.measured import Measured, measure
from accsim.report.simulate import run_mapped
from accsim.sweep.outcome import IntArray, Numbers, Outcome
from accsim.sweep.power_cap import within_caps
from accsim.sweep.roles import resources_of
from accsim.sweep.space import Space
from accsim.sweep.sums import Sums
from accsim.units import format_quantity
from accsim.workload.ops import Op
from accsim.workload.trace import Workload


@dataclass(frozen=True)
class _Served:
    """An op of the dataflow, how often it runs, and its points."""

    mapping: CompiledDataflow
    op: Op
    count: int
    placed: list[Placed]

    def measured(
        self, acc: Accelerator, wanted: npt.NDArray[np.bool_], fidelity: str
    ) -> Iterator[tuple[Measured, IntArray]]:
        """What the wanted points take, shape by shape, and their numbers."""
        for (variant, table), at in self.placed:
            rows = np.flatnonzero(wanted[at])
            if len(rows):
                yield measure(self.mapping, self.op, acc, Points(variant, table[rows]), fidelity), at[rows]


@dataclass(frozen=True)
class _Fixed:
    """An op that is the same at all points, with the mapping that was found for it."""

    op: Op
    count: int
    name: str
    found: Found


@dataclass(frozen=True)
class Job:
    """Points of one machine, workload and dataflow; ``columns`` are the numbers of choices in which they differ."""

    space: Space
    acc: Accelerator
    work: Workload
    mapping: CompiledDataflow
    columns: Mapping[str, IntArray]
    points: int

    @cached_property
    def served(self) -> list[_Served]:
        """The ops of the dataflow; nothing where one has to be split by lengths."""
        found = []
        for op, count in self.work.distinct_ops():
            if op.kind in self.mapping.kinds:
                if by_length(self.mapping, op) != (self.mapping,):
                    return []
                found.append(_Served(self.mapping, op, count, self.mapping.placed(op, self.acc, self.columns)))
        return found

    def ready(self) -> npt.NDArray[np.bool_]:
        """Whether each point is placed in every op of the dataflow."""
        found = np.full(self.points, bool(self.served))
        for one in self.served:
            mine = np.zeros(self.points, bool)
            for placed in one.placed:
                mine[placed.at] = True
            found &= mine
        return found

    def fixed(self) -> list[_Fixed]:
        """The other ops, mapped."""
        goal = Goal(self.space.objective, (), self.space.effort)
        names = {entry.op.key: entry.name for entry in reversed(self.work.entries)}
        found = []
        for op, count in self.work.distinct_ops():
            if op.kind not in self.mapping.kinds:
                named = replace(op, name=names[op])
                found.append(_Fixed(named, count, named.name, choose(named, self.acc, self.mapping, goal)))
        return found


def run_direct(job: Job, outcome: Outcome, at: IntArray) -> IntArray:
    """Run the points that leave nothing to search, write what they take, and return the places of the others.

    Parameters
    ----------
    at : int64[job.points], numbers of the points in ``outcome``.
    """
    ready = job.ready()
    if ready.any():
        _Run(job, job.served, job.fixed(), outcome, at).write(np.flatnonzero(ready))
    return np.flatnonzero(~ready)


@dataclass(frozen=True)
class _Run:
    """Points whose mappings are complete, and where their results go."""

    job: Job
    ops: list[_Served]
    others: list[_Fixed]
    outcome: Outcome
    at: IntArray

    def write(self, chosen: IntArray) -> None:
        """Run points and write their numbers."""
        acc, outcome = self.job.acc, self.outcome
        clocks, sums = within_caps(acc, chosen, self.sums)
        self._tell(sums.needs)
        outcome.fail(self.at[chosen[sums.too_long]], f"takes longer than can be counted on {acc.name}")
        kept = np.flatnonzero(sums.fits & ~sums.too_long)
        if not len(kept):
            return
        chosen, clocks, sums = self.at[chosen[kept]], clocks[kept], sums.select(kept)
        seconds = sums.ticks / TICKS / clocks
        joules = sums.dynamic_j + acc.power.idle_w * seconds
        outcome.set_numbers(
            chosen,
            {
                "total_cycles": sums.ticks / TICKS,
                "latency_s": seconds,
                "energy_j": joules,
                "power_w": joules / seconds,
                "clock_hz": clocks,
                "main_read_bytes": sums.main_bytes[0],
                "main_write_bytes": sums.main_bytes[1],
                **{column: sums.busiest(names) / sums.ticks for column, names in resources_of(acc).items()},
            },
        )
        outcome.set_texts("bound_by", chosen, sums.longest(), list(sums.busy))

    def sums(self, acc: Accelerator, chosen: IntArray) -> Sums:
        """What some points take on the machine, which may run at a lower clock."""
        place = np.full(self.job.points, -1)
        place[chosen] = np.arange(len(chosen))
        found = Sums(len(chosen))
        for one in self.ops:
            for measured, at in one.measured(acc, place >= 0, self.job.space.fidelity):
                _add(found, measured, one.count, overhead_ticks(acc, "op"), at, place[at])
        for other in self.others:
            _add_fixed(found, other, acc, self.job.space.fidelity)
        return found

    def _tell(self, needs: Mapping[tuple[str, str, int], list[tuple[IntArray, Numbers]]]) -> None:
        """Say what does not fit, the need in two digits: few texts for many points."""
        for (shape, memory, capacity), parts in needs.items():
            at, need = (np.concatenate(column) for column in zip(*parts, strict=True))
            digits = 10.0 ** np.floor(np.log10(need) - 1)
            rounded, code = np.unique(np.ceil(need / digits) * digits, return_inverse=True)
            has = f"kB in {memory}, has {format_quantity(capacity, 'bytes')}"
            texts = [f"{shape} on {self.job.acc.name} needs about {size / 1000:,.12g} {has}" for size in rounded]
            self.outcome.set_texts("error", self.at[at], code.reshape(-1), texts)


def _add(found: Sums, measured: Measured, count: int, overhead_ticks: int, at: IntArray, to: IntArray) -> None:
    """Add what points take for ``count`` ops; ``at`` are their numbers, ``to`` their places in the sums."""
    shape = measured.shape
    found.fits[to[~measured.fits]] = False
    for memory, capacity in shape.capacities.items():
        above = np.flatnonzero(measured.needs[memory] > capacity)
        if len(above):
            need = measured.needs[memory][above]
            found.needs.setdefault((shape.name, memory, capacity), []).append((at[above], need))
    found.ticks[to] += (measured.ticks + float(overhead_ticks)) * count
    found.too_long[to] |= measured.too_long
    found.dynamic_j[to] += measured.dynamic_j * count
    found.main_bytes[:, to] += measured.main_bytes * count
    for name, ticks in zip(shape.resources, measured.busy, strict=True):
        found.work(name, to, ticks * count)


def _add_fixed(found: Sums, other: _Fixed, acc: Accelerator, fidelity: str) -> None:
    """What an op takes that is the same at all points."""
    row = run_mapped(acc, other.op, other.count, (other.name,), other.found, fidelity, False)
    main = acc.main_memory.name
    found.ticks += row.ticks * other.count
    found.dynamic_j += energy_of(row.actions, price_list(acc), 0.0, 0.0).total_j * other.count
    for i, way in enumerate(("read", "write")):
        found.main_bytes[i] += row.actions.get(f"{way}.{main}", 0.0) * other.count
    for name, ticks in row.totals.busy.items():
        found.work(name, slice(None), ticks / row.totals.servers[name] * other.count)

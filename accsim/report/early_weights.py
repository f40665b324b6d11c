"""Weights fetched ahead: an op's first weight tile, loaded while the op before it runs.

Only what is known before an op can be early, so weights and no activations; and only where the op before leaves the
room and the time. ``docs/gemm.md`` states the rule and what it leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from accsim.engine.counters import Counters
from accsim.engine.prefetch import first_ticks, primed
from accsim.engine.run import run_program
from accsim.mapping.base import Step
from accsim.report.result import OpRow, Report
from accsim.report.simulate import run_steps
from accsim.workload.ops import Op


@dataclass(frozen=True)
class _Early:
    """An op whose first weight tile is there: its programs, its row, and what it asks of the program before.

    ``room`` is bytes by memory, ``held`` and ``busy`` are ticks by resource: how long the loads hold it, and of that
    its own work.
    """

    steps: tuple[Step, ...]
    row: OpRow
    room: dict[str, int]
    held: dict[str, int]
    busy: dict[str, int]


def with_early_weights(report: Report, *, events: bool = False) -> Report:
    """The report of the same trace with ``prefetch_weights``.

    Parameters
    ----------
    report : one row a distinct op, none of them early.
    events : keep every firing, as in :func:`accsim.simulate`.

    Notes
    -----
    The last program of the op before must leave free, in the memory of the tile, a slot of its buffer, and on each
    resource its load holds, idle ticks enough: total - held / servers >= held by the load. Both where that op's own
    tile was early and where it was not; the times are the engine's at every fidelity, so that ``analytic`` makes the
    same choice as ``tile``.
    """
    alone = {row.op: row for row in report.ops}
    early = {op: _early(report, row, events) for op, row in alone.items() if row.steps and row.steps[0].early}
    counts: dict[tuple[Op, bool], int] = {}
    for before, op, times in report.workload.successions():
        ahead = (
            before is not None and op in early and _can_be_ahead(report, alone[before], early.get(before), early[op])
        )
        counts[op, ahead] = counts.get((op, ahead), 0) + times
    rows = []
    for op, row in alone.items():
        if (op, False) in counts:
            rows.append(replace(row, count=counts[op, False]))
        if (op, True) in counts:
            rows.append(replace(early[op].row, count=counts[op, True]))
    return replace(report, ops=tuple(rows), prefetch_weights=True)


def _early(report: Report, row: OpRow, events: bool) -> _Early:
    """The op with the first firing of each early stage of its first program done before."""
    first = row.steps[0]
    program = first.program
    room: dict[str, int] = {}
    held: dict[str, int] = {}
    busy: dict[str, int] = {}
    for stage in first.early:
        ticks = first_ticks(program, stage)
        slowest = max(ticks.values(), default=0)
        for name, own in ticks.items():
            busy[name] = busy.get(name, 0) + own
            held[name] = held.get(name, 0) + (slowest if name == program.stage(stage).unit else own)
        taken = {hold.buffer for hold in program.stage(stage).acquires}
        for buffer in program.buffers:
            if buffer.name in taken and buffer.memory:
                room[buffer.memory] = room.get(buffer.memory, 0) + buffer.slot_bytes
    ready = program
    for stage in first.early:
        ready = primed(ready, stage)
    steps = (replace(first, program=ready), *row.steps[1:])
    ran = run_steps(report.accelerator, row.op, row.count, row.names, row.found, steps, report.fidelity, events)
    parts = (replace(ran.parts[0], early=busy), *ran.parts[1:])
    return _Early(steps, replace(ran, steps=row.steps, parts=parts, early=first.early), room, held, busy)


def _can_be_ahead(report: Report, before: OpRow, before_early: _Early | None, op: _Early) -> bool:
    """Whether the op before leaves room and time for the op's first weight tile, however it started itself."""
    if not before.steps:
        return False
    capacities = op.steps[0].program.capacities
    reserved_bytes = before.steps[-1].program.reserved_bytes
    if any(reserved_bytes(memory) + size > capacities[memory] for memory, size in op.room.items()):
        return False
    runs = [_last_run(report, before, before.steps)]
    if before_early is not None:
        runs.append(_last_run(report, before_early.row, before_early.steps))
    return all(_idle(run, name) >= ticks for run in runs for name, ticks in op.held.items())


def _last_run(report: Report, row: OpRow, steps: tuple[Step, ...]) -> Counters:
    """The engine's counters of an op's last program."""
    if report.fidelity == "analytic":
        return run_program(steps[-1].program, attribution=False)
    return row.parts[-1].counters


def _idle(run: Counters, resource: str) -> int:
    """Ticks in which no stage holds a server of a resource, on average: without work and without stalls ``held``."""
    held = sum(ticks for cause, ticks in run.stalls.get(resource, {}).items() if cause.startswith("held:"))
    return run.total_ticks - (run.busy.get(resource, 0) + held) // run.servers.get(resource, 1)

"""The main job: a workload and a machine in, a report out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from accsim.config.catalogue import load_accelerator
from accsim.config.machine import Accelerator
from accsim.engine.analytic import bound_program
from accsim.engine.compose import Part
from accsim.engine.counters import Counters
from accsim.engine.energy import energy_of, price_list
from accsim.engine.inner import inner_events
from accsim.engine.power import within_cap
from accsim.engine.program import TICKS_PER_CYCLE
from accsim.engine.run import run_program
from accsim.errors import InputError, TooLongError, check_choice
from accsim.mapping.base import Dataflow, Step, find_dataflow
from accsim.mapping.choose import choose
from accsim.mapping.cycle import cycle_steps
from accsim.mapping.found import Found
from accsim.mapping.goal import Constraint, read_goal
from accsim.mapping.limits import REMEDY, duration, least_seconds, too_long
from accsim.mapping.machine_numbers import check_memories, overhead_ticks
from accsim.report.result import OpRow, Report
from accsim.workload.catalogue import load_workload
from accsim.workload.ops import Op
from accsim.workload.trace import Workload

FIDELITIES = ("analytic", "tile", "cycle")
MOST_EVENTS = 200_000
MOST_WORK = 2**62


def simulate(
    workload: Workload | Op | str | Path,
    accelerator: Accelerator | str | Path,
    *,
    dataflow: Dataflow | str | None = None,
    objective: str = "latency",
    constraints: Sequence[Constraint | str] = (),
    effort: str = "standard",
    fidelity: str = "tile",
    events: bool = False,
    power_cap: bool = True,
    prefetch_weights: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Simulate a workload on a machine.

    Parameters
    ----------
    workload : an op, a workload, a shipped name with parameters (``"bert_base?seq=4096"``), or a path.
    accelerator : a machine, a shipped name, or a path.
    dataflow : a dataflow or its name, used for the ops it serves; what it leaves open is searched. Without one the
        best of the defaults is taken.
    objective : what a search minimizes: ``latency``, ``energy``, ``edp``, ``traffic`` or ``footprint``.
    constraints : what the mapping of every op keeps, one run of it alone at the full clock, such as
        ``"footprint <= 256 KiB"``; quantities are the objectives and ``power``.
    effort : ``standard``, or ``exhaustive`` with every tile size of a fine grid.
    fidelity : ``tile`` runs the engine; ``analytic`` gives its closed-form lower bound; ``cycle`` emulates the array
        element by element inside the engine's run (GEMMs on one systolic array, small sizes).
    events : keep every firing for a timeline (up to 200,000 a program).
    power_cap : lower the clock as far as the machine's power cap asks for (mappings are chosen at the full clock). Off
        for comparisons with measurements at a locked clock.
    prefetch_weights : load an op's first weight tile while the op before runs, where it leaves room and time.
    progress : called with (op name, ops done, distinct ops in all).

    Raises
    ------
    InputError
        For bad names, files or parameters, and for a dataflow that serves no op of the workload.
        Also for an op that takes longer than can be counted or has more than 2**62 operations or bytes.
    MappingError
        When an op has no mapping that fits, or none that keeps the constraints.
    """
    acc = accelerator if isinstance(accelerator, Accelerator) else load_accelerator(accelerator)
    check_memories(acc)
    trace = load_workload(workload)
    goal = read_goal(objective, constraints, effort)
    check_choice("fidelity", fidelity, FIDELITIES)
    flow = find_dataflow(dataflow) if isinstance(dataflow, str) else dataflow
    _check_work(trace, acc, flow)
    names: dict[Op, list[str]] = {}
    for entry in trace.entries:
        names.setdefault(entry.op.key, []).append(entry.name)
    distinct = trace.distinct_ops()
    rows = []
    for done, (op, count) in enumerate(distinct):
        if progress is not None:
            progress(names[op][0], done, len(distinct))
        found = choose(replace(op, name=names[op][0]), acc, flow, goal)
        rows.append(run_mapped(acc, op, count, tuple(names[op]), found, fidelity, events))
    if progress is not None:
        progress("", len(distinct), len(distinct))
    from accsim.report.early_weights import with_early_weights

    report = Report(acc, trace, tuple(rows), goal, fidelity, dataflow)

    def finished(report: Report) -> Report:
        return with_early_weights(report, events=events) if prefetch_weights else report

    if not power_cap:
        return finished(report)
    run, cap = within_cap(acc, finished(report), lambda machine: finished(run_again(report, machine, events=events)))
    return replace(run, cap=cap)


def run_again(report: Report, acc: Accelerator, *, events: bool = False) -> Report:
    """A report's ops, mapped as they are there, on its machine at another clock."""
    again = (run_mapped(acc, row.op, row.count, row.names, row.found, report.fidelity, events) for row in report.ops)
    return replace(report, accelerator=acc, ops=tuple(again))


def run_mapped(
    acc: Accelerator,
    op: Op,
    count: int,
    names: tuple[str, ...],
    found: Found,
    fidelity: str,
    events: bool,
) -> OpRow:
    """Lower and run one op with the mapping that was found."""
    steps = cycle_steps(found.mapping, op, acc) if fidelity == "cycle" else found.mapping.steps(op, acc)
    return run_steps(acc, op, count, names, found, steps, fidelity, events)


def run_steps(
    acc: Accelerator,
    op: Op,
    count: int,
    names: tuple[str, ...],
    found: Found,
    steps: tuple[Step, ...],
    fidelity: str,
    events: bool,
) -> OpRow:
    """Run the programs of one mapped op; the fixed cost of an op is paid by each of its programs."""
    overhead = overhead_ticks(acc, "op")
    parts = []
    for step in steps:
        if fidelity == "analytic":
            counters = bound_program(step.program)
        else:
            counters = _run(acc, op, step, MOST_EVENTS if events else 0)
        parts.append(Part(_split_masked(counters, step.useful), 1, step.copies, overhead))
    ticks = sum(part.counters.total_ticks + part.overhead_ticks for part in parts)
    seconds = ticks / TICKS_PER_CYCLE / acc.clock_hz
    actions: dict[str, float] = {}
    for part in parts:
        for action, number in part.counters.actions.items():
            actions[action] = actions.get(action, 0.0) + number * part.copies
    energy = energy_of(actions, price_list(acc), acc.power.idle_w, seconds)
    return OpRow(op, count, names, found, steps, tuple(parts), actions, energy)


def _run(acc: Accelerator, op: Op, step: Step, most_events: int) -> Counters:
    try:
        counters = run_program(step.program, most_events=most_events)
        return replace(counters, events=counters.events + inner_events(step.program, counters.events))
    except TooLongError as error:
        raise too_long(op, acc, error.least_ticks, error.most_ticks) from error


def _split_masked(counters: Counters, useful: float) -> Counters:
    """Move the masked share of the MACs to ``mac_padded``."""
    if useful >= 1.0:
        return counters
    actions = dict(counters.actions)
    for action in [a for a in actions if a.startswith("mac.")]:
        padded = "mac_padded." + action.partition(".")[2]
        actions[padded] = actions.get(padded, 0.0) + actions[action] * (1.0 - useful)
        actions[action] *= useful
    return replace(counters, actions=actions)


def _check_work(trace: Workload, acc: Accelerator, dataflow: Dataflow | None) -> None:
    kinds = dict.fromkeys(op.kind for op, _ in trace)
    if dataflow is not None and not set(kinds) & set(dataflow.kinds):
        served, name = ", ".join(dataflow.kinds), type(dataflow).__name__
        raise InputError(f"{name} maps {served}, and '{trace.name}' has none: its ops are {', '.join(kinds)}")
    for entry in trace.entries:
        work = max(entry.op.macs, sum(entry.op.vector_ops.values()), entry.op.input_bytes + entry.op.output_bytes)
        if work > MOST_WORK:
            time = duration(least_seconds(entry.op, acc))
            message = f"'{entry.name}' has {work:.3g} operations or bytes and would take at least {time} on {acc.name}"
            raise InputError(f"{message}; allowed are at most 2^62 operations: {REMEDY}")

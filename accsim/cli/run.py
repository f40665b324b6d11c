"""Simulations: one, several side by side, and why two differ."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accsim.cli.options import (
    Constraints,
    Dataflow,
    Dedup,
    Effort,
    Json,
    MachineOrSlice,
    Objective,
    Out,
    Placing,
    PowerCap,
    RunName,
    Schedule,
    Set,
    TraceFile,
    Where,
    WorkloadName,
)
from accsim.cli.out import check_out
from accsim.cli.step import refuse, run_on_slice
from accsim.errors import AccsimError, InputError, MappingError, TooLongError
from accsim.report.terminal import Progress, console, progress, say, write_json, write_text

if TYPE_CHECKING:
    from accsim.config.machine import Accelerator
    from accsim.mapping.goal import Goal
    from accsim.report.result import Report
    from accsim.system.choices import StepOptions
    from accsim.workload.trace import Workload


def run(
    machine: MachineOrSlice,
    workload: WorkloadName,
    dataflow: Dataflow = None,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="To set side by side: dataflows (unfused,flat), or of a slice a choice (rows,best) or shapes.",
        ),
    ] = None,
    settings: Set = None,
    objective: Objective = "latency",
    constraints: Constraints = None,
    effort: Effort = "standard",
    fidelity: Annotated[
        str, typer.Option(help="tile (the engine), analytic (a bound) or cycle (small GEMMs).")
    ] = "tile",
    power_cap: PowerCap = True,
    prefetch_weights: Annotated[
        bool, typer.Option("--prefetch-weights", help="Load an op's first weight tile while the op before runs.")
    ] = False,
    ops: Annotated[bool, typer.Option("--ops/--no-ops", help="Show each distinct op.")] = True,
    schedule: Schedule = None,
    dedup: Dedup = None,
    placement: Placing = None,
    where: Where = None,
    trace_file: TraceFile = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Simulate a workload on a machine, or a training step on a slice: time, energy, utilization, what binds."""
    from accsim.config.catalogue import load_accelerator
    from accsim.config.data_files import is_slice
    from accsim.mapping.goal import read_goal
    from accsim.network.named_collectives import collective_kind
    from accsim.report.lookup import read_both, read_dataflows, read_settings
    from accsim.workload.catalogue import load_workload

    of_slices: StepOptions = {}
    if schedule is not None:
        of_slices["schedule"] = schedule
    if dedup is not None:
        of_slices["dedup"] = dedup
    if placement is not None:
        of_slices["placement"] = placement
    if where is not None:
        of_slices["where"] = where
    if trace_file is not None:
        of_slices["trace"] = trace_file
    if is_slice(machine) or collective_kind(workload):
        of_chips: dict[str, object] = {"dataflow": dataflow, "constraint": constraints}
        of_chips |= {
            "prefetch_weights": prefetch_weights,
            "objective": objective != "latency",
            "effort": effort != "standard",
            "fidelity": fidelity != "tile",
            "no_power_cap": not power_cap,
            "no_ops": not ops,
        }
        refuse(of_chips, "allowed for a single chip, not for a slice")
        run_on_slice(machine, workload, read_settings(settings or []), of_slices, compare, out, as_json)
        return
    refuse({**of_slices, "trace": None, "trace_file": trace_file}, "allowed for a slice, such as tpu_v4:4x4x8")
    if dataflow is not None and compare is not None:
        raise InputError("--dataflow and --compare exclude each other, allowed is one of them")
    names = None if compare is None else read_dataflows(compare)
    changed = read_settings(settings or [])
    acc, work = read_both(lambda: load_accelerator(machine, set=changed), lambda: load_workload(workload))
    check_out(out, names)
    goal = read_goal(objective, constraints or (), effort)
    simulate = partial(simulate_with, acc, work, goal, fidelity, power_cap, prefetch_weights)
    if names is None:
        with progress(machine, workload) as advance:
            report = simulate(dataflow, advance)
        try:
            _save(out, {"": report})
        finally:
            _print_run(report, ops, as_json)
    else:
        _run_comparison(simulate, work, names, ops, out, as_json)


def _save(out: Path | None, reports: Mapping[str, Report]) -> None:
    """Write the files of each report into its folder within ``out``; nothing without one."""
    if out is None:
        return
    from accsim.report.files import save_report

    for name, report in reports.items():
        folder = save_report(report, out / name, ["accsim", *sys.argv[1:]])
        say(f"wrote the report to {folder}")


def simulate_with(
    acc: Accelerator,
    work: Workload,
    goal: Goal,
    fidelity: str,
    power_cap: bool,
    prefetch_weights: bool,
    dataflow: str | None,
    advance: Progress | None,
) -> Report:
    """Simulate with all that the command line can ask for."""
    from accsim.report.simulate import simulate

    return simulate(
        work,
        acc,
        dataflow=dataflow,
        objective=goal.objective,
        constraints=goal.constraints,
        effort=goal.effort,
        fidelity=fidelity,
        power_cap=power_cap,
        prefetch_weights=prefetch_weights,
        progress=advance,
    )


def _print_run(report: Report, ops: bool, as_json: bool) -> None:
    if as_json:
        write_json(_report_dict(report, ops))
        return
    from accsim.report.render import print_run

    print_run(console(), report, ops=ops)


def _report_dict(report: Report, ops: bool) -> dict[str, Any]:
    plain = report.to_dict()
    if not ops:
        del plain["ops"]
    return plain


def _run_comparison(
    simulate: Callable[[str, Progress | None], Report],
    work: Workload,
    names: Sequence[str],
    ops: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """One report a dataflow; those that do not fit or take too long are told on stderr and decide the exit code."""
    from accsim.mapping.base import find_dataflow
    from accsim.report.result import SCHEMA_VERSION

    reports: dict[str, Report] = {}
    refused: dict[str, AccsimError] = {}
    with progress() as advance:
        for name in names:
            try:
                reports[name] = simulate(name, _named(advance, name))
            except (MappingError, TooLongError) as error:
                refused[name] = error
    _save(out, reports)
    if as_json:
        runs = {name: _report_dict(report, ops) for name, report in reports.items()}
        write_json({"schema_version": SCHEMA_VERSION, "runs": runs, "refused": {n: str(e) for n, e in refused.items()}})
    elif reports:
        from accsim.report.render import print_comparison

        served = {kind for name in names for kind in find_dataflow(name).kinds}
        kinds = [kind for kind in dict.fromkeys(op.kind for op, _ in work) if kind in served]
        print_comparison(console(), reports, kinds, ops=ops)
    for name, reason in refused.items():
        say(f"{name}: {reason}")
    if refused:
        raise typer.Exit(max(error.exit_code for error in refused.values()))


def _named(advance: Progress | None, dataflow: str) -> Progress | None:
    """Progress that says which dataflow it is of."""
    return advance and (lambda op, done, total: advance(f"{dataflow}: {op}", done, total))


def diff(
    run_a: RunName,
    run_b: RunName,
    as_json: Json = False,
) -> None:
    """Explain why RUN_B is faster or slower than RUN_A: cycles by op, by cause on the critical path, and by both."""
    from accsim.report.diff import compare
    from accsim.report.saved import read_runs

    with progress() as advance:
        old, new = read_runs((run_a, run_b), lambda machine, workload: _simulate_named(machine, workload, advance))
    change = compare(old, new)
    if as_json:
        write_json(change.to_dict())
    else:
        write_text(str(change))


def _simulate_named(machine: str, workload: str, advance: Progress | None) -> Report:
    from accsim.config.catalogue import load_accelerator
    from accsim.mapping.goal import Goal
    from accsim.report.lookup import read_both
    from accsim.workload.catalogue import load_workload

    acc, work = read_both(lambda: load_accelerator(machine), lambda: load_workload(workload))
    return simulate_with(acc, work, Goal(), "tile", True, False, None, advance)

"""The command line. ``accsim --help`` lists the commands; ``docs/cli.md`` has the guide.

Exit codes: 0 done, 2 bad input, 3 no feasible mapping, 4 beyond tolerance, 130 interrupted. Results go to stdout, all
else to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from accsim.errors import AccsimError, InputError, MappingError, Problem, ToleranceError, TooLongError, check_choice
from accsim.report.terminal import Progress, console, escape_what_cannot_be_shown, progress, say, write_json, write_text

if TYPE_CHECKING:
    from accsim.config.machine import Accelerator
    from accsim.figures.paper_figure import PaperFigure
    from accsim.mapping.goal import Goal
    from accsim.report.result import Report
    from accsim.workload.trace import Workload

INTERRUPTED = 130


class _Commands(TyperGroup):
    """Turns the library's errors into a message on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AccsimError as error:
            say(str(error))
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except MemoryError as error:
            say("this needs more memory than there is: make the workload smaller, or its lengths less ragged")
            raise typer.Exit(MappingError.exit_code) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            say(str(error))
            raise typer.Exit(AccsimError.exit_code) from error


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Cycle-approximate simulator of machine-learning accelerators: latency, energy, utilization, and why.",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Dataflow = Annotated[
    str | None, typer.Option(help="How to map the ops it serves: flat, flash, unfused, output_stationary, ...")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a number of the machine: memories.sg.capacity=1MiB."),
]
Objective = Annotated[str, typer.Option(help="What the search minimizes: latency, energy, edp, traffic or footprint.")]
Constraints = Annotated[
    list[str] | None,
    typer.Option("--constraint", metavar="LIMIT", help="What every op's mapping keeps: 'footprint <= 256 KiB'."),
]
Effort = Annotated[str, typer.Option(help="standard, or exhaustive: every tile size of a fine grid is searched.")]
MachineName = Annotated[str, typer.Argument(metavar="MACHINE", help="A machine that ships, or the path of a file.")]
WorkloadName = Annotated[
    str,
    typer.Argument(metavar="WORKLOAD", help="A workload that ships, a path, or an op: 'gemm?m=512&n=512&k=512'."),
]
PowerCap = Annotated[
    bool, typer.Option("--power-cap/--no-power-cap", help="Lower the clock as far as the machine's power cap asks for.")
]
Out = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Also write report files there: JSON, tables, figures, a trace.")
]
Program = Annotated[bool, typer.Option("--program", help="Print the mapped tile programs, loop by loop.")]
RunName = Annotated[str, typer.Argument(help="A folder that 'run --out' wrote, or MACHINE:WORKLOAD.")]
FileKind = Annotated[str, typer.Argument(metavar="KIND", help="machine, workload or energy.")]


@app.command(short_help="Simulate a workload on a machine.")
def run(
    machine: MachineName,
    workload: WorkloadName,
    dataflow: Dataflow = None,
    compare: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Dataflows to set side by side: unfused,flat,flash.")
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
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Simulate a workload on a machine: latency, energy, utilization, what binds, traffic."""
    from accsim.config.catalogue import load_accelerator
    from accsim.mapping.goal import read_goal
    from accsim.report.lookup import read_both, read_dataflows, read_settings
    from accsim.workload.catalogue import load_workload

    if dataflow is not None and compare is not None:
        raise InputError("--dataflow and --compare exclude each other, allowed is one of them")
    names = None if compare is None else read_dataflows(compare)
    changed = read_settings(settings or [])
    acc, work = read_both(lambda: load_accelerator(machine, set=changed), lambda: load_workload(workload))
    _check_out(out, names)
    goal = read_goal(objective, constraints or (), effort)
    simulate = partial(_simulate, acc, work, goal, fidelity, power_cap, prefetch_weights)
    if names is None:
        with progress() as advance:
            report = simulate(dataflow, advance)
        try:
            _save(out, {"": report})
        finally:
            _print_run(report, ops, as_json)
    else:
        _run_comparison(simulate, work, names, ops, out, as_json)


def _check_out(out: Path | None, names: Sequence[str] | None) -> None:
    """Refuse a folder that must not be replaced before any work is done; of a comparison, each dataflow's own."""
    if out is None:
        return
    from accsim.report.folder import MANIFEST, check_target

    for name in names or [""]:
        check_target(out / name)
    if names is not None and (out / MANIFEST).exists():
        raise InputError(Problem(str(out), "", "holds a single run; a comparison needs a folder of its own"))


def _save(out: Path | None, reports: Mapping[str, Report]) -> None:
    """Write the files of each report into its folder within ``out``; nothing without one."""
    if out is None:
        return
    from accsim.report.files import save_report

    for name, report in reports.items():
        folder = save_report(report, out / name, ["accsim", *sys.argv[1:]])
        say(f"wrote the report to {folder}")


def _simulate(
    acc: Accelerator,
    work: Workload,
    goal: Goal,
    fidelity: str,
    power_cap: bool,
    prefetch_weights: bool,
    dataflow: str | None,
    advance: Progress | None,
) -> Report:
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


@app.command(short_help="Explain why one run is faster than another.")
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
    return _simulate(acc, work, Goal(), "tile", True, False, None, advance)


@app.command()
def machines(as_json: Json = False) -> None:
    """List the machines that ship."""
    from accsim.config.catalogue import list_accelerators, load_accelerator

    found = [load_accelerator(name) for name in list_accelerators()]
    if as_json:
        from accsim.report.describe import describe_machine

        write_json([describe_machine(acc) for acc in found])
        return
    from accsim.report.render_describe import print_machines

    print_machines(console(), found)


@app.command()
def workloads(as_json: Json = False) -> None:
    """List the workloads that ship, with their parameters."""
    from accsim.workload.catalogue import describe_workload, list_workloads

    found = [describe_workload(name) for name in list_workloads()]
    if as_json:
        write_json(found)
        return
    from accsim.report.render_describe import print_workloads

    print_workloads(console(), found)


@app.command(short_help="Explain a machine, workload, dataflow, op or mapped program.")
def describe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A machine, a workload, a dataflow, or a kind of op.")],
    workload: Annotated[
        str | None, typer.Argument(metavar="WORKLOAD", help="With a machine: the workload to map.")
    ] = None,
    program: Program = False,
    op: Annotated[str | None, typer.Option(help="With a workload: only this op.")] = None,
    dataflow: Dataflow = None,
    settings: Set = None,
    objective: Objective = "latency",
    constraints: Constraints = None,
    effort: Effort = "standard",
    power_cap: PowerCap = True,
    as_json: Json = False,
) -> None:
    """Explain a machine, a workload, a dataflow or an op, or the programs of a workload mapped on a machine."""
    from accsim.report.lookup import describe_named, find_op, read_both, read_settings

    if workload is None:
        wrong = {"--program": program, "--op": op is not None, "--dataflow": dataflow is not None}
        problems = [
            Problem(option, "", "needs a machine and a workload: accsim describe MACHINE WORKLOAD --program")
            for option, given in wrong.items()
            if given
        ]
        if problems:
            raise InputError(problems)
        plain, draw = describe_named(name, read_settings(settings or []))
        if as_json:
            write_json(plain)
        else:
            draw(console())
        return
    from accsim.config.catalogue import load_accelerator
    from accsim.mapping.goal import read_goal
    from accsim.workload.catalogue import load_workload

    goal = read_goal(objective, constraints or (), effort)
    acc, work = read_both(
        lambda: load_accelerator(name, set=read_settings(settings or [])), lambda: load_workload(workload)
    )
    work = work if op is None else find_op(work, op)
    with progress() as advance:
        report = _simulate(acc, work, goal, "tile", power_cap, False, dataflow, advance)
    _print_mapped(report, program, as_json)


def _print_mapped(report: Report, program: bool, as_json: bool) -> None:
    from accsim.report.describe import describe_row
    from accsim.report.result import SCHEMA_VERSION

    if as_json:
        rows = [describe_row(row) for row in report.ops]
        if not program:
            rows = [{key: value for key, value in row.items() if key != "programs"} for row in rows]
        write_json({"schema_version": SCHEMA_VERSION, "machine": report.accelerator.name, "ops": rows})
    elif program:
        write_text(report.program)
    else:
        from accsim.report.render import print_header, print_ops, print_runners_up

        screen = console()
        print_header(screen, report)
        print_ops(screen, report)
        print_runners_up(screen, report)


@app.command(short_help="Hold results against measured or published rows.")
def validate(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What the rows are of: flat or stc.")],
    data: Annotated[Path, typer.Option(metavar="FILE", help="The rows: CSV, with comments after #, or Parquet.")],
    machine: Annotated[str | None, typer.Option(metavar="MACHINE", help="Only the rows of this machine.")] = None,
    as_json: Json = False,
) -> None:
    """Hold what accsim says against the rows of a file: errors in all and by regime. Exit code 4: beyond tolerance."""
    from accsim.validate.compare import compare as hold_against
    from accsim.validate.registry import KINDS

    check_choice("kind of validation", kind[:60], tuple(KINDS))
    found = hold_against(KINDS[kind], data, machine)
    if as_json:
        write_json(found.to_dict())
    else:
        from accsim.validate.render import print_comparison as print_errors

        print_errors(console(), found)
    if not found.passed:
        raise ToleranceError(f"beyond tolerance in {data}: {len(found.misses):,}")


@app.command(short_help="Make a published figure again: published and simulated values.")
def figure(
    paper: Annotated[str | None, typer.Argument(metavar="PAPER", help="flat, sparseloop; --list has all.")] = None,
    name: Annotated[str | None, typer.Argument(metavar="FIGURE", help="speedup, ...; --list has all.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rows that a figure needs and that do not ship.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write PAPER_FIGURE.png and PAPER_FIGURE.csv there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a published figure again: published and simulated values, errors, and notes of what differs and why."""
    from accsim.figures.registry import find_figure, list_figures

    if listed:
        _list_figures(list_figures(paper), as_json)
        return
    if paper is None or name is None:
        raise InputError("needs a PAPER and a FIGURE: accsim figure flat speedup; accsim figure --list has all")
    from accsim.figures.make import make
    from accsim.report.folder import check_folder

    wanted = find_figure(paper, name)
    if out is not None:
        check_folder(out)
    with progress():
        made = make(wanted, data)
        files = [] if out is None else made.save(out)
    if as_json:
        write_json({**made.to_dict(), "files": [str(file) for file in files]})
    else:
        from accsim.figures.render import print_made

        print_made(console(), made)
    for file in files:
        say(f"wrote {file}")


def _list_figures(figures: Sequence[PaperFigure], as_json: bool) -> None:
    if as_json:
        fields = ("paper", "name", "title", "origin")
        write_json(
            [{key: getattr(one, key) for key in fields} | {"needs_data": one.data is not None} for one in figures]
        )
        return
    from accsim.figures.render import print_figures

    print_figures(console(), figures)


@app.command(short_help="Print the JSON Schema of an input file.")
def schema(
    kind: FileKind,
    as_json: Annotated[bool, typer.Option("--json", help="As without it: a schema is JSON.")] = False,
) -> None:
    """Print the JSON Schema of an input file, for editors."""
    from accsim.config.schema import energy_schema, machine_schema
    from accsim.workload.files import workload_schema

    del as_json
    known = {"machine": machine_schema, "workload": workload_schema, "energy": energy_schema}
    check_choice("kind of file", kind[:60], tuple(known))
    write_json(known[kind]())


def main() -> None:
    """Entry point of the console script."""
    escape_what_cannot_be_shown()
    try:
        app()
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()

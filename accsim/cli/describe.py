"""What ships and what it is: machines, workloads, dataflows, mapped programs, schemas of files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from accsim.cli.options import (
    Constraints,
    Dataflow,
    Effort,
    FileKind,
    Json,
    Objective,
    PowerCap,
    Program,
    Set,
)
from accsim.cli.run import simulate_with
from accsim.errors import InputError, Problem, check_choice
from accsim.report.terminal import console, progress, write_json, write_text

if TYPE_CHECKING:
    from accsim.report.result import Report


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


def workloads(as_json: Json = False) -> None:
    """List the workloads that ship, with their parameters."""
    from accsim.workload.catalogue import describe_workload, list_workloads

    found = [describe_workload(name) for name in list_workloads()]
    if as_json:
        write_json(found)
        return
    from accsim.report.render_describe import print_workloads

    print_workloads(console(), found)


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
        report = simulate_with(acc, work, goal, "tile", power_cap, False, dataflow, advance)
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


def schema(
    kind: FileKind,
    as_json: Annotated[bool, typer.Option("--json", help="As without it: a schema is JSON.")] = False,
) -> None:
    """Print the JSON Schema of an input file, for editors."""
    from accsim.config.schema import area_schema, energy_schema, machine_schema
    from accsim.sweep.schema import space_schema
    from accsim.workload.files import workload_schema

    del as_json
    known = {
        "machine": machine_schema,
        "workload": workload_schema,
        "sweep": space_schema,
        "energy": energy_schema,
        "area": area_schema,
    }
    check_choice("kind of file", kind[:60], tuple(known))
    write_json(known[kind]())

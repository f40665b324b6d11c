"""What the arguments of the command line stand for: names, ``--set`` pairs, lists of dataflows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from accsim.config.catalogue import list_accelerators, load_accelerator
from accsim.config.data_files import is_path, is_table
from accsim.config.machine import Accelerator
from accsim.config.reader import read_yaml
from accsim.errors import InputError, Problem, nearest, plain_name, read_all
from accsim.mapping.base import find_dataflow, list_dataflows
from accsim.report.describe import describe_dataflow, describe_machine, describe_op
from accsim.workload.catalogue import describe_workload, list_workloads
from accsim.workload.op_form import FORMS
from accsim.workload.op_query import op_kind
from accsim.workload.trace import Workload

if TYPE_CHECKING:
    from rich.console import Console


def describe_named(name: str, settings: Mapping[str, object]) -> tuple[dict[str, Any], Callable[[Console], None]]:
    """What a name stands for, as plain data, and what prints it.

    Parameters
    ----------
    name : a machine, a workload with or without parameters, a dataflow, a kind of op, or the path of a file.
    settings : values to replace, of a machine alone.

    Raises
    ------
    InputError
        For an unknown name, and for all that the file's own checks find.
    """
    from accsim.report import render_describe as tables

    kind = _kind_of(name)
    if kind == "machine":
        machine = describe_machine(load_accelerator(name, set=settings))
        return machine, lambda console: tables.print_machine(console, machine)
    if settings:
        where = [f"set:{key}" for key in settings]
        raise InputError([Problem(key, "", f"changes a machine, and '{name[:60]}' is a {kind}") for key in where])
    if kind == "workload":
        work = describe_workload(name)
        return work, lambda console: tables.print_workload(console, work)
    if kind == "dataflow":
        dataflow = describe_dataflow(name)
        return dataflow, lambda console: tables.print_dataflow(console, dataflow)
    op = describe_op(kind)
    return op, lambda console: tables.print_op_kind(console, op)


def _kind_of(name: str) -> str:
    """``machine``, ``workload``, ``dataflow``, or the kind of op."""
    bare, query, _ = name.partition("?")
    if is_table(bare):
        return "workload"
    if is_path(bare):
        return "workload" if {"ops", "architecture"} & set(read_yaml(bare).data) else "machine"
    kind = op_kind(bare)
    if kind is not None:
        return "workload" if query else kind
    names = {"machine": list_accelerators(), "workload": list_workloads(), "dataflow": list_dataflows()}
    for what, known in names.items():
        if plain_name(bare.partition(":")[0] if what == "machine" else bare) in map(plain_name, known):
            return what
    listed = "; ".join(f"{what}s {', '.join(known)}" for what, known in names.items())
    every = [item for known in names.values() for item in known] + list(FORMS)
    message = f"unknown name '{name[:60]}', allowed are the {listed}; ops {', '.join(FORMS)}; the path of a .yaml file"
    raise InputError(Problem("", "", message, nearest(bare, every)))


def find_op(work: Workload, name: str) -> Workload:
    """The workload of one entry alone.

    Raises
    ------
    InputError
        If no entry has that name.
    """
    found = [entry for entry in work.entries if plain_name(entry.name) == plain_name(name)]
    if not found:
        names = [entry.name for entry in work.entries]
        listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        message = f"unknown op '{name[:60]}' of {work.name}, allowed are {listed}"
        raise InputError(Problem("--op", "", message, nearest(name, names)))
    return replace(work, entries=(replace(found[0], after=()),))


def read_settings(pairs: Sequence[str]) -> dict[str, object]:
    """``--set`` options as a mapping; the loader checks keys and values."""
    found: dict[str, object] = {}
    problems = []
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not (key and equals and value):
            message = f"read '{pair[:60]}', allowed is KEY=VALUE, such as memories.sg.capacity=1MiB"
            problems.append(Problem("--set", "", message))
        elif key in found:
            problems.append(Problem("--set", key, f"given twice, first as '{found[key]}'"))
        else:
            found[key] = value
    if problems:
        raise InputError(problems)
    return found


def read_dataflows(text: str) -> list[str]:
    """Names of a comma-separated list; every problem at once."""
    names = [name.strip() for name in text.split(",")]
    problems = []
    for i, name in enumerate(names):
        if not name:
            allowed = ", ".join(list_dataflows())
            problems.append(Problem("--compare", "", f"read an empty name, allowed are {allowed}, joined by commas"))
        elif name in names[:i]:
            problems.append(Problem("--compare", "", f"'{name}' is given twice"))
        else:
            try:
                find_dataflow(name)
            except InputError as error:
                problems += error.problems
    if problems:
        raise InputError(problems)
    return names


def read_both(machine: Callable[[], Accelerator], workload: Callable[[], Workload]) -> tuple[Accelerator, Workload]:
    """Both inputs; the problems of both at once."""
    acc, work = read_all(machine, workload)
    return acc, work

"""Reading what was saved: the summaries of two runs, for a comparison."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pydantic

from accsim.errors import InputError, Problem
from accsim.report.diff import Summary
from accsim.report.result import SCHEMA_VERSION

if TYPE_CHECKING:
    from accsim.report.result import Report

SUMMARY = "summary.json"
_ALLOWED = "allowed is a folder that 'accsim run --out' wrote, or MACHINE:WORKLOAD"
_MOST_PROBLEMS = 5


def read_runs(names: tuple[str, str], simulate: Callable[[str, str], Report]) -> tuple[Summary, Summary]:
    """The summaries of two runs, each a saved folder or ``machine:workload``; the problems of both at once.

    Parameters
    ----------
    simulate : makes the report of a machine and a workload.
    """
    problems: list[Problem] = []
    found = []
    for name in names:
        try:
            found.append(read_run(name, simulate))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return found[0], found[1]


def read_run(name: str, simulate: Callable[[str, str], Report]) -> Summary:
    """The summary of one run; see :func:`read_runs`.

    Raises
    ------
    InputError
        When it is neither a folder with a summary that can be read nor ``machine:workload``.
    """
    machine, colon, workload = name.partition(":")
    if Path(name).exists() or not (colon and machine and workload):
        return read_summary(Path(name))
    return Summary.model_validate(simulate(machine, workload).to_dict())


def read_summary(folder: Path) -> Summary:
    """The summary of a saved report.

    Raises
    ------
    InputError
        When there is none, or it is not what a report holds.
    """
    path = folder / SUMMARY
    if not folder.is_dir():
        raise InputError(
            Problem(str(folder), "", f"{'is a file' if folder.exists() else 'no such folder'}; {_ALLOWED}")
        )
    if not path.is_file():
        inside = sorted(str(found.parent) for found in folder.glob(f"*/{SUMMARY}"))
        hint = f"; in it are {', '.join(inside)}" if inside else ""
        raise InputError(Problem(str(folder), "", f"has no {SUMMARY}; {_ALLOWED}{hint}"))
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(Problem(str(path), "", f"cannot be read: {error}")) from error
    given = plain.get("schema_version") if isinstance(plain, dict) else None
    if given != SCHEMA_VERSION:
        raise InputError(Problem(str(path), "schema_version", f"read {given!r}, allowed is {SCHEMA_VERSION}"))
    try:
        return Summary.model_validate(plain)
    except pydantic.ValidationError as error:
        raise InputError(
            [
                Problem(str(path), ".".join(map(str, wrong["loc"])), wrong["msg"])
                for wrong in error.errors()[:_MOST_PROBLEMS]
            ]
        ) from error

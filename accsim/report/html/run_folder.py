"""Reading the folder of a run: the files that the page is made of, as they were written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accsim.errors import InputError, Problem
from accsim.report.folder import MANIFEST
from accsim.report.result import SCHEMA_VERSION


@dataclass(frozen=True)
class SavedRun:
    """The files of a run as plain data: ``summary.json``, ``figures.json``, ``inputs.json``, the manifest."""

    summary: Mapping[str, Any]
    figures: Mapping[str, Any]
    inputs: Mapping[str, Any]
    manifest: Mapping[str, Any]


def read_run_folder(folder: Path, manifest: Mapping[str, Any]) -> SavedRun:
    """The files of a run that a page shows.

    Raises
    ------
    InputError
        With every file that is missing, or is not the one that the manifest lists; and for a step on a slice.
    """
    if "chips" in manifest["machine"]:
        message = "holds a training step on a slice, which has no page: see its summary.json and parts.csv"
        raise InputError(Problem(str(folder), "", message))
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for name in ("summary", "figures", "inputs"):
        try:
            found[name] = _read(folder / f"{name}.json", manifest)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return SavedRun(**found, manifest=manifest)


def _read(path: Path, manifest: Mapping[str, Any]) -> Any:
    listed = manifest["files"].get(path.name)
    if listed is None:
        raise InputError(Problem(str(path), "", f"{MANIFEST} lists no such file: run 'accsim run --out' again"))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(Problem(str(path), "", f"cannot be read: {error.strerror}")) from error
    if hashlib.sha256(content).hexdigest() != listed["sha256"]:
        raise InputError(Problem(str(path), "", f"is not what {MANIFEST} lists: it was changed after the run"))
    plain = json.loads(content)
    if plain["schema_version"] != SCHEMA_VERSION:
        read = f"read {plain['schema_version']!r}, allowed is {SCHEMA_VERSION}"
        raise InputError(Problem(str(path), "schema_version", read))
    return plain

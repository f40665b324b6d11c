"""Machines by name or path, with overrides checked like the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accsim.config.data_files import data_folder, find_file, is_path, shipped_names, slice_parts
from accsim.config.machine import Accelerator
from accsim.config.reader import MarkedDocument, dotted, open_mapping, parse_scalar, read_yaml, validate
from accsim.config.reader import known_keys as schema_keys
from accsim.errors import InputError, Problem, nearest

__all__ = ["data_folder", "find_file", "is_path", "list_accelerators", "load_accelerator", "shipped_names"]

_FOLDER = "hw_configs"
_MAX_STEPS = 8

SIZED = ("cores", "matrix_unit", "vector_unit", "memories", "sparse_core")
"""Keys of a machine file below which stand the sizes that its area depends on."""


def list_accelerators() -> tuple[str, ...]:
    """Names of the shipped machines, in alphabetical order."""
    return shipped_names(_FOLDER)


def load_accelerator(name_or_path: str | Path, *, set: Mapping[str, object] | None = None) -> Accelerator:  # noqa: A002
    """A machine, checked.

    Parameters
    ----------
    name_or_path
        Name of a shipped machine in any case and with any separators (``"H100 SXM"``), or the path of a file.
    set
        Dotted path of a field to its new value, written as in the file: ``{"matrix_unit.rows": 64, "clock": "1 GHz"}``.
        Text is read as a YAML scalar. A bandwidth that is set is not held against the file's number of DRAM channels.

    Raises
    ------
    InputError
        With every problem of the name, the file and the overrides.

    Examples
    --------
    >>> load_accelerator("FLAT edge", set={"matrix_unit.rows": "64"}).matrix_unit.rows
    64
    """
    path = _machine_file(name_or_path)
    document, problems = _overridden(read_yaml(path), set or {})
    problems += _notes_problems(document)
    return validate(Accelerator, document, context={"folder": path.parent}, also=problems)


def _machine_file(name_or_path: str | Path) -> Path:
    if not isinstance(name_or_path, (str, Path)):
        raise InputError(f"read a {type(name_or_path).__name__} as a machine, allowed is a name or a path")
    parts = slice_parts(name_or_path)
    if parts is not None:
        name = parts[0]
        message = f"read '{name_or_path}', a slice of several chips, where one chip is asked for: allowed is '{name}'"
        raise InputError(Problem("", "", message))
    return find_file(_FOLDER, "machine", name_or_path)


def _overridden(document: MarkedDocument, overrides: Mapping[str, object]) -> tuple[MarkedDocument, list[Problem]]:
    problems: list[Problem] = []
    for key, value in overrides.items():
        where = f"set:{key}"
        steps = key.split(".") if isinstance(key, str) else []
        if not 1 <= len(steps) <= _MAX_STEPS or "" in steps:
            problems.append(Problem(where, "", "read a malformed path, allowed are keys joined by dots"))
            continue
        unknown = _unknown_step(document.data, steps, new=True)
        if unknown is not None:
            problems.append(Problem(where, key, *unknown))
            continue
        document = document.with_value(tuple(steps), _plain(value), where)
    return _without_old_areas(_without_old_channels(document, overrides), overrides), problems


def _without_old_channels(document: MarkedDocument, overrides: Mapping[str, object]) -> MarkedDocument:
    """Leave out the number of channels where the bandwidth they were to give has been replaced."""
    memories = document.data.get("memories")
    for name, body in memories.items() if isinstance(memories, Mapping) else ():
        replaced = {f"memories.{name}.{way}_bandwidth" for way in ("read", "write")} & overrides.keys()
        if (
            replaced
            and isinstance(body, Mapping)
            and "channels" in body
            and f"memories.{name}.channels" not in overrides
        ):
            document = document.with_value(("memories", name, "channels"), None, f"set:{min(replaced)}")
    return document


def _without_old_areas(document: MarkedDocument, overrides: Mapping[str, object]) -> MarkedDocument:
    """Leave out areas that the file gives for sizes that have been replaced: of the part, and of the whole chip."""
    for key in overrides:
        steps = str(key).split(".")
        if steps[0] not in SIZED:
            continue
        part = steps[: 2 if steps[0] == "memories" else 1]
        for path in [("area",), *([(*part, "area")] if len(steps) > len(part) else [])]:
            if ".".join(path) not in overrides and _value_at(document.data, path) is not None:
                document = document.with_value(path, None, f"set:{key}")
    return document


def _value_at(data: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        data = data.get(step) if isinstance(data, Mapping) else None
    return data


def _notes_problems(document: MarkedDocument) -> list[Problem]:
    """Problems of paths in `estimated` and `sources` that lead nowhere."""
    problems = []
    for section in ("estimated", "sources"):
        notes = document.data.get(section)
        for key in notes if isinstance(notes, Mapping) else ():
            unknown = _unknown_step(document.data, key.split("."), new=False)
            if unknown is not None:
                where = document.where((section, key), key=True)
                problems.append(Problem(where, dotted((section, key)), *unknown))
    return problems


def _unknown_step(data: Any, steps: list[str], *, new: bool) -> tuple[str, str | None] | None:
    """Message and nearest path if `steps` lead to no field; with `new`, a mapping of free names takes another one."""
    top = data
    for i, step in enumerate(steps):
        before = steps[:i]
        allowed = schema_keys(Accelerator, top, tuple(before))
        present = [str(key) for key in data] if isinstance(data, Mapping) else []
        free = allowed is None and open_mapping(Accelerator, top, tuple(before))
        if step not in (allowed or present) and not (free and new):
            names = [".".join([*before, name]) for name in (allowed or present)]
            listed = f"allowed are {', '.join(names)}" if names else f"'{'.'.join(before)}' has no keys below it"
            return f"no field '{'.'.join(steps[: i + 1])}', {listed}", nearest(".".join(steps[: i + 1]), names)
        data = data.get(step) if isinstance(data, Mapping) else None
    return None


def _plain(value: object) -> Any:
    """An override as the file's reader would give it."""
    if isinstance(value, str):
        return parse_scalar(value.strip())
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value

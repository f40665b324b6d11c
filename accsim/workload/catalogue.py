"""Workloads by name, query, path or object."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accsim.config.data_files import find_file, is_table, shipped_names
from accsim.config.field_docs import field_docs
from accsim.config.reader import MarkedDocument, parse_scalar, read_yaml
from accsim.errors import InputError, Problem
from accsim.workload.files import expand_model, is_trace, read_model
from accsim.workload.op_query import op_kind, read_op
from accsim.workload.ops import Op
from accsim.workload.query import parse_query
from accsim.workload.trace import Entry, Workload
from accsim.workload.trace_file import read_trace
from accsim.workload.trace_table import read_table

_FOLDER = "workloads"


def list_workloads() -> tuple[str, ...]:
    """Names of the shipped workloads, in alphabetical order."""
    return shipped_names(_FOLDER)


def load_workload(spec: str | Path | Workload | Op, *, set: Mapping[str, object] | None = None) -> Workload:  # noqa: A002
    """A workload, checked.

    Parameters
    ----------
    spec
        Name of a shipped workload in any case and with any separators, or the path of a YAML file, either with
        parameters (``"bert_base?seq=4096&batch=64"``); the path of a CSV or Parquet table of ops; or a single op
        (``"gemm?m=512&n=512&k=512"``). A `Workload` is returned as it is, an op as a workload of one entry.
    set
        Values of a model's file to replace: a parameter's name, or the dotted path of a field
        (``{"seq": 4096, "hyperparameters.layers": 24}``). Text is read as a YAML scalar.

    Raises
    ------
    InputError
        With every problem of the name, the query, the overrides and the file.

    Examples
    --------
    >>> load_workload("BERT base?seq=128").parameters["seq"]
    128
    >>> load_workload("gemm?m=512&n=512&k=512").macs
    134217728
    """
    if isinstance(spec, Workload | Op):
        if set:
            raise InputError("set replaces values of a model's file, it does not apply to a workload or an op")
        return spec if isinstance(spec, Workload) else Workload(spec.name, (Entry(spec),))
    single = _single_op(spec, set or {})
    if single is not None:
        return single
    document, problems = _document(spec, set or {})
    return read_trace(document) if is_trace(document) else expand_model(read_model(document, problems), document)


def describe_workload(spec: str | Path, *, set: Mapping[str, object] | None = None) -> dict[str, Any]:  # noqa: A002
    """What a named workload is, as plain data: parameters, sizes, and a row for each op.

    Parameters
    ----------
    spec, set
        As for `load_workload`.

    Returns
    -------
    dict
        ``name``, ``kind`` (``model`` or ``trace``), ``source``, totals, ``ops``; of a model also ``architecture``,
        ``parameters`` (name to value, description), ``hyperparameters``, ``parameter_count`` and ``estimated``.

    Raises
    ------
    InputError
        As `load_workload`.
    """
    described: dict[str, Any] = {"kind": "trace"}
    single = _single_op(spec, set or {})
    if single is not None:
        return _description(single, described)
    document, problems = _document(spec, set or {})
    if is_trace(document):
        workload = read_trace(document)
    else:
        model = read_model(document, problems)
        workload = expand_model(model, document)
        docs = field_docs(type(model.parameters))
        described = {
            "kind": "model",
            "architecture": model.architecture,
            "parameters": {
                name: {"value": getattr(model.parameters, name), "description": docs.get(name)}
                for name in type(model.parameters).model_fields
            },
            "hyperparameters": dict(workload.hyperparameters),
            "parameter_count": model.parameter_count(),
            "estimated": dict(model.estimated),
        }
    return _description(workload, described)


def _description(workload: Workload, described: Mapping[str, Any]) -> dict[str, Any]:
    """`described` with the name, the totals and the ops of a workload."""
    totals = {key: getattr(workload, key) for key in ("macs", "flop", "weight_bytes", "op_count")}
    rows = [_row(entry) for entry in workload.entries]
    return {"name": workload.name, "source": workload.source, **described, **totals, "ops": rows}


def _row(entry: Entry) -> dict[str, Any]:
    op = entry.op
    shape = {key: value for key, value in op.to_dict().items() if key not in ("kind", "name")}
    counts = ("macs", "macs_effectual", "weight_bytes", "input_bytes", "output_bytes")
    return {
        "name": entry.name,
        "op": op.kind,
        **shape,
        "repeat": entry.repeat,
        "weight_sets": entry.weight_sets,
        "after": list(entry.after),
        **{key: getattr(op, key) for key in counts},
        "vector_ops": dict(op.vector_ops),
    }


def _single_op(spec: object, overrides: Mapping[str, object]) -> Workload | None:
    """The workload of a spec that is the name of an op with its sizes, or a table; None for any other spec."""
    bare = spec.partition("?")[0] if isinstance(spec, str) else spec
    if isinstance(bare, str | Path) and is_table(bare):
        query = parse_query(spec)[1] if isinstance(spec, str) else {}
        _check_nothing_to_set(query, overrides)
        return read_table(Path(bare))
    kind = op_kind(bare) if isinstance(bare, str) else None
    if kind is None:
        return None
    if overrides:
        raise InputError([Problem(f"set:{key}", "", "a single op takes its sizes in the query") for key in overrides])
    return read_op(kind, parse_query(str(spec))[1])


def _check_nothing_to_set(query: Mapping[str, str], overrides: Mapping[str, object]) -> None:
    """Refuse parameters of a trace."""
    places = [f"query:{key[:60]}" for key in query] + [f"set:{key}" for key in overrides]
    if places:
        raise InputError([Problem(place, "", "a trace of ops has no parameters to set") for place in places])


def _document(spec: object, overrides: Mapping[str, object]) -> tuple[MarkedDocument, list[Problem]]:
    """The file with the values of query and overrides in place, and what is wrong with those."""
    if isinstance(spec, Path):
        name: str | Path = spec
        query: dict[str, str] = {}
    elif isinstance(spec, str):
        name, query = parse_query(spec)
    else:
        allowed = "a name, a path, a Workload or an op"
        raise InputError(f"read a {type(spec).__name__} as a workload, allowed is {allowed}")
    document = read_yaml(find_file(_FOLDER, "workload", name))
    if not query and not overrides:
        return document, []
    if is_trace(document):
        _check_nothing_to_set(query, overrides)
    return _overridden(document, query, overrides)


def _overridden(
    document: MarkedDocument, query: Mapping[str, str], overrides: Mapping[str, object]
) -> tuple[MarkedDocument, list[Problem]]:
    values: dict[tuple[str, ...], tuple[object, str]] = {
        ("parameters", key): (text, f"query:{key[:60]}") for key, text in query.items()
    }
    problems: list[Problem] = []
    for key, value in overrides.items():
        where = f"set:{key}"
        steps = tuple(key.split(".")) if isinstance(key, str) else ("",)
        path = steps if len(steps) == 2 else ("parameters", *steps)
        if "" in steps or len(path) != 2:
            problems.append(Problem(where, "", "read a malformed path, allowed is a parameter or section.field"))
        elif path in values:
            problems.append(Problem(where, ".".join(path), f"given twice, first as {values[path][1]}"))
        else:
            values[path] = (value, where)
    for path, (value, where) in values.items():
        plain = parse_scalar(value.strip()) if isinstance(value, str) else value
        document = document.with_value(path, plain, where)
    return document, problems

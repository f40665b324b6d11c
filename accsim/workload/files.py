"""Workload files: which kind one is, what it holds, and the JSON Schema of both kinds."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import pydantic

from accsim.config.checks import shown
from accsim.config.reader import MarkedDocument, validate
from accsim.errors import InputError, Problem, nearest
from accsim.workload.models import ARCHITECTURES, ModelFile
from accsim.workload.trace import Workload
from accsim.workload.trace_file import TraceFile

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_KINDS = ("architecture", "ops")


def is_trace(document: MarkedDocument) -> bool:
    """True if the file lists ops, False if it names an architecture.

    Raises
    ------
    InputError
        If it has neither key, or both.
    """
    given = [key for key in _KINDS if key in document.data]
    if len(given) == 2:
        message = "the file has both architecture (a model) and ops (a trace), allowed is one of them"
        raise InputError(Problem(document.where(("architecture",), key=True), "architecture", message))
    if not given:
        near = next((key for key in document.data if nearest(key, _KINDS)), None)
        message = "missing the key architecture (a model) or ops (a trace)"
        place = document.where(() if near is None else (near,), key=True)
        raise InputError(Problem(place, near or "", message, near and nearest(near, _KINDS)))
    return given == ["ops"]


def read_model(document: MarkedDocument, also: Sequence[Problem] = ()) -> ModelFile:
    """The checked model of a file with the key ``architecture``; `also` are problems already found, reported with it.

    Raises
    ------
    InputError
        With every problem of the file, each at its place.
    """
    name = document.data["architecture"]
    if not isinstance(name, str) or name not in ARCHITECTURES:
        near = nearest(name, ARCHITECTURES) if isinstance(name, str) else None
        message = f"read {shown(name)}, allowed are {', '.join(ARCHITECTURES)}"
        raise InputError([*also, Problem(document.where(("architecture",)), "architecture", message, near)])
    return validate(ARCHITECTURES[name], document, also=also)


def expand_model(model: ModelFile, document: MarkedDocument) -> Workload:
    """The workload of a model.

    Raises
    ------
    InputError
        If its sizes multiply to an op that is too large.
    """
    try:
        return model.workload()
    except InputError as error:
        message = (
            f"these sizes multiply to an op that is too large: {error.problems[0].path}: {error.problems[0].message}"
        )
        raise InputError(Problem(document.where(("parameters",)), "parameters", message)) from error


def workload_schema() -> dict[str, Any]:
    """JSON Schema of a workload file: a trace, or a model of any architecture."""
    kinds: Any = functools.reduce(operator.or_, ARCHITECTURES.values(), TraceFile)
    schema = pydantic.TypeAdapter(kinds).json_schema()
    return {"$schema": _DIALECT, "title": "accsim workload", **schema}

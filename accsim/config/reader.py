"""From a marked document to a checked model, or to every problem at once with its place and what is allowed there."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import pydantic
from pydantic_core import CoreSchema

from accsim.config.field_docs import field_docs
from accsim.config.model_walk import known_keys, model_at, open_mapping, wanted_at
from accsim.config.yaml_marks import KeyPath, MarkedDocument, dotted, parse_scalar, parse_yaml, read_yaml
from accsim.errors import InputError, Problem, nearest
from accsim.units import UnitError

__all__ = [
    "FileModel",
    "MarkedDocument",
    "PlacedError",
    "Wrong",
    "dotted",
    "known_keys",
    "of_file",
    "open_mapping",
    "parse_scalar",
    "parse_yaml",
    "read_yaml",
    "validate",
]

M = TypeVar("M", bound=pydantic.BaseModel)
_QUOTED = re.compile(r"'([^']*)'")
_MAX_SHOWN = 60


class FileModel(pydantic.BaseModel):
    """Base of the models of input files: frozen, strict about types, no unknown keys, no inf or nan."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: pydantic.GetJsonSchemaHandler
    ) -> dict[str, Any]:
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in field_docs(cls).items():
            field = cls.model_fields[name]
            key = str(field.validation_alias or field.alias or name)
            if key in properties:
                properties[key].setdefault("description", text)
        return schema


class Wrong(typing.NamedTuple):
    """One finding of a check that spans several keys."""

    path: KeyPath
    """Path below the checked model."""
    message: str
    suggestion: str | None = None
    key: bool = False
    """True if the key is at fault, False if its value is."""


class PlacedError(ValueError):
    """Raised by a model's own checks; each finding is reported at its own place.

    Parameters
    ----------
    findings
        Findings below the checked model, or finished problems of another file.
    """

    def __init__(self, findings: Sequence[Wrong | Problem]) -> None:
        self.findings: tuple[Wrong | Problem, ...] = tuple(findings)
        super().__init__("; ".join(finding.message for finding in self.findings))


def of_file(problem: Problem) -> Wrong | Problem:
    """A problem with a line in its own file keeps its place; one of the whole file belongs to the key that names it."""
    if problem.where.rsplit(":", 1)[-1].isdecimal():
        return problem
    name = f"{problem.where}: " if problem.where else ""
    return Wrong((), name + problem.message, problem.suggestion)


def validate(
    model: type[M], document: MarkedDocument, *, context: Mapping[str, Any] | None = None, also: Sequence[Problem] = ()
) -> M:
    """Instance of `model` with the document's data.

    Parameters
    ----------
    model
        A pydantic model; derive it from `FileModel`.
    document
        What `read_yaml` returned.
    context
        Passed to the model's validators.
    also
        Problems already found; reported together with those found here.

    Raises
    ------
    InputError
        With every problem, in the order of the file.
    """
    try:
        instance = model.model_validate(document.data, context=dict(context or {}))
    except pydantic.ValidationError as error:
        found = [p for e in error.errors(include_url=False) for p in _problems(model, document, e)]
        raise InputError(_in_file_order([*also, *found])) from error
    if also:
        raise InputError(_in_file_order(also))
    return instance


def _in_file_order(problems: Sequence[Problem]) -> list[Problem]:
    def position(problem: Problem) -> tuple[str, list[int]]:
        name, *numbers = problem.where.rsplit(":", 2)
        return name, [int(n) for n in numbers if n.isdecimal()]

    return sorted(dict.fromkeys(problems), key=position)


def _problems(model: type[pydantic.BaseModel], document: MarkedDocument, error: Any) -> Iterator[Problem]:
    kind = error["type"]
    path = _document_path(document.data, error["loc"])
    key = kind == "extra_forbidden" or "[key]" in error["loc"]
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, PlacedError):
        yield from _placed(document, path, cause)
        return
    if kind == "default_factory_not_called":  # follows from a problem of the field that the default is taken from
        return
    if kind == "too_short" and len(error["input"]) > error["ctx"]["actual_length"]:  # items with problems of their own
        return
    if kind.startswith("union_tag"):
        path, message, suggestion = _tag_message(path, error)
    elif isinstance(cause, UnitError):
        message, suggestion = cause.message, cause.suggestion
    elif kind == "missing":
        message, suggestion = f"missing, needed is {wanted_at(model, document.data, path) or 'a value'}", None
    elif kind == "extra_forbidden":
        message, suggestion = _unknown_key_message(model, document.data, path)
    else:
        message, suggestion = _value_message(model, document.data, path, error)
        if path and path[-1] in getattr(model_at(model, document.data, path[:-1]), "not_in_file", ()):
            path, key = path[:-1], True  # such a field is the key of its mapping
    yield Problem(document.where(path, key=key), dotted(path), message, suggestion)


def _placed(document: MarkedDocument, path: KeyPath, cause: PlacedError) -> Iterator[Problem]:
    for finding in cause.findings:
        if isinstance(finding, Problem):
            yield finding
        else:
            full = (*path, *finding.path)
            yield Problem(document.where(full, key=finding.key), dotted(full), finding.message, finding.suggestion)


def _tag_message(path: KeyPath, error: Any) -> tuple[KeyPath, str, str | None]:
    name = str(error["ctx"]["discriminator"]).strip("'")
    if error["type"] == "union_tag_not_found":
        return (*path, name), "missing, needed is the kind, which decides the other keys", None
    allowed = _QUOTED.findall(error["ctx"]["expected_tags"])
    tag = error["input"][name]
    suggestion = nearest(tag, allowed) if isinstance(tag, str) else None
    return (*path, name), f"read {_shown(tag)}, allowed is {' or '.join(map(repr, allowed))}", suggestion


def _unknown_key_message(model: type[pydantic.BaseModel], data: Any, path: KeyPath) -> tuple[str, str | None]:
    key = str(path[-1])
    allowed = known_keys(model, data, path[:-1]) or []
    hint = getattr(model_at(model, data, path[:-1]), "elsewhere", {}).get(key)
    if hint is not None:
        return f"unknown key: '{key}' {hint}, allowed are {', '.join(allowed)}", None
    return f"unknown key, allowed are {', '.join(allowed)}", nearest(key, allowed)


def _value_message(model: type[pydantic.BaseModel], data: Any, path: KeyPath, error: Any) -> tuple[str, str | None]:
    value = error["input"]
    if error["type"] == "value_error":
        text = str(error["ctx"]["error"])
        return f"read {_shown(value)}, {text}" if text.startswith("allowed") else text, None
    if error["type"] == "literal_error":
        expected = error["ctx"]["expected"]
        suggestion = nearest(value, _QUOTED.findall(expected)) if isinstance(value, str) else None
        return f"read {_shown(value)}, allowed is {expected}", suggestion
    wanted = wanted_at(model, data, path) or str(error["msg"]).removeprefix("Input should be ")
    return f"read {_shown(value)}, allowed is {wanted}", None


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    text = text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."
    return f"'{text}'" if isinstance(value, str) else text


def _document_path(data: Any, loc: Sequence[str | int]) -> KeyPath:
    """Path in the file of a pydantic location.

    An index into a mapping stands for its n-th key; the names of union branches, which are in no file, fall out.
    """
    path: list[str | int] = []
    for i, step in enumerate(loc):
        if step == "[key]":
            continue
        if isinstance(data, Mapping):
            if isinstance(step, int) and 0 <= step < len(data):
                step = list(data)[step]
            if step in data:
                data = data[step]
            elif i < len(loc) - 1:
                continue
            else:
                data = None
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        elif i == len(loc) - 1 and data is not None:
            continue
        path.append(step)
    return tuple(path)

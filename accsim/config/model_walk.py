"""What a file may have at a place, found by walking the annotations of a pydantic model along the file's data."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import pydantic
from pydantic.fields import FieldInfo

from accsim.config.yaml_marks import KeyPath


def known_keys(model: type[pydantic.BaseModel], data: Any, path: KeyPath) -> list[str] | None:
    """Keys that the file may have in the mapping at `path`; None if any name goes or if no mapping stands there."""
    inner = model_at(model, data, path)
    return None if inner is None else sorted(fields_by_key(inner))


def open_mapping(model: type[pydantic.BaseModel], data: Any, path: KeyPath) -> bool:
    """True if the mapping at `path` takes new keys of any name."""
    origins = [get_origin(branch) for branch in _branches(annotation_at(model, data, path))]
    return any(isinstance(origin, type) and issubclass(origin, Mapping) for origin in origins)


def model_at(model: type[pydantic.BaseModel], data: Any, path: KeyPath) -> type[pydantic.BaseModel] | None:
    """Model of the mapping at `path`; of a union, the one whose discriminating key fits the data."""
    annotation = annotation_at(model, data, path)
    for step in path:
        data = _item(data, step)
    return _model_in(annotation, data)


def annotation_at(model: type[pydantic.BaseModel], data: Any, path: KeyPath) -> Any:
    """Type, with its metadata, of the value at `path`; None if the model has nothing there."""
    annotation: Any = model
    for step in path:
        annotation = _below(annotation, data, step)
        data = _item(data, step)
    return annotation


def wanted_at(model: type[pydantic.BaseModel], data: Any, path: KeyPath) -> str | None:
    """What may stand at `path`, in words, from its type and bounds; None if neither says."""
    annotation = annotation_at(model, data, path)
    metadata = list(_metadata(annotation))
    for item in metadata:
        allowed = getattr(item, "allowed", None)
        if isinstance(allowed, str):
            return allowed
    kinds = [branch for branch in _branches(annotation) if branch is not type(None)]
    models = [kind for kind in kinds if _is_model(kind)]
    if models:
        return _keys_in_words(models)
    if any(get_origin(kind) is Literal for kind in kinds):
        return "one of " + ", ".join(f"'{value}'" for kind in kinds for value in get_args(kind))
    plain = (_PLAIN.get(get_origin(kind) or kind) for kind in kinds)
    base = next((words for words in plain if words is not None), None)
    return None if base is None else base + _bounds(metadata)


def _keys_in_words(models: Iterable[type[pydantic.BaseModel]]) -> str:
    """The keys of a mapping, those that it need not have last."""
    found = {key: field for kind in models for key, field in sorted(fields_by_key(kind).items())}
    needed = ", ".join(key for key, field in found.items() if field.is_required())
    other = ", ".join(key for key, field in found.items() if not field.is_required())
    if not needed or not other:
        return f"a mapping with the keys {needed or other}"
    return f"a mapping with the keys {needed}, and if wanted {other}"


def fields_by_key(model: type[pydantic.BaseModel]) -> dict[str, FieldInfo]:
    """Fields of a model by the key they have in the file."""
    hidden: frozenset[str] = getattr(model, "not_in_file", frozenset())
    named = ((str(f.validation_alias or f.alias or name), f) for name, f in model.model_fields.items())
    return {key: field for key, field in named if key not in hidden}


_PLAIN: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    Mapping: "a mapping",
    dict: "a mapping",
    list: "a list",
    tuple: "a list",
}


def _item(data: Any, step: str | int) -> Any:
    if isinstance(data, Mapping):
        return data.get(step)
    return data[step] if isinstance(data, list) and isinstance(step, int) and step < len(data) else None


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)


def _below(annotation: Any, data: Any, step: str | int) -> Any:
    inner = _model_in(annotation, data)
    fields = {} if inner is None else fields_by_key(inner) | inner.model_fields
    field = fields.get(str(step))
    if field is not None:
        return field.rebuild_annotation()
    for kind in _branches(annotation):
        origin, args = get_origin(kind), get_args(kind)
        if not isinstance(origin, type) or not args:
            continue
        if issubclass(origin, Mapping) and len(args) == 2:
            return args[1]
        in_sequence = isinstance(step, int) or (isinstance(data, Mapping) and step in data)
        if issubclass(origin, (list, tuple)) and in_sequence:
            return args[0]
    return None


def _branches(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _branches(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _branches(part)
    else:
        yield annotation


def _model_in(annotation: Any, data: Any) -> type[pydantic.BaseModel] | None:
    models = [branch for branch in _branches(annotation) if _is_model(branch)]
    fitting = [m for m in models if len(models) > 1 and isinstance(data, Mapping) and _fits(m, data)]
    return next(iter(fitting or models), None)


def _fits(model: type[pydantic.BaseModel], data: Mapping[Any, Any]) -> bool:
    """True if every field that allows a single literal has it in the data."""
    for key, field in fields_by_key(model).items():
        values = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        if len(values) == 1 and data.get(key) != values[0]:
            return False
    return True


def _metadata(annotation: Any) -> Iterator[Any]:
    """Metadata of nested `Annotated`, with that of a `Field` inside it laid flat, and of the branches of a union."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _metadata(args[0])
        for item in args[1:]:
            yield from item.metadata if isinstance(item, FieldInfo) else (item,)
    elif origin in (Union, types.UnionType):
        for part in args:
            yield from _metadata(part)


_BOUNDS: tuple[tuple[type, str, Callable[[Any], Any]], ...] = (
    (annotated_types.Gt, "above", lambda bound: bound.gt),
    (annotated_types.Ge, "from", lambda bound: bound.ge),
    (annotated_types.Lt, "below", lambda bound: bound.lt),
    (annotated_types.Le, "to", lambda bound: bound.le),
)


def _bounds(metadata: list[Any]) -> str:
    words = [
        f"{word} {limit(item):.12g}" for kind, word, limit in _BOUNDS for item in metadata if isinstance(item, kind)
    ]
    if any(isinstance(item, annotated_types.MinLen) and item.min_length == 1 for item in metadata):
        words.append("that is not empty")
    return "".join(f" {word}" for word in words)

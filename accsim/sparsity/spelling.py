"""Patterns as text and as mappings of files: one table of the field's spellings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from accsim.config.checks import shown
from accsim.errors import InputError, Problem, nearest, plain_name
from accsim.sparsity.attention_masks import TopKeys, Window
from accsim.sparsity.base import Pattern, is_needed
from accsim.sparsity.nm import NM, VNM
from accsim.sparsity.patterns import Block, Channel, Dense, Unstructured

_SPELLINGS: Mapping[type[Pattern], str] = {
    Dense: "dense none no",
    NM: "nm n:m nbym semistructured",
    VNM: "vnm v:n:m venom",
    Block: "block blocks bsr blocksparse",
    Channel: "channel channels structured filter",
    Unstructured: "unstructured random fine",
    Window: "window slidingwindow sliding local",
    TopKeys: "topkeys topk elsa sanger",
}
KINDS: Mapping[str, type[Pattern]] = {kind.kind: kind for kind in _SPELLINGS}
"""Class of each kind of pattern."""

_ALIASES = {alias: kind for kind, text in _SPELLINGS.items() for alias in text.split()}
_NUMBERS = re.compile(r"(\d+)[:_](\d+)(?:[:_](\d+))?", re.ASCII)
_CALL = re.compile(r"([A-Za-z:]+(?:[_ -][A-Za-z:]+)*)(?: *\(([^()]*)\)|[_ ](\d.*))?", re.ASCII)
_ALLOWED = "a pattern such as 2:4, 64:2:8, nm(2, 4, axis=n), block(16, 16, 0.25), channel(0.5), unstructured(0.1)"


def read_pattern(value: object) -> Pattern:
    """The pattern that a text or a mapping stands for.

    Parameters
    ----------
    value
        A pattern, which is returned; a text; or a mapping with the key ``kind`` and the pattern's own fields.

    Raises
    ------
    InputError
        With what was read, what is allowed, and the nearest kind.

    Examples
    --------
    >>> read_pattern("2_4") == read_pattern("NM(2, 4)") == read_pattern({"kind": "n:m", "n": 2, "m": 4})
    True
    >>> read_pattern("64:2:8"), read_pattern("unstructured_1/3")
    (VNM(v=64, n=2, m=8, axis='k'), Unstructured(density=Fraction(1, 3), mask=None))
    >>> str(read_pattern("2_4")), str(read_pattern("NM(2, 4, axis=n)")), str(read_pattern("channel 0.5"))
    ('2:4', 'nm(2, 4, axis=n)', 'channel(1/2)')
    """
    if isinstance(value, Pattern):
        return value
    if isinstance(value, Mapping):
        return _from_mapping(value)
    if not isinstance(value, str) or len(value) > 200:
        raise _unreadable(value)
    text = value.strip()
    if match := _NUMBERS.fullmatch(text):
        numbers = [int(number) for number in match.groups() if number]
        return _build(NM if len(numbers) == 2 else VNM, numbers, {}, value)
    match = _CALL.fullmatch(text)
    if match is None:
        raise _unreadable(value)
    kind = _kind(match[1], value)
    parts = match[2].split(",") if match[2] else re.split(r"[,_]", match[3] or "")
    parts = [part.strip() for part in parts if part.strip()]
    return _build(kind, *_arguments(parts, value), value)


def _unreadable(value: object) -> InputError:
    return InputError(f"read {shown(value)}, allowed is {_ALLOWED}")


def _kind(name: str, value: object) -> type[Pattern]:
    plain = plain_name(name)
    if plain not in _ALIASES:
        near = nearest(plain, _ALIASES)
        message = f"read {shown(value)} with the kind '{name}', allowed are {', '.join(KINDS)}"
        raise InputError(Problem("", "", message, near and _ALIASES[near].kind))
    return _ALIASES[plain]


def _from_mapping(value: Mapping[Any, Any]) -> Pattern:
    kind = value.get("kind")
    if not isinstance(kind, str):
        raise InputError(f"read {shown(dict(value))} without a kind, allowed are {', '.join(KINDS)}")
    return _build(_kind(kind, kind), (), {name: item for name, item in value.items() if name != "kind"}, kind)


def _arguments(parts: Sequence[str], value: object) -> tuple[list[Any], dict[Any, Any]]:
    """Values by place and by name; those by name come last."""
    by_place: list[Any] = []
    by_name: dict[Any, Any] = {}
    for part in parts:
        name, equals, text = (piece.strip() for piece in part.partition("="))
        if equals and name not in by_name:
            by_name[name] = _value(text)
        elif equals or by_name:
            raise _unreadable(value)
        else:
            by_place.append(_value(name))
    return by_place, by_name


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.isascii() and text.isdecimal() else text


def _build(kind: type[Pattern], by_place: Sequence[Any], by_name: Mapping[Any, Any], value: object) -> Pattern:
    known = [field.name for field in fields(kind) if field.name != "mask"]  # type: ignore[arg-type]
    needed = {field.name for field in fields(kind) if is_needed(field)}  # type: ignore[arg-type]
    given = dict(zip(known, by_place, strict=False)) | dict(by_name)
    problems = [
        Problem(
            "", str(name)[:60], f"unknown in {kind.kind}, allowed are {', '.join(known)}", nearest(str(name), known)
        )
        for name in by_name
        if name not in known
    ]
    if len(by_place) > len(known) or set(known[: len(by_place)]) & set(by_name):
        problems.append(
            Problem("", "", f"read {shown(value)}, allowed in {kind.kind} are {', '.join(known) or 'none'}")
        )
    missing = [name for name in known if name in needed and name not in given]
    if missing:
        problems.append(Problem("", "", f"read {shown(value)}, {kind.kind} also needs {', '.join(missing)}"))
    if problems:
        raise InputError(problems)
    return kind(**given)

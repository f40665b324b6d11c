"""YAML files as plain data, with the line and column of every key and value.

Scalars follow the YAML 1.2 core schema: ``2:4`` and ``no`` are text, ``1e9`` is a float. Duplicate keys, tags for
objects, aliases that contain themselves and aliases that blow the file up are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from accsim.errors import InputError, Problem

MAX_FILE_BYTES = 5_000_000
MAX_DEPTH = 64
MAX_ALIASED_NODES = 10_000
_MAX_NUMBER_TEXT = 100

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the top of a document to a value."""

_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"(?:~|null|Null|NULL|)")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_INT = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)")
_FLOAT = re.compile(
    r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))"
)


class _CoreResolver(BaseResolver):
    """Implicit types of the YAML 1.2 core schema, instead of PyYAML's YAML 1.1."""


for _name, _pattern in (("null", _NULL), ("bool", _BOOL), ("int", _INT), ("float", _FLOAT)):
    _CoreResolver.add_implicit_resolver(_TAG + _name, re.compile(_pattern.pattern + r"\Z"), None)


class _BoundedComposer(Composer):
    """A composer that refuses nesting deeper than `MAX_DEPTH`."""

    depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[attr-defined]
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=mark)
        node: Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Loader(Reader, Scanner, Parser, _BoundedComposer, _CoreResolver):
    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)


@dataclass(frozen=True)
class MarkedDocument:
    """Plain data of one file and where each part of it stands.

    Attributes
    ----------
    name
        File name as the user gave it, for messages.
    data
        Nested dict, list, str, int, float, bool and None.
    marks
        Path to (key line, key column, value line, value column), counted from 1.
    overrides
        Path to the place of a value that did not come from the file (``"set:matrix_unit.rows"``).
    """

    name: str
    data: dict[str, Any]
    marks: Mapping[KeyPath, tuple[int, int, int, int]] = field(repr=False)
    overrides: Mapping[KeyPath, str] = field(default_factory=dict)

    def where(self, path: KeyPath, *, key: bool = False) -> str:
        """Place of the value, or of its key, as ``file:line:column``; if absent, of the nearest part around it."""
        for length in range(len(path), -1, -1):
            part = path[:length]
            if part in self.overrides:
                return self.overrides[part]
            if part in self.marks:
                key_line, key_column, line, column = self.marks[part]
                return f"{self.name}:{key_line}:{key_column}" if key else f"{self.name}:{line}:{column}"
            below = [place for other, place in self.overrides.items() if other[:length] == part]
            if below:
                return below[0]
        return self.name

    def with_value(self, path: KeyPath, value: object, where: str) -> MarkedDocument:
        """Copy with one value replaced or added; mappings on the way are made where absent."""
        top = dict(self.data)
        inner: Any = top
        for step in path[:-1]:
            below = inner.get(step)
            inner[step] = dict(below) if isinstance(below, dict) else {}
            inner = inner[step]
        inner[path[-1]] = value
        stale = len(path)
        kept = {p: where_ for p, where_ in self.overrides.items() if p[:stale] != path}
        return MarkedDocument(self.name, top, self.marks, {**kept, path: where})


def read_yaml(path: str | Path) -> MarkedDocument:
    """Contents of a YAML file whose top is a mapping.

    Raises
    ------
    InputError
        If the file cannot be read, is larger than 5 MB, is not UTF-8, is not YAML, or breaks a rule of this module.
    """
    name = str(path)
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(Problem(name, "", f"cannot read the file: {reason}")) from error
    if len(raw) > MAX_FILE_BYTES:
        raise InputError(Problem(name, "", f"the file is larger than {MAX_FILE_BYTES // 10**6} MB"))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        place = f"{name}:{before.count(10) + 1}:{error.start - before.rfind(10)}"
        raise InputError(Problem(place, "", f"read byte 0x{raw[error.start]:02x}, allowed is UTF-8 text")) from error
    return parse_yaml(text, name)


@lru_cache(maxsize=32)
def parse_yaml(text: str, name: str) -> MarkedDocument:
    """Contents of a YAML text; `name` stands for the file in messages. Raises as `read_yaml` does."""
    root = _compose(text, name)
    if root is None or (isinstance(root, ScalarNode) and root.tag == _TAG + "null"):
        raise InputError(Problem(f"{name}:1:1", "", "the file is empty, allowed is a mapping of keys to values"))
    builder = _Builder(name)
    data = builder.build(root, (), root)
    if builder.problems:
        raise InputError(builder.problems)
    if not isinstance(data, dict):
        kind = "a list" if isinstance(data, list) else "a single value"
        message = f"read {kind} at the top, allowed is a mapping of keys to values"
        raise InputError(Problem(_place(name, root), "", message))
    return MarkedDocument(name, data, builder.marks)


def parse_scalar(text: str) -> str | int | float | bool | None:
    """Value of an unquoted YAML 1.2 scalar.

    Examples
    --------
    >>> [parse_scalar(t) for t in ("64", "1e9", "2:4", "no", "true", "940 MHz", "~")]
    [64, 1000000000.0, '2:4', 'no', True, '940 MHz', None]
    """
    if len(text) > _MAX_NUMBER_TEXT:
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text[2:], {"o": 8, "x": 16}[text[1]]) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _compose(text: str, name: str) -> Node | None:
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node: Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = name if mark is None else f"{name}:{mark.line + 1}:{mark.column + 1}"
        raise InputError(Problem(place, "", _syntax_message(error))) from error
    except ReaderError as error:
        before = text[: error.position]
        place = f"{name}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
        message = f"read the character U+{ord(text[error.position]):04X}, which YAML does not allow"
        raise InputError(Problem(place, "", message)) from error
    except (ValueError, OverflowError) as error:
        at = f"{name}:1:1" if loader is None else f"{name}:{loader.line + 1}:{loader.column + 1}"
        raise InputError(Problem(at, "", f"not valid YAML: {error}")) from error
    return node


def _syntax_message(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "syntax error"
    if "\\t" in problem:
        return "read a tab, allowed are blanks for indentation"
    context = f"{error.context}, " if error.context else ""
    return f"not valid YAML: {context}{problem}"


def _place(name: str, node: Node) -> str:
    return f"{name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


class _Builder:
    """Turns composed nodes into plain data, noting marks and problems."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.marks: dict[KeyPath, tuple[int, int, int, int]] = {}
        self.problems: list[Problem] = []
        self._seen: set[int] = set()
        self._open: set[int] = set()
        self._aliased_nodes = 0

    def build(self, node: Node, path: KeyPath, key: Node) -> Any:
        at = (key.start_mark, node.start_mark)
        self.marks[path] = (at[0].line + 1, at[0].column + 1, at[1].line + 1, at[1].column + 1)
        self._bound_aliases(node, path)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        self._open.add(id(node))
        data = self._collection(node, path)
        self._open.discard(id(node))
        return data

    def _bound_aliases(self, node: Node, path: KeyPath) -> None:
        if id(node) in self._open:
            raise InputError([*self.problems, self._problem(node, path, "read an alias that contains itself")])
        if id(node) in self._seen:
            self._aliased_nodes += 1
            if self._aliased_nodes > MAX_ALIASED_NODES:
                message = f"aliases repeat more than {MAX_ALIASED_NODES} values"
                line, column = self.marks[path[:1]][:2]
                raise InputError([*self.problems, Problem(f"{self.name}:{line}:{column}", dotted(path[:1]), message)])
        self._seen.add(id(node))

    def _problem(self, node: Node, path: KeyPath, message: str) -> Problem:
        return Problem(_place(self.name, node), dotted(path), message)

    def _note(self, node: Node, path: KeyPath, message: str) -> None:
        self.problems.append(self._problem(node, path, message))

    def _collection(self, node: Node, path: KeyPath) -> Any:
        if isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
            return [self.build(item, (*path, i), item) for i, item in enumerate(node.value)]
        if isinstance(node, MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path)
        self._note(node, path, f"read the tag '{_tag_text(node.tag)}', allowed are values without a tag")
        return None

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self._note(key, path, "read a list or mapping as a key, allowed are plain names")
                continue
            name = key.value
            if name in data:
                line = self.marks[(*path, name)][0]
                self._note(key, (*path, name), f"the key is given twice, first on line {line}")
                continue
            if not _encodable(name):
                self._note(key, path, "read a key with a lone surrogate, allowed is Unicode text")
                continue
            data[name] = self.build(value, (*path, name), key)
        return data

    def _scalar(self, node: ScalarNode, path: KeyPath) -> Any:
        text = str(node.value)
        if node.tag == _TAG + "str":
            if not _encodable(text):
                self._note(node, path, "read text with a lone surrogate, allowed is Unicode text")
            return text
        kind = node.tag.removeprefix(_TAG)
        pattern = {"null": _NULL, "bool": _BOOL, "int": _INT, "float": _FLOAT}.get(kind)
        if pattern is None:
            message = f"read the tag '{_tag_text(node.tag)}', allowed are values without a tag"
        elif not pattern.fullmatch(text):
            message = f"read '{text[:80]}' with the tag '!!{kind}', which does not fit"
        elif len(text) > _MAX_NUMBER_TEXT:
            message = f"read a number of {len(text)} characters, allowed are at most {_MAX_NUMBER_TEXT}"
        else:
            value = parse_scalar(text)
            return float(value) if kind == "float" and isinstance(value, int) else value
        self._note(node, path, message)
        return None


def _tag_text(tag: str) -> str:
    return tag.replace(_TAG, "!!", 1)[:80]


def _encodable(text: str) -> bool:
    return not any(0xD800 <= ord(c) <= 0xDFFF for c in text)


def dotted(path: KeyPath) -> str:
    """Path as users write it.

    Examples
    --------
    >>> dotted(("ops", 3, "m")), dotted(("memories", "sg", "banks"))
    ('ops[3].m', 'memories.sg.banks')
    """
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text

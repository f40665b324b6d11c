"""A small, safe language of expressions over columns: limits (``area_mm2 <= 10``) and linked values.

Names are dotted, numbers may have a unit, and there are ``+ - * / // % **``, comparisons, ``and``, ``or``, ``not``,
``in``, ``min``, ``max``, ``abs``, ``log2`` and ``sqrt``. Text is parsed with :mod:`ast`, and only these nodes are run.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from accsim.sweep.axes import DIMENSIONS
from accsim.sweep.expression_types import ValueType, ValueTypeError, type_of
from accsim.units import DIMENSIONS as ALL_DIMENSIONS
from accsim.units import parse_quantity

MOST_LETTERS = 500

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda left, right: np.true_divide(left, right),
    ast.FloorDiv: lambda left, right: np.floor_divide(left, _divisor(right)),
    ast.Mod: lambda left, right: np.mod(left, _divisor(right)),
    ast.Pow: lambda base, power: np.power(np.asarray(base, np.float64), power),
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": lambda *values: np.minimum.reduce(np.broadcast_arrays(*values)),
    "max": lambda *values: np.maximum.reduce(np.broadcast_arrays(*values)),
    "abs": np.abs,
    "log2": np.log2,
    "sqrt": np.sqrt,
}
_UNITS = {unit: dimension for dimension in reversed(DIMENSIONS) for unit in ALL_DIMENSIONS[dimension].units}
_WITH_UNIT = re.compile(
    r"(?<![\w.])((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*("
    + "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
    + r")(?![\w/])"
)
_TEXT = re.compile(r"""('[^']*'|"[^"]*")""")


class ExpressionError(ValueError):
    """A text that is no expression of the language."""


@dataclass(frozen=True)
class Expression:
    """A checked expression: its text, and the dotted names it reads."""

    text: str
    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Expression:
        """The expression that a text states.

        Raises
        ------
        ExpressionError
            When it is none.

        Examples
        --------
        >>> Expression.parse("memories.sg.capacity <= 2 MiB and energy_j < 1").names
        ('energy_j', 'memories.sg.capacity')
        """
        tree = _tree(text)
        return cls(text, tuple(sorted(set(_names(tree)))))

    def type(self, types: Mapping[str, ValueType]) -> ValueType:
        """What it gives, a number, a text, or true or false, where its names are of these types.

        Raises
        ------
        ExpressionError
            When parts of it do not go together, as a text and a number that are compared.
        """
        try:
            return type_of(_tree(self.text), types)
        except ValueTypeError as error:
            raise ExpressionError(str(error)) from error

    def of(self, columns: Mapping[str, Any]) -> Any:
        """Its value where each name stands for a number, a text, or an array of them."""
        with np.errstate(all="ignore"):
            return _value(_tree(self.text), columns)

    def kept(self, columns: Mapping[str, Any], points: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Whether it is true of each of so many points; false where a number is missing (nan)."""
        return np.broadcast_to(np.asarray(self.of(columns), bool), (points,)).copy()

    def excess(self, columns: Mapping[str, Any]) -> float:
        """By how much it fails to be true of one point: 0 where it is true, at most 1.

        A comparison counts the difference of its sides over the greater of them, ``and`` the most that is missing,
        ``or`` the least; all else that is not true counts 1, and so does a number that is missing (nan).

        Examples
        --------
        >>> Expression.parse("area_mm2 <= 6").excess({"area_mm2": 8.0})
        0.25
        """
        with np.errstate(all="ignore"):
            return _excess(_tree(self.text), columns)


def _divisor(value: Any) -> Any:
    """What is divided by; nan for a whole number 0, by which NumPy finds 0."""
    return np.where(np.equal(value, 0), np.nan, value) if np.any(np.equal(value, 0)) else value


def _tree(text: str) -> ast.expr:
    if len(text) > MOST_LETTERS:
        raise ExpressionError(f"read {len(text)} letters, allowed are at most {MOST_LETTERS}")
    parts = _TEXT.split(text)
    plain = "".join(part if i % 2 else _WITH_UNIT.sub(_in_base_unit, part) for i, part in enumerate(parts))
    try:
        return ast.parse(plain.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ExpressionError(f"read '{text}', allowed is an expression such as 'area_mm2 <= 10'") from error


def _in_base_unit(found: re.Match[str]) -> str:
    number, unit = found.groups()
    return repr(parse_quantity(f"{number} {unit}", _UNITS[unit]))


def _names(node: ast.expr) -> Iterator[str]:
    """The names an expression reads; refuses what the language does not have."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str()):
            return
        case ast.Name() | ast.Attribute():
            yield _dotted(node)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            yield from _names(left)
            yield from _names(right)
        case ast.UnaryOp(op=ast.USub() | ast.Not(), operand=operand):
            yield from _names(operand)
        case ast.BoolOp(values=values):
            for value in values:
                yield from _names(value)
        case ast.Compare(left=left, ops=ops, comparators=others):
            yield from _names(left)
            for comparison, other in zip(ops, others, strict=True):
                if isinstance(comparison, ast.In | ast.NotIn):
                    _listed(other)
                elif type(comparison) in _COMPARE:
                    yield from _names(other)
                else:
                    raise ExpressionError("'is' is not part of the language; allowed is '=='")
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS and arguments:
            for argument in arguments:
                yield from _names(argument)
        case ast.Call():
            raise ExpressionError(f"unknown function '{ast.unparse(node)}', allowed are {', '.join(_FUNCTIONS)}")
        case _:
            raise ExpressionError(f"'{ast.unparse(node)}' is not part of the language")


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    raise ExpressionError(f"'{ast.unparse(node)}' is no name")


def _listed(node: ast.expr) -> list[Any]:
    if isinstance(node, ast.List | ast.Tuple) and all(isinstance(item, ast.Constant) for item in node.elts):
        return [item.value for item in node.elts if isinstance(item, ast.Constant)]
    raise ExpressionError("after 'in' a list of values is allowed")


def _value(node: ast.expr, columns: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name() | ast.Attribute():
            return columns[_dotted(node)]
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_value(left, columns), _value(right, columns))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return np.logical_not(_value(operand, columns))
        case ast.UnaryOp(operand=operand):
            return operator.neg(_value(operand, columns))
        case ast.BoolOp(op=op, values=values):
            join = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return join.reduce(np.broadcast_arrays(*(_value(value, columns) for value in values)))
        case ast.Compare(left=left, ops=ops, comparators=others):
            return _compared(_value(left, columns), ops, others, columns)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _FUNCTIONS[name](*(_value(argument, columns) for argument in arguments))
    raise AssertionError(ast.unparse(node))  # refused when it was parsed


def _compared(left: Any, ops: list[ast.cmpop], others: list[ast.expr], columns: Mapping[str, Any]) -> Any:
    """A chain of comparisons: every neighbouring pair holds."""
    holds: Any = True
    for op, other in zip(ops, others, strict=True):
        if isinstance(op, ast.In | ast.NotIn):
            among = np.any([np.asarray(left == value) for value in _listed(other)], axis=0)
            holds = np.logical_and(holds, among if isinstance(op, ast.In) else np.logical_not(among))
        else:
            right = _value(other, columns)
            holds = np.logical_and(holds, _COMPARE[type(op)](left, right))
            left = right
    return holds


def _excess(node: ast.expr, columns: Mapping[str, Any]) -> float:
    match node:
        case ast.BoolOp(op=op, values=values):
            parts = [_excess(value, columns) for value in values]
            return max(parts) if isinstance(op, ast.And) else min(parts)
        case _ if np.all(_value(node, columns)):
            return 0.0
        case ast.Compare(left=left, ops=[ast.Lt() | ast.LtE() | ast.Gt() | ast.GtE()], comparators=[right]):
            sides = [float(_value(side, columns)) for side in (left, right)]
            most = max(abs(side) for side in sides)
            return min(abs(sides[0] - sides[1]) / most, 1.0) if 0 < most < np.inf else 1.0
    return 1.0

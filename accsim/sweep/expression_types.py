"""Types of expressions: number, text or truth, so that what cannot be computed is refused before anything is run."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any

NUMBER, TEXT, TRUTH = "a number", "a text", "true or false"
ValueType = str | None
"""One of the three; None where it is not known."""

OF_COLUMN = {"int64": NUMBER, "float64": NUMBER, "bool": TRUTH, "text": TEXT}
"""Type of the values of a column of results, by the type it is given."""
OF_DTYPE = {"i": NUMBER, "f": NUMBER, "b": TRUTH, "O": TEXT}
"""Type of the values of a column, by the kind of its dtype."""
MOST = 2**63 - 1
ONE_ARGUMENT = ("abs", "log2", "sqrt")
_ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_DIVIDES = (ast.Div, ast.FloorDiv, ast.Mod)


class ValueTypeError(ValueError):
    """An expression whose parts do not go together."""


def type_of_value(value: Any) -> ValueType:
    """Type of a plain value.

    Examples
    --------
    >>> type_of_value(2.5), type_of_value("flat"), type_of_value(True), type_of_value(None)
    ('a number', 'a text', 'true or false', None)
    """
    if isinstance(value, bool):
        return TRUTH
    return NUMBER if isinstance(value, int | float) else TEXT if isinstance(value, str) else None


def type_of(node: ast.expr, types: Mapping[str, ValueType]) -> ValueType:
    """What an expression gives, where names are of these types; any other name may be of each.

    Raises
    ------
    ValueTypeError
        Where something is computed or compared that cannot be, and for a division by 0.
    """
    match node:
        case ast.Constant(value=value):
            if isinstance(value, int) and value > MOST:
                raise ValueTypeError(
                    f"read a number of {len(str(value))} digits, allowed are whole numbers up to {MOST}"
                )
            return type_of_value(value)
        case ast.Name() | ast.Attribute():
            return types.get(ast.unparse(node))
        case ast.BinOp(left=left, op=op, right=right):
            _need(NUMBER, (left, right), types)
            if isinstance(op, _DIVIDES) and isinstance(right, ast.Constant) and right.value == 0:
                raise ValueTypeError(f"'{ast.unparse(node)}' divides by zero")
            return NUMBER
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _need(TRUTH, [operand], types)
        case ast.UnaryOp(operand=operand):
            return _need(NUMBER, [operand], types)
        case ast.BoolOp(values=values):
            return _need(TRUTH, values, types)
        case ast.Compare(left=left, ops=ops, comparators=others):
            for one, comparison, other in zip([left, *others], ops, others, strict=False):
                _compared(one, comparison, other, types)
            return TRUTH
        case ast.Call(func=ast.Name(id=name), args=arguments):
            if name in ONE_ARGUMENT and len(arguments) != 1:
                raise ValueTypeError(f"'{ast.unparse(node)}' has {len(arguments)} arguments, allowed is one")
            return _need(NUMBER, arguments, types)
    raise AssertionError(ast.unparse(node))  # refused when it was parsed


def _need(wanted: str, nodes: Iterable[ast.expr], types: Mapping[str, ValueType]) -> ValueType:
    """Refuse parts that are of another type."""
    for node in nodes:
        found = type_of(node, types)
        if found not in (wanted, None):
            raise ValueTypeError(f"read {ast.unparse(node)}, which is {found}; allowed is {wanted}")
    return wanted


def _compared(left: ast.expr, op: ast.cmpop, right: ast.expr, types: Mapping[str, ValueType]) -> None:
    """Refuse two sides, or a value and those of a list, that are not of the same type."""
    if isinstance(op, _ORDER):
        _need(NUMBER, (left, right), types)
        return
    others = right.elts if isinstance(op, ast.In | ast.NotIn) and isinstance(right, ast.List | ast.Tuple) else [right]
    wanted = type_of(left, types)
    for other in others:
        found = type_of(other, types)
        if wanted and found and wanted != found:
            sides = f"read {ast.unparse(left)}, which is {wanted}, beside {ast.unparse(other)}, which is {found}"
            raise ValueTypeError(f"{sides}; allowed are two of one type")

"""Routings by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from accsim.config.checks import shown
from accsim.errors import InputError, Problem, check_choice, nearest
from accsim.network.dimension_order import DimensionOrder
from accsim.network.optimal import Optimal
from accsim.network.routing import Minimal, Routing, Valiant
from accsim.workload.query import parse_query

ROUTINGS: Final[Mapping[str, type[Routing]]] = {rule.name: rule for rule in (Minimal, DimensionOrder, Valiant, Optimal)}
"""Class of each routing."""


def read_routing(spec: str | Routing) -> Routing:
    """The routing of a text such as ``minimal`` or ``dimension_order?ties=shortest``.

    Raises
    ------
    InputError
        With what was read, what is allowed, and the nearest name.

    Examples
    --------
    >>> read_routing("dimension_order?ties=axis_split&order=2,1,0")
    DimensionOrder(ties='axis_split', order=(2, 1, 0))
    """
    if isinstance(spec, Routing):
        return spec
    if not isinstance(spec, str):
        raise InputError(f"read {shown(spec)} as a routing, allowed are {', '.join(ROUTINGS)}")
    name, query = parse_query(spec)
    check_choice("routing", name[:60], tuple(ROUTINGS))
    rule = ROUTINGS[name]
    known = [field.name for field in fields(rule)]  # type: ignore[arg-type]
    problems = [
        Problem(
            f"query:{key[:60]}", "", f"unknown in {name}, allowed are {', '.join(known) or 'none'}", nearest(key, known)
        )
        for key in query
        if key not in known
    ]
    if problems:
        raise InputError(problems)
    values: dict[str, object] = dict(query)
    if "order" in values:
        values["order"] = _numbers(query["order"])
    return rule(**values)


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise InputError(Problem("query:order", "", f"read {shown(text)}, allowed are numbers of axes, such as 2,1,0"))
    return tuple(int(part) for part in parts)

"""What a search of designs minimizes: expressions of a design's numbers, ``latency_s`` or ``-matrix_utilization``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from accsim.errors import InputError, Problem, nearest
from accsim.sweep.columns import NUMBERS
from accsim.sweep.expression_types import NUMBER
from accsim.sweep.expressions import Expression, ExpressionError
from accsim.sweep.fields import why_no_area
from accsim.sweep.settings import machine_of, split
from accsim.sweep.space import Space, plain

MOST = 4


def read_objectives(space: Space, texts: Sequence[str]) -> tuple[Expression, ...]:
    """The objectives of a search.

    Raises
    ------
    InputError
        For none or too many, one twice, what is no expression, names that are no numbers of a design, and an area
        that is not known.
    """
    columns = space.columns(0, 1)
    known = (*NUMBERS, *(key for key, column in columns.items() if column.dtype.kind in "if"))
    found, problems = [], []
    if not 1 <= len(texts) <= MOST:
        problems.append(Problem("--objective", "", f"read {len(texts)} objectives, allowed are 1 to {MOST}"))
    for i, text in enumerate(texts):
        try:
            expression = Expression.parse(text)
        except ExpressionError as error:
            problems.append(Problem("--objective", text, str(error)))
            continue
        found.append(expression)
        try:
            found_type = expression.type(dict.fromkeys(known, NUMBER))
        except ExpressionError as error:
            problems.append(Problem("--objective", text, str(error)))
        else:
            if found_type not in (NUMBER, None):
                problems.append(Problem("--objective", text, f"is {found_type}, allowed is {NUMBER}"))
        if text in texts[:i]:
            problems.append(Problem("--objective", text, "is given twice"))
        for name in expression.names:
            if name not in known:
                allowed = f"'{name}' is no number of a design, allowed are {', '.join(known)}"
                problems.append(Problem("--objective", text, allowed, nearest(name, known)))
        if "area_mm2" in expression.names:
            problems += [Problem("--objective", text, why) for why in _without_area(space)]
    if problems:
        raise InputError(problems)
    return tuple(found)


def _without_area(space: Space) -> Iterator[str]:
    """Why the area of a machine is not known, of those of which it is not."""
    first = space.with_linked({axis.key: axis.ends[:1] for axis in space.axes}, 1)
    setting = split({key: plain(column[0]) for key, column in first.items()}, space.dimensions).machine
    for name in space.machines:
        why = why_no_area(machine_of(name, space.folder, setting), space.keys)
        if why is not None:
            yield why


def values_of(objectives: Sequence[Expression], numbers: Mapping[str, float]) -> list[float]:
    """The objectives of a design; infinite where a number is missing or the objective is not finite."""
    values = [float(objective.of(numbers)) for objective in objectives]
    return [value if math.isfinite(value) else math.inf for value in values]


def without_value(objectives: Sequence[Expression], numbers: Mapping[str, float]) -> str | None:
    """Why a design whose numbers are known cannot be compared; None where all objectives are finite."""
    values = values_of(objectives, numbers)
    return next((f"{o.text} is not finite" for o, v in zip(objectives, values, strict=True) if math.isinf(v)), None)

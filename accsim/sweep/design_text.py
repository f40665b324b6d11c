"""Designs as the command line writes them: ``flat_edge?mapping.dataflow=flat&memories.sg.capacity=128KiB``."""

from __future__ import annotations

from accsim.errors import InputError, Problem, nearest
from accsim.sweep.axes import Axis, Scalar
from accsim.sweep.designs import Design
from accsim.sweep.space import Space
from accsim.units import UnitError, parse_quantity


def read_design(space: Space, text: str) -> Design:
    """A design of a space; without a machine it has the first one of the space.

    Raises
    ------
    InputError
        With every field that is no axis and every value that it cannot take.
    """
    machine, _, given = text.partition("?")
    axes = {axis.key: axis for axis in space.axes}
    values, problems = {}, []
    for setting in filter(None, given.split("&")):
        key, equals, value = setting.partition("=")
        if not equals or key not in axes:
            allowed = f"allowed is FIELD=VALUE with a field that is an axis: {', '.join(axes)}"
            problems.append(Problem(text, setting, allowed, nearest(key, list(axes))))
            continue
        try:
            values[key] = _value(axes[key], value)
        except ValueError as error:
            near = nearest(value, [str(one) for one in axes[key].values])
            problems.append(Problem(text, key, str(error), near))
    if problems:
        raise InputError(problems)
    return Design(machine or space.machines[0], values)


def _value(axis: Axis, text: str) -> Scalar:
    """A value in the base unit; a text must be one that the axis has."""
    if axis.dimension:
        try:
            return parse_quantity(text, axis.dimension)
        except UnitError as error:
            raise ValueError(f"{error.problems[0].message}") from error
    named = {str(value).lower(): value for value in axis.values}
    if axis.ends.dtype.kind in "Ob":
        if text.lower() not in named:
            raise ValueError(f"read '{text}', allowed are {', '.join(map(str, axis.values))}")
        return named[text.lower()]
    try:
        return int(text) if axis.ends.dtype.kind == "i" else float(text)
    except ValueError:
        raise ValueError(f"read '{text}', allowed is a number") from None

"""What a search may choose: a parameter of Optuna for the machine and for each axis that has more than one value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from accsim.errors import InputError, Problem
from accsim.sweep.axes import Axis, Scalar
from accsim.sweep.designs import Design
from accsim.sweep.space import Space, plain

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MACHINE = "machine"


def choices_of(space: Space) -> dict[str, BaseDistribution]:
    """Parameter -> what it may be. That of an axis of numbers is the place of the value among all, in rising order.

    Raises
    ------
    InputError
        For a space of one design.
    """
    from optuna.distributions import CategoricalDistribution

    found: dict[str, BaseDistribution] = {}
    if len(space.machines) > 1:
        found[MACHINE] = CategoricalDistribution(space.machines)
    for axis in space.axes:
        if axis.interval or axis.size > 1:
            found[axis.key] = _choice(axis)
    if not found:
        message = "has one design; allowed is a space with several machines, or an axis of several values"
        raise InputError(Problem(space.name, "", message))
    return found


def _choice(axis: Axis) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.interval:
        log = axis.interval == "loguniform"
        low, high = (float(end) for end in axis.values)
        if axis.whole:
            return IntDistribution(int(low), int(high), log=log)
        return FloatDistribution(low, high, log=log)
    if axis.column.dtype.kind in "if":
        return IntDistribution(0, axis.size - 1)
    return CategoricalDistribution(axis.values)


def design_of(space: Space, chosen: Mapping[str, Any]) -> Design:
    """The design that some choices make."""
    values = {axis.key: _value(axis, chosen.get(axis.key)) for axis in space.axes}
    return Design(chosen.get(MACHINE, space.machines[0]), values)


def _value(axis: Axis, chosen: Any) -> Scalar:
    if axis.interval:
        value: Scalar = chosen
        return value
    if chosen is None:
        return axis.values[0]
    if axis.column.dtype.kind in "if":
        return plain(np.sort(axis.column)[chosen])
    return axis.values[axis.values.index(chosen)]

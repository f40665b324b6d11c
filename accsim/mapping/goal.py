"""What a search is for: an objective, constraints, and the order in which mappings are preferred.

``docs/search.md`` states what each quantity is and how ties are broken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from accsim.engine.tables import IntArray
from accsim.errors import InputError, Problem, check_choice, nearest
from accsim.units import UnitError, format_quantity, parse_quantity

FloatArray = npt.NDArray[np.float64]
Number = TypeVar("Number")

OBJECTIVES = ("latency", "energy", "edp", "traffic", "footprint")
TIMELESS = ("traffic", "footprint")
"""Objectives that are known of a mapping before it is run; ties go to the fastest."""
DIMENSIONS = {
    "latency": "time",
    "energy": "energy",
    "edp": "energy_delay",
    "traffic": "bytes",
    "footprint": "bytes",
    "power": "power",
}
"""What a constraint may limit, with the dimension of its unit."""
EFFORTS = ("standard", "exhaustive")
TIE = 1e-5
"""Mappings whose objective is within this relative distance of the least are as good as the best."""
_LIMIT = re.compile(r"\s*(\w*)\s*<=\s*(.*)")


class Costs(NamedTuple, Generic[Number]):
    """What a mapping costs, or arrays of what many do.

    ``latency_s`` and ``energy_j`` are of the op as it is reported, fixed overheads included, at the full clock;
    ``traffic_bytes`` enter and leave main memory, of all cores, in whole bytes; ``footprint_bytes`` are reserved in
    the local memory by one core.
    """

    latency_s: Number
    energy_j: Number
    traffic_bytes: Number
    footprint_bytes: Number

    def of(self, quantity: str) -> Number:
        """One of the quantities of ``DIMENSIONS``, in s, J, J s, bytes or W."""
        numbers: Any = self
        known = {"latency": 0, "energy": 1, "traffic": 2, "footprint": 3}
        if quantity in known:
            value: Number = numbers[known[quantity]]
        elif quantity == "edp":
            value = numbers.latency_s * numbers.energy_j
        else:
            value = numbers.energy_j / numbers.latency_s
        return value


def stack(costs: Sequence[Costs[float]]) -> Costs[FloatArray]:
    """The costs of several mappings as arrays."""
    return Costs(*np.array(costs, np.float64).reshape(-1, len(Costs._fields)).T)


@dataclass(frozen=True)
class Constraint:
    """An upper limit that every op's mapping keeps, e.g. ``Constraint.parse("footprint <= 256 KiB")``.

    Parameters
    ----------
    quantity : ``latency``, ``energy``, ``edp``, ``traffic``, ``footprint`` or ``power``, each of one run of an op.
    limit : the most that is allowed, in s, J, J s, bytes or W.

    Raises
    ------
    InputError
        For an unknown quantity.
    """

    quantity: str
    limit: float

    def __post_init__(self) -> None:
        check_choice("quantity of a constraint", self.quantity, tuple(DIMENSIONS))

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """The constraint that a text states.

        Raises
        ------
        InputError
            For anything but QUANTITY <= LIMIT with a unit.

        Examples
        --------
        >>> Constraint.parse("footprint <= 256 KiB")
        Constraint(quantity='footprint', limit=262144)
        """
        found = _LIMIT.fullmatch(text)
        if found is None:
            message = f"read '{text}', allowed is QUANTITY <= LIMIT, such as 'footprint <= 256 KiB'"
            raise InputError(Problem("constraint", "", message))
        quantity, limit = found.groups()
        if quantity not in DIMENSIONS:
            message = f"unknown quantity '{quantity}', allowed are {', '.join(DIMENSIONS)}"
            raise InputError(Problem("constraint", "", message, nearest(quantity, DIMENSIONS)))
        try:
            return cls(quantity, parse_quantity(limit, DIMENSIONS[quantity]))
        except UnitError as error:
            raise InputError(Problem("constraint", quantity, error.message, error.suggestion)) from error

    def __str__(self) -> str:
        return f"{self.quantity} <= {format_quantity(self.limit, DIMENSIONS[self.quantity])}"

    def kept(self, costs: Costs[FloatArray]) -> npt.NDArray[np.bool_]:
        """Whether each of many mappings keeps it."""
        return np.asarray(costs.of(self.quantity) <= self.limit)


def read_constraints(given: Sequence[Constraint | str] | str) -> tuple[Constraint, ...]:
    """Constraints given as such or as texts.

    Raises
    ------
    InputError
        With every problem.
    """
    found: list[Constraint] = []
    problems: list[Problem] = []
    for item in [given] if isinstance(given, str) else given:
        try:
            found.append(Constraint.parse(item) if isinstance(item, str) else item)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return tuple(found)


@dataclass(frozen=True)
class Goal:
    """What a search minimizes, what it keeps to, and how fine its grid of tile sizes is.

    Raises
    ------
    InputError
        For an unknown objective or effort.
    """

    objective: str = "latency"
    constraints: tuple[Constraint, ...] = ()
    effort: str = "standard"

    def __post_init__(self) -> None:
        check_choice("objective", self.objective, OBJECTIVES)
        check_choice("effort", self.effort, EFFORTS)

    def kept(self, costs: Costs[FloatArray]) -> npt.NDArray[np.bool_]:
        """Whether each of many mappings keeps every constraint."""
        kept = np.ones(len(costs.latency_s), bool)
        for constraint in self.constraints:
            kept &= constraint.kept(costs)
        return kept


def read_goal(objective: str, constraints: Sequence[Constraint | str] | str, effort: str) -> Goal:
    """A goal from what a user gave.

    Raises
    ------
    InputError
        With every problem.
    """
    problems: list[Problem] = []
    limits: tuple[Constraint, ...] = ()
    try:
        limits = read_constraints(constraints)
    except InputError as error:
        problems += error.problems
    for what, value, allowed in (("objective", objective, OBJECTIVES), ("effort", effort, EFFORTS)):
        try:
            check_choice(what, value, allowed)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return Goal(objective, limits, effort)


def preference(costs: Costs[FloatArray], objective: str) -> IntArray:
    """The order of mappings from the best to the worst; of equal ones the first listed comes first.

    Those within ``TIE`` of the least objective are as good as each other in it. Then counts, for ``traffic`` and
    ``footprint``, latency in the same way; then traffic, footprint, energy, and the objective itself.
    """
    value = costs.of(objective)
    first = _tied(value, value)
    keys = [first]
    if objective in TIMELESS:
        keys.append(_tied(costs.latency_s, costs.latency_s[first == first.min(initial=np.inf)]))
    keys += [costs.traffic_bytes, costs.footprint_bytes, costs.energy_j, value]
    return np.asarray(np.lexsort(keys[::-1]))


def _tied(value: FloatArray, among: FloatArray) -> FloatArray:
    """Values, with the least among some of them instead of those within ``TIE`` of it."""
    least = among.min(initial=np.inf)
    return np.where(value <= least * (1 + TIE), least, value)

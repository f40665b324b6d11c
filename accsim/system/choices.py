"""What a step on a slice leaves open: its choices by name, and those that a machine has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypedDict

from accsim.config.machine import Accelerator
from accsim.errors import InputError, Problem, check_choice
from accsim.mapping.sparse_core import PLACES
from accsim.system.places import DEFAULT_PLACE, check_place
from accsim.system.placing import PLACEMENTS
from accsim.system.recommend import DEDUP
from accsim.system.schedules import SCHEDULES


class StepOptions(TypedDict, total=False):
    """Choices of a step, as options of `accsim.system.train_step`."""

    schedule: str
    dedup: str
    placement: str
    where: str


CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "schedule": tuple(SCHEDULES),
    "dedup": DEDUP,
    "placement": PLACEMENTS,
    "where": tuple(PLACES),
}
"""Option of `accsim.system.train_step` -> its values."""


def check_choices(chip: Accelerator, given: Mapping[str, object]) -> None:
    """Refuse what is no choice, and places that a machine has not; one that is not given is the default.

    Raises
    ------
    InputError
        With every one.
    """
    problems: list[Problem] = []
    for name, value in given.items():
        try:
            check_choice("choice of a step", name, tuple(CHOICES))
            check_choice(name, str(value), CHOICES[name])
        except InputError as error:
            problems += [replace(problem, path=name) for problem in error.problems]
    if not problems:
        check_place(chip, str(given.get("where", DEFAULT_PLACE)))
    if problems:
        raise InputError(problems)

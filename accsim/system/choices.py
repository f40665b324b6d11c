"""What a step on a slice leaves open: its choices by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final, TypedDict

from accsim.embedding.imbalance import SCOPES
from accsim.embedding.model_trace import Trace
from accsim.errors import InputError, check_choice, read_all
from accsim.mapping.sparse_core import PLACES
from accsim.system.placing import BEST, PLACEMENTS
from accsim.system.schedules import SCHEDULES

DEDUP: Final = (BEST, *SCOPES)
"""Where duplicates of a batch are dropped; or the one of these places with which the step is fastest."""
DEFAULT_PLACE: Final = "sparse_core"


class StepOptions(TypedDict, total=False):
    """Choices of a step, as options of `accsim.system.train_step`, and what it looks up."""

    schedule: str
    dedup: str
    placement: str
    where: str
    trace: Trace


CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "schedule": tuple(SCHEDULES),
    "dedup": DEDUP,
    "placement": PLACEMENTS,
    "where": tuple(PLACES),
}
"""Option of `accsim.system.train_step` -> its values."""


def check_choices(given: Mapping[str, object]) -> None:
    """Refuse what is no choice of a step.

    Raises
    ------
    InputError
        With every one, and the nearest that there is.
    """
    read_all(*(partial(_check, name, str(value)) for name, value in given.items()))


def _check(name: str, value: str) -> None:
    try:
        check_choice("choice of a step", name, tuple(CHOICES))
        check_choice(name, value, CHOICES[name])
    except InputError as error:
        raise InputError([replace(problem, path=name) for problem in error.problems]) from error

"""Where a step's embeddings are looked up: the chip's embedding units, or what the field uses without them.

Each place has rates for what a `StepWork` asks; a new one is a `Place` and a line of `PLACES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from accsim.config.machine import Accelerator
from accsim.embedding.work import StepWork
from accsim.engine.program import Program
from accsim.errors import InputError, Problem, check_choice
from accsim.mapping.embedding_core import gpu, tensor_core
from accsim.mapping.embedding_passes import backward, forward
from accsim.mapping.embedding_place import Place
from accsim.mapping.embedding_processors import host, servers
from accsim.mapping.sparse_core_tile import busiest_tile


@dataclass(frozen=True)
class UnitPrograms:
    """The programs of a step's embeddings on one chip, without the exchange between chips.

    Attributes
    ----------
    where
        A key of `PLACES`.
    forward, backward
        The two passes; 4096 ticks are a cycle of the chip's clock, actions are counted for the whole chip.
    shared
        Resources that work of the dense half holds too, by the same names; their busy ticks are of the whole chip's.
    exchanged
        Whether chips exchange ids and vectors with each other, as `StepWork.exchange` says.
    """

    where: str
    forward: Program
    backward: Program
    shared: tuple[str, ...]
    exchanged: bool


def unit_programs(accelerator: Accelerator, work: StepWork, where: str = "sparse_core") -> UnitPrograms:
    """The forward and the backward program of a step's embeddings.

    Raises
    ------
    InputError
        For an unknown place, a machine that has it not, or rows dealt over another number of tiles than it has.
    """
    owner = place_of(accelerator, where).at(work)
    return UnitPrograms(where, forward(owner), backward(owner), owner.shared, owner.exchanged)


def place_of(accelerator: Accelerator, where: str) -> Place:
    """A place of a machine.

    Raises
    ------
    InputError
        For an unknown place, or a machine that has it not, with those that it has.
    """
    check_choice("place of embeddings", where, tuple(PLACES))
    try:
        return PLACES[where](accelerator)
    except InputError as error:
        here = ", ".join(places_of(accelerator)) or "none"
        message = f"read '{where}', allowed on {accelerator.name} are {here}"
        raise InputError([*error.problems, Problem("", "where", message)]) from error


def places_of(accelerator: Accelerator) -> tuple[str, ...]:
    """Names of the places that a machine has."""
    return tuple(name for name, place in PLACES.items() if _has(accelerator, place))


def _has(accelerator: Accelerator, place: Callable[[Accelerator], Place]) -> bool:
    try:
        place(accelerator)
    except InputError:
        return False
    return True


PLACES: Final[Mapping[str, Callable[[Accelerator], Place]]] = {
    "sparse_core": busiest_tile,
    "tensor_core": tensor_core,
    "gpu": gpu,
    "host": host,
    "variable_server": servers,
}
"""Places by name."""

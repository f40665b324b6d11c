"""Which places a machine has to look rows up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from accsim.config.machine import Accelerator
from accsim.errors import InputError, Problem, check_choice
from accsim.mapping.sparse_core import PLACES

DEFAULT_PLACE: Final = "sparse_core"
NEEDS: Final[Mapping[str, Callable[[Accelerator], Mapping[str, object]]]] = {
    "sparse_core": lambda chip: {"sparse_core": chip.sparse_core},
    "tensor_core": lambda chip: {"row_dma": chip.row_dma},
    "gpu": lambda chip: {
        f"memories.{chip.main_memory.name}.standard": chip.main_memory.standard,
        "overheads.op": chip.overheads.get("op"),
    },
    "host": lambda chip: {"host": chip.host, "row_dma": chip.row_dma},
    "variable_server": lambda chip: {"data_center": chip.data_center, "row_dma": chip.row_dma},
}
"""Place -> what of a machine's file its model reads, by field; None where the file has it not."""


def missing(chip: Accelerator, where: str) -> list[str]:
    """Fields that a machine lacks for a place."""
    return [field for field, given in NEEDS[where](chip).items() if given is None]


def places_of(chip: Accelerator) -> tuple[str, ...]:
    """Places that a machine has.

    Examples
    --------
    >>> from accsim.config.catalogue import load_accelerator
    >>> places_of(load_accelerator("h100_sxm"))
    ('gpu',)
    """
    return tuple(where for where in PLACES if not missing(chip, where))


def check_place(chip: Accelerator, where: str) -> None:
    """Refuse a place that a machine has not.

    Raises
    ------
    InputError
        With what its file lacks, and the places that it has.
    """
    check_choice("place of embeddings", where, tuple(PLACES))
    lacking, has = missing(chip, where), places_of(chip)
    if lacking:
        message = f"'{where}' needs {' and '.join(lacking)}, which {chip.name} has not; "
        found = f"of the places of embeddings it has {', '.join(has)}" if has else "it has no place of embeddings"
        raise InputError(Problem("", "where", message + found, has[0] if len(has) == 1 else None))

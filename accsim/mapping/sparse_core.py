"""Where a step's embeddings are looked up: the chip's embedding units, or what the field uses without them.

Each place is a writer of tile programs over the same `StepWork`; a new one is a function and a line of `PLACES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from accsim.config.machine import Accelerator
from accsim.embedding.work import StepWork
from accsim.engine.program import Program
from accsim.errors import check_choice
from accsim.mapping.embedding_core import gpu, tensor_core
from accsim.mapping.embedding_passes import backward, forward
from accsim.mapping.embedding_processors import host, servers
from accsim.mapping.machine_numbers import port, ways
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
    exchanged: bool = True


def unit_programs(accelerator: Accelerator, work: StepWork, where: str = "sparse_core") -> UnitPrograms:
    """The forward and the backward program of a step's embeddings.

    Raises
    ------
    InputError
        For an unknown place, or a machine that has it not.
    """
    check_choice("place of embeddings", where, tuple(PLACES))
    return PLACES[where](accelerator, work)


def _sparse_core(accelerator: Accelerator, work: StepWork) -> UnitPrograms:
    main = accelerator.main_memory
    shared = tuple(dict.fromkeys((port(main, "read"), port(main, "write"))))
    tile = busiest_tile(accelerator, work)
    return UnitPrograms("sparse_core", forward(tile, tile), backward(tile, tile), shared)


def _tensor_core(accelerator: Accelerator, work: StepWork) -> UnitPrograms:
    core = tensor_core(accelerator, work)
    return UnitPrograms("tensor_core", forward(core, core), backward(core, core), _of_cores(accelerator))


def _gpu(accelerator: Accelerator, work: StepWork) -> UnitPrograms:
    core = gpu(accelerator, work)
    return UnitPrograms("gpu", forward(core, core), backward(core, core), _of_cores(accelerator))


def _host(accelerator: Accelerator, work: StepWork) -> UnitPrograms:
    far = host(accelerator, work)
    return UnitPrograms("host", forward(far, far.chip), backward(far, far.chip), _of_cores(accelerator))


def _variable_server(accelerator: Accelerator, work: StepWork) -> UnitPrograms:
    far = servers(accelerator, work)
    shared = _of_cores(accelerator)
    return UnitPrograms("variable_server", forward(far, far.chip), backward(far, far.chip), shared, exchanged=False)


def _of_cores(accelerator: Accelerator) -> tuple[str, ...]:
    """What cores hold at embeddings as at anything else."""
    return ways(accelerator).resources("dma", "vector")


PLACES: Final[Mapping[str, Callable[[Accelerator, StepWork], UnitPrograms]]] = {
    "sparse_core": _sparse_core,
    "tensor_core": _tensor_core,
    "gpu": _gpu,
    "host": _host,
    "variable_server": _variable_server,
}
"""Writers by the name of the place."""

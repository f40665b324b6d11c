"""What a kind of work is to a sweep: which workloads and fields it takes, and what runs its points."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from accsim.config.machine import Accelerator
from accsim.sweep.outcome import IntArray, Outcome
from accsim.sweep.part import Part
from accsim.sweep.settings import Settings, split
from accsim.sweep.space import Space


class Work(NamedTuple):
    """A workload on a machine, by name; paths start from ``folder``, and ``fields`` are those that a space sets."""

    machine: str
    workload: str
    folder: str
    fields: Collection[str]


@dataclass(frozen=True)
class Block:
    """Points of a part that differ at most in whole numbers of the mapping, and their ``values`` of all else."""

    space: Space
    part: Part
    values: Mapping[str, Any]

    @cached_property
    def work(self) -> Work:
        """Their workload and machine."""
        space, part = self.space, self.part
        return Work(space.machines[part.machine], space.workloads[part.workload].workload, space.folder, space.keys)

    @cached_property
    def setting(self) -> Settings:
        """The values as files give them."""
        return split(self.values, self.space.dimensions)


class Ready(NamedTuple):
    """A block whose machine and workload are loaded.

    Attributes
    ----------
    acc, chips
        The chip, and how many of it there are.
    run
        Writes results, or why there are none, to points of the block.
    """

    acc: Accelerator
    chips: int
    run: Callable[[Outcome, IntArray], None]


class Kind(Protocol):
    """A kind of work. A new one is a file here and a line of `KINDS`."""

    @property
    def what(self) -> str:
        """What it is, in messages: ``work on a chip``."""

    @property
    def takes(self) -> tuple[str, ...]:
        """The prefixes of the fields that it takes, of `accsim.sweep.settings.PREFIXES` or none of a machine's."""

    def serves(self, work: Work) -> bool:
        """Whether it is of this kind."""

    def load(self, work: Work, setting: Settings) -> object:
        """The workload.

        Raises
        ------
        InputError
            If it cannot be read, or has not such parameters.
        """

    def place(self, work: Work, setting: Settings) -> object:
        """What it runs on.

        Raises
        ------
        InputError
            If there is no such place.
        """

    def ready(self, block: Block) -> Ready:
        """A block, loaded.

        Raises
        ------
        InputError
            As `load` and `place`.
        """

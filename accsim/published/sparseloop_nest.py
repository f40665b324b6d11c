"""Mappings of Sparseloop's tensor-core study: nests of loops over memories, and the words that cross each of them.

A mapping is a text such as ``DRAM: N8 | SMEM: M2 M4sy | RF: K36 M16sy K32sx | LRF: N128``: levels from the outermost
memory inward, each with the loops over tiles of the level below; ``sx`` and ``sy`` mark loops in space.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from accsim.errors import InputError

LEVELS = ("DRAM", "SMEM", "RF", "LRF")
"""Memories from the outermost inward; the multipliers are below the last."""

TENSORS = {"A": "MK", "B": "KN", "Z": "MN"}
"""Dimensions of the tensors of Z[M,N] = A[M,K] B[K,N]."""

_LOOP = re.compile(r"([MNK])([1-9]\d{0,9})(sx|sy)?")


class Loop(NamedTuple):
    """A loop over one dimension."""

    dim: str
    trips: int
    spatial: bool


class Words(NamedTuple):
    """Dense words that a memory takes from the one above."""

    sent: int
    """Read above: what goes to several places at once counts once."""
    received: int
    """Written here, in every place."""


@dataclass(frozen=True)
class Nest:
    """Loops of each of `LEVELS`, outermost first.

    Examples
    --------
    >>> nest = read_nest("DRAM: N8 | SMEM: M2 M4sy | RF: K36 M16sy K32sx | LRF: N128")
    >>> nest.extent("K"), nest.macs == 128 * 1152 * 1024
    (1152, True)
    >>> nest.words("B", "MAC")
    Words(sent=2359296, received=150994944)
    """

    levels: tuple[tuple[Loop, ...], ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the dense product."""
        return _trips(self._above("MAC"))

    @property
    def steps(self) -> int:
        """Steps in time of the dense product."""
        return _trips(loop for loop in self._above("MAC") if not loop.spatial)

    def extent(self, dims: str) -> int:
        """Product of the extents of some dimensions."""
        return _trips(loop for loop in self._above("MAC") if loop.dim in dims)

    def words(self, tensor: str, memory: str) -> Words:
        """Words of A, B or Z that a memory, or ``"MAC"``, takes in the whole run.

        Notes
        -----
        A tile stays while only loops run that it does not depend on: of the loops above the memory, the innermost ones
        in time over other dimensions fetch nothing. The multipliers keep nothing. Loops in space over other dimensions
        send the same words to several places.

        Source: Timeloop's analysis of loop nests (Parashar et al., ISPASS 2019).
        """
        dims = TENSORS[tensor]
        above = self._above(memory)
        in_time = [loop for loop in above if not loop.spatial]
        while memory != "MAC" and in_time and in_time[-1].dim not in dims:
            in_time.pop()
        tile = self.extent(dims) // _trips(loop for loop in above if loop.dim in dims)
        in_space = [loop for loop in above if loop.spatial]
        sent = tile * _trips(in_time) * _trips(loop for loop in in_space if loop.dim in dims)
        return Words(sent, sent * _trips(loop for loop in in_space if loop.dim not in dims))

    def spread(self, level: str, dim: str) -> int:
        """Places over which a level spreads a dimension."""
        return _trips(loop for loop in self.levels[LEVELS.index(level)] if loop.spatial and loop.dim == dim)

    def tile(self, level: str, dim: str) -> int:
        """Places of a dimension that a level's loops cover, in time and in space."""
        return _trips(loop for loop in self.levels[LEVELS.index(level)] if loop.dim == dim)

    def _above(self, memory: str) -> list[Loop]:
        """Loops above a memory, those of one trip left out: they hold nothing up."""
        depth = len(LEVELS) if memory == "MAC" else LEVELS.index(memory)
        return [loop for level in self.levels[:depth] for loop in level if loop.trips > 1]


def read_nest(mapping: str) -> Nest:
    """The nest that a text stands for.

    Raises
    ------
    InputError
        If the text is not of the form of the module's docstring.
    """
    parts = [part.strip().partition(":") for part in mapping.split("|")]
    if tuple(name for name, _, _ in parts) != LEVELS:
        raise InputError(f"allowed are the levels {' | '.join(f'{name}: loops' for name in LEVELS)}")
    levels = []
    for name, _, loops in parts:
        found = [_LOOP.fullmatch(word) for word in loops.split()]
        if None in found:
            raise InputError(f"read '{loops.strip()[:60]}' at {name}, allowed are loops such as M2, K16sx, N4sy")
        levels.append(tuple(Loop(match[1], int(match[2]), bool(match[3])) for match in found if match))
    return Nest(tuple(levels))


def _trips(loops: Iterable[Loop]) -> int:
    return math.prod(loop.trips for loop in loops)

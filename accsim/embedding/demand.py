"""What pairs of chips exchange, from what each owner of rows does for all that ask."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from accsim.embedding.imbalance import Imbalance
from accsim.embedding.law import FloatArray
from accsim.embedding.stacks import Stack

EVEN_RATIO: Final = 1.05
"""Largest load of an owner over the mean up to which all pairs of chips are taken to exchange as much."""


class Owned(NamedTuple):
    """What the owners of a stack's rows do for all chips together.

    Attributes
    ----------
    stack
        The stack.
    loads
        Of the chips of each group, by the stack's cells.
    item_bytes
        Bytes of what is counted.
    """

    stack: Stack
    loads: list[Imbalance]
    item_bytes: int


def pair_bytes(chips: int, owned: Iterable[Owned]) -> float | FloatArray:
    """Bytes between every asker and every owner: a number where all owners have as much, else float64[askers, owners].

    Askers ask alike. In each group of chips one owner has the group's largest load and the others have the rest alike;
    which one it is differs from stack to stack, for hot rows of different tables seldom meet.
    """
    loads = np.zeros(chips)
    for turn, (stack, found, item_bytes) in enumerate(owned):
        for cells, load in zip(stack.cells, found, strict=True):
            for first in cells.firsts:
                loads[first : first + stack.owners] += item_bytes * _uneven(load, stack.owners, turn)
    each = loads / chips
    if each.max() <= EVEN_RATIO * each.mean():
        return float(each.mean())
    return np.tile(each, (chips, 1))


def _uneven(load: Imbalance, owners: int, turn: int) -> FloatArray:
    """Loads of owners with this mean and largest load."""
    if owners == 1:
        return np.array([load.mean])
    every = owners * load.mean
    largest = min(load.largest, every)  # what is expected of a table of one row is right to some digits only
    loads = np.full(owners, (every - largest) / (owners - 1))
    loads[turn % owners] = largest
    return loads

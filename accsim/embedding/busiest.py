"""A step's work as the busiest chip has it, from the loads of all chips.

Stacks lie on different chips, and a chip without tables of one does not wait for those that have some. So the largest
load of a stack is that of the chip that has most to do over all stacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from accsim.embedding.imbalance import Imbalance
from accsim.embedding.law import FloatArray
from accsim.embedding.stacks import Stack
from accsim.embedding.work import ID_BYTES, StackWork

NOTHING = Imbalance(0.0, 0.0)


class StackLoads(NamedTuple):
    """What chips do for a stack; fields are named as in `StackWork`.

    Attributes
    ----------
    stack
        The stack.
    looked_up, asked, received, joined
        Of chips that ask.
    served, sent, fetched, combined, updated
        Of the chips, or tiles, of each of the stack's cells.
    """

    stack: Stack
    looked_up: float
    asked: Imbalance
    received: float
    joined: float
    served: list[Imbalance]
    sent: list[Imbalance]
    fetched: list[Imbalance]
    combined: list[Imbalance]
    updated: list[Imbalance]

    def bytes(self, tiles: int) -> list[float]:
        """Bytes that a chip of each cell moves at most, forward and backward: a chip waits for its busiest tile."""
        share = self.stack.shares[0]
        record = share.row_bytes + share.state_bytes
        return [
            tiles * (fetched.largest * share.row_bytes + 2 * updated.largest * record)
            + served.largest * ID_BYTES
            + 2 * sent.largest * self.stack.vector_bytes
            for served, sent, fetched, updated in zip(self.served, self.sent, self.fetched, self.updated, strict=True)
        ]


def stack_works(found: Sequence[StackLoads], chips: int, tiles: int) -> tuple[StackWork, ...]:
    """Work of each stack: the mean of all chips, and the largest load of the chips with tables as the busiest has them.

    The busiest chip is the one that moves most bytes.
    """
    moved: FloatArray = np.zeros(chips)
    for one in found:
        for cells, size in zip(one.stack.cells, one.bytes(tiles), strict=True):
            moved[one.stack.chips(cells)] += size
    busiest = int(moved.argmax())
    return tuple(_work(one, chips, busiest) for one in found)


def _work(one: StackLoads, chips: int, busiest: int) -> StackWork:
    held = [one.stack.chips(cells) for cells in one.stack.cells]

    def over_all(loads: list[Imbalance]) -> Imbalance:
        mean = sum(len(those) * load.mean for those, load in zip(held, loads, strict=True)) / chips
        return Imbalance(mean, sum((x.largest for those, x in zip(held, loads, strict=True) if busiest in those), 0.0))

    return replace(
        one.stack.idle,
        looked_up=one.looked_up,
        asked=one.asked,
        served=over_all(one.served),
        fetched=over_all(one.fetched),
        combined=over_all(one.combined),
        sent=over_all(one.sent),
        received=one.received,
        joined=one.joined,
        updated=over_all(one.updated),
    )

"""Schedules of collectives: which blocks every rank sends in each step, and a machine that carries them out.

A schedule knows ranks and blocks, neither bytes nor links: the same one is checked on real arrays here and timed on a
network by ``accsim/network/collectives.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]

ROUTED = -1
"""Port of a send whose way through the network is left to the routing."""


@dataclass(frozen=True, eq=False)
class Sends:
    """Sends that happen at once, int64[sends] each; what a rank sends is what it had before the step.

    Attributes
    ----------
    source, goal : ranks.
    first, into, count : ``count`` blocks from ``first`` on go to the blocks from ``into`` on.
    adds : the goal adds them to what it has, else it keeps them in its place; bool[sends].
    port : port of the source by which they leave, or `ROUTED`.
    """

    source: Ints
    goal: Ints
    first: Ints
    into: Ints
    count: Ints
    adds: NDArray[np.bool_]
    port: Ints

    @classmethod
    def of(
        cls, source: ArrayLike, goal: ArrayLike, first: ArrayLike, count: ArrayLike = 1, *,
        into: ArrayLike | None = None, port: ArrayLike = ROUTED,
    ) -> Sends:  # fmt: skip
        """Sends whose blocks are kept; blocks stay at their place unless ``into`` is given."""
        whole = (source, goal, first, first if into is None else into, count, port)
        ends = [np.ravel(column).astype(np.int64) for column in np.broadcast_arrays(*whole)]
        return cls(ends[0], ends[1], ends[2], ends[3], ends[4], np.zeros(len(ends[0]), np.bool_), ends[5])

    def __len__(self) -> int:
        return len(self.source)

    def goes_like(self, other: Sends) -> bool:
        """True if as many blocks go between the same ranks the same way, whichever blocks they are."""
        if len(self) != len(other):
            return False
        mine, its = ((one.source, one.goal, one.count, one.adds, one.port) for one in (self, other))
        return all(a is b or bool((a == b).all()) for a, b in zip(mine, its, strict=True))

    def backwards(self, ways_back: Ints | None) -> Sends:
        """What undoes these sends: from the goals to the sources, to be added up.

        Parameters
        ----------
        ways_back
            Port by which a send that left by each port comes back.
        """
        port = np.where(self.port == ROUTED, ROUTED, self.port if ways_back is None else ways_back[self.port])
        return Sends(self.goal, self.source, self.into, self.first, self.count, np.ones_like(self.adds), port)


class Phase(NamedTuple):
    """Steps of one kind.

    Attributes
    ----------
    steps : one after the other.
    depth : sends on the longest chain of which each needs what the one before brought; the others do not wait for the
        latency of those before.
    """

    steps: tuple[Sends, ...]
    depth: int


@dataclass(frozen=True, eq=False)
class Schedule:
    """Phases one after the other.

    Attributes
    ----------
    ranks : those that take part.
    blocks : equal parts of the buffer of each.
    """

    ranks: int
    blocks: int
    phases: tuple[Phase, ...]

    @property
    def steps(self) -> tuple[Sends, ...]:
        """The steps of all phases."""
        return tuple(step for phase in self.phases for step in phase.steps)

    def then(self, other: Schedule) -> Schedule:
        """The schedule and, when it has ended, another one of the same buffer."""
        return Schedule(self.ranks, self.blocks, self.phases + other.phases)

    def backwards(self, ways_back: Ints | None = None) -> Schedule:
        """The steps in reverse, each from its goals to its sources, blocks added up.

        What spreads blocks to many ranks becomes what sums them from there: an all-gather a reduce-scatter, a broadcast
        a reduction.
        """
        phases = [
            Phase(tuple(step.backwards(ways_back) for step in reversed(phase.steps)), phase.depth)
            for phase in reversed(self.phases)
        ]
        return Schedule(self.ranks, self.blocks, tuple(phases))


def joined(steps: Iterable[Sends]) -> Sends:
    """Sends of several steps of one buffer, all at once."""
    columns = zip(*((s.source, s.goal, s.first, s.into, s.count, s.adds, s.port) for s in steps), strict=True)
    return Sends(*(np.concatenate(column) for column in columns))


def execute(schedule: Schedule, buffers: NDArray[np.generic]) -> NDArray[np.generic]:
    """Carry out a schedule on real numbers.

    Parameters
    ----------
    buffers
        [ranks, blocks, ...]: what each rank has.

    Returns
    -------
    What each rank has at the end.
    """
    have = buffers.copy()
    for step in schedule.steps:
        each = np.repeat(np.arange(len(step)), step.count)
        offset = np.arange(len(each)) - np.repeat(np.cumsum(step.count) - step.count, step.count)
        moved = have[step.source[each], step.first[each] + offset]
        goal, into, adds = step.goal[each], step.into[each] + offset, step.adds[each]
        have[goal[~adds], into[~adds]] = moved[~adds]
        np.add.at(have, (goal[adds], into[adds]), moved[adds])
    return have

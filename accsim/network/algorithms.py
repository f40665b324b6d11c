"""Algorithms of collectives as schedules: all-gathers and broadcasts, of which the others are made.

An all-gather run backwards, with sums in place of copies, is a reduce-scatter; both together are an all-reduce
(Chan, Heimlich, Purkayastha and van de Geijn, *Collective communication: theory, practice, and experience*, 2007).
``docs/collectives.md`` has steps and bytes of each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accsim.network.schedule import Ints, Phase, Schedule, Sends, joined

HALVES = 2
"""Blocks of a rank where both directions of a ring share the last step."""


class Ring(NamedTuple):
    """Rings, or open lines, of equal length that run side by side; int64[ranks] each.

    Attributes
    ----------
    place : of a rank in its ring, from 0.
    after, before : the ranks next to it; of the ends of an open line, anything.
    length : of each ring.
    closed : whether its last rank is next to its first.
    up, down : ports to the rank after and the one before.
    """

    place: Ints
    after: Ints
    before: Ints
    length: int
    closed: bool
    up: int
    down: int


def ring_of(ranks: int) -> Ring:
    """One ring of all ranks, in their order."""
    rank = np.arange(ranks)
    return Ring(rank, (rank + 1) % ranks, (rank - 1) % ranks, ranks, True, -1, -1)


def one_way(ring: Ring, base: Ints, size: int, blocks: int) -> Schedule:
    """All-gather in one direction: in each step, a rank passes on what it got in the one before.

    Parameters
    ----------
    base, size
        A rank's own part is the ``size`` blocks from ``base + size * place`` on.
    """
    steps = []
    rank = np.arange(len(ring.place))
    for t in range(ring.length - 1):
        first = base + size * ((ring.place - t) % ring.length)
        steps.append(Sends.of(rank, ring.after, first, size, port=ring.up))
    return Schedule(len(rank), blocks, (Phase(tuple(steps), len(steps)),))


def both_ways(ring: Ring, base: Ints, size: int, blocks: int) -> Schedule:
    """All-gather in both directions, each part half way around, or to both ends of an open line.

    The two directions share the part that is as far away one way as the other: half of it comes from each side.
    """
    assert size % HALVES == 0
    rank, length = np.arange(len(ring.place)), ring.length
    steps = []
    for t in range(length // 2 if ring.closed else length - 1):
        parts = []
        shared = ring.closed and 2 * (t + 1) == length
        count = size // HALVES if shared else size
        for way, there, port in ((-1, ring.after, ring.up), (1, ring.before, ring.down)):
            of = ring.place + way * t
            sends = np.ones(len(rank), np.bool_)
            if not ring.closed:
                sends = (of >= 0) & (of < length) & (ring.place - way >= 0) & (ring.place - way < length)
            first = base + size * (of % length) + (count if shared and way == 1 else 0)
            parts.append(Sends.of(rank[sends], there[sends], first[sends], count, port=port))
        steps.append(joined(parts))
    return Schedule(len(rank), blocks, (Phase(tuple(steps), len(steps)),))


def recursive_doubling(ranks: int) -> Schedule:
    """All-gather among 2^n ranks: in step i, a rank and the one whose number differs in bit i swap all they have."""
    assert ranks & (ranks - 1) == 0
    rank = np.arange(ranks)
    spans = [2**i for i in range(ranks.bit_length() - 1)]
    return _apart(ranks, ranks, [Sends.of(rank, rank ^ span, rank & -span, span) for span in spans])


def direct(ranks: int) -> Schedule:
    """All-gather in one step: every rank sends its part to every other."""
    source, goal = np.nonzero(~np.eye(ranks, dtype=np.bool_))
    return _apart(ranks, ranks, [Sends.of(source, goal, source)])


def binomial_tree(ranks: int) -> Schedule:
    """Broadcast from rank 0: those that have the buffer send it on, so that twice as many have it after each step."""
    steps = []
    have = 1
    while have < ranks:
        source = np.arange(min(have, ranks - have))
        steps.append(Sends.of(source, source + have, 0))
        have *= 2
    return _apart(ranks, 1, steps)


def pipeline(ring: Ring, chunks: int) -> Schedule:
    """Broadcast from rank 0 around a ring, one half of the buffer each way, in chunks that follow each other.

    Parameters
    ----------
    chunks
        Of each half.
    """
    assert ring.closed
    rank, last = np.arange(ring.length), ring.length - 1
    steps = []
    for t in range(last + chunks - 1):
        parts = []
        for far, there, port, start in (
            (ring.place, ring.after, ring.up, 0),
            ((-ring.place) % ring.length, ring.before, ring.down, chunks),
        ):
            chunk = t - far
            sends = (chunk >= 0) & (chunk < chunks) & (far < last)
            parts.append(Sends.of(rank[sends], there[sends], start + chunk[sends], port=port))
        steps.append(joined(parts))
    return Schedule(ring.length, 2 * chunks, (Phase(tuple(steps), last),))


def exchange(ranks: int) -> Schedule:
    """All-to-all in one step: block t of rank s goes to block s of rank t."""
    source, goal = np.nonzero(~np.eye(ranks, dtype=np.bool_))
    return _apart(ranks, ranks, [Sends.of(source, goal, goal, into=source)])


def shift(ranks: int) -> Schedule:
    """Permutation in one step: the buffer of every rank goes to the next one, that of the last to the first."""
    rank = np.arange(ranks)
    return _apart(ranks, 1, [Sends.of(rank, (rank + 1) % ranks, 0)])


def _apart(ranks: int, blocks: int, steps: list[Sends]) -> Schedule:
    """Each step a phase."""
    return Schedule(ranks, blocks, tuple(Phase((step,), 1) for step in steps))

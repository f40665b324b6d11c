"""The tiles of an attention on a GPU: how many of each length there are, and which SM runs which."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from accsim.engine.tables import IntArray
from accsim.kernels.jit import kernel
from accsim.mapping.attention import Problem

MOST_DEALT = 2**17
"""Tiles that are dealt one by one."""
MOST_LENGTHS = 256
"""Lengths of tiles that have an inner program each; the time to build them bounds it."""


class Tiles(NamedTuple):
    """The tiles of an op.

    Attributes
    ----------
    lengths, counts : key blocks of a tile, longest first, and how many tiles have so many.
    per_group : tiles of one KV head of one sequence.
    blocks : key blocks of all tiles.
    keys : keys in them; a last block may be ragged.
    """

    lengths: tuple[int, ...]
    counts: tuple[int, ...]
    per_group: int
    blocks: int
    keys: int

    @property
    def alike(self) -> bool:
        """Whether all tiles have the same length."""
        return len(self.lengths) == 1

    @property
    def pooled(self) -> bool:
        """Whether a run has every tile on a pool of SMs: those that differ, and are not too many."""
        return 1 < len(self.lengths) <= MOST_LENGTHS and sum(self.counts) <= MOST_DEALT


@lru_cache(maxsize=4096)
def tiles_of(problem: Problem, row_tile: int, key_block: int) -> Tiles:
    """The tiles of ``row_tile`` query rows that go past blocks of ``key_block`` keys."""
    rows = problem.positions * problem.shared
    per_group = -(-rows // row_tile)
    seen = np.full(per_group, problem.keys)
    if problem.causal:
        starts = np.arange(per_group) * row_tile
        last = (np.minimum(starts + row_tile, rows) - 1) // problem.shared
        own = last - starts // problem.shared + 1
        seen = np.minimum(problem.keys - problem.positions + last + 1, own + problem.window - 1)
    lengths = -(-seen // key_block)
    blocks = problem.groups * int(lengths.sum())
    keys = problem.groups * int(np.minimum(lengths * key_block, problem.keys).sum())
    distinct, each = np.unique(lengths, return_counts=True)
    counts = problem.groups * each[::-1]
    return Tiles(tuple(distinct[::-1].tolist()), tuple(counts.tolist()), per_group, blocks, keys)


def busiest(ticks: IntArray, tiles: Tiles, servers: int) -> tuple[int, ...]:
    """How many tiles of each length the server has that is busy longest.

    Parameters
    ----------
    ticks : time of a tile of each length.

    Notes
    -----
    List scheduling, longest tile first (Graham, *Bounds on Multiprocessing Timing Anomalies*, 1969), the order of
    FlashAttention-3's scheduler. Of more than ``MOST_DEALT`` tiles, each server gets an equal number of each length,
    and only the rest is dealt one by one.
    """
    counts = np.array(tiles.counts, np.int64)
    rounds = counts // servers if counts.sum() > MOST_DEALT else 0 * counts
    own = rounds + _deal(ticks, counts - servers * rounds, servers)
    return tuple(own.tolist())


@kernel(allocates=True)
def _deal(ticks, counts, servers):
    """How many tiles of each kind the server with the most work gets, tiles dealt in order to the one free first."""
    load = np.zeros(servers, np.int64)
    order = np.arange(servers)  # a heap of servers by load
    own = np.zeros((servers, ticks.shape[0]), np.int64)
    for c in range(ticks.shape[0]):
        for _ in range(counts[c]):
            server = order[0]
            load[server] += ticks[c]
            own[server, c] += 1
            at = 0
            while True:
                least = at
                for child in (2 * at + 1, 2 * at + 2):
                    if child < servers and load[order[child]] < load[order[least]]:
                        least = child
                if least == at:
                    break
                order[at], order[least] = order[least], order[at]
                at = least
    return own[np.argmax(load)]

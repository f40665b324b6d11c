"""The tiles of an attention: how many of each kind there are, and which core runs which.

They differ under a causal mask, where sequences have lengths of their own, and where a tile's keys are split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from accsim.engine.tables import IntArray
from accsim.kernels.jit import kernel
from accsim.kernels.layout import MAX_TICKS
from accsim.kernels.matrix import ceil_div
from accsim.mapping.attention import Problem

MOST_DEALT = 2**17
"""Tiles that are dealt one by one."""
MOST_LENGTHS = 256
"""Lengths of tiles that have an inner program each; the time to build them bounds it."""


class Heads(NamedTuple):
    """What the tiles of an op are cut from: KV heads of all sequences, their rows and keys, added up."""

    groups: int
    rows: int
    keys: int

    @classmethod
    def of(cls, problems: tuple[Problem, ...]) -> Heads:
        """Those of an op's runs of equal lengths."""
        return cls(
            sum(p.groups for p in problems),
            sum(p.groups * p.positions * p.shared for p in problems),
            sum(p.groups * p.keys for p in problems),
        )


class Part(NamedTuple):
    """A row tile, or one of its ``parts`` of equal keys: key blocks of the part; rows, keys and scores of the tile."""

    blocks: int
    rows: int
    keys: int
    visible: int
    parts: int


class Tiles(NamedTuple):
    """The tiles of an op; parts that share the keys of one count each.

    Attributes
    ----------
    lengths, counts : key blocks of a tile, longest first, and how many tiles have so many.
    rows : rows of all tiles.
    blocks : key blocks of all tiles.
    keys : keys in them; a last block may be ragged.
    """

    lengths: tuple[int, ...]
    counts: tuple[int, ...]
    rows: int
    blocks: int
    keys: int

    @property
    def in_all(self) -> int:
        """How many there are."""
        return sum(self.counts)

    @property
    def alike(self) -> bool:
        """Whether all tiles have the same length."""
        return len(self.lengths) == 1

    @property
    def pooled(self) -> bool:
        """Whether a run has every tile on a pool of SMs: those that differ, and are not too many."""
        return 1 < len(self.lengths) <= MOST_LENGTHS and self.in_all <= MOST_DEALT


@lru_cache(maxsize=4096)
def tiles_of(problems: tuple[Problem, ...], row_tile: int, key_block: int, parts: int = 1) -> Tiles:
    """The tiles of ``row_tile`` query rows that go past blocks of ``key_block`` keys.

    ``parts`` share the keys of the longest tile, of others fewer do: no part has more key blocks than those of the
    longest tile have.
    """
    found: Counter[int] = Counter()
    rows = keys = 0
    for problem, cut in _cut(problems, row_tile, key_block, parts):
        lengths, which = np.unique(cut.blocks, return_inverse=True)
        counts = np.bincount(which, weights=cut.parts).astype(np.int64) * problem.groups
        found.update(dict(zip(lengths.tolist(), counts.tolist(), strict=True)))
        rows += problem.groups * int((cut.rows * cut.parts).sum())
        keys += problem.groups * int(np.minimum(-(-cut.keys // key_block) * key_block, problem.keys).sum())
    distinct = sorted(found, reverse=True)
    blocks = sum(length * count for length, count in found.items())
    return Tiles(tuple(distinct), tuple(found[length] for length in distinct), rows, blocks, keys)


@kernel
def even_tiles(points, problem, queue, totals):
    """As :func:`tiles_of`, of one run of sequences without a mask, whose tiles are all alike.

    Parameters
    ----------
    points : int64[N, 3], query rows of a tile, keys of a block, parts.
    queue, totals : int64[N, 2, 1] and int64[N, 4], filled with (length, 1) and with tiles, rows, key blocks and keys.
    """
    extent = problem.positions * problem.shared
    for i in range(points.shape[0]):
        blocks = ceil_div(problem.keys, points[i, 1])
        share = ceil_div(blocks, ceil_div(blocks, points[i, 2]))
        length = ceil_div(blocks, share)
        tiles = problem.groups * ceil_div(extent, points[i, 0])
        queue[i, 0, 0], queue[i, 1, 0] = length, 1
        totals[i, 0], totals[i, 1] = tiles * share, problem.groups * extent * share
        totals[i, 2], totals[i, 3] = length * tiles * share, tiles * problem.keys


@lru_cache(maxsize=4096)
def kinds_of(problems: tuple[Problem, ...], row_tile: int, key_block: int, parts: int = 1) -> dict[Part, int]:
    """How many tiles of :func:`tiles_of` there are of each kind, those with the most key blocks first."""
    found: Counter[Part] = Counter()
    for problem, cut in _cut(problems, row_tile, key_block, parts):
        for kind in zip(*(column.tolist() for column in cut), strict=True):
            found[Part(*kind)] += problem.groups * kind[-1]
    return {kind: found[kind] for kind in sorted(found, reverse=True)}


class _Cut(NamedTuple):
    """The fields of :class:`Part` for each row tile of a group, int64[tiles]."""

    blocks: IntArray
    rows: IntArray
    keys: IntArray
    visible: IntArray
    parts: IntArray


def _cut(problems: tuple[Problem, ...], row_tile: int, key_block: int, parts: int) -> Iterator[tuple[Problem, _Cut]]:
    tiles = [_row_tiles(problem, row_tile) for problem in problems]
    most = -(-max(-(-int(seen.max()) // key_block) for _, seen, _ in tiles) // parts)
    for problem, (rows, seen, visible) in zip(problems, tiles, strict=True):
        whole = -(-seen // key_block)
        share = -(-whole // most)
        yield problem, _Cut(-(-whole // share), rows, seen, visible, share)


def _row_tiles(problem: Problem, row_tile: int) -> tuple[IntArray, IntArray, IntArray]:
    """(rows, keys that any of them sees, visible scores) of each row tile of a group, from the first query on."""
    rows = problem.positions * problem.shared
    starts = np.arange(-(-rows // row_tile)) * row_tile
    ends = np.minimum(starts + row_tile, rows)
    if not problem.causal:
        keys = np.full(len(starts), problem.keys)
        return ends - starts, keys, (ends - starts) * keys
    first, last = starts // problem.shared, (ends - 1) // problem.shared
    hidden = problem.keys - problem.positions
    keys = np.minimum(hidden + last + 1, last - first + problem.window)
    each = np.minimum(hidden + 1 + np.arange(problem.positions), problem.window)
    before = np.concatenate([[0], np.cumsum(each)]) * problem.shared
    rest = np.append(each, 0)

    def seen(row: IntArray) -> IntArray:
        """Scores of the rows before one."""
        at = row // problem.shared
        return np.asarray(before[at] + row % problem.shared * rest[at])

    return ends - starts, keys, seen(ends) - seen(starts)


def busiest(ticks: IntArray, counts: tuple[int, ...], servers: int) -> tuple[int, ...]:
    """How many tiles of each kind the server has that is busy longest.

    Parameters
    ----------
    ticks, counts : time of a tile of each kind, and how many there are; the kinds in the order in which they start.

    Notes
    -----
    List scheduling, longest tile first (Graham, *Bounds on Multiprocessing Timing Anomalies*, 1969), the order of
    FlashAttention-3's scheduler. Of more than ``MOST_DEALT`` tiles, each server gets an equal number of each kind,
    and only the rest is dealt one by one.
    """
    left = np.array(counts, np.int64)
    rounds = left // servers if left.sum() > MOST_DEALT else 0 * left
    own = rounds + _deal(ticks, left - servers * rounds, servers)
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
            load[server] += min(ticks[c], MAX_TICKS - load[server])
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

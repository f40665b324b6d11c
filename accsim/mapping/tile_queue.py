"""Row tiles that differ, or parts of them that share its keys, dealt to cores: the queue of the core with the most.

They differ under a causal mask, where sequences have lengths of their own, and where a tile's keys are split.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from accsim.engine.tables import IntArray
from accsim.kernels.jit import kernel
from accsim.mapping.attention import Problem

MOST_DEALT = 2**17


class Part(NamedTuple):
    """A row tile, or one of its ``parts`` of equal keys: key blocks of the part; rows, keys and scores of the tile."""

    blocks: int
    rows: int
    keys: int
    visible: int
    parts: int


class Queue(NamedTuple):
    """The parts of the core with the most work, those with the most blocks first, and what all cores do.

    Attributes
    ----------
    kinds, counts : parts that differ, and how many of each are in the queue.
    all_parts : parts of all cores.
    part_rows, part_keys : their rows and keys, added up.
    """

    kinds: tuple[Part, ...]
    counts: tuple[int, ...]
    all_parts: int
    part_rows: int
    part_keys: int


@lru_cache(maxsize=4096)
def queue_of(problems: tuple[Problem, ...], row_tile: int, key_block: int, parts: int, cores: int) -> Queue:
    """The queue of the core with the most work; ``parts`` share the keys of the longest tile, of others fewer do.

    No part has more key blocks than those of the longest tile have.
    """
    found: Counter[Part] = Counter()
    for problem in problems:
        rows, keys, visible = row_tiles(problem, row_tile)
        for tile, count in Counter(zip(rows.tolist(), keys.tolist(), visible.tolist(), strict=True)).items():
            found[Part(-(-tile[1] // key_block), *tile, 1)] += count * problem.groups
    most = -(-max(part.blocks for part in found) // parts)
    shared: Counter[Part] = Counter()
    for part, count in found.items():
        share = -(-part.blocks // most)
        shared[part._replace(blocks=-(-part.blocks // share), parts=share)] += count * share
    kinds = sorted(shared, reverse=True)
    counts = np.array([shared[kind] for kind in kinds], np.int64)
    own = busiest(np.array([kind.blocks for kind in kinds], np.int64), counts, cores)
    mine = [(kind, count) for kind, count in zip(kinds, own.tolist(), strict=True) if count]
    return Queue(
        tuple(kind for kind, _ in mine),
        tuple(count for _, count in mine),
        int(counts.sum()),
        sum(kind.rows * count for kind, count in shared.items()),
        sum(kind.keys * count // kind.parts for kind, count in shared.items()),
    )


def row_tiles(problem: Problem, row_tile: int) -> tuple[IntArray, IntArray, IntArray]:
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


def busiest(lengths: IntArray, counts: IntArray, cores: int) -> IntArray:
    """How many of the tiles of each length, longest first, the core with the most work gets.

    Notes
    -----
    List scheduling, longest tile first (Graham, *Bounds on Multiprocessing Timing Anomalies*, 1969); a tile counts as
    its key blocks and one more, for its fill and drain. The order is that of FlashAttention-3's scheduler. Of more than
    ``MOST_DEALT`` tiles, each core gets an equal number of each length, and only the rest is dealt one by one.
    """
    rounds = counts // cores if counts.sum() > MOST_DEALT else 0 * counts
    return np.asarray(rounds + _busiest(lengths, counts - cores * rounds, cores))


@kernel(allocates=True)
def _busiest(lengths, counts, servers):
    """How many tiles of each length the server with the most work gets, tiles dealt in order to the one free first."""
    load = np.zeros(servers, np.int64)
    order = np.arange(servers)  # a heap of servers by load
    own = np.zeros((servers, lengths.shape[0]), np.int64)
    for c in range(lengths.shape[0]):
        for _ in range(counts[c]):
            server = order[0]
            load[server] += lengths[c] + 1
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

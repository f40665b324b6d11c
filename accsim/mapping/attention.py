"""What the fused attention dataflows share: how work is split over cores, which keys a row tile sees, tile costs.

Query heads that share keys (grouped-query attention) are folded into rows: a *group* is one KV head of one sequence,
its rows are q_len positions times heads / kv_heads. With a causal mask a row tile covers whole positions and sees a
number of key blocks of its own; tiles go from the longest to the shortest, which alone may be ragged, so that the core
with the first one has the most work. With a sliding window a tile's keys, and its first block, begin with the first key
that its first position sees.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accsim.config.compute_units import SystolicArray
from accsim.config.machine import Accelerator
from accsim.engine.tables import IntArray
from accsim.errors import MappingError
from accsim.kernels.jit import kernel
from accsim.kernels.layout import RUN0, TRIP0
from accsim.kernels.matrix import ceil_div
from accsim.kernels.work import scale_bytes, scale_counts
from accsim.mapping.machine_numbers import STATIONARY
from accsim.mapping.tiling import fine_sizes, tile_sizes
from accsim.workload.ops import Attention

TENSOR_CORE_ROWS = 16
MOST_CAUSAL_TILES = 1024
"""A search leaves out row tiles so small that each of more than this many needs numbers of its own under a mask."""
PART_TILES = (1, 2, 3, 4, 6)
"""Row tiles of so many eighths of the array's rows are tried too: where a row of scores is long, no larger one fits."""
TENSOR_CORE_KEYS = 64
MOST_ROWS, MOST_KEYS = 128, 32
"""A fine search has every row tile of eighths of the array's rows and every key block of its columns, up to so many."""

Tables = dict["Loops", IntArray]


class Problem(NamedTuple):
    """Extents of one attention op: groups, positions, heads that share keys, keys, head dim, mask, keys of a window.

    ``value_dim`` is the width of values and outputs, ``kv_width`` that of a key and its value: ``dim`` where they share
    their storage.
    """

    groups: int
    positions: int
    shared: int
    keys: int
    dim: int
    causal: int
    window: int
    value_dim: int
    kv_width: int


class Share(NamedTuple):
    """What one core gets: groups and rows; ``stride`` cores take the row tiles of a group in turn."""

    groups: int
    rows: int
    stride: int
    active: int


def problem_of(op: Attention) -> Problem:
    """The extents of an op, query heads folded into rows; keys that no query sees are left out."""
    groups, keys = op.batch * op.kv_heads, op.seen_keys
    return Problem(
        groups, op.q_len, op.heads // op.kv_heads, keys, op.head_dim, int(op.causal), min(op.window or keys, keys),
        op.value_dim, op.kv_width,
    )  # fmt: skip


def problems_of(op: Attention) -> tuple[Problem, ...]:
    """The extents of an op's runs of equal lengths."""
    return tuple(problem_of(run) for run in op.runs)


def check_equal_lengths(op: Attention, dataflow: str) -> None:
    """Refuse sequences of different lengths, which a search maps one length after the other.

    Raises
    ------
    MappingError
        When there are such.
    """
    if len(op.runs) > 1:
        raise MappingError(f"'{op.name}': a program of {dataflow} has equal lengths; accsim.ByLength has one for each")


def row_tile_sizes(op: Attention, acc: Accelerator, given: int | None, *, fine: bool = False) -> list[int]:
    """Rows of a tile worth trying, or those given: whole positions under a causal mask."""
    shared = op.heads // op.kv_heads
    unit = acc.matrix_unit
    array = isinstance(unit, SystolicArray)
    base = unit.rows if isinstance(unit, SystolicArray) else TENSOR_CORE_ROWS
    rows = op.q_len * shared
    parts = {base * eighths // 8 for eighths in PART_TILES} if array else set()
    sizes = {given} if given else {*tile_sizes(rows, base, 12), *(part for part in parts if 0 < part < rows)}
    if fine and not given:
        sizes |= fine_sizes(rows, max(1, base // 8) if array else base, 0 if op.causal else MOST_ROWS)
    if not op.causal:
        return sorted(sizes)
    return sorted({max(shared, size // shared * shared) for size in sizes})


def key_block_sizes(op: Attention, acc: Accelerator, most: int, *, fine: bool = False) -> list[int]:
    """Keys of a block worth trying: at most ``most`` in a search that is not fine."""
    base = getattr(acc.matrix_unit, "cols", TENSOR_CORE_KEYS)
    sizes = tile_sizes(op.kv_len, base, most)
    return sorted({*sizes, *fine_sizes(op.kv_len, base, MOST_KEYS)}) if fine else sizes


class Loops(NamedTuple):
    """Which classes the loops over row tiles and key blocks need: the part of a shape that follows from tile sizes.

    Under a mask (``causal``) every row tile is a class with a number of key blocks of its own; otherwise a ragged last
    row tile is one, and so is a ragged last key block of every loop over the keys.
    """

    row_classes: int
    causal: bool
    ragged_keys: bool

    def levels(self, loops: int) -> tuple[tuple[str, int], ...]:
        """Levels of a shape with ``loops`` loops over the keys, one after the other."""
        return ("head", 1), ("row", self.row_classes), ("key", 2 * loops if self.ragged_keys else 1)

    @property
    def varying(self) -> dict[str, str]:
        """``Shape.varying_trips``."""
        return {"key": "row"} if self.causal else {}


def point_tables(
    op: Attention, acc: Accelerator, rows: list[int], keys: list[int], forms: list[tuple[int, ...]]
) -> Tables:
    """Points (rows of a tile, keys of a block, codes of stationary forms) by the loops that they need.

    Several row tiles are a search's: those so small that they give too many causal tiles are left out.
    """
    problem = problem_of(op)
    found: dict[Loops, list[tuple[int, ...]]] = {}
    for row in rows:
        tile = min(row, op.q_len * problem.shared)
        share = share_of(problem, tile, acc.cores)
        tiles = int(-(-share.rows // tile))
        if op.causal and tiles > MOST_CAUSAL_TILES and row != rows[-1]:
            continue
        for key in keys:
            ragged = op.kv_len % min(key, op.kv_len) > 0
            loops = Loops(tiles, True, False) if op.causal else Loops(1 + (share.rows % tile > 0), False, ragged)
            found.setdefault(loops, []).extend((row, key, *codes) for codes in forms)
    return {loops: np.array(points, np.int64) for loops, points in found.items()}


def longest_blocks(op: Attention, table: IntArray) -> IntArray:
    """Key blocks that the longest row tile of each point sees."""
    problem = problem_of(op)
    keys = np.minimum(table[:, 1], problem.keys)
    positions = np.minimum(table[:, 0] // problem.shared, problem.positions)
    seen = np.minimum(problem.keys, positions + problem.window - 1) if op.causal else problem.keys
    return np.asarray(-(-seen // keys))


def form_codes(acc: Accelerator, form: str | None) -> list[int]:
    """Codes of the stationary forms to try; a tensor core has but one."""
    if acc.matrix_unit.kind != "systolic":
        return [STATIONARY["output_stationary"]]
    return [STATIONARY[form]] if form else sorted(STATIONARY.values())


@kernel
def share_of(problem, row_tile, cores):
    """Split groups over the cores, then the row tiles of a group over the cores that are left."""
    split = min(problem.groups, cores)
    groups = ceil_div(problem.groups, split)
    used = ceil_div(problem.groups, groups)
    tiles = ceil_div(problem.positions * problem.shared, row_tile)
    stride = max(1, min(tiles, cores // used))
    own = ceil_div(tiles, stride)
    stride = ceil_div(tiles, own)
    rows = min(own * row_tile, problem.positions * problem.shared)
    return Share(groups, rows, stride, used * stride)


@kernel
def seen_keys(problem, row_tile, share, tile):
    """Keys that the positions of a core's row tile see; tile 0 is the longest."""
    if not problem.causal:
        return problem.keys
    later = tile * share.stride * (row_tile // problem.shared)
    positions = min(row_tile // problem.shared, problem.positions - later)
    return min(problem.keys - later, positions + problem.window - 1)


@kernel
def tile_rows(problem, row_tile, share, tile):
    """(rows, visible scores) of a core's row tile."""
    if not problem.causal:
        rows = min(row_tile, share.rows - tile * row_tile)
        return rows, rows * problem.keys
    last = problem.positions - tile * share.stride * (row_tile // problem.shared)
    first = max(0, last - row_tile // problem.shared)
    hidden = problem.keys - problem.positions
    count = last - first
    visible = count * hidden + (last * (last + 1) - first * (first + 1)) // 2
    full = max(first, min(last, problem.window - hidden))  # positions from here on have keys behind the window
    most = last + hidden - problem.window
    visible -= (last - full) * most - (last - full) * (last - full - 1) // 2
    return count * problem.shared, visible * problem.shared


@kernel
def kv_share(problem, row_tile, share, passes, machine, resident):
    """Share of K and V loads that reach main memory.

    Without a middle memory every load does. With one, cores that work on the same group fetch a block once, and later
    row tiles find it there when the keys and values of all groups in flight fit: ``passes`` is a core's loads over
    all blocks of a group. Under a window such cores have keys in common where their row tiles' windows overlap.
    """
    if machine.middle_capacity == 0:
        return 1.0
    in_flight = ceil_div(share.active, share.stride)
    touched = 1.0 * in_flight * problem.keys * problem.kv_width * machine.bytes_b
    share_cores = 1.0 / share.stride
    if not resident and touched <= machine.middle_capacity:
        return share_cores / passes
    longest = seen_keys(problem, row_tile, share, 0)
    together = min(problem.keys, longest + (share.stride - 1) * (row_tile // problem.shared))
    return share_cores * (together / longest)


@kernel
def key_blocks(problem, row_tile, share, tiles, key_block):
    """Key blocks that ``tiles`` row tiles of a core see, together."""
    if not problem.causal:
        return tiles * ceil_div(problem.keys, key_block)
    total = 0
    for tile in range(tiles):
        total += ceil_div(seen_keys(problem, row_tile, share, tile), key_block)
    return total


@kernel
def row_passes(problem, row_tile, share, tiles, key_block):
    """Rows of ``tiles`` row tiles of a core, counted once for each key block that they see."""
    total = 0.0
    for tile in range(tiles):
        blocks = ceil_div(seen_keys(problem, row_tile, share, tile), key_block)
        total += float(tile_rows(problem, row_tile, share, tile)[0]) * blocks
    return total


@kernel(inline="late")
def count_all(block, i, stages, combos, problem, row_tile, share, own_rows, key_block, copies, machine, resident):
    """Correct the counted bytes of every load and store for what cores with shorter rows, or fewer of them, move.

    ``copies`` makes the scores of all cores equal to the op's, from those of the core with the most. Bytes do not go
    with the scores: queries and outputs go with the rows (``own_rows`` of one core and group), keys and values with the
    blocks that each row tile sees. ``stages`` are the load of Q, the store of O, the loads of K and V, and their
    conversions (-1 where there is none), and ``resident`` tells of K and V whether they are loaded once a group.
    """
    counted = copies * share.groups
    all_rows = problem.positions * problem.shared
    rows = problem.groups * all_rows / (counted * own_rows)
    for c in range(combos):
        scale_bytes(block, i, stages[0] * combos + c, rows, 1.0)
        scale_bytes(block, i, stages[1] * combos + c, rows, 1.0)
    count_keys(block, i, stages, combos, problem, row_tile, share, key_block, copies, machine, resident)


@kernel(inline="late")
def count_keys(block, i, stages, combos, problem, row_tile, share, key_block, copies, machine, resident):
    """The part of :func:`count_all` that is of keys and values."""
    counted = copies * share.groups
    all_rows = problem.positions * problem.shared
    everyone = Share(share.groups, all_rows, 1, share.active)
    for which in range(2):
        if stages[2 + which] < 0:
            continue
        mine = 1 if resident[which] else ceil_div(share.rows, row_tile)
        tiles = min(mine * share.stride, ceil_div(all_rows, row_tile))
        own = key_blocks(problem, row_tile, share, mine, key_block)
        keys = problem.groups * key_blocks(problem, row_tile, everyone, tiles, key_block) / (counted * own)
        main = 1.0 if machine.middle_capacity == 0 else problem.groups * share.stride / (counted * keys)
        for c in range(combos):
            scale_bytes(block, i, stages[2 + which] * combos + c, keys, main)
            if stages[4 + which] >= 0:
                scale_counts(block, i, stages[4 + which] * combos + c, keys)


@kernel(inline="late")
def write_loops(block, i, level, problem, row_tile, share, key_block, loops, kept):
    """Trips, cuts and classes of the loops over groups, row tiles and key blocks.

    ``loops`` loops over the keys follow one another: one; two of all key blocks; or three, the second of them over the
    blocks beyond the first ``kept`` (spilled ones). Where some are spilled (``kept`` is not 0) these are a section of
    their own in the two others.
    Returns the row tiles of a core and the key blocks of the longest one.
    """
    tiles = ceil_div(share.rows, row_tile)
    blocks = ceil_div(seen_keys(problem, row_tile, share, 0), key_block)
    spilled = max(0, blocks - kept) if kept else 0
    block.trips[i, level[1, TRIP0]] = share.groups
    block.trips[i, level[2, TRIP0]] = tiles
    if problem.causal:
        for t in range(tiles):
            seen = ceil_div(seen_keys(problem, row_tile, share, t), key_block)
            _write_sections(block, i, level, t, loops, seen, kept)
            block.runs[i, level[2, RUN0] + t] = t + 1
        return tiles, blocks
    _write_sections(block, i, level, 0, loops, blocks, kept)
    if share.rows % row_tile:
        block.runs[i, level[2, RUN0]] = tiles - 1
    if problem.keys % key_block:
        at = level[3, RUN0]
        for loop in range(loops):
            end = blocks * (loop + 1) if loops < 3 else (blocks if loop == 0 else loop * blocks + spilled)
            block.runs[i, at + 2 * loop] = end - 1
            if loop + 1 < loops:
                block.runs[i, at + 2 * loop + 1] = end
    return tiles, blocks


@kernel(inline="late")
def _write_sections(block, i, level, tile, loops, blocks, kept):
    """Trips of the loops over the keys of one row tile, and where their sections begin and end."""
    spilled = max(0, blocks - kept) if kept else 0
    middle = spilled if loops == 3 else 0
    block.trips[i, level[3, TRIP0] + tile] = blocks * min(loops, 2) + middle
    if loops == 2 and not kept:
        block.cuts[i, 3 * tile + 1] = blocks
        block.cuts[i, 3 * tile + 2] = 2 * blocks
    elif loops > 1:
        at = (loops + 3) * tile  # cuts of a tile: 0, two of Logit, one of a middle loop, two of Attend
        block.cuts[i, at + 1] = blocks - spilled
        block.cuts[i, at + 2] = blocks
        block.cuts[i, at + loops] = blocks + middle
        block.cuts[i, at + loops + 1] = 2 * blocks + middle - spilled
        block.cuts[i, at + loops + 2] = 2 * blocks + middle


@kernel(inline="late")
def write_latencies(block, i, stages, machine):
    """Latencies of the loads of Q, K and V and of the store (``stages``, in this order; -1: there is none)."""
    for load in range(3):
        if stages[load] >= 0:
            block.latency[i, stages[load]] = machine.load_latency
    block.latency[i, stages[3]] = machine.store_latency


@kernel
def own_work(problem, row_tile, share, tiles):
    """(rows, visible scores) of one core and group over all its row tiles."""
    if not problem.causal:
        return float(share.rows), float(share.rows) * problem.keys
    rows, visible = 0.0, 0.0
    for t in range(tiles):
        more_rows, more_visible = tile_rows(problem, row_tile, share, t)
        rows += more_rows
        visible += more_visible
    return rows, visible


@kernel
def class_work(problem, row_tile, share, tiles, key_block, row_class):
    """(rows, visible scores, scores done) of the row tiles of a class; no rows where no tile is in it.

    Under a mask every tile is a class, and what it does are whole key blocks.
    """
    tile = row_class if problem.causal else (0 if row_class == 0 else tiles - 1)
    if tile >= tiles or (row_class > 0 and not problem.causal and share.rows % row_tile == 0):
        return 0, 0, 0
    rows, visible = tile_rows(problem, row_tile, share, tile)
    seen = seen_keys(problem, row_tile, share, tile)
    return rows, visible, rows * (ceil_div(seen, key_block) * key_block if problem.causal else seen)


@kernel
def fetched_share(problem, row_tile, share, tiles, key_block, machine, resident):
    """Share of K and V loads that reach main memory, see :func:`kv_share`."""
    passes = key_blocks(problem, row_tile, share, tiles, key_block) / float(ceil_div(problem.keys, key_block))
    return kv_share(problem, row_tile, share, passes, machine, resident)

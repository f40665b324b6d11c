"""The numbers of FlashAttention-1's programs: which row tiles a key block meets, and what is done with each.

Row tiles go from the one with the last positions to the first. Under a mask a key block meets those of a range: not the
ones whose keys end before it, nor those whose windows begin behind it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accsim.kernels.block import fill_spans
from accsim.kernels.jit import kernel
from accsim.kernels.layout import RUN0, TRIP0
from accsim.kernels.matrix import SUM_BYTES, Tile, ceil_div
from accsim.kernels.work import scale_bytes, write_load, write_matmul, write_store, write_vector
from accsim.mapping.attention import Share, count_keys, fetched_share, own_work, share_of, tile_rows, write_latencies
from accsim.mapping.flash_tile import STATISTICS
from accsim.mapping.kv_format import write_conversions, write_stored


class At(NamedTuple):
    """Where a shape's stages are listed; -1 for those it does not have."""

    load_k: int
    load_v: int
    load_q: int
    load_o: int
    logit: int
    softmax: int
    attend: int
    store_o: int
    convert_k: int
    convert_v: int


@kernel(allocates=True)
def lower_flash1(points, problem, grid, scores, at, machine, conversion, level, kinds, classes, block, copies):
    """Write the numbers of every point (columns: query rows, keys of a block, stationary form).

    ``grid`` is the problem without its window: key blocks lie on a grid that all row tiles share.
    """
    want = block.actions.shape[0] > 0
    array = machine if conversion is None else conversion.array
    combos = classes[2] * classes[3]
    for i in range(points.shape[0]):
        row_tile, key_block = min(points[i, 0], problem.positions * problem.shared), min(points[i, 1], problem.keys)
        share = share_of(problem, row_tile, machine.cores)
        tiles, blocks = ceil_div(share.rows, row_tile), ceil_div(problem.keys, key_block)
        _write_loops(block, i, level, classes, (row_tile, key_block, tiles, blocks), problem, share)
        fill_spans(block, i, level, kinds, classes)
        _write_buffers(block, i, row_tile, key_block, at, problem, array)
        if conversion is not None:
            stored, first = key_block * machine.bytes_b, 4 if at.load_v < 0 else 5
            write_stored(block, i, first, first - 3, (stored * problem.dim, stored * problem.value_dim))
        write_latencies(block, i, (at.load_q, at.load_k, at.load_v, at.store_o), machine)
        block.latency[i, at.load_o] = machine.load_latency
        fetched = fetched_share(grid, row_tile, share, tiles, key_block, machine, True)
        own_rows, own_visible = own_work(problem, row_tile, share, tiles)
        copies[i] = scores / (own_visible * share.groups)
        for c in range(combos):
            j, last_row = c // classes[3], c % classes[3]
            if not problem.causal and j == 1:
                j = blocks - 1
            first, end = (tiles - 1, tiles) if last_row else (0, tiles - (classes[3] - 1))
            first = max(first, first_tile(problem, row_tile, share, tiles, key_block, j))
            end = min(end, seen_tiles(problem, row_tile, share, tiles, key_block, j))
            if end <= first:
                continue
            after = 0
            if j < blocks - 1:
                after = max(0, min(end, seen_tiles(problem, row_tile, share, tiles, key_block, j + 1)) - first)
            done = (end - first - after) / float(end - first)  # share of the tiles for which this block is the last
            rows = tile_rows(problem, row_tile, share, tiles - 1)[0] if last_row else row_tile
            keys = min(key_block, problem.keys - j * key_block)
            useful = _visible(problem, row_tile, share, first, end - first, key_block, j) / (end - first)
            _write_moves(block, i, c, combos, (rows, keys), done, fetched, share.active, at, problem, machine, want)
            if conversion is not None:
                converted = (float(keys * problem.dim), float(keys * problem.value_dim))
                convert = (at.convert_k * combos + c, at.convert_v * combos + c)
                write_conversions(block, i, convert, converted, conversion, machine, want)
            _write_work(block, i, c, combos, (rows, keys), done, useful, points[i, 2], at, problem, array, want)
        if want:
            mine = (row_tile, key_block, tiles, own_rows)
            _count(block, i, combos, mine, copies[i], at, problem, grid, share, machine)


@kernel
def _write_loops(block, i, level, classes, sizes, problem, share):
    """Trips, cuts and classes of the loops over groups, key blocks and row tiles."""
    row_tile, key_block, tiles, blocks = sizes
    block.trips[i, level[1, TRIP0]] = share.groups
    block.trips[i, level[2, TRIP0]] = blocks
    if problem.causal:
        for j in range(blocks):
            seen = seen_tiles(problem, row_tile, share, tiles, key_block, j)
            block.trips[i, level[3, TRIP0] + j] = seen
            if block.cuts.shape[1] > 0:
                block.cuts[i, 3 * j + 1] = first_tile(problem, row_tile, share, tiles, key_block, j)
                block.cuts[i, 3 * j + 2] = seen
            if j < blocks - 1:
                block.runs[i, level[2, RUN0] + j] = j + 1
    else:
        block.trips[i, level[3, TRIP0]] = tiles
        if classes[2] > 1:
            block.runs[i, level[2, RUN0]] = blocks - 1
    if classes[3] > 1:
        block.runs[i, level[3, RUN0]] = tiles - 1


@kernel(inline="always")
def _write_buffers(block, i, row_tile, key_block, at, problem, machine):
    """Slots and bytes of the buffers."""
    dim, value_dim, element = problem.dim, problem.value_dim, machine.element_bytes
    block.slots[i, :] = 2
    sums = 2 if at.load_v < 0 else 3
    block.slots[i, sums + 1] = 3  # one arrives, one is worked on, one leaves
    block.slot_bytes[i, 0] = int(np.ceil(row_tile * dim * element))
    block.slot_bytes[i, 1] = int(np.ceil(key_block * dim * machine.bytes_b))
    if at.load_v >= 0:
        block.slot_bytes[i, 2] = int(np.ceil(key_block * value_dim * machine.bytes_b))
    block.slot_bytes[i, sums] = row_tile * key_block * SUM_BYTES
    block.slot_bytes[i, sums + 1] = row_tile * (value_dim + STATISTICS) * SUM_BYTES


@kernel(inline="always")
def _write_moves(block, i, c, combos, tile, done, fetched, active, at, problem, machine, want):
    """Loads and stores of class c; ``done`` is the share of its row tiles whose outputs leave for good."""
    rows, keys = tile
    dim, value_dim, element = problem.dim, problem.value_dim, machine.element_bytes
    q_bytes = rows * dim * element
    k_bytes, v_bytes = keys * dim * machine.bytes_b, keys * value_dim * machine.bytes_b
    partial = float(rows * (value_dim + STATISTICS) * SUM_BYTES)
    write_load(block, i, at.load_k * combos + c, k_bytes, k_bytes * fetched, active, machine, want)
    if at.load_v >= 0:
        write_load(block, i, at.load_v * combos + c, v_bytes, v_bytes * fetched, active, machine, want)
    write_load(block, i, at.load_q * combos + c, q_bytes, q_bytes, active, machine, want)
    write_load(block, i, at.load_o * combos + c, partial, partial, active, machine, want)
    stored = done * (rows * value_dim * element) + (1.0 - done) * partial
    write_store(block, i, at.store_o * combos + c, stored, active, machine, want)


@kernel(inline="always")
def _write_work(block, i, c, combos, tile, done, useful, form, at, problem, machine, want):
    """Logit, softmax and Attend of class c; the first class sets what stretches of the products pay once."""
    rows, keys = tile
    dim, value_dim = problem.dim, problem.value_dim
    in_registers = machine.systolic == 0
    each, outputs = float(rows * keys), float(rows * value_dim)
    score_bytes = 0.0 if in_registers else each * SUM_BYTES
    sum_bytes = 0.0 if in_registers else outputs * SUM_BYTES
    operands, row = Tile(rows, keys, dim, 1, 0), at.logit * combos + c
    logit = write_matmul(block, i, row, operands, useful * dim, form, 0.0, score_bytes, machine, want)
    counts = (each, each, each, 0.0, outputs, outputs, outputs * done)
    passes = score_bytes + sum_bytes
    write_vector(block, i, at.softmax * combos + c, counts, passes, passes, machine, want)
    operands, row = Tile(rows, value_dim, keys, 0, 0), at.attend * combos + c
    attend = write_matmul(block, i, row, operands, useful * value_dim, form, sum_bytes, sum_bytes, machine, want)
    if c == 0:
        block.latency[i, at.logit] = logit
        block.latency[i, at.attend] = attend


@kernel
def _count(block, i, combos, mine, copies, at, problem, grid, share, machine):
    """Correct the counted bytes for cores with other row tiles than the one that stands for all.

    ``mine`` are the rows of a tile, keys of a block, tiles, and rows of that core. Queries come, and partial outputs
    go, once a row and key block that it sees.
    """
    row_tile, key_block, tiles, own_rows = mine
    moves = (at.load_q, at.store_o, at.load_k, at.load_v, at.convert_k, at.convert_v)
    count_keys(block, i, moves, combos, grid, row_tile, share, key_block, copies, machine, (True, True))
    all_rows = problem.positions * problem.shared
    everyone = Share(share.groups, all_rows, 1, share.active)
    own = _passes(problem, row_tile, share, tiles, key_block)
    every = _passes(problem, row_tile, everyone, ceil_div(all_rows, row_tile), key_block)
    often = problem.groups / (copies * share.groups)
    partial, out = float(SUM_BYTES * (problem.value_dim + STATISTICS)), float(problem.value_dim * machine.element_bytes)
    left = ((every - all_rows) * partial + all_rows * out) / ((own - own_rows) * partial + own_rows * out)
    for c in range(combos):
        scale_bytes(block, i, at.load_q * combos + c, often * every / own, 1.0)
        scale_bytes(block, i, at.load_o * combos + c, often * every / own, 1.0)
        scale_bytes(block, i, at.store_o * combos + c, often * left, 1.0)


@kernel
def _end(problem, row_tile, share, tile):
    """The end of the keys that a core's row tile sees; tile 0 has the last positions, and sees the last keys."""
    return problem.keys - tile * share.stride * (row_tile // problem.shared) if problem.causal else problem.keys


@kernel
def seen_tiles(problem, row_tile, share, tiles, key_block, j):
    """The first row tile of a core whose keys end before key block j: those from it on do not see it."""
    if not problem.causal:
        return tiles
    return min(tiles, ceil_div(problem.keys - j * key_block, share.stride * (row_tile // problem.shared)))


@kernel
def first_tile(problem, row_tile, share, tiles, key_block, j):
    """The first row tile of a core that sees key block j: the windows of those before it begin behind the block."""
    positions = row_tile // problem.shared
    behind = problem.keys - positions - problem.window + 1 - (j + 1) * key_block
    if not problem.causal or behind < 0:
        return 0
    return min(tiles, behind // (share.stride * positions) + 1)


@kernel
def least_tiles(problem, row_tile, share, tiles, key_block, blocks):
    """Row tiles of a core that see a key block, at the block where they are fewest."""
    least = tiles
    for j in range(blocks):
        seen = seen_tiles(problem, row_tile, share, tiles, key_block, j)
        least = min(least, seen - first_tile(problem, row_tile, share, tiles, key_block, j))
    return least


@kernel
def _passes(problem, row_tile, share, tiles, key_block):
    """Rows of a core's tiles, counted once for each key block that they see."""
    total = 0.0
    for tile in range(tiles):
        rows, end = tile_rows(problem, row_tile, share, tile)[0], _end(problem, row_tile, share, tile)
        start = max(0, end - (rows // problem.shared + problem.window - 1)) if problem.causal else 0
        total += float(rows) * (ceil_div(end, key_block) - start // key_block)
    return total


@kernel
def _visible(problem, row_tile, share, first, count, key_block, j):
    """Scores of ``count`` row tiles from ``first`` on that a mask leaves visible in key block j."""
    keys = min(key_block, problem.keys - j * key_block)
    total = 0.0
    for tile in range(first, first + count):
        rows = tile_rows(problem, row_tile, share, tile)[0]
        if not problem.causal:
            total += float(rows) * keys
            continue
        positions, last = rows // problem.shared, _end(problem, row_tile, share, tile) - j * key_block
        seen = _below(last, keys) - _below(last - positions, keys)
        left = last - problem.window
        total += problem.shared * (seen - _below(left, keys) + _below(left - positions, keys))
    return total


@kernel
def _below(most, keys):
    """Keys of a block of ``keys`` that positions see which see 1, 2, ... ``most`` keys from its first one on."""
    most = max(0, most)
    if most <= keys:
        return most * (most + 1.0) / 2
    return keys * (keys + 1.0) / 2 + float(most - keys) * keys

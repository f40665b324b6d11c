"""The numbers of FLAT's programs: loops, buffers, and what each stage does with row tiles and key blocks of a class."""

from __future__ import annotations

import numpy as np

from accsim.kernels.block import fill_spans
from accsim.kernels.jit import kernel
from accsim.kernels.matrix import SUM_BYTES, Tile, ceil_div
from accsim.kernels.work import scale_bytes, write_load, write_matmul, write_store, write_vector
from accsim.mapping.attention import (
    Share,
    class_work,
    count_all,
    fetched_share,
    own_work,
    row_passes,
    share_of,
    write_latencies,
    write_loops,
)
from accsim.mapping.kv_format import write_conversions, write_stored

KEPT = 4
"""Column of a spilled point's table: key blocks of a row of scores that stay."""


@kernel(allocates=True)
def lower_flat(
    points, problem, heads, scores, kept, ahead, at, machine, conversion, level, kinds, classes, block, copies
):
    """Write the numbers of every point; columns: rows, keys, forms of Logit and Attend, and blocks not spilled.

    ``heads`` are those of a tile, and the share of their scores that no mask hides; ``kept`` tells of Q, K, V and O
    whether they stay.
    """
    together, seen = heads
    want = block.actions.shape[0] > 0
    array = machine if conversion is None else conversion.array
    spilled = at.spill_scores >= 0
    row_classes, key_classes = classes[2], classes[3]
    combos = row_classes * key_classes
    for i in range(points.shape[0]):
        row_tile = min(points[i, 0], problem.positions * problem.shared)
        key_block = min(points[i, 1], problem.keys // together)
        share = share_of(problem, row_tile, machine.cores)
        here = points[i, KEPT] if spilled else 0
        loops = 3 if spilled and not ahead else 2
        tiles, blocks = write_loops(block, i, level, problem, row_tile, share, key_block, loops, here)
        here = here if spilled else blocks
        fill_spans(block, i, level, kinds, classes)
        counted = (blocks, here, together)
        sum_bytes = float(machine.element_bytes)
        if blocks > together or machine.systolic == 0:
            sum_bytes = float(SUM_BYTES)
        _write_buffers(block, i, (row_tile, key_block), counted, kept, (ahead, spilled), sum_bytes, at, problem, array)
        if conversion is not None:
            count, stored = 1 if at.load_v < 0 else 2, key_block * machine.bytes_b
            sizes = (stored * problem.dim, stored * problem.value_dim)
            write_stored(block, i, block.slots.shape[1] - count, count, sizes)
        _write_latencies(block, i, at, machine)
        fetched_k = fetched_share(problem, row_tile, share, tiles, key_block, machine, kept[1])
        fetched_v = fetched_share(problem, row_tile, share, tiles, key_block, machine, kept[2])
        own_rows, visible = own_work(problem, row_tile, share, tiles)
        copies[i] = float(scores) / (visible * share.groups)
        for rc in range(row_classes):
            rows, useful, done = class_work(problem, row_tile, share, tiles, key_block, rc)
            if rows == 0:
                continue
            for kc in range(key_classes):
                keys = key_block if kc % 2 == 0 else problem.keys - (blocks - 1) * key_block
                c, tile = rc * key_classes + kc, (rows, keys)
                part = seen * useful * rows * keys / done
                whole = min(float(done), float(rows) * here * key_block)
                sums = 0.0 if machine.systolic == 0 else rows * problem.value_dim * sum_bytes
                fetched = (fetched_k, fetched_v)
                _write_moves(
                    block, i, c, combos, tile, counted, kept, fetched, share.active, at, problem, machine, want
                )
                forms = (points[i, 2], points[i, 3])
                if conversion is not None:
                    converted = (float(keys * problem.dim), float(keys * problem.value_dim))
                    convert = (at.convert_k * combos + c, at.convert_v * combos + c)
                    write_conversions(block, i, convert, converted, conversion, machine, want)
                _write_products(block, i, c, combos, tile, counted, forms, part, sums, at, problem, array, want)
                _write_softmaxes(block, i, c, combos, tile, together, whole, sums, at, problem, machine, want)
                if spilled:
                    _write_spill(block, i, c, combos, tile, share.active, at, machine, want)
        if want:
            mine = (row_tile, key_block, tiles, own_rows)
            _count(block, i, combos, mine, kept, copies[i], at, problem, share, machine)


@kernel(inline="always")
def _write_buffers(block, i, tile, blocks, kept, variant, sum_bytes, at, problem, machine):
    """Slots and bytes of the buffers.

    ``tile`` is rows and keys of a block; ``blocks`` are those of all heads of a tile, those whose scores stay, and the
    heads; ``variant`` tells whether Attend is behind, and scores spill. Keys that are values too stay until O has left
    where scores spill, so that with Attend behind those of a third head may be here. What does not stay of Q and O
    passes in pieces of as many rows as the array has: of O one arrives, one is worked on, one leaves.
    """
    ahead, spilled = variant
    rows, keys = tile
    every, here, together = blocks
    dim, value_dim, element = problem.dim, problem.value_dim, machine.element_bytes
    shared_kv = at.load_v < 0
    scores = 2 if shared_kv else 3
    piece = min(rows, machine.rows) if machine.systolic else rows
    block.slots[i, :] = 2
    block.slots[i, scores] = 2 if ahead else 1
    queries = together * rows if kept[0] else piece
    block.slot_bytes[i, 0] = int(np.ceil(queries * dim * element))
    block.slot_bytes[i, 1] = int(np.ceil((every if kept[1] else 1) * keys * dim * machine.bytes_b))
    if shared_kv:
        block.slots[i, 1] = 3 if ahead and spilled else 2
    else:
        block.slot_bytes[i, 2] = int(np.ceil((every if kept[2] else 1) * keys * value_dim * machine.bytes_b))
    block.slot_bytes[i, scores] = int(np.ceil(rows * here * keys * element))
    if not kept[3]:
        block.slots[i, scores + 1] = 3 if at.load_partial >= 0 else 2
    outputs = together * rows if kept[3] else piece
    out = sum_bytes if machine.systolic else 0.5 * (sum_bytes + element)
    block.slot_bytes[i, scores + 1] = int(np.ceil(outputs * value_dim * out))
    block.slot_bytes[i, scores + 2 :] = int(np.ceil(rows * keys * element))


@kernel(inline="always")
def _write_latencies(block, i, at, machine):
    """Latencies of all loads and stores."""
    write_latencies(block, i, (at.load_q, at.load_k, at.load_v, at.store_o), machine)
    for load in (at.load_partial, at.fetch_scores, at.fetch_weights):
        if load >= 0:
            block.latency[i, load] = machine.load_latency
    for store in (at.store_partial, at.spill_scores, at.spill_weights):
        if store >= 0:
            block.latency[i, store] = machine.store_latency


@kernel(inline="always")
def _write_moves(block, i, c, combos, tile, blocks, kept, fetched, active, at, problem, machine, want):
    """Loads of Q, K and V, the store of O, and partial sums of an O that does not stay.

    Of several heads that are one tile the sums of a later head begin anew, and those of an earlier one leave rounded:
    each firing moves the mean.
    """
    rows, keys = tile
    every, _, together = blocks
    element = machine.element_bytes
    queries, outputs = rows * problem.dim * element, rows * problem.value_dim * element
    k_bytes, v_bytes = keys * problem.dim * machine.bytes_b, keys * problem.value_dim * machine.bytes_b
    q_bytes = together * queries if kept[0] else queries
    o_bytes = together * outputs if kept[3] else outputs
    write_load(block, i, at.load_q * combos + c, q_bytes, q_bytes, active, machine, want)
    write_load(block, i, at.load_k * combos + c, k_bytes, k_bytes * fetched[0], active, machine, want)
    if at.load_v >= 0:
        write_load(block, i, at.load_v * combos + c, v_bytes, v_bytes * fetched[1], active, machine, want)
    write_store(block, i, at.store_o * combos + c, o_bytes, active, machine, want)
    if at.load_partial >= 0:
        sums, firings = float(rows * problem.value_dim * SUM_BYTES), every - 1.0
        back = sums * (every - together) / firings
        write_load(block, i, at.load_partial * combos + c, back, back, active, machine, want)
        leaving = back + outputs * (together - 1.0) / firings
        write_store(block, i, at.store_partial * combos + c, leaving, active, machine, want)


@kernel(inline="always")
def _write_products(block, i, c, combos, tile, blocks, forms, part, sums, at, problem, machine, want):
    """Logit and Attend; the first class sets what stretches of each pay once."""
    rows, keys = tile
    every, _, together = blocks
    dim, value_dim, passing = problem.dim, problem.value_dim, rows * keys * machine.element_bytes
    for stage in (at.logit, at.logit_spilled):
        if stage >= 0:
            operands, row = Tile(rows, keys, dim, 1, 0), stage * combos + c
            once = write_matmul(block, i, row, operands, part * dim, forms[0], 0.0, passing, machine, want)
            if c == 0:
                block.latency[i, stage] = once
    read = sums * (every - together) / every  # the first key block of a head starts from zero
    for stage in (at.attend, at.attend_spilled):
        if stage >= 0:
            operands, row = Tile(rows, value_dim, keys, 0, 0), stage * combos + c
            once = write_matmul(block, i, row, operands, part * value_dim, forms[1], read, sums, machine, want)
            if c == 0:
                block.latency[i, stage] = once


@kernel(inline="always")
def _write_softmaxes(block, i, c, combos, tile, together, whole, sums, at, problem, machine, want):
    """The softmax of ``whole`` scores that stay, of a spilled block, and the division of the outputs."""
    rows, keys = tile
    divided = 0.0 if at.finish >= 0 else 1.0
    _write_softmax(block, i, at.softmax * combos + c, whole, divided, machine, want)
    if at.softmax_spilled >= 0:
        _write_softmax(block, i, at.softmax_spilled * combos + c, float(rows * keys), divided, machine, want)
    if at.finish >= 0:
        outputs = float(together * rows * problem.value_dim)
        counts = (0.0, 0.0, 0.0, 0.0, outputs, 0.0, outputs)
        write_vector(block, i, at.finish * combos + c, counts, together * sums, together * sums, machine, want)


@kernel
def _write_softmax(block, i, row, scores, divided, machine, want):
    """A softmax of scores in the local memory: max; subtract and exp; sum; where ``divided`` is 1, divide."""
    counts = (scores, scores, scores, 0.0, scores * divided, 0.0, 0.0)
    size = scores * machine.element_bytes
    write_vector(block, i, row, counts, (2 + divided) * size, (1 + divided) * size, machine, want)


@kernel
def _write_spill(block, i, c, combos, tile, active, at, machine, want):
    """The ways of a spilled block to main memory and back, as scores and as weights."""
    passing = tile[0] * tile[1] * machine.element_bytes
    for fetch, spill in ((at.fetch_scores, at.spill_scores), (at.fetch_weights, at.spill_weights)):
        write_load(block, i, fetch * combos + c, passing, passing, active, machine, want)
        write_store(block, i, spill * combos + c, passing, active, machine, want)


@kernel
def _count(block, i, combos, mine, kept, copies, at, problem, share, machine):
    """Correct the counted bytes for cores with other rows than the one that stands for all, see :func:`count_all`.

    ``mine`` are the rows of a tile, keys of a block, tiles, and rows of that core. Q and O that stay go with the rows;
    those that do not go with the key blocks that each row sees.
    """
    row_tile, key_block, tiles, own_rows = mine
    moves = (at.load_q, at.store_o, at.load_k, at.load_v, at.convert_k, at.convert_v)
    resident = (kept[1], kept[2])
    count_all(block, i, moves, combos, problem, row_tile, share, own_rows, key_block, copies, machine, resident)
    if kept[0] and at.load_partial < 0:
        return
    all_rows = problem.positions * problem.shared
    everyone = Share(share.groups, all_rows, 1, share.active)
    own = row_passes(problem, row_tile, share, tiles, key_block)
    every = row_passes(problem, row_tile, everyone, ceil_div(all_rows, row_tile), key_block)
    for c in range(combos):
        if not kept[0]:
            scale_bytes(block, i, at.load_q * combos + c, every / own * own_rows / all_rows, 1.0)
        if at.load_partial >= 0:
            back = problem.groups * (every - all_rows) / (copies * share.groups * (own - own_rows))
            scale_bytes(block, i, at.load_partial * combos + c, back, 1.0)
            scale_bytes(block, i, at.store_partial * combos + c, back, 1.0)

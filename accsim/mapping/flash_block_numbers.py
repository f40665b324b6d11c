"""The numbers of the thread blocks of :mod:`accsim.mapping.flash_blocks`: what their stages take and count.

``docs/gpu.md`` has the model.
"""

from __future__ import annotations

import numpy as np

from accsim.kernels.block import fill_spans
from accsim.kernels.jit import kernel
from accsim.kernels.layout import RUN0, TRIP0
from accsim.kernels.matrix import SUM_BYTES, Tile, ceil_div
from accsim.kernels.systolic import OUTPUT_STATIONARY
from accsim.kernels.work import scale_counts, write_fill, write_matmul, write_reduction, write_result, write_vector
from accsim.mapping.flash_tile import STATISTICS
from accsim.mapping.kv_format import write_conversions

STAGES = (2, 4)
"""Slots of the rings of K and V: what overlap needs, and what a thread block uses at most."""
CONVERTED_BYTES = 128
"""Bytes along the summed dimension of converted keys and values that registers hold: a k step of a product."""


@kernel
def lower_points(
    points,
    problem,
    heads,
    queue,
    totals,
    alike,
    scores,
    ahead,
    at,
    limits,
    machine,
    conversion,
    level,
    kinds,
    classes,
    block,
    copies,
):
    """Write the numbers of every point (columns: query rows, keys of a block, splits).

    Parameters
    ----------
    queue : int64[N, 2, lengths], the lengths of tiles and how many of each the SM has; 1 where they are ``alike``.
    totals : int64[N, 4], of all SMs: tiles, their rows, key blocks, and keys.
    """
    for i in range(points.shape[0]):
        _lower_point(
            i, points[i], problem, heads, queue[i], totals[i], alike, scores, ahead, at, limits, machine, conversion,
            level, block, copies,
        )  # fmt: skip
        fill_spans(block, i, level, kinds, classes)


@kernel(inline="late")
def _lower_point(
    i, point, problem, heads, queue, totals, alike, scores, ahead, at, limits, machine, conversion, level, block, copies
):
    """Write the numbers of one point."""
    wave_wait, combine_wait, smem = limits
    count, all_rows, all_blocks, all_keys = totals[0], totals[1], totals[2], totals[3]
    want = block.actions.shape[0] > 0
    dim, value_dim, element = problem.dim, problem.value_dim, machine.element_bytes
    array = machine if conversion is None else conversion.array
    row_tile, key_block = point[0], point[1]
    split = point[2] > 1
    active = min(count, machine.cores)
    waves = ceil_div(count, machine.cores)
    if not alike:
        waves = 0
        for c in range(queue.shape[1]):
            waves += queue[1, c]
    tail = count - (waves - 1) * active if alike else active
    block.trips[i, level[2, TRIP0]] = waves
    if alike:
        _write_steps(block, i, level, 0, queue[0, 0], ahead)
        if tail < active:
            block.runs[i, level[2, RUN0]] = waves - 1
        copies[i] = active
    else:
        own_blocks, done = 0.0, 0
        for c in range(queue.shape[1]):
            _write_steps(block, i, level, c, queue[0, c], ahead)
            done += queue[1, c]
            if done < waves:
                block.runs[i, level[2, RUN0] + c] = done
            own_blocks += float(queue[0, c]) * queue[1, c]
        # A single length is a tile on its own; what it counts is of one.
        copies[i] = 1.0 if queue.shape[1] == 1 else all_blocks / own_blocks
    block.slots[i, 0] = 1
    ring = _ring(row_tile, key_block, problem, machine, smem)
    block.slots[i, 1] = ring
    block.slot_bytes[i, 0] = int(np.ceil(row_tile * dim * element))
    block.slot_bytes[i, 1] = int(np.ceil(key_block * dim * machine.bytes_b))
    in_registers = 2
    if at.load_v >= 0:
        block.slots[i, 2] = ring
        block.slot_bytes[i, 2] = int(np.ceil(key_block * value_dim * machine.bytes_b))
        in_registers = 3
    block.slots[i, in_registers] = 2 if ahead else 1
    block.slots[i, in_registers + 1] = 1
    # Ahead, the scores of one block are still fp32 while the weights of the one before are multiplied.
    score = (SUM_BYTES + element) / 2 if ahead else float(SUM_BYTES)
    block.slot_bytes[i, in_registers] = int(np.ceil(row_tile * key_block * score))
    block.slot_bytes[i, in_registers + 1] = row_tile * (value_dim + STATISTICS) * SUM_BYTES
    if conversion is not None:
        fragment = CONVERTED_BYTES / element
        block.slot_bytes[i, in_registers + 2] = int(np.ceil(key_block * min(fragment, dim) * element))
        block.slot_bytes[i, in_registers + 3] = int(np.ceil(min(fragment, key_block) * value_dim * element))
    block.latency[i, at.launch] = wave_wait
    for stage in (at.load_q, at.load_k, at.load_v):
        if stage >= 0:
            block.latency[i, stage] = machine.load_latency
    rows = float(all_rows) / count
    q_bytes = rows * dim * element
    keys = float(all_keys) / all_blocks
    k_bytes, v_bytes = keys * dim * machine.bytes_b, keys * value_dim * machine.bytes_b
    fetched = _fetched(heads, count, active, all_keys, problem.kv_width * machine.bytes_b, machine)
    useful = scores / all_blocks
    # Tiles of all SMs over those that the copies of this one stand for: their lengths differ under a mask.
    often = 1.0 if alike or queue.shape[1] == 1 else count / (float(waves) * copies[i])
    result = rows * (value_dim + STATISTICS) * SUM_BYTES if split else rows * value_dim * element
    width = block.row.shape[1] // block.latency.shape[1]
    for c in range(width):
        if alike and c == 1 and tail == active:
            continue
        now = tail if alike and c == 1 else active
        write_fill(block, i, width * at.load_q + c, q_bytes, 1.0, now, machine, want)
        write_fill(block, i, width * at.load_k + c, k_bytes, fetched, now, machine, want)
        if at.load_v >= 0:
            write_fill(block, i, width * at.load_v + c, v_bytes, fetched, now, machine, want)
        if conversion is not None:
            convert = (width * at.convert_k + c, width * at.convert_v + c)
            write_conversions(block, i, convert, (keys * dim, keys * value_dim), conversion, machine, want)
        tile = Tile(row_tile, key_block, dim, 1, 0)
        write_matmul(block, i, width * at.logit + c, tile, useful * dim, OUTPUT_STATIONARY, 0.0, 0.0, array, want)
        tile, part = Tile(row_tile, value_dim, key_block, 0, 1), useful * value_dim  # its weights come from registers
        write_matmul(block, i, width * at.attend + c, tile, part, OUTPUT_STATIONARY, 0.0, 0.0, array, want)
        each = float(row_tile) * key_block
        online = (each, each, each, 0.0, 0.0, float(row_tile) * value_dim, 0.0)
        write_vector(block, i, width * at.softmax + c, online, 0.0, 0.0, machine, want)
        last = (0.0, 0.0, 0.0, 0.0, rows * value_dim, 0.0, rows * value_dim) if not split else (0.0,) * 7
        write_vector(block, i, width * at.finish + c, last, 0.0, 0.0, machine, want)
        write_result(block, i, width * at.finish + c, result, split, now, machine, want)
        if want:
            for stage in range(at.load_q, at.finish + 1):
                once = often if stage in (at.load_q, at.finish) else 1.0
                scale_counts(block, i, width * stage + c, once * now / float(active))
        if at.combine >= 0:
            results = float(heads.rows) * value_dim
            partial_bytes = float(all_rows) * (value_dim + STATISTICS) * SUM_BYTES
            # A partial output is rescaled and added; the sum is divided and rounded.
            shared = float(all_rows) / heads.rows
            work = (0.0, 0.0, shared, shared, 1.0, 0.0, 1.0)
            write_reduction(block, i, width * at.combine + c, results, partial_bytes, work, copies[i], machine, want)
            block.slot_bytes[i, block.slots.shape[1] - 1] = int(min(partial_bytes, 2.0**60))
            block.latency[i, at.combine] = combine_wait


@kernel
def _write_steps(block, i, level, c, length, ahead):
    """Steps of a tile of ``length`` key blocks, and the sections of Logit and Attend where one is ahead."""
    block.trips[i, level[3, TRIP0] + c] = length + 1 if ahead else length
    if ahead:
        block.cuts[i, 4 * c + 1] = 1
        block.cuts[i, 4 * c + 2] = length
        block.cuts[i, 4 * c + 3] = length + 1


@kernel(inline="late")
def _ring(row_tile, key_block, problem, machine, smem):
    """Slots of the ring of K, and of that of V: as many as fit beside Q."""
    left = smem - int(np.ceil(row_tile * problem.dim * machine.element_bytes))
    return max(STAGES[0], min(STAGES[1], left // int(np.ceil(key_block * problem.kv_width * machine.bytes_b))))


@kernel(inline="late")
def _fetched(heads, count, active, all_keys, key_bytes, machine):
    """Share of the loads of K and V that reach main memory.

    Groups in flight are those that the active SMs work on. Each comes once, and again for every further wave of its
    tiles as far as the keys and values of all groups in flight do not fit the memory between. Groups of different
    lengths count as their mean.
    """
    if machine.middle_capacity == 0:
        return 1.0
    own = ceil_div(count, heads.groups)
    in_flight = min(heads.groups, ceil_div(active, own))
    passes = ceil_div(own * in_flight, active)
    lost = 1.0 - min(1.0, machine.middle_capacity * float(heads.groups) / (in_flight * heads.keys * key_bytes))
    return min(1.0, heads.keys * (1.0 + (passes - 1.0) * lost) / all_keys)

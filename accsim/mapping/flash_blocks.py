"""FlashAttention on a GPU: a grid of thread blocks, each of which takes one block of query rows past its keys.

The program is one SM's queue of tiles, one after the other: without a mask all tiles are alike and come in waves; under
a causal mask they differ, are dealt to the SMs from the longest on, and the SM with the most work stands for all.
``docs/gpu.md`` has the model.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.kernels.block import ALL, END, START, fill_spans
from accsim.kernels.jit import kernel
from accsim.kernels.layout import RUN0, TRIP0
from accsim.kernels.matrix import ceil_div
from accsim.kernels.systolic import OUTPUT_STATIONARY
from accsim.kernels.work import SUM_BYTES, write_fill, write_matmul, write_reduction, write_result, write_vector
from accsim.mapping.attention import MOST_CAUSAL_TILES, Problem, problem_of
from accsim.mapping.compiled import Lowered, Points
from accsim.mapping.flash_tile import STATISTICS
from accsim.mapping.machine_numbers import REGISTERS, machine_numbers, memory_plan, places, ways
from accsim.mapping.shape import Shape, StageShape, between
from accsim.mapping.thread_blocks import SPLITS, overhead_ticks
from accsim.workload.ops import Attention

QUERY_ROWS = (16, 32, 64, 128, 192)
KEY_BLOCKS = (32, 64, 80, 112, 128, 176)
"""Tiles of FlashAttention-2 and -3; fewer rows, for decoding, and fewer keys, for wide heads."""
STAGES = (2, 4)
"""Slots of the rings of K and V: what overlap needs, and what a thread block uses at most."""
MOST_DEALT = 2**17
REGISTERS_USED = 0.8
"""Share of the register file for scores and sums: FlashAttention-3's largest tiles take 0.77 of it."""


class At(NamedTuple):
    """Where a shape's stages are listed; -1 for those it does not have."""

    launch: int
    load_q: int
    load_k: int
    logit: int
    softmax: int
    load_v: int
    attend: int
    finish: int
    combine: int


class Tiles(NamedTuple):
    """The tiles of one SM's queue: key blocks of each length, longest first, and how many tiles have it.

    Attributes
    ----------
    alike : whether all tiles of all SMs have the same length; ``counts`` is then not of use.
    per_group : tiles of one KV head of one sequence.
    blocks : key blocks of all tiles of all SMs.
    keys : keys in them; a last block may be ragged.
    """

    lengths: tuple[int, ...]
    counts: tuple[int, ...]
    alike: bool
    per_group: int
    blocks: int
    keys: int


def block_points(
    op: Attention, acc: Accelerator, block_q: int | None, block_kv: int | None, ahead: list[bool], split: int | None
) -> list[Points]:
    """Points (query rows, keys of a block, splits of the keys) by the shape that they need."""
    problem = problem_of(op)
    rows = [block_q] if block_q else _up_to(QUERY_ROWS, problem.positions * problem.shared)
    keys = [block_kv] if block_kv else _up_to(KEY_BLOCKS, problem.keys)
    found: dict[tuple[bool, int, bool], list[tuple[int, int, int]]] = {}
    for row in rows:
        for key in keys:
            tiles = tiles_of(problem, row, key, acc.cores)
            if len(tiles.lengths) > MOST_CAUSAL_TILES and row != rows[-1]:
                continue
            for parts in _splits(problem, tiles, acc, split):
                classes = 0 if tiles.alike else len(tiles.lengths)
                for pipelined in ahead:
                    found.setdefault((pipelined, classes, parts > 1), []).append((row, key, parts))
    return [Points(variant, np.array(points, np.int64)) for variant, points in found.items()]


def lower_blocks(op: Attention, acc: Accelerator, points: Points, *, actions: bool) -> Lowered:
    """The points' programs as a block."""
    shape = _shape(acc, *points.variant, op.shared_kv)
    at = At(*shape.places(At._fields))
    block = shape.new_block(len(points.table), actions=actions)
    copies = np.zeros(len(points.table))
    problem, machine = problem_of(op), machine_numbers(acc, op.dtype)
    waits = overhead_ticks(acc, "wave"), overhead_ticks(acc, "reduction")
    level, smem = shape.level_table(), memory_plan(acc)[1][acc.memories[0].name]
    for i, (row, key, _) in enumerate(points.table.tolist()):
        tiles = tiles_of(problem, row, key, acc.cores)
        queue = np.array([tiles.lengths, tiles.counts], np.int64)
        totals = (tiles.alike, tiles.per_group, tiles.blocks, tiles.keys, float(op.scores))
        _lower_point(
            i, points.table[i], problem, queue, totals, points.variant[0], at, (*waits, smem), machine, level,
            block, copies,
        )  # fmt: skip
        fill_spans(block, i, level, shape.kinds, shape.classes)
    return Lowered(shape, block, copies)


@lru_cache(maxsize=4096)
def tiles_of(problem: Problem, row_tile: int, key_block: int, cores: int) -> Tiles:
    """The queue of the SM with the most work, and what all do.

    Notes
    -----
    List scheduling, longest tile first (Graham, *Bounds on Multiprocessing Timing Anomalies*, 1969); a tile counts as
    its key blocks and one more, for its fill and drain. The order is that of FlashAttention-3's scheduler. Of more than
    ``MOST_DEALT`` tiles, each SM gets an equal number of each length, and only the rest is dealt one by one.
    """
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
    if np.all(lengths == lengths[0]):
        return Tiles((int(lengths[0]),), (1,), True, per_group, blocks, keys)
    distinct, each = np.unique(lengths, return_counts=True)
    counts = problem.groups * each[::-1]
    rounds = counts // cores if problem.groups * per_group > MOST_DEALT else 0 * counts
    counts = rounds + _busiest(distinct[::-1].copy(), counts - cores * rounds, cores)
    kept = counts > 0
    return Tiles(tuple(distinct[::-1][kept].tolist()), tuple(counts[kept].tolist()), False, per_group, blocks, keys)


def _up_to(sizes: tuple[int, ...], extent: int) -> list[int]:
    """Sizes up to the first that covers the extent."""
    covering = next((size for size in sizes if size >= extent), sizes[-1])
    return [size for size in sizes if size <= covering]


def _splits(problem: Problem, tiles: Tiles, acc: Accelerator, given: int | None) -> list[int]:
    """Thread blocks that share the keys of a tile: where there are fewer tiles than SMs, and all are alike."""
    alike = tiles.alike and "middle" in places(acc)
    if given:
        return [given] if given == 1 or alike else []
    few = problem.groups * tiles.per_group < acc.cores
    blocks = tiles.lengths[0]
    return [s for s in SPLITS if s == 1 or (alike and few and s <= blocks and -(-blocks // -(-blocks // s)) == s)]


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


@lru_cache(maxsize=1024)
def _shape(acc: Accelerator, ahead: bool, classes: int, split: bool, shared_kv: bool) -> Shape:
    """``classes`` of tiles that differ in key blocks; 0 where all are alike, in full waves and a tail."""
    way = ways(acc)
    memory = acc.memories[0].name
    _, capacities = memory_plan(acc)
    capacities[REGISTERS] = int(capacities[REGISTERS] * REGISTERS_USED)
    buffers = {"q": memory, "k": memory, "v": memory, "scores": REGISTERS, "out": REGISTERS}
    if shared_kv:
        del buffers["v"]
    values = "k" if shared_kv else "v"
    behind = 1 if ahead else 0
    # Ahead, a tile has one step more than key blocks: Logit in all but the last, Attend in all but the first.
    first = {"key": between(0, 2) if ahead else ALL}
    then = {"key": between(1, 3) if ahead else ALL}
    partials: tuple[Hold, ...] = ()
    stages = [
        StageShape("load_q", "dma", way.loads, {"key": START}, after=(After("launch"),), acquires=(Hold("q"),)),
        StageShape("load_k", "dma", way.loads, first, after=(After("launch"),), acquires=(Hold("k"),)),
        StageShape(
            "logit", "matrix", way.local, first, after=(After("load_q", level="wave"), After("load_k", level="key")),
            acquires=(Hold("scores"),), releases=(Hold("q", last=("key",)), *(() if shared_kv else (Hold("k"),))),
        ),
        StageShape("softmax", "vector", (), first, after=(After("logit", level="key"),)),
        StageShape("load_v", "dma", way.loads, first, after=(After("launch"),), acquires=(Hold("v"),)),
        StageShape(
            "attend", "matrix", way.local, then,
            after=(After("softmax", behind, "key"), After(f"load_{values}", behind, "key")),
            releases=(Hold("scores"), Hold(values)),
        ),
        StageShape(
            "finish", "vector", way.stores, {"key": END}, after=(After("attend", level="wave"),),
            releases=(Hold("out"),),
        ),
    ]  # fmt: skip
    if split:
        middle = places(acc)["middle"]
        buffers["partials"] = middle.name
        capacities[middle.name] = middle.capacity_bytes
        partials = (Hold("partials", first=("wave",)),)
        once = {"wave": END, "key": END}
        ports = (way.stores[0], way.loads[1])
        stages.append(
            StageShape("combine", "vector", ports, once, after=(After("finish"),), releases=(Hold("partials"),))
        )
    return Shape(
        "flash thread blocks" + (" pipelined" if ahead else "") + (", split keys" if split else ""),
        (("wave", classes or 2), ("key", 1)),
        way.resources("dispatch", "dma", "matrix", "vector"),
        buffers,
        (
            StageShape("launch", "dispatch", (), {"key": START}, acquires=(Hold("out"), *partials)),
            *(stage for stage in stages if not (shared_kv and stage.name == "load_v")),
        ),
        capacities,
        {"key": "wave"} if classes > 1 else {},
        3 if ahead else 1,
    )


@kernel(allocates=True)
def _lower_point(i, point, problem, queue, totals, ahead, at, limits, machine, level, block, copies):
    """Write the numbers of one point (query rows, keys of a block, splits); ``queue``: lengths and counts of tiles."""
    wave_wait, combine_wait, smem = limits
    alike, per_group, all_blocks, all_keys, scores = totals
    want = block.actions.shape[0] > 0
    dim, value_dim, element = problem.dim, problem.value_dim, machine.element_bytes
    row_tile, key_block = point[0], point[1]
    length = ceil_div(queue[0, 0], point[2])
    split = ceil_div(queue[0, 0], length)
    count = problem.groups * per_group * split
    active = min(count, machine.cores)
    waves = ceil_div(count, machine.cores) if alike else queue[1].sum()
    tail = count - (waves - 1) * active if alike else active
    block.trips[i, level[2, TRIP0]] = waves
    if alike:
        _write_steps(block, i, level, 0, length, ahead)
        if tail < active:
            block.runs[i, level[2, RUN0]] = waves - 1
        own_blocks = float(waves) * length
        copies[i] = active
        all_blocks = problem.groups * per_group * split * length
    else:
        own_blocks, done = 0.0, 0
        for c in range(queue.shape[1]):
            _write_steps(block, i, level, c, queue[0, c], ahead)
            done += queue[1, c]
            if c < queue.shape[1] - 1:
                block.runs[i, level[2, RUN0] + c] = done
            own_blocks += float(queue[0, c]) * queue[1, c]
        copies[i] = all_blocks / own_blocks
    block.slots[i, 0] = 1
    ring = _ring(row_tile, key_block, problem, element, smem)
    block.slots[i, 1] = ring
    block.slot_bytes[i, 0] = int(np.ceil(row_tile * dim * element))
    block.slot_bytes[i, 1] = int(np.ceil(key_block * dim * element))
    in_registers = 2
    if at.load_v >= 0:
        block.slots[i, 2] = ring
        block.slot_bytes[i, 2] = int(np.ceil(key_block * value_dim * element))
        in_registers = 3
    block.slots[i, in_registers] = 2 if ahead else 1
    block.slots[i, in_registers + 1] = 1
    # Ahead, the scores of one block are still fp32 while the weights of the one before are multiplied.
    score = (SUM_BYTES + element) / 2 if ahead else float(SUM_BYTES)
    block.slot_bytes[i, in_registers] = int(np.ceil(row_tile * key_block * score))
    block.slot_bytes[i, in_registers + 1] = row_tile * (value_dim + STATISTICS) * SUM_BYTES
    block.latency[i, at.launch] = wave_wait
    for stage in (at.load_q, at.load_k, at.load_v):
        if stage >= 0:
            block.latency[i, stage] = machine.load_latency
    rows = problem.positions * problem.shared / float(per_group)
    q_bytes = rows * dim * element
    keys = float(all_keys) / all_blocks
    k_bytes, v_bytes = keys * dim * element, keys * value_dim * element
    fetched = _fetched(problem, per_group, split, active, all_keys * problem.kv_width * element, machine)
    useful = scores / all_blocks
    # Tiles of all SMs over those that the copies of this one stand for: their lengths differ under a mask.
    often = 1.0 if alike else problem.groups * per_group / (float(waves) * copies[i])
    result = rows * (value_dim + STATISTICS) * SUM_BYTES if split > 1 else rows * value_dim * element
    width = block.row.shape[1] // block.latency.shape[1]
    for c in range(width):
        if alike and c == 1 and tail == active:
            continue
        now = tail if alike and c == 1 else active
        write_fill(block, i, width * at.load_q + c, q_bytes, 1.0, now, machine, want)
        write_fill(block, i, width * at.load_k + c, k_bytes, fetched, now, machine, want)
        if at.load_v >= 0:
            write_fill(block, i, width * at.load_v + c, v_bytes, fetched, now, machine, want)
        tile, weights = (row_tile, key_block, dim), float(row_tile) * key_block * element
        write_matmul(block, i, width * at.logit + c, tile, useful * dim, OUTPUT_STATIONARY, 0.0, 0.0, machine, want)
        tile, part = (row_tile, value_dim, key_block), useful * value_dim  # its weights come from the registers
        write_matmul(block, i, width * at.attend + c, tile, part, OUTPUT_STATIONARY, -weights, 0.0, machine, want)
        each = float(row_tile) * key_block
        online = (each, each, each, 0.0, 0.0, float(row_tile) * value_dim, 0.0)
        write_vector(block, i, width * at.softmax + c, online, 0.0, 0.0, machine, want)
        last = (0.0, 0.0, 0.0, 0.0, rows * value_dim, 0.0, rows * value_dim) if split == 1 else (0.0,) * 7
        write_vector(block, i, width * at.finish + c, last, 0.0, 0.0, machine, want)
        write_result(block, i, width * at.finish + c, result, split > 1, now, machine, want)
        if want:
            for stage in range(at.load_q, at.finish + 1):
                once = often if stage in (at.load_q, at.finish) else 1.0
                block.actions[i, width * stage + c] *= once * now / float(active)
        if split > 1:
            results = float(problem.groups) * problem.positions * problem.shared * value_dim
            partial_bytes = results / value_dim * (value_dim + STATISTICS) * split * SUM_BYTES
            # A partial output is rescaled and added; the sum is divided and rounded.
            work = (0.0, 0.0, split * 1.0, split * 1.0, 1.0, 0.0, 1.0)
            write_reduction(block, i, width * at.combine + c, results, partial_bytes, work, active, machine, want)
            block.slot_bytes[i, in_registers + 2] = int(min(partial_bytes, 2.0**60))
            block.latency[i, at.combine] = combine_wait


@kernel
def _write_steps(block, i, level, c, length, ahead):
    """Steps of a tile of ``length`` key blocks, and the sections of Logit and Attend where one is ahead."""
    block.trips[i, level[3, TRIP0] + c] = length + 1 if ahead else length
    if ahead:
        block.cuts[i, 4 * c + 1] = 1
        block.cuts[i, 4 * c + 2] = length
        block.cuts[i, 4 * c + 3] = length + 1


@kernel
def _ring(row_tile, key_block, problem, element, smem):
    """Slots of the ring of K, and of that of V: as many as fit beside Q."""
    left = smem - int(np.ceil(row_tile * problem.dim * element))
    return max(STAGES[0], min(STAGES[1], left // int(np.ceil(key_block * problem.kv_width * element))))


@kernel
def _fetched(problem, per_group, split, active, loaded, machine):
    """Share of the loads of K and V that reach main memory.

    Groups in flight are those that the active SMs work on. Each comes once, and again for every further wave of its
    tiles as far as the keys and values of all groups in flight do not fit the memory between.
    """
    if machine.middle_capacity == 0:
        return 1.0
    one = 1.0 * problem.keys * problem.kv_width * machine.element_bytes
    own = per_group * split
    in_flight = min(problem.groups, ceil_div(active, own))
    passes = ceil_div(own * in_flight, active)
    lost = 1.0 - min(1.0, machine.middle_capacity / (in_flight * one))
    return min(1.0, problem.groups * one * (1.0 + (passes - 1.0) * lost) / loaded)

"""FlashAttention on a GPU: a grid of thread blocks, each of which takes one block of query rows past its keys.

Tiles that are all alike come in waves: the program is one SM's tiles, one after the other. Under a causal mask, and of
sequences of different lengths, they differ and run on a pool of SMs, from the longest on, each an inner program. In its
stead a search, and a run of split keys, takes the queue of the SM that is busy longest: the same time, from one small
program. ``docs/gpu.md`` has the model.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.engine.tables import IntArray
from accsim.kernels.block import ALL, END, START, fill_spans
from accsim.kernels.jit import kernel
from accsim.kernels.layout import RUN0, TRIP0
from accsim.kernels.matrix import SUM_BYTES, Tile, ceil_div
from accsim.kernels.systolic import OUTPUT_STATIONARY
from accsim.kernels.work import scale_counts, write_fill, write_matmul, write_reduction, write_result, write_vector
from accsim.mapping.attention import MOST_CAUSAL_TILES, problems_of
from accsim.mapping.compiled import Lowered, Points, run_points
from accsim.mapping.flash_tile import STATISTICS
from accsim.mapping.flash_tiles import Heads, Tiles, busiest, even_tiles, tiles_of
from accsim.mapping.machine_numbers import REGISTERS, machine_numbers, memory_plan, overhead_ticks, places, ways
from accsim.mapping.shape import Shape, StageShape, between
from accsim.mapping.thread_blocks import SPLITS
from accsim.workload.ops import Attention

QUERY_ROWS = (16, 32, 64, 128, 192)
KEY_BLOCKS = (32, 64, 80, 112, 128, 176)
"""Tiles of FlashAttention-2 and -3; fewer rows, for decoding, and fewer keys, for wide heads."""
STAGES = (2, 4)
"""Slots of the rings of K and V: what overlap needs, and what a thread block uses at most."""
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


def block_points(
    op: Attention, acc: Accelerator, block_q: int | None, block_kv: int | None, ahead: list[bool], split: int | None
) -> list[Points]:
    """Points (query rows, keys of a block, splits of the keys) by the shape that they need."""
    problems = problems_of(op)
    rows = [block_q] if block_q else _up_to(QUERY_ROWS, max(p.positions * p.shared for p in problems))
    keys = [block_kv] if block_kv else _up_to(KEY_BLOCKS, max(p.keys for p in problems))
    found: dict[tuple[bool, int, bool], list[tuple[int, int, int]]] = {}
    for row in rows:
        for key in keys:
            whole = tiles_of(problems, row, key)
            if len(whole.lengths) > MOST_CAUSAL_TILES and row != rows[-1]:
                continue
            for parts in _splits(op, whole, acc, split):
                tiles = tiles_of(problems, row, key, parts)
                classes = 0 if tiles.alike else len(tiles.lengths)
                shared = tiles.in_all > whole.in_all  # not where each tile has a single block of keys
                for pipelined in ahead:
                    found.setdefault((pipelined, classes, shared), []).append((row, key, parts if shared else 1))
    return [Points(variant, np.array(points, np.int64)) for variant, points in found.items()]


def lower_blocks(op: Attention, acc: Accelerator, points: Points, *, actions: bool) -> Lowered:
    """The points' programs as a block."""
    ahead, classes, _ = points.variant
    writer = _Writer(op, acc, points.variant, len(points.table), actions)
    if len(writer.problems) == 1 and not writer.problems[0].causal:
        even_tiles(points.table, writer.problems[0], writer.queue, writer.totals)
        return writer.lowered(points.table)
    for i, (row, key, parts) in enumerate(points.table.tolist()):
        tiles = tiles_of(writer.problems, row, key, parts)
        writer.set(i, tiles, tiles.lengths, _queue(op, acc, ahead, row, key, parts) if classes else (1,))
    return writer.lowered(points.table)


def lower_tiles(
    op: Attention, acc: Accelerator, ahead: bool, row: int, key: int, parts: int = 1, *, actions: bool
) -> Lowered:
    """A tile of each length alone on one of all SMs, as a block of points, from the longest on.

    Of split keys it is a part, and what merges them is left out.
    """
    tiles = tiles_of(problems_of(op), row, key, parts)
    writer = _Writer(op, acc, (ahead, 1, False), len(tiles.lengths), actions)
    for i, length in enumerate(tiles.lengths):
        writer.set(i, tiles, (length,), (1,))
    return writer.lowered(np.tile([row, key, parts], (len(tiles.lengths), 1)))


def _queue(op: Attention, acc: Accelerator, ahead: bool, row: int, key: int, parts: int) -> tuple[int, ...]:
    """How many tiles of each length the SM has that is busy longest; of a point that does not fit, the busiest of all.

    A tile's time is that of its own program, so that the queue takes as long as a pool of SMs.
    """
    inside = lower_tiles(op, acc, ahead, row, key, parts, actions=False)
    tiles = tiles_of(problems_of(op), row, key, parts)
    return busiest(run_points(inside), tiles.counts, acc.cores) if inside.fits()[0] else tiles.counts


class _Writer:
    """Writes the points of an op that have one shape into a block."""

    def __init__(
        self, op: Attention, acc: Accelerator, variant: tuple[bool, int, bool], points: int, actions: bool
    ) -> None:
        self.shape = _shape(acc, *variant, op.shared_kv)
        self.at = At(*self.shape.places(At._fields))
        self.block = self.shape.new_block(points, actions=actions)
        self.copies = np.zeros(points)
        self.ahead, classes, _ = variant
        self.alike = classes == 0
        self.queue = np.zeros((points, 2, max(1, classes)), np.int64)
        self.totals = np.zeros((points, 4), np.int64)
        self.problems, self.machine, self.scores = problems_of(op), machine_numbers(acc, op.dtype), float(op.scores)
        smem = memory_plan(acc)[1][acc.memories[0].name]
        self.limits = overhead_ticks(acc, "wave"), overhead_ticks(acc, "reduction"), smem

    def set(self, i: int, tiles: Tiles, lengths: tuple[int, ...], counts: tuple[int, ...]) -> None:
        """The tiles of point i, and those that one SM has: how many of each length."""
        # Lengths of which it has none come last, behind the end of its loop, where their runs have no end.
        order = np.argsort(np.array(counts) == 0, kind="stable")
        self.queue[i] = np.array([lengths, counts])[:, order]
        self.totals[i] = tiles.in_all, tiles.rows, tiles.blocks, tiles.keys

    def lowered(self, table: IntArray) -> Lowered:
        """The points of a table (query rows, keys of a block, splits) as a block."""
        _lower(
            table, self.problems[0], Heads.of(self.problems), self.queue, self.totals, self.alike, self.scores,
            self.ahead, self.at, self.limits, self.machine, self.shape.level_table(), self.shape.kinds,
            self.shape.classes, self.block, self.copies,
        )  # fmt: skip
        return Lowered(self.shape, self.block, self.copies)


def _up_to(sizes: tuple[int, ...], extent: int) -> list[int]:
    """Sizes up to the first that covers the extent."""
    covering = next((size for size in sizes if size >= extent), sizes[-1])
    return [size for size in sizes if size <= covering]


def _splits(op: Attention, whole: Tiles, acc: Accelerator, given: int | None) -> list[int]:
    """Thread blocks that share the keys of a tile: tried where there are fewer tiles than SMs, and none sees a mask."""
    meet = "middle" in places(acc)
    if given:
        return [given] if given == 1 or meet else []
    few = meet and whole.in_all < acc.cores and (whole.alike or op.q_len == 1)
    blocks = whole.lengths[0]
    return [s for s in SPLITS if s == 1 or (few and s <= blocks and -(-blocks // -(-blocks // s)) == s)]


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


@kernel
def _lower(
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
            i, points[i], problem, heads, queue[i], totals[i], alike, scores, ahead, at, limits, machine, level, block,
            copies,
        )  # fmt: skip
        fill_spans(block, i, level, kinds, classes)


@kernel(inline="late")
def _lower_point(
    i, point, problem, heads, queue, totals, alike, scores, ahead, at, limits, machine, level, block, copies
):
    """Write the numbers of one point."""
    wave_wait, combine_wait, smem = limits
    count, all_rows, all_blocks, all_keys = totals[0], totals[1], totals[2], totals[3]
    want = block.actions.shape[0] > 0
    dim, value_dim, element = problem.dim, problem.value_dim, machine.element_bytes
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
    rows = float(all_rows) / count
    q_bytes = rows * dim * element
    keys = float(all_keys) / all_blocks
    k_bytes, v_bytes = keys * dim * element, keys * value_dim * element
    fetched = _fetched(heads, count, active, all_keys, problem.kv_width * element, machine)
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
        tile = Tile(row_tile, key_block, dim, 1, 0)
        write_matmul(block, i, width * at.logit + c, tile, useful * dim, OUTPUT_STATIONARY, 0.0, 0.0, machine, want)
        tile, part = Tile(row_tile, value_dim, key_block, 0, 1), useful * value_dim  # its weights come from registers
        write_matmul(block, i, width * at.attend + c, tile, part, OUTPUT_STATIONARY, 0.0, 0.0, machine, want)
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


@kernel(inline="late")
def _ring(row_tile, key_block, problem, element, smem):
    """Slots of the ring of K, and of that of V: as many as fit beside Q."""
    left = smem - int(np.ceil(row_tile * problem.dim * element))
    return max(STAGES[0], min(STAGES[1], left // int(np.ceil(key_block * problem.kv_width * element))))


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

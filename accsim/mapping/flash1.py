"""FlashAttention (the first): key blocks outside, query tiles inside, partial outputs in main memory in between.

Source: Dao et al., "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness", NeurIPS 2022 (arXiv
2205.14135), Algorithm 1. ``docs/attention.md`` has the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.errors import MappingError
from accsim.kernels.block import START, fill_spans
from accsim.kernels.jit import kernel
from accsim.kernels.layout import RUN0, TRIP0
from accsim.kernels.matrix import SUM_BYTES, Tile, ceil_div
from accsim.kernels.work import scale_bytes, write_load, write_matmul, write_store, write_vector
from accsim.mapping.attention import (
    Share,
    check_equal_lengths,
    count_keys,
    fetched_share,
    form_codes,
    key_block_sizes,
    own_work,
    problem_of,
    row_tile_sizes,
    seen_keys,
    share_of,
    tile_rows,
    write_latencies,
)
from accsim.mapping.base import check_choices, register_dataflow
from accsim.mapping.compiled import CompiledDataflow, Lowered, Points
from accsim.mapping.flash_tile import STATISTICS
from accsim.mapping.machine_numbers import STATIONARY, machine_numbers, memory_plan, ways
from accsim.mapping.shape import Shape, StageShape
from accsim.workload.ops import Attention, Op

MOST_CAUSAL_BLOCKS = 256
"""A search leaves out key blocks so small that each of more than this many needs numbers of its own under a mask."""


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


@dataclass(frozen=True)
class Flash1(CompiledDataflow):
    """A FlashAttention-1 mapping; choices left ``None`` are searched. It has no sliding window.

    Parameters
    ----------
    block_q : query rows of a tile; two of a core's tiles or more see each key block, since outputs leave in between.
    block_kv : keys of a block; a head has two or more.
    stationary : form of both operators on the array.
    """

    kinds: ClassVar[tuple[str, ...]] = ("attention",)

    block_q: int | None = None
    block_kv: int | None = None
    stationary: str | None = None

    def __post_init__(self) -> None:
        check_choices(self, positive=("block_q", "block_kv"), among={"stationary": tuple(STATIONARY)})

    def space(self, op: Op, acc: Accelerator) -> list[Points]:
        assert isinstance(op, Attention)
        check_equal_lengths(op, "flash1")
        if op.window:
            raise MappingError(f"'{op.name}': flash1 is written without a sliding window")
        problem = problem_of(op)
        keys = [self.block_kv] if self.block_kv else key_block_sizes(op, acc, 5)
        found: dict[tuple[int, int, bool], list[tuple[int, ...]]] = {}
        for row in row_tile_sizes(op, acc, self.block_q):
            share = share_of(problem, min(row, op.q_len * problem.shared), acc.cores)
            tiles = -(-share.rows // row)
            for key in keys:
                blocks = -(-problem.keys // key)
                if blocks < 2 or seen_tiles(problem, row, share, tiles, key, blocks - 1) < 2:
                    continue
                if op.causal and blocks > MOST_CAUSAL_BLOCKS and key != keys[-1]:
                    continue
                short = tile_rows(problem, row, share, tiles - 1)[0] < row
                variant = (blocks if op.causal else 2, 1 + short, op.causal)
                found.setdefault(variant, []).extend((row, key, form) for form in form_codes(acc, self.stationary))
        if not found:
            raise MappingError(f"'{op.name}': flash1 needs two row tiles on a core at each of two key blocks or more")
        return [Points(variant, np.array(points, np.int64)) for variant, points in found.items()]

    def complete(self, op: Op, acc: Accelerator, points: Points, i: int) -> Flash1:
        row, key, form = points.table[i].tolist()
        return Flash1(row, key, {code: name for name, code in STATIONARY.items()}[form])

    def lower(self, op: Op, acc: Accelerator, points: Points, *, actions: bool) -> Lowered:
        assert isinstance(op, Attention)
        shape = _shape(acc, *points.variant, op.shared_kv)
        at = At(*shape.places(At._fields))
        block = shape.new_block(len(points.table), actions=actions)
        copies = np.zeros(len(points.table))
        _lower(
            points.table, problem_of(op), float(op.scores), at, machine_numbers(acc, op.dtype), shape.level_table(),
            shape.kinds, shape.classes, block, copies,
        )  # fmt: skip
        return Lowered(shape, block, copies)


register_dataflow("flash1", Flash1)


@lru_cache(maxsize=64)
def _shape(acc: Accelerator, key_classes: int, row_classes: int, causal: bool, shared_kv: bool) -> Shape:
    way = ways(acc)
    sums, capacities = memory_plan(acc)
    memory = acc.memories[0].name
    keys, values = (() if shared_kv else (Hold("k", last=("row",)),)), Hold("k" if shared_kv else "v", last=("row",))
    stages = (
        StageShape("load_k", "dma", way.loads, {"row": START}, acquires=(Hold("k"),)),
        StageShape("load_v", "dma", way.loads, {"row": START}, acquires=(Hold("v"),)),
        StageShape("load_q", "dma", way.loads, acquires=(Hold("q"),)),
        StageShape("load_o", "dma", way.loads, acquires=(Hold("out"),)),
        StageShape(
            "logit", "matrix", way.local, after=(After("load_q"), After("load_k", level="key")),
            acquires=(Hold("scores"),), releases=(Hold("q"), *keys),
        ),
        StageShape(
            "softmax", "vector", way.local if sums == memory else (), after=(After("logit"), After("load_o")),
        ),
        StageShape(
            "attend", "matrix", way.local,
            after=(After("softmax"), After("load_k" if shared_kv else "load_v", level="key")),
            releases=(Hold("scores"), values),
        ),
        StageShape(
            "store_o", "dma", way.stores, shift=1, shift_level="row", after=(After("attend"),),
            releases=(Hold("out"),),
        ),
    )  # fmt: skip
    return Shape(
        "flash1",
        (("head", 1), ("key", key_classes), ("row", row_classes)),
        way.resources("dma", "matrix", "vector"),
        {"q": memory, "k": memory, **({} if shared_kv else {"v": memory}), "scores": sums, "out": sums},
        tuple(stage for stage in stages if not (shared_kv and stage.name == "load_v")),
        capacities,
        {"row": "key"} if causal else {},
    )


@kernel(allocates=True)
def _lower(points, problem, scores, at, machine, level, kinds, classes, block, copies):
    """Write the numbers of every point (columns: query rows, keys of a block, stationary form)."""
    want = block.actions.shape[0] > 0
    dim, value_dim = problem.dim, problem.value_dim
    element = machine.element_bytes
    in_registers = machine.systolic == 0
    combos = classes[2] * classes[3]
    for i in range(points.shape[0]):
        row_tile, key_block, form = points[i, 0], points[i, 1], points[i, 2]
        share = share_of(problem, row_tile, machine.cores)
        tiles, blocks = ceil_div(share.rows, row_tile), ceil_div(problem.keys, key_block)
        block.trips[i, level[1, TRIP0]] = share.groups
        block.trips[i, level[2, TRIP0]] = blocks
        if problem.causal:
            for j in range(blocks):
                block.trips[i, level[3, TRIP0] + j] = seen_tiles(problem, row_tile, share, tiles, key_block, j)
                if j < blocks - 1:
                    block.runs[i, level[2, RUN0] + j] = j + 1
        else:
            block.trips[i, level[3, TRIP0]] = tiles
            block.runs[i, level[2, RUN0]] = blocks - 1
        short = classes[3] - 1
        if short:
            block.runs[i, level[3, RUN0]] = tiles - 1
        fill_spans(block, i, level, kinds, classes)
        block.slots[i, :] = 2
        sums = 2 if at.load_v < 0 else 3
        block.slots[i, sums + 1] = 3  # one arrives, one is worked on, one leaves
        block.slot_bytes[i, 0] = int(np.ceil(row_tile * dim * element))
        block.slot_bytes[i, 1] = int(np.ceil(key_block * dim * element))
        if at.load_v >= 0:
            block.slot_bytes[i, 2] = int(np.ceil(key_block * value_dim * element))
        block.slot_bytes[i, sums] = row_tile * key_block * SUM_BYTES
        block.slot_bytes[i, sums + 1] = row_tile * (value_dim + STATISTICS) * SUM_BYTES
        write_latencies(block, i, (at.load_q, at.load_k, at.load_v, at.store_o), machine)
        block.latency[i, at.load_o] = machine.load_latency
        fetched = fetched_share(problem, row_tile, share, tiles, key_block, machine, True)
        own_rows, own_visible = own_work(problem, row_tile, share, tiles)
        copies[i] = scores / (own_visible * share.groups)
        for c in range(combos):
            j, last_row = c // classes[3], c % classes[3]
            if not problem.causal and j == 1:
                j = blocks - 1
            first, end = (tiles - 1, tiles) if last_row else (0, tiles - short)
            now = min(end, seen_tiles(problem, row_tile, share, tiles, key_block, j)) - first
            after = 0
            if j < blocks - 1:
                after = max(0, min(end, seen_tiles(problem, row_tile, share, tiles, key_block, j + 1)) - first)
            if now <= 0:
                continue
            done = (now - after) / float(now)  # share of the tiles for which this key block is the last
            rows = tile_rows(problem, row_tile, share, tiles - 1)[0] if last_row else row_tile
            keys = problem.keys - (blocks - 1) * key_block if j == blocks - 1 else key_block
            useful = _visible(problem, row_tile, share, first, now, key_block, j) / now
            q_bytes, k_bytes, v_bytes = rows * dim * element, keys * dim * element, keys * value_dim * element
            partial = float(rows * (value_dim + STATISTICS) * SUM_BYTES)
            write_load(block, i, at.load_k * combos + c, k_bytes, k_bytes * fetched, share.active, machine, want)
            if at.load_v >= 0:
                write_load(block, i, at.load_v * combos + c, v_bytes, v_bytes * fetched, share.active, machine, want)
            write_load(block, i, at.load_q * combos + c, q_bytes, q_bytes, share.active, machine, want)
            write_load(block, i, at.load_o * combos + c, partial, partial, share.active, machine, want)
            each, outputs = float(rows * keys), float(rows * value_dim)
            score_bytes = 0.0 if in_registers else each * SUM_BYTES
            sum_bytes = 0.0 if in_registers else outputs * SUM_BYTES
            tile, row = Tile(rows, keys, dim, 1, 0), at.logit * combos + c
            logit = write_matmul(block, i, row, tile, useful * dim, form, 0.0, score_bytes, machine, want)
            counts = (each, each, each, 0.0, outputs, outputs, outputs * done)
            passes = score_bytes + sum_bytes
            write_vector(block, i, at.softmax * combos + c, counts, passes, passes, machine, want)
            tile, row = Tile(rows, value_dim, keys, 0, 0), at.attend * combos + c
            attend = write_matmul(block, i, row, tile, useful * value_dim, form, sum_bytes, sum_bytes, machine, want)
            stored = done * (rows * value_dim * element) + (1.0 - done) * partial
            write_store(block, i, at.store_o * combos + c, stored, share.active, machine, want)
            if c == 0:
                block.latency[i, at.logit] = logit
                block.latency[i, at.attend] = attend
        if want:
            moves = (at.load_q, at.store_o, at.load_k, at.load_v)
            resident = (True, True)
            count_keys(block, i, moves, combos, problem, row_tile, share, key_block, copies[i], machine, resident)
            # Queries come, and partial outputs go, once a row and key block that it sees.
            all_rows = float(problem.positions * problem.shared)
            everyone = Share(share.groups, problem.positions * problem.shared, 1, share.active)
            own = _passes(problem, row_tile, share, tiles, key_block, blocks)
            every = _passes(problem, row_tile, everyone, ceil_div(everyone.rows, row_tile), key_block, blocks)
            often = problem.groups / (copies[i] * share.groups)
            partial, out = float(SUM_BYTES * (value_dim + STATISTICS)), float(value_dim * element)
            left = ((every - all_rows) * partial + all_rows * out) / ((own - own_rows) * partial + own_rows * out)
            for c in range(combos):
                scale_bytes(block, i, at.load_q * combos + c, often * every / own, 1.0)
                scale_bytes(block, i, at.load_o * combos + c, often * every / own, 1.0)
                scale_bytes(block, i, at.store_o * combos + c, often * left, 1.0)


@kernel
def seen_tiles(problem, row_tile, share, tiles, key_block, j):
    """Row tiles of a core that see key block j; the first one, with the last positions, sees the most."""
    if not problem.causal:
        return tiles
    return min(tiles, ceil_div(problem.keys - j * key_block, share.stride * (row_tile // problem.shared)))


@kernel
def _passes(problem, row_tile, share, tiles, key_block, blocks):
    """Rows of a core's tiles, counted once for each key block that they see."""
    total = 0.0
    for tile in range(tiles):
        rows = tile_rows(problem, row_tile, share, tile)[0]
        total += float(rows) * min(blocks, ceil_div(seen_keys(problem, row_tile, share, tile), key_block))
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
        last = seen_keys(problem, row_tile, share, tile) - j * key_block
        total += problem.shared * (_below(last, keys) - _below(last - rows // problem.shared, keys))
    return total


@kernel
def _below(most, keys):
    """Keys of a block of ``keys`` that positions see which see 1, 2, ... ``most`` keys from its first one on."""
    most = max(0, most)
    if most <= keys:
        return most * (most + 1.0) / 2
    return keys * (keys + 1.0) / 2 + float(most - keys) * keys

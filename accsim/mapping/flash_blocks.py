"""FlashAttention on a GPU: a grid of thread blocks, each of which takes one block of query rows past its keys.

Tiles that are all alike come in waves: the program is one SM's tiles, one after the other. Under a causal mask, and of
sequences of different lengths, they differ and run on a pool of SMs, from the longest on, each an inner program. In its
stead a search, and a run of split keys, takes the queue of the SM that is busy longest: the same time, from one small
program. ``docs/gpu.md`` has the model.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.engine.tables import IntArray
from accsim.kernels.block import ALL, END, START
from accsim.mapping.attention import MOST_CAUSAL_TILES, problems_of
from accsim.mapping.compiled import Lowered, Points, Writer, run_points
from accsim.mapping.flash_block_numbers import lower_points
from accsim.mapping.flash_tiles import Heads, Tiles, busiest, even_tiles, tiles_of
from accsim.mapping.kv_format import kv_numbers
from accsim.mapping.machine_numbers import REGISTERS, memory_plan, overhead_ticks, places, ways
from accsim.mapping.shape import Shape, StageShape, between
from accsim.mapping.thread_blocks import SPLITS
from accsim.workload.ops import Attention

QUERY_ROWS = (16, 32, 64, 128, 192)
KEY_BLOCKS = (32, 64, 80, 112, 128, 176)
"""Tiles of FlashAttention-2 and -3; fewer rows, for decoding, and fewer keys, for wide heads."""
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
    convert_k: int
    convert_v: int


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


def block_writer(op: Attention, acc: Accelerator, variant: tuple[bool, int, bool]) -> Writer:
    """What writes the points' programs."""
    ahead, classes, _ = variant
    numbers = _Numbers(op, acc, variant)

    def write(table: IntArray, room: Lowered) -> None:
        tiles = _Tiles(len(table), classes)
        if len(numbers.problems) == 1 and not numbers.problems[0].causal:
            even_tiles(table, numbers.problems[0], tiles.queue, tiles.totals)
        else:
            for i, (row, key, parts) in enumerate(table.tolist()):
                own = tiles_of(numbers.problems, row, key, parts)
                tiles.set(i, own, own.lengths, _queue(op, acc, ahead, row, key, parts) if classes else (1,))
        numbers.write(table, tiles, room)

    return Writer(numbers.shape, write)


def lower_tiles(
    op: Attention, acc: Accelerator, ahead: bool, row: int, key: int, parts: int = 1, *, actions: bool
) -> Lowered:
    """A tile of each length alone on one of all SMs, as a block of points, from the longest on.

    Of split keys it is a part, and what merges them is left out.
    """
    tiles = tiles_of(problems_of(op), row, key, parts)
    numbers, alone = _Numbers(op, acc, (ahead, 1, False)), _Tiles(len(tiles.lengths), 1)
    for i, length in enumerate(tiles.lengths):
        alone.set(i, tiles, (length,), (1,))
    room = Lowered.room(numbers.shape, len(tiles.lengths), actions=actions)
    numbers.write(np.tile([row, key, parts], (len(tiles.lengths), 1)), alone, room)
    return room


def _queue(op: Attention, acc: Accelerator, ahead: bool, row: int, key: int, parts: int) -> tuple[int, ...]:
    """How many tiles of each length the SM has that is busy longest; of a point that does not fit, the busiest of all.

    A tile's time is that of its own program, so that the queue takes as long as a pool of SMs.
    """
    inside = lower_tiles(op, acc, ahead, row, key, parts, actions=False)
    tiles = tiles_of(problems_of(op), row, key, parts)
    return busiest(run_points(inside), tiles.counts, acc.cores) if inside.fits()[0] else tiles.counts


class _Tiles:
    """The tiles of some points, and those that one SM has; ``classes`` are the lengths of a shape's tiles."""

    def __init__(self, points: int, classes: int) -> None:
        self.queue = np.zeros((points, 2, max(1, classes)), np.int64)
        self.totals = np.zeros((points, 4), np.int64)

    def set(self, i: int, tiles: Tiles, lengths: tuple[int, ...], counts: tuple[int, ...]) -> None:
        """The tiles of point i, and those that one SM has: how many of each length."""
        # Lengths of which it has none come last, behind the end of its loop, where their runs have no end.
        order = np.argsort(np.array(counts) == 0, kind="stable")
        self.queue[i] = np.array([lengths, counts])[:, order]
        self.totals[i] = tiles.in_all, tiles.rows, tiles.blocks, tiles.keys


class _Numbers:
    """What the points of an op that have one shape share."""

    def __init__(self, op: Attention, acc: Accelerator, variant: tuple[bool, int, bool]) -> None:
        self.machine, self.conversion = kv_numbers(op, acc, in_registers=True)
        self.shape = _shape(acc, *variant, op.shared_kv, self.conversion is not None)
        self.at = At(*self.shape.places(At._fields))
        self.ahead, classes, _ = variant
        self.alike = classes == 0
        self.problems, self.scores = problems_of(op), float(op.scores)
        smem = memory_plan(acc)[1][acc.memories[0].name]
        self.limits = overhead_ticks(acc, "wave"), overhead_ticks(acc, "reduction"), smem

    def write(self, table: IntArray, tiles: _Tiles, room: Lowered) -> None:
        """The points of a table (query rows, keys of a block, splits) into room for them."""
        lower_points(
            table, self.problems[0], Heads.of(self.problems), tiles.queue, tiles.totals, self.alike, self.scores,
            self.ahead, self.at, self.limits, self.machine, self.conversion, self.shape.level_table,
            self.shape.kinds, self.shape.classes, room.block, room.copies,
        )  # fmt: skip


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
def _shape(acc: Accelerator, ahead: bool, classes: int, split: bool, shared_kv: bool, converted: bool) -> Shape:
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
    if converted:
        buffers |= {"wide_k": REGISTERS, "wide_v": REGISTERS}
        stages = _with_conversions(stages, way.local, behind)
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


def _with_conversions(stages: list[StageShape], local: tuple[str, ...], behind: int) -> list[StageShape]:
    """The stages with what goes from the rings to Logit and Attend converted on the way, into registers.

    Where Attend is a block behind, its values are converted before the softmax of the next block, as they are needed.
    """
    found = []
    for stage in stages:
        converts = {"logit": "convert_k", "attend": "convert_v"}.get(stage.name)
        if converts is None:
            found.append(stage)
            continue
        wide = Hold(f"wide_{converts[-1]}")
        loads = tuple(after for after in stage.after if after.stage in ("load_k", "load_v"))
        others = tuple(after for after in stage.after if after not in loads)
        convert = StageShape(converts, "vector", local, stage.spans, after=loads, acquires=(wide,))
        at = 1 + [one.name for one in found].index("logit") if converts == "convert_v" and behind else len(found)
        found.insert(at, convert)
        found.append(replace(stage, after=(*others, After(converts, 0, "key")), releases=(*stage.releases, wide)))
    return found

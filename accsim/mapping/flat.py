"""FLAT: Logit and Attend fused at row granularity, a whole row of keys on the chip between them.

Two sibling loops over key blocks (Logit, then Attend) are one level with two ranges; a three-pass softmax runs between.
Source: FLAT, Kao et al., ASPLOS 2023, sections 4 and 5 (arXiv 2107.06419). ``docs/attention.md`` has the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.kernels.block import END, FIRST_HALF, MIDDLE, SECOND_HALF, START, fill_spans
from accsim.kernels.jit import kernel
from accsim.kernels.work import SUM_BYTES, write_load, write_matmul, write_store, write_vector
from accsim.mapping.attention import (
    MOST_CAUSAL_TILES,
    attention_resources,
    causal_tiles,
    class_work,
    count_all,
    fetched_share,
    forms,
    memory_plan,
    merge_points,
    own_work,
    problem_of,
    row_tile_sizes,
    share_of,
    staging,
    write_latencies,
    write_loops,
)
from accsim.mapping.base import check_choices, register_dataflow
from accsim.mapping.compiled import CompiledDataflow, Lowered, Points
from accsim.mapping.machine_numbers import STATIONARY, machine_numbers
from accsim.mapping.shape import Shape, StageShape
from accsim.mapping.tiling import tile_sizes
from accsim.workload.ops import Attention, Op

LOAD_Q, LOAD_K, LOGIT, SOFTMAX, LOAD_V, ATTEND, STORE = range(7)
STAGED = ("qo", "qkvo")


@dataclass(frozen=True)
class Flat(CompiledDataflow):
    """A FLAT mapping at row granularity; choices left ``None`` are searched.

    Parameters
    ----------
    granularity : ``"row"``, the one granularity written so far.
    rows : query rows of a tile.
    block_kv : keys of a block that is loaded and multiplied at once; the whole row of scores stays on the chip.
    staged : tensors kept on the chip for a whole head: ``"qkvo"`` keeps K and V, ``"qo"`` loads them for every tile.
    pipelined : False runs Logit, softmax and Attend of a tile one after the other (the paper's interleaving); True
        runs Attend one tile behind Logit, with two buffers of scores.
    stationary : form of both operators on the array.
    """

    kinds: ClassVar[tuple[str, ...]] = ("attention",)

    granularity: str = "row"
    rows: int | None = None
    block_kv: int | None = None
    staged: str | None = None
    pipelined: bool | None = None
    stationary: str | None = None

    def __post_init__(self) -> None:
        check_choices(
            self,
            positive=("rows", "block_kv"),
            among={
                "granularity": ("row",),
                "staged": STAGED,
                "pipelined": (True, False),
                "stationary": tuple(STATIONARY),
            },
        )

    def space(self, op: Op, acc: Accelerator) -> list[Points]:
        assert isinstance(op, Attention)
        rows = row_tile_sizes(op, acc, self.rows)
        keys = [self.block_kv] if self.block_kv else tile_sizes(op.kv_len, getattr(acc.matrix_unit, "cols", 64), 4)
        staged = staging(op, self.staged)
        pipelined = [self.pipelined] if self.pipelined is not None else [False, True]
        found = []
        for row in rows:
            table = np.array([(row, key, form) for key in keys for form in forms(acc, self.stationary)], np.int64)
            tiles = causal_tiles(op, acc, row)
            if tiles > MOST_CAUSAL_TILES and not self.rows and row != rows[-1]:
                continue
            found += [Points((kept, ahead, tiles), table) for kept in staged for ahead in pipelined]
        return merge_points(found)

    def complete(self, op: Op, acc: Accelerator, points: Points, i: int) -> Flat:
        row, key, form = points.table[i].tolist()
        kept, ahead, _ = points.variant
        names = list(STATIONARY)
        return Flat("row", row, key, STAGED[int(kept)], ahead, names[list(STATIONARY.values()).index(form)])

    def lower(self, op: Op, acc: Accelerator, points: Points, *, actions: bool) -> Lowered:
        assert isinstance(op, Attention)
        kept, ahead, tiles = points.variant
        shape = _shape(acc, kept, ahead, tiles)
        block = shape.new_block(len(points.table), actions=actions)
        copies = np.zeros(len(points.table))
        _lower(
            points.table, problem_of(op), op.scores, kept, ahead, machine_numbers(acc, op.dtype), shape.level_table(),
            shape.kinds, shape.classes, block, copies,
        )  # fmt: skip
        return Lowered(shape, block, copies)


register_dataflow("flat", Flat)


@lru_cache(maxsize=256)
def _shape(acc: Accelerator, kept: bool, ahead: bool, tiles: int) -> Shape:
    resources, loads, stores, local = attention_resources(acc)
    sums, capacities = memory_plan(acc)
    memory = acc.memories[0].name
    once = {"row": START} if kept else {}
    taken = ("key",) if kept else ()
    done = ("row", "key") if kept else ()
    behind = 1 if ahead else 0
    stages = (
        StageShape("load_q", "dma", loads, {"key": START}, acquires=(Hold("q"),)),
        StageShape("load_k", "dma", loads, {"key": FIRST_HALF, **once}, acquires=(Hold("k", first=taken),)),
        StageShape(
            "logit", "matrix", local, {"key": FIRST_HALF},
            after=(After("load_q"), After("load_k", level="key", carried=kept)),
            acquires=(Hold("scores", first=("key",)),),
            releases=(Hold("q", last=("key",)), Hold("k", last=done)),
        ),
        StageShape("softmax", "vector", local, {"key": MIDDLE}, after=(After("logit"),)),
        StageShape(
            "load_v", "dma", loads, {"key": SECOND_HALF, **once}, acquires=(Hold("v", first=taken),),
            shift=behind, shift_level="row",
        ),
        StageShape(
            "attend", "matrix", local, {"key": SECOND_HALF},
            after=(After("softmax"), After("load_v", level="key", carried=kept)),
            acquires=(Hold("out", first=("key",)),),
            releases=(Hold("scores", last=("key",)), Hold("v", last=done)),
            shift=behind, shift_level="row",
        ),
        StageShape(
            "store_o", "dma", stores, {"key": END},
            shift=2 if ahead else 1, shift_level="row", after=(After("attend"),), releases=(Hold("out"),),
        ),
    )  # fmt: skip
    levels = (("head", 1), ("row", tiles), ("key", 1)) if tiles else (("head", 1), ("row", 2), ("key", 4))
    return Shape(
        "flat row" + (" staged" if kept else "") + (" pipelined" if ahead else ""),
        levels,
        resources,
        {"q": memory, "k": memory, "v": memory, "scores": memory, "out": sums},
        stages,
        capacities,
        {"key": "row"} if tiles else {},
    )


@kernel(allocates=True)
def _lower(points, problem, scores, kept, ahead, machine, level, kinds, classes, block, copies):
    """Write the numbers of every point (columns: rows of a tile, keys of a block, stationary form)."""
    want = block.actions.shape[0] > 0
    dim = problem.dim
    element = machine.element_bytes
    in_registers = machine.systolic == 0
    row_classes, key_classes = classes[2], classes[3]
    for i in range(points.shape[0]):
        row_tile, key_block, form = points[i, 0], min(points[i, 1], problem.keys), points[i, 2]
        row_tile = min(row_tile, problem.positions * problem.shared)
        share = share_of(problem, row_tile, machine.cores)
        tiles, blocks = write_loops(block, i, level, problem, row_tile, share, key_block, 2)
        fill_spans(block, i, level, kinds, classes)
        held = (blocks if kept else 1) * key_block * dim * element
        score_bytes = row_tile * blocks * key_block * element
        block.slots[i, 0], block.slot_bytes[i, 0] = 2, int(np.ceil(row_tile * dim * element))
        block.slots[i, 1], block.slot_bytes[i, 1] = 2, int(np.ceil(held))
        block.slots[i, 2], block.slot_bytes[i, 2] = 2, int(np.ceil(held))
        block.slots[i, 3], block.slot_bytes[i, 3] = 2 if ahead else 1, int(np.ceil(score_bytes))
        sum_bytes = element if blocks == 1 and not in_registers else float(SUM_BYTES)
        block.slots[i, 4] = 2
        block.slot_bytes[i, 4] = int(
            np.ceil(row_tile * dim * (0.5 * (sum_bytes + element) if in_registers else sum_bytes))
        )
        write_latencies(
            block, i, (LOAD_Q, LOAD_K, LOAD_V, LOGIT, ATTEND, STORE), row_tile, key_block, problem, form, machine
        )
        fetched = fetched_share(problem, row_tile, share, tiles, key_block, machine, kept)
        own_rows, visible = own_work(problem, row_tile, share, tiles)
        copies[i] = float(scores) / (visible * share.groups)
        combos = row_classes * key_classes
        for rc in range(row_classes):
            rows, useful, done = class_work(problem, row_tile, share, tiles, key_block, rc)
            if rows == 0:
                continue
            q_bytes = rows * dim * element
            counts = (float(done), float(done), float(done), 0.0, float(done), 0.0, 0.0)
            kept_bytes = done * element
            for kc in range(key_classes if problem.keys % key_block else 1):
                keys = key_block
                if key_classes == 4 and kc % 2 == 1:
                    keys = problem.keys - (blocks - 1) * key_block
                c = rc * key_classes + kc
                part = float(useful) * dim * rows * keys / done
                passing = rows * keys * element
                write_load(block, i, LOAD_Q * combos + c, q_bytes, q_bytes, share.active, machine, want)
                for load in (LOAD_K, LOAD_V):
                    size = keys * dim * element
                    write_load(block, i, load * combos + c, size, size * fetched, share.active, machine, want)
                write_matmul(block, i, LOGIT * combos + c, (rows, keys, dim), part, form, 0.0, passing, machine, want)
                write_vector(block, i, SOFTMAX * combos + c, counts, 3 * kept_bytes, 2 * kept_bytes, machine, want)
                sums = 0.0 if in_registers else rows * dim * sum_bytes
                read = sums * (blocks - 1) / blocks  # the first key block starts from zero
                write_matmul(block, i, ATTEND * combos + c, (rows, dim, keys), part, form, read, sums, machine, want)
                write_store(block, i, STORE * combos + c, q_bytes, share.active, machine, want)
        if want:
            moves = (LOAD_Q, STORE, LOAD_K, LOAD_V)
            count_all(block, i, moves, combos, problem, row_tile, share, own_rows, key_block, copies[i], machine, kept)

"""FlashAttention (the first): key blocks outside, query tiles inside, partial outputs in main memory in between.

Source: Dao et al., "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness", NeurIPS 2022 (arXiv
2205.14135), Algorithm 1. ``docs/attention.md`` has the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.errors import MappingError
from accsim.kernels.block import START, fill_spans
from accsim.kernels.jit import kernel
from accsim.kernels.layout import RUN0, TRIP0
from accsim.kernels.matrix import SUM_BYTES, Tile, ceil_div
from accsim.kernels.work import write_load, write_matmul, write_store, write_vector
from accsim.mapping.attention import (
    count_all,
    fetched_share,
    form_codes,
    problem_of,
    row_tile_sizes,
    share_of,
    write_latencies,
)
from accsim.mapping.base import check_choices, register_dataflow
from accsim.mapping.compiled import CompiledDataflow, Lowered, Points
from accsim.mapping.machine_numbers import STATIONARY, machine_numbers, memory_plan, ways
from accsim.mapping.shape import Shape, StageShape
from accsim.mapping.tiling import tile_sizes
from accsim.workload.ops import Attention, Op

LOAD_K, LOAD_V, LOAD_Q, LOAD_O, LOGIT, SOFTMAX, ATTEND, STORE = range(8)
STATISTICS = 2
"""Numbers a row has beside its output: the maximum so far, and the sum."""


@dataclass(frozen=True)
class Flash1(CompiledDataflow):
    """A FlashAttention-1 mapping; choices left ``None`` are searched. It has no mask.

    Parameters
    ----------
    block_q : query rows of a tile; a core has two tiles of a head or more, since their outputs leave in between.
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
        if op.causal:
            raise MappingError(f"'{op.name}': flash1 is written without a mask")
        problem = problem_of(op)
        keys = [self.block_kv] if self.block_kv else tile_sizes(op.kv_len, getattr(acc.matrix_unit, "cols", 64), 5)
        found: dict[int, list[tuple[int, ...]]] = {}
        for row in row_tile_sizes(op, acc, self.block_q):
            share = share_of(problem, min(row, op.q_len * problem.shared), acc.cores)
            if share.rows > row:
                forms = form_codes(acc, self.stationary)
                points = [(row, key, form) for key in keys if key < op.kv_len for form in forms]
                found.setdefault(1 + (share.rows % row > 0), []).extend(points)
        if not any(found.values()):
            raise MappingError(f"'{op.name}': flash1 needs two row tiles on a core, and two key blocks")
        return [Points((classes,), np.array(points, np.int64)) for classes, points in found.items() if points]

    def complete(self, op: Op, acc: Accelerator, points: Points, i: int) -> Flash1:
        row, key, form = points.table[i].tolist()
        return Flash1(row, key, {code: name for name, code in STATIONARY.items()}[form])

    def lower(self, op: Op, acc: Accelerator, points: Points, *, actions: bool) -> Lowered:
        assert isinstance(op, Attention)
        shape = _shape(acc, *points.variant)
        block = shape.new_block(len(points.table), actions=actions)
        copies = np.zeros(len(points.table))
        _lower(
            points.table, problem_of(op), machine_numbers(acc, op.dtype), shape.level_table(), shape.kinds,
            shape.classes, block, copies,
        )  # fmt: skip
        return Lowered(shape, block, copies)


register_dataflow("flash1", Flash1)


@lru_cache(maxsize=64)
def _shape(acc: Accelerator, row_classes: int) -> Shape:
    way = ways(acc)
    sums, capacities = memory_plan(acc)
    memory = acc.memories[0].name
    stages = (
        StageShape("load_k", "dma", way.loads, {"row": START}, acquires=(Hold("k"),)),
        StageShape("load_v", "dma", way.loads, {"row": START}, acquires=(Hold("v"),)),
        StageShape("load_q", "dma", way.loads, acquires=(Hold("q"),)),
        StageShape("load_o", "dma", way.loads, acquires=(Hold("out"),)),
        StageShape(
            "logit", "matrix", way.local, after=(After("load_q"), After("load_k", level="key")),
            acquires=(Hold("scores"),), releases=(Hold("q"), Hold("k", last=("row",))),
        ),
        StageShape(
            "softmax", "vector", way.local if sums == memory else (), after=(After("logit"), After("load_o")),
        ),
        StageShape(
            "attend", "matrix", way.local, after=(After("softmax"), After("load_v", level="key")),
            releases=(Hold("scores"), Hold("v", last=("row",))),
        ),
        StageShape(
            "store_o", "dma", way.stores, shift=1, shift_level="row", after=(After("attend"),),
            releases=(Hold("out"),),
        ),
    )  # fmt: skip
    return Shape(
        "flash1",
        (("head", 1), ("key", 2), ("row", row_classes)),
        way.resources("dma", "matrix", "vector"),
        {"q": memory, "k": memory, "v": memory, "scores": sums, "out": sums},
        stages,
        capacities,
    )


@kernel(allocates=True)
def _lower(points, problem, machine, level, kinds, classes, block, copies):
    """Write the numbers of every point (columns: query rows, keys of a block, stationary form)."""
    want = block.actions.shape[0] > 0
    dim = problem.dim
    element = machine.element_bytes
    in_registers = machine.systolic == 0
    combos = classes[2] * classes[3]
    for i in range(points.shape[0]):
        row_tile, key_block, form = points[i, 0], points[i, 1], points[i, 2]
        share = share_of(problem, row_tile, machine.cores)
        tiles, blocks = ceil_div(share.rows, row_tile), ceil_div(problem.keys, key_block)
        block.trips[i, level[1, TRIP0]] = share.groups
        block.trips[i, level[2, TRIP0]] = blocks
        block.trips[i, level[3, TRIP0]] = tiles
        block.runs[i, level[2, RUN0]] = blocks - 1
        if share.rows % row_tile:
            block.runs[i, level[3, RUN0]] = tiles - 1
        fill_spans(block, i, level, kinds, classes)
        block.slots[i, :] = 2
        block.slots[i, 4] = 3  # one arrives, one is worked on, one leaves
        block.slot_bytes[i, 0] = int(np.ceil(row_tile * dim * element))
        block.slot_bytes[i, 1] = block.slot_bytes[i, 2] = int(np.ceil(key_block * dim * element))
        block.slot_bytes[i, 3] = row_tile * key_block * SUM_BYTES
        block.slot_bytes[i, 4] = row_tile * (dim + STATISTICS) * SUM_BYTES
        write_latencies(block, i, (LOAD_Q, LOAD_K, LOAD_V, STORE), machine)
        block.latency[i, LOAD_O] = machine.load_latency
        fetched = fetched_share(problem, row_tile, share, tiles, key_block, machine, True)
        copies[i] = float(problem.groups * problem.positions * problem.shared) / (share.rows * share.groups)
        for c in range(combos):
            last_key, last_row = c // classes[3], c % classes[3]
            rows = share.rows - (tiles - 1) * row_tile if last_row else row_tile
            keys = problem.keys - (blocks - 1) * key_block if last_key else key_block
            q_bytes, kv_bytes = rows * dim * element, keys * dim * element
            partial = float(rows * (dim + STATISTICS) * SUM_BYTES)
            write_load(block, i, LOAD_K * combos + c, kv_bytes, kv_bytes * fetched, share.active, machine, want)
            write_load(block, i, LOAD_V * combos + c, kv_bytes, kv_bytes * fetched, share.active, machine, want)
            write_load(block, i, LOAD_Q * combos + c, q_bytes, q_bytes, share.active, machine, want)
            write_load(block, i, LOAD_O * combos + c, partial, partial, share.active, machine, want)
            each, outputs = float(rows * keys), float(rows * dim)
            score_bytes = 0.0 if in_registers else each * SUM_BYTES
            sum_bytes = 0.0 if in_registers else outputs * SUM_BYTES
            macs = each * dim
            logit = write_matmul(
                block, i, LOGIT * combos + c, Tile(rows, keys, dim, 1, 0), macs, form, 0.0, score_bytes, machine, want
            )
            counts = (each, each, each, 0.0, outputs, outputs, outputs if last_key else 0.0)
            passes = score_bytes + sum_bytes
            write_vector(block, i, SOFTMAX * combos + c, counts, passes, passes, machine, want)
            tile, at = Tile(rows, dim, keys, 0, 0), ATTEND * combos + c
            attend = write_matmul(block, i, at, tile, macs, form, sum_bytes, sum_bytes, machine, want)
            stored = q_bytes if last_key else partial
            write_store(block, i, STORE * combos + c, stored, share.active, machine, want)
            if c == 0:
                block.latency[i, LOGIT] = logit
                block.latency[i, ATTEND] = attend
        if want:
            moves = (LOAD_Q, STORE, LOAD_K, LOAD_V)
            resident = (True, True)
            own_rows = float(share.rows)
            count_all(
                block, i, moves, combos, problem, row_tile, share, own_rows, key_block, copies[i], machine, resident
            )

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
from accsim.kernels.matrix import ceil_div
from accsim.kernels.work import SUM_BYTES, write_load, write_matmul, write_store, write_vector
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
from accsim.mapping.flash_tile import STATISTICS
from accsim.mapping.machine_numbers import STATIONARY, machine_numbers, memory_plan, ways
from accsim.mapping.shape import Shape, StageShape
from accsim.mapping.tiling import tile_sizes
from accsim.workload.ops import Attention, Op


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
        shape = _shape(acc, *points.variant, op.shared_kv)
        at = At(*shape.places(At._fields))
        block = shape.new_block(len(points.table), actions=actions)
        copies = np.zeros(len(points.table))
        _lower(
            points.table, problem_of(op), at, machine_numbers(acc, op.dtype), shape.level_table(),
            shape.kinds, shape.classes, block, copies,
        )  # fmt: skip
        return Lowered(shape, block, copies)


register_dataflow("flash1", Flash1)


@lru_cache(maxsize=64)
def _shape(acc: Accelerator, row_classes: int, shared_kv: bool) -> Shape:
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
        (("head", 1), ("key", 2), ("row", row_classes)),
        way.resources("dma", "matrix", "vector"),
        {"q": memory, "k": memory, **({} if shared_kv else {"v": memory}), "scores": sums, "out": sums},
        tuple(stage for stage in stages if not (shared_kv and stage.name == "load_v")),
        capacities,
    )


@kernel(allocates=True)
def _lower(points, problem, at, machine, level, kinds, classes, block, copies):
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
        block.trips[i, level[3, TRIP0]] = tiles
        block.runs[i, level[2, RUN0]] = blocks - 1
        if share.rows % row_tile:
            block.runs[i, level[3, RUN0]] = tiles - 1
        fill_spans(block, i, level, kinds, classes)
        block.slots[i, :] = 2
        scores = 2 if at.load_v < 0 else 3
        block.slots[i, scores + 1] = 3  # one arrives, one is worked on, one leaves
        block.slot_bytes[i, 0] = int(np.ceil(row_tile * dim * element))
        block.slot_bytes[i, 1] = int(np.ceil(key_block * dim * element))
        if at.load_v >= 0:
            block.slot_bytes[i, 2] = int(np.ceil(key_block * value_dim * element))
        block.slot_bytes[i, scores] = row_tile * key_block * SUM_BYTES
        block.slot_bytes[i, scores + 1] = row_tile * (value_dim + STATISTICS) * SUM_BYTES
        write_latencies(block, i, (at.load_q, at.load_k, at.load_v, at.store_o), machine)
        block.latency[i, at.load_o] = machine.load_latency
        fetched = fetched_share(problem, row_tile, share, tiles, key_block, machine, True)
        copies[i] = float(problem.groups * problem.positions * problem.shared) / (share.rows * share.groups)
        for c in range(combos):
            last_key, last_row = c // classes[3], c % classes[3]
            rows = share.rows - (tiles - 1) * row_tile if last_row else row_tile
            keys = problem.keys - (blocks - 1) * key_block if last_key else key_block
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
            logit = write_matmul(
                block, i, at.logit * combos + c, (rows, keys, dim), each * dim, form, 0.0, score_bytes, machine, want
            )
            counts = (each, each, each, 0.0, outputs, outputs, outputs if last_key else 0.0)
            passes = score_bytes + sum_bytes
            write_vector(block, i, at.softmax * combos + c, counts, passes, passes, machine, want)
            attend = write_matmul(
                block, i, at.attend * combos + c, (rows, value_dim, keys), each * value_dim, form, sum_bytes, sum_bytes,
                machine, want,
            )  # fmt: skip
            stored = rows * value_dim * element if last_key else partial
            write_store(block, i, at.store_o * combos + c, stored, share.active, machine, want)
            if c == 0:
                block.latency[i, at.logit] = logit
                block.latency[i, at.attend] = attend
        if want:
            moves = (at.load_q, at.store_o, at.load_k, at.load_v)
            resident = (True, True)
            own_rows = float(share.rows)
            count_all(
                block, i, moves, combos, problem, row_tile, share, own_rows, key_block, copies[i], machine, resident
            )

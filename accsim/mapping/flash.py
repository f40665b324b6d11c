"""FlashAttention-2: query tiles outside, key blocks inside, an online softmax, one division at the end.

Source: Dao, "FlashAttention-2: Faster Attention with Better Parallelism and Work Partitioning", 2023 (arXiv
2307.08691), Algorithm 1. ``docs/attention.md`` has the model. On tensor cores
:mod:`accsim.mapping.flash_blocks` lowers it, as ``docs/gpu.md`` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from accsim.config.compute_units import TensorCore
from accsim.config.machine import Accelerator
from accsim.errors import MappingError
from accsim.kernels.block import fill_spans
from accsim.kernels.jit import kernel
from accsim.mapping.attention import (
    Loops,
    class_work,
    count_all,
    fetched_share,
    form_codes,
    own_work,
    point_tables,
    problem_of,
    row_tile_sizes,
    share_of,
    write_latencies,
    write_loops,
)
from accsim.mapping.base import check_choices, register_dataflow
from accsim.mapping.compiled import CompiledDataflow, Lowered, Points
from accsim.mapping.flash_blocks import block_points, lower_blocks
from accsim.mapping.flash_tile import At, tile_buffers, tile_stages, write_buffers, write_tile
from accsim.mapping.machine_numbers import STATIONARY, machine_numbers, memory_plan, ways
from accsim.mapping.shape import Shape
from accsim.mapping.tiling import tile_sizes
from accsim.workload.ops import Attention, Op


@dataclass(frozen=True)
class Flash(CompiledDataflow):
    """A FlashAttention-2 mapping; choices left ``None`` are searched.

    Parameters
    ----------
    block_q : query rows of a tile.
    block_kv : keys of a block.
    pipeline : True runs Attend one key block behind Logit, so that the softmax of one overlaps the GEMM of the other.
    stationary : form of both operators on the array.
    split_kv : thread blocks that share the keys of a tile (tensor cores only; under a mask 1, but for decoding).
    """

    kinds: ClassVar[tuple[str, ...]] = ("attention",)

    block_q: int | None = None
    block_kv: int | None = None
    pipeline: bool | None = None
    stationary: str | None = None
    split_kv: int | None = None

    def __post_init__(self) -> None:
        check_choices(
            self,
            positive=("block_q", "block_kv", "split_kv"),
            among={"pipeline": (True, False), "stationary": tuple(STATIONARY)},
        )

    def space(self, op: Op, acc: Accelerator) -> list[Points]:
        assert isinstance(op, Attention)
        pipelines = [self.pipeline] if self.pipeline is not None else [False, True]
        if isinstance(acc.matrix_unit, TensorCore):
            found = block_points(op, acc, self.block_q, self.block_kv, pipelines, self.split_kv)
            if not found:
                raise MappingError(f"the tiles of '{op.name}' differ in keys, or meet in no memory: split_kv must be 1")
            return found
        if self.split_kv is not None and self.split_kv > 1:
            raise MappingError(f"split_kv needs tensor cores, which {acc.name} does not have")
        rows = row_tile_sizes(op, acc, self.block_q)
        keys = [self.block_kv] if self.block_kv else tile_sizes(op.kv_len, acc.matrix_unit.cols, 5)
        tables = point_tables(op, acc, rows, keys, [(code,) for code in form_codes(acc, self.stationary)])
        return [Points((ahead, loops), table) for loops, table in tables.items() for ahead in pipelines]

    def complete(self, op: Op, acc: Accelerator, points: Points, i: int) -> Flash:
        row, key, form = points.table[i].tolist()
        if isinstance(acc.matrix_unit, TensorCore):
            return Flash(row, key, points.variant[0], split_kv=form)
        names = list(STATIONARY)
        return Flash(row, key, points.variant[0], names[list(STATIONARY.values()).index(form)])

    def lower(self, op: Op, acc: Accelerator, points: Points, *, actions: bool) -> Lowered:
        assert isinstance(op, Attention)
        if isinstance(acc.matrix_unit, TensorCore):
            return lower_blocks(op, acc, points, actions=actions)
        ahead, loops = points.variant
        shape = _shape(acc, ahead, op.shared_kv, loops)
        at = At(*shape.places(At._fields))
        block = shape.new_block(len(points.table), actions=actions)
        copies = np.zeros(len(points.table))
        _lower(
            points.table, problem_of(op), op.scores, ahead, at, machine_numbers(acc, op.dtype),
            shape.level_table(), shape.kinds, shape.classes, block, copies,
        )  # fmt: skip
        return Lowered(shape, block, copies)


register_dataflow("flash", Flash)
register_dataflow("flash2", Flash)


@lru_cache(maxsize=256)
def _shape(acc: Accelerator, ahead: bool, shared_kv: bool, loops: Loops) -> Shape:
    memory, capacities = memory_plan(acc)
    return Shape(
        "flash2" + (" pipelined" if ahead else ""),
        loops.levels(1),
        ways(acc).resources("dma", "matrix", "vector"),
        tile_buffers(memory, shared_kv),
        tile_stages(acc, ahead, shared_kv),
        capacities,
        loops.varying,
    )


@kernel(allocates=True)
def _lower(points, problem, scores, ahead, at, machine, level, kinds, classes, block, copies):
    """Write the numbers of every point (columns: query rows, keys of a block, stationary form)."""
    want = block.actions.shape[0] > 0
    row_classes, key_classes = classes[2], classes[3]
    combos = row_classes * key_classes
    for i in range(points.shape[0]):
        row_tile, key_block, form = points[i, 0], min(points[i, 1], problem.keys), points[i, 2]
        row_tile = min(row_tile, problem.positions * problem.shared)
        share = share_of(problem, row_tile, machine.cores)
        tiles, blocks = write_loops(block, i, level, problem, row_tile, share, key_block, 1, 0)
        fill_spans(block, i, level, kinds, classes)
        write_buffers(block, i, row_tile, key_block, problem, ahead, machine)
        write_latencies(block, i, (at.load_q, at.load_k, at.load_v, at.store_o), machine)
        fetched = fetched_share(problem, row_tile, share, tiles, key_block, machine, False)
        own_rows, visible = own_work(problem, row_tile, share, tiles)
        copies[i] = float(scores) / (visible * share.groups)
        for rc in range(row_classes):
            rows, useful, done = class_work(problem, row_tile, share, tiles, key_block, rc)
            if rows == 0:
                continue
            for kc in range(key_classes):
                keys = key_block if kc == 0 else problem.keys - (blocks - 1) * key_block
                c = rc * key_classes + kc
                part = float(useful) * rows * keys / done
                logit, attend = write_tile(
                    block, i, c, combos, at, (rows, keys), part, form, problem, fetched, share.active, machine, want
                )
                if c == 0:
                    block.latency[i, at.logit] = logit
                    block.latency[i, at.attend] = attend
        if want:
            moves = (at.load_q, at.store_o, at.load_k, at.load_v)
            count_all(
                block, i, moves, combos, problem, row_tile, share, own_rows, key_block, copies[i], machine,
                (False, False),
            )  # fmt: skip

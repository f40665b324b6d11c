"""FlashAttention-2 and -3: query tiles outside, key blocks inside, an online softmax, one division at the end.

Source: Dao, "FlashAttention-2: Faster Attention with Better Parallelism and Work Partitioning", 2023 (arXiv
2307.08691), Algorithm 1; Shah et al., "FlashAttention-3", 2024 (arXiv 2407.08608), for what overlaps.
``docs/attention.md`` has the model. On tensor cores :mod:`accsim.mapping.flash_blocks` lowers it, as ``docs/gpu.md``
says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, ClassVar

import numpy as np

from accsim.config.compute_units import TensorCore
from accsim.config.machine import Accelerator
from accsim.engine.tables import IntArray
from accsim.errors import InputError, MappingError
from accsim.errors import Problem as Fault
from accsim.kernels.block import fill_spans
from accsim.kernels.jit import kernel
from accsim.mapping.attention import (
    Loops,
    class_work,
    count_all,
    fetched_share,
    form_codes,
    key_block_sizes,
    own_work,
    point_tables,
    problem_of,
    problems_of,
    row_tile_sizes,
    share_of,
    write_latencies,
    write_loops,
)
from accsim.mapping.base import Step, check_choices, register_dataflow
from accsim.mapping.compiled import CompiledDataflow, Placed, Points, Writer
from accsim.mapping.flash_blocks import block_points, block_writer
from accsim.mapping.flash_pool import pool_of_tiles
from accsim.mapping.flash_queue import Queued, queue_points, queue_writer
from accsim.mapping.flash_tile import (
    At,
    Form,
    half_places,
    tile_parts,
    write_buffers,
    write_tile,
)
from accsim.mapping.flash_tiles import tiles_of
from accsim.mapping.kv_format import kv_numbers
from accsim.mapping.machine_numbers import STATIONARY, memory_plan, ways
from accsim.mapping.placed import by_loops, given_numbers
from accsim.mapping.shape import Shape
from accsim.workload.ops import Attention, Op

EXECUTIONS = ("interleaved", "pipelined", "ping_pong")


@dataclass(frozen=True)
class Flash(CompiledDataflow):
    """A FlashAttention-2 or -3 mapping; choices left ``None`` are searched.

    Parameters
    ----------
    block_q : query rows of a tile.
    block_kv : keys of a block.
    pipeline : True runs Attend one key block behind Logit, so that the softmax of one overlaps the GEMM of the other:
        short for an execution that is pipelined or (False) interleaved.
    stationary : form of both operators on the array.
    split_kv : parts of the keys of the longest tile, on as many cores or thread blocks; searched where there are fewer
        tiles than cores. Of other tiles there are as many as keep each no longer than those.
    execution : ``"interleaved"``, ``"pipelined"``, or ``"ping_pong"``: pipelined, and a tile is two halves that
        alternate, as in FlashAttention-3 (``flash3``). Searched are the first two. Tensor cores run it as pipelined.
    """

    kinds: ClassVar[tuple[str, ...]] = ("attention",)
    mixes_lengths: ClassVar[bool] = True

    block_q: int | None = None
    block_kv: int | None = None
    pipeline: bool | None = None
    stationary: str | None = None
    split_kv: int | None = None
    execution: str | None = None

    def __post_init__(self) -> None:
        check_choices(
            self,
            positive=("block_q", "block_kv", "split_kv"),
            among={"pipeline": (True, False), "stationary": tuple(STATIONARY), "execution": EXECUTIONS},
        )
        if self.pipeline is not None and self.execution is not None:
            raise InputError(Fault("", "execution", "pipeline is short for it; give one of the two"))

    def space(self, op: Op, acc: Accelerator) -> list[Points]:
        return self._space(op, acc, fine=False)

    def fine_space(self, op: Op, acc: Accelerator) -> list[Points]:
        return self._space(op, acc, fine=True)

    def _space(self, op: Op, acc: Accelerator, *, fine: bool) -> list[Points]:
        assert isinstance(op, Attention)
        executions = self._executions()
        if isinstance(acc.matrix_unit, TensorCore):
            ahead = [execution != "interleaved" for execution in executions]
            found = block_points(op, acc, self.block_q, self.block_kv, ahead, self.split_kv)
            if not found:
                raise MappingError(f"the parts of '{op.name}' meet in no memory of {acc.name}: split_kv must be 1")
            return found
        rows = row_tile_sizes(op, acc, self.block_q, fine=fine)
        keys = [self.block_kv] if self.block_kv else key_block_sizes(op, acc, 5, fine=fine)
        forms = form_codes(acc, self.stationary)
        queued = queue_points(op, acc, rows, keys, forms, executions, self.split_kv)
        if len(op.runs) > 1 or (self.split_kv or 1) > 1:
            return queued
        tables = point_tables(op, acc, rows, keys, [(code,) for code in forms])
        uniform = [Points((execution, loops), table) for loops, table in tables.items() for execution in executions]
        return uniform + queued

    def placed(self, op: Op, acc: Accelerator, columns: Mapping[str, IntArray]) -> list[Placed]:
        assert isinstance(op, Attention)
        tiles = given_numbers(self, columns, "block_q", "block_kv")
        executions, forms = self._executions(), form_codes(acc, self.stationary)
        several = len(executions) > 1 or len(forms) > 1 or len(op.runs) > 1 or op.causal
        if tiles is None or several or self.split_kv not in (None, 1):
            return []
        chosen = np.arange(len(tiles))
        if self.split_kv is None:  # with fewer tiles than cores, other splits are searched
            groups, rows = op.batch * op.kv_heads, op.q_len * op.heads // op.kv_heads
            chosen = np.flatnonzero(groups * -(-rows // tiles[:, 0]) >= acc.cores)
        if isinstance(acc.matrix_unit, TensorCore):
            table = np.column_stack([tiles[chosen], np.ones(len(chosen), np.int64)])
            return [Placed(Points((executions[0] != "interleaved", 0, False), table), chosen)]
        return [
            Placed(Points((executions[0], loops), one.points.table), chosen[one.at])
            for loops, one in by_loops(op, acc, tiles[chosen], tuple(forms))
        ]

    def _executions(self) -> tuple[str, ...]:
        if self.execution is not None:
            return (self.execution,)
        return ("interleaved", "pipelined") if self.pipeline is None else (EXECUTIONS[self.pipeline],)

    def complete(self, op: Op, acc: Accelerator, points: Points, i: int) -> Flash:
        if isinstance(acc.matrix_unit, TensorCore):
            row, key, parts = points.table[i].tolist()
            return Flash(row, key, points.variant[0], split_kv=parts)
        row, key, code, *split = points.table[i].tolist()
        stationary = {code: name for name, code in STATIONARY.items()}[code]
        execution, parts = points.variant[0], split[0] if split else 1
        if execution == "ping_pong":
            return Flash(row, key, None, stationary, parts, execution)
        return Flash(row, key, execution == "pipelined", stationary, parts)

    def steps(self, op: Op, acc: Accelerator) -> tuple[Step, ...]:
        assert isinstance(op, Attention)
        if isinstance(acc.matrix_unit, TensorCore):
            points = self.space(op, acc)[0]
            row, key, parts = points.table[0].tolist()
            if parts == 1 and tiles_of(problems_of(op), row, key).pooled:
                return (pool_of_tiles(op, acc, points.variant[0], row, key),)
        return super().steps(op, acc)

    def writer(self, op: Op, acc: Accelerator, variant: tuple[Any, ...]) -> Writer:
        assert isinstance(op, Attention)
        if isinstance(acc.matrix_unit, TensorCore):
            return block_writer(op, acc, variant)
        if isinstance(variant, Queued):
            return queue_writer(op, acc, variant)
        execution, loops = variant
        machine, conversion = kv_numbers(op, acc)
        form = Form(execution, op.shared_kv, converted=conversion is not None)
        shape = _shape(acc, form, loops)
        at, halves = At(*shape.places(At._fields)), half_places(shape, form)
        numbers = (problem_of(op), op.scores, form.behind, at, halves, machine, conversion)
        return Writer.compiled(shape, _lower, *numbers)


register_dataflow("flash", Flash)
register_dataflow("flash2", Flash)
register_dataflow("flash3", partial(Flash, execution="ping_pong"))


@lru_cache(maxsize=256)
def _shape(acc: Accelerator, form: Form, loops: Loops) -> Shape:
    stages, buffers = tile_parts(acc, form)
    return Shape(
        form.title,
        loops.levels(1),
        ways(acc).resources("dma", "matrix", "vector"),
        buffers,
        stages,
        memory_plan(acc)[1],
        loops.varying,
        chains=form.chains,
    )


@kernel
def _lower(points, problem, scores, behind, at, halves, machine, conversion, level, kinds, classes, block, copies):
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
        write_buffers(block, i, row_tile, key_block, problem, behind, halves.shape[0], machine, conversion)
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
                write_tile(
                    block, i, c, combos, at, halves, (rows, keys, keys), part, form, problem, fetched, share.active,
                    machine, conversion, want,
                )  # fmt: skip
        if want:
            moves = (at.load_q, at.store_o, at.load_k, at.load_v, at.convert_k, at.convert_v)
            count_all(
                block, i, moves, combos, problem, row_tile, share, own_rows, key_block, copies[i], machine,
                (False, False),
            )  # fmt: skip

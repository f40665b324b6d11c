"""FlashAttention-2 and -3: query tiles outside, key blocks inside, an online softmax, one division at the end.

Source: Dao, "FlashAttention-2: Faster Attention with Better Parallelism and Work Partitioning", 2023 (arXiv
2307.08691), Algorithm 1; Shah et al., "FlashAttention-3", 2024 (arXiv 2407.08608), for what overlaps.
``docs/attention.md`` has the model. On tensor cores :mod:`accsim.mapping.flash_blocks` lowers it, as ``docs/gpu.md``
says.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import ClassVar

import numpy as np

from accsim.config.compute_units import TensorCore
from accsim.config.machine import Accelerator
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
from accsim.mapping.flash_tile import (
    At,
    Form,
    part_places,
    tile_buffers,
    tile_stages,
    write_buffers,
    write_parts,
    write_tile,
)
from accsim.mapping.machine_numbers import STATIONARY, machine_numbers, memory_plan, ways
from accsim.mapping.shape import Shape
from accsim.mapping.tiling import tile_sizes
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
    split_kv : thread blocks that share the keys of a tile (tensor cores only; under a mask 1, but for decoding).
    execution : ``"interleaved"``, ``"pipelined"``, or ``"ping_pong"``: pipelined, and a tile is two halves that
        alternate, as in FlashAttention-3 (``flash3``). Searched are the first two. Tensor cores run it as pipelined.
    """

    kinds: ClassVar[tuple[str, ...]] = ("attention",)

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
        assert isinstance(op, Attention)
        executions = self._executions()
        if isinstance(acc.matrix_unit, TensorCore):
            ahead = [execution != "interleaved" for execution in executions]
            found = block_points(op, acc, self.block_q, self.block_kv, ahead, self.split_kv)
            if not found:
                raise MappingError(f"the tiles of '{op.name}' differ in keys, or meet in no memory: split_kv must be 1")
            return found
        if self.split_kv is not None and self.split_kv > 1:
            raise MappingError(f"split_kv needs tensor cores, which {acc.name} does not have")
        rows = row_tile_sizes(op, acc, self.block_q)
        keys = [self.block_kv] if self.block_kv else tile_sizes(op.kv_len, acc.matrix_unit.cols, 5)
        tables = point_tables(op, acc, rows, keys, [(code,) for code in form_codes(acc, self.stationary)])
        return [Points((execution, loops), table) for loops, table in tables.items() for execution in executions]

    def _executions(self) -> tuple[str, ...]:
        if self.execution is not None:
            return (self.execution,)
        return ("interleaved", "pipelined") if self.pipeline is None else (EXECUTIONS[self.pipeline],)

    def complete(self, op: Op, acc: Accelerator, points: Points, i: int) -> Flash:
        row, key, form = points.table[i].tolist()
        if isinstance(acc.matrix_unit, TensorCore):
            return Flash(row, key, points.variant[0], split_kv=form)
        names = list(STATIONARY)
        stationary = names[list(STATIONARY.values()).index(form)]
        execution = points.variant[0]
        if execution == "ping_pong":
            return Flash(row, key, None, stationary, execution=execution)
        return Flash(row, key, execution == "pipelined", stationary)

    def lower(self, op: Op, acc: Accelerator, points: Points, *, actions: bool) -> Lowered:
        assert isinstance(op, Attention)
        if isinstance(acc.matrix_unit, TensorCore):
            return lower_blocks(op, acc, points, actions=actions)
        execution, loops = points.variant
        form = Form(execution, op.shared_kv)
        shape = _shape(acc, form, loops)
        at, parts = At(*shape.places(At._fields)), part_places(shape, form)
        block = shape.new_block(len(points.table), actions=actions)
        copies = np.zeros(len(points.table))
        _lower(
            points.table, problem_of(op), op.scores, form.behind, at, parts, machine_numbers(acc, op.dtype),
            shape.level_table(), shape.kinds, shape.classes, block, copies,
        )  # fmt: skip
        return Lowered(shape, block, copies)


register_dataflow("flash", Flash)
register_dataflow("flash2", Flash)
register_dataflow("flash3", partial(Flash, execution="ping_pong"))


@lru_cache(maxsize=256)
def _shape(acc: Accelerator, form: Form, loops: Loops) -> Shape:
    memory, capacities = memory_plan(acc)
    return Shape(
        {"interleaved": "flash2", "pipelined": "flash2 pipelined", "ping_pong": "flash3"}[form.execution],
        loops.levels(1),
        ways(acc).resources("dma", "matrix", "vector"),
        tile_buffers(memory, form),
        tile_stages(acc, form),
        capacities,
        loops.varying,
    )


@kernel(allocates=True)
def _lower(points, problem, scores, behind, at, parts, machine, level, kinds, classes, block, copies):
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
        write_buffers(block, i, row_tile, key_block, problem, behind, parts.shape[0], machine)
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
                write_tile(block, i, c, combos, at, rows, keys, problem, fetched, share.active, machine, want)
                write_parts(block, i, c, combos, parts, rows, keys, part, form, problem, machine, want)
        if want:
            moves = (at.load_q, at.store_o, at.load_k, at.load_v)
            count_all(
                block, i, moves, combos, problem, row_tile, share, own_rows, key_block, copies[i], machine,
                (False, False),
            )  # fmt: skip

"""GEMM on a GPU: a launch plus a grid of thread blocks, each of which makes one tile of C, or a part of its sum.

All thread blocks of a wave are alike, so the program is one SM's queue: a loop over waves and one over k steps, with
every shared rate divided by the SMs that are active in the wave. ``docs/gpu.md`` has the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from accsim.config.compute_units import TensorCore
from accsim.config.machine import Accelerator
from accsim.engine.tables import IntArray
from accsim.errors import MappingError
from accsim.kernels.block import fill_spans
from accsim.kernels.jit import kernel
from accsim.kernels.layout import RUN0, TRIP0
from accsim.kernels.matrix import SUM_BYTES, Formats, Machine, Tile, ceil_div, gathered
from accsim.kernels.systolic import OUTPUT_STATIONARY
from accsim.kernels.work import (
    rounding,
    scale_counts,
    write_compress,
    write_convert,
    write_decompress,
    write_fill,
    write_matmul,
    write_promote,
    write_reduction,
    write_result,
    write_vector,
)
from accsim.mapping.base import check_choices, register_dataflow
from accsim.mapping.compiled import CompiledDataflow, Placed, Points, Writer
from accsim.mapping.conversion import lowering_numbers, passed, promoting
from accsim.mapping.machine_numbers import REGISTERS, memory_plan, overhead_ticks, places
from accsim.mapping.placed import given_numbers
from accsim.mapping.thread_block_shape import thread_block_shape
from accsim.units import dtype_layout
from accsim.workload.ops import Gemm, Op

LAUNCH, LOAD, MATMUL = range(3)
STEP_BYTES = 128
"""Bytes of an operand row that one k step loads: the widest swizzle of shared memory, and a line of the caches."""
TILE_SIDES = (8, 16, 32, 64, 96, 128, 192, 256)
"""Sides of tiles that GPU libraries ship."""
SPLITS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
LEAST_SPLIT_STEPS = 4
MOST_RESIDENT = 4
STAGES = (2, 4)
"""Ring slots of a thread block in shared memory: what it needs, and what it uses at most."""
AHEAD = (0, 1, 3, 7)
"""k steps of later thread blocks that are loaded before the epilogue of an earlier one, at most."""
SUMS_OF_REGISTERS = 0.5
"""Share of the register file that may hold sums: the largest tile of CUTLASS on Hopper, 128 x 256 in fp32."""


@dataclass(frozen=True)
class ThreadBlocks(CompiledDataflow):
    """A GEMM as thread blocks on a machine with tensor cores; choices left ``None`` are searched.

    Parameters
    ----------
    tile_m, tile_n : rows and columns of C that a thread block makes.
    split_k : thread blocks that share the sum of a tile; their partial sums meet in the memory between.
    promote_every : places along k after which the vector unit adds the matrix unit's sums to others in fp32, as kernels
        do that do not trust its accumulators; None: never.
    """

    kinds: ClassVar[tuple[str, ...]] = ("gemm",)

    tile_m: int | None = None
    tile_n: int | None = None
    split_k: int | None = None
    promote_every: int | None = None

    def __post_init__(self) -> None:
        check_choices(self, positive=("tile_m", "tile_n", "split_k", "promote_every"), among={})

    def space(self, op: Op, acc: Accelerator) -> list[Points]:
        assert isinstance(op, Gemm)
        unit = acc.matrix_unit
        if not isinstance(unit, TensorCore):
            name = type(self).__name__
            raise MappingError(f"{name} needs tensor cores, which {acc.name} does not have; use a stationary form")
        rows = [self.tile_m] if self.tile_m else tile_sides(op.rows, unit.m)
        cols = [self.tile_n] if self.tile_n else tile_sides(op.n, unit.n)
        machine, formats = self._numbers(op, acc)
        step = _step(op, machine, formats)
        steps = -(-op.k // step[0])
        table = np.array([(m, n, s) for m in rows for n in cols for s in _splits(steps, self.split_k, acc)], np.int64)
        return [one.points for one in self._by_shape(op, acc, table)]

    def placed(self, op: Op, acc: Accelerator, columns: Mapping[str, IntArray]) -> list[Placed]:
        assert isinstance(op, Gemm)
        table = given_numbers(self, columns, "tile_m", "tile_n", "split_k")
        if table is None or not isinstance(acc.matrix_unit, TensorCore):
            return []
        return self._by_shape(op, acc, table)

    def _by_shape(self, op: Gemm, acc: Accelerator, table: IntArray) -> list[Placed]:
        """Points by the shape that they need."""
        machine, formats = self._numbers(op, acc)
        plan = np.zeros((len(table), PLAN_COLUMNS), np.int64)
        _plan(table, _extents(op), _step(op, machine, formats), machine, _capacities(acc), plan)
        found: dict[tuple[int, bool], list[int]] = {}
        for i, key in enumerate(zip(plan[:, BEHIND].tolist(), (plan[:, SPLIT] > 1).tolist(), strict=True)):
            found.setdefault(key, []).append(i)
        return [Placed(Points(key, table[chosen]), np.array(chosen)) for key, chosen in found.items()]

    def complete(self, op: Op, acc: Accelerator, points: Points, i: int) -> ThreadBlocks:
        tile_m, tile_n, split_k = points.table[i].tolist()
        return ThreadBlocks(tile_m, tile_n, split_k, self.promote_every)

    def _numbers(self, op: Gemm, acc: Accelerator) -> tuple[Machine, Formats | None]:
        """Numbers of the machine, and of work on the product's formats."""
        machine, formats = lowering_numbers(op, acc)
        promotions = _step_places(op, machine) / self.promote_every if self.promote_every else 0.0
        return machine, promoting(machine, formats, promotions)

    def writer(self, op: Op, acc: Accelerator, variant: tuple[Any, ...]) -> Writer:
        assert isinstance(op, Gemm)
        behind, split = variant
        machine, formats = self._numbers(op, acc)
        shape = thread_block_shape(acc, behind, split, passed(formats), _capacities(acc))
        waits = (overhead_ticks(acc, "wave"), overhead_ticks(acc, "reduction"))
        step, capacities = _step(op, machine, formats), _capacities(acc)
        return Writer.compiled(shape, _lower, _extents(op), step, capacities, waits, formats, machine)


register_dataflow("thread_blocks", ThreadBlocks)


def tile_sides(extent: int, block: int) -> list[int]:
    """Sides of tiles worth trying: multiples of the tensor core's block, up to the first that covers the extent.

    Examples
    --------
    >>> tile_sides(100, 8)
    [8, 16, 32, 64, 96, 128]
    >>> tile_sides(3, 16)
    [16]
    """
    sides = [side for side in TILE_SIDES if side % block == 0] or [block]
    covering = next((side for side in sides if side >= extent), sides[-1])
    return [side for side in sides if side <= covering]


def _splits(steps: int, given: int | None, acc: Accelerator) -> list[int]:
    """Thread blocks that share a sum; without a memory between, partial sums have nowhere to meet."""
    if given:
        return [given]
    if "middle" not in places(acc):
        return [1]
    return [s for s in SPLITS if s == 1 or (s * LEAST_SPLIT_STEPS <= steps and -(-steps // -(-steps // s)) == s)]


def _extents(op: Gemm) -> tuple[int, int, int, int]:
    return op.products, op.rows, op.n, op.k


def _capacities(acc: Accelerator) -> tuple[int, int]:
    """(shared memory, registers for sums) of one SM."""
    local = acc.memories[0].name
    sizes = memory_plan(acc)[1]
    return sizes[local], int(sizes[REGISTERS] * SUMS_OF_REGISTERS)


PLAN_COLUMNS = 9
BLOCKS, STEPS, SPLIT, WAVES, RESIDENT, RING, BEHIND, STEP, SLOT = range(PLAN_COLUMNS)


def _step_places(op: Gemm, machine: Machine) -> int:
    """Places along k of one step: ``STEP_BYTES`` of a row of A, scales aside.

    Of a sparse product, whole blocks of the tensor core.
    """
    step = max(1, STEP_BYTES * 8 // dtype_layout(op.dtype).element_bits)
    if machine.kept < machine.run:
        block = -(-machine.depth * machine.run // machine.kept)
        step = -(-step // block) * block
    return step


def _step(op: Gemm, machine: Machine, formats: Formats | None) -> tuple[int, float, float, float, float]:
    """Places along k of one step, and the bytes of registers that its stages take.

    They are of a converted row of A, of a converted column of B, of a sum, and of a sum that is still to be promoted.
    """
    step = _step_places(op, machine)
    if formats is None:
        return step, 0.0, 0.0, machine.sum_bytes, 0.0
    sums = (float(SUM_BYTES), machine.sum_bytes) if formats.promoted else (machine.sum_bytes, 0.0)
    return step, step * formats.widened_a.bytes, step * formats.widened_b.bytes, *sums


@kernel
def _plan(points, extents, steps_of, machine, capacities, plan):
    """Thread blocks, k steps of one, split, waves, blocks resident on an SM, ring slots, steps the epilogue is behind.

    The last columns have the elements of a k step, and the bytes of a ring slot.
    """
    products, rows, cols, depth = extents
    local, registers = capacities
    step, row_a, column_b, sum_bytes, promoted_bytes = steps_of
    for i in range(points.shape[0]):
        tile_m, tile_n = points[i, 0], points[i, 1]
        steps = ceil_div(ceil_div(depth, step), points[i, 2])
        split = ceil_div(ceil_div(depth, step), steps)
        blocks = products * ceil_div(rows, tile_m) * ceil_div(cols, tile_n) * split
        waves = ceil_div(blocks, machine.cores)
        share_a, share_b = gathered(tile_m, tile_n, machine)
        slot = int(np.ceil((tile_m * machine.bytes_a * share_a + tile_n * machine.bytes_b * share_b) * step))
        free = registers - STAGES[0] * int(np.ceil(tile_m * row_a + tile_n * column_b))
        free -= int(np.ceil(tile_m * tile_n * promoted_bytes))
        by_ring, by_sums = local // (STAGES[0] * slot), free // int(np.ceil(tile_m * tile_n * sum_bytes))
        resident = max(1, min(min(MOST_RESIDENT, waves), min(by_ring, by_sums)))
        ring = max(STAGES[0], min(STAGES[1] * resident, local // slot))
        most = min(ring - 1, (resident - 1) * steps)
        behind = 0
        for ahead in AHEAD:
            behind = ahead if ahead <= most else behind
        plan[i, BLOCKS], plan[i, STEPS], plan[i, SPLIT], plan[i, WAVES] = blocks, steps, split, waves
        plan[i, RESIDENT], plan[i, RING], plan[i, BEHIND], plan[i, STEP] = resident, ring, behind, step
        plan[i, SLOT] = slot


@kernel(allocates=True)
def _lower(points, extents, steps_of, capacities, waits, formats, machine, level, kinds, classes, block, copies):
    """Write the numbers of every point; see :class:`ThreadBlocks` for its columns and ``docs/gpu.md`` for the model."""
    plan = np.zeros((points.shape[0], PLAN_COLUMNS), np.int64)
    _plan(points, extents, steps_of, machine, capacities, plan)
    products, rows, cols, depth = extents
    want = block.actions.shape[0] > 0
    element = machine.element_bytes
    # without ``formats``, which is of a type of its own then, nothing of this is compiled
    array = machine if formats is None else formats.array
    converts = 0 if formats is None else formats.converts
    unpacks = 0 if formats is None else int(formats.decompressed > 0)
    packs = 0 if formats is None else int(formats.compressed > 0)
    promotes = 0 if formats is None else int(formats.promoted > 0)
    matmul = MATMUL + converts + unpacks
    sum_bytes = float(SUM_BYTES) if promotes else machine.sum_bytes
    block_c = 0 if formats is None else formats.block_c
    for i in range(points.shape[0]):
        tile_m, tile_n = points[i, 0], points[i, 1]
        blocks, steps, split, waves = plan[i, BLOCKS], plan[i, STEPS], plan[i, SPLIT], plan[i, WAVES]
        # results are packed before they are stored: by the epilogue, or after a split sum by the reduction
        epilogue = matmul + promotes + 1 + (packs if split == 1 else 0)
        reduction = matmul + promotes + packs + 2
        pack = epilogue - 1 if split == 1 else reduction - 1
        full = min(blocks, machine.cores)
        tail = blocks - (waves - 1) * full
        block.trips[i, level[2, TRIP0]] = waves
        block.trips[i, level[3, TRIP0]] = steps
        if tail < full:
            block.runs[i, level[2, RUN0]] = waves - 1
        fill_spans(block, i, level, kinds, classes)
        block.slots[i, 0] = plan[i, RING]
        block.slots[i, 1] = plan[i, RESIDENT]
        block.slot_bytes[i, 0] = plan[i, SLOT]
        block.slot_bytes[i, 1] = int(np.ceil(tile_m * tile_n * sum_bytes))
        block.latency[i, LAUNCH] = waits[0]
        block.latency[i, LOAD] = machine.load_latency
        if unpacks:
            block.slots[i, 2 + converts] = STAGES[0]  # of a few values each
        if promotes:  # two warp groups take turns, each with half of the tile
            block.slots[i, 2 + converts + unpacks] = STAGES[0]
            block.slot_bytes[i, 2 + converts + unpacks] = int(np.ceil(tile_m * tile_n * machine.sum_bytes / STAGES[0]))
        if formats is not None and converts:
            row_a, column_b = formats.widened_a.bytes, formats.widened_b.bytes
            block.slots[i, 2] = STAGES[0]
            block.slot_bytes[i, 2] = int(np.ceil((tile_m * row_a + tile_n * column_b) * plan[i, STEP]))
        copies[i] = full
        part_m, part_n = rows / float(ceil_div(rows, tile_m)), cols / float(ceil_div(cols, tile_n))
        part_k = depth / (float(split) * steps)
        share_a, share_b = gathered(tile_m, tile_n, machine)
        size = (part_m * machine.bytes_a * share_a + part_n * machine.bytes_b * share_b) * part_k
        missed = _missed_bytes(extents, (tile_m, tile_n), plan[i, RESIDENT], split, machine)
        fetched = min(1.0, missed / (size * blocks * steps))
        sums = part_m * part_n
        left = sums * (sum_bytes if split > 1 else element)
        useful = part_m * part_n * part_k
        for c in range(2):
            active = full if c == 0 else tail
            if c == 1 and tail == full:
                continue
            write_fill(block, i, 2 * LOAD + c, size, fetched, active, machine, want)
            tile = Tile(tile_m, tile_n, plan[i, STEP], 0, 0)
            if formats is not None and converts:
                loaded = (part_m * part_k, part_n * part_k)
                write_convert(block, i, 2 * MATMUL + c, loaded, (1.0, 1.0), formats, machine, want)
            if formats is not None and unpacks:
                write_decompress(block, i, 2 * (matmul - 1) + c, tile, OUTPUT_STATIONARY, formats)
            write_matmul(block, i, 2 * matmul + c, tile, useful, OUTPUT_STATIONARY, 0.0, 0.0, array, want)
            if formats is not None and promotes:
                write_promote(block, i, 2 * (matmul + 1) + c, sums, formats, machine, want)
            rounded = rounding(sums if split == 1 else 0.0, 0.0, block_c)
            write_vector(block, i, 2 * epilogue + c, rounded, 0.0, 0.0, machine, want)
            write_result(block, i, 2 * epilogue + c, left, split > 1, active, machine, want)
            results = float(products) * rows * cols
            if formats is not None and packs:
                own, counted = (sums, sums) if split == 1 else (results / machine.cores, results / full)
                write_compress(block, i, 2 * pack + c, own, counted, formats, want)
            if split > 1:
                work = rounding(1.0, float(split), block_c)
                spread = results * split * sum_bytes
                write_reduction(block, i, 2 * reduction + c, results, spread, work, full, machine, want)
            if want:
                for stage in range(LOAD, epilogue + 1):
                    scale_counts(block, i, 2 * stage + c, active / float(full))
        if split > 1:
            partials = block.slots.shape[1] - 1
            block.slot_bytes[i, partials] = int(min(float(products) * rows * cols * split * sum_bytes, 2.0**60))
            block.latency[i, reduction] = waits[1]


@kernel
def _missed_bytes(extents, tile, resident, split, machine):
    """Bytes of A and B that main memory delivers: each once, and again what the memory between has lost meanwhile.

    The tiles in flight cover a rectangle of C that is as square as possible in elements. Walking over C by such
    rectangles reads one operand once and the other once a stripe; of that one, what does not fit the memory between is
    read again. The order of the walk is the one with fewer bytes.
    """
    products, rows, cols, depth = extents
    a_bytes, b_bytes = float(rows) * depth * machine.bytes_a, float(cols) * depth * machine.bytes_b
    if machine.middle_capacity == 0:
        return products * (a_bytes * ceil_div(cols, tile[1]) + b_bytes * ceil_div(rows, tile[0]))
    down, across = ceil_div(rows, tile[0]), ceil_div(cols, tile[1])
    flight = min(float(down) * across, max(1.0, machine.cores * resident / float(split)))
    high = min(max(np.sqrt(flight * tile[1] / tile[0]), 1.0), float(down))
    wide = min(max(flight / high, 1.0), float(across))
    high = min(flight / wide, float(down))
    again_a = a_bytes * (np.ceil(across / wide) - 1.0) * (1.0 - min(1.0, machine.middle_capacity / a_bytes))
    again_b = b_bytes * (np.ceil(down / high) - 1.0) * (1.0 - min(1.0, machine.middle_capacity / b_bytes))
    return products * (a_bytes + b_bytes + min(again_a, again_b))

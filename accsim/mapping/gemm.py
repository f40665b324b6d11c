"""GEMM and convolution on a matrix unit: weight-, output- and input-stationary, tiled and split over cores.

The tile program has one loop over products, two over tiles of C (in either order) and one over tiles of the summed
dimension. Loads run ahead into double buffers; C's tile stays until its sum is complete. ``docs/gemm.md`` has the
model, ``docs/conv.md`` that of a convolution's A.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar

import numpy as np

from accsim.config.compute_units import SystolicArray
from accsim.config.machine import Accelerator
from accsim.engine.tables import IntArray
from accsim.kernels.block import fill_spans
from accsim.kernels.jit import kernel
from accsim.kernels.layout import RUN0, TRIP0
from accsim.kernels.matrix import Tile, ceil_div
from accsim.kernels.work import (
    rounding,
    scale_bytes,
    write_compress,
    write_convert,
    write_decompress,
    write_load,
    write_matmul,
    write_store,
    write_vector,
)
from accsim.mapping.base import Step, check_choices, register_dataflow
from accsim.mapping.compiled import CompiledDataflow, Placed, Points, Writer
from accsim.mapping.conv import feature_map, operand_elements
from accsim.mapping.conversion import lowering_numbers, passed
from accsim.mapping.gemm_shape import gemm_shape
from accsim.mapping.machine_numbers import STATIONARY
from accsim.mapping.placed import given_numbers
from accsim.mapping.thread_blocks import ThreadBlocks
from accsim.mapping.tiling import splits, tile_sizes
from accsim.workload.ops import Conv2d, Gemm, Op

LOAD_A, LOAD_B, MATMUL = range(3)


@dataclass(frozen=True)
class Stationary(CompiledDataflow):
    """A GEMM mapping; choices left ``None`` are searched.

    Parameters
    ----------
    tile_m, tile_n, tile_k : extents of the tiles held in the local memory.
    order : which of C's tile loops is outside, ``"mn"`` or ``"nm"``.
    resident : keep the outer loop's operand (all of k) in the local memory over the inner loop.
    split_m, split_n : cores along m and n; the rest of the cores take other products of the batch.
    """

    kinds: ClassVar[tuple[str, ...]] = ("gemm", "conv2d")
    form: ClassVar[str]

    tile_m: int | None = None
    tile_n: int | None = None
    tile_k: int | None = None
    order: str | None = None
    resident: bool | None = None
    split_m: int | None = None
    split_n: int | None = None

    def __post_init__(self) -> None:
        sizes = ("tile_m", "tile_n", "tile_k", "split_m", "split_n")
        check_choices(self, positive=sizes, among={"order": ("mn", "nm"), "resident": (True, False)})

    def space(self, op: Op, acc: Accelerator) -> list[Points]:
        assert isinstance(op, Gemm | Conv2d)
        unit, _ = lowering_numbers(op, acc)
        sizes = [
            [given] if given else tile_sizes(extent, base)
            for given, extent, base in (
                (self.tile_m, op.rows, unit.rows),
                (self.tile_n, op.n, unit.cols),
                (self.tile_k, op.k, max(unit.rows, unit.depth)),
            )
        ]
        cores = splits(op.rows, op.n, op.products, acc.cores, self.split_m, self.split_n)
        own = {split: (-(-op.rows // split[0]), -(-op.n // split[1])) for split in cores}
        tiles = {
            (min(m, own[split][0]), min(n, own[split][1]), min(k, op.k), *split)
            for split in cores
            for m, n, k in product(*sizes)
        }
        table = np.array(sorted(tiles), np.int64)
        orders = [self.order] if self.order else ["mn", "nm"]
        kept = [self.resident] if self.resident is not None else [False, True]
        return [Points((order, resident), table) for order in orders for resident in kept]

    def placed(self, op: Op, acc: Accelerator, columns: Mapping[str, IntArray]) -> list[Placed]:
        assert isinstance(op, Gemm | Conv2d)
        tiles = given_numbers(self, columns, "tile_m", "tile_n", "tile_k")
        cores = splits(op.rows, op.n, op.products, acc.cores, self.split_m, self.split_n)
        if tiles is None or len(cores) != 1 or self.order is None or self.resident is None:
            return []
        own = (-(-op.rows // cores[0][0]), -(-op.n // cores[0][1]), op.k)
        table = np.column_stack([np.minimum(tiles, own), np.broadcast_to(cores[0], tiles.shape)])
        return [Placed(Points((self.order, self.resident), table), np.arange(len(table)))]

    def complete(self, op: Op, acc: Accelerator, points: Points, i: int) -> Stationary:
        tile_m, tile_n, tile_k, split_m, split_n, _ = points.table[i].tolist()
        order, resident = points.variant
        return type(self)(tile_m, tile_n, tile_k, order, resident, split_m, split_n)

    def steps(self, op: Op, acc: Accelerator) -> tuple[Step, ...]:
        assert isinstance(op, Gemm | Conv2d)
        early = ("load_b",) if op.weight_bytes else ()
        return tuple(replace(step, early=early) for step in super().steps(op, acc))

    def writer(self, op: Op, acc: Accelerator, variant: tuple[Any, ...]) -> Writer:
        assert isinstance(op, Gemm | Conv2d)
        order, resident = variant
        machine, formats = lowering_numbers(op, acc)
        shape = gemm_shape(acc, self.form, order, resident, passed(formats))
        extents = (op.products, op.rows, op.n, op.k)
        numbers = (extents, feature_map(op), order == "mn", resident, STATIONARY[self.form], formats, machine)
        return Writer.compiled(shape, _lower, *numbers)


@dataclass(frozen=True)
class WeightStationary(Stationary):
    """B stays in the array; A streams through; partial sums leave it."""

    form: ClassVar[str] = "weight_stationary"


@dataclass(frozen=True)
class OutputStationary(Stationary):
    """C stays in the array; A and B stream through."""

    form: ClassVar[str] = "output_stationary"


@dataclass(frozen=True)
class InputStationary(Stationary):
    """A stays in the array; B streams through; partial sums leave it."""

    form: ClassVar[str] = "input_stationary"


FORMS: dict[str, type[Stationary]] = {form.form: form for form in (WeightStationary, OutputStationary, InputStationary)}
for _name, _form in FORMS.items():
    register_dataflow(_name, _form)


def default_gemm(acc: Accelerator) -> CompiledDataflow:
    """Thread blocks on tensor cores, else the array's own stationary form; everything else is searched."""
    return default_form(acc) if isinstance(acc.matrix_unit, SystolicArray) else ThreadBlocks()


def default_form(acc: Accelerator) -> Stationary:
    """The machine's own stationary form, everything else searched (a tensor core keeps C in its registers)."""
    return FORMS[getattr(acc.matrix_unit, "dataflow", "output_stationary")]()


@kernel(allocates=True)
def _lower(
    points, extents, source, outer_is_m, resident, stationary, formats, machine, level, kinds, classes, block, copies
):
    """Write the numbers of every point; see :class:`Stationary` for its columns and ``docs/gemm.md`` for the model."""
    products, rows, cols, depth = extents
    want = block.actions.shape[0] > 0
    # without ``formats``, which is of a type of its own then, nothing of this is compiled
    array = machine if formats is None else formats.array
    converts = 0 if formats is None else formats.converts
    unpacks = 0 if formats is None else int(formats.decompressed > 0)
    block_c = 0 if formats is None else formats.block_c
    packs = 0 if formats is None else int(formats.compressed > 0)
    matmul = MATMUL + converts + unpacks
    last = matmul + int(block_c > 0) + packs + 1
    for i in range(points.shape[0]):
        split_m, split_n, split_p = points[i, 3], points[i, 4], points[i, 5]
        m, n, p = ceil_div(rows, split_m), ceil_div(cols, split_n), ceil_div(products, split_p)
        used_m, used_n, used_p = ceil_div(rows, m), ceil_div(cols, n), ceil_div(products, p)
        active = used_m * used_n * used_p
        copies[i] = float(rows) * cols * products / (float(m) * n * p)
        tile = (min(points[i, 0], m), min(points[i, 1], n), min(points[i, 2], depth))
        tiles = (ceil_div(m, tile[0]), ceil_div(n, tile[1]), ceil_div(depth, tile[2]))
        edge = (m - (tiles[0] - 1) * tile[0], n - (tiles[1] - 1) * tile[1], depth - (tiles[2] - 1) * tile[2])
        block.trips[i, level[0, TRIP0]] = p
        for axis in range(3):
            at = axis + 1 if outer_is_m or axis == 2 else 2 - axis
            block.trips[i, level[at, TRIP0]] = tiles[axis]
            if edge[axis] < tile[axis]:
                block.runs[i, level[at, RUN0]] = tiles[axis] - 1
        fill_spans(block, i, level, kinds, classes)
        element = machine.element_bytes
        made = element if block_c == 0 else machine.sum_bytes  # what is quantized comes as sums
        summed = tiles[2] > 1 and machine.systolic == 1
        sum_bytes = machine.sum_bytes if summed else made
        block.slots[i, 0] = 2 if not (resident and outer_is_m) else tiles[2] + 1
        block.slots[i, 1] = 2 if not (resident and not outer_is_m) else tiles[2] + 1
        block.slots[i, 2] = 2
        block.slot_bytes[i, 0] = int(np.ceil(operand_elements(source, tile[0], tile[2]) * machine.bytes_a))
        block.slot_bytes[i, 1] = int(np.ceil(tile[2] * tile[1] * machine.bytes_b))
        block.slot_bytes[i, 2] = int(np.ceil(tile[0] * tile[1] * sum_bytes))
        if machine.systolic == 0:
            block.slots[i, 3] = 1
            block.slot_bytes[i, 3] = int(np.ceil(tile[0] * tile[1] * machine.sum_bytes))
        if unpacks:
            block.slots[i, block.slots.shape[1] - 1] = 2  # of a few values each
        if formats is not None and converts:
            place = block.slots.shape[1] - 1 - unpacks
            wide_a = operand_elements(source, tile[0], tile[2]) * formats.widened_a.bytes
            block.slots[i, place] = 2
            block.slot_bytes[i, place] = int(np.ceil(wide_a + tile[1] * tile[2] * formats.widened_b.bytes))
        block.latency[i, LOAD_A] = machine.load_latency
        block.latency[i, LOAD_B] = machine.load_latency
        block.latency[i, last] = machine.store_latency
        panels_a = (operand_elements(source, tile[0], depth), operand_elements(source, m, depth))
        sizes_a = (panels_a[0] * machine.bytes_a, panels_a[1] * machine.bytes_a)
        sizes_b = (tile[1] * depth * machine.bytes_b, n * depth * machine.bytes_b)
        share_a, share_b = _main_shares(machine, sizes_a, sizes_b, tiles, (used_m, used_n), outer_is_m, resident)
        revisit = (tiles[2] - 1.0) / tiles[2] if summed else 0.0
        for c in range(8):
            first, second, third = c >> 2 & 1, c >> 1 & 1, c & 1
            ragged = (edge[0] < tile[0], edge[1] < tile[1])
            outer, inner = ragged if outer_is_m else (ragged[1], ragged[0])
            if first > outer or second > inner or (third and edge[2] == tile[2]):
                continue  # a class that no iteration is in
            tm = edge[0] if (first if outer_is_m else second) else tile[0]
            tn = edge[1] if (second if outer_is_m else first) else tile[1]
            tk = edge[2] if third else tile[2]
            a_bytes, b_bytes = operand_elements(source, tm, tk) * machine.bytes_a, tk * tn * machine.bytes_b
            write_load(block, i, 8 * LOAD_A + c, a_bytes, a_bytes * share_a, active, machine, want)
            write_load(block, i, 8 * LOAD_B + c, b_bytes, b_bytes * share_b, active, machine, want)
            # ``copies`` leaves out the idle part of a ragged split, but each core loads a whole A and B of its own
            own_a, own_b = used_n * n / float(cols), used_m * m / float(rows)
            if want:
                scale_bytes(block, i, 8 * LOAD_A + c, own_a, 1.0)
                scale_bytes(block, i, 8 * LOAD_B + c, own_b, 1.0)
            tile_of = Tile(tm, tn, tk, 0, 0)
            if formats is not None and converts:
                loaded = (float(operand_elements(source, tm, tk)), float(tk) * tn)
                write_convert(block, i, 8 * MATMUL + c, loaded, (own_a, own_b), formats, machine, want)
            if formats is not None and unpacks:
                write_decompress(block, i, 8 * (matmul - 1) + c, tile_of, stationary, formats)
            left = sum_bytes if machine.systolic else made / tiles[2]  # a tensor core sums in its registers
            sums = tm * tn * revisit * machine.sum_bytes
            macs = float(tm) * tn * tk
            row, results = 8 * matmul + c, float(tm) * tn
            once = write_matmul(block, i, row, tile_of, macs, stationary, sums, tm * tn * left, array, want)
            if block_c > 0:
                work, row = rounding(results, 0.0, block_c), row + 8
                write_vector(block, i, row, work, results * machine.sum_bytes, results * element, machine, want)
            if formats is not None and packs:
                write_compress(block, i, 8 * (last - 1) + c, results, results, formats, want)
            write_store(block, i, 8 * last + c, tm * tn * element, active, machine, want)
            if c == 0:
                block.latency[i, matmul] = once


@kernel
def _main_shares(machine, sizes_a, sizes_b, tiles, used, outer_is_m, resident):
    """Share of each operand's loads that reach main memory: all without a middle memory.

    ``sizes_a`` and ``sizes_b`` are the bytes of one panel (all of k) of a core, and of all panels of a core.

    Cores that use the same tile at the same time fetch it once. What is read again is found in the middle memory when
    the bytes touched in between fit there, and then counts once in all.
    """
    if machine.middle_capacity == 0:
        return 1.0, 1.0
    outer, inner = (sizes_a, sizes_b) if outer_is_m else (sizes_b, sizes_a)
    outer_panel = outer[0] * (used[0] if outer_is_m else used[1])
    inner_all = inner[1] * (used[1] if outer_is_m else used[0])
    outer_loads = 1.0 if resident else float(tiles[1] if outer_is_m else tiles[0])
    inner_loads = float(tiles[0] if outer_is_m else tiles[1])
    outer_share, inner_share = 1.0, 1.0
    if outer_panel + inner[0] <= machine.middle_capacity:
        outer_share = 1.0 / outer_loads
    if outer_panel + inner_all <= machine.middle_capacity:
        inner_share = 1.0 / inner_loads
    if outer_is_m:
        return outer_share / used[1], inner_share / used[0]
    return inner_share / used[1], outer_share / used[0]

"""Vector ops and embedding: load a chunk, work on it in the vector unit, store it; never free."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.kernels.block import fill_spans
from accsim.kernels.jit import kernel
from accsim.kernels.layout import RUN0, TRIP0
from accsim.kernels.matrix import ceil_div
from accsim.kernels.work import write_load, write_store, write_vector
from accsim.mapping.base import check_choices, register_dataflow
from accsim.mapping.compiled import CompiledDataflow, Points, Writer
from accsim.mapping.machine_numbers import machine_numbers, ways
from accsim.mapping.shape import Shape, StageShape
from accsim.mapping.softmax_blocks import BLOCKS, row_block_writer, row_blocks
from accsim.units import dtype_bits
from accsim.workload.ops import Embedding, EmbeddingBag, Norm, Op, Softmax
from accsim.workload.vector_counts import VECTOR_OPERATIONS

LOAD, WORK, STORE = range(3)
LOCAL_PASSES = {"softmax": (3, 2), "norm": (2, 1)}
"""Reads and writes of the local memory for each element: softmax reads for max, exp and division and writes the last
two; a norm reads for its statistics and again to scale; the rest is done in one pass."""


@dataclass(frozen=True)
class Streamed(CompiledDataflow):
    """Chunks of ``chunk_elements`` elements of output stream; None: searched.

    They are whole rows of a norm or a table, the rows of whole bags, and whole rows of a softmax if they have that many
    elements; with fewer its rows come in blocks, twice. Such are searched where a row does not fit.
    """

    kinds: ClassVar[tuple[str, ...]] = ("softmax", "norm", "elementwise", "pool2d", "embedding", "embedding_bag")

    chunk_elements: int | None = None

    def __post_init__(self) -> None:
        check_choices(self, positive=("chunk_elements",), among={})

    def space(self, op: Op, acc: Accelerator) -> list[Points]:
        unit, items = _unit(op)
        share = -(-items // acc.cores) * unit
        one_row = {unit} if unit > 1 else set()
        sizes = sorted({*(unit * max(1, (share >> k) // unit) for k in range(24)), *one_row})
        chosen = [self.chunk_elements] if self.chunk_elements else sizes
        if isinstance(op, Softmax) and min(chosen) < op.cols:
            return [Points((BLOCKS,), np.array([(self.chunk_elements,)], np.int64))]
        if isinstance(op, Softmax) and not self.chunk_elements and _too_long(op, acc):
            return [Points((BLOCKS,), np.array([(size,) for size in row_blocks(op)], np.int64))]
        return [Points((), np.array([(size,) for size in chosen], np.int64))]

    def complete(self, op: Op, acc: Accelerator, points: Points, i: int) -> Streamed:
        return Streamed(int(points.table[i, 0]))

    def writer(self, op: Op, acc: Accelerator, variant: tuple[Any, ...]) -> Writer:
        machine = machine_numbers(acc, _dtype(op, acc))
        if variant:
            assert isinstance(op, Softmax)
            return row_block_writer(op, acc, machine)
        unit, items = _unit(op)
        elements = unit * items
        counts = tuple(op.vector_ops.get(name, 0) / elements for name in VECTOR_OPERATIONS)
        sizes = (
            (op.input_bytes + op.weight_bytes) / elements,
            op.output_bytes / elements,
            *LOCAL_PASSES.get(op.kind, (1, 1)),
        )
        return Writer.compiled(_shape(acc), _lower, items, unit, counts, sizes, machine)


register_dataflow("streamed", Streamed)


def _dtype(op: Op, acc: Accelerator) -> str:
    """The op's data type where the matrix unit has it, else any it has: the vector unit works on every one."""
    return op.dtype if op.dtype in acc.matrix_unit.rates else next(iter(acc.matrix_unit.rates))


def _too_long(op: Softmax, acc: Accelerator) -> bool:
    """Whether a row, or two where a core has several, do not fit the local memory on their way in and out."""
    memory = acc.memories[0]
    own = -(-op.rows // acc.cores)
    row = -(-op.cols * dtype_bits(op.dtype) // 8)
    return 2 * min(2, own) * row > memory.capacity_bytes // (1 if memory.scope == "core" else acc.cores)


def _unit(op: Op) -> tuple[int, int]:
    """(elements that stay together, number of such units): a row of softmax, norm or table, one element otherwise."""
    if isinstance(op, Softmax | Norm):
        return op.cols, op.rows
    if isinstance(op, Embedding):
        return op.dim, op.tokens
    if isinstance(op, EmbeddingBag):
        return op.dim, op.bags
    elements: int = op.elements  # type: ignore[union-attr]
    return 1, elements


@lru_cache(maxsize=256)
def _shape(acc: Accelerator) -> Shape:
    way = ways(acc)
    loads, stores, local = way
    memory = acc.memories[0]
    return Shape(
        "streamed",
        (("chunk", 2),),
        way.resources("dma", "vector"),
        {"in": memory.name, "out": memory.name},
        (
            StageShape("load", "dma", loads, acquires=(Hold("in"),)),
            StageShape(
                "work", "vector", local, after=(After("load"),), acquires=(Hold("out"),), releases=(Hold("in"),)
            ),
            StageShape(
                "store", "dma", stores, shift=1, shift_level="chunk", after=(After("work"),), releases=(Hold("out"),)
            ),
        ),
        {memory.name: memory.capacity_bytes // (1 if memory.scope == "core" else acc.cores)},
    )


@kernel(allocates=True)
def _lower(points, items, unit, counts, sizes, machine, level, kinds, classes, block, copies):
    """Write the numbers of every point (column: elements of a chunk); counts and sizes are an element's."""
    want = block.actions.shape[0] > 0
    in_bytes, out_bytes, reads, writes = sizes
    for i in range(points.shape[0]):
        own = ceil_div(items, machine.cores)
        active = ceil_div(items, own)
        copies[i] = float(items) / own
        chunk = min(max(1, points[i, 0] // unit), own)
        trips = ceil_div(own, chunk)
        block.trips[i, level[3, TRIP0]] = trips
        if own % chunk:
            block.runs[i, level[3, RUN0]] = trips - 1
        fill_spans(block, i, level, kinds, classes)
        # A core with a single chunk has nothing to load beside it.
        block.slots[i, 0] = min(2, trips)
        block.slots[i, 1] = min(2, trips)
        block.slot_bytes[i, 0] = int(np.ceil(chunk * unit * in_bytes))
        block.slot_bytes[i, 1] = int(np.ceil(chunk * unit * out_bytes))
        block.latency[i, LOAD] = machine.load_latency
        block.latency[i, STORE] = machine.store_latency
        for c in range(2):
            elements = float((chunk if c == 0 else own - (trips - 1) * chunk) * unit)
            read, write = elements * in_bytes, elements * out_bytes
            write_load(block, i, 2 * LOAD + c, read, read, active, machine, want)
            work = (
                elements * counts[0],
                elements * counts[1],
                elements * counts[2],
                elements * counts[3],
                elements * counts[4],
                elements * counts[5],
                elements * counts[6],
            )
            write_vector(block, i, 2 * WORK + c, work, read * reads, write * writes, machine, want)
            write_store(block, i, 2 * STORE + c, write, active, machine, want)

"""Softmax of rows that do not fit the local memory: each comes twice, block by block, and leaves once.

The first time its maximum and sum are found, the sum scaled anew whenever the maximum grows; the second time each score
becomes its weight. Source: Milakov and Gimelshein, *Online normalizer calculation for softmax* (arXiv 1805.02867),
Algorithm 3. ``docs/vector.md`` has the model.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.kernels.block import fill_spans
from accsim.kernels.jit import kernel
from accsim.kernels.layout import RUN0, TRIP0
from accsim.kernels.matrix import Machine, ceil_div
from accsim.kernels.work import write_load, write_store, write_vector
from accsim.mapping.compiled import Writer
from accsim.mapping.machine_numbers import memory_plan, ways
from accsim.mapping.shape import Shape, StageShape, between
from accsim.workload.ops import Softmax

LOAD, REDUCE, SCALE, STORE = range(4)
BLOCKS = "blocks of a row"
"""Variant of points whose rows come in blocks."""


def row_blocks(op: Softmax) -> list[int]:
    """Elements of a block worth trying: halves of a row, halves of these, and so on."""
    return sorted({max(1, -(-op.cols >> k)) for k in range(1, 24)})


def row_block_writer(op: Softmax, acc: Accelerator, machine: Machine) -> Writer:
    """What writes the points' programs (column: elements of a block)."""
    return Writer.compiled(_shape(acc), _lower, op.rows, op.cols, machine)


@lru_cache(maxsize=64)
def _shape(acc: Accelerator) -> Shape:
    loads, stores, local = way = ways(acc)
    memory = acc.memories[0].name
    stages = (
        StageShape("load", "dma", loads, acquires=(Hold("in"),)),
        StageShape(
            "reduce", "vector", local, {"block": between(0, 1)}, after=(After("load"),), releases=(Hold("in"),)
        ),
        StageShape(
            "scale", "vector", local, {"block": between(1, 2)}, after=(After("load"), After("reduce", level="row")),
            acquires=(Hold("out"),), releases=(Hold("in"),),
        ),
        StageShape(
            "store", "dma", stores, {"block": between(1, 2)}, shift=1, shift_level="block", after=(After("scale"),),
            releases=(Hold("out"),),
        ),
    )  # fmt: skip
    return Shape(
        "streamed, blocks of a row",
        (("row", 1), ("block", 4)),
        way.resources("dma", "vector"),
        {"in": memory, "out": memory},
        stages,
        {memory: memory_plan(acc)[1][memory]},
        sections=2,
    )


@kernel(allocates=True)
def _lower(points, rows, cols, machine, level, kinds, classes, block, copies):
    """Write the numbers of every point (column: elements of a block); the last block of a row may be shorter."""
    want = block.actions.shape[0] > 0
    element = machine.element_bytes
    for i in range(points.shape[0]):
        own = ceil_div(rows, machine.cores)
        active = ceil_div(rows, own)
        copies[i] = float(rows) / own
        size = min(points[i, 0], cols)
        blocks = ceil_div(cols, size)
        block.trips[i, level[2, TRIP0]] = own
        block.trips[i, level[3, TRIP0]] = 2 * blocks
        block.cuts[i, 1], block.cuts[i, 2] = blocks, 2 * blocks
        if cols % size:
            for at in range(3):
                block.runs[i, level[3, RUN0] + at] = (blocks - 1, blocks, 2 * blocks - 1)[at]
        fill_spans(block, i, level, kinds, classes)
        block.slots[i, :] = 2
        block.slot_bytes[i, :] = int(np.ceil(size * element))
        block.latency[i, LOAD] = machine.load_latency
        block.latency[i, STORE] = machine.store_latency
        for c in range(4):
            each = float(size if c % 2 == 0 else cols - (blocks - 1) * size)
            move = each * element
            write_load(block, i, 4 * LOAD + c, move, move, active, machine, want)
            found = (each, each, each, 0.0, 0.0, 1.0, 0.0)  # one sum so far, rescaled
            write_vector(block, i, 4 * REDUCE + c, found, move, 0.0, machine, want)
            write_vector(block, i, 4 * SCALE + c, (0.0, each, 0.0, 0.0, each, 0.0, 0.0), move, move, machine, want)
            write_store(block, i, 4 * STORE + c, move, active, machine, want)

"""What FlashAttention-2 does with a row tile and a block of keys on an array: the stages, and their numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.kernels.block import END, START
from accsim.kernels.jit import kernel
from accsim.kernels.work import SUM_BYTES, write_load, write_matmul, write_store, write_vector
from accsim.mapping.machine_numbers import ways
from accsim.mapping.shape import StageShape

STATISTICS = 2
"""Numbers a row has beside its output: the maximum so far, and the sum."""


class At(NamedTuple):
    """Where a shape's stages are listed; -1 for those it does not have."""

    load_q: int
    load_k: int
    logit: int
    softmax: int
    load_v: int
    attend: int
    finish: int
    store_o: int


def tile_stages(acc: Accelerator, ahead: bool, shared_kv: bool) -> tuple[StageShape, ...]:
    """The stages of a row tile over its key blocks; keys that are values too stay until Attend."""
    loads, stores, local = ways(acc)
    behind = 1 if ahead else 0
    values = Hold("k") if shared_kv else Hold("v")
    stages = [
        StageShape("load_q", "dma", loads, {"key": START}, acquires=(Hold("q"),)),
        StageShape("load_k", "dma", loads, acquires=(Hold("k"),)),
        StageShape(
            "logit", "matrix", local, after=(After("load_q", level="row"), After("load_k")),
            acquires=(Hold("scores"),), releases=(Hold("q", last=("key",)), *(() if shared_kv else (Hold("k"),))),
        ),
        StageShape("softmax", "vector", local, after=(After("logit"),)),
        StageShape("load_v", "dma", loads, acquires=(Hold("v"),)),
        StageShape(
            "attend", "matrix", local, after=(After("softmax"), After("load_k" if shared_kv else "load_v")),
            acquires=(Hold("out", first=("key",)),), releases=(Hold("scores"), values),
            shift=behind, shift_level="key",
        ),
        StageShape("finish", "vector", local, {"key": END}, after=(After("attend"),), shift=behind, shift_level="key"),
        StageShape(
            "store_o", "dma", stores, {"key": END},
            shift=1 + behind, shift_level="key", after=(After("finish"),), releases=(Hold("out"),),
        ),
    ]  # fmt: skip
    return tuple(stage for stage in stages if not (shared_kv and stage.name == "load_v"))


def tile_buffers(memory: str, shared_kv: bool) -> dict[str, str]:
    """The buffers of the stages, all in the local memory."""
    return dict.fromkeys(("q", "k", *(() if shared_kv else ("v",)), "scores", "out"), memory)


@kernel
def write_buffers(block, i, row_tile, key_block, problem, ahead, machine):
    """Slots and bytes of the buffers; keys that stay until an Attend that is one block behind have a third slot."""
    element = machine.element_bytes
    shared_kv = problem.kv_width == problem.dim
    scores = 2 if shared_kv else 3
    block.slots[i, :] = 2
    block.slot_bytes[i, 0] = int(np.ceil(row_tile * problem.dim * element))
    block.slot_bytes[i, 1] = int(np.ceil(key_block * problem.dim * element))
    if shared_kv:
        block.slots[i, 1] = 3 if ahead else 2
    else:
        block.slot_bytes[i, 2] = int(np.ceil(key_block * problem.value_dim * element))
    block.slots[i, scores] = 2 if ahead else 1
    block.slot_bytes[i, scores] = row_tile * key_block * SUM_BYTES
    block.slot_bytes[i, scores + 1] = row_tile * (problem.value_dim + STATISTICS) * SUM_BYTES


@kernel
def write_tile(block, i, c, combos, at, tile, useful, form, problem, fetched, active, machine, want):
    """Numbers of class c: ``tile`` is rows and keys of a block; ``useful`` of its scores are visible.

    ``fetched`` is the share of K and V that main memory delivers. Returns what stretches of Logit and of Attend pay
    once, in ticks.
    """
    rows, keys = tile
    dim, value_dim, element = problem.dim, problem.value_dim, machine.element_bytes
    q_bytes, k_bytes, v_bytes = rows * dim * element, keys * dim * element, keys * value_dim * element
    write_load(block, i, at.load_q * combos + c, q_bytes, q_bytes, active, machine, want)
    write_load(block, i, at.load_k * combos + c, k_bytes, k_bytes * fetched, active, machine, want)
    if at.load_v >= 0:
        write_load(block, i, at.load_v * combos + c, v_bytes, v_bytes * fetched, active, machine, want)
    score_bytes = float(rows * keys * SUM_BYTES)
    sum_bytes = float(rows * value_dim * SUM_BYTES)
    logit = write_matmul(
        block, i, at.logit * combos + c, (rows, keys, dim), useful * dim, form, 0.0, score_bytes, machine, want
    )
    each = float(rows * keys)
    counts = (each, each, each, 0.0, 0.0, float(rows * value_dim), 0.0)
    passes = score_bytes + sum_bytes
    write_vector(block, i, at.softmax * combos + c, counts, passes, passes, machine, want)
    attend = write_matmul(
        block, i, at.attend * combos + c, (rows, value_dim, keys), useful * value_dim, form, sum_bytes, sum_bytes,
        machine, want,
    )  # fmt: skip
    last = (0.0, 0.0, 0.0, 0.0, float(rows * value_dim), 0.0, float(rows * value_dim))
    write_vector(block, i, at.finish * combos + c, last, sum_bytes, sum_bytes, machine, want)
    write_store(block, i, at.store_o * combos + c, rows * value_dim * element, active, machine, want)
    return logit, attend

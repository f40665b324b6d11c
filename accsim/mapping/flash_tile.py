"""What FlashAttention does with a row tile and a block of keys on an array: the stages, and their numbers.

A tile is worked on as a whole or, in ping-pong, as two halves that alternate: the array works on one while the softmax
of the other runs, and Attend is one key block behind besides. Source: Shah et al., "FlashAttention-3: Fast and Accurate
Attention with Asynchrony and Low-precision", 2024 (arXiv 2407.08608), sections 3.1 and 3.2, whose halves are two
warpgroups of a thread block.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.engine.tables import IntArray
from accsim.kernels.block import END, START
from accsim.kernels.jit import kernel
from accsim.kernels.matrix import ceil_div
from accsim.kernels.work import SUM_BYTES, write_load, write_matmul, write_store, write_vector
from accsim.mapping.machine_numbers import ways
from accsim.mapping.shape import Shape, StageShape

STATISTICS = 2
"""Numbers a row has beside its output: the maximum so far, and the sum."""


class Form(NamedTuple):
    """How a tile is worked on."""

    execution: str
    """``interleaved``: Logit, softmax, Attend in turn; else Attend is a key block behind; ``ping_pong``: in halves."""
    shared_kv: bool

    @property
    def behind(self) -> int:
        """Key blocks that Attend is behind Logit."""
        return int(self.execution != "interleaved")

    @property
    def parts(self) -> tuple[str, ...]:
        """What is appended to the names of the stages and buffers of each part of a tile."""
        return ("_a", "_b") if self.execution == "ping_pong" else ("",)


class At(NamedTuple):
    """Where the stages of a whole tile are listed; -1 for those that a shape does not have."""

    load_q: int
    load_k: int
    load_v: int
    finish: int
    store_o: int


def part_places(shape: Shape, form: Form) -> IntArray:
    """Where Logit, softmax and Attend of each part are listed: int64[parts, 3]."""
    return np.array([shape.places((f"logit{p}", f"softmax{p}", f"attend{p}")) for p in form.parts], np.int64)


def tile_stages(acc: Accelerator, form: Form) -> tuple[StageShape, ...]:
    """The stages of a row tile over its key blocks; keys that are values too stay until Attend."""
    loads, stores, local = ways(acc)

    def every(buffer: str) -> tuple[Hold, ...]:
        return tuple(Hold(f"{buffer}{p}") for p in form.parts)

    found = {
        "load_q": StageShape("load_q", "dma", loads, {"key": START}, acquires=every("q")),
        "load_k": StageShape("load_k", "dma", loads, acquires=every("k")),
        "load_v": StageShape("load_v", "dma", loads, acquires=every("v")),
        "finish": StageShape(
            "finish", "vector", local, {"key": END}, after=tuple(After(f"attend{p}") for p in form.parts),
            shift=form.behind, shift_level="key",
        ),
        "store_o": StageShape(
            "store_o", "dma", stores, {"key": END},
            shift=1 + form.behind, shift_level="key", after=(After("finish"),), releases=every("out"),
        ),
    }  # fmt: skip
    for p in form.parts:
        used, values = (Hold(f"q{p}", last=("key",)), Hold(f"k{p}")), Hold(f"k{p}" if form.shared_kv else f"v{p}")
        found[f"logit{p}"] = StageShape(
            f"logit{p}", "matrix", local, after=(After("load_q", level="row"), After("load_k")),
            acquires=(Hold(f"scores{p}"),), releases=used[:1] if form.shared_kv else used,
        )  # fmt: skip
        found[f"softmax{p}"] = StageShape(f"softmax{p}", "vector", local, after=(After(f"logit{p}"),))
        found[f"attend{p}"] = StageShape(
            f"attend{p}", "matrix", local,
            after=(After(f"softmax{p}"), After("load_k" if form.shared_kv else "load_v")),
            acquires=(Hold(f"out{p}", first=("key",)),), releases=(Hold(f"scores{p}"), values),
            shift=form.behind, shift_level="key",
        )  # fmt: skip
    return tuple(found[name] for name in _order(form) if not (form.shared_kv and name == "load_v"))


def _order(form: Form) -> tuple[str, ...]:
    """The stages as they are issued, which is how ports serve them: what waits long comes after what need not."""
    if form.execution == "ping_pong":
        return (
            "load_q", "load_k", "logit_a", "logit_b", "attend_a", "load_v", "softmax_a", "attend_b", "softmax_b",
            "finish", "store_o",
        )  # fmt: skip
    return ("load_q", "load_k", "logit", "softmax", "load_v", "attend", "finish", "store_o")


def tile_buffers(memory: str, form: Form) -> dict[str, str]:
    """The buffers of the stages, all in the local memory: each part of a tile has its share of what all of it uses."""
    names = ("q", "k", "scores", "out") if form.shared_kv else ("q", "k", "v", "scores", "out")
    return {f"{name}{p}": memory for p in form.parts for name in names}


@kernel
def write_buffers(block, i, row_tile, key_block, problem, behind, parts, machine):
    """Slots and bytes of the buffers; keys that stay until an Attend that is one block behind have a third slot."""
    element = machine.element_bytes
    shared_kv = problem.kv_width == problem.dim
    rows = ceil_div(row_tile, parts)
    block.slots[i, :] = 2
    for part in range(parts):
        q = part * block.slots.shape[1] // parts
        scores = q + 2 if shared_kv else q + 3
        block.slot_bytes[i, q] = int(np.ceil(rows * problem.dim * element))
        block.slot_bytes[i, q + 1] = int(np.ceil(key_block * problem.dim * element / parts))
        if shared_kv:
            block.slots[i, q + 1] = 2 + behind
        else:
            block.slot_bytes[i, q + 2] = int(np.ceil(key_block * problem.value_dim * element / parts))
        block.slots[i, scores] = 1 + behind
        block.slot_bytes[i, scores] = rows * key_block * SUM_BYTES
        block.slot_bytes[i, scores + 1] = rows * (problem.value_dim + STATISTICS) * SUM_BYTES


@kernel
def write_tile(block, i, c, combos, at, rows, keys, problem, fetched, active, machine, want):
    """Numbers of class c of what is done with a whole tile: ``rows``, and ``keys`` of a block.

    ``fetched`` is the share of K and V that main memory delivers.
    """
    dim, value_dim, element = problem.dim, problem.value_dim, machine.element_bytes
    q_bytes, k_bytes, v_bytes = rows * dim * element, keys * dim * element, keys * value_dim * element
    write_load(block, i, at.load_q * combos + c, q_bytes, q_bytes, active, machine, want)
    write_load(block, i, at.load_k * combos + c, k_bytes, k_bytes * fetched, active, machine, want)
    if at.load_v >= 0:
        write_load(block, i, at.load_v * combos + c, v_bytes, v_bytes * fetched, active, machine, want)
    outputs = float(rows * value_dim)
    last = (0.0, 0.0, 0.0, 0.0, outputs, 0.0, outputs)
    write_vector(block, i, at.finish * combos + c, last, outputs * SUM_BYTES, outputs * SUM_BYTES, machine, want)
    write_store(block, i, at.store_o * combos + c, rows * value_dim * element, active, machine, want)


@kernel
def write_parts(block, i, c, combos, parts, rows, keys, useful, form, problem, machine, want):
    """Numbers of class c of Logit, softmax and Attend, listed at ``parts``, of the parts that ``rows`` are dealt to.

    ``useful`` of the scores of all rows are visible.
    """
    dim, value_dim = problem.dim, problem.value_dim
    for part in range(parts.shape[0]):
        logit, softmax, attend = parts[part]
        own = (rows + part) // parts.shape[0]
        if own == 0:
            continue
        visible, each, outputs = useful * own / rows, float(own * keys), float(own * value_dim)
        scores, sums = each * SUM_BYTES, outputs * SUM_BYTES
        once = write_matmul(
            block, i, logit * combos + c, (own, keys, dim), visible * dim, form, 0.0, scores, machine, want
        )
        if c == 0:
            block.latency[i, logit] = once
        counts = (each, each, each, 0.0, 0.0, outputs, 0.0)
        write_vector(block, i, softmax * combos + c, counts, scores + sums, scores + sums, machine, want)
        once = write_matmul(
            block, i, attend * combos + c, (own, value_dim, keys), visible * value_dim, form, sums, sums, machine, want
        )
        if c == 0:
            block.latency[i, attend] = once

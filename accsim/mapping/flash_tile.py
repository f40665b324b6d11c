"""What FlashAttention does with a row tile and a block of keys on an array: the stages, and their numbers.

A tile is worked on as a whole or, in ping-pong, as two halves that alternate: the array works on one while the softmax
of the other runs, and Attend is one key block behind besides. Source: Shah et al., "FlashAttention-3: Fast and Accurate
Attention with Asynchrony and Low-precision", 2024 (arXiv 2407.08608), sections 3.1 and 3.2, whose halves are two
warpgroups of a thread block.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.engine.tables import IntArray
from accsim.kernels.block import END, START
from accsim.kernels.jit import kernel
from accsim.kernels.matrix import SUM_BYTES, Tile, ceil_div
from accsim.kernels.work import write_load, write_matmul, write_store, write_vector
from accsim.mapping.kv_format import convert_on_arrival, write_conversions, write_stored
from accsim.mapping.machine_numbers import memory_plan, ways
from accsim.mapping.shape import Shape, StageShape

STATISTICS = 2
"""Numbers a row has beside its output: the maximum so far, and the sum."""


LEAD = 1
"""Key blocks that a stage is ahead of the next: while one is worked on, the next comes, and waits for no port or unit
behind it."""


class Form(NamedTuple):
    """How a tile is worked on."""

    execution: str
    """``interleaved``: Logit, softmax, Attend in turn; else Attend is a key block behind; ``ping_pong``: in halves."""
    shared_kv: bool
    split: bool = False
    """A tile is a part of one, which has other keys than the other parts."""
    converted: bool = False
    """Keys and values are converted, a block before Logit or Attend needs them."""

    @property
    def lead(self) -> int:
        """Key blocks that loads are ahead of Logit."""
        return LEAD + self.converted

    @property
    def behind(self) -> int:
        """Key blocks that Attend is behind Logit."""
        return int(self.execution != "interleaved")

    @property
    def halves(self) -> tuple[str, ...]:
        """What is appended to the names of the stages and buffers of each half of a tile, or of all of it."""
        return ("_a", "_b") if self.execution == "ping_pong" else ("",)

    @property
    def title(self) -> str:
        """Name of a program of such tiles."""
        return {"interleaved": "flash2", "pipelined": "flash2 pipelined", "ping_pong": "flash3"}[self.execution]

    @property
    def chains(self) -> dict[str, tuple[str, ...]]:
        """``Shape.chains``: what is done while a block of scores is held."""
        return {f"scores{h}": (f"logit{h}", f"softmax{h}", f"attend{h}") for h in self.halves}


class At(NamedTuple):
    """Where the stages of a whole tile are listed; -1 for those that a shape does not have."""

    load_q: int
    load_k: int
    load_v: int
    finish: int
    store_o: int
    store_partial: int
    load_partials: int
    merge: int
    convert_k: int
    convert_v: int


def half_places(shape: Shape, form: Form) -> IntArray:
    """Where Logit, softmax and Attend of each half are listed: int64[halves, 3]."""
    return np.array([shape.places((f"logit{h}", f"softmax{h}", f"attend{h}")) for h in form.halves], np.int64)


def tile_parts(acc: Accelerator, form: Form) -> tuple[tuple[StageShape, ...], dict[str, str]]:
    """The stages of a row tile over its key blocks, and their buffers; keys that are values too stay until Attend.

    The output, maximum and sum of a tile that is a part of one leave as they are for the memory that cores share, and
    after the last one each core merges an equal share of all rows.
    """
    stages, buffers = (*_shared_stages(acc, form), *_half_stages(acc, form)), _tile_buffers(acc, form)
    if form.converted:
        stages, buffers = convert_on_arrival(stages, buffers, ways(acc).local, later=LEAD)
    found = {stage.name: stage for stage in stages}
    return tuple(found[name] for name in _order(form) if name in found), buffers


def _shared_stages(acc: Accelerator, form: Form) -> list[StageShape]:
    """What is done with a whole tile; the loads are for all halves."""
    loads, stores, local = ways(acc)
    last = _later(form.lead + form.behind + 1)
    attended = tuple(After(f"attend{h}") for h in form.halves)

    def every(buffer: str) -> tuple[Hold, ...]:
        return tuple(Hold(f"{buffer}{h}") for h in form.halves)

    meets = (Hold("partials", first=("row",)),) if form.split else ()
    stages = [
        StageShape("load_q", "dma", loads, {"key": START}, acquires=(*every("q"), *meets), **_later(form.lead - LEAD)),
        StageShape("load_k", "dma", loads, acquires=every("k")),
    ]
    if not form.shared_kv:
        stages.append(StageShape("load_v", "dma", loads, acquires=every("v"), **_later(LEAD + form.behind - 1)))
    if not form.split:
        return [
            *stages,
            StageShape(
                "finish", "vector", local, {"key": END}, after=attended, **_later(form.lead + form.behind),
            ),
            StageShape("store_o", "dma", stores, {"key": END}, after=(After("finish"),), releases=every("out"), **last),
        ]  # fmt: skip
    once = {"row": END, "key": END}
    return [
        *stages,
        StageShape("store_partial", "dma", stores, {"key": END}, after=attended, releases=every("out"), **last),
        StageShape(
            "load_partials", "dma", loads, once, after=(After("store_partial"),), acquires=(Hold("merged"),), **last
        ),
        StageShape("merge", "vector", local, once, after=(After("load_partials"),), **last),
        StageShape(
            "store_o", "dma", stores, once, after=(After("merge"),), releases=(Hold("merged"), Hold("partials")), **last
        ),
    ]


def _half_stages(acc: Accelerator, form: Form) -> list[StageShape]:
    """Logit, softmax and Attend of each half."""
    local = ways(acc).local
    stages = []
    for h in form.halves:
        used, values = (Hold(f"q{h}", last=("key",)), Hold(f"k{h}")), Hold(f"k{h}" if form.shared_kv else f"v{h}")
        stages += [
            StageShape(
                f"logit{h}", "matrix", local, after=(After("load_q", level="row"), After("load_k")),
                acquires=(Hold(f"scores{h}"),), releases=used[:1] if form.shared_kv else used, **_later(form.lead),
            ),
            StageShape(f"softmax{h}", "vector", local, after=(After(f"logit{h}"),), **_later(form.lead)),
            StageShape(
                f"attend{h}", "matrix", local,
                after=(After(f"softmax{h}"), After("load_k" if form.shared_kv else "load_v")),
                acquires=(Hold(f"out{h}", first=("key",)),), releases=(Hold(f"scores{h}"), values),
                **_later(form.lead + form.behind),
            ),
        ]  # fmt: skip
    return stages


def _later(blocks: int) -> dict[str, Any]:
    """What has a stage work on the key block of that many iterations before."""
    return {"shift": blocks, "shift_level": "key"}


def _order(form: Form) -> tuple[str, ...]:
    """The stages as they are issued, which is how ports serve them: what waits long comes after what need not.

    So values come after Logit, which need not wait for their slot, and before softmax, which waits for Logit.
    """
    last = ("finish", "store_partial", "load_partials", "merge", "store_o")
    if form.execution == "ping_pong":
        return (
            "load_q", "load_k", "convert_k", "logit_a", "logit_b", "attend_a", "load_v", "convert_v", "softmax_a",
            "attend_b", "softmax_b", *last,
        )  # fmt: skip
    return ("load_q", "load_k", "convert_k", "logit", "load_v", "convert_v", "softmax", "attend", *last)


def _tile_buffers(acc: Accelerator, form: Form) -> dict[str, str]:
    """The buffers of the stages, all in the local memory: each half of a tile has its share of what all of it uses."""
    memory = memory_plan(acc)[0]
    names = ("q", "k", "scores", "out") if form.shared_kv else ("q", "k", "v", "scores", "out")
    return {f"{name}{h}": memory for h in form.halves for name in names}


@kernel(inline="late")
def write_buffers(block, i, row_tile, key_block, problem, behind, halves, machine, conversion):
    """Slots and bytes of the buffers; keys that stay until an Attend that is one block behind have a third slot."""
    element = machine.element_bytes
    kv_element = machine.bytes_b if conversion is None else element
    shared_kv = problem.kv_width == problem.dim
    rows, scores = ceil_div(row_tile, halves), 2 if shared_kv else 3
    block.slots[i, :] = 2
    for half in range(halves):
        q = half * (scores + 2)
        block.slot_bytes[i, q] = int(np.ceil(rows * problem.dim * element))
        block.slot_bytes[i, q + 1] = int(np.ceil(key_block * problem.dim * kv_element / halves))
        if shared_kv:
            block.slots[i, q + 1] = 2 + behind
        else:
            block.slot_bytes[i, q + 2] = int(np.ceil(key_block * problem.value_dim * kv_element / halves))
        block.slots[i, q + scores] = 1 + behind
        block.slot_bytes[i, q + scores] = rows * key_block * SUM_BYTES
        block.slot_bytes[i, q + scores + 1] = rows * (problem.value_dim + STATISTICS) * SUM_BYTES
    if conversion is not None:
        keys = key_block * machine.bytes_b
        write_stored(block, i, halves * (scores + 2), scores - 1, (keys * problem.dim, keys * problem.value_dim))


@kernel(inline="late")
def write_tile(
    block, i, c, combos, at, halves, tile, useful, form, problem, fetched, active, machine, conversion, want
):
    """Numbers of class c: ``tile`` is rows, keys of a block, and those loaded; ``useful`` of its scores are visible.

    ``fetched`` is the share of K and V that main memory delivers.
    """
    rows, _, loaded = tile
    dim, value_dim, element = problem.dim, problem.value_dim, machine.element_bytes
    q_bytes = rows * dim * element
    k_bytes, v_bytes = loaded * dim * machine.bytes_b, loaded * value_dim * machine.bytes_b
    write_load(block, i, at.load_q * combos + c, q_bytes, q_bytes, active, machine, want)
    write_load(block, i, at.load_k * combos + c, k_bytes, k_bytes * fetched, active, machine, want)
    if at.load_v >= 0:
        write_load(block, i, at.load_v * combos + c, v_bytes, v_bytes * fetched, active, machine, want)
    if conversion is None:
        write_halves(block, i, c, combos, halves, tile, useful, form, problem, machine, want)
    else:
        converted = (float(loaded * dim), float(loaded * value_dim))
        convert = (at.convert_k * combos + c, at.convert_v * combos + c)
        write_conversions(block, i, convert, converted, conversion, machine, want)
        write_halves(block, i, c, combos, halves, tile, useful, form, problem, conversion.array, want)
    if at.finish < 0:
        return
    outputs = float(rows * value_dim)
    last = (0.0, 0.0, 0.0, 0.0, outputs, 0.0, outputs)
    write_vector(block, i, at.finish * combos + c, last, outputs * SUM_BYTES, outputs * SUM_BYTES, machine, want)
    write_store(block, i, at.store_o * combos + c, rows * value_dim * element, active, machine, want)


@kernel(inline="late")
def write_halves(block, i, c, combos, halves, tile, useful, form, problem, machine, want):
    """Numbers of class c of Logit, softmax and Attend, listed at ``halves``, which the rows of a tile are dealt to.

    The first class sets what stretches of Logit and of Attend pay once.
    """
    rows, keys, _ = tile
    dim, value_dim = problem.dim, problem.value_dim
    for half in range(halves.shape[0]):
        logit, softmax, attend = halves[half]
        own = (rows + half) // halves.shape[0]
        if own == 0:
            continue
        visible, each, outputs = useful * own / rows, float(own * keys), float(own * value_dim)
        scores, sums = each * SUM_BYTES, outputs * SUM_BYTES
        operands, row = Tile(own, keys, dim, 1, 0), logit * combos + c
        once = write_matmul(block, i, row, operands, visible * dim, form, 0.0, scores, machine, want)
        if c == 0:
            block.latency[i, logit] = once
        counts = (each, each, each, 0.0, 0.0, outputs, 0.0)
        write_vector(block, i, softmax * combos + c, counts, scores + sums, scores + sums, machine, want)
        operands, row = Tile(own, value_dim, keys, 0, 0), attend * combos + c
        once = write_matmul(block, i, row, operands, visible * value_dim, form, sums, sums, machine, want)
        if c == 0:
            block.latency[i, attend] = once

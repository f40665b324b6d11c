"""FLAT: Logit and Attend fused at row granularity, a whole row of keys on the chip between them.

Sibling loops over key blocks (Logit, then Attend) are sections of one level; a three-pass softmax runs between. What
does not fit of a row of scores is spilled: written to main memory as Logit makes it, read for the softmax, written back
as weights, and read for Attend. Source: FLAT, Kao et al., ASPLOS 2023, sections 4 and 5 (arXiv 2107.06419).
``docs/attention.md`` has the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.program import After, Hold
from accsim.errors import MappingError
from accsim.kernels.block import END, START, fill_spans
from accsim.kernels.jit import kernel
from accsim.kernels.work import SUM_BYTES, write_load, write_matmul, write_store, write_vector
from accsim.mapping.attention import (
    Loops,
    class_work,
    count_all,
    fetched_share,
    longest_blocks,
    own_work,
    point_tables,
    problem_of,
    row_tile_sizes,
    share_of,
    staging,
    write_latencies,
    write_loops,
)
from accsim.mapping.base import check_choices, register_dataflow
from accsim.mapping.compiled import CompiledDataflow, Lowered, Points
from accsim.mapping.machine_numbers import STATIONARY, machine_numbers, memory_plan, ways
from accsim.mapping.shape import Shape, StageShape, between, last_before
from accsim.mapping.tiling import tile_sizes
from accsim.workload.ops import Attention, Op

STAGED = ("qo", "qkvo")
SCORES = 3
"""Buffer of the scores on the chip; from SPILL on, those that spilled blocks pass through."""
SPILL = 5


SPILLED_STAGES = (
    "logit_spilled", "spill_scores", "fetch_scores", "softmax_spilled", "spill_weights", "fetch_weights",
    "attend_spilled",
)  # fmt: skip


class At(NamedTuple):
    """Where a shape's stages are listed; -1 for those it does not have."""

    load_q: int
    load_k: int
    logit: int
    logit_spilled: int
    spill_scores: int
    softmax: int
    fetch_scores: int
    softmax_spilled: int
    spill_weights: int
    load_v: int
    attend: int
    fetch_weights: int
    attend_spilled: int
    store_o: int


@dataclass(frozen=True)
class Flat(CompiledDataflow):
    """A FLAT mapping at row granularity; choices left ``None`` are searched.

    Parameters
    ----------
    granularity : ``"row"``, the one granularity written so far.
    rows : query rows of a tile.
    block_kv : keys of a block that is loaded and multiplied at once; the whole row of scores stays on the chip.
    staged : tensors kept on the chip for a whole head: ``"qkvo"`` keeps K and V, ``"qo"`` loads them for every tile.
    pipelined : False runs Logit, softmax and Attend of a tile one after the other (the paper's interleaving); True
        runs Attend one tile behind Logit, with two buffers of scores.
    stationary : form of both operators on the array.
    spill : key blocks of a (full) row of scores that are spilled to main memory; searched are none or, where a row
        does not fit, as few as possible.
    """

    kinds: ClassVar[tuple[str, ...]] = ("attention",)

    granularity: str = "row"
    rows: int | None = None
    block_kv: int | None = None
    staged: str | None = None
    pipelined: bool | None = None
    stationary: str | None = None
    spill: int | None = None

    def __post_init__(self) -> None:
        check_choices(
            self,
            positive=("rows", "block_kv"),
            natural=("spill",),
            among={
                "granularity": ("row",),
                "staged": STAGED,
                "pipelined": (True, False),
                "stationary": tuple(STATIONARY),
            },
        )

    def space(self, op: Op, acc: Accelerator) -> list[Points]:
        assert isinstance(op, Attention)
        rows = row_tile_sizes(op, acc, self.rows)
        keys = [self.block_kv] if self.block_kv else tile_sizes(op.kv_len, getattr(acc.matrix_unit, "cols", 64), 4)
        staged = staging(op, self.staged)
        pipelined = [self.pipelined] if self.pipelined is not None else [False, True]
        tables = point_tables(op, acc, rows, keys, self.stationary)
        whole = [
            Points((kept, ahead, False, loops), table)
            for loops, table in tables.items()
            for kept in staged
            for ahead in pipelined
        ]
        if self.spill == 0:
            return whole
        spilled = [points for points in (self._spilled(op, acc, points) for points in whole) if len(points.table)]
        if self.spill is None:
            return whole + spilled
        if not spilled:
            raise MappingError(f"'{op.name}': spill={self.spill} leaves no key block of a row of scores on the chip")
        return spilled

    def _spilled(self, op: Attention, acc: Accelerator, points: Points) -> Points:
        """The points whose rows of scores do not fit, with the key blocks that do as a further column."""
        kept, ahead, _, loops = points.variant
        variant = (kept, ahead, True, loops)
        blocks = longest_blocks(op, points.table)
        table = np.column_stack([points.table, np.ones(len(blocks), np.int64)])
        if self.spill is not None:
            table[:, 3] = blocks - self.spill
            return Points(variant, table[table[:, 3] > 0])
        lowered = self.lower(op, acc, Points(variant, table), actions=False)
        local = acc.memories[0].name
        here = np.array([memory == local for memory in lowered.shape.buffers.values()])
        need = lowered.block.slots * lowered.block.slot_bytes * here
        one = need[:, SCORES]
        room = lowered.shape.capacities[local] - need.sum(axis=1) + one
        table[:, 3] = room // one
        fits_whole = (room + need[:, SPILL:].sum(axis=1)) // one >= blocks
        return Points(variant, table[~fits_whole & (table[:, 3] > 0)])

    def complete(self, op: Op, acc: Accelerator, points: Points, i: int) -> Flat:
        assert isinstance(op, Attention)
        kept, ahead, spilled, _ = points.variant
        row, key, form = points.table[i, :3].tolist()
        spill = int(longest_blocks(op, points.table[i : i + 1])[0] - points.table[i, 3]) if spilled else 0
        names = list(STATIONARY)
        stationary = names[list(STATIONARY.values()).index(form)]
        return Flat("row", row, key, STAGED[int(kept)], ahead, stationary, spill)

    def lower(self, op: Op, acc: Accelerator, points: Points, *, actions: bool) -> Lowered:
        assert isinstance(op, Attention)
        kept, ahead, spilled, loops = points.variant
        shape = _shape(acc, kept, ahead, spilled, loops)
        block = shape.new_block(len(points.table), actions=actions)
        copies = np.zeros(len(points.table))
        names = [stage.name for stage in shape.stages]
        at = At(*(names.index(name) if name in names else -1 for name in At._fields))
        _lower(
            points.table, problem_of(op), op.scores, kept, ahead, at, machine_numbers(acc, op.dtype),
            shape.level_table(), shape.kinds, shape.classes, block, copies,
        )  # fmt: skip
        return Lowered(shape, block, copies)


register_dataflow("flat", Flat)


@lru_cache(maxsize=256)
def _shape(acc: Accelerator, kept: bool, ahead: bool, spilled: bool, loops: Loops) -> Shape:
    way = ways(acc)
    loads, stores, local = way
    sums, capacities = memory_plan(acc)
    memory = acc.memories[0].name
    once = {"row": START} if kept else {}
    taken = ("key",) if kept else ()
    done = ("row", "key") if kept else ()
    behind = 1 if ahead else 0
    q, scores = Hold("q", last=("key",)), Hold("scores", last=("key",))
    k, v = Hold("k", last=done), Hold("v", last=done)
    # cuts of the key level: Logit | Attend; spilled: Logit | its spilled part | softmax | Attend | its spilled part
    spill, attend, end = (2, 3, 5) if spilled else (1, 1, 2)
    # a row tile may have no spilled part: what its last Logit or Attend would give back, the next stage does
    late = (q, k) if kept else (q,)
    logit_gives = () if spilled and kept else (k,) if spilled else (q, k)
    attend_gives = (scores,) if spilled and kept else (scores, v)
    weights_gives = (Hold("weights"),) if kept else (Hold("weights"), v)
    store_gives = (Hold("out"), v) if spilled and kept else (Hold("out"),)
    last_attend = "attend_spilled" if spilled else "attend"
    logit_after = (After("load_q"), After("load_k", level="key", carried=kept))
    attend_after = After("load_v", level="key", carried=kept)
    stages = [
        StageShape("load_q", "dma", loads, {"key": START}, acquires=(Hold("q"),)),
        StageShape("load_k", "dma", loads, {"key": between(0, spill), **once}, acquires=(Hold("k", first=taken),)),
        StageShape(
            "logit", "matrix", local, {"key": between(0, 1)},
            after=logit_after, acquires=(Hold("scores", first=("key",)),), releases=logit_gives,
        ),
        StageShape(
            "logit_spilled", "matrix", local, {"key": between(1, 2)},
            after=(*logit_after, After("logit")), acquires=(Hold("leaving"),), releases=logit_gives,
        ),
        StageShape(
            "spill_scores", "dma", stores, {"key": between(1, 2)},
            shift=1, shift_level="key", after=(After("logit_spilled"),), releases=(Hold("leaving"),),
        ),
        StageShape(
            "softmax", "vector", local, {"key": last_before(spill)},
            after=(After("logit"), After("logit_spilled")) if spilled else (After("logit"),),
            releases=late if spilled else (),
        ),
        StageShape(
            "fetch_scores", "dma", loads, {"key": between(2, 3)},
            after=(After("spill_scores", level="row"),), acquires=(Hold("fetched"),),
        ),
        StageShape("softmax_spilled", "vector", local, {"key": between(2, 3)}, after=(After("fetch_scores"),)),
        StageShape(
            "spill_weights", "dma", stores, {"key": between(2, 3)},
            shift=1, shift_level="key", after=(After("softmax_spilled"),), releases=(Hold("fetched"),),
        ),
        StageShape(
            "load_v", "dma", loads, {"key": between(attend, end), **once}, acquires=(Hold("v", first=taken),),
            shift=behind, shift_level="row",
        ),
        StageShape(
            "attend", "matrix", local, {"key": between(attend, attend + 1)},
            after=(After("softmax"), attend_after), acquires=(Hold("out", first=("key",)),), releases=attend_gives,
            shift=behind, shift_level="row",
        ),
        StageShape(
            "fetch_weights", "dma", loads, {"key": between(4, 5)},
            after=(After("spill_weights", level="row"),), acquires=(Hold("weights"),),
            shift=behind, shift_level="row",
        ),
        StageShape(
            "attend_spilled", "matrix", local, {"key": between(4, 5)},
            after=(After("fetch_weights"), attend_after, After("attend")), releases=weights_gives,
            shift=behind, shift_level="row",
        ),
        StageShape(
            "store_o", "dma", stores, {"key": END},
            shift=2 if ahead else 1, shift_level="row", after=(After(last_attend),), releases=store_gives,
        ),
    ]  # fmt: skip
    passing = ("leaving", "fetched", "weights") if spilled else ()
    return Shape(
        "flat row" + " staged" * kept + " pipelined" * ahead + " spilled" * spilled,
        loops.levels(3 if spilled else 2),
        way.resources("dma", "matrix", "vector"),
        {"q": memory, "k": memory, "v": memory, "scores": memory, "out": sums, **dict.fromkeys(passing, memory)},
        tuple(stage for stage in stages if spilled or stage.name not in SPILLED_STAGES),
        capacities,
        loops.varying,
        end,
    )


@kernel(allocates=True)
def _lower(points, problem, scores, kept, ahead, at, machine, level, kinds, classes, block, copies):
    """Write the numbers of every point (rows of a tile, keys of a block, stationary form; key blocks not spilled)."""
    want = block.actions.shape[0] > 0
    dim = problem.dim
    element = machine.element_bytes
    in_registers = machine.systolic == 0
    spilled = at.spill_scores >= 0
    row_classes, key_classes = classes[2], classes[3]
    combos = row_classes * key_classes
    for i in range(points.shape[0]):
        row_tile, key_block, form = points[i, 0], min(points[i, 1], problem.keys), points[i, 2]
        row_tile = min(row_tile, problem.positions * problem.shared)
        share = share_of(problem, row_tile, machine.cores)
        here = points[i, 3] if spilled else 0
        tiles, blocks = write_loops(block, i, level, problem, row_tile, share, key_block, 3 if spilled else 2, here)
        here = here if spilled else blocks
        fill_spans(block, i, level, kinds, classes)
        sum_bytes = element if blocks == 1 and not in_registers else float(SUM_BYTES)
        _write_buffers(block, i, (row_tile, key_block, dim), (blocks if kept else 1, here), ahead, sum_bytes, machine)
        write_latencies(block, i, (at.load_q, at.load_k, at.load_v, at.store_o), machine)
        if spilled:
            for fetch, spill in ((at.fetch_scores, at.spill_scores), (at.fetch_weights, at.spill_weights)):
                block.latency[i, fetch] = machine.load_latency
                block.latency[i, spill] = machine.store_latency
        fetched = fetched_share(problem, row_tile, share, tiles, key_block, machine, kept)
        own_rows, visible = own_work(problem, row_tile, share, tiles)
        copies[i] = float(scores) / (visible * share.groups)
        for rc in range(row_classes):
            rows, useful, done = class_work(problem, row_tile, share, tiles, key_block, rc)
            if rows == 0:
                continue
            q_bytes = rows * dim * element
            whole = min(float(done), float(rows) * here * key_block)
            for kc in range(key_classes):
                keys = key_block
                if kc % 2 == 1:
                    keys = problem.keys - (blocks - 1) * key_block
                c = rc * key_classes + kc
                part = float(useful) * dim * rows * keys / done
                passing = rows * keys * element
                write_load(block, i, at.load_q * combos + c, q_bytes, q_bytes, share.active, machine, want)
                for load in (at.load_k, at.load_v):
                    size = keys * dim * element
                    write_load(block, i, load * combos + c, size, size * fetched, share.active, machine, want)
                sums = 0.0 if in_registers else rows * dim * sum_bytes
                read = sums * (blocks - 1) / blocks  # the first key block starts from zero
                logit = attend = 0
                for stage in (at.logit, at.logit_spilled):
                    if stage >= 0:
                        logit = write_matmul(
                            block, i, stage * combos + c, (rows, keys, dim), part, form, 0.0, passing, machine, want
                        )
                for stage in (at.attend, at.attend_spilled):
                    if stage >= 0:
                        attend = write_matmul(
                            block, i, stage * combos + c, (rows, dim, keys), part, form, read, sums, machine, want
                        )
                _write_softmax(block, i, at.softmax * combos + c, whole, machine, want)
                if spilled:
                    _write_softmax(block, i, at.softmax_spilled * combos + c, float(rows * keys), machine, want)
                    for fetch, spill in ((at.fetch_scores, at.spill_scores), (at.fetch_weights, at.spill_weights)):
                        write_load(block, i, fetch * combos + c, passing, passing, share.active, machine, want)
                        write_store(block, i, spill * combos + c, passing, share.active, machine, want)
                write_store(block, i, at.store_o * combos + c, q_bytes, share.active, machine, want)
                if c == 0:
                    for stage in (at.logit, at.logit_spilled):
                        if stage >= 0:
                            block.latency[i, stage] = logit
                    for stage in (at.attend, at.attend_spilled):
                        if stage >= 0:
                            block.latency[i, stage] = attend
        if want:
            moves = (at.load_q, at.store_o, at.load_k, at.load_v)
            count_all(block, i, moves, combos, problem, row_tile, share, own_rows, key_block, copies[i], machine, kept)


@kernel
def _write_softmax(block, i, row, scores, machine, want):
    """A three-pass softmax of scores that lie in the local memory: max; subtract and exp; sum; divide."""
    counts = (scores, scores, scores, 0.0, scores, 0.0, 0.0)
    size = scores * machine.element_bytes
    write_vector(block, i, row, counts, 3 * size, 2 * size, machine, want)


@kernel
def _write_buffers(block, i, tile, blocks, ahead, sum_bytes, machine):
    """Slots and bytes of the buffers; ``tile`` is rows, keys, head dim, ``blocks`` of keys held and of scores kept."""
    rows, keys, dim = tile
    element = machine.element_bytes
    block.slots[i, :] = 2
    block.slots[i, SCORES] = 2 if ahead else 1
    block.slot_bytes[i, 0] = int(np.ceil(rows * dim * element))
    block.slot_bytes[i, 1] = block.slot_bytes[i, 2] = int(np.ceil(blocks[0] * keys * dim * element))
    block.slot_bytes[i, SCORES] = int(np.ceil(rows * blocks[1] * keys * element))
    out = sum_bytes if machine.systolic else 0.5 * (sum_bytes + element)
    block.slot_bytes[i, 4] = int(np.ceil(rows * dim * out))
    block.slot_bytes[i, SPILL:] = int(np.ceil(rows * keys * element))

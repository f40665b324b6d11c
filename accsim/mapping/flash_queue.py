"""FlashAttention on arrays where sequences differ or cores share the keys of a row tile (Flash-Decoding).

The program is the queue of the core that is busy longest, a tile or part of one after the other; they are dealt by the
time of their own programs. Source of the split and the merge: Dao et al., *Flash-Decoding for long-context inference*
(2023). ``docs/attention.md`` has the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.tables import IntArray
from accsim.kernels.block import fill_spans
from accsim.kernels.jit import kernel
from accsim.kernels.layout import RUN0, TRIP0
from accsim.kernels.matrix import SUM_BYTES
from accsim.kernels.work import leave_between, scale_bytes, scale_counts, write_load, write_store, write_vector
from accsim.mapping.attention import MOST_CAUSAL_TILES, problems_of, write_latencies
from accsim.mapping.compiled import Lowered, Points, Writer, run_points
from accsim.mapping.flash_tile import (
    STATISTICS,
    At,
    Form,
    half_places,
    tile_parts,
    write_buffers,
    write_tile,
)
from accsim.mapping.flash_tiles import Heads, Part, busiest, kinds_of
from accsim.mapping.kv_format import kv_numbers
from accsim.mapping.machine_numbers import memory_plan, places, ways
from accsim.mapping.shape import Shape
from accsim.mapping.thread_blocks import SPLITS
from accsim.workload.ops import Attention


class Queued(NamedTuple):
    """What decides the shape of a queue's program: how a tile is worked on, kinds of parts, split keys."""

    execution: str
    kinds: int
    split: bool


def queue_points(
    op: Attention, acc: Accelerator, rows: list[int], keys: list[int], forms: list[int],
    executions: Sequence[str], split: int | None,
) -> list[Points]:  # fmt: skip
    """Points (query rows, keys of a block, stationary form, parts) by shape; none where the uniform program serves.

    Keys are split where it is asked for or, in a search, where there are fewer row tiles than cores.
    """
    found: dict[Queued, list[tuple[int, int, int, int]]] = {}
    problems = problems_of(op)
    for row in rows:
        few = sum(problem.groups * -(-problem.positions * problem.shared // row) for problem in problems) < acc.cores
        for key in keys:
            for parts in [split] if split else _splits(op, key, few):
                if parts == 1 and len(problems) == 1:
                    continue
                kinds = kinds_of(problems, row, key, parts)
                if len(kinds) > MOST_CAUSAL_TILES and row != rows[-1]:
                    continue
                shared = any(kind.parts > 1 for kind in kinds)  # not where each tile has a single block of keys
                for execution in executions:
                    table = found.setdefault(Queued(execution, len(kinds), shared), [])
                    table += [(row, key, form, parts) for form in forms]
    return [Points(variant, np.array(table, np.int64)) for variant, table in found.items()]


def queue_writer(op: Attention, acc: Accelerator, variant: Queued) -> Writer:
    """What writes the points' programs."""
    numbers = _Numbers(op, acc, variant)

    def write(table: IntArray, room: Lowered) -> None:
        for i, (row, key, form, parts) in enumerate(table.tolist()):
            counts = queue_of(op, acc, variant.execution, row, key, form, parts)
            kinds = tuple(kinds_of(numbers.problems, row, key, parts))
            numbers.write(room, i, (row, key, form, parts), kinds, counts)

    return Writer(numbers.shape, write)


@lru_cache(maxsize=4096)
def queue_of(
    op: Attention, acc: Accelerator, execution: str, row: int, key: int, form: int, parts: int
) -> tuple[int, ...]:
    """How many parts of each kind the core has that is busy longest: all of them where there is but one core."""
    counts = tuple(kinds_of(problems_of(op), row, key, parts).values())
    if acc.cores == 1:
        return counts
    return busiest(part_ticks(op, acc, execution, row, key, form, parts), counts, acc.cores)


def part_ticks(op: Attention, acc: Accelerator, execution: str, row: int, key: int, form: int, parts: int) -> IntArray:
    """Time of a part of each kind from a program of its own, as if it were a tile that shares its keys with none."""
    kinds = kinds_of(problems_of(op), row, key, parts)
    numbers = _Numbers(op, acc, Queued(execution, 1, False))
    alone = Lowered.room(numbers.shape, len(kinds), actions=False)
    for i, kind in enumerate(kinds):
        numbers.write(alone, i, (row, key, form, parts), (kind,), (1,))
    return run_points(alone)


class _Numbers:
    """What the points of an op that have one shape share."""

    def __init__(self, op: Attention, acc: Accelerator, variant: Queued) -> None:
        self.machine, self.conversion = kv_numbers(op, acc)
        form = Form(variant.execution, op.shared_kv, variant.split, self.conversion is not None)
        self.shape = _shape(acc, form, variant.kinds)
        self.at, self.halves = At(*self.shape.places(At._fields)), half_places(self.shape, form)
        self.behind = form.behind
        self.problems = problems_of(op)
        self.scores = float(op.scores)

    def write(
        self,
        room: Lowered,
        i: int,
        point: tuple[int, int, int, int],
        kinds: tuple[Part, ...],
        counts: tuple[int, ...],
    ) -> None:
        """Point i (query rows, keys of a block, form, parts): ``counts`` parts of each kind, one after the other."""
        # Kinds of which it has none come last, behind the end of its loop, where their runs have no end.
        order = np.argsort(np.array(counts) == 0, kind="stable")
        row, key, form, parts = point
        all_kinds = kinds_of(self.problems, row, key, parts)
        totals = (
            sum(all_kinds.values()),
            sum(kind.rows * count for kind, count in all_kinds.items()),
            sum(kind.keys * count // kind.parts for kind, count in all_kinds.items()),
            self.scores,
        )
        _lower_point(
            i, form, self.problems[0], Heads.of(self.problems), np.array(kinds, np.int64)[order],
            np.array(counts, np.int64)[order], totals, self.behind, self.at, self.halves, self.machine,
            self.conversion, self.shape.level_table, room.block, room.copies,
        )  # fmt: skip
        fill_spans(room.block, i, self.shape.level_table, self.shape.kinds, self.shape.classes)


def _splits(op: Attention, key: int, few: bool) -> list[int]:
    """Parts of the longest tile to try: more than one where there are fewer tiles than cores."""
    most = -(-op.seen_keys // key) if few else 1
    return [parts for parts in SPLITS if parts <= most and -(-most // -(-most // parts)) == parts]


@lru_cache(maxsize=256)
def _shape(acc: Accelerator, form: Form, kinds: int) -> Shape:
    memory, capacities = memory_plan(acc)
    stages, buffers = tile_parts(acc, form)
    if form.split:
        at = places(acc)
        meet = at.get("middle", at["main"])
        capacities = {**capacities, meet.name: meet.capacity_bytes}
        buffers |= {"partials": meet.name, "merged": memory}
    return Shape(
        form.title + (", split keys" if form.split else ", queue"),
        (("row", kinds), ("key", 1)),
        ways(acc).resources("dma", "matrix", "vector"),
        buffers,
        stages,
        capacities,
        {"key": "row"} if kinds > 1 else {},
        chains=form.chains,
    )


@kernel(allocates=True)
def _lower_point(
    i, form, problem, heads, kinds, counts, totals, behind, at, halves, machine, conversion, level, block, copies
):
    """Write the numbers of one point.

    ``kinds`` are the parts of the queue (columns: key blocks; rows, keys and scores of the tile; parts of it),
    ``counts`` how many of each.
    """
    all_parts, part_rows, part_keys, scores = totals
    want = block.actions.shape[0] > 0
    active = min(all_parts, machine.cores)
    classes = kinds.shape[0]
    tile_rows, tile_keys = kinds[0, 1], 1
    in_all = counts.sum()
    done, own_scores, own_rows, own_keys = 0, 0.0, 0.0, 0.0
    fetched = _fetched(heads, part_keys, active, problem.kv_width, machine)
    for c in range(classes):
        blocks, rows, seen, visible, parts = kinds[c, 0], kinds[c, 1], kinds[c, 2], kinds[c, 3], kinds[c, 4]
        done += counts[c]
        block.trips[i, level[3, TRIP0] + c] = blocks
        if done < in_all:
            block.runs[i, level[2, RUN0] + c] = done
        loaded = float(seen) / (parts * blocks)
        size = int(np.ceil(loaded))
        tile_rows, tile_keys = max(tile_rows, rows), max(tile_keys, size)
        own_scores += counts[c] * float(visible) / parts
        own_rows += float(counts[c]) * rows
        own_keys += counts[c] * float(seen) / parts
        useful = float(visible) / (parts * blocks)
        write_tile(
            block, i, c, classes, at, halves, (rows, size, loaded), useful, form, problem, fetched, active, machine,
            conversion, want,
        )  # fmt: skip
        if at.store_partial >= 0:
            size_out = float(rows * (problem.value_dim + STATISTICS) * SUM_BYTES)
            write_store(block, i, at.store_partial * classes + c, size_out, active, machine, want)
            if machine.middle_capacity > 0:
                leave_between(block, i, at.store_partial * classes + c, want)
    block.trips[i, level[2, TRIP0]] = done
    copies[i] = scores / own_scores
    write_buffers(block, i, tile_rows, tile_keys, problem, behind, halves.shape[0], machine, conversion)
    write_latencies(block, i, (at.load_q, at.load_k, at.load_v, at.store_o), machine)
    if want:
        for c in range(classes):
            row_scale, key_scale = part_rows / (copies[i] * own_rows), part_keys / (copies[i] * own_keys)
            scale_bytes(block, i, at.load_q * classes + c, row_scale, 1.0)
            scale_bytes(block, i, at.load_k * classes + c, key_scale, 1.0)
            if at.load_v >= 0:
                scale_bytes(block, i, at.load_v * classes + c, key_scale, 1.0)
            for stage in (at.convert_k, at.convert_v):
                if stage >= 0:
                    scale_counts(block, i, stage * classes + c, key_scale)
            if at.finish >= 0:
                block.actions[i, at.finish * classes + c, :] *= row_scale
            left = at.store_partial if at.store_partial >= 0 else at.store_o
            scale_bytes(block, i, left * classes + c, row_scale, 1.0)
    if at.merge >= 0:
        _write_merge(block, i, classes, at, part_rows, heads.rows, active, copies[i], problem, machine, want)


@kernel
def _write_merge(block, i, classes, at, part_rows, op_rows, active, copies, problem, machine, want):
    """Each of the active cores fetches, merges and stores an equal share of all rows, once."""
    width, element = problem.value_dim, machine.element_bytes
    partial = float(part_rows) * (width + STATISTICS) * SUM_BYTES
    size, out = partial / active, float(op_rows) * width * element / active
    # A partial output is rescaled and added; the sum is divided and rounded.
    each, last = float(part_rows) * width / active, float(op_rows) * width / active
    counts = (0.0, 0.0, each, each, last, 0.0, last)
    for c in range(classes):
        write_load(
            block, i, at.load_partials * classes + c, size, 0.0 if machine.middle_capacity > 0 else size, active,
            machine, want,
        )  # fmt: skip
        write_vector(block, i, at.merge * classes + c, counts, size, out, machine, want)
        write_store(block, i, at.store_o * classes + c, out, active, machine, want)
        if want:
            for stage in (at.load_partials, at.merge, at.store_o):
                for column in range(block.actions.shape[2]):
                    block.actions[i, stage * classes + c, column] *= active / copies
    partials, merged = block.slots.shape[1] - 2, block.slots.shape[1] - 1
    block.slots[i, partials] = block.slots[i, merged] = 1
    block.slot_bytes[i, partials] = int(min(partial, 2.0**60))
    block.slot_bytes[i, merged] = int(np.ceil(size))
    block.latency[i, at.store_partial] = machine.store_latency
    block.latency[i, at.load_partials] = machine.load_latency


@kernel
def _fetched(heads, part_keys, active, kv_width, machine):
    """Share of the loads of K and V that reach main memory.

    Without a middle memory every load does. With one, the keys and values of a group come once where those of as many
    groups as there are active cores fit it, each as large as the mean.
    """
    if machine.middle_capacity == 0:
        return 1.0
    in_flight = min(heads.groups, active) * float(heads.keys) / heads.groups * kv_width * machine.bytes_b
    return min(1.0, float(heads.keys) / part_keys) if in_flight <= machine.middle_capacity else 1.0

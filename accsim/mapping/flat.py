"""FLAT: Logit and Attend fused, whole rows of keys on the chip between them, from some rows of a head to all heads.

Sibling loops over key blocks (Logit, then Attend) are sections of one level; a softmax of whole rows runs between. What
does not fit of a row of scores is spilled: written to main memory as Logit makes it, read for the softmax, written back
as weights, and read for Attend. Source: FLAT, Kao et al., ASPLOS 2023, sections 4 and 5 (arXiv 2107.06419).
``docs/attention.md`` has the model.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from accsim.config.machine import Accelerator
from accsim.errors import InputError, MappingError
from accsim.errors import Problem as Fault
from accsim.kernels.block import fill_spans
from accsim.kernels.jit import kernel
from accsim.kernels.matrix import SUM_BYTES, Tile
from accsim.kernels.work import write_load, write_matmul, write_store, write_vector
from accsim.mapping.attention import (
    Loops,
    Problem,
    Tables,
    check_equal_lengths,
    class_work,
    count_all,
    fetched_share,
    form_codes,
    key_block_sizes,
    longest_blocks,
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
from accsim.mapping.flat_shape import At, Variant, flat_shape
from accsim.mapping.machine_numbers import STATIONARY, machine_numbers
from accsim.workload.ops import Attention, Op

STAGED = ("qkvo", "qko", "qvo", "qo", "kvo", "ko", "vo", "o")
SEARCHED = ("qo", "qko", "qvo", "qkvo")
GRANULARITIES = ("row", "head", "batch", "batch_head")
KEPT = 4
"""Column of a spilled point's table: key blocks of a row of scores that stay."""


@dataclass(frozen=True)
class Flat(CompiledDataflow):
    """A FLAT mapping; choices left ``None`` are searched.

    Parameters
    ----------
    granularity : what a tile is: ``"row"`` some rows of a head, ``"head"`` all of them, ``"batch"`` all heads of a
        sequence, ``"batch_head"`` all heads of all sequences that a core has (the paper's R, H, B and M). With ``rows``
        it is ``"row"``.
    rows : query rows of a tile of granularity row.
    block_kv : keys of a block that is loaded and multiplied at once; the whole row of scores stays on the chip. It must
        divide the keys where a tile is several heads.
    staged : tensors that stay on the chip: Q of a tile (else loaded again for every key block), K and V of a head (else
        for every tile); O always does. ``"qkvo"`` stages all. Searched are those with Q.
    pipelined : False runs Logit, softmax and Attend of a tile one after the other (the paper's interleaving); True
        runs Attend one tile behind Logit, with two buffers of scores.
    stationary : form of Logit on the array, and of Attend unless ``stationary_attend`` is given.
    stationary_attend : form of Attend.
    softmax : ``"three_pass"`` (max; subtract and exp; sum; divide: 4 operations a score), or ``"two_pass"`` with the
        division of the output instead (3 a score). None searches both.
    spill : key blocks of a (full) row of scores that are spilled to main memory; searched are none or, where a row
        does not fit, as few as possible.
    """

    kinds: ClassVar[tuple[str, ...]] = ("attention",)

    granularity: str | None = None
    rows: int | None = None
    block_kv: int | None = None
    staged: str | None = None
    pipelined: bool | None = None
    stationary: str | None = None
    stationary_attend: str | None = None
    softmax: str | None = "three_pass"
    spill: int | None = None

    def __post_init__(self) -> None:
        check_choices(
            self,
            positive=("rows", "block_kv"),
            natural=("spill",),
            among={
                "granularity": GRANULARITIES,
                "staged": STAGED,
                "pipelined": (True, False),
                "stationary": tuple(STATIONARY),
                "stationary_attend": tuple(STATIONARY),
                "softmax": ("three_pass", "two_pass"),
            },
        )
        if self.rows is not None and self.granularity not in (None, "row"):
            raise InputError(Fault("", "rows", f"a tile of granularity {self.granularity} has all rows; leave it out"))

    def space(self, op: Op, acc: Accelerator) -> list[Points]:
        return self._space(op, acc, fine=False)

    def fine_space(self, op: Op, acc: Accelerator) -> list[Points]:
        return self._space(op, acc, fine=True)

    def _space(self, op: Op, acc: Accelerator, *, fine: bool) -> list[Points]:
        assert isinstance(op, Attention)
        check_equal_lengths(op, "flat")
        whole = [
            Points(_variant(op, staged, ahead, two_pass, loops, tile), table)
            for tile, tables in self._tiles(op, acc, fine=fine).items()
            for loops, table in tables.items()
            for staged in self._staging(op)
            for ahead in ([self.pipelined] if self.pipelined is not None else [False, True])
            for two_pass in ([self.softmax == "two_pass"] if self.softmax else [False, True])
        ]
        if self.spill == 0:
            return whole
        spilled = [points for points in (self._spilled(op, acc, points) for points in whole) if len(points.table)]
        if self.spill is None:
            return whole + spilled
        if not spilled:
            raise MappingError(f"'{op.name}': spill={self.spill} leaves no key block of a row of scores on the chip")
        return spilled

    def _tiles(self, op: Attention, acc: Accelerator, *, fine: bool) -> dict[str, Tables]:
        """Granularity -> its points: of the given one, or of all that the op allows and that differ.

        All rows of a head are a row tile too, and where a core has one head, or those of one sequence, so are others.
        """
        if self.granularity:
            return {self.granularity: self._tables(op, acc, self.granularity, fine=fine)}
        found = {"row": self._tables(op, acc, "row", fine=fine)}
        heads = {1}
        for tile in () if self.rows else ("batch", "batch_head"):
            with suppress(MappingError):  # not to be had of this op
                together = _together(op, acc, tile)
                if together not in heads:
                    found[tile] = self._tables(op, acc, tile, fine=fine)
                    heads.add(together)
        return found

    def _tables(self, op: Attention, acc: Accelerator, granularity: str, *, fine: bool) -> Tables:
        rows = [op.q_len * op.heads // op.kv_heads]
        if granularity == "row":
            rows = row_tile_sizes(op, acc, self.rows, fine=fine)
        keys = [self.block_kv] if self.block_kv else key_block_sizes(op, acc, 4, fine=fine)
        if _together(op, acc, granularity) > 1:
            keys = [key for key in keys if op.kv_len % min(key, op.kv_len) == 0]
            if not keys:
                raise MappingError(
                    f"'{op.name}': granularity {granularity} needs key blocks that divide a head's {op.kv_len} keys"
                )
        return point_tables(op, acc, rows, keys, self._forms(acc))

    def _forms(self, acc: Accelerator) -> list[tuple[int, ...]]:
        """Codes of the forms of Logit and Attend to try."""
        logit = form_codes(acc, self.stationary)
        attend = form_codes(acc, self.stationary_attend or self.stationary)
        return [(first, second) for first in logit for second in attend]

    def _staging(self, op: Attention) -> tuple[str, ...]:
        """What is staged, to be tried.

        Under a window, which moves on, no K and V; under a mask always Q; and K and V both or none where they share
        their storage.
        """
        found: tuple[str, ...] = (self.staged,) if self.staged else SEARCHED
        if op.shared_kv:
            found = tuple(staged for staged in found if ("k" in staged) == ("v" in staged))
            if not found:
                raise MappingError(f"staged {self.staged}: '{op.name}' stores keys and values as one; allowed is both")
        if op.window:
            found = tuple(staged for staged in found if not set(staged) & {"k", "v"})
        if op.causal:
            found = tuple(staged for staged in found if "q" in staged)
        if not found:
            allowed = "qo" if op.window else ", ".join(SEARCHED)
            mask = "sliding window" if op.window else "causal mask"
            raise MappingError(f"staged {self.staged}: under the {mask} of '{op.name}' allowed are {allowed}")
        return found

    def _spilled(self, op: Attention, acc: Accelerator, points: Points) -> Points:
        """The points whose rows of scores do not fit, with the key blocks that do as a further column."""
        variant = Variant(*points.variant)._replace(spilled=True)
        blocks = longest_blocks(op, points.table) * _together(op, acc, variant.granularity)
        table = np.column_stack([points.table, np.ones(len(blocks), np.int64)])
        if self.spill is not None:
            table[:, KEPT] = blocks - self.spill
            return Points(variant, table[table[:, KEPT] > 0])
        _, sizes, each = np.unique(table[:, :2], axis=0, return_index=True, return_inverse=True)
        each = each.reshape(-1)
        lowered = self.lower(op, acc, Points(variant, table[sizes]), actions=False)  # a form changes no buffer
        local = acc.memories[0].name
        here = np.array([memory == local for memory in lowered.shape.buffers.values()])
        need = lowered.block.slots * lowered.block.slot_bytes * here
        names = list(lowered.shape.buffers)
        one = need[:, names.index("scores")]
        room = lowered.shape.capacities[local] - need.sum(axis=1) + one
        table[:, KEPT] = (room // one)[each]
        fits_whole = ((room + need[:, names.index("out") + 1 :].sum(axis=1)) // one)[each] >= blocks
        return Points(variant, table[~fits_whole & (table[:, KEPT] > 0)])

    def complete(self, op: Op, acc: Accelerator, points: Points, i: int) -> Flat:
        assert isinstance(op, Attention)
        variant = Variant(*points.variant)
        row, key, logit, attend = points.table[i, :KEPT].tolist()
        blocks = int(longest_blocks(op, points.table[i : i + 1])[0]) * _together(op, acc, variant.granularity)
        spill = blocks - int(points.table[i, KEPT]) if variant.spilled else 0
        rows = row if variant.granularity == "row" else None
        names = {code: name for name, code in STATIONARY.items()}
        return Flat(
            variant.granularity, rows, key, variant.staged, variant.pipelined, names[logit],
            names[attend] if attend != logit else None, "two_pass" if variant.two_pass else "three_pass", spill,
        )  # fmt: skip

    def lower(self, op: Op, acc: Accelerator, points: Points, *, actions: bool) -> Lowered:
        assert isinstance(op, Attention)
        variant = Variant(*points.variant)
        shape = flat_shape(acc, variant)
        at = At(*shape.places(At._fields))
        block = shape.new_block(len(points.table), actions=actions)
        copies = np.zeros(len(points.table))
        _lower(
            points.table, *_problem(op, acc, variant.granularity), op.scores, (variant.q, variant.k, variant.v),
            variant.pipelined, at, machine_numbers(acc, op.dtype), shape.level_table(), shape.kinds,
            shape.classes, block, copies,
        )  # fmt: skip
        return Lowered(shape, block, copies)


register_dataflow("flat", Flat)


def _variant(op: Attention, staged: str, ahead: bool, two_pass: bool, loops: Loops, granularity: str) -> Variant:
    """The shape of a mapping without a spill; K is V too only where it stays."""
    q, k, v = ("q" in staged, "k" in staged, "v" in staged)
    return Variant(q, k, v, ahead, two_pass, False, loops, granularity, op.shared_kv and k)


def _together(op: Attention, acc: Accelerator, granularity: str) -> int:
    """Heads (groups that share keys) of a tile.

    Raises
    ------
    MappingError
        When a tile of several heads cannot be had: under a mask, or where they cannot be divided over the cores.
    """
    if granularity in ("row", "head"):
        return 1
    groups = op.batch * op.kv_heads
    together = op.kv_heads if granularity == "batch" else groups // min(groups, acc.cores)
    if together > 1 and op.causal:
        raise MappingError(f"'{op.name}': a tile of granularity {granularity} is written without a mask only")
    if groups % together:
        raise MappingError(f"'{op.name}': {groups} heads cannot be divided into tiles of {together} on {acc.name}")
    return together


def _problem(op: Attention, acc: Accelerator, granularity: str) -> tuple[Problem, int]:
    """(extents, heads of a tile): heads together are one with the keys of all, whose queries differ."""
    problem, together = problem_of(op), _together(op, acc, granularity)
    if together == 1:
        return problem, 1
    keys = problem.keys * together
    return problem._replace(groups=problem.groups // together, keys=keys, window=keys), together


@kernel(allocates=True)
def _lower(points, problem, together, scores, kept, ahead, at, machine, level, kinds, classes, block, copies):
    """Write the numbers of every point; columns: rows, keys, forms of Logit and Attend, and blocks not spilled."""
    want = block.actions.shape[0] > 0
    dim, value_dim = problem.dim, problem.value_dim
    element = machine.element_bytes
    in_registers = machine.systolic == 0
    spilled = at.spill_scores >= 0
    row_classes, key_classes = classes[2], classes[3]
    combos = row_classes * key_classes
    for i in range(points.shape[0]):
        row_tile = min(points[i, 0], problem.positions * problem.shared)
        key_block = min(points[i, 1], problem.keys // together)
        share = share_of(problem, row_tile, machine.cores)
        here = points[i, KEPT] if spilled else 0
        loops = 3 if spilled and not ahead else 2
        tiles, blocks = write_loops(block, i, level, problem, row_tile, share, key_block, loops, here)
        here = here if spilled else blocks
        fill_spans(block, i, level, kinds, classes)
        sum_bytes = element if blocks == together and not in_registers else float(SUM_BYTES)
        _write_buffers(
            block, i, (row_tile, key_block), (blocks, here, together), kept, (ahead, at.load_v < 0, spilled), sum_bytes,
            problem, machine,
        )  # fmt: skip
        write_latencies(block, i, (at.load_q, at.load_k, at.load_v, at.store_o), machine)
        fetched_k = fetched_share(problem, row_tile, share, tiles, key_block, machine, kept[1])
        fetched_v = fetched_share(problem, row_tile, share, tiles, key_block, machine, kept[2])
        own_rows, visible = own_work(problem, row_tile, share, tiles)
        copies[i] = float(scores) / (visible * share.groups)
        for rc in range(row_classes):
            rows, useful, done = class_work(problem, row_tile, share, tiles, key_block, rc)
            if rows == 0:
                continue
            for kc in range(key_classes):
                keys = key_block
                if kc % 2 == 1:
                    keys = problem.keys - (blocks - 1) * key_block
                c = rc * key_classes + kc
                part = float(useful) * rows * keys / done
                passing = rows * keys * element
                tile_bytes = rows * dim * element
                q_bytes = together * tile_bytes if kept[0] else tile_bytes
                o_bytes = together * rows * value_dim * element
                k_bytes, v_bytes = keys * dim * element, keys * value_dim * element
                write_load(block, i, at.load_q * combos + c, q_bytes, q_bytes, share.active, machine, want)
                write_load(block, i, at.load_k * combos + c, k_bytes, k_bytes * fetched_k, share.active, machine, want)
                if at.load_v >= 0:
                    write_load(
                        block, i, at.load_v * combos + c, v_bytes, v_bytes * fetched_v, share.active, machine, want
                    )
                write_store(block, i, at.store_o * combos + c, o_bytes, share.active, machine, want)
                for stage in (at.logit, at.logit_spilled):
                    if stage >= 0:
                        tile, row = Tile(rows, keys, dim, 1, 0), stage * combos + c
                        once = write_matmul(block, i, row, tile, part * dim, points[i, 2], 0.0, passing, machine, want)
                        if c == 0:
                            block.latency[i, stage] = once
                sums = 0.0 if in_registers else rows * value_dim * sum_bytes
                read = sums * (blocks - together) / blocks  # the first key block of a head starts from zero
                for stage in (at.attend, at.attend_spilled):
                    if stage >= 0:
                        tile, row = Tile(rows, value_dim, keys, 0, 0), stage * combos + c
                        once = write_matmul(
                            block, i, row, tile, part * value_dim, points[i, 3], read, sums, machine, want
                        )
                        if c == 0:
                            block.latency[i, stage] = once
                divided = 0.0 if at.finish >= 0 else 1.0
                whole = min(float(done), float(rows) * here * key_block)
                _write_softmax(block, i, at.softmax * combos + c, whole, divided, machine, want)
                if at.finish >= 0:
                    outputs = float(together * rows * value_dim)
                    counts = (0.0, 0.0, 0.0, 0.0, outputs, 0.0, outputs)
                    write_vector(
                        block, i, at.finish * combos + c, counts, together * sums, together * sums, machine, want
                    )
                if spilled:
                    _write_softmax(
                        block, i, at.softmax_spilled * combos + c, float(rows * keys), divided, machine, want
                    )
                    for fetch, spill in ((at.fetch_scores, at.spill_scores), (at.fetch_weights, at.spill_weights)):
                        write_load(block, i, fetch * combos + c, passing, passing, share.active, machine, want)
                        write_store(block, i, spill * combos + c, passing, share.active, machine, want)
                        block.latency[i, fetch] = machine.load_latency
                        block.latency[i, spill] = machine.store_latency
        if want:
            moves = (at.load_q, at.store_o, at.load_k, at.load_v)
            resident = (kept[1], kept[2])
            count_all(
                block, i, moves, combos, problem, row_tile, share, own_rows, key_block, copies[i], machine, resident
            )


@kernel
def _write_softmax(block, i, row, scores, divided, machine, want):
    """A softmax of scores in the local memory: max; subtract and exp; sum; where ``divided`` is 1, divide."""
    counts = (scores, scores, scores, 0.0, scores * divided, 0.0, 0.0)
    size = scores * machine.element_bytes
    write_vector(block, i, row, counts, (2 + divided) * size, (1 + divided) * size, machine, want)


@kernel
def _write_buffers(block, i, tile, blocks, kept, variant, sum_bytes, problem, machine):
    """Slots and bytes of the buffers.

    ``tile`` is rows and keys of a block; ``blocks`` are those of all heads of a tile, those whose scores stay, and the
    heads; ``variant`` tells whether Attend is behind, keys are values too, and scores spill. Such keys stay until O has
    left where scores spill, so that with Attend behind those of a third head may be here.
    """
    ahead, shared_kv, spilled = variant
    rows, keys = tile
    every, here, together = blocks
    dim, value_dim, element = problem.dim, problem.value_dim, machine.element_bytes
    scores = 2 if shared_kv else 3
    block.slots[i, :] = 2
    block.slots[i, scores] = 2 if ahead else 1
    queries = together * rows if kept[0] else (min(rows, machine.rows) if machine.systolic else rows)
    block.slot_bytes[i, 0] = int(np.ceil(queries * dim * element))
    block.slot_bytes[i, 1] = int(np.ceil((every if kept[1] else 1) * keys * dim * element))
    if shared_kv:
        block.slots[i, 1] = 3 if ahead and spilled else 2
    else:
        block.slot_bytes[i, 2] = int(np.ceil((every if kept[2] else 1) * keys * value_dim * element))
    block.slot_bytes[i, scores] = int(np.ceil(rows * here * keys * element))
    out = sum_bytes if machine.systolic else 0.5 * (sum_bytes + element)
    block.slot_bytes[i, scores + 1] = int(np.ceil(together * rows * value_dim * out))
    block.slot_bytes[i, scores + 2 :] = int(np.ceil(rows * keys * element))

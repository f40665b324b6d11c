"""FLAT: Logit and Attend fused, whole rows of keys on the chip between them, from some rows of a head to all heads.

Sibling loops over key blocks (Logit, then Attend) are sections of one level; a softmax of whole rows runs between. What
does not fit of a row of scores is spilled: written to main memory as Logit makes it, read for the softmax, written back
as weights, and read for Attend. Source: FLAT, Kao et al., ASPLOS 2023, sections 4 and 5 (arXiv 2107.06419).
``docs/attention.md`` has the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.tables import IntArray
from accsim.errors import InputError, MappingError
from accsim.errors import Problem as Fault
from accsim.mapping.attention import (
    Tables,
    check_equal_lengths,
    form_codes,
    key_block_sizes,
    point_tables,
    row_tile_sizes,
)
from accsim.mapping.base import check_choices, register_dataflow
from accsim.mapping.compiled import CompiledDataflow, Lowered, Placed, Points, Writer
from accsim.mapping.flat_lower import KEPT, lower_flat
from accsim.mapping.flat_shape import At, Variant, flat_shape
from accsim.mapping.flat_tile import (
    GRANULARITIES,
    STAYS,
    blocks_of_tiles,
    heads_of_tile,
    op_of_tiles,
    problem_of_tiles,
    stagings,
    why_outputs_stay,
    with_passing_outputs,
)
from accsim.mapping.kv_format import kv_numbers
from accsim.mapping.machine_numbers import STATIONARY
from accsim.mapping.placed import by_loops, given_numbers
from accsim.workload.ops import Attention, Op


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
        for every tile), O of a tile (else its partial sums leave after every key block, and come back for the next).
        ``"qkvo"`` stages all, ``"none"`` nothing. Searched are those with Q and O and, where such a tile does not fit,
        the same without O.
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
                "staged": tuple(STAYS),
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
        whole = self._whole(op, acc, fine=fine)
        passing = [] if self.staged else [points for stays in whole for points in self._passing(op, acc, stays)]
        if self.spill == 0:
            return whole + passing
        spilled = [points for points in (self._spilled(op, acc, points) for points in whole) if len(points.table)]
        if self.spill is None:
            return whole + passing + spilled
        if not spilled:
            raise MappingError(f"'{op.name}': spill={self.spill} leaves no key block of a row of scores on the chip")
        return spilled

    def _whole(self, op: Attention, acc: Accelerator, *, fine: bool) -> list[Points]:
        """The points without a spill; K is V too only where it stays."""
        found: list[Points] = []
        for tile, tables in self._tiles(op, acc, fine=fine).items():
            staged = stagings(op, self.staged, heads_of_tile(op, acc, tile))
            ahead = [self.pipelined] if self.pipelined is not None else [False, True]
            two_pass = [self.softmax == "two_pass"] if self.softmax else [False, True]
            for (loops, table), name, behind, two in product(tables.items(), staged, ahead, two_pass):
                q, k, v, o = (letter in STAYS[name] for letter in "qkvo")
                variant = Variant(q, k, v, o, False, behind, two, False, loops, tile, op.shared_kv and k)
                found += with_passing_outputs(op, acc, variant, table)
        if not found:
            raise MappingError(why_outputs_stay(op, acc, str(self.staged)))
        return found

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
                together = heads_of_tile(op, acc, tile)
                if together not in heads:
                    found[tile] = self._tables(op, acc, tile, fine=fine)
                    heads.add(together)
        return found

    def _tables(self, op: Attention, acc: Accelerator, granularity: str, *, fine: bool) -> Tables:
        together = heads_of_tile(op, acc, granularity)
        op = op_of_tiles(op, together)
        rows = [op.q_len * op.heads // op.kv_heads]
        if granularity == "row":
            rows = row_tile_sizes(op, acc, self.rows, fine=fine)
        keys = [self.block_kv] if self.block_kv else key_block_sizes(op, acc, 4, fine=fine)
        if together > 1:
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

    def _sizes(self, op: Attention, acc: Accelerator, points: Points) -> tuple[Lowered, IntArray]:
        """The sizes among the points, and which each has: a stationary form changes no buffer."""
        _, sizes, each = np.unique(points.table[:, :2], axis=0, return_index=True, return_inverse=True)
        return self.lower(op, acc, Points(points.variant, points.table[sizes]), actions=False), each.reshape(-1)

    def _passing(self, op: Attention, acc: Accelerator, points: Points) -> list[Points]:
        """The points that fit only with an O that does not stay."""
        found = []
        for passing in with_passing_outputs(op, acc, Variant(*points.variant)._replace(o=False), points.table):
            stays, each = self._sizes(op, acc, Points(points.variant, passing.table))
            passes, _ = self._sizes(op, acc, passing)
            found.append(Points(passing.variant, passing.table[(passes.fits() & ~stays.fits())[each]]))
        return [points for points in found if len(points.table)]

    def _spilled(self, op: Attention, acc: Accelerator, points: Points) -> Points:
        """The points whose rows of scores do not fit, with the key blocks that do as a further column."""
        variant = Variant(*points.variant)._replace(spilled=True)
        blocks = blocks_of_tiles(op, acc, points)
        table = np.column_stack([points.table, np.ones(len(blocks), np.int64)])
        if self.spill is not None:
            table[:, KEPT] = blocks - self.spill
            return Points(variant, table[table[:, KEPT] > 0])
        lowered, each = self._sizes(op, acc, Points(variant, table))
        local = acc.memories[0].name
        here = np.array([memory == local for memory in lowered.shape.buffers.values()])
        need = lowered.block.slots * lowered.block.slot_bytes * here
        names = list(lowered.shape.buffers)
        one = need[:, names.index("scores")]
        room = lowered.shape.capacities[local] - need.sum(axis=1) + one
        table[:, KEPT] = (room // one)[each]
        fits_whole = ((room + need[:, names.index("out") + 1 :].sum(axis=1)) // one)[each] >= blocks
        return Points(variant, table[~fits_whole & (table[:, KEPT] > 0)])

    def placed(self, op: Op, acc: Accelerator, columns: Mapping[str, IntArray]) -> list[Placed]:
        assert isinstance(op, Attention)
        tiles = given_numbers(self, columns, "rows", "block_kv")
        forms = self._forms(acc)
        several = len(forms) > 1 or len(op.runs) > 1 or op.causal or op.window or op.shared_kv
        if tiles is None or several or self.pipelined is None or self.softmax is None or self.spill != 0:
            return []
        if self.staged is None or "o" not in STAYS[self.staged]:
            return []
        q, k, v, o = (letter in STAYS[self.staged] for letter in "qkvo")
        kinds = (q, k, v, o, False, self.pipelined, self.softmax == "two_pass", False)
        return [
            Placed(Points(Variant(*kinds, loops, "row"), one.points.table), one.at)
            for loops, one in by_loops(op, acc, tiles, forms[0])
        ]

    def complete(self, op: Op, acc: Accelerator, points: Points, i: int) -> Flat:
        assert isinstance(op, Attention)
        variant = Variant(*points.variant)
        row, key, logit, attend = points.table[i, :KEPT].tolist()
        spill = int(blocks_of_tiles(op, acc, points)[i] - points.table[i, KEPT]) if variant.spilled else 0
        rows = row if variant.granularity == "row" else None
        names = {code: name for name, code in STATIONARY.items()}
        return Flat(
            variant.granularity, rows, key, variant.staged, variant.pipelined, names[logit],
            names[attend] if attend != logit else None, "two_pass" if variant.two_pass else "three_pass", spill,
        )  # fmt: skip

    def writer(self, op: Op, acc: Accelerator, variant: tuple[Any, ...]) -> Writer:
        assert isinstance(op, Attention)
        variant = Variant(*variant)
        machine, conversion = kv_numbers(op, acc)
        shape = flat_shape(acc, variant, conversion is not None)
        at = At(*shape.places(At._fields))
        tiles, kept = problem_of_tiles(op, acc, variant.granularity), (variant.q, variant.k, variant.v, variant.o)
        return Writer.compiled(shape, lower_flat, *tiles, kept, variant.pipelined, at, machine, conversion)


register_dataflow("flat", Flat)

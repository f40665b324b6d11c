"""Which chips of a slice hold which rows of which embedding table.

A table, or several alike, has a *sharding*:

- ``replicated``: every chip holds all rows;
- ``table``: a chip holds the whole table;
- ``row``: rows are dealt over chips in turn (the "mod" sharding of TPUs);
- ``column``: each of some chips holds a piece of every row.

On a chip, rows are dealt over its tiles in turn. Tables are dealt one after the other, as if stacked: row r of a table
with R rows of others before it is at position R + r, on chip ``first + (R + r) mod chips`` and on tile
``(R + r) // chips mod tiles`` of that chip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accsim.config.checks import ArgumentChecks, shown
from accsim.errors import InputError, Problem, nearest
from accsim.workload.embeddings import OPTIMIZER_STATE, EmbeddingSet, Table
from accsim.workload.ops_base import tensor_bytes

SHARDINGS: Final = ("replicated", "table", "row", "column")
"""Kinds of sharding."""
MOST_CHIPS: Final = 2**16
ROW_ALIGN_BYTES: Final = 32
"""A row, or a row of an optimizer's state, is padded to a multiple of this. Source: OpenXLA documentation, "A deep dive
into SparseCore for Large Embedding Models": widths are padded to 32 B."""
SHOWN_TABLES: Final = 8
"""Tables that an error about memory names."""


@dataclass(frozen=True, slots=True)
class Sharding:
    """How a table, or several alike, lies on chips.

    Parameters
    ----------
    kind
        One of `SHARDINGS`.
    chips
        Chips that each table is over: those that share its rows, or the pieces of its width. 1 for the other kinds.
    firsts
        The first of these chips, for each of the tables alike, or one for all of them. The others are those behind it.

    Raises
    ------
    InputError
        With every field that is out of range.
    """

    kind: str
    chips: int = 1
    firsts: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.choice("kind", SHARDINGS)
        if check.count("chips", most=MOST_CHIPS) and self.kind in ("replicated", "table") and self.chips != 1:
            check.fail("chips", f"read {self.chips}, allowed is 1: the kind '{self.kind}' does not cut a table")
        if check.sequence("firsts", int, "whole numbers") and not (self.firsts and min(self.firsts) >= 0):
            check.fail("firsts", f"read {self.firsts}, allowed are chips from 0 on, at least one")
        check.finish()


class Share(NamedTuple):
    """One table where it lies.

    Attributes
    ----------
    table
        It, or those alike.
    sharding
        How it is cut.
    first
        First of its chips.
    offset
        Position of its row 0: rows of all tables before it.
    """

    table: Table
    sharding: Sharding
    first: int
    offset: int

    @property
    def width(self) -> int:
        """Elements of a row that a chip holds."""
        return self.table.width // self.sharding.chips if self.sharding.kind == "column" else self.table.width

    @property
    def owners(self) -> int:
        """Chips that the rows are dealt over."""
        return self.sharding.chips if self.sharding.kind == "row" else 1

    @property
    def pieces(self) -> int:
        """Chips that hold a piece of the same row each."""
        return self.sharding.chips if self.sharding.kind == "column" else 1

    @property
    def row_bytes(self) -> int:
        """Bytes of a row on a chip, padded."""
        return _padded(tensor_bytes(self.width, self.table.dtype))

    @property
    def state_bytes(self) -> int:
        """Bytes of a row's optimizer state on a chip: numbers for each element, padded, and for the row, in fp32."""
        an_element, a_row = OPTIMIZER_STATE[self.table.optimizer]
        return an_element * _padded(4 * self.width) + 4 * a_row

    @property
    def chip_bytes(self) -> int:
        """Bytes of rows and their state on each chip that it lies on; ⌈rows / owners⌉ rows."""
        return -(-self.table.rows // self.owners) * (self.row_bytes + self.state_bytes)


def _padded(size: int) -> int:
    return -(-size // ROW_ALIGN_BYTES) * ROW_ALIGN_BYTES


@dataclass(frozen=True, slots=True)
class Placement:
    """The sharding of every table over the chips of a slice.

    Parameters
    ----------
    chips
        Of the slice.
    shardings
        By name of table; those alike have one name.

    Raises
    ------
    InputError
        With every table that is over more chips than there are, or whose rows are over chips that make no group.
    """

    chips: int
    shardings: Mapping[str, Sharding]

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.count("chips", most=MOST_CHIPS)
        check.mapping("shardings")
        check.finish()
        for name, one in self.shardings.items():
            self._check_one(check, f"shardings['{name}']", one)
        check.finish()

    def _check_one(self, check: ArgumentChecks, field: str, one: object) -> None:
        if not isinstance(one, Sharding):
            check.fail(field, f"read {shown(one)}, allowed is Sharding(...)")
        elif max(one.firsts) + one.chips > self.chips:
            read = f"{one.chips} chips from chip {max(one.firsts)} on"
            check.fail(field, f"read {read}, allowed are the {self.chips} chips of the slice")
        elif one.kind == "row" and (self.chips % one.chips or any(first % one.chips for first in one.firsts)):
            read = f"rows over {one.chips} chips from chips {shown(one.firsts)} on"
            allowed = f"groups of a divisor of {self.chips} chips that begin at multiples of it"
            check.fail(field, f"read {read}, allowed are {allowed}")

    def shares(self, embeddings: EmbeddingSet) -> tuple[Share, ...]:
        """Every table, those alike one by one, in the order of the set.

        Raises
        ------
        InputError
            With every table without a sharding, and every sharding without a table or that does not fit its table.
        """
        self._check(embeddings)
        found, offset = [], 0
        for table in embeddings.tables:
            one = self.shardings[table.name]
            firsts = one.firsts * table.count if len(one.firsts) == 1 else one.firsts
            for first in firsts:
                found.append(Share(table, one, first, offset))
                offset += table.rows
        return tuple(found)

    def _check(self, embeddings: EmbeddingSet) -> None:
        tables = {table.name: table for table in embeddings.tables}
        problems = [
            Problem("placement", name, "no such table", nearest(name, tables))
            for name in self.shardings
            if name not in tables
        ]
        for name, table in tables.items():
            one = self.shardings.get(name)
            if one is None:
                problems.append(
                    Problem("placement", name, f"the table has no sharding, allowed are {', '.join(SHARDINGS)}")
                )
            elif len(one.firsts) not in (1, table.count):
                allowed = f"one for each of the {table.count} tables, or one for all"
                message = f"read {len(one.firsts)} first chips, allowed are {allowed}"
                problems.append(Problem("placement", name, message))
            elif one.kind == "column" and table.width % one.chips:
                message = f"read {one.chips} pieces of a width of {table.width}, allowed are divisors of it"
                problems.append(Problem("placement", name, message))
        if problems:
            raise InputError(problems)

    def held_bytes(self, embeddings: EmbeddingSet) -> NDArray[np.int64]:
        """Bytes of rows and optimizer state on each chip, int64[chips]; `Share.chip_bytes` has the formula."""
        held = np.zeros(self.chips, np.int64)
        for share in self.shares(embeddings):
            held[_chips_of(share)] += share.chip_bytes
        return held

    def check_memory(self, embeddings: EmbeddingSet, chip_bytes: float) -> None:
        """Refuse a placement that does not fit.

        Parameters
        ----------
        embeddings
            The tables.
        chip_bytes
            Memory of a chip that tables may take.

        Raises
        ------
        InputError
            With the fullest chip, what it would hold and the largest tables on it.
        """
        held = self.held_bytes(embeddings)
        fullest = int(held.argmax())
        if held[fullest] <= chip_bytes:
            return
        parts: dict[str, int] = {}
        for share in self.shares(embeddings):
            if fullest in range(self.chips)[_chips_of(share)]:
                parts[share.table.name] = parts.get(share.table.name, 0) + share.chip_bytes
        largest = sorted(parts.items(), key=lambda part: -part[1])
        named = ", ".join(f"{name} {size:,} B" for name, size in largest[:SHOWN_TABLES])
        rest = f" and {len(largest) - SHOWN_TABLES} more tables" if len(largest) > SHOWN_TABLES else ""
        message = f"chip {fullest} would hold {held[fullest]:,} B, allowed are {chip_bytes:,.0f} B: {named}{rest}"
        raise InputError(Problem("placement", "", message))


def _chips_of(share: Share) -> slice:
    """Chips that a table lies on."""
    if share.sharding.kind == "replicated":
        return slice(None)
    return slice(share.first, share.first + share.sharding.chips)


def row_sharded(embeddings: EmbeddingSet, chips: int) -> Placement:
    """Every table's rows over all chips: the public default of TPUs.

    Examples
    --------
    >>> from accsim.workload.catalogue import load_workload
    >>> tables = load_workload("dlrm_dcnv2").embeddings
    >>> round(int(row_sharded(tables, 128).held_bytes(tables).max()) / 2**20)  # rows and Adagrad's sums, MiB a chip
    1558
    """
    return Placement(chips, {table.name: Sharding("row", chips) for table in embeddings.tables})

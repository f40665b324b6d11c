"""Stacks: tables that are placed and updated alike, so that one instruction of a unit can serve all of them.

On chips that do not share rows with each other, a stack is a list of tables each; chips with the same list are alike.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from accsim.embedding.imbalance import Imbalance
from accsim.embedding.placement import Placement, Share
from accsim.embedding.work import StackWork
from accsim.workload.embeddings import EmbeddingSet
from accsim.workload.ops_base import tensor_bytes


class Cells(NamedTuple):
    """Groups of chips with tables alike.

    Attributes
    ----------
    tables
        Of each group, with the features that read them.
    firsts
        First chip of each group.
    """

    tables: EmbeddingSet
    firsts: tuple[int, ...]


class Stack(NamedTuple):
    """Tables of one sharding, width, data type and optimizer.

    Attributes
    ----------
    shares
        Its tables, those alike one by one.
    numbers
        Of them among all tables, those alike one by one.
    tables
        The same with the features that read them.
    cells
        Groups of chips that have some of them; rows are dealt over the chips of a group.
    """

    shares: tuple[Share, ...]
    numbers: tuple[int, ...]
    tables: EmbeddingSet
    cells: tuple[Cells, ...]

    @property
    def name(self) -> str:
        """What its tables are: sharding, width, data type, optimizer."""
        one = self.shares[0]
        return f"{one.sharding.kind} {one.width} {one.table.dtype} {one.table.optimizer}"

    @property
    def vector_bytes(self) -> int:
        """Bytes of a row, or of a sum of rows, that travels."""
        return tensor_bytes(self.shares[0].width, self.shares[0].table.dtype)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the rows of all its tables, without padding."""
        return sum(share.table.rows for share in self.shares) * self.vector_bytes

    @property
    def idle(self) -> StackWork:
        """Its work in a step without any."""
        none, one = Imbalance(0.0, 0.0), self.shares[0]
        return StackWork(
            self.name,
            self.tables.feature_count,
            one.width,
            one.table.dtype,
            one.table.optimizer,
            looked_up=0.0,
            asked=none,
            served=none,
            fetched=none,
            combined=none,
            sent=none,
            received=0.0,
            joined=0.0,
            updated=none,
            replicated=self.replicated,
            pieces=self.pieces,
        )

    @property
    def owners(self) -> int:
        """Chips of a group."""
        return self.shares[0].owners

    def chips(self, cells: Cells) -> list[int]:
        """Chips of all groups of a cell."""
        return [first + i for first in cells.firsts for i in range(self.owners)]

    def groups(self, cells: Cells) -> int:
        """Groups of chips of a cell that hold rows of their own, not another piece of the same."""
        return max(1, len(cells.firsts) // self.pieces)

    @property
    def pieces(self) -> int:
        """Chips that hold a piece of the same row each."""
        return self.shares[0].pieces

    @property
    def replicated(self) -> bool:
        """Whether every chip holds all rows."""
        return self.shares[0].sharding.kind == "replicated"


def stacks(embeddings: EmbeddingSet, placement: Placement) -> tuple[Stack, ...]:
    """The stacks of a placement, in the order of their first tables; a table that no feature reads is in none."""
    read = {feature.table for feature in embeddings.features}
    found: dict[tuple[object, ...], list[tuple[int, Share]]] = defaultdict(list)
    for number, share in enumerate(placement.shares(embeddings)):
        kind, chips = share.sharding.kind, share.sharding.chips
        if share.table.name in read:
            found[kind, chips, share.width, share.table.dtype, share.table.optimizer].append((number, share))
    return tuple(_stack(embeddings, placement.chips, members) for members in found.values())


def _stack(embeddings: EmbeddingSet, chips: int, members: list[tuple[int, Share]]) -> Stack:
    held: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for _, share in members:
        replicated = share.sharding.kind == "replicated"
        for first in range(chips) if replicated else range(share.first, share.first + share.pieces):
            held[first][share.table.name] += 1
    alike: dict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
    for first, tables in sorted(held.items()):
        alike[tuple(tables.items())].append(first)
    cells = tuple(Cells(part_of(embeddings, dict(tables)), tuple(firsts)) for tables, firsts in alike.items())
    numbers, shares = zip(*members, strict=True)
    counts = Counter(share.table.name for share in shares)
    return Stack(shares, numbers, part_of(embeddings, counts), cells)


def part_of(embeddings: EmbeddingSet, counts: Mapping[str, int]) -> EmbeddingSet:
    """Some of the tables, each so often, and the features that read them."""
    tables = tuple(replace(table, count=counts[table.name]) for table in embeddings.tables if table.name in counts)
    features = tuple(
        replace(reading.feature, count=reading.times * table.count)
        for table in tables
        for reading in embeddings.readings(embeddings.table(table.name))
    )
    return EmbeddingSet(tables, features)

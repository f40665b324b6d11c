"""A step's work of embedding units and network, counted from a batch of a trace."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accsim.embedding.busiest import NOTHING, StackLoads, stack_works
from accsim.embedding.imbalance import SCOPES, Imbalance
from accsim.embedding.placement import Placement, Share
from accsim.embedding.stacks import Stack, stacks
from accsim.embedding.step_work import MOST_TILES
from accsim.embedding.trace import Bags, IntArray, TraceBatch
from accsim.embedding.unique import check_between
from accsim.embedding.work import ID_BYTES, Exchange, StepWork
from accsim.errors import InputError, Problem, check_choice
from accsim.kernels.embedding import count_exchange, count_lookups
from accsim.workload.embeddings import EmbeddingSet

LOOKUPS, BY_ASKER, PARTS = range(3)
"""What pairs of chips are counted: lookups, rows once for each asker, bags of which the owner has rows."""
ONCE = 2
"""What tiles are counted beside lookups and rows once for each asker: rows once."""


def count_step_work(
    batch: TraceBatch, embeddings: EmbeddingSet, placement: Placement, *, dedup: str, tiles: int
) -> StepWork:
    """Work of a step that a batch makes.

    Parameters
    ----------
    batch
        What is looked up; its samples are dealt over the chips in blocks as equal as can be.
    embeddings
        The tables of the batch.
    placement, dedup, tiles
        As in `accsim.embedding.step_work`.

    Returns
    -------
    StepWork
        What is sent between chips is a matrix wherever anything is.

    Raises
    ------
    InputError
        If a number or the scope is out of range, the placement or the batch is not one of these tables, there are more
        chips than samples, or an id is of no row.
    """
    check_choice("dedup", dedup, SCOPES)
    check_between("chips", placement.chips, batch.samples)
    check_between("tiles", tiles, MOST_TILES)
    found = stacks(embeddings, placement)
    _check_tables(batch, embeddings)
    counts = [_count(batch, stack, placement.chips, tiles) for stack in found]
    loads = [_loads(stack, one, dedup) for stack, one in zip(found, counts, strict=True)]
    works = stack_works(loads, placement.chips, tiles)
    samples = batch.samples / placement.chips
    return StepWork(samples, placement.chips, tiles, dedup, works, _exchange(found, counts, dedup), counted=True)


class _Counts(NamedTuple):
    """What a stack is asked for.

    Attributes
    ----------
    pairs
        int64[askers, owners, 3], as in `count_exchange`; of replicated rows, none.
    tiles
        int64[chips, tiles, 3], as there.
    lookups
        All of them, once whatever the pieces.
    lookups_of_many, parts_of_many
        Those of bags of two rows and more; parts where the rows of a table may lie on several chips.
    """

    pairs: IntArray
    tiles: IntArray
    lookups: int
    lookups_of_many: int
    parts_of_many: int


def _check_tables(batch: TraceBatch, embeddings: EmbeddingSet) -> None:
    tables = [table for table in embeddings.tables for _ in range(table.count)]
    if len(batch.rows) != len(tables):
        raise InputError(f"the batch is of {len(batch.rows)} tables, the model has {len(tables)}")
    problems = [
        Problem("trace", table.name, f"the batch has {rows} rows of this table, the model {table.rows}")
        for table, rows in zip(tables, batch.rows, strict=True)
        if rows != table.rows
    ]
    if problems:
        raise InputError(problems)


def _count(batch: TraceBatch, stack: Stack, chips: int, tiles: int) -> _Counts:
    pairs, at_tiles = np.zeros((chips, chips, 3), np.int64), np.zeros((chips, tiles, 3), np.int64)
    lookups = of_many = parts = 0
    for number, share in zip(stack.numbers, stack.shares, strict=True):
        bags = batch.of_table(number, chips)
        alone = int((np.diff(bags.starts) == 1).sum())
        lookups += len(bags.ids)
        of_many += len(bags.ids) - alone
        if stack.replicated:
            at_tiles += _count_own(bags, share, chips, tiles)
            continue
        asked, fetched = _count_asked(bags, share, tiles)
        parts += int(asked[:, :, PARTS].sum()) - alone
        for piece in range(share.pieces):
            at = slice(share.first + piece, share.first + piece + share.owners)
            pairs[:, at] += asked
            at_tiles[at] += fetched
    return _Counts(pairs, at_tiles, lookups, of_many * stack.pieces, parts if stack.owners > 1 else 0)


def _count_asked(bags: Bags, share: Share, tiles: int) -> tuple[IntArray, IntArray]:
    """Pairs of askers and owners of a piece, and the owners' tiles."""
    owners = share.owners
    pairs = np.zeros((len(bags.chips) - 1, owners, 3), np.int64)
    shards = np.zeros((tiles * owners, 3), np.int64)
    seen = np.zeros((-(-share.table.rows // 64), 2), np.uint64)
    owner_of, last = np.arange(len(shards)) % owners, np.full(owners, -1)
    count_exchange(bags.ids, bags.starts, bags.chips, share.offset % len(shards), owner_of, seen, last, pairs, shards)
    return pairs, shards.reshape(tiles, owners, 3).swapaxes(0, 1)


def _count_own(bags: Bags, share: Share, chips: int, tiles: int) -> IntArray:
    """Tiles of chips that have all rows; each rewrites every row that any of them looks up."""
    found, once = np.zeros((2, chips, tiles), np.int64), np.zeros((2, 1, tiles), np.int64)
    seen, first = np.zeros(-(-share.table.rows // 64), np.uint64), share.offset % tiles
    count_lookups(bags.ids, bags.starts[bags.chips], first, tiles, seen, found[0], found[1])
    count_lookups(bags.ids, bags.starts[bags.chips[[0, -1]]], first, tiles, seen, once[0], once[1])
    return np.stack([found[0], found[1], np.broadcast_to(once[1], (chips, tiles))], axis=2)


def _loads(stack: Stack, counts: _Counts, dedup: str) -> StackLoads:
    ids, vectors = _moved(counts, dedup)
    rows_travel = dedup == "source" and not stack.replicated
    fetched = {"none": LOOKUPS, "source": BY_ASKER, "owner": BY_ASKER if stack.replicated else ONCE}[dedup]
    held = [stack.chips(cells) for cells in stack.cells]
    many = counts.lookups_of_many if rows_travel else counts.parts_of_many
    return StackLoads(
        stack,
        counts.lookups / len(vectors),
        asked=Imbalance.of(ids.sum(axis=1)),
        received=float(vectors.sum()) / len(vectors),
        joined=0.0 if stack.replicated else many / len(vectors),
        served=[Imbalance.of(ids[:, chips].sum(axis=0)) for chips in held],
        sent=[Imbalance.of(vectors[:, chips].sum(axis=0)) for chips in held],
        fetched=[Imbalance.of(counts.tiles[chips, :, fetched]) for chips in held],
        combined=[NOTHING if rows_travel else Imbalance.of(counts.tiles[chips, :, LOOKUPS]) for chips in held],
        updated=[Imbalance.of(counts.tiles[chips, :, ONCE]) for chips in held],
    )


def _moved(counts: _Counts, dedup: str) -> tuple[IntArray, IntArray]:
    """Ids and vectors of each asker and owner."""
    kinds = (BY_ASKER, BY_ASKER) if dedup == "source" else (LOOKUPS, PARTS)
    ids, vectors = (counts.pairs[:, :, kind] for kind in kinds)
    return ids, vectors


def _exchange(found: tuple[Stack, ...], counts: list[_Counts], dedup: str) -> Exchange:
    reduced = sum(stack.weight_bytes for stack in found if stack.replicated)
    moved = [(stack, *_moved(one, dedup)) for stack, one in zip(found, counts, strict=True) if not stack.replicated]
    if not moved:
        return Exchange(0.0, 0.0, reduced)
    ids = np.sum([ID_BYTES * asked for _, asked, _ in moved], axis=0, dtype=np.float64)
    vectors = np.sum([stack.vector_bytes * sent.T for stack, _, sent in moved], axis=0, dtype=np.float64)
    return Exchange(ids, vectors, reduced)

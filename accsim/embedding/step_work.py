"""A step's work of embedding units and network from statistics, without a trace."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final, NamedTuple

from accsim.config.checks import MAX_SIZE, shown
from accsim.embedding.asked import expected_asked, largest_normal
from accsim.embedding.demand import Owned, pair_bytes
from accsim.embedding.imbalance import SCOPES, Imbalance, expected_imbalance
from accsim.embedding.parts import expected_parts, expected_sums
from accsim.embedding.placement import Placement
from accsim.embedding.stacks import Stack, stacks
from accsim.embedding.work import Exchange, StackWork, StepWork
from accsim.errors import InputError, Problem, check_choice
from accsim.workload.embeddings import EmbeddingSet

ID_BYTES: Final = 4
"""Bytes of an id that travels. No header is counted."""
MOST_TILES: Final = 2**12


def step_work(embeddings: EmbeddingSet, samples: int, placement: Placement, *, dedup: str, tiles: int) -> StepWork:
    """Work of a step, expected from the laws of the tables.

    Parameters
    ----------
    embeddings
        Tables and features.
    samples
        Of each chip.
    placement
        Which chip holds which rows.
    dedup
        Where duplicates are dropped, one of `SCOPES`. ``none``: nowhere; owners send sums of bags, or parts of them.
        ``source``: a chip asks for a row once, rows travel as they are and it adds them up. ``owner``: an owner fetches
        a row once and sends sums of bags, or parts of them.
    tiles
        Of a chip.

    Raises
    ------
    InputError
        If a number or the scope is out of range, or the placement is not one of these tables.
    """
    check_choice("dedup", dedup, SCOPES)
    problems = [
        Problem("argument", name, f"read {shown(value)}, allowed is a whole number from 1 to {most}")
        for name, value, most in (("samples", samples, MAX_SIZE // placement.chips), ("tiles", tiles, MOST_TILES))
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most
    ]
    if problems:
        raise InputError(problems)
    scale = _Scale(samples, placement.chips, tiles, dedup)
    found = [_found(scale, stack) for stack in stacks(embeddings, placement)]
    works = tuple(one.work for one in found)
    return StepWork(samples, placement.chips, tiles, dedup, works, _exchange(scale, found))


class _Scale(NamedTuple):
    """Size of the step."""

    samples: int
    chips: int
    tiles: int
    dedup: str


class _Found(NamedTuple):
    """A stack's work, and what the owners in each of its cells are sent and send."""

    stack: Stack
    work: StackWork
    served: list[Imbalance]
    sent: list[Imbalance]


def _found(scale: _Scale, stack: Stack) -> _Found:
    if stack.replicated:
        return _Found(stack, _replicated(scale, stack), [], [])
    return _rows_travel(scale, stack) if scale.dedup == "source" else _sums_travel(scale, stack)


def _idle(scale: _Scale, stack: Stack) -> StackWork:
    """What is looked up, and nothing done yet."""
    return replace(stack.idle, looked_up=scale.samples * stack.tables.lookups_per_sample)


def _replicated(scale: _Scale, stack: Stack) -> StackWork:
    """Each chip looks up its own samples; all of them update what the whole batch has looked up."""
    own, tables, tiles = scale.samples, stack.tables, scale.tiles
    looked_up = expected_imbalance(tables, own, shards=tiles, dedup="none")
    chance = largest_normal(tiles * scale.chips) - largest_normal(tiles)  # hot rows are on the same tile of every chip
    looked_up = Imbalance(looked_up.mean, looked_up.largest + chance * math.sqrt(looked_up.largest))
    distinct = expected_imbalance(tables, own, shards=tiles, dedup="owner", groups=scale.chips)
    updated = expected_imbalance(tables, own * scale.chips, shards=tiles, dedup="owner")
    fetched = looked_up if scale.dedup == "none" else distinct
    return replace(_idle(scale, stack), fetched=fetched, combined=looked_up, updated=updated)


def _rows_travel(scale: _Scale, stack: Stack) -> _Found:
    """A chip asks for a row once and adds rows up itself."""
    asked = _asked(scale, stack, distinct=True)
    served = _loads(scale, stack, "source", 1)
    at_owners = _over_all(scale, stack, served)
    work = replace(
        _idle(scale, stack),
        asked=asked,
        served=at_owners,
        fetched=_at_tiles(scale, stack, "source"),
        sent=at_owners,
        received=asked.mean,
        joined=scale.samples * stack.pieces * _lookups_of_many(stack.tables),
        updated=_at_tiles(scale, stack, "owner"),
    )
    return _Found(stack, work, served, served)


def _sums_travel(scale: _Scale, stack: Stack) -> _Found:
    """Owners add up what they have of each bag."""
    served = _loads(scale, stack, "none", 1)
    batch = scale.samples * scale.chips
    sent = [expected_sums(c.tables, batch, owners=stack.owners, groups=stack.groups(c)) for c in stack.cells]
    looked_up, distinct = (_at_tiles(scale, stack, scope) for scope in ("none", "owner"))
    parts = expected_parts(stack.tables, stack.owners)
    work = replace(
        _idle(scale, stack),
        asked=_asked(scale, stack, distinct=False),
        served=_over_all(scale, stack, served),
        fetched=looked_up if scale.dedup == "none" else distinct,
        combined=looked_up,
        sent=_over_all(scale, stack, sent),
        received=scale.samples * stack.pieces * parts.sent,
        joined=scale.samples * stack.pieces * parts.joined,
        updated=distinct,
    )
    return _Found(stack, work, served, sent)


def _asked(scale: _Scale, stack: Stack, *, distinct: bool) -> Imbalance:
    asked = expected_asked(stack.tables, scale.samples, chips=scale.chips, distinct=distinct)
    return Imbalance(asked.mean * stack.pieces, asked.largest * stack.pieces)


def _lookups_of_many(tables: EmbeddingSet) -> float:
    """Lookups of a sample in bags of two rows and more."""
    return sum(f.count * (f.valency.mean - float(f.valency.probabilities()[1:2].sum())) for f in tables.features)


def _loads(scale: _Scale, stack: Stack, dedup: str, tiles: int) -> list[Imbalance]:
    """Rows at the chips, or at the tiles, of each cell."""
    batch, shards = scale.samples * scale.chips, stack.owners * tiles
    return [
        expected_imbalance(c.tables, batch, shards=shards, dedup=dedup, chips=scale.chips, groups=stack.groups(c))
        for c in stack.cells
    ]


def _at_tiles(scale: _Scale, stack: Stack, dedup: str) -> Imbalance:
    return _over_all(scale, stack, _loads(scale, stack, dedup, scale.tiles))


def _over_all(scale: _Scale, stack: Stack, loads: list[Imbalance]) -> Imbalance:
    """Mean and largest over the slice of the loads of its cells."""
    chips = [len(cells.firsts) * stack.owners for cells in stack.cells]
    mean = sum(count * load.mean for count, load in zip(chips, loads, strict=True)) / scale.chips
    return Imbalance(mean, max(load.largest for load in loads))


def _exchange(scale: _Scale, found: list[_Found]) -> Exchange:
    moved = [one for one in found if not one.stack.replicated]
    reduced = sum(one.stack.weight_bytes for one in found if one.stack.replicated)
    ids = pair_bytes(scale.chips, [Owned(one.stack, one.served, ID_BYTES) for one in moved])
    vectors = pair_bytes(scale.chips, [Owned(one.stack, one.sent, one.stack.vector_bytes) for one in moved])
    return Exchange(ids, vectors if isinstance(vectors, float) else vectors.T, reduced)

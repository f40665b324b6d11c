"""A step's work of embedding units and network from statistics, without a trace."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from accsim.config.checks import MAX_SIZE, shown
from accsim.embedding.asked import expected_asked, largest_normal
from accsim.embedding.busiest import NOTHING, StackLoads, stack_works
from accsim.embedding.demand import Owned, pair_bytes
from accsim.embedding.imbalance import SCOPES, Imbalance, expected_imbalance
from accsim.embedding.parts import expected_parts, expected_sums
from accsim.embedding.placement import Placement
from accsim.embedding.stacks import Stack, stacks
from accsim.embedding.work import ID_BYTES, Exchange, StepWork
from accsim.errors import InputError, Problem, check_choice
from accsim.workload.embeddings import EmbeddingSet

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
    scale = Scale(samples, placement.chips, tiles, dedup)
    found = [_loads(scale, stack) for stack in stacks(embeddings, placement)]
    works = stack_works(found, placement.chips, tiles)
    return StepWork(samples, placement.chips, tiles, dedup, works, _exchange(placement.chips, found))


class Scale(NamedTuple):
    """Size of a step: samples of a chip, chips, tiles of each, and where duplicates are dropped."""

    samples: int
    chips: int
    tiles: int
    dedup: str


def _loads(scale: Scale, stack: Stack) -> StackLoads:
    if stack.replicated:
        return _replicated(scale, stack)
    return _rows_travel(scale, stack) if scale.dedup == "source" else _sums_travel(scale, stack)


def _replicated(scale: Scale, stack: Stack) -> StackLoads:
    """Each chip looks up its own samples; all of them update what the whole batch has looked up."""
    own, tables, tiles = scale.samples, stack.tables, scale.tiles
    looked_up = expected_imbalance(tables, own, shards=tiles, dedup="none")
    chance = largest_normal(tiles * scale.chips) - largest_normal(tiles)  # hot rows are on the same tile of every chip
    looked_up = Imbalance(looked_up.mean, looked_up.largest + chance * math.sqrt(looked_up.largest))
    distinct = expected_imbalance(tables, own, shards=tiles, dedup="owner", groups=scale.chips)
    return StackLoads(
        stack,
        own * tables.lookups_per_sample,
        asked=NOTHING,
        received=0.0,
        joined=0.0,
        served=[NOTHING],
        sent=[NOTHING],
        fetched=[looked_up if scale.dedup == "none" else distinct],
        combined=[looked_up],
        updated=[expected_imbalance(tables, own * scale.chips, shards=tiles, dedup="owner")],
    )


def _rows_travel(scale: Scale, stack: Stack) -> StackLoads:
    """A chip asks for a row once and adds rows up itself."""
    asked, served = _asked(scale, stack, distinct=True), _shards(scale, stack, "source", 1)
    return StackLoads(
        stack,
        scale.samples * stack.tables.lookups_per_sample,
        asked,
        received=asked.mean,
        joined=scale.samples * stack.pieces * _lookups_of_many(stack.tables),
        served=served,
        sent=served,
        fetched=_shards(scale, stack, "source", scale.tiles),
        combined=[NOTHING] * len(stack.cells),
        updated=_shards(scale, stack, "owner", scale.tiles),
    )


def _sums_travel(scale: Scale, stack: Stack) -> StackLoads:
    """Owners add up what they have of each bag."""
    batch, parts = scale.samples * scale.chips, expected_parts(stack.tables, stack.owners)
    looked_up, distinct = (_shards(scale, stack, scope, scale.tiles) for scope in ("none", "owner"))
    return StackLoads(
        stack,
        scale.samples * stack.tables.lookups_per_sample,
        _asked(scale, stack, distinct=False),
        received=scale.samples * stack.pieces * parts.sent,
        joined=scale.samples * stack.pieces * parts.joined,
        served=_shards(scale, stack, "none", 1),
        sent=[expected_sums(c.tables, batch, owners=stack.owners, groups=stack.groups(c)) for c in stack.cells],
        fetched=looked_up if scale.dedup == "none" else distinct,
        combined=looked_up,
        updated=distinct,
    )


def _asked(scale: Scale, stack: Stack, *, distinct: bool) -> Imbalance:
    asked = expected_asked(stack.tables, scale.samples, chips=scale.chips, distinct=distinct)
    return Imbalance(asked.mean * stack.pieces, asked.largest * stack.pieces)


def _lookups_of_many(tables: EmbeddingSet) -> float:
    """Lookups of a sample in bags of two rows and more."""
    return sum(f.count * (f.valency.mean - float(f.valency.probabilities()[1:2].sum())) for f in tables.features)


def _shards(scale: Scale, stack: Stack, dedup: str, tiles: int) -> list[Imbalance]:
    """Rows at the chips, or at the tiles, of each cell."""
    batch, shards = scale.samples * scale.chips, stack.owners * tiles
    return [
        expected_imbalance(c.tables, batch, shards=shards, dedup=dedup, chips=scale.chips, groups=stack.groups(c))
        for c in stack.cells
    ]


def _exchange(chips: int, found: list[StackLoads]) -> Exchange:
    moved = [one for one in found if not one.stack.replicated]
    reduced = sum(one.stack.weight_bytes for one in found if one.stack.replicated)
    ids = pair_bytes(chips, [Owned(one.stack, one.served, ID_BYTES) for one in moved])
    vectors = pair_bytes(chips, [Owned(one.stack, one.sent, one.stack.vector_bytes) for one in moved])
    return Exchange(ids, vectors if isinstance(vectors, float) else vectors.T, reduced)

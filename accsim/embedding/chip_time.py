"""How long a chip of a slice is busy with a table, roughly: what a placer balances.

Parts of a chip's time add up, tables add up, and chips are told apart by what they own. Real overlap, links and
instruction overheads are the simulation's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from accsim.config.checks import ArgumentChecks
from accsim.embedding.law import FloatArray
from accsim.embedding.placement import Placement, Sharding, Share
from accsim.embedding.stacks import part_of
from accsim.embedding.step_work import Scale, step_work
from accsim.embedding.work import ID_BYTES, StackWork
from accsim.workload.embeddings import EmbeddingSet, Table
from accsim.workload.ops_base import tensor_bytes


@dataclass(frozen=True, slots=True)
class ChipRates:
    """What a chip does a second.

    Parameters
    ----------
    memory_bytes_per_s
        Rows that all its tiles read or write at random.
    network_bytes_per_s
        That it sends, and as many that it receives, when all chips exchange.
    elements_per_s
        Elements of rows that all its tiles add up.
    granule_bytes
        Bytes in multiples of which a row, and its state, is read and written.

    Raises
    ------
    InputError
        With every rate that is no number above 0.
    """

    memory_bytes_per_s: float
    network_bytes_per_s: float
    elements_per_s: float
    granule_bytes: int = 1

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.number("memory_bytes_per_s", "network_bytes_per_s", "elements_per_s", positive=True)
        check.count("granule_bytes")
        check.finish()

    def moved_s(self, *runs: int) -> float:
        """Seconds of runs of so many bytes in memory."""
        return sum(-(-size // self.granule_bytes) for size in runs) * self.granule_bytes / self.memory_bytes_per_s


class TableTime(NamedTuple):
    """Seconds of a step, and bytes, that a table of one sharding takes.

    Attributes
    ----------
    asker_s
        Of every chip.
    owner_s
        Of each chip that it lies on, besides.
    hot_s
        Of the one among these with most to do, besides.
    owner_bytes
        That each of these holds.
    """

    asker_s: float
    owner_s: float
    hot_s: float
    owner_bytes: int


def table_time(embeddings: EmbeddingSet, table: Table, sharding: Sharding, scale: Scale, rates: ChipRates) -> TableTime:
    """Seconds of a step that one table takes, forward and backward.

    Parameters
    ----------
    embeddings
        Tables and features.
    table
        One of its tables.
    sharding
        Of it.
    scale
        Of the step.
    rates
        Of a chip.

    Notes
    -----
    A chip's seconds: ids (half of those that it asks, half of those that it serves) and vectors (those that it sends
    and those that it gets, once each way) over the network's rate, those of the chip itself left out; rows fetched, and
    rows and states read and written again, over the memory's; elements added up, in the backward pass as many again,
    over the adders'. A gradient that is all-reduced passes the network twice.
    """
    share = Share(table, sharding, 0, 0)
    if not embeddings.readings(table):
        return TableTime(0.0, 0.0, 0.0, share.chip_bytes)
    chips, placement = scale.chips, Placement(scale.chips, {table.name: sharding})
    alone = part_of(embeddings, {table.name: 1})
    work = step_work(alone, scale.samples, placement, dedup=scale.dedup, tiles=scale.tiles)
    (stack,) = work.stacks
    costs = _costs(stack, share, chips, rates)
    asker = stack.asked.mean * costs.id_s + stack.received * costs.vector_s + stack.joined * costs.add_s
    reduced = 2 * work.exchange.all_reduced * costs.away / rates.network_bytes_per_s
    owner = _owner_s(stack, costs, scale.tiles, "mean") * chips / (chips if stack.replicated else sharding.chips)
    hot = max(_owner_s(stack, costs, scale.tiles, "largest") - owner, 0.0)
    return TableTime(asker + reduced, owner, hot, share.chip_bytes)


def chip_seconds(
    embeddings: EmbeddingSet, samples: int, placement: Placement, *, rates: ChipRates, dedup: str, tiles: int
) -> FloatArray:
    """Seconds of a step of every chip, float64[chips]: those of all tables, as `table_time` has them.

    Examples
    --------
    >>> from accsim.embedding import *
    >>> tables = EmbeddingSet((Table("t", rows=10**6, width=32),), (Feature("f", "t", Valency(10, 10)),))
    >>> rates = ChipRates(memory_bytes_per_s=1.2e12, network_bytes_per_s=1e11, elements_per_s=5e11)
    >>> for sharding in Sharding("table"), Sharding("row", 4):
    ...     seconds = chip_seconds(tables, 512, Placement(4, {"t": sharding}), rates=rates, dedup="owner", tiles=64)
    ...     print([round(1e6 * one, 1) for one in seconds.tolist()])
    [18.1, 0.6, 0.6, 0.6]
    [8.6, 7.5, 7.5, 7.5]
    """
    seconds, times = np.zeros(placement.chips), {}
    scale = Scale(samples, placement.chips, tiles, dedup)
    for number, share in enumerate(placement.shares(embeddings)):
        name, sharding = share.table.name, share.sharding
        if name not in times:
            one = Sharding(sharding.kind, sharding.chips)
            times[name] = table_time(embeddings, share.table, one, scale, rates)
        over = placement.chips if sharding.kind == "replicated" else sharding.chips
        add_time(seconds, times[name], share.first, over, number)
    return seconds


class _Costs(NamedTuple):
    """Seconds of a chip for each of what is counted, and the part of all chips that are others."""

    id_s: float
    vector_s: float
    add_s: float
    fetch_s: float
    update_s: float
    away: float


def _costs(stack: StackWork, share: Share, chips: int, rates: ChipRates) -> _Costs:
    away = (chips - 1) / chips
    return _Costs(
        id_s=away * ID_BYTES / 2 / rates.network_bytes_per_s,
        vector_s=away * tensor_bytes(stack.width, stack.dtype) / rates.network_bytes_per_s,
        add_s=2 * stack.width / rates.elements_per_s,
        fetch_s=rates.moved_s(share.row_bytes),
        update_s=2 * rates.moved_s(share.row_bytes, share.state_bytes),
        away=away,
    )


def _owner_s(stack: StackWork, costs: _Costs, tiles: int, load: Literal["mean", "largest"]) -> float:
    """Seconds of an owner with the mean load, of all chips, or the largest; a chip waits for its busiest tile."""
    served, sent, fetched, combined, updated = (
        getattr(one, load) for one in (stack.served, stack.sent, stack.fetched, stack.combined, stack.updated)
    )
    at_tiles = fetched * costs.fetch_s + updated * costs.update_s + combined * costs.add_s
    return float(served * costs.id_s + sent * costs.vector_s + tiles * at_tiles)


def add_time(seconds: FloatArray, time: TableTime, first: int, over: int, number: int, times: int = 1) -> None:
    """Add a table's seconds to those of the chips of a slice, in place.

    Parameters
    ----------
    seconds
        Of each chip, float64[chips].
    time
        Of the table.
    first, over
        The first of the chips that it lies on, and how many.
    number
        Of the table among all; the chip with its hot rows differs from table to table.
    times
        -1 takes it off.
    """
    seconds += times * time.asker_s
    seconds[first : first + over] += times * time.owner_s
    seconds[first + number % over] += times * time.hot_s

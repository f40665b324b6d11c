"""A placement that balances memory, lookups and network: greedy, then local search.

The cost of a placement is the busiest chip's time (`accsim.embedding.chip_time`), and among equal ones the mean chip's.
Tables alike have one kind of sharding. Nothing is drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np

from accsim.config.checks import shown
from accsim.embedding.chip_time import ChipRates, TableTime, add_time, table_time
from accsim.embedding.law import FloatArray
from accsim.embedding.placement import Placement, Sharding, row_sharded
from accsim.embedding.step_work import Scale
from accsim.errors import InputError
from accsim.workload.embeddings import EmbeddingSet, Table

GROUPS_APART: Final = 4
"""Groups of chips that rows are dealt over are tried in steps of this factor."""
LEAST_WIDTH: Final = 8
"""Elements of the narrowest piece of a row that is tried: 32 B of fp32, what a row is padded to."""
MOST_ROUNDS: Final = 20
"""Times that all tables are tried anew."""
GAIN: Final = 1e-9
"""Least part of a cost by which another sharding has to be better."""


def place(
    embeddings: EmbeddingSet, samples: int, chips: int, *, rates: ChipRates, chip_bytes: float, dedup: str, tiles: int
) -> Placement:
    """A placement that is never worse than rows of all tables over all chips, by its own cost.

    Parameters
    ----------
    embeddings
        Tables and features.
    samples
        Of each chip.
    chips
        Of the slice.
    rates
        Of a chip.
    chip_bytes
        Memory of a chip that tables and the state of their optimizers may take.
    dedup, tiles
        As in `accsim.embedding.step_work`.

    Raises
    ------
    InputError
        If the tables do not fit, with the bytes of the largest; or if a number or the scope is out of range.
    """
    if not isinstance(chip_bytes, (int, float)) or not chip_bytes > 0:
        raise InputError(f"chip_bytes: read {shown(chip_bytes)}, allowed is a number above 0")
    row_sharded(embeddings, chips).check_memory(embeddings, chip_bytes)
    firsts = np.cumsum([0, *(table.count for table in embeddings.tables)]).tolist()
    scale = Scale(samples, chips, tiles, dedup)
    tables = [
        _Choices(table, first, tuple(_options(embeddings, table, scale, rates)))
        for table, first in zip(embeddings.tables, firsts, strict=False)
    ]
    by_rows = [one._replace(options=one.options[:1]) for one in tables]
    starts = [
        _greedy(chips, tables, chip_bytes, _busiest),
        _greedy(chips, tables, chip_bytes, _mean),
        _greedy(chips, by_rows, chip_bytes, _busiest),
    ]
    best = min((_searched(start, tables, chip_bytes) for start in starts), key=_busiest)
    return Placement(chips, best.shardings)


class _Option(NamedTuple):
    """A sharding that a table may have, but for the chips, and what it costs."""

    kind: str
    over: int
    time: TableTime

    def span(self, chips: int) -> int:
        """Chips that a table lies on."""
        return chips if self.kind == "replicated" else self.over


class _Choices(NamedTuple):
    """Tables alike, and the shardings that they may have; the first is by rows over all chips."""

    table: Table
    number: int
    """Of the first of them among all tables."""
    options: tuple[_Option, ...]


class _Plan(NamedTuple):
    """Shardings of some tables.

    Attributes
    ----------
    seconds, held
        Of each chip: its time, and bytes of its memory.
    shardings
        By name of table.
    """

    seconds: FloatArray
    held: FloatArray
    shardings: dict[str, Sharding]

    def put(self, one: _Choices, option: _Option, chip_bytes: float) -> _Plan | None:
        """With tables alike on the chips that have least to do, or None where they do not fit."""
        seconds, held, firsts = self.seconds.copy(), self.held.copy(), []
        span = option.span(len(seconds))
        for i in range(one.table.count):
            fullest, busiest = (loads.reshape(-1, span).max(axis=1) for loads in (held, seconds))
            fits = fullest + option.time.owner_bytes <= chip_bytes
            if not fits.any():
                return None
            first = int(np.where(fits, busiest, np.inf).argmin()) * span
            add_time(seconds, option.time, first, span, one.number + i)
            held[first : first + span] += option.time.owner_bytes
            firsts.append(first)
        sharding = Sharding(option.kind, option.over, tuple(firsts))
        return _Plan(seconds, held, {**self.shardings, one.table.name: sharding})

    def without(self, one: _Choices) -> _Plan:
        """Without tables alike."""
        seconds, held = self.seconds.copy(), self.held.copy()
        sharding = self.shardings[one.table.name]
        option = next(o for o in one.options if (o.kind, o.over) == (sharding.kind, sharding.chips))
        span = option.span(len(seconds))
        for i, first in enumerate(sharding.firsts):
            add_time(seconds, option.time, first, span, one.number + i, times=-1)
            held[first : first + span] -= option.time.owner_bytes
        return _Plan(seconds, held, {n: s for n, s in self.shardings.items() if n != one.table.name})


_Key = Callable[[_Plan], tuple[float, float]]


def _busiest(plan: _Plan) -> tuple[float, float]:
    return float(plan.seconds.max()), float(plan.seconds.mean())


def _mean(plan: _Plan) -> tuple[float, float]:
    return float(plan.seconds.mean()), float(plan.seconds.max())


def _options(embeddings: EmbeddingSet, table: Table, scale: Scale, rates: ChipRates) -> Iterator[_Option]:
    """Shardings to try: rows over all chips first, and over groups; replicated, whole, and in pieces."""
    chips, width = scale.chips, table.width
    groups = [chips // step for step in _powers(GROUPS_APART, chips) if chips % step == 0 and chips // step > 1]
    pieces = [n for n in _powers(2, width // LEAST_WIDTH) if n > 1 and chips % n == 0 and width % n == 0]
    tried = [("row", over) for over in groups or [1]] + [("replicated", 1), ("table", 1)]
    for kind, over in tried + [("column", over) for over in pieces]:
        yield _Option(kind, over, table_time(embeddings, table, Sharding(kind, over), scale, rates))


def _powers(base: int, most: int) -> list[int]:
    """Powers of a number from 1 to `most`."""
    found = [1]
    while found[-1] * base <= most:
        found.append(found[-1] * base)
    return found


def _greedy(chips: int, tables: list[_Choices], chip_bytes: float, key: _Key) -> _Plan:
    """Tables with most to do first, each with the sharding that is best by the key then.

    Those still to come have their memory by rows over all chips, so that they fit whatever is before them.
    """
    plan = _Plan(np.zeros(chips), np.full(chips, float(sum(map(_bytes_by_rows, tables)))), {})
    for one in sorted(tables, key=lambda one: -one.table.count * sum(one.options[0].time[:2])):
        plan = plan._replace(held=plan.held - _bytes_by_rows(one))
        tried = (plan.put(one, option, chip_bytes) for option in one.options)
        plan = min((found for found in tried if found is not None), key=key)
    return plan


def _bytes_by_rows(one: _Choices) -> int:
    return one.table.count * one.options[0].time.owner_bytes


def _searched(plan: _Plan, tables: list[_Choices], chip_bytes: float) -> _Plan:
    """Better shardings of one table after the other, until there is none."""
    for _ in range(MOST_ROUNDS):
        before = plan
        for one in tables:
            rest = plan.without(one)
            for option in one.options:
                other = rest.put(one, option, chip_bytes)
                if other is not None and _better(other, plan):
                    plan = other
        if plan is before:
            break
    return plan


def _better(plan: _Plan, than: _Plan) -> bool:
    (busiest, mean), (its, its_mean) = _busiest(plan), _busiest(than)
    return busiest < its * (1 - GAIN) or (busiest <= its * (1 + GAIN) and mean < its_mean * (1 - GAIN))

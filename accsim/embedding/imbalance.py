"""Load imbalance of rows that are hashed over shards (chips, cores, tiles, channels): counted, and expected.

A shard's load is the number of rows it fetches. What a row adds to it depends on where a batch is freed of duplicates:

- ``none``: every lookup fetches;
- ``source``: each chip asks for a row once, so the owner fetches it once for each chip that asks;
- ``owner``: a row is fetched once.

The largest of all shards takes as long as the step. Hot rows make it large, and hashing cannot divide a row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accsim.config.checks import MAX_SIZE, shown
from accsim.embedding.law import rank_law
from accsim.embedding.shard_load import RowLoads, largest_load
from accsim.embedding.trace import TraceBatch
from accsim.embedding.unique import absence, count_unique
from accsim.errors import InputError, check_choice
from accsim.workload.embeddings import EmbeddingSet

SCOPES: Final = ("none", "source", "owner")
"""Where duplicates are dropped."""


@dataclass(frozen=True)
class Imbalance:
    """Rows that shards fetch for a batch.

    Attributes
    ----------
    mean
        Of all shards.
    largest
        Of the shard that fetches most.
    """

    mean: float
    largest: float

    @classmethod
    def of(cls, loads: NDArray[np.int64]) -> Imbalance:
        """Mean and largest of loads."""
        return cls(float(loads.mean()), float(loads.max()))

    @property
    def ratio(self) -> float:
        """Largest over mean; of no rows, 1."""
        return self.largest / self.mean if self.mean else 1.0


def count_imbalance(batch: TraceBatch, *, shards: int, dedup: str, chips: int = 1) -> Imbalance:
    """Loads of the shards of a batch, whose rows are dealt over them in turn, table after table.

    Raises
    ------
    InputError
        If a number or the scope is out of range.
    """
    check_choice("dedup", dedup, SCOPES)
    found = count_unique(batch, chips=chips if dedup == "source" else 1, shards=shards)
    loads = (found.lookups if dedup == "none" else found.unique).sum(axis=(0, 1))
    return Imbalance.of(loads)


def expected_imbalance(
    embeddings: EmbeddingSet, samples: int, *, shards: int, dedup: str, chips: int = 1, groups: int = 1
) -> Imbalance:
    """Loads of shards over which the rows of each table are dealt evenly and at random, expected, without a trace.

    Parameters
    ----------
    embeddings
        Tables and features.
    samples
        Of the batch.
    shards
        Each has as many rows of a table as the others; which ones is chance.
    dedup
        Where duplicates are dropped, one of `SCOPES`.
    chips
        Chips that the samples come from; they count with ``source`` alone.
    groups
        Groups of so many shards, each with such tables of its own; the mean is of a group, the largest of all.

    Raises
    ------
    InputError
        If a number or the scope is out of range.

    Notes
    -----
    ``accsim/embedding/shard_load.py`` has the law of a shard's load; ``docs/embeddings.md`` holds it against traces.
    """
    _check(samples, shards, chips, groups)
    check_choice("dedup", dedup, SCOPES)
    rows = _rows(embeddings, samples, dedup, chips)
    mean = float(rows.weights @ rows.means) / shards
    return Imbalance(mean, max(mean, largest_load(embeddings, rows, shards=shards, groups=groups)))


def _rows(embeddings: EmbeddingSet, samples: int, dedup: str, chips: int) -> RowLoads:
    """The rows of all tables, those of tables alike together."""
    weights, chances, fetches, tables = [], [], [], []
    for number, table in enumerate(embeddings.tables):
        readings = embeddings.readings(table)
        law = rank_law(table.popularity, table.rows)
        if dedup == "none":
            most = samples * sum(times * feature.valency.mean for feature, times in readings)
            chance = law.chances
        else:
            most = chips if dedup == "source" else 1
            chance = -np.expm1(absence(readings, samples / most, law.chances))
        weights.append(law.weights * table.count)
        chances.append(np.minimum(chance, 1.0))
        fetches.append(np.full(len(chance), float(most)))
        tables.append(np.full(len(chance), number))
    return RowLoads(*(np.concatenate(parts) for parts in (weights, chances, fetches, tables)))


def _check(samples: int, shards: int, chips: int, groups: int) -> None:
    numbers: Iterable[tuple[str, object, int]] = (
        ("samples", samples, MAX_SIZE),
        ("shards", shards, 2**20),
        ("chips", chips, 2**20),
        ("groups", groups, 2**20),
    )
    for name, value, most in numbers:
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise InputError(f"{name}: read {shown(value)}, allowed is a whole number from 1 to {most}")

"""Dedup: how many of the lookups of a batch are of rows that it has not looked up yet, counted and expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from accsim.config.checks import shown
from accsim.embedding.law import FloatArray, rank_law
from accsim.embedding.trace import IntArray, TraceBatch
from accsim.errors import InputError
from accsim.kernels.embedding import count_lookups
from accsim.workload.embeddings import EmbeddingSet, Reading, Table


class Lookups(NamedTuple):
    """Lookups of a table by some samples, and how many rows they are of; expected ones are no whole numbers."""

    lookups: float
    unique: float

    @property
    def unique_fraction(self) -> float:
        """Rows fetched with dedup over rows fetched without."""
        return self.unique / self.lookups


class Counted(NamedTuple):
    """Lookups and distinct rows of a batch by table, chip and shard.

    Attributes
    ----------
    lookups, unique
        int64[tables, chips, shards]; of a row that several chips look up, each counts it.
    """

    lookups: IntArray
    unique: IntArray


def count_unique(batch: TraceBatch, *, chips: int = 1, shards: int = 1) -> Counted:
    """Count the lookups of each table by chip that has the sample, and by shard that has the row.

    Parameters
    ----------
    batch
        What is looked up.
    chips
        Its samples are dealt over so many chips, in blocks as equal as can be.
    shards
        Rows are dealt over so many shards (chips, cores or tiles) in turn, table after table, as stacked tables are.

    Raises
    ------
    InputError
        If a number is below 1, there are more chips than samples, or an id is of no row.
    """
    check_between("chips", chips, batch.samples)
    check_between("shards", shards, 2**20)
    shape = (len(batch.rows), chips, shards)
    found = Counted(np.zeros(shape, np.int64), np.zeros(shape, np.int64))
    firsts = (np.cumsum(batch.rows) - batch.rows) % shards
    for table, rows in enumerate(batch.rows):
        bags = batch.of_table(table, chips)
        seen = np.zeros(-(-int(rows) // 64), np.uint64)
        count_lookups(
            bags.ids, bags.starts[bags.chips], firsts[table], shards, seen, found.lookups[table], found.unique[table]
        )
    return found


def check_between(name: str, value: object, most: int) -> None:
    """Refuse what is no whole number from 1 to `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise InputError(f"{name}: read {shown(value)}, allowed is a whole number from 1 to {most}")


def absence(readings: Sequence[Reading], samples: float, chances: FloatArray) -> FloatArray:
    """Logarithm of the probability that samples look up none of the rows of these chances.

    Formula: Σ over features, times · samples · ln Σ_v P(v) (1 − p)^v, for every lookup is drawn for itself; with one
    valency v, times · samples · v · ln(1 − p).
    """
    total = np.zeros_like(chances)
    with np.errstate(divide="ignore"):  # a table of one row: p = 1
        missed = np.log1p(-np.minimum(chances, 1.0))
    for feature, times in readings:
        valency = feature.valency
        if valency.least == valency.most:
            total += times * samples * valency.most * missed
            continue
        shares = valency.probabilities()
        sizes = np.flatnonzero(shares)
        none = np.zeros_like(chances)
        for size in sizes:
            none += shares[size] * (-np.expm1(size * missed) if size else 0.0)
        with np.errstate(divide="ignore"):
            total += times * samples * np.log1p(-np.minimum(none, 1.0))
    return total


def expected_unique(embeddings: EmbeddingSet, table: Table, samples: float) -> Lookups:
    """Lookups of a table, one of those alike, by samples of a batch, and the rows they are of, both expected.

    Formula: Σ_r 1 − P(row r is in no bag); with D lookups drawn one by one, Σ_r 1 − (1 − p_r)^D.

    Parameters
    ----------
    embeddings
        Tables and features.
    table
        One of its tables.
    samples
        Of the whole batch (dedup at the owner), or of a chip's part (dedup at the source).

    Examples
    --------
    >>> from accsim.workload.catalogue import load_workload
    >>> tables = load_workload("dlrm_dcnv2").embeddings
    >>> found = expected_unique(tables, tables.table("cat_20"), samples=65536)
    >>> found.lookups, round(found.unique)
    (6553600.0, 6044887)
    """
    readings = embeddings.readings(table)
    lookups = samples * sum(times * feature.valency.mean for feature, times in readings)
    law = rank_law(table.popularity, table.rows)
    unique = law.total(lambda chances: -np.expm1(absence(readings, samples, chances)))
    return Lookups(lookups, unique)

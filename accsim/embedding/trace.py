"""Batches of lookups: which rows of which table each bag of each sample takes.

The layout is that of the public traces (facebookresearch/dlrm_datasets) and of FBGEMM: bags one after the other,
feature by feature and within a feature sample by sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accsim.config.checks import MAX_SIZE, ArgumentChecks, shown
from accsim.errors import InputError, Problem
from accsim.kernels.embedding import ROUNDS, draw_ranks, scatter_ranks
from accsim.workload.embeddings import EmbeddingSet, Feature, Table

IntArray = NDArray[np.int64]
MOST_ROWS: Final = 2**35
"""Of a table; a bitmap of them takes 4 GiB."""


class Bags(NamedTuple):
    """Bags of a table, chip after chip that has the sample, on each feature after feature.

    Attributes
    ----------
    ids
        int64[lookups], bag after bag.
    starts
        int64[bags + 1], where each bag begins and the last one ends.
    chips
        int64[chips + 1], where the bags of each chip begin and the last one's end.
    """

    ids: IntArray
    starts: IntArray
    chips: IntArray


@dataclass(frozen=True, eq=False)
class TraceBatch:
    """What one batch looks up.

    Attributes
    ----------
    samples
        Samples of the batch.
    indices
        Ids of rows, int64[lookups], bag after bag.
    offsets
        Where each bag begins and the last one ends, int64[features * samples + 1].
    tables
        Which table each feature reads, int64[features]: an index into `rows`.
    rows
        Rows of each table, int64[tables].
    names
        Names of the features.

    Raises
    ------
    InputError
        With every array that does not fit the others. Ids are looked at where they are counted.
    """

    samples: int
    indices: IntArray
    offsets: IntArray
    tables: IntArray
    rows: IntArray
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        features = len(self.tables)
        if check.count("samples") and len(self.offsets) != features * self.samples + 1:
            due = f"{features} features of {self.samples} samples and the end"
            check.fail("offsets", f"read {len(self.offsets)}, allowed is one for each bag of {due}")
        elif not (self.offsets[0] == 0 and self.offsets[-1] == len(self.indices)):
            read = f"from {self.offsets[0]} to {self.offsets[-1]}"
            check.fail("offsets", f"read some {read}, allowed are those from 0 to the {len(self.indices)} indices")
        elif (falling := np.flatnonzero(np.diff(self.offsets) < 0)).size:
            feature, sample = divmod(int(falling[0]), self.samples)
            check.fail("offsets", f"the bag of feature {feature}, sample {sample} ends before it begins")
        for table in np.flatnonzero((self.rows < 1) | (self.rows > MOST_ROWS))[:1]:
            allowed = "allowed are 1 to 2^35, of which each has its bit while lookups are counted"
            check.fail("rows", f"read {self.rows[table]} of table {table}, {allowed}")
        for feature in np.flatnonzero((self.tables < 0) | (self.tables >= len(self.rows)))[:1]:
            allowed = f"allowed are those of the {len(self.rows)} tables"
            check.fail("tables", f"read {self.tables[feature]} of feature {feature}, {allowed}")
        if len(self.names) != features:
            check.fail("names", f"read {len(self.names)}, allowed is one for each of the {features} features")
        check.finish()

    @property
    def lengths(self) -> IntArray:
        """Rows of each bag, int64[features, samples]."""
        return np.diff(self.offsets).reshape(len(self.tables), self.samples)

    def of_feature(self, feature: int, first: int = 0, last: int | None = None) -> IntArray:
        """Ids that a feature looks up for the samples from `first` to before `last`, a view."""
        start = feature * self.samples
        end = self.samples if last is None else last
        return self.indices[self.offsets[start + first] : self.offsets[start + end]]

    def of_table(self, table: int, chips: int = 1) -> Bags:
        """Bags of a table by chip; the samples are dealt over chips in blocks as equal as can be.

        Raises
        ------
        InputError
            With the first id that is of no row, by feature, sample and position.
        """
        features = np.flatnonzero(self.tables == table)
        cuts = np.arange(chips + 1) * self.samples // chips
        blocks = list(product(pairwise(cuts.tolist()), features.tolist()))
        lengths, empty = self.lengths, np.zeros(0, np.int64)
        ids = np.concatenate([empty, *(self.of_feature(f, a, b) for (a, b), f in blocks)])
        sizes = np.concatenate([empty, *(lengths[f, a:b] for (a, b), f in blocks)])
        if len(ids) and not (ids.min() >= 0 and ids.max() < self.rows[table]):
            self._refuse_id(features)
        return Bags(ids, np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]), cuts * len(features))

    def _refuse_id(self, features: IntArray) -> None:
        for feature in features.tolist():
            ids = self.of_feature(feature)
            wrong = np.flatnonzero((ids < 0) | (ids >= self.rows[self.tables[feature]]))
            if len(wrong):
                raise InputError(Problem("trace", "indices", self.id_text(feature, int(wrong[0]))))

    def id_text(self, feature: int, at: int) -> str:
        """What is wrong with the id that is `at` of all of a feature's, by sample and position."""
        first = feature * self.samples
        starts = self.offsets[first : first + self.samples + 1] - self.offsets[first]
        sample = int(np.searchsorted(starts, at, side="right")) - 1
        place = f"{self.source(feature)}, sample {sample}, position {at - starts[sample]}"
        allowed = f"ids of the table from 0 to {self.rows[self.tables[feature]] - 1}"
        return f"{place}: read {self.of_feature(feature)[at]}, allowed are {allowed}"

    def source(self, feature: int) -> str:
        """A feature and its table, for messages."""
        return f"{self.names[feature]} of table {self.tables[feature]}"


@dataclass(frozen=True)
class _Source:
    """One feature of one table."""

    name: str
    feature: Feature
    table: Table
    index: int
    """Of its table, those alike counted one by one."""


def draw_batches(embeddings: EmbeddingSet, samples: int, *, seed: int, batches: int = 1) -> Iterator[TraceBatch]:
    """Draw batches one after the other; no more than one is held.

    Every lookup is drawn for itself from its table's law, and the ranks of each table are scattered over its rows, by
    the seed and alike in all batches, since real ids are hashed.

    Parameters
    ----------
    embeddings
        Tables and features.
    samples
        Samples of each batch.
    seed
        Of the random numbers; the same seed draws the same batches.
    batches
        How many.

    Raises
    ------
    InputError
        If a number is out of range.
    """
    problems = [
        Problem("argument", name, f"read {shown(value)}, allowed is a whole number from {least} to 2^40 - 1")
        for name, value, least in (("samples", samples, 1), ("batches", batches, 1), ("seed", seed, 0))
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_SIZE
    ]
    if problems:
        raise InputError(problems)
    return _drawn(embeddings, samples, seed, batches)


def _drawn(embeddings: EmbeddingSet, samples: int, seed: int, batches: int) -> Iterator[TraceBatch]:
    sources, features = list(_sources(embeddings)), model_features(embeddings)
    keys = np.random.default_rng([seed, 0]).integers(2**31, size=(len(features.rows), ROUNDS))
    for number in range(batches):
        rng = np.random.default_rng([seed, 1, number])
        lengths = [_lengths(source.feature, samples, rng) for source in sources]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))])
        indices = np.empty(offsets[-1], np.int64)
        batch = TraceBatch(samples, indices, offsets, features.tables, features.rows, features.names)
        for i, source in enumerate(sources):
            ids, law = batch.of_feature(i), source.table.popularity
            draw_ranks(rng, law.exponent, law.shift, source.table.rows, ids)
            scatter_ranks(ids, source.table.rows, keys[source.index])
        yield batch


class ModelFeatures(NamedTuple):
    """Features of a model, those alike one by one, and its tables, those alike one by one: fields of `TraceBatch`."""

    tables: IntArray
    rows: IntArray
    names: tuple[str, ...]


def model_features(embeddings: EmbeddingSet) -> ModelFeatures:
    """Which table each feature of a model reads."""
    sources = list(_sources(embeddings))
    rows = np.array([table.rows for table in embeddings.tables for _ in range(table.count)], np.int64)
    tables = np.array([source.index for source in sources], np.int64)
    return ModelFeatures(tables, rows, tuple(source.name for source in sources))


def _sources(embeddings: EmbeddingSet) -> Iterator[_Source]:
    """The features, those alike one by one, dealt over their tables."""
    first, at = {}, 0
    for table in embeddings.tables:
        first[table.name] = at
        at += table.count
    for feature in embeddings.features:
        table = embeddings.table(feature.table)
        for i in range(feature.count):
            name = feature.name if feature.count == 1 else f"{feature.name}_{i}"
            yield _Source(name, feature, table, first[table.name] + i % table.count)


def _lengths(feature: Feature, samples: int, rng: np.random.Generator) -> IntArray:
    valency = feature.valency
    if valency.least == valency.most:
        return np.full(samples, valency.most, np.int64)
    return rng.choice(valency.most + 1, samples, p=valency.probabilities()).astype(np.int64)

"""Embedding tables on the chips of a slice with real arrays, chip by chip: the functional twin of a step's work.

Rows lie where a placement says. A step looks bags up, sends ids and vectors between chips, adds gradients up and
updates rows, and counts what it does. Everything is float32 and NumPy; `dense_step` is the same without a slice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from accsim.embedding import Placement, TraceBatch
from accsim.workload.embeddings import EmbeddingSet, Table

Floats = NDArray[np.float32]
RATE = np.float32(0.05)
DECAY_1, DECAY_2, TINY = np.float32(0.9), np.float32(0.999), np.float32(1e-8)
START = np.float32(0.1)
"""Of Adagrad's sums."""


def state_of(optimizer: str, rows: int, width: int) -> list[Floats]:
    """What an optimizer keeps of rows that it has not updated yet."""
    shapes = {"sgd": [], "rowwise_adagrad": [(rows, 1)], "adagrad": [(rows, width)], "adam": [(rows, width)] * 2}
    return [np.full(shape, START if "adagrad" in optimizer else 0, np.float32) for shape in shapes[optimizer]]


def update(optimizer: str, weights: Floats, state: list[Floats], row: int, gradient: Floats) -> None:
    """Rewrite a row and its state, in place; Adam's is its first step."""
    if optimizer == "sgd":
        weights[row] -= RATE * gradient
    elif optimizer == "adam":
        first, second = state
        first[row] = DECAY_1 * first[row] + (1 - DECAY_1) * gradient
        second[row] = DECAY_2 * second[row] + (1 - DECAY_2) * gradient**2
        weights[row] -= RATE * (first[row] / (1 - DECAY_1)) / (np.sqrt(second[row] / (1 - DECAY_2)) + TINY)
    else:
        (sums,) = state
        sums[row] += (gradient**2).mean() if optimizer == "rowwise_adagrad" else gradient**2
        weights[row] -= RATE * gradient / np.sqrt(sums[row])


@dataclass
class Held:
    """Rows of a table that a chip holds."""

    columns: slice
    tiles: dict[int, int]
    """Tile of each row."""
    local: dict[int, int]
    """Where each row is in `weights`."""
    weights: Floats
    state: list[Floats]


@dataclass
class Counts:
    """What a table asks of chips: [asker, owner] and [chip, tile]."""

    ids: NDArray[np.int64]
    vectors: NDArray[np.int64]
    gradients: NDArray[np.int64]
    fetched: NDArray[np.int64]
    combined: NDArray[np.int64]
    updated: NDArray[np.int64]
    joined: int = 0
    all_reduced: int = 0


@dataclass
class Slice:
    """Chips with the rows of all tables."""

    embeddings: EmbeddingSet
    placement: Placement
    dedup: str
    tiles: int
    weights: list[Floats]
    """Of each table; those alike one by one."""
    tables: list[Table] = field(init=False)
    held: list[dict[int, Held]] = field(init=False)
    """By chip and number of table."""
    counts: list[Counts] = field(init=False)
    """By number of table."""

    def __post_init__(self) -> None:
        chips = self.placement.chips
        self.tables = [table for table in self.embeddings.tables for _ in range(table.count)]
        self.held = [{} for _ in range(chips)]
        self.counts = [
            Counts(*(np.zeros((chips, other), np.int64) for other in (chips,) * 3 + (self.tiles,) * 3))
            for _ in self.tables
        ]
        before, alike = 0, defaultdict(int)
        for number, table in enumerate(self.tables):
            sharding = self.placement.shardings[table.name]
            first = sharding.firsts[alike[table.name] % len(sharding.firsts)]
            alike[table.name] += 1
            for chip, columns, rows in self._lies(table, sharding.kind, sharding.chips, first, before):
                local = {row: at for at, row in enumerate(rows)}
                weights = self.weights[number][list(rows), columns].copy()
                state = state_of(table.optimizer, len(rows), weights.shape[1])
                self.held[chip][number] = Held(columns, rows, local, weights, state)
            before += table.rows

    def _lies(
        self, table: Table, kind: str, over: int, first: int, before: int
    ) -> Iterator[tuple[int, slice, dict[int, int]]]:
        """(chip, columns, tile by row) wherever a table lies."""
        owners = over if kind == "row" else 1
        dealt: list[dict[int, int]] = [{} for _ in range(owners)]
        for row in range(table.rows):
            place = before + row
            dealt[place % owners][row] = place // owners % self.tiles
        for chip in range(self.placement.chips):
            if kind == "replicated":
                yield chip, slice(None), dealt[0]
            elif first <= chip < first + over:
                width = table.width // over
                columns = slice((chip - first) * width, (chip - first + 1) * width) if kind == "column" else slice(None)
                yield chip, columns, dealt[chip - first if kind == "row" else 0]

    def whole(self) -> list[Floats]:
        """All tables put together again; chips with the same rows have to agree on them."""
        found = [np.full_like(weights, np.nan) for weights in self.weights]
        for held in self.held:
            for number, part in held.items():
                for row, at in part.local.items():
                    place = found[number][row, part.columns]
                    assert np.isnan(place).all() or np.array_equal(place, part.weights[at])
                    found[number][row, part.columns] = part.weights[at]
        return found

    def owners_of(self, asker: int, number: int) -> list[int]:
        """Chips that a chip gets rows of a table from: itself where it has all, else all that have some."""
        if is_replicated(self, number):
            return [asker]
        return [chip for chip, held in enumerate(self.held) if number in held]


@dataclass
class Bag:
    """A bag of a chip's sample."""

    feature: int
    sample: int
    ids: list[int]
    scale: np.float32
    """1, or 1 over the rows where their mean is taken."""


def bags_of(batch: TraceBatch, number: int, combiners: list[str], samples: range) -> list[Bag]:
    """The bags of a table for some samples."""
    found = []
    for feature in np.flatnonzero(batch.tables == number).tolist():
        for sample in samples:
            ids = batch.of_feature(feature, sample, sample + 1).tolist()
            mean = combiners[feature] == "mean" and ids
            found.append(Bag(feature, sample, ids, np.float32(1 / len(ids)) if mean else np.float32(1)))
    return found


@dataclass
class Trip:
    """One chip that asks one that has rows of a table."""

    chips: Slice
    number: int
    asker: int
    owner: int
    bags: list[Bag]
    outputs: list[Floats]
    gradients: list[Floats]
    sums: dict[int, Floats]
    """Gradients of the owner's rows, added to."""
    fetched: set[int]
    """Rows that the owner has fetched, added to."""

    def run(self) -> None:
        """There and back, forward and backward."""
        if self.chips.dedup == "source" and not is_replicated(self.chips, self.number):
            self.rows_travel()
        else:
            self.sums_travel()

    def sums_travel(self) -> None:
        """The owner adds up what it has of each bag, and adds each bag's gradient to all of them."""
        held, counts = self.chips.held[self.owner][self.number], self.chips.counts[self.number]
        travels = not is_replicated(self.chips, self.number)
        several = len(self.chips.owners_of(self.asker, self.number)) > 1 and held.columns == slice(None)
        for bag in self.bags:
            ids = [row for row in bag.ids if row in held.local]
            if not ids:
                continue
            counts.ids[self.asker, self.owner] += len(ids) * travels
            vector = np.zeros(held.weights.shape[1], np.float32)
            for row in ids:
                counts.fetched[self.owner, held.tiles[row]] += self.chips.dedup == "none" or row not in self.fetched
                counts.combined[self.owner, held.tiles[row]] += 1
                self.fetched.add(row)
                vector += held.weights[held.local[row]]
            counts.vectors[self.owner, self.asker] += travels
            counts.joined += several and len(bag.ids) > 1
            self.outputs[bag.feature][bag.sample, held.columns] += bag.scale * vector
            gradient = bag.scale * self.gradients[bag.feature][bag.sample, held.columns]
            counts.gradients[self.asker, self.owner] += travels
            for row in ids:
                self.sums[row] = self.sums.get(row, np.float32(0)) + gradient

    def rows_travel(self) -> None:
        """The asker names each row once, adds rows up itself, and sends one gradient back for each of them."""
        held, counts = self.chips.held[self.owner][self.number], self.chips.counts[self.number]
        rows = {row: held.weights[held.local[row]].copy() for bag in self.bags for row in bag.ids if row in held.local}
        counts.ids[self.asker, self.owner] += len(rows)
        counts.vectors[self.owner, self.asker] += len(rows)
        for row in rows:
            counts.fetched[self.owner, held.tiles[row]] += 1
        own: dict[int, Floats] = {}
        for bag in self.bags:
            gradient = bag.scale * self.gradients[bag.feature][bag.sample, held.columns]
            for row in bag.ids:
                if row in rows:
                    counts.joined += len(bag.ids) > 1
                    self.outputs[bag.feature][bag.sample, held.columns] += bag.scale * rows[row]
                    own[row] = own.get(row, np.float32(0)) + gradient
        counts.gradients[self.asker, self.owner] += len(own)
        for row, gradient in own.items():
            self.sums[row] = self.sums.get(row, np.float32(0)) + gradient


def is_replicated(chips: Slice, number: int) -> bool:
    """Whether every chip has all rows of a table."""
    return chips.placement.shardings[chips.tables[number].name].kind == "replicated"


def step(chips: Slice, batch: TraceBatch, gradients: list[Floats]) -> list[Floats]:
    """A step of all chips: forward, backward, update.

    Returns the vectors of each feature, [samples, width], before the update; ``gradients`` are of them.
    """
    count, samples = chips.placement.chips, batch.samples
    outputs = [np.zeros_like(gradient) for gradient in gradients]
    for number in range(len(chips.tables)):
        sums: list[dict[int, Floats]] = [{} for _ in range(count)]
        fetched: list[set[int]] = [set() for _ in range(count)]
        for asker in range(count):
            block = range(asker * samples // count, (asker + 1) * samples // count)
            bags = bags_of(batch, number, combiners(chips.embeddings), block)
            for owner in chips.owners_of(asker, number):
                Trip(chips, number, asker, owner, bags, outputs, gradients, sums[owner], fetched[owner]).run()
        if is_replicated(chips, number):
            sums = all_reduced(chips, number, sums)
        for chip, gradient_of in enumerate(sums):
            for row, gradient in gradient_of.items():
                held = chips.held[chip][number]
                update(chips.tables[number].optimizer, held.weights, held.state, held.local[row], gradient)
                chips.counts[number].updated[chip, held.tiles[row]] += 1
    return outputs


def combiners(embeddings: EmbeddingSet) -> list[str]:
    """Of each feature, those alike one by one."""
    return [feature.combiner for feature in embeddings.features for _ in range(feature.count)]


def all_reduced(chips: Slice, number: int, sums: list[dict[int, Floats]]) -> list[dict[int, Floats]]:
    """The gradients of all chips added up, on each of them."""
    total: dict[int, Floats] = {}
    for own in sums:
        for row, gradient in own.items():
            total[row] = total.get(row, np.float32(0)) + gradient
    chips.counts[number].all_reduced = chips.weights[number].nbytes
    return [total] * len(sums)


def dense_step(
    embeddings: EmbeddingSet, weights: list[Floats], batch: TraceBatch, gradients: list[Floats], pieces: list[int]
) -> tuple[list[Floats], list[Floats]]:
    """(Vectors of each feature, tables after the update) of whole arrays on one machine.

    A table in pieces is as good as so many tables: what row-wise Adagrad keeps of a row is of a row of a piece.
    """
    tables = [table for table in embeddings.tables for _ in range(table.count)]
    outputs, sums = [np.zeros_like(gradient) for gradient in gradients], [np.zeros_like(w) for w in weights]
    for number in range(len(tables)):
        for bag in bags_of(batch, number, combiners(embeddings), range(batch.samples)):
            outputs[bag.feature][bag.sample] = bag.scale * weights[number][bag.ids].sum(axis=0)
            np.add.at(sums[number], bag.ids, bag.scale * gradients[bag.feature][bag.sample])
    after = [np.copy(one) for one in weights]
    for number, table in enumerate(tables):
        for piece in range(pieces[number]):
            width = table.width // pieces[number]
            columns = slice(piece * width, (piece + 1) * width)
            state = state_of(table.optimizer, table.rows, width)
            for row in np.unique(np.concatenate([batch.of_feature(f) for f in np.flatnonzero(batch.tables == number)])):
                update(table.optimizer, after[number][:, columns], state, row, sums[number][row, columns])
    return outputs, after

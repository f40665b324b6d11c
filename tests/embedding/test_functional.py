"""The functional twin of a step: real arrays on the chips of a placement compute what whole arrays do.

And what the twin counts on the way is the work that the model has for the same trace.

Tolerance: all numbers are from 0.5 to 1.5, so nothing cancels, and sums of n of them in two orders differ by 2 n units
of the last place of float32 at most (Higham, *Accuracy and stability of numerical algorithms*, section 4.2); what
follows has a condition of at most 1 and fewer than 10 operations.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from accsim.embedding import (
    SCOPES,
    EmbeddingSet,
    Feature,
    Placement,
    Popularity,
    Sharding,
    StackWork,
    Table,
    TraceBatch,
    Valency,
    count_step_work,
    draw_batches,
)
from accsim.workload.embeddings import OPTIMIZER_STATE
from tests.reference.embedding_naive import Counts, Floats, Slice, dense_step, step

UNIT = 2.0**-24
CHIPS, TILES, SAMPLES = 4, 3, 10
SHARDINGS = {
    "replicated": Sharding("replicated"),
    "table": Sharding("table", firsts=(3, 1)),
    "row": Sharding("row", CHIPS),
    "row of two": Sharding("row", 2, firsts=(2, 0)),
    "column": Sharding("column", 2, firsts=(1, 2)),
}


def model(optimizer: str) -> EmbeddingSet:
    """Two tables alike and features with one row, several, any number, and a mean."""
    return EmbeddingSet(
        (Table("a", 23, 8, optimizer=optimizer, popularity=Popularity(1.0), count=2),),
        (
            Feature("x", "a", Valency(1, 1), count=2),
            Feature("y", "a", Valency(6, 0), count=2),
            Feature("z", "a", Valency(5, 2), combiner="mean", count=2),
        ),
    )


def drawn(embeddings: EmbeddingSet, samples: int, seed: int) -> tuple[TraceBatch, list[Floats], list[Floats]]:
    """A batch, tables, and gradients of the vectors of all features."""
    (batch,) = draw_batches(embeddings, samples, seed=seed)
    rng = np.random.default_rng(seed)
    tables = [table for table in embeddings.tables for _ in range(table.count)]
    weights = [rng.uniform(0.5, 1.5, (table.rows, table.width)).astype(np.float32) for table in tables]
    widths = [tables[number].width for number in batch.tables]
    return batch, weights, [rng.uniform(0.5, 1.5, (samples, width)).astype(np.float32) for width in widths]


def close(found: list[Floats], due: list[Floats], terms: int) -> bool:
    return all((np.abs(a - b) <= 2 * (terms + 10) * UNIT * np.abs(b)).all() for a, b in zip(found, due, strict=True))


@pytest.mark.parametrize("optimizer", OPTIMIZER_STATE)
@pytest.mark.parametrize("dedup", SCOPES)
@pytest.mark.parametrize("kind", SHARDINGS)
def test_a_slice_computes_what_whole_arrays_do(kind: str, dedup: str, optimizer: str) -> None:
    embeddings = model(optimizer)
    batch, weights, gradients = drawn(embeddings, SAMPLES, seed=3)
    sharding = SHARDINGS[kind]
    chips = Slice(embeddings, Placement(CHIPS, {"a": sharding}), dedup, TILES, weights)
    found = step(chips, batch, gradients)
    pieces = [sharding.chips if sharding.kind == "column" else 1] * 2
    due, after = dense_step(embeddings, weights, batch, gradients, pieces)
    assert close(found, due, terms=6)
    most = int(max(np.bincount(batch.of_feature(f)).max() for f in range(6))) * 3
    steps = [[w - a for w, a in zip(weights, tables, strict=True)] for tables in (chips.whole(), after)]
    for own, whole, before in zip(*steps, weights, strict=True):
        # The difference of two weights has their last places besides.
        assert (np.abs(own - whole) <= 2 * (most + 10) * UNIT * np.abs(whole) + 4 * UNIT * np.maximum(before, 1)).all()
        assert (whole != 0).any()


def table_counts(found: list[Counts], numbers: list[int], kind: str) -> np.ndarray:
    return np.sum([getattr(found[number], kind) for number in numbers], axis=0)


def check_stack(stack: StackWork, found: list[Counts], numbers: list[int], alike: NDArray[np.bool_]) -> None:
    """A stack of these tables has just the counts of the twin; the largest are of some chips."""
    loads = {kind: table_counts(found, numbers, kind) for kind in ("ids", "vectors", "fetched", "combined", "updated")}
    chips = len(alike)
    due = {
        "served": loads["ids"].sum(axis=0), "sent": loads["vectors"].sum(axis=1),
        "fetched": loads["fetched"], "combined": loads["combined"], "updated": loads["updated"],
    }  # fmt: skip
    for field, all_loads in due.items():
        counted = getattr(stack, field)
        largest = all_loads[alike].max(initial=0)
        assert (field, counted.mean * all_loads.size, counted.largest) == (
            field,
            pytest.approx(all_loads.sum()),
            largest,
        )
    asked = loads["ids"].sum(axis=1)
    assert (stack.asked.mean * chips, stack.asked.largest) == (pytest.approx(asked.sum()), asked.max())
    assert stack.received * chips == pytest.approx(loads["vectors"].sum())
    assert np.array_equal(table_counts(found, numbers, "gradients"), loads["vectors"].T)
    assert stack.joined * chips == pytest.approx(sum(found[number].joined for number in numbers))


def chips_alike(chips: Slice, members: list[list[int]]) -> list[NDArray[np.bool_]]:
    """Of each stack, the chips with tables of the same names as the one that moves most bytes over all stacks."""
    names = [
        [tuple(sorted(chips.tables[n].name for n in numbers if n in held)) for held in chips.held]
        for numbers in members
    ]
    moved = np.zeros(CHIPS)
    for numbers, named in zip(members, names, strict=True):
        held = next(held[numbers[0]] for held in chips.held if numbers[0] in held)
        row = -(-4 * held.weights.shape[1] // 32) * 32
        state = sum(-(-4 * one.shape[1] // 32) * 32 if one.shape[1] > 1 else 4 for one in held.state)
        for chip, name in enumerate(named):
            same = [c for c in range(CHIPS) if named[c] == name != ()]
            if same:
                count = {k: table_counts(chips.counts, numbers, k) for k in ("ids", "vectors", "fetched", "updated")}
                moved[chip] += chips.tiles * count["fetched"][same].max() * row
                moved[chip] += chips.tiles * count["updated"][same].max() * 2 * (row + state)
                moved[chip] += count["ids"].sum(axis=0)[same].max() * 4
                moved[chip] += count["vectors"].sum(axis=1)[same].max() * 2 * 4 * held.weights.shape[1]
    busiest = int(moved.argmax())
    return [np.array([name == named[busiest] != () for name in named]) for named in names]


@given(
    data=st.data(), dedup=st.sampled_from(SCOPES), seed=st.integers(0, 1000), samples=st.integers(4, 9),
    tiles=st.sampled_from([1, TILES]),
)  # fmt: skip
@settings(max_examples=40)
def test_the_model_counts_what_the_twin_does(
    data: st.DataObject, dedup: str, seed: int, samples: int, tiles: int
) -> None:
    tables = (
        Table("a", 23, 8, popularity=Popularity(1.0), count=2), Table("b", 5, 4, optimizer="adam"), Table("c", 40, 8),
    )  # fmt: skip
    features = (
        Feature("x", "a", Valency(6, 0), count=4), Feature("y", "b", Valency(4, 4)), Feature("z", "c", Valency(3)),
    )  # fmt: skip
    embeddings = EmbeddingSet(tables, features)
    shardings = {table.name: data.draw(st.sampled_from(list(SHARDINGS.values()))) for table in tables}
    for name in "bc":
        shardings[name] = Sharding(shardings[name].kind, shardings[name].chips, shardings[name].firsts[:1])
    placement = Placement(CHIPS, shardings)
    batch, weights, gradients = drawn(embeddings, samples, seed)
    chips = Slice(embeddings, placement, dedup, tiles, weights)
    step(chips, batch, gradients)
    work = count_step_work(batch, embeddings, placement, dedup=dedup, tiles=tiles)

    members = defaultdict(list)
    for number, table in enumerate(chips.tables):
        one = shardings[table.name]
        width = table.width // one.chips if one.kind == "column" else table.width
        members[one.kind, one.chips, width, table.optimizer].append(number)
    assert len(work.stacks) == len(members)
    alike = chips_alike(chips, list(members.values()))
    for stack, numbers, those in zip(work.stacks, members.values(), alike, strict=True):
        check_stack(stack, chips.counts, numbers, those)
        lookups = sum(len(batch.of_feature(f)) for f, number in enumerate(batch.tables) if number in numbers)
        assert stack.looked_up * CHIPS == pytest.approx(lookups)

    def total(kind: str, sent: bool) -> np.ndarray:
        parts = [np.zeros((CHIPS, CHIPS))]
        for number, counts in enumerate(chips.counts):
            width = next(held[number].weights.shape[1] for held in chips.held if number in held)
            parts.append(getattr(counts, kind) * (4 * width if sent else 4))
        return np.sum(parts, axis=0)

    assert np.array_equal(np.broadcast_to(work.exchange.ids, (CHIPS, CHIPS)), total("ids", sent=False))
    assert np.array_equal(np.broadcast_to(work.exchange.vectors, (CHIPS, CHIPS)), total("vectors", sent=True))
    assert work.exchange.all_reduced == sum(counts.all_reduced for counts in chips.counts)

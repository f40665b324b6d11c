"""A step's counts: what statistics expect against what traces have, and traces that are not of the model."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accsim.embedding import (
    SCOPES,
    EmbeddingSet,
    Feature,
    Imbalance,
    Placement,
    Popularity,
    Sharding,
    Table,
    TraceBatch,
    Valency,
    count_step_work,
    count_unique,
    draw_batches,
    row_sharded,
    step_work,
)
from accsim.errors import InputError

CHIPS, TILES, SAMPLES, BATCHES = 16, 8, 200, 10


def model(popularity: Popularity, valency: Valency) -> EmbeddingSet:
    """Two tables alike, each read by one feature."""
    table = Table("t", 10**5, 16, popularity=popularity, count=2)
    return EmbeddingSet((table,), (Feature("f", "t", valency, count=2),))


CASES = {
    "even": model(Popularity(), Valency(20, 20)),
    "skewed": model(Popularity(1.05, 2), Valency(20, 20)),
    "any valency": model(Popularity(0.9, 2), Valency(100, median=10, sigma=1)),
}
SHARDINGS = {
    "row": Sharding("row", CHIPS),
    "row of four": Sharding("row", 4, firsts=(4, 8)),
    "table": Sharding("table", firsts=(3, 5)),
    "column": Sharding("column", 4, firsts=(2, 9)),
    "replicated": Sharding("replicated"),
}


@pytest.mark.parametrize("dedup", SCOPES)
@pytest.mark.parametrize("kind", SHARDINGS)
@pytest.mark.parametrize("case", CASES)
def test_statistics_agree_with_traces(case: str, kind: str, dedup: str) -> None:
    # Another seed scatters the hot rows anew. Means are right within sampling error; the largest of shards taken as
    # independent, and of a normal or a Fourier law, 3 % besides, and 8 % in tables that every chip holds, on each of
    # which the rows lie alike.
    embeddings, placement = CASES[case], Placement(CHIPS, {"t": SHARDINGS[kind]})
    drawn = [next(draw_batches(embeddings, SAMPLES * CHIPS, seed=seed)) for seed in range(BATCHES)]
    counted = [count_step_work(batch, embeddings, placement, dedup=dedup, tiles=TILES) for batch in drawn]
    (expected,) = step_work(embeddings, SAMPLES, placement, dedup=dedup, tiles=TILES).stacks
    near = 0.08 if kind == "replicated" else 0.03
    for field, due in vars(expected).items():
        found = [getattr(work.stacks[0], field) for work in counted]
        if isinstance(due, Imbalance):
            agree([one.mean for one in found], due.mean, 1e-9)
            agree([one.largest for one in found], due.largest, near)
        elif isinstance(due, float):
            agree(found, due, 1e-9)
        else:
            assert found == [due] * BATCHES


@pytest.mark.parametrize("dedup", SCOPES)
@pytest.mark.parametrize("kind", ["row", "row of four"])
@pytest.mark.parametrize("case", CASES)
def test_whole_chips_agree_with_traces(case: str, kind: str, dedup: str) -> None:
    """Rows dealt over chips, which have no tiles: the largest of chips within sampling error, and a thousandth."""
    embeddings, placement = CASES[case], Placement(CHIPS, {"t": SHARDINGS[kind]})
    drawn = [next(draw_batches(embeddings, SAMPLES * CHIPS, seed=seed)) for seed in range(2 * BATCHES)]
    counted = [count_step_work(batch, embeddings, placement, dedup=dedup, tiles=1).stacks[0] for batch in drawn]
    (expected,) = step_work(embeddings, SAMPLES, placement, dedup=dedup, tiles=1).stacks
    for field in ("served", "fetched", "combined", "updated"):
        for load in ("mean", "largest"):
            found = [getattr(getattr(one, field), load) for one in counted]
            agree(found, getattr(getattr(expected, field), load), 1e-3)
    if case == "skewed" and dedup == "owner":  # distinct rows are far better balanced than lookups
        assert expected.fetched.ratio - 1 < 0.1 * (expected.served.ratio - 1) or kind != "row"


@pytest.mark.parametrize("dedup", SCOPES)
@pytest.mark.parametrize("kind", SHARDINGS)
@pytest.mark.parametrize("case", CASES)
def test_a_chip_has_no_more_than_its_tiles(case: str, kind: str, dedup: str) -> None:
    """Counted: as many rows over all chips, and the busiest chip at most what all tiles as busy as the busiest have."""
    embeddings, placement = CASES[case], Placement(CHIPS, {"t": SHARDINGS[kind]})
    (batch,) = draw_batches(embeddings, SAMPLES * CHIPS, seed=3)
    for work, slack in (
        (lambda tiles: count_step_work(batch, embeddings, placement, dedup=dedup, tiles=tiles), 1e-12),
        (lambda tiles: step_work(embeddings, SAMPLES, placement, dedup=dedup, tiles=tiles), 1e-3),
    ):
        (chip,), (tile,) = work(1).stacks, work(TILES).stacks
        for field in ("fetched", "combined", "updated"):
            whole, each = getattr(chip, field), getattr(tile, field)
            assert whole.mean == pytest.approx(TILES * each.mean)
            assert whole.largest <= TILES * each.largest * (1 + slack)
        assert (chip.served, chip.sent, chip.received) == (tile.served, tile.sent, tile.received)


def agree(found: list[float], due: float, near: float) -> None:
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found) - due) <= 4 * error + near * due


@pytest.mark.parametrize("dedup", SCOPES)
@pytest.mark.parametrize("kind", SHARDINGS)
def test_pairs_add_up_to_what_chips_ask_and_send(kind: str, dedup: str) -> None:
    embeddings, placement = CASES["skewed"], Placement(CHIPS, {"t": SHARDINGS[kind]})
    (batch,) = draw_batches(embeddings, SAMPLES * CHIPS, seed=1)
    for work in (
        step_work(embeddings, SAMPLES, placement, dedup=dedup, tiles=TILES),
        count_step_work(batch, embeddings, placement, dedup=dedup, tiles=TILES),
    ):
        (stack,) = work.stacks
        ids = np.broadcast_to(work.exchange.ids, (CHIPS, CHIPS))
        vectors = np.broadcast_to(work.exchange.vectors, (CHIPS, CHIPS))
        row_bytes = 4 * stack.width
        assert ids.sum() / 4 == pytest.approx(stack.asked.mean * CHIPS) == pytest.approx(stack.served.mean * CHIPS)
        assert (
            vectors.sum() / row_bytes == pytest.approx(stack.sent.mean * CHIPS) == pytest.approx(stack.received * CHIPS)
        )
        if np.ndim(work.exchange.ids) and kind != "column":
            assert ids.sum(axis=0).max() / 4 == pytest.approx(stack.served.largest)
            assert vectors.sum(axis=1).max() / row_bytes == pytest.approx(stack.sent.largest)


def test_lookups_are_conserved_from_trace_to_tiles() -> None:
    embeddings = CASES["any valency"]
    (batch,) = draw_batches(embeddings, SAMPLES * CHIPS, seed=1)
    for sharding in SHARDINGS.values():
        work = count_step_work(batch, embeddings, Placement(CHIPS, {"t": sharding}), dedup="none", tiles=TILES)
        pieces = sharding.chips if sharding.kind == "column" else 1
        assert work.stacks[0].fetched.mean * CHIPS * TILES == pytest.approx(pieces * len(batch.indices))


@pytest.mark.parametrize("tiles", [1, TILES])
@pytest.mark.parametrize("kind", SHARDINGS)
def test_dedup_never_adds_bytes_of_memory(kind: str, tiles: int) -> None:
    embeddings, placement = CASES["skewed"], Placement(CHIPS, {"t": SHARDINGS[kind]})
    (batch,) = draw_batches(embeddings, SAMPLES * CHIPS, seed=2)
    none, source, owner = (
        count_step_work(batch, embeddings, placement, dedup=dedup, tiles=tiles).stacks[0] for dedup in SCOPES
    )
    for load in ("mean", "largest"):
        fetched = [getattr(one.fetched, load) for one in (none, source, owner)]
        assert fetched == sorted(fetched, reverse=True)
    assert none.updated == source.updated == owner.updated


def batch_of(indices: list[int], rows: list[int]) -> TraceBatch:
    """One row for each of two samples and two features."""
    arrays = (np.array(indices), np.arange(5), np.array([0, 1]), np.array(rows))
    return TraceBatch(2, *arrays, ("user", "item"))


TWO = EmbeddingSet((Table("users", 9, 8), Table("items", 5, 8)), (Feature("user", "users"), Feature("item", "items")))


@pytest.mark.parametrize("wrong", [5, -1])
def test_an_id_of_no_row_is_named(wrong: int) -> None:
    batch = batch_of([0, 8, 4, wrong], [9, 5])
    match = rf"item of table \d, sample 1, position 0: read {wrong}, allowed are ids of the table from 0 to 4"
    with pytest.raises(InputError, match=match):
        count_step_work(batch, TWO, row_sharded(TWO, 2), dedup="none", tiles=1)
    with pytest.raises(InputError, match=match):
        count_unique(batch)


def test_a_batch_of_other_tables_is_refused() -> None:
    with pytest.raises(InputError, match="items: the batch has 6 rows of this table, the model 5"):
        count_step_work(batch_of([0, 8, 4, 4], [9, 6]), TWO, row_sharded(TWO, 2), dedup="none", tiles=1)
    with pytest.raises(InputError, match="the batch is of 3 tables, the model has 2"):
        count_step_work(batch_of([0, 8, 4, 4], [9, 5, 7]), TWO, row_sharded(TWO, 2), dedup="none", tiles=1)
    with pytest.raises(InputError, match="chips: read 4, allowed is a whole number from 1 to 2"):
        count_step_work(batch_of([0, 8, 4, 4], [9, 5]), TWO, row_sharded(TWO, 4), dedup="none", tiles=1)


def test_a_table_that_no_feature_reads_is_held_and_no_more() -> None:
    embeddings = EmbeddingSet(
        (Table("a", 9, 8), Table("unread", 3, 16), Table("one row", 1, 8)),
        (Feature("f", "a", Valency(3, 0)), Feature("g", "one row", Valency(2, 0))),
    )
    for kind in ("row", "table", "replicated"):
        sharding = Sharding(kind, 4 if kind == "row" else 1)
        placement = Placement(4, {table.name: sharding for table in embeddings.tables})
        (batch,) = draw_batches(embeddings, 200, seed=1)
        expected = step_work(embeddings, 50, placement, dedup="owner", tiles=2)
        counted = count_step_work(batch, embeddings, placement, dedup="owner", tiles=2)
        assert [stack.features for stack in expected.stacks] == [stack.features for stack in counted.stacks] == [2]
        (stack,) = expected.stacks
        assert stack.combined.mean * 2 == pytest.approx((1.5 + 1) * 50)  # rows of a bag, 0 to 3 and 0 to 2
        assert placement.held_bytes(embeddings).max() >= embeddings.weight_bytes / 4


LAW_TABLES = EmbeddingSet((Table("t", 40, 16, count=2),), (Feature("f", "t", Valency(5, 0), count=4),))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(SHARDINGS)),
    st.lists(st.integers(0, 5), min_size=4 * CHIPS, max_size=4 * CHIPS),
    st.randoms(use_true_random=False),
)
def test_dedup_never_adds_fetches_whatever_the_sharding_and_the_ids(
    kind: str, lengths: list[int], random: Random
) -> None:
    # Four features of two tables of 40 rows, a sample a chip; on the mean and on the busiest tile.
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.array([random.randrange(random.choice((2, 40))) for _ in range(offsets[-1])], np.int64)
    batch = TraceBatch(CHIPS, ids, offsets, np.array([0, 1, 0, 1]), np.array([40, 40]), ("a", "b", "c", "d"))
    placement = Placement(CHIPS, {"t": SHARDINGS[kind]})
    for none, source, owner in zip(*(fetched(batch, placement, dedup) for dedup in SCOPES), strict=True):
        assert none.mean >= source.mean >= owner.mean
        assert none.largest >= source.largest >= owner.largest
    pieces = 4 if kind == "column" else 1
    every = sum(one.mean for one in fetched(batch, placement, "none")) * CHIPS * TILES
    assert every == pytest.approx(pieces * len(ids))


def fetched(batch: TraceBatch, placement: Placement, dedup: str) -> list[Imbalance]:
    """Rows that tiles fetch, stack by stack."""
    return [one.fetched for one in count_step_work(batch, LAW_TABLES, placement, dedup=dedup, tiles=TILES).stacks]

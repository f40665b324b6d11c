"""Index traces drawn and counted: against laws, a naive count and the closed forms."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accsim.embedding.trace import TraceBatch, draw_batches
from accsim.embedding.unique import count_unique, expected_unique
from accsim.errors import InputError
from accsim.kernels.embedding import ROUNDS, draw_ranks, scatter_ranks
from accsim.workload.catalogue import load_workload
from accsim.workload.embeddings import EmbeddingSet, Feature, Popularity, Table, Valency

LAWS = [
    Popularity(0, 0), Popularity(1, 0), Popularity(1.05, 2), Popularity(0.6, 40), Popularity(2.5), Popularity(1.3, 1e6),
]  # fmt: skip


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("rows", [1, 2, 50, 3000])
def test_ranks_follow_the_law(law: Popularity, rows: int) -> None:
    # Pearson's statistic of counts in classes of at least some 50 expected, against its mean and deviation.
    draws = 200_000
    ranks = np.empty(draws, np.int64)
    draw_ranks(np.random.default_rng(7), law.exponent, law.shift, rows, ranks)
    assert 1 <= ranks.min() <= ranks.max() <= rows
    heights = (np.arange(1.0, rows + 1) + law.shift) ** -law.exponent
    expected = draws * heights / heights.sum()
    classes = (np.cumsum(expected) // 50).astype(np.int64)
    seen = np.bincount(classes, np.bincount(ranks, minlength=rows + 1)[1:])
    due = np.bincount(classes, expected)
    seen, due = seen[due > 0], due[due > 0]
    freedom = max(len(due) - 1, 1)
    assert ((seen - due) ** 2 / due).sum() < freedom + 5 * np.sqrt(2 * freedom) + 5


@given(rows=st.integers(1, 3000), key=st.integers(0, 2**31 - 1))
@settings(max_examples=40)
def test_scattering_is_one_to_one(rows: int, key: int) -> None:
    ids = np.arange(1, rows + 1)
    scatter_ranks(ids, rows, np.full(ROUNDS, key))
    assert sorted(ids) == list(range(rows))


def test_scattering_spreads_the_head_over_shards() -> None:
    # The 4096 hottest of 10^6 rows in 64 shards by id mod 64: multinomial, 64 in each, variance 63.
    keys = np.random.default_rng(5).integers(2**31, size=(50, ROUNDS))
    loads = []
    for key in keys:
        ids = np.arange(1, 4097)
        scatter_ranks(ids, 10**6, key)
        loads.append(np.bincount(ids % 64, minlength=64))
    found = np.array(loads)
    assert found.var() == pytest.approx(63, rel=5 * np.sqrt(2 / found.size))


def naive(
    batch: TraceBatch, chips: int, shards: int
) -> tuple[Counter[tuple[int, int, int]], Counter[tuple[int, int, int]]]:
    """Lookups and distinct rows by table, chip and shard, bag by bag."""
    lookups: Counter[tuple[int, int, int]] = Counter()
    rows: set[tuple[int, int, int, int]] = set()
    first = [int(sum(batch.rows[:table])) for table in range(len(batch.rows))]
    cuts = [chip * batch.samples // chips for chip in range(chips + 1)]
    for feature, table in enumerate(batch.tables):
        for sample in range(batch.samples):
            chip = next(c for c in range(chips) if cuts[c] <= sample < cuts[c + 1])
            for row in batch.of_feature(feature, sample, sample + 1):
                shard = (first[table] + int(row)) % shards
                lookups[int(table), chip, shard] += 1
                rows.add((int(table), chip, shard, int(row)))
    return lookups, Counter((table, chip, shard) for table, chip, shard, _ in rows)


@given(
    samples=st.integers(3, 12), chips=st.integers(1, 3), shards=st.integers(1, 5), seed=st.integers(0, 100),
    exponent=st.floats(0, 2),
)  # fmt: skip
@settings(max_examples=30)
def test_counts_are_those_of_a_naive_count(samples: int, chips: int, shards: int, seed: int, exponent: float) -> None:
    tables = EmbeddingSet(
        (Table("a", 9, 4, popularity=Popularity(exponent), count=2), Table("b", 130, 4), Table("unread", 3, 4)),
        (Feature("x", "a", Valency(3, 0), count=4), Feature("y", "b", Valency(2, 2)), Feature("z", "b", Valency(40))),
    )
    (batch,) = draw_batches(tables, samples, seed=seed)
    found = count_unique(batch, chips=chips, shards=shards)
    lookups, unique = naive(batch, chips, shards)
    for place, count in np.ndenumerate(found.lookups):
        assert (count, found.unique[place]) == (lookups[place], unique[place])
    assert found.lookups.sum() == len(batch.indices) == batch.lengths.sum()
    assert (found.unique <= found.lookups).all()
    assert batch.names == ("x_0", "x_1", "x_2", "x_3", "y", "z")
    assert batch.tables.tolist() == [0, 1, 0, 1, 2, 2]


CASES = [
    (Table("t", 10**5, 8, popularity=Popularity(1.05, 2)), Valency(20, 20), 2000),
    (Table("t", 10**6, 8, popularity=Popularity(0.8)), Valency(100, median=10, sigma=1), 5000),
    (Table("t", 50, 8, popularity=Popularity(2)), Valency(1, 1), 400),
    (Table("t", 4 * 10**7, 8), Valency(100, 100), 2000),
    (Table("t", 10**5, 8, popularity=Popularity(1.2, 100)), Valency(7, 0), 10**4),
]


@pytest.mark.parametrize("chips", [1, 4])
@pytest.mark.parametrize(("table", "valency", "samples"), CASES)
def test_closed_form_agrees_with_the_trace(table: Table, valency: Valency, samples: int, chips: int) -> None:
    tables = EmbeddingSet((table,), (Feature("f", "t", valency),))
    batches = draw_batches(tables, samples, seed=11, batches=12)
    counted = np.concatenate([count_unique(batch, chips=chips).unique[0, :, 0] for batch in batches])
    expected = expected_unique(tables, table, samples / chips).unique
    assert abs(counted.mean() - expected) < 4 * counted.std(ddof=1) / np.sqrt(len(counted))


def test_draws_are_repeatable_and_batches_differ() -> None:
    tables = load_workload("dlrm_dcnv2").embeddings
    assert tables is not None
    first, second = (list(draw_batches(tables, 100, seed=seed, batches=2)) for seed in (1, 1))
    assert all(np.array_equal(a.indices, b.indices) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0].indices, first[1].indices)
    assert not np.array_equal(first[0].indices, next(draw_batches(tables, 100, seed=2)).indices)
    assert len(first[0].indices) == 100 * 214


def test_hot_rows_are_the_same_in_all_batches() -> None:
    tables = EmbeddingSet((Table("t", 10**6, 8, popularity=Popularity(1.5)),), (Feature("f", "t", Valency(50, 50)),))
    hottest = {int(np.bincount(batch.indices).argmax()) for batch in draw_batches(tables, 100, seed=1, batches=5)}
    assert len(hottest) == 1


def test_arrays_that_do_not_fit_together() -> None:
    good = {
        "samples": 2, "indices": np.array([0, 8, 4]), "offsets": np.array([0, 1, 2, 2, 3]),
        "tables": np.array([0, 1]), "rows": np.array([9, 5]), "names": ("user", "item"),
    }  # fmt: skip
    assert TraceBatch(**good).lengths.tolist() == [[1, 1], [0, 1]]  # type: ignore[arg-type]
    bad = [
        ({"samples": 3}, "offsets: read 5, allowed is one for each bag of 2 features of 3 samples and the end"),
        ({"offsets": np.array([0, 1, 2, 2, 4])}, "offsets: read some from 0 to 4, allowed are those from 0 to the 3"),
        ({"offsets": np.array([0, 1, 3, 2, 3])}, "offsets: the bag of feature 1, sample 0 ends before it begins"),
        ({"rows": np.array([9, 0])}, "rows: read 0 of table 1, allowed are 1 to 2^35"),
        ({"tables": np.array([0, 2])}, "tables: read 2 of feature 1, allowed are those of the 2 tables"),
        ({"names": ("user",)}, "names: read 1, allowed is one for each of the 2 features"),
    ]
    for changed, message in bad:
        with pytest.raises(InputError) as error:
            TraceBatch(**(good | changed))  # type: ignore[arg-type]
        assert message in str(error.value)
        assert len(error.value.problems) == 1


def test_bad_numbers() -> None:
    tables = EmbeddingSet((Table("t", 5, 8),), (Feature("f", "t"),))
    with pytest.raises(InputError) as error:
        draw_batches(tables, 0, seed=-1, batches=0)
    assert [problem.path for problem in error.value.problems] == ["samples", "batches", "seed"]
    (batch,) = draw_batches(tables, 4, seed=0)
    with pytest.raises(InputError, match="chips: read 5, allowed is a whole number from 1 to 4"):
        count_unique(batch, chips=5)
    with pytest.raises(InputError, match="shards: read 0"):
        count_unique(batch, shards=0)

"""The largest load of shards: what traces have, against what is expected without one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accsim.embedding.imbalance import SCOPES, count_imbalance, expected_imbalance
from accsim.embedding.trace import draw_batches
from accsim.embedding.unique import expected_unique
from accsim.errors import InputError
from accsim.workload.catalogue import load_workload
from accsim.workload.embeddings import EmbeddingSet, Feature, Popularity, Table, Valency

BATCHES = 60


def tables(popularity: Popularity, rows: int, lookups: int) -> EmbeddingSet:
    """Two tables alike, each read by one feature."""
    table = Table("t", rows, 8, popularity=popularity, count=2)
    return EmbeddingSet((table,), (Feature("f", "t", Valency(lookups, lookups), count=2),))


CASES = [
    (tables(Popularity(), 10**5, 20), 1000, 64),
    (tables(Popularity(1.05, 2), 10**5, 20), 1000, 16),
    (tables(Popularity(1.05, 2), 10**5, 20), 1000, 512),
    (tables(Popularity(1.3), 10**6, 10), 2000, 64),
    (tables(Popularity(0.8, 10), 10**5, 5), 2000, 64),
]


@pytest.mark.parametrize("dedup", SCOPES)
@pytest.mark.parametrize(("embeddings", "samples", "shards"), CASES)
def test_closed_form_agrees_with_traces(embeddings: EmbeddingSet, samples: int, shards: int, dedup: str) -> None:
    # Another seed scatters the hot rows anew.
    found = [
        count_imbalance(next(draw_batches(embeddings, samples, seed=seed)), shards=shards, dedup=dedup, chips=8)
        for seed in range(BATCHES)
    ]
    expected = expected_imbalance(embeddings, samples, shards=shards, dedup=dedup, chips=8)
    for field in ("mean", "largest"):
        counted = np.array([getattr(one, field) for one in found])
        error = counted.std(ddof=1) / np.sqrt(BATCHES)
        assert abs(counted.mean() - getattr(expected, field)) <= 4 * error + 1e-9 * counted.mean()


def dealt(rows: list[int], samples: int, shards: int, rng: np.random.Generator) -> int:
    """Largest load of even lookups, one a sample and table, of tables whose rows are dealt evenly over any shards."""
    loads = np.zeros(shards, np.int64)
    for count in rows:
        place = rng.permutation(shards)[np.arange(count) % shards]
        np.add.at(loads, place, rng.multinomial(samples, np.full(count, 1 / count)))
    return int(loads.max())


@pytest.mark.parametrize("rows", [[3, 4, 10, 14, 35, 62, 1000, 10**4], [500, 800], [64] * 5, [256, 512], [70]])
def test_tables_of_few_rows(rows: list[int]) -> None:
    # Loads are in lumps here, and shards are far from independent: the expectation is 2 % off at most.
    shards, samples, times = 256, 5000, 400
    tables = tuple(Table(f"t{i}", count, 8) for i, count in enumerate(rows))
    embeddings = EmbeddingSet(tables, tuple(Feature(table.name, table.name) for table in tables))
    rng = np.random.default_rng(2)
    found = np.array([dealt(rows, samples, shards, rng) for _ in range(times)])
    expected = expected_imbalance(embeddings, samples, shards=shards, dedup="none")
    error = 4 * found.std() / np.sqrt(times)
    assert expected.largest == pytest.approx(found.mean(), abs=error + 0.02 * found.mean())


def test_one_row_that_all_look_up_is_in_one_shard() -> None:
    for dedup, due in {"none": 500, "source": 10, "owner": 1}.items():
        found = expected_imbalance(
            EmbeddingSet((Table("t", 1, 8),), (Feature("f", "t", Valency(5, 5)),)), 100, shards=4, dedup=dedup, chips=10
        )
        assert found.mean == pytest.approx(due / 4)
        assert found.largest == pytest.approx(due, rel=0.02)


def test_means_are_those_of_dedup() -> None:
    embeddings, samples, shards = CASES[1]
    table = embeddings.tables[0]
    whole, part = (expected_unique(embeddings, table, n) for n in (samples, samples / 8))
    due = {"none": whole.lookups, "source": 8 * part.unique, "owner": whole.unique}
    for dedup in SCOPES:
        found = expected_imbalance(embeddings, samples, shards=shards, dedup=dedup, chips=8)
        assert found.mean == pytest.approx(2 * due[dedup] / shards)


def test_even_lookups_have_no_imbalance_in_the_limit() -> None:
    ratios = [
        expected_imbalance(tables(Popularity(), 10**7, 10), samples, shards=64, dedup="none").ratio
        for samples in (100, 10**4, 10**6)
    ]
    assert ratios == sorted(ratios, reverse=True)
    assert 1 <= ratios[-1] < 1.01


@given(
    exponent=st.floats(0, 1.5), shards=st.integers(2, 256), samples=st.integers(1, 5000), chips=st.integers(1, 16),
)  # fmt: skip
@settings(max_examples=5)
def test_dedup_never_fetches_more(exponent: float, shards: int, samples: int, chips: int) -> None:
    embeddings = tables(Popularity(exponent), 10**5, 5)
    loads = [expected_imbalance(embeddings, samples, shards=shards, dedup=dedup, chips=chips) for dedup in SCOPES]
    for more, less in pairwise(loads):
        assert less.mean <= more.mean * (1 + 1e-9)
        assert less.largest <= more.largest * 1.02  # each is off by the width of the points it is known at
    assert all(load.ratio >= 1 for load in loads)


def test_counts_of_one_shard() -> None:
    embeddings, samples, _ = CASES[0]
    (batch,) = draw_batches(embeddings, samples, seed=0)
    found = count_imbalance(batch, shards=1, dedup="none")
    assert found.mean == found.largest == len(batch.indices) == 2 * 20 * samples
    assert expected_imbalance(embeddings, samples, shards=1, dedup="none").ratio == 1


def test_a_model_of_many_tables() -> None:
    embeddings = load_workload("dlrm_dcnv2").embeddings
    assert embeddings is not None
    plain, deduped = (expected_imbalance(embeddings, 65536, shards=512, dedup=dedup) for dedup in ("none", "owner"))
    assert plain.mean == pytest.approx(214 * 65536 / 512)
    # A table of 3 rows that every sample looks up once: each of its rows has a third of the batch.
    assert plain.largest > plain.mean + 65536 / 3
    assert deduped.ratio < 1.05


def test_bad_arguments() -> None:
    embeddings, samples, shards = CASES[0]
    with pytest.raises(InputError, match="unknown dedup 'ower', allowed are none, source, owner"):
        expected_imbalance(embeddings, samples, shards=shards, dedup="ower")
    with pytest.raises(InputError, match="shards: read 0"):
        expected_imbalance(embeddings, samples, shards=0, dedup="owner")
    with pytest.raises(InputError, match="unknown dedup"):
        count_imbalance(next(draw_batches(embeddings, 1, seed=0)), shards=1, dedup="")

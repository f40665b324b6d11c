"""How often rows are used: counted, expected, and the laws fitted to it, against published statistics of a trace."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from accsim.embedding.reuse import Draws, Reuse, count_reuse, expected_reuse, fit_mixture
from accsim.embedding.trace import draw_batches
from accsim.errors import InputError
from accsim.workload.embeddings import EmbeddingSet, Feature, Popularity, Table, Valency

LOOKUPS, TABLES = 1.405e9, 788
"""Of one file of 2022: facebookresearch/dlrm_datasets, embedding_bag/2022."""


def published() -> Reuse:
    """embedding_bag/2022/locality_stats.txt: shares of rows and of lookups, and 1.405e9 lookups of 1.1026e8 rows."""
    rows = np.array([0.342, 0.144, 0.149, 0.138, 0.112, 0.068, 0.029, 0.010, 0.004, 0.002, 0.001, 0.001, *[0.0] * 5])
    lookups = np.array(
        [
            0.027,
            0.023,
            0.040,
            0.068,
            0.105,
            0.120,
            0.099,
            0.070,
            0.059,
            0.054,
            0.040,
            0.072,
            0.064,
            0.047,
            0.021,
            0.017,
            0.075,
        ]
    )
    return Reuse(rows / rows.sum(), lookups / lookups.sum(), 1.405e9 / 1.1026e8)


def batch_of(popularity: Popularity, rows: int, lookups: int) -> EmbeddingSet:
    table = Table("t", rows, 8, popularity=popularity, count=3)
    return EmbeddingSet((table,), (Feature("f", "t", Valency(lookups, lookups), count=6),))


def test_counts_are_those_of_a_naive_count() -> None:
    (batch,) = draw_batches(batch_of(Popularity(1.3), 500, 7), 40, seed=1)
    uses: Counter[tuple[int, int]] = Counter()
    for feature, table in enumerate(batch.tables):
        uses.update((int(table), int(row)) for row in batch.of_feature(feature))
    found = count_reuse(batch)
    assert found.mean == pytest.approx(len(batch.indices) / len(uses))
    for bin_, (least, most) in enumerate([(1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32), (33, 64), (65, 128)]):
        inside = [count for count in uses.values() if least <= count <= most]
        assert found.rows[bin_] == pytest.approx(len(inside) / len(uses))
        assert found.lookups[bin_] == pytest.approx(sum(inside) / len(batch.indices))


@pytest.mark.parametrize("popularity", [Popularity(), Popularity(1.05, 10), Popularity(0.7, 100), Popularity(1.6)])
def test_expected_shares_are_those_of_traces(popularity: Popularity) -> None:
    embeddings = batch_of(popularity, 20_000, 10)
    counted = [count_reuse(batch) for batch in draw_batches(embeddings, 2000, seed=3, batches=8)]
    expected = expected_reuse([Draws(popularity, 20_000, 2 * 10 * 2000, 3)])
    for field in ("rows", "lookups", "mean"):
        found = np.array([getattr(one, field) for one in counted])
        error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
        # The rare last bins have no row in most batches, or always the same: their error is that of one row of 20,000.
        assert (np.abs(found.mean(axis=0) - getattr(expected, field)) <= 4.5 * error + 1 / 20_000).all()


def test_one_representative_table_as_calculated_before() -> None:
    # A single law fitted to the same statistics by hand: reuse 10.75 with 2e5 rows and 12.1 with 1.7e5, the hottest row
    # has 16.4 thousand uses, so that nothing is in the last bin.
    found = [expected_reuse([Draws(Popularity(1.0, 10), rows, LOOKUPS / TABLES)]) for rows in (200_000, 170_000)]
    assert [one.mean for one in found] == pytest.approx([10.75, 12.1], rel=0.005)
    assert found[0].lookups[-1] < 1e-9


def test_two_kinds_of_tables_have_the_published_reuse() -> None:
    # Distances of at most 0.06, a reuse within 10 %, and at least 5 % of the lookups are of rows used more than 32768
    # times. These are the laws of docs/embeddings.md, which fit_mixture finds.
    kinds = [
        Draws(Popularity(0.914, 1.40), 76_700, 2.833e6, 394),
        Draws(Popularity(1.115, 3474), 345_700, 7.33e5, 394),
    ]
    assert sum(kind.lookups * kind.count for kind in kinds) == pytest.approx(LOOKUPS, rel=0.001)
    found = expected_reuse(kinds)
    assert max(found.distance(published())) < 0.03
    assert found.mean == pytest.approx(published().mean, rel=0.01)
    assert found.lookups[-1] > 0.05


def test_a_fit_finds_the_law_of_a_trace() -> None:
    truth = Draws(Popularity(1.1, 30), 30_000, 10**6)
    table = Table("t", truth.rows, 8, popularity=truth.popularity)
    embeddings = EmbeddingSet((table,), (Feature("f", "t", Valency(100, 100)),))
    counted = count_reuse(next(draw_batches(embeddings, 10**4, seed=5)))
    (found,) = fit_mixture(counted, truth.lookups)
    assert found.popularity.exponent == pytest.approx(1.1, abs=0.05)
    assert found.rows == pytest.approx(truth.rows, rel=0.02)
    assert max(expected_reuse([found]).distance(counted)) < 0.005
    assert expected_reuse([found]).mean == pytest.approx(counted.mean, rel=0.005)


def test_bad_numbers() -> None:
    with pytest.raises(InputError, match="lookups: read 0, allowed is a number above 0; kinds: read -1"):
        fit_mixture(published(), 0, kinds=-1)
    with pytest.raises(InputError, match="kinds: read 2, allowed are at most the 1 tables"):
        fit_mixture(published(), 10, kinds=2)

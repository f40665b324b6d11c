"""Parts of bags: against rows dealt out and bags drawn, and where the formula can be read off."""

from __future__ import annotations

import numpy as np
import pytest

from accsim.embedding import EmbeddingSet, Feature, Popularity, Table, Valency
from accsim.embedding.parts import bag_parts, expected_parts, expected_sums

TRIALS = 20_000


@pytest.mark.parametrize("popularity", [Popularity(), Popularity(1.0), Popularity(1.5, 2)], ids=str)
@pytest.mark.parametrize(
    ("rows", "owners", "size"),
    [(3, 8, 5), (1, 4, 7), (8, 8, 6), (20, 8, 6), (50, 4, 30), (1000, 16, 20), (1000, 2, 3)],
)
def test_parts_are_those_of_rows_dealt_out(rows: int, owners: int, size: int, popularity: Popularity) -> None:
    rng = np.random.default_rng(1)
    heights = (np.arange(1.0, rows + 1) + popularity.shift) ** -popularity.exponent
    bags = rng.choice(rows, (TRIALS, size), p=heights / heights.sum())
    # Row 0 is hottest; in each trial any row is at any place of those that are dealt out in turn.
    places = rng.permuted(np.tile(np.arange(rows), (TRIALS, 1)), axis=1)
    owner = np.sort(np.take_along_axis(places, bags, axis=1) % owners, axis=1)
    parts = 1 + (np.diff(owner, axis=1) > 0).sum(axis=1)
    found = bag_parts(Valency(size, size), popularity, rows, owners)
    # To the second order in how the different rows of a bag spread: 0.4 % at most here.
    assert found.sent == pytest.approx(parts.mean(), abs=4 * parts.std() / np.sqrt(TRIALS) + 0.004 * parts.mean())
    assert found.joined == found.sent


@pytest.mark.parametrize("owners", [2, 16, 128, 1024])
@pytest.mark.parametrize("size", [1, 2, 20, 100])
def test_rows_that_all_differ(owners: int, size: int) -> None:
    found = bag_parts(Valency(size, size), Popularity(), 10**9, owners)
    assert found.sent == pytest.approx(owners * (1 - (1 - 1 / owners) ** size), rel=1e-5)
    assert found.joined == (found.sent if size > 1 else 0)


def test_valencies_are_averaged() -> None:
    each = [bag_parts(Valency(size, size), Popularity(1.0), 5000, 8) for size in (1, 2, 3)]
    found = bag_parts(Valency(3, 0), Popularity(1.0), 5000, 8)
    assert found.sent == pytest.approx(sum(one.sent for one in each) / 4)
    assert found.joined == pytest.approx(sum(one.joined for one in each) / 4)
    assert bag_parts(Valency(3, 0), Popularity(1.0), 5000, 1) == pytest.approx((0.75, 0, 0, 0))


def test_tables_and_features_alike_are_counted() -> None:
    tables = EmbeddingSet((Table("t", 5000, 8, count=3),), (Feature("f", "t", Valency(4, 4), count=6),))
    assert expected_parts(tables, 8).sent == pytest.approx(6 * bag_parts(Valency(4, 4), Popularity(), 5000, 8).sent)
    sums = expected_sums(tables, 1000, owners=8)
    assert sums.mean == pytest.approx(1000 * expected_parts(tables, 8).sent / 8)
    assert 1 < sums.ratio < 1.05
    assert expected_sums(tables, 1000, owners=1).largest == 6000

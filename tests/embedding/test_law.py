"""Sums over all rows by a few nodes, against the sums themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accsim.embedding.law import rank_law
from accsim.embedding.unique import expected_unique
from accsim.workload.embeddings import EmbeddingSet, Feature, Popularity, Table, Valency

laws = st.builds(Popularity, st.floats(0, 3), st.floats(0, 1e4))


def every_chance(popularity: Popularity, rows: int) -> np.ndarray:
    """The law's definition, float64[rows]."""
    heights = (np.arange(1.0, rows + 1) + popularity.shift) ** -popularity.exponent
    return heights / heights.sum()


@given(popularity=laws, rows=st.integers(1, 20_000), draws=st.floats(1, 1e7))
def test_expected_unique_is_the_full_sum(popularity: Popularity, rows: int, draws: float) -> None:
    with np.errstate(divide="ignore"):
        full = -np.expm1(draws * np.log1p(-every_chance(popularity, rows))).sum()
        law = rank_law(popularity, rows)
        assert law.total(lambda p: -np.expm1(draws * np.log1p(-np.minimum(p, 1)))) == pytest.approx(full, rel=1e-5)
    assert law.weights.sum() == pytest.approx(rows)
    assert law.total(lambda p: p) == pytest.approx(1)


def test_ten_million_rows() -> None:
    popularity, rows = Popularity(1.05, 2), 10**7
    chances = every_chance(popularity, rows)
    law = rank_law(popularity, rows)
    assert len(law.weights) < 250
    for draws in (1e3, 1e6, 1e9):
        full = -np.expm1(draws * np.log1p(-chances)).sum()
        assert law.total(lambda p, d=draws: -np.expm1(d * np.log1p(-p))) == pytest.approx(full, rel=1e-5)


def one_table(table: Table, valency: Valency, times: int = 1) -> EmbeddingSet:
    return EmbeddingSet((table,), tuple(Feature(f"f{i}", table.name, valency) for i in range(times)))


def test_bags_of_any_size_by_their_definition() -> None:
    # P(row in no bag) = prod over features of (sum over sizes of P(size) (1 - p)^size)^samples, row by row.
    table = Table("t", 500, 8, popularity=Popularity(1.2, 1))
    valency = Valency(30, 0, median=4, sigma=0.8)
    found = expected_unique(one_table(table, valency, times=2), table, samples=77)
    chances = every_chance(table.popularity, table.rows)
    missed = sum(share * (1 - chances) ** size for size, share in enumerate(valency.probabilities()))
    assert found.unique == pytest.approx((1 - missed ** (2 * 77)).sum(), rel=1e-6)
    assert found.lookups == pytest.approx(2 * 77 * valency.mean)


@given(rows=st.integers(1, 10**6), samples=st.integers(1, 10**6))
def test_even_lookups_by_the_formula_of_bins(rows: int, samples: int) -> None:
    table = Table("t", rows, 8)
    found = expected_unique(one_table(table, Valency(3, 3)), table, samples)
    chance = -np.expm1(3 * samples * np.log1p(-1 / rows)) if rows > 1 else 1.0
    assert found.unique == pytest.approx(rows * chance, rel=1e-9)


@given(popularity=laws, rows=st.integers(1, 10**6), samples=st.integers(1, 10**5))
def test_unique_fraction_falls_with_the_batch(popularity: Popularity, rows: int, samples: int) -> None:
    table = Table("t", rows, 8, popularity=popularity)
    tables = one_table(table, Valency(4, 4))
    small, large = (expected_unique(tables, table, n) for n in (samples, 2 * samples))
    assert large.unique_fraction <= small.unique_fraction * (1 + 1e-9)
    assert small.unique <= large.unique * (1 + 1e-9)
    assert small.unique <= min(rows, small.lookups) * (1 + 1e-9)

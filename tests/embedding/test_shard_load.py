"""What shards fetch, as a law: the kernel against its formulas, and rows in nodes against rows one by one."""

from __future__ import annotations

import numpy as np
import pytest

from accsim.embedding import (
    SCOPES,
    EmbeddingSet,
    Feature,
    Popularity,
    Table,
    Valency,
    expected_imbalance,
    imbalance,
    law,
    shard_load,
)
from accsim.kernels.shard_load import HotRows, RowNodes, TableDeals, load_spectra
from tests.reference import shard_load_naive


@pytest.mark.parametrize("seed", range(1, 6))
def test_characteristic_functions_are_those_of_the_formulas(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bounds = np.array([0, 1, 1 + seed, 9])
    chances = 10 ** rng.uniform(-9, 0, 9)
    rows = RowNodes(rng.uniform(1, 50, 9), chances, np.where(rng.random(9) < 0.5, 1.0, rng.integers(1, 200, 9)), bounds)
    deals = TableDeals(
        np.array([1.0, 30.0, 2.0]),
        rng.uniform(0, 3, 3),
        np.array([0.0, 0.4, 2.0]),
        np.array([False, True, True]),
        np.array([1.0, 0.0, 0.5]),
    )
    hot = HotRows(np.array([1, 1, 2 + seed, 8, 8]), np.array([1, 1, 2, 2, 2] if seed > 1 else [2] * 5))
    frequencies = rng.uniform(0, 0.3, 20)
    found = np.zeros((6, 20), np.complex128)
    assert load_spectra(frequencies, 3.0, 0.5, 64.0, rows, deals, hot, 0.0, found) == 20
    due = shard_load_naive.spectra(frequencies, 3.0, 0.5, 64.0, rows, deals, hot)
    assert np.abs(found - due.astype(np.complex128)).max() < 1e-12


def test_what_is_negligible_is_left_out() -> None:
    rows = RowNodes(np.full(1, 1e6), np.full(1, 0.5), np.ones(1), np.array([0, 1]))
    deals = TableDeals(np.ones(1), np.full(1, 1e5), np.zeros(1), np.zeros(1, np.bool_), np.zeros(1))
    none = HotRows(np.zeros(0, np.int64), np.zeros(0, np.int64))
    frequencies = np.linspace(0, 1, 1000)
    found = np.zeros((1, 1000), np.complex128)
    known = load_spectra(frequencies, 0.0, 0.0, 10.0, rows, deals, none, 1e-13, found)
    assert known < 1000
    assert np.abs(shard_load_naive.spectra(frequencies[known:], 0.0, 0.0, 10.0, rows, deals, none)).max() < 1e-13


@pytest.mark.parametrize("dedup", SCOPES)
@pytest.mark.parametrize("popularity", [Popularity(1.05, 2), Popularity(0.8, 10), Popularity(1.3)], ids=str)
def test_nodes_are_right_to_a_thousandth(popularity: Popularity, dedup: str, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = EmbeddingSet((Table("t", 4000, 8, popularity=popularity),), (Feature("f", "t", Valency(20, 20)),))
    in_nodes = expected_imbalance(embeddings, 500, shards=128, dedup=dedup, chips=8)
    monkeypatch.setattr(imbalance, "rank_law", all_rows)
    one_by_one = expected_imbalance(embeddings, 500, shards=128, dedup=dedup, chips=8)
    assert in_nodes.largest == pytest.approx(one_by_one.largest, rel=1e-3)
    assert in_nodes.mean == pytest.approx(one_by_one.mean, rel=1e-4)


@pytest.mark.parametrize("dedup", SCOPES)
@pytest.mark.parametrize("rows", [3, 63, 500, 10**5])
@pytest.mark.parametrize("exponent", [0.0, 1.05])
def test_lukewarm_rows_need_not_be_told_apart(
    exponent: float, rows: int, dedup: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table("t", rows, 8, popularity=Popularity(exponent), count=2)
    embeddings = EmbeddingSet((table,), (Feature("f", "t", Valency(20, 20), count=2),))
    found = expected_imbalance(embeddings, 5000, shards=64, dedup=dedup, chips=8)
    monkeypatch.setattr(shard_load, "LUKEWARM", 0.0)
    assert found.largest == pytest.approx(
        expected_imbalance(embeddings, 5000, shards=64, dedup=dedup, chips=8).largest, rel=1e-4
    )


def all_rows(popularity: Popularity, rows: int) -> law.RankLaw:
    """A law with a node for each row."""
    heights = (np.arange(1.0, rows + 1) + popularity.shift) ** -popularity.exponent
    return law.RankLaw(np.ones(rows), heights / heights.sum())


def test_groups_that_are_alike_have_the_larger_maximum() -> None:
    # Even lookups of many rows: the largest of four groups of 64 shards is that of 256 shards with as much each.
    embeddings = EmbeddingSet((Table("t", 10**6, 8),), (Feature("f", "t", Valency(20, 20)),))
    one, four = (expected_imbalance(embeddings, 5000, shards=64, dedup="none", groups=g) for g in (1, 4))
    many = expected_imbalance(embeddings, 5000 * 4, shards=256, dedup="none")
    assert one.mean == four.mean == pytest.approx(many.mean)
    assert one.largest < four.largest == pytest.approx(many.largest, rel=1e-3)

"""A step's counts from statistics: against the arithmetic of the published models and laws that any placement obeys."""

from __future__ import annotations

import numpy as np
import pytest

from accsim.embedding import SCOPES
from accsim.embedding.placement import Placement, Sharding, row_sharded
from accsim.embedding.step_work import step_work
from accsim.errors import InputError
from accsim.workload.catalogue import load_workload
from accsim.workload.embeddings import EmbeddingSet, Feature, Popularity, Table, Valency

CHIPS, SAMPLES, TILES = 128, 512, 64


def dcnv2() -> EmbeddingSet:
    found = load_workload("dlrm_dcnv2").embeddings
    assert found is not None
    return found


def test_dcnv2_over_128_chips_sends_179_vectors_a_sample() -> None:
    # The sum over the published bag sizes of N (1 − (1 − 1/N)^v).
    sizes = [3, 2, 1, 2, 6, 1, 1, 1, 1, 7, 3, 8, 1, 6, 9, 5, 1, 1, 1, 12, 100, 27, 10, 3, 1, 1]
    due = sum(CHIPS * (1 - (1 - 1 / CHIPS) ** size) for size in sizes)
    assert due == pytest.approx(179, abs=0.5)
    work = step_work(dcnv2(), SAMPLES, row_sharded(dcnv2(), CHIPS), dedup="none", tiles=TILES)
    (stack,) = work.stacks
    # Tables of few rows have a bag's rows nearer together, or a row twice.
    assert stack.received / SAMPLES == pytest.approx(due, rel=2e-3)
    assert stack.received == pytest.approx(stack.sent.mean)
    assert stack.asked.mean == stack.asked.largest == pytest.approx(sum(sizes) * SAMPLES)
    assert stack.features == 26
    assert np.mean(work.exchange.ids) == pytest.approx(4 * sum(sizes) * SAMPLES / CHIPS)
    assert np.mean(work.exchange.vectors) == pytest.approx(4 * 128 * stack.received / CHIPS)


@pytest.mark.parametrize("dedup", SCOPES)
def test_replicating_everything_exchanges_nothing_forward(dedup: str) -> None:
    tables = EmbeddingSet((Table("t", 1000, 16, count=2),), (Feature("f", "t", Valency(9, 9), count=4),))
    work = step_work(tables, SAMPLES, Placement(8, {"t": Sharding("replicated")}), dedup=dedup, tiles=4)
    assert (work.exchange.ids, work.exchange.vectors) == (0.0, 0.0)
    assert work.exchange.all_reduced == tables.weight_bytes
    (stack,) = work.stacks
    assert stack.combined.mean == pytest.approx(9 * 4 * SAMPLES / 4)
    assert stack.replicated


@pytest.mark.parametrize("exponent", [0.0, 1.05])
def test_dedup_never_adds_fetches_and_keeps_lookups(exponent: float) -> None:
    law = Popularity(exponent)
    tables = EmbeddingSet((Table("t", 10**5, 16, popularity=law),), (Feature("f", "t", Valency(20, 20)),))
    none, source, owner = (
        step_work(tables, SAMPLES, row_sharded(tables, 8), dedup=dedup, tiles=16).stacks[0] for dedup in SCOPES
    )
    assert none.fetched.mean >= source.fetched.mean >= owner.fetched.mean == pytest.approx(owner.updated.mean)
    # The law is one of fetches: rows that travel one by one are more vectors than sums of bags, and more to add up.
    if exponent == 0:
        assert source.received == pytest.approx(20 * SAMPLES, rel=0.06)
        assert source.received > 2 * none.received
        assert source.received + source.fetched.mean * 16 > none.received + none.fetched.mean * 16
    assert none.fetched.mean * 16 == pytest.approx(20 * SAMPLES)
    assert source.joined == pytest.approx(20 * SAMPLES) == owner.combined.mean * 16
    assert source.sent == source.served


@pytest.mark.parametrize("dedup", SCOPES)
def test_even_lookups_burden_all_chips_alike_in_the_limit(dedup: str) -> None:
    tables = EmbeddingSet((Table("t", 10**8, 16),), (Feature("f", "t", Valency(20, 20)),))
    ratios = []
    for samples in (2**4, 2**8, 2**12, 2**16):
        (stack,) = step_work(tables, samples, row_sharded(tables, 8), dedup=dedup, tiles=1).stacks
        ratios.append(max(stack.fetched.ratio, stack.combined.ratio, stack.updated.ratio) - 1)
    # The largest of eight normal numbers is 1.42 deviations above their mean.
    for samples, ratio in zip((2**4, 2**8, 2**12, 2**16), ratios, strict=True):
        assert 0 < ratio < 1.05 * 1.42 / (20 * samples) ** 0.5


@pytest.mark.parametrize("dedup", SCOPES)
def test_one_row_that_all_look_up_is_asked_of_one_chip(dedup: str) -> None:
    tables = EmbeddingSet((Table("t", 1, 16),), (Feature("f", "t", Valency(5, 5)),))
    work = step_work(tables, 100, row_sharded(tables, 4), dedup=dedup, tiles=2)
    ids = np.broadcast_to(work.exchange.ids, (4, 4))
    assert (ids >= 0).all()
    assert ids[:, 0].sum() == pytest.approx(ids.sum())
    assert ids.sum() == pytest.approx(4 * (4 if dedup == "source" else 4 * 5 * 100))
    # However many rows a bag has, they are one: its owner sends one vector.
    assert work.stacks[0].received == pytest.approx(1 if dedup == "source" else 100)


def test_stacks_on_other_chips_than_the_busiest_are_not_waited_for() -> None:
    tables = EmbeddingSet(
        (Table("a", 1000, 16), Table("b", 1000, 32)), (Feature("f", "a", Valency(9, 9)), Feature("g", "b"))
    )
    apart = {"a": Sharding("table", firsts=(0,)), "b": Sharding("table", firsts=(1,))}
    a, b = step_work(tables, SAMPLES, Placement(2, apart), dedup="none", tiles=4).stacks
    assert a.fetched.largest > 9 * 2 * SAMPLES / 4 == pytest.approx(2 * a.fetched.mean)
    assert (b.fetched.largest, b.sent.largest) == (0.0, 0.0)
    assert b.fetched.mean == pytest.approx(2 * SAMPLES / 8)
    together = {"a": Sharding("table"), "b": Sharding("table")}
    a, b = step_work(tables, SAMPLES, Placement(2, together), dedup="none", tiles=4).stacks
    assert b.fetched.largest > 2 * SAMPLES / 4


def test_bad_arguments() -> None:
    with pytest.raises(InputError) as error:
        step_work(dcnv2(), 0, row_sharded(dcnv2(), 4), dedup="none", tiles=0)
    assert [problem.path for problem in error.value.problems] == ["samples", "tiles"]
    with pytest.raises(InputError, match=r"unknown dedup 'sauce'.*source"):
        step_work(dcnv2(), 1, row_sharded(dcnv2(), 4), dedup="sauce", tiles=1)

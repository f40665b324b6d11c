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
    assert none.fetched.mean * 16 == pytest.approx(20 * SAMPLES)
    assert source.joined == pytest.approx(20 * SAMPLES) == owner.combined.mean * 16
    assert source.sent == source.served


def test_bad_arguments() -> None:
    with pytest.raises(InputError) as error:
        step_work(dcnv2(), 0, row_sharded(dcnv2(), 4), dedup="none", tiles=0)
    assert [problem.path for problem in error.value.problems] == ["samples", "tiles"]
    with pytest.raises(InputError, match=r"unknown dedup 'sauce'.*source"):
        step_work(dcnv2(), 1, row_sharded(dcnv2(), 4), dedup="sauce", tiles=1)

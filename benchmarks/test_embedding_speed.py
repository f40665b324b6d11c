"""Lookups counted, and drawn, a second; and a batch of MLPerf's DLRM-DCNv2 from statistics."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from accsim.embedding import (
    SCOPES,
    EmbeddingSet,
    Feature,
    Popularity,
    Table,
    Valency,
    count_step_work,
    count_unique,
    draw_batches,
    expected_imbalance,
    expected_unique,
    row_sharded,
    step_work,
)
from accsim.mapping.sparse_core import place_of
from accsim.system import read_slice
from accsim.system.placing import placements
from accsim.workload.catalogue import load_workload

SAMPLES, CHIPS, TILES = 65536, 128, 64


def one_table(rows: int) -> EmbeddingSet:
    """A table that each sample looks up fifty times."""
    table = Table("t", rows, 16, popularity=Popularity(1.05, 2))
    return EmbeddingSet((table,), (Feature("f", "t", Valency(50, 50)),))


def print_rate(benchmark: BenchmarkFixture, lookups: int) -> None:
    """Keep lookups a second beside the times."""
    benchmark.extra_info["million_lookups_per_s"] = lookups / benchmark.stats["min"] / 1e6


@pytest.mark.parametrize("rows", [10**5, 4 * 10**7])
@pytest.mark.parametrize(("chips", "shards"), [(1, 1), (1, TILES), (CHIPS, TILES)])
def test_count_unique(benchmark: BenchmarkFixture, rows: int, chips: int, shards: int) -> None:
    (batch,) = draw_batches(one_table(rows), SAMPLES, seed=1)
    benchmark(count_unique, batch, chips=chips, shards=shards)
    print_rate(benchmark, len(batch.indices))


@pytest.mark.parametrize("rows", [10**5, 4 * 10**7])
def test_draw(benchmark: BenchmarkFixture, rows: int) -> None:
    embeddings = one_table(rows)
    (batch,) = benchmark(lambda: list(draw_batches(embeddings, SAMPLES, seed=1)))
    print_rate(benchmark, len(batch.indices))


def test_dcnv2_unique_from_statistics(benchmark: BenchmarkFixture) -> None:
    embeddings = load_workload("dlrm_dcnv2").embeddings
    assert embeddings is not None
    benchmark(lambda: [expected_unique(embeddings, table, SAMPLES / CHIPS) for table in embeddings.tables])


def test_dcnv2_imbalance_from_statistics(benchmark: BenchmarkFixture) -> None:
    embeddings = load_workload("dlrm_dcnv2").embeddings
    assert embeddings is not None
    benchmark(expected_imbalance, embeddings, SAMPLES, shards=4 * CHIPS, dedup="source", chips=CHIPS)


@pytest.mark.parametrize("rows", [10**5, 4 * 10**7])
def test_count_step_work(benchmark: BenchmarkFixture, rows: int) -> None:
    embeddings = one_table(rows)
    (batch,) = draw_batches(embeddings, SAMPLES, seed=1)
    placement = row_sharded(embeddings, CHIPS)
    benchmark(count_step_work, batch, embeddings, placement, dedup="owner", tiles=TILES)
    print_rate(benchmark, len(batch.indices))


def test_placed_step_work(benchmark: BenchmarkFixture) -> None:
    """Tables by rows, by columns, whole and replicated, as the placer has them on TPU v4."""
    embeddings = load_workload("dlrm_dcnv2").embeddings
    assert embeddings is not None
    on = read_slice("tpu_v4:4x4x8")
    at = place_of(on.chip, "sparse_core")
    _, (placement, _) = placements(embeddings, SAMPLES // CHIPS, on, at, "best", 20 * 2**30)
    benchmark(step_work, embeddings, SAMPLES // CHIPS, placement, dedup="owner", tiles=at.tiles)


@pytest.mark.parametrize("dedup", SCOPES)
@pytest.mark.parametrize(("model", "chips"), [("dlrm_dcnv2", 128), ("dlrm_fig8_like", 1024)])
def test_step_work(benchmark: BenchmarkFixture, model: str, chips: int, dedup: str) -> None:
    embeddings = load_workload(model).embeddings
    assert embeddings is not None
    placement = row_sharded(embeddings, chips)
    benchmark(step_work, embeddings, SAMPLES // CHIPS, placement, dedup=dedup, tiles=TILES)

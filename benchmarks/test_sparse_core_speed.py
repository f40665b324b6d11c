"""Embedding units: programs of a step of MLPerf's DLRM-DCNv2 written and run, and a trace down to its time."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from accsim.config.catalogue import load_accelerator
from accsim.embedding import EmbeddingSet, Feature, Popularity, Table, Valency, count_unique, draw_batches
from accsim.embedding.imbalance import Imbalance
from accsim.embedding.work import Exchange, StackWork, StepWork
from accsim.engine.run import run_program
from accsim.mapping.sparse_core import place_of, unit_programs
from accsim.workload.catalogue import load_workload

CHIPS, TILES = 128, 64
PLACES = ("sparse_core", "tensor_core", "host", "variable_server")


def one_stack(name: str, bags: float, lookups: float, fetched: Imbalance, tiles: int) -> StackWork:
    """A stack whose bags are summed by the owner."""
    each, all_bags = Imbalance(lookups, lookups), Imbalance(bags, bags)
    looked_up = Imbalance(lookups / tiles, lookups / tiles * fetched.ratio)
    return StackWork(
        name, 1, 128, "fp32", "adagrad", lookups, each, each, fetched, looked_up, all_bags, bags, 0.0, fetched
    )


def dcnv2(samples: float, tiles: int) -> StepWork:
    """A chip's share of a batch, every table a stack of its own."""
    embeddings = load_workload("dlrm_dcnv2").embeddings
    assert embeddings is not None
    stacks = []
    for table in embeddings.tables:
        lookups = samples * sum(reading.feature.valency.mean for reading in embeddings.readings(table))
        fetched = Imbalance(lookups / tiles, 1.1 * lookups / tiles)
        stacks.append(one_stack(table.name, samples, lookups, fetched, tiles))
    return StepWork(samples, CHIPS, tiles, "none", tuple(stacks), Exchange(0.0, 0.0))


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("samples", [512.0, 4096.0])
def test_a_step(benchmark: BenchmarkFixture, where: str, samples: float) -> None:
    machine = load_accelerator("tpu_v4")
    work = dcnv2(samples, place_of(machine, where).tiles)

    def both_passes() -> None:
        programs = unit_programs(machine, work, where)
        run_program(programs.forward)
        run_program(programs.backward)

    benchmark(both_passes)


@pytest.mark.parametrize("rows", [10**5, 4 * 10**7])
def test_a_trace(benchmark: BenchmarkFixture, rows: int) -> None:
    machine, samples = load_accelerator("tpu_v4"), 65536
    table = Table("t", rows, 128, popularity=Popularity(1.05, 2))
    (batch,) = draw_batches(EmbeddingSet((table,), (Feature("f", "t", Valency(50, 50)),)), samples, seed=1)

    def counted_and_run() -> None:
        unique = count_unique(batch, shards=TILES).unique.sum(axis=(0, 1))
        fetched = Imbalance(float(unique.mean()), float(unique.max()))
        stack = one_stack("t", float(samples), float(len(batch.indices)), fetched, TILES)
        programs = unit_programs(machine, StepWork(samples, 1, TILES, "owner", (stack,), Exchange(0.0, 0.0)))
        run_program(programs.forward)
        run_program(programs.backward)

    benchmark(counted_and_run)
    stats: Any = benchmark.stats
    benchmark.extra_info["million_lookups_per_s"] = len(batch.indices) / stats["min"] / 1e6

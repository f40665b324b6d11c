"""How long a search takes: one attention op on one machine over at least 50,000 mappings, and the mappings a second."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from accsim.config.catalogue import load_accelerator
from accsim.mapping.choose import choose
from accsim.mapping.flat import Flat
from accsim.mapping.goal import OBJECTIVES, Goal
from accsim.mapping.search import search
from accsim.workload.ops import Attention

HEADS = Attention(batch=64, heads=12, q_len=2048, kv_len=2048, head_dim=64)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_fine_search(benchmark: BenchmarkFixture, figure: Callable[[str], None], objective: str) -> None:
    acc, goal = load_accelerator("flat_cloud"), Goal(objective, (), "exhaustive")
    found = search(Flat(softmax=None), HEADS, acc, goal)
    assert found.points >= 50_000
    benchmark.pedantic(lambda: search(Flat(softmax=None), HEADS, acc, goal), rounds=3)
    took = benchmark.stats["min"]
    figure(f"{found.points:,} mappings of FLAT, {objective}: {took:.2f} s, {found.points / took:,.0f} mappings/s")


@pytest.mark.parametrize("effort", ["standard", "exhaustive"])
def test_every_dataflow(benchmark: BenchmarkFixture, figure: Callable[[str], None], effort: str) -> None:
    acc, goal = load_accelerator("flat_cloud"), Goal("latency", (), effort)
    found = choose(HEADS, acc, None, goal)
    benchmark.pedantic(lambda: choose(HEADS, acc, None, goal), rounds=3)
    took = benchmark.stats["min"]
    figure(f"{found.points:,} mappings of every attention dataflow, {effort}: {took:.2f} s")

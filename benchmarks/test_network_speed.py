"""How fast networks are built, routed and shared, and how fast machines of cubes are drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from accsim.network import DimensionOrder, Torus
from accsim.network.flows import FairShare
from accsim.network.goodput import Machine

POD = Torus((16, 16, 16))
FLOWS = 100_000


def test_build(benchmark: BenchmarkFixture, figure: Callable[[str], None]) -> None:
    nodes = len(Torus((46, 46, 48)).graph.first) - 1
    benchmark.pedantic(lambda: Torus((46, 46, 48)).graph, rounds=3)
    figure(f"torus of {nodes:,} nodes: built in {benchmark.stats['min']:.2f} s")


@pytest.mark.parametrize("level", ["folded", "links"])
def test_all_to_all(benchmark: BenchmarkFixture, figure: Callable[[str], None], level: str) -> None:
    POD.all_to_all(1.0, contention=level)
    benchmark.pedantic(lambda: POD.all_to_all(1.0, contention=level), rounds=3)
    figure(f"uniform all-to-all of {POD.chips:,} chips, {level}: {benchmark.stats['min'] * 1e3:,.1f} ms")


def test_fair_rates(benchmark: BenchmarkFixture, figure: Callable[[str], None]) -> None:
    rng = np.random.default_rng(0)
    source = np.sort(rng.integers(0, POD.chips, FLOWS)).astype(np.int32)
    goal = ((source + rng.integers(1, POD.chips, FLOWS)) % POD.chips).astype(np.int32)
    share = FairShare(POD.graph.rate, DimensionOrder().routes(POD.graph, source, goal))
    share.rates(np.ones(FLOWS))
    benchmark.pedantic(lambda: share.rates(np.ones(FLOWS)), rounds=5)
    took = benchmark.stats["min"]
    figure(f"max-min rates of {FLOWS:,} flows on {POD.chips:,} chips: {took * 1e3:.0f} ms a solve")


def test_ends(benchmark: BenchmarkFixture, figure: Callable[[str], None]) -> None:
    rng = np.random.default_rng(0)
    source = np.sort(rng.integers(0, POD.chips, FLOWS)).astype(np.int32)
    goal = ((source + rng.integers(1, POD.chips, FLOWS)) % POD.chips).astype(np.int32)
    share = FairShare(POD.graph.rate, DimensionOrder().routes(POD.graph, source, goal))
    _, solves = benchmark.pedantic(lambda: share.ends(np.full(FLOWS, 1e6)), rounds=1, warmup_rounds=1)
    figure(f"ends of {FLOWS:,} equal messages, {solves:,} solves: {benchmark.stats['min']:.1f} s")


def test_goodput_samples(benchmark: BenchmarkFixture, figure: Callable[[str], None]) -> None:
    machine = Machine(0.99)
    machine.sample((2, 2, 4), samples=10)
    benchmark.pedantic(lambda: machine.sample((2, 2, 4), samples=1_000_000), rounds=3)
    took = benchmark.stats["min"]
    figure(f"goodput: 1,000,000 machines of either kind in {took:.2f} s")

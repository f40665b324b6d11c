"""How fast fronts of a million points are found: where few points are on them, and where all are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from accsim.sweep.pareto import front

POINTS = 1_000_000


@pytest.mark.parametrize("objectives", [2, 3, 4])
@pytest.mark.parametrize("shape", ["cube", "sphere"])
def test_front(benchmark: BenchmarkFixture, figure: Callable[[str], None], objectives: int, shape: str) -> None:
    points = np.random.default_rng(0).random((POINTS, objectives))
    if shape == "sphere":
        points = 1 - points / np.linalg.norm(points, axis=1)[:, None]
    front(points[:1000])
    found = benchmark.pedantic(lambda: front(points), rounds=3)
    took = benchmark.stats["min"]
    figure(f"front of {POINTS:,} points, {objectives} objectives, {found.sum():,} on it: {took:.3f} s")

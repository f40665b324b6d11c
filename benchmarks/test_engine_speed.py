"""How fast the engine plays stage events, and how its cost depends on a program's length (DESIGN, "How fast")."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from accsim.engine.arrays import flatten
from accsim.engine.builder import ProgramBuilder
from accsim.engine.program import After, Hold, Program, Stage
from accsim.engine.run import run_program
from accsim.kernels.engine import run_attributed, run_plain

STEPS = 1_000_000


def pipeline(steps: int) -> Program:
    """Load, multiply, store with double buffers: three events a step."""
    builder = ProgramBuilder("pipeline")
    builder.level("step", steps)
    builder.resource("dma")
    builder.resource("matrix")
    builder.buffer("in", 2)
    builder.buffer("out", 2)
    builder.stage(Stage("load", "dma", 500, acquires=(Hold("in"),)))
    builder.stage(
        Stage("multiply", "matrix", 512, after=(After("load"),), acquires=(Hold("out"),), releases=(Hold("in"),))
    )
    builder.stage(Stage("store", "dma", 100, after=(After("multiply"),), releases=(Hold("out"),)))
    return builder.build()


@pytest.mark.parametrize("attribution", [False, True])
def test_interior_events(benchmark: BenchmarkFixture, figure: Callable[[str], None], attribution: bool) -> None:
    flat = flatten(pipeline(STEPS))
    windows, depths = np.ones(3, np.int64), np.ones(len(flat.arrays.mark), np.int64)
    if attribution:
        benchmark(lambda: run_attributed(flat.arrays, windows, depths, False, 0, 2))
    else:
        benchmark(lambda: run_plain(flat.arrays, windows, depths, False, 0))
    rate = 3 * STEPS / benchmark.stats["median"] / 1e6
    figure(f"direct engine, interior steps{', with attribution' if attribution else ''}: {rate:.1f} M stage events/s")


@pytest.mark.parametrize("steps", [1_000, 1_000_000, 1_000_000_000])
def test_long_regular_program(benchmark: BenchmarkFixture, figure: Callable[[str], None], steps: int) -> None:
    program = pipeline(steps)
    counters = benchmark(lambda: run_program(program))
    assert counters.fires["load"] == steps
    figure(f"jump, {3 * steps:.0e} events with attribution: {benchmark.stats['median'] * 1e3:.2f} ms")

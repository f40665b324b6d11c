"""Design points a second of the batch entry, lowering included, at tile and analytic fidelity, without causal masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from accsim.config.catalogue import load_accelerator
from accsim.mapping.compiled import CompiledDataflow, Points, bounds, run_points
from accsim.mapping.flash import Flash
from accsim.mapping.flat import Flat
from accsim.mapping.thread_blocks import ThreadBlocks
from accsim.workload.ops import Attention, Gemm, Op

HEADS = Attention(batch=64, heads=12, q_len=4096, kv_len=4096, head_dim=64)
CASES: dict[str, tuple[str, CompiledDataflow, Op]] = {
    "flash": ("flat_cloud", Flash(pipeline=False), HEADS),
    "flash-pipelined": ("flat_cloud", Flash(pipeline=True), HEADS),
    "flat": ("flat_cloud", Flat(staged="qo", pipelined=False), HEADS),
    "flat-staged-pipelined": ("flat_cloud", Flat(staged="qkvo", pipelined=True), HEADS),
    "flash-gpu": ("h100_sxm", Flash(pipeline=True), HEADS),
    "gemm-gpu": ("h100_sxm", ThreadBlocks(), Gemm(4096, 4096, 4096)),
    "gemm-gpu-few-rows": ("h100_sxm", ThreadBlocks(), Gemm(16, 4096, 4096)),
}


def points_of(machine: str, dataflow: CompiledDataflow, op: Op) -> Points:
    """All points of one shape that fit, repeated to two thousand."""
    acc = load_accelerator(machine)
    points = dataflow.space(op, acc)[0]
    fits = np.flatnonzero(dataflow.lower(op, acc, points, actions=False).fits())
    return Points(points.variant, np.resize(points.table[fits], (2000, points.table.shape[1])))


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
@pytest.mark.parametrize("fidelity", ["tile", "analytic"])
def test_points(
    benchmark: BenchmarkFixture,
    figure: Callable[[str], None],
    case: tuple[str, CompiledDataflow, Op],
    fidelity: str,
) -> None:
    machine, dataflow, op = case
    acc = load_accelerator(machine)
    points = points_of(*case)
    shape = dataflow.lower(op, acc, points, actions=False).shape.name

    def sweep() -> None:
        block = dataflow.lower(op, acc, points, actions=False)
        run_points(block) if fidelity == "tile" else bounds(block)

    benchmark(sweep)
    rate = len(points.table) / benchmark.stats["median"]
    figure(f"{shape}, {fidelity}: {rate:,.0f} points/s (lowering included)")

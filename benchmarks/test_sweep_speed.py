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
from accsim.workload.ops import Attention

OP = Attention(batch=64, heads=12, q_len=4096, kv_len=4096, head_dim=64)


def points_of(dataflow: CompiledDataflow) -> tuple[CompiledDataflow, Points]:
    """All points of one shape that fit, repeated to about two thousand."""
    acc = load_accelerator("flat_cloud")
    points = dataflow.space(OP, acc)[0]
    fits = np.flatnonzero(dataflow.lower(OP, acc, points, actions=False).fits())
    return dataflow, Points(points.variant, np.resize(points.table[fits], (2000, points.table.shape[1])))


@pytest.mark.parametrize(
    "dataflow",
    [
        Flash(pipeline=False),
        Flash(pipeline=True),
        Flat(staged="qo", pipelined=False),
        Flat(staged="qkvo", pipelined=True),
    ],
    ids=["flash", "flash-pipelined", "flat", "flat-staged-pipelined"],
)
@pytest.mark.parametrize("fidelity", ["tile", "analytic"])
def test_attention_points(
    benchmark: BenchmarkFixture, figure: Callable[[str], None], dataflow: CompiledDataflow, fidelity: str
) -> None:
    acc = load_accelerator("flat_cloud")
    dataflow, points = points_of(dataflow)
    shape = dataflow.lower(OP, acc, points, actions=False).shape.name

    def sweep() -> None:
        block = dataflow.lower(OP, acc, points, actions=False)
        run_points(block) if fidelity == "tile" else bounds(block)

    benchmark(sweep)
    rate = len(points.table) / benchmark.stats["median"]
    figure(f"{shape}, {fidelity}: {rate:,.0f} points/s (lowering included)")

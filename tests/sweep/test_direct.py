"""Points with complete mappings, run in blocks: each is what a simulation of its own gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import accsim
from accsim.sweep.kinds.chip_work import runs_in_blocks
from accsim.sweep.settings import dataflow_of
from accsim.sweep.space import Point, read_space

WriteSpace = Callable[[str], Path]

SPACES = {
    "flash": """
machines: [flat_edge, flat_cloud]
workloads: ["attention?batch=2&heads=3&q_len=200&kv_len=300&head_dim=64"]
axes:
  memories.sg.capacity: [96 KiB, 4 MiB]
  mapping.dataflow: [flash2, flash3]
  mapping.execution: [interleaved, ping_pong]
  mapping.stationary: [weight_stationary, output_stationary]
  mapping.split_kv: [1]
  mapping.block_q: [1, 48, 200]
  mapping.block_kv: [100]
""",
    "flash-model": """
machines: [flat_edge]
workloads: ["bert_base?seq=64"]
axes: {mapping.dataflow: [flash3], mapping.stationary: [weight_stationary],
       mapping.block_q: [16, 64], mapping.block_kv: [16, 40]}
""",
    "flash-gpu": """
machines: [h100_sxm]
workloads: ["attention?batch=4&heads=64&q_len=500&kv_len=700&head_dim=128"]
axes:
  power.cap: [200 W, 700 W]
  mapping.dataflow: [flash2]
  mapping.pipeline: [true]
  mapping.block_q: [64, 128]
  mapping.block_kv: [64, 128, 192]
""",
    "flat": """
machines: [flat_edge]
workloads: ["attention?batch=2&heads=3&q_len=200&kv_len=300&head_dim=64"]
axes:
  mapping.dataflow: [flat]
  mapping.staged: [qo, qkvo]
  mapping.pipelined: [false, true]
  mapping.stationary: [weight_stationary]
  mapping.spill: [0]
  mapping.rows: [8, 60, 200]
  mapping.block_kv: [64, 100]
""",
    "gemm": """
machines: [tpu_v4, systolic_128]
workloads: ["gemm?m=300&n=500&k=700"]
axes:
  mapping.dataflow: [weight_stationary, input_stationary]
  mapping.order: [mn, nm]
  mapping.resident: [true, false]
  mapping.split_m: [1]
  mapping.split_n: [1]
  mapping.tile_m: [128, 300]
  mapping.tile_n: [128, 512]
  mapping.tile_k: [128, 700]
""",
    "thread-blocks": """
machines: [a100_sxm]
workloads: ["gemm?m=300&n=500&k=700", "gemm?m=300&n=500&k=704&sparsity=2:4"]
axes:
  mapping.dataflow: [thread_blocks]
  mapping.split_k: [1, 3]
  mapping.tile_m: [64, 128]
  mapping.tile_n: [64, 256]
""",
}


def simulated(point: Point, fidelity: str, dimensions: dict[str, str | None]) -> dict[str, Any] | None:
    """The row of a point from a simulation of its own; None where it has no mapping."""
    from accsim.sweep.settings import split

    setting = split(point.values, dimensions)
    acc = accsim.load_accelerator(point.machine, set=dict(setting.machine))
    try:
        report = accsim.simulate(point.workload, acc, dataflow=dataflow_of(setting.mapping), fidelity=fidelity)
    except accsim.MappingError:
        return None
    main = report.traffic_bytes[acc.main_memory.name]
    return {
        "total_cycles": report.total_cycles,
        "latency_s": report.latency_s,
        "energy_j": report.energy_j,
        "clock_hz": report.clock_hz,
        "main_read_bytes": main["read"],
        "main_write_bytes": main["write"],
        "matrix_utilization": report.utilization["matrix"],
        "vector_utilization": report.utilization.get("vector", 0.0),
    }


@pytest.mark.parametrize("fidelity", ["tile", "analytic"])
@pytest.mark.parametrize("name", SPACES)
def test_a_block_is_its_single_simulations(write_space: WriteSpace, name: str, fidelity: str) -> None:
    space = read_space(write_space(SPACES[name] + f"fidelity: {fidelity}\n"))
    assert runs_in_blocks(space)
    frame = accsim.sweep(space)
    assert frame["mapping"].isna().all()  # none was searched
    found = 0
    for point, row in zip(space.points(), frame.to_dict("records"), strict=True):
        wanted = simulated(point, fidelity, space.dimensions)
        assert (wanted is not None) == row["feasible"]
        if wanted is None:
            assert pd.isna(row["latency_s"])
            assert "needs about" in row["error"]
            continue
        found += 1
        assert row["total_cycles"] == wanted["total_cycles"]
        np.testing.assert_allclose([row[key] for key in wanted], list(wanted.values()), rtol=1e-12)
    assert found

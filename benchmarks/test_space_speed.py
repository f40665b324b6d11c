"""Whole sweeps, Parquet written: points a second on two processes, overhead through Dask, and memory by points."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from accsim.sweep.axes import read_axis
from accsim.sweep.executors import Executor
from accsim.sweep.executors.dask_cluster import DaskCluster
from accsim.sweep.executors.processes import Processes
from accsim.sweep.run import sweep_into
from accsim.sweep.space import Space
from accsim.sweep.space_file import Weighted

HEADS = Weighted(workload="attention?batch=64&heads=12&q_len=4096&kv_len=4096&head_dim=64")


def space_of(rows: int, keys: int, fidelity: str) -> Space:
    """Block sizes of FlashAttention-2 on the cloud platform of FLAT: rows × keys complete mappings."""
    axes = {
        "mapping.dataflow": ["flash2"],
        "mapping.pipeline": [False],
        "mapping.stationary": ["output_stationary"],
        "mapping.split_kv": [1],
        "mapping.block_q": {"range": [4, 4 * rows, 4]},
        "mapping.block_kv": {"range": [4, 4 * keys, 4]},
    }
    read = tuple(read_axis(key, form) for key, form in axes.items())
    return Space("blocks", ("flat_cloud",), (HEADS,), read, fidelity=fidelity)


def seconds(space: Space, executor: Executor | None, folder: Path) -> float:
    """The least time of three sweeps into a new folder."""
    found = []
    for _ in range(3):
        shutil.rmtree(folder, ignore_errors=True)
        start = time.perf_counter()
        assert sweep_into(folder, space, executor).complete
        found.append(time.perf_counter() - start)
    return min(found)


@pytest.mark.parametrize(("fidelity", "rows", "keys"), [("analytic", 1000, 1000), ("tile", 250, 400)])
def test_two_processes(tmp_path: Path, figure: Callable[[str], None], fidelity: str, rows: int, keys: int) -> None:
    space = space_of(rows, keys, fidelity)
    took = seconds(space, Processes(2), tmp_path / "out")
    figure(f"sweep of {space.size:,} points, {fidelity}, two processes, Parquet written: {took:.2f} s")


def test_overhead_through_dask(tmp_path: Path, figure: Callable[[str], None]) -> None:
    from distributed import LocalCluster

    few, many = (space_of(rows, 250, "analytic") for rows in (8, 800))
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        dask = DaskCluster(cluster.scheduler_address)
        seconds(few, dask, tmp_path / "out")  # the worker loads what it needs
        through = seconds(many, dask, tmp_path / "out") - seconds(few, dask, tmp_path / "out")
    here = seconds(many, None, tmp_path / "out") - seconds(few, None, tmp_path / "out")
    overhead = (through - here) / (many.size - few.size)
    figure(f"overhead through Dask, {many.size:,} analytic points: {overhead * 1e6:.1f} µs a point")


def test_memory_does_not_grow_with_the_points(tmp_path: Path, figure: Callable[[str], None]) -> None:
    """The peak of a process that sweeps, for numbers of points that are a factor of ten apart."""
    for rows in (100, 1000):
        run = (
            "import resource, sys\n"
            "sys.path.insert(0, 'benchmarks')\n"
            "from pathlib import Path\n"
            "from test_space_speed import space_of, sweep_into\n"
            f"sweep_into(Path({str(tmp_path / str(rows))!r}), space_of({rows}, 1000, 'analytic'))\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        )
        done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True)
        figure(f"sweep of {rows * 1000:,} points: peak {int(done.stdout) / 1024:.0f} MiB")

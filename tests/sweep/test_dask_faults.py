"""A Dask cluster of other processes: one of its workers is killed, and then its scheduler."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from accsim.sweep.executors import ExecutorError
from accsim.sweep.executors.dask_cluster import DaskCluster
from accsim.sweep.run import Progress, sweep
from accsim.sweep.store import Store, read_sweep

pytestmark = pytest.mark.slow

SPACE = """
machines: [flat_edge]
workloads: ["attention?batch=1&heads=2&q_len=256&kv_len=256&head_dim=64"]
axes:
  vector_unit.lanes: {range: [1, 64, 1]}
"""
WriteSpace = Callable[..., Path]


class Cluster:
    """A scheduler and two workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        self.scheduler = self._start("dask_scheduler", "--port", "0", "--no-dashboard")
        while not self.file.exists():
            assert self.scheduler.poll() is None
            time.sleep(0.05)
        options = ("--no-nanny", "--nthreads", "1", "--no-dashboard")
        self.workers = [self._start("dask_worker", *options) for _ in range(2)]

    def _start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{what}", *options, "--scheduler-file", str(self.file)]
        path = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, stdout=quiet, stderr=quiet, env={**os.environ, "PYTHONPATH": path})

    def end(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(tmp_path)
    yield found
    found.end()


def points_in(folder: Path) -> list[int]:
    found: list[int] = read_sweep(folder).to_table(columns=["point"])["point"].to_pylist()
    return found


def test_a_killed_worker_loses_nothing_and_a_killed_scheduler_leaves_what_was_done(
    write_space: WriteSpace, cluster: Cluster, tmp_path: Path
) -> None:
    space = write_space(SPACE)

    def kill_a_worker(state: Progress) -> None:
        if state.groups == 2:
            cluster.workers[0].send_signal(signal.SIGKILL)

    sweep(space, DaskCluster(str(cluster.file)), out=tmp_path / "one", progress=kill_a_worker)
    assert cluster.workers[0].wait() == -signal.SIGKILL
    assert points_in(tmp_path / "one") == list(range(64))

    def kill_the_scheduler(state: Progress) -> None:
        if state.groups == 3:
            cluster.scheduler.send_signal(signal.SIGKILL)
            cluster.scheduler.wait()

    with pytest.raises(ExecutorError, match=r"lost the Dask cluster at .* go on with --resume"):
        sweep(space, DaskCluster(str(cluster.file)), out=tmp_path / "two", progress=kill_the_scheduler)
    done = points_in(tmp_path / "two")
    assert 24 <= len(done) < 64
    assert len(done) == len(set(done))
    sweep(space, out=tmp_path / "two", resume=True)
    contents = [[file.read_bytes() for file in Store(tmp_path / name).files()] for name in ("one", "two")]
    assert contents[0] == contents[1]

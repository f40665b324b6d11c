"""Sweeps that go on after a change: rows are of what is there now, each point once, nothing goes unsaid."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import accsim
from accsim.config.data_files import data_folder
from accsim.errors import InputError
from accsim.sweep.groups import Shard
from accsim.sweep.merge import merge
from accsim.sweep.run import sweep
from accsim.sweep.store import Store

FLAT_EDGE = (data_folder("hw_configs") / "flat_edge.yaml").read_text()
SLOWER = FLAT_EDGE.replace("940 MHz", "470 MHz")
SPACE = """
machines: [./a.yaml]
workloads: ["gemm?m=8&n=8&k=8"]
axes: {vector_unit.lanes: {range: [1, 32, 1]}}
"""
RING = "a,b,bandwidth\n" + "".join(f"c{i},c{(i + 1) % 4},%s GB/s\n" for i in range(4))


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """32 points in four groups on a machine of this folder."""
    (tmp_path / "a.yaml").write_text(FLAT_EDGE)
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


def without_accsim(out: Path) -> pd.DataFrame:
    """The table as whoever knows nothing of accsim reads it."""
    return pd.read_parquet(out / "points")


def names(out: Path) -> set[str]:
    return {file.name for file in Store(out).files()}


def cancelled_after(groups: int) -> Callable[[], bool]:
    asked: list[bool] = []
    return lambda: len(asked) >= groups or bool(asked.append(True))


def test_a_cancelled_resume_after_a_change_has_each_point_once(space: Path) -> None:
    out = space.parent / "out"
    first = sweep(space, out=out)["latency_s"].to_numpy()
    (space.parent / "a.yaml").write_text(SLOWER)
    sweep(space, out=out, resume=True, cancelled=cancelled_after(2))
    rows = without_accsim(out)
    assert rows["point"].tolist() == list(range(16))
    assert (rows["latency_s"] > first[:16]).all()  # none is of the machine as it was
    about = json.loads((out / "manifest.json").read_text())
    assert (about["status"], about["points_done"], about["files_removed"]) == ("interrupted", 16, 4)
    sweep(space, out=out, resume=True)
    pd.testing.assert_frame_equal(without_accsim(out)[["point", "latency_s"]], sweep(space)[["point", "latency_s"]])


def test_a_killed_resume_after_a_change_has_each_point_once(space: Path) -> None:
    out = space.parent / "out"
    space.write_text(SPACE.replace("gemm?m=8&n=8&k=8", "attention?batch=1&heads=2&q_len=256&kv_len=256&head_dim=64"))
    first = sweep(space, out=out)["latency_s"].to_numpy()
    before = names(out)
    (space.parent / "a.yaml").write_text(SLOWER)
    command = [sys.executable, "-m", "accsim.cli", "sweep", str(space), "--out", str(out), "--resume"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not names(out) - before:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    rows = without_accsim(out)
    assert rows["point"].is_unique
    assert (rows["latency_s"] > first[rows["point"]]).all()
    assert sweep(space, out=out, resume=True)["point"].tolist() == list(range(32))


def test_another_shard_does_not_go_on_in_the_folder_of_the_first(space: Path) -> None:
    out = space.parent / "out"
    sweep(space, out=out, shard=Shard(1, 2))
    before = names(out)
    for shard in (Shard(2, 2), Shard(1, 4), Shard()):
        with pytest.raises(InputError, match=f"holds shard 1/2, not {shard}; name a folder for each, and merge them"):
            sweep(space, out=out, shard=shard, resume=True)
    assert names(out) == before
    sweep(space, out=out, shard=Shard(1, 2), resume=True)
    assert names(out) == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("./a.yaml", "flat_cloud"), "machines differ"),
        (("m=8", "m=16"), "workloads differ"),
        (("[1, 32, 1]", "[1, 16, 1]"), "axes differ"),
        (("[1, 32, 1]", "[2, 33, 1]"), "values of axes differ"),
        (("axes", "fidelity: analytic\naxes"), "fidelity differ"),
    ],
)
def test_another_space_does_not_go_on_in_the_folder(space: Path, change: tuple[str, str], told: str) -> None:
    out = space.parent / "out"
    sweep(space, out=out)
    before = names(out)
    space.write_text(SPACE.replace(*change))
    with pytest.raises(InputError, match=f"another space \\({told}\\); sweep that one, or name another folder"):
        sweep(space, out=out, resume=True)
    assert names(out) == before
    (out / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"no manifest.json that says of what sweep"):
        sweep(space, out=out, resume=True)


def test_shards_of_a_workload_before_and_after_a_change_are_not_merged(space: Path) -> None:
    work, shards = space.parent / "w.yaml", [space.parent / f"s{i}" for i in (1, 2)]
    space.write_text(SPACE.replace("gemm?m=8&n=8&k=8", "./w.yaml"))
    for i, size in enumerate((64, 640)):
        work.write_text(f"name: w\nsource: none\nops: [{{op: gemm, name: g, m: {size}, n: 64, k: 64}}]\n")
        sweep(space, out=shards[i], shard=Shard(i + 1, 2))
    with pytest.raises(InputError, match="workloads, networks or an accsim that were changed since"):
        merge(shards, space.parent / "whole")
    sweep(space, out=shards[0], shard=Shard(1, 2), resume=True)
    merge(shards, space.parent / "whole")
    assert len(without_accsim(space.parent / "whole")) == 32


def test_a_changed_network_file_runs_again_and_the_others_do_not(space: Path) -> None:
    """A ring of four: an all-reduce of B bytes over both ways takes 2 · 3/4 · B / (2 · bandwidth) at least."""
    size, nets = 2**28, space.parent / "sub"
    nets.mkdir()
    for name in "ab":
        (nets / f"{name}.csv").write_text(RING.replace("%s", "50"))
    listed = ", ".join(f'"file:sub/{name}.csv"' for name in "ab")
    space.write_text(
        f'machines: [flat_edge]\nworkloads: ["all_reduce?bytes={size} B"]\n'
        f"axes: {{network.topology: [{listed}], network.hop_latency_s: {{linspace: [1 ns, 8 ns, 8]}}}}\n"
    )
    first = accsim.sweep(space, out=space.parent / "out")
    assert first["feasible"].all()
    least = 1.5 * size / 100e9
    np.testing.assert_allclose(first["latency_s"], least, rtol=0.05)
    (nets / "b.csv").write_text(RING.replace("%s", "25"))
    kept: list[int] = []
    again = sweep(space, out=space.parent / "out", resume=True, progress=lambda state: kept.append(state.kept))
    assert kept[-1] == 8
    np.testing.assert_allclose(again["latency_s"], np.repeat([least, 2 * least], 8), rtol=0.05)

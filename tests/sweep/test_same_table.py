"""The same sweep gives the same table whoever runs it: here, in processes, on Dask, in shards, after a break."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import accsim
from accsim.sweep.executors.dask_cluster import DaskCluster
from accsim.sweep.executors.in_process import InProcess
from accsim.sweep.executors.processes import Processes
from accsim.sweep.groups import Shard
from accsim.sweep.merge import merge
from accsim.sweep.run import stream, sweep
from accsim.sweep.space import read_space
from accsim.sweep.store import Store

WriteSpace = Callable[[], Path]


def contents(folder: Path) -> dict[str, bytes]:
    """The files of rows, by name."""
    return {file.name: file.read_bytes() for file in Store(folder).files()}


def test_processes_dask_and_four_shards_give_identical_files(write_space: WriteSpace, tmp_path: Path) -> None:
    space = read_space(write_space())
    frame = sweep(space, InProcess(), out=tmp_path / "here")
    assert frame["point"].tolist() == list(range(48))
    here = contents(tmp_path / "here")
    sweep(space, Processes(2), out=tmp_path / "processes")
    assert contents(tmp_path / "processes") == here
    sweep(space, DaskCluster("local", workers=1), out=tmp_path / "dask")
    assert contents(tmp_path / "dask") == here
    shards = [tmp_path / f"shard{i}" for i in range(1, 5)]
    for i, folder in enumerate(shards, 1):
        sweep(space, shard=Shard(i, 4), out=folder)
    merge(shards, tmp_path / "merged")
    assert contents(tmp_path / "merged") == here
    pd.testing.assert_frame_equal(frame, sweep(space))


def test_rows_are_those_of_single_simulations(write_space: WriteSpace) -> None:
    space = read_space(write_space())
    frame = sweep(space)
    assert frame["feasible"].any()
    assert not frame["feasible"].all()
    for point, row in zip(space.points(), frame.to_dict("records"), strict=True):
        settings = {key: value for key, value in point.values.items() if not key.startswith("mapping")}
        settings["memories.sg.capacity"] = f"{settings['memories.sg.capacity']} B"
        acc = accsim.load_accelerator(point.machine, set=settings)
        if not row["feasible"]:
            with pytest.raises(accsim.MappingError) as caught:
                accsim.simulate(point.workload, acc, dataflow=str(point.values["mapping.dataflow"]))
            assert str(caught.value) == row["error"]
            continue
        report = accsim.simulate(point.workload, acc, dataflow=str(point.values["mapping.dataflow"]))
        assert (report.total_cycles, report.energy_j, report.bound_by) == (
            row["total_cycles"], row["energy_j"], row["bound_by"]
        )  # fmt: skip
        assert row["matrix_utilization"] == report.utilization["matrix"]
        assert row["main_read_bytes"] == report.traffic_bytes["dram"]["read"]


def test_a_stream_has_all_rows_and_stops_when_it_is_cancelled(write_space: WriteSpace) -> None:
    space = read_space(write_space())
    frames = list(stream(space))
    assert sum(len(frame) for frame in frames) == space.size == 48
    asked: list[bool] = []
    few = list(stream(space, cancelled=lambda: len(asked) >= 2 or bool(asked.append(True))))
    assert len(few) == 2


def test_resume_runs_only_what_is_missing(write_space: WriteSpace, tmp_path: Path) -> None:
    path, out = write_space(), tmp_path / "out"
    sweep(path, out=out)
    before = contents(out)
    files = Store(out).files()
    files[1].unlink()
    files[2].write_bytes(files[2].read_bytes()[:100])
    kept: list[int] = []
    sweep(path, out=out, resume=True, progress=lambda state: kept.append(state.kept))
    assert kept[-1] == 48 - 4 - 8
    assert contents(out) == before


def test_a_changed_machine_runs_again_and_the_other_does_not(tmp_path: Path) -> None:
    text = (accsim.config.catalogue.data_folder("hw_configs") / "flat_edge.yaml").read_text()
    for name in "ab":
        (tmp_path / f"{name}.yaml").write_text(text)
    space = tmp_path / "space.yaml"
    space.write_text('machines: [./a.yaml, ./b.yaml]\nworkloads: ["gemm?m=8&n=8&k=8"]\n')
    first = sweep(space, out=tmp_path / "out")
    (tmp_path / "b.yaml").write_text(text.replace("940 MHz", "470 MHz"))
    kept: list[int] = []
    again = sweep(space, out=tmp_path / "out", resume=True, progress=lambda state: kept.append(state.kept))
    assert kept[-1] == 1
    assert len(Store(tmp_path / "out").files()) == 2
    assert again["latency_s"][0] == first["latency_s"][0]
    assert again["latency_s"][1] > first["latency_s"][1]

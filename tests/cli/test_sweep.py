"""The command: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import accsim
from accsim.cli import app
from accsim.sweep.weighted import weighted

SPACE = """
machines: [flat_edge]
workloads: ["gemm?m=64&n=64&k=64", {workload: "gemm?m=32&n=32&k=32", weight: 3}]
axes:
  memories.sg.capacity: [1 KiB, 128 KiB]
  vector_unit.lanes: [16, 32]
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


def run(*arguments: str | Path) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, ["sweep", *map(str, arguments)])
    return found.exit_code, found.stdout, found.stderr


def test_a_dry_run_counts_and_writes_nothing(space: Path, tmp_path: Path) -> None:
    code, told, _ = run(space, "--dry-run", "--json")
    found = json.loads(told)
    assert code == 0
    assert (found["points"], found["designs"], len(found["first"])) == (8, 4, 8)
    assert found["estimated_seconds_on_one_core"] > 0
    code, told, _ = run(space, "--dry-run")
    assert "8 points in 2 groups (1 machines x 4 combinations x 2 workloads)" in told
    assert "128 KiB" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["space.yaml"]


def test_shards_are_merged_into_the_whole(space: Path, tmp_path: Path) -> None:
    code, told, said = run(space, "--out", tmp_path / "whole", "--json")
    whole = json.loads(told)
    assert code == 0
    assert whole["points_done"] == 8
    assert list(whole["errors"].values()) == [4]
    assert said == f"accsim: wrote the table to {tmp_path / 'whole'}\n"
    shards = [tmp_path / f"s{i}" for i in (1, 2)]
    for i, folder in enumerate(shards, 1):
        assert run(space, "--shard", f"{i}/2", "--out", folder)[0] == 0
    code, _, said = run("merge", shards[0], "--out", tmp_path / "half")
    assert code == 2
    assert "4 of 8 points are missing" in said
    code, told, _ = run("merge", *shards, "--out", tmp_path / "merged", "--json")
    assert code == 0
    assert json.loads(told)["best"] == whole["best"]
    names = [sorted(path.name for path in (tmp_path / name / "points").iterdir()) for name in ("whole", "merged")]
    assert names[0] == names[1]


def test_weights_add_up_designs(space: Path) -> None:
    rows = accsim.sweep(space)
    found = weighted(rows)
    assert len(found) == 2  # two of four designs have a workload that does not fit
    for design in found.to_dict("records"):
        mine = rows[rows["design"] == design["design"]]
        assert design["latency_s"] == pytest.approx(mine["latency_s"].iloc[0] + 3 * mine["latency_s"].iloc[1])
        assert design["memories.sg.capacity"] == 128 * 1024


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{space}"], "--out: missing"),
        (["{space}", "--out", "{out}", "--shard", "3/2"], "allowed is i/n"),
        (["{space}", "--out", "{out}", "--jobs", "2", "--dask", "local"], "exclude each other"),
        (["no_such", "--out", "{out}"], "unknown space 'no_such'"),
        (["merge", "--out", "{out}"], "needs folders of shards"),
        (["merge", "{space}", "--out", "{out}"], "holds no sweep"),
    ],
)
def test_what_is_refused_before_anything_is_written(
    space: Path, tmp_path: Path, arguments: list[str], told: str
) -> None:
    out = tmp_path / "out"
    code, _, said = run(*(text.format(space=space, out=out) for text in arguments))
    assert code == 2
    assert told in said
    assert not out.exists()


def test_the_schema_of_a_space_file() -> None:
    found = CliRunner().invoke(app, ["schema", "sweep"])
    schema = json.loads(found.stdout)
    assert {"machines", "workloads", "axes", "linked", "constraints", "sample"} <= schema["properties"].keys()
    assert schema["required"] == ["machines", "workloads"]

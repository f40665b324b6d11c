"""The command: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import accsim
from accsim.cli import app
from accsim.report.words import si
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
    assert said.splitlines() == [
        "accsim: no time or energy depends on vector_unit.lanes, as 8 points tell: what is run does not use it",
        f"accsim: wrote the table to {tmp_path / 'whole'}",
        f"accsim: charts and tables of it: accsim report {tmp_path / 'whole'}",
    ]
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


def test_the_front_of_one_workload_and_of_none_that_fits(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    text = (
        'machines: [flat_edge]\nworkloads: ["gemm?m=64&n=64&k=64"]\naxes: {clock: [1 GHz, 2 GHz], cores: [1, 2, 4]}\n'
    )
    path.write_text(text)
    found = json.loads(run(path, "--out", tmp_path / "one", "--json")[1])
    every = pd.read_parquet(tmp_path / "one" / "points")[["latency_s", "energy_j"]].to_numpy()
    beaten = [any((other <= mine).all() and (other < mine).any() for other in every) for mine in every]
    assert (found["front"], found["designs"]) == (beaten.count(False), [])
    path.write_text(text.replace('"]', '", "gemm?m=8&n=8&k=8"]') + 'constraints: ["latency_s < 1 ps"]\n')
    code, told, _ = run(path, "--out", tmp_path / "none")
    assert code == 0
    assert "no point is feasible" in told
    assert "none beats" not in told


def test_the_best_designs_are_those_of_the_weighted_sum(tmp_path: Path) -> None:
    """Beside the whole table in memory, and a front by its definition."""
    path, out = tmp_path / "space.yaml", tmp_path / "out"
    path.write_text(
        'machines: [flat_edge]\nworkloads: ["gemm?m=256&n=256&k=256", {workload: "gemm?m=4&n=4&k=4", weight: 50}]\n'
        "axes: {matrix_unit.rows: [4, 8, 64], clock: [470 MHz, 940 MHz]}\n"
        "linked: {matrix_unit.cols: matrix_unit.rows}\n"
    )
    code, told, _ = run(path, "--out", out, "--json")
    found = json.loads(told)
    assert code == 0
    every = weighted(pd.read_parquet(out / "points"))
    best = every.sort_values(["latency_s", "design"]).head(5)
    assert [row["design"] for row in found["designs"]] == best["design"].tolist()
    assert [row["latency_s"] for row in found["designs"]] == pytest.approx(best["latency_s"].tolist(), rel=1e-12)
    beaten = [
        any((other < mine).any() and (other <= mine).all() for other in every[["latency_s", "energy_j"]].to_numpy())
        for mine in every[["latency_s", "energy_j"]].to_numpy()
    ]
    assert found["front"] == beaten.count(False)
    code, told, _ = run(path, "--out", out, "--resume")
    assert "The best with all 2 workloads, weighted sums" in told
    assert f"{si(best['latency_s'].iloc[0], 's')}  {si(best['energy_j'].iloc[0], 'J')}" in told
    assert f"designs that none beats in both latency and energy: {found['front']}" in told


def test_the_table_is_read_without_accsim_as_the_documentation_says(
    space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documented = (Path(__file__).resolve().parents[2] / "docs" / "sweeps.md").read_text()
    line = 'pandas.read_parquet("s1/points")'
    assert line in documented
    monkeypatch.chdir(tmp_path)
    assert run(space, "--out", "s1")[0] == 0
    rows = eval(line, {"pandas": pd})
    assert rows["point"].tolist() == list(range(8))


def test_an_axis_that_nothing_depends_on_is_told(tmp_path: Path) -> None:
    """Embeddings of a chip alone run on its vector unit: how many SparseCores it has does not matter."""
    path = tmp_path / "space.yaml"
    path.write_text(
        'machines: [tpu_v4]\nworkloads: ["embedding_bag?bags=4096&lookups=40960&vocab=1000000&dim=128"]\n'
        "axes: {sparse_core.count: [1, 2, 4], workload.dim: [64, 128]}\n"
    )
    wanted = "no time or energy depends on sparse_core.count, as 6 points tell"
    code, told, _ = run(path, "--dry-run")
    assert code == 0
    assert wanted in told
    assert json.loads(run(path, "--dry-run", "--json")[1])["idle_axes"] == ["sparse_core.count"]
    code, _, said = run(path, "--out", tmp_path / "out")
    assert code == 0
    assert wanted in said
    path.write_text(path.read_text().replace("[1, 2, 4]", "[4]"))
    assert "depends" not in run(path, "--dry-run")[1]


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

"""The commands effects, sensitivity and crossover: what they print and refuse."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import accsim
from accsim.cli import app
from accsim.sweep.analysis import marginal_effects
from accsim.sweep.crossover import crossover
from accsim.sweep.design_text import read_design
from accsim.sweep.designs import Design
from accsim.sweep.space import read_space
from accsim.sweep.store import read_sweep
from accsim.sweep.sweep_effects import OF_ALL
from accsim.sweep.weighted import weighted

SPACE = """
machines: [flat_edge]
workloads: ["gemm?m=64&n=64&k=64", {workload: "gemm?m=32&n=32&k=32", weight: 3}]
axes:
  matrix_unit.rows: {range: [4, 64, 4]}
  memories.sg.capacity: [1 KiB, 128 KiB, 1 MiB]
  mapping.dataflow: [output_stationary, weight_stationary]
linked: {matrix_unit.cols: matrix_unit.rows}
"""
ONE = "gemm?m=64&n=64&k=64"


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a space, beside the folder ``s1`` of its sweep."""
    path = tmp_path_factory.mktemp("questions") / "space.yaml"
    path.write_text(SPACE)
    accsim.sweep(path, out=path.parent / "s1")
    return path


def rows_of(space: Path) -> pd.DataFrame:
    rows: pd.DataFrame = read_sweep(space.parent / "s1").to_table().to_pandas()
    return rows


def ask(*arguments: str | Path) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, list(map(str, arguments)))
    return found.exit_code, found.stdout, found.stderr


def test_effects_of_one_workload_are_those_of_its_rows(space: Path) -> None:
    code, told, _ = ask("effects", space.parent / "s1", "--workload", ONE, "--of", "energy_j", "--json")
    found = json.loads(told)
    assert (code, found["column"], found["workload"]) == (0, "energy_j", ONE)
    rows = rows_of(space).query("workload == @ONE")
    axes = ["matrix_unit.rows", "memories.sg.capacity", "mapping.dataflow"]
    expected = marginal_effects(rows, axes, "energy_j").set_index(["axis", "value"])
    assert len(found["effects"]) == len(expected)
    for row in found["effects"]:
        exact = expected.loc[row["axis"], row["value"]]
        assert row["points"] == exact["points"]
        assert row["feasible_fraction"] == exact["feasible_fraction"]
        for name in ("least", "most", "mean", "lower", "median", "upper", "variance_share"):
            missing = row[name] is None
            assert missing == math.isnan(exact[name])
            assert missing or row[name] == pytest.approx(exact[name], rel=4e-3, abs=1e-6)
    shares = [row["variance_share"] for row in found["effects"]]
    assert shares == sorted(shares, reverse=True)


def test_effects_of_all_workloads_together(space: Path) -> None:
    code, told, _ = ask("effects", space.parent / "s1", "--field", "mapping.dataflow", "--json")
    designs = weighted(rows_of(space))
    for row in json.loads(told)["effects"]:
        mine = designs[designs["mapping.dataflow"] == row["value"]]["latency_s"]
        assert (row["points"], row["least"]) == (len(mine), pytest.approx(mine.min()))
        assert row["median"] == pytest.approx(np.median(mine), rel=4e-3)
    code, told, _ = ask("effects", space.parent / "s1")
    assert code == 0
    assert told.startswith("latency_s of all workloads, weighted, by field")
    assert "128 KiB" in told


def test_effects_refuse_what_is_not_there(space: Path, tmp_path: Path) -> None:
    folder = space.parent / "s1"
    assert "effects: latency: no column, allowed are" in ask("effects", folder, "--of", "latency")[2]
    assert f"allowed are {', '.join(OF_ALL)}" in ask("effects", folder, "--of", "clock_hz")[2]
    assert "Did you mean 'matrix_unit.rows'?" in ask("effects", folder, "--field", "matrix_unit.row")[2]
    assert f"unknown workload 'gemm?m=64&n=64', allowed are {ONE}" in ask("effects", folder, "--workload", ONE[:-5])[2]
    code, _, said = ask("effects", tmp_path)
    assert (code, said) == (2, f"accsim: {tmp_path}: holds no sweep: it has no manifest of one\n")


def test_sensitivity_prints_the_indices(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE.replace("[1 KiB, 128 KiB, 1 MiB]", "[131072 B, 131088 B]"))
    total = "--of", "3 * mapping_free + 1"
    assert "is no number of a design" in ask("sensitivity", path, *total)[2]
    code, told, _ = ask("sensitivity", path, "--of", "matrix_unit.rows", "--samples", "8", "--json")
    found = json.loads(told)
    assert (code, found["column"]) == (0, "matrix_unit.rows")
    totals = {row["axis"]: row["total"] for row in found["indices"]}
    assert totals["matrix_unit.rows"] > 0.3
    assert totals["memories.sg.capacity"] == totals["mapping.dataflow"] == 0, "it does not depend on them"
    code, told, _ = ask("sensitivity", path, "--of", "matrix_unit.rows", "--samples", "8")
    assert told.splitlines()[2].split()[0] == "matrix_unit.rows"
    assert "read 100, allowed is a power of two" in ask("sensitivity", path, "--samples", "100")[2]


def test_crossover_is_that_of_the_library(space: Path) -> None:
    first, second = "flat_edge?matrix_unit.rows=28&memories.sg.capacity=1 MiB", "?memories.sg.capacity=1MiB"
    code, told, _ = ask("crossover", space, first, second, "--along", "matrix_unit.rows", "--json")
    big = {"memories.sg.capacity": 1048576}
    found = crossover(
        space, Design("flat_edge", {"matrix_unit.rows": 28, **big}), Design("flat_edge", big), "matrix_unit.rows"
    )
    assert code == 0
    assert json.loads(told) == json.loads(json.dumps(found.to_dict()))
    assert found.after
    code, told, _ = ask("crossover", space, first, second, "--along", "matrix_unit.rows")
    assert told.splitlines()[0] == str(found)
    assert [line.split()[-1] for line in told.splitlines()[2:]] == [side.better for side in found.looked]


def test_designs_as_text(space: Path) -> None:
    read = read_space(space)
    text = "?mapping.dataflow=Weight_Stationary&memories.sg.capacity=64KiB&matrix_unit.rows=12"
    values = {"mapping.dataflow": "weight_stationary", "memories.sg.capacity": 65536, "matrix_unit.rows": 12}
    assert read_design(read, text) == Design("flat_edge", values)
    assert read_design(read, "") == Design("flat_edge", {})
    code, _, said = ask("crossover", space, "?mapping.dataflow=flat&rows=3", "", "--along", "matrix_unit.rows")
    assert code == 2
    assert "mapping.dataflow: read 'flat', allowed are output_stationary, weight_stationary" in said
    assert "rows=3: allowed is FIELD=VALUE with a field that is an axis: matrix_unit.rows" in said
    assert "allowed is a number" in ask("crossover", space, "?matrix_unit.rows=big", "", "--along", "x")[2]
    assert "without a unit" in ask("crossover", space, "?memories.sg.capacity=3", "", "--along", "x")[2]

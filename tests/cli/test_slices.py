"""``accsim run`` on slices: files of steps, steps side by side, collectives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from accsim.cli import app
from accsim.system import read_slice, train_step

SLICE, MODEL = "tpu_v4:4x4x4", "dlrm_v1?batch=4096"


def call(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Two dedups side by side with their files, as JSON."""
    out = tmp_path_factory.mktemp("steps") / "dedups"
    return call("run", SLICE, MODEL, "--compare", "none,owner", "--out", out, "--json"), out


def test_cases_are_the_steps_of_their_options(compared: tuple[Any, Path]) -> None:
    result, out = compared
    assert result.exit_code == 0, result.stderr
    runs = json.loads(result.stdout)["runs"]
    assert list(runs) == ["none", "owner"]
    for name, run in runs.items():
        step = train_step(MODEL, SLICE, dedup=name)
        assert (run["step_s"], run["dedup"], run["placement"]) == (step.step_s, name, "rows over all chips")
        assert json.loads((out / name / "summary.json").read_text()) == run
        parts = dict(line.split(",") for line in (out / name / "parts.csv").read_text().splitlines()[1:])
        assert {part: float(seconds) for part, seconds in parts.items()} == step.parts_s


def test_a_difference_of_two_steps_adds_up(compared: tuple[Any, Path]) -> None:
    result, out = compared
    runs = json.loads(result.stdout)["runs"]
    found = json.loads(call("diff", out / "none", out / "owner", "--json").stdout)
    wanted = (runs["owner"]["step_s"] - runs["none"]["step_s"]) * runs["none"]["clock_hz"]
    assert found["total_cycles"] == pytest.approx(wanted)
    for parts in ("by_op", "by_cause", "by_op_cause"):
        assert sum(found[parts].values()) == pytest.approx(wanted)


def test_a_step_has_no_page_and_says_where_its_numbers_are(compared: tuple[Any, Path]) -> None:
    result = call("report", compared[1] / "none")
    assert result.exit_code == 2
    assert "holds a training step on a slice, which has no page: see its summary.json" in result.stderr


def test_shapes_are_set_beside_the_own_one_and_what_does_not_exist_is_told() -> None:
    result = call("run", SLICE, MODEL, "--compare", "twisted:4x4x6,4x4x8")
    assert result.exit_code == 2
    assert "twisted:4x4x6: " in result.stderr
    head = next(line.split() for line in result.stdout.splitlines() if "4x4x8" in line)
    assert head == ["4x4x4", "4x4x8"]


def test_a_collective_takes_the_time_of_the_slice_s_network() -> None:
    result = call("run", SLICE, "all_reduce?bytes=1 MiB", "--json")
    assert json.loads(result.stdout)["time_s"] == read_slice(SLICE).network.all_reduce(2**20).time_s


def test_links_of_gpus_have_their_own_name_and_dense_work_is_on_cores() -> None:
    step = train_step(MODEL, "h100_sxm:8", where="gpu")
    assert {leg.unit for leg in step.legs} == {"nvlink", "gpu"}
    assert {"nvlink", "cores"} <= set(step.utilization)
    assert not {"ici", "tensor_core"} & set(step.utilization)

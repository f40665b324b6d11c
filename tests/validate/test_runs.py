"""`accsim validate runs`: whole runs against a user's own rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import accsim
from accsim.cli import app

GEMM = "gemm?m=512&n=512&k=512"


def told(path: Path, text: str, *words: str) -> tuple[int, str, str]:
    path.write_text(text)
    result = CliRunner().invoke(app, ["validate", "runs", "--data", str(path), *words])
    return result.exit_code, result.stdout, result.stderr


def test_errors_are_those_of_the_runs(tmp_path: Path) -> None:
    run = accsim.simulate(GEMM, "flat_edge")
    rows = f"machine,workload,latency_s,energy_j\nflat_edge,{GEMM},{run.latency_s * 2},{run.energy_j}\n"
    rows += f"FLAT Cloud,{GEMM},1,1\n"
    code, shown, errors = told(tmp_path / "rows.csv", rows, "--machine", "flat_edge", "--json")
    assert (code, errors) == (0, "")
    found = json.loads(shown)
    assert (found["count"], found["skipped"], found["mape"]) == (1, 1, pytest.approx(0.5))
    assert found["quantities"]["energy"]["mape"] == pytest.approx(0.0)
    assert "power" not in found["quantities"]
    # A roofline is below: the compulsory time of 512^3 MACs on 32 x 32 PEs at 0.94 GHz is 134 million / 1024 cycles.
    bound = 512**3 / 1024 / accsim.load_accelerator("flat_edge").clock_hz
    assert found["baselines"]["roofline of each op"]["bias"] == pytest.approx(bound / (2 * run.latency_s) - 1, rel=0.01)


def test_a_file_without_machines_needs_one(tmp_path: Path) -> None:
    rows = f"workload,latency_s\n{GEMM},1e-3\n"
    code, _, errors = told(tmp_path / "rows.csv", rows)
    assert (code, "--machine: missing" in errors) == (2, True)
    code, shown, _ = told(tmp_path / "rows.csv", rows, "--machine", "flat_cloud", "--json")
    assert (code, json.loads(shown)["count"]) == (0, 1)


def test_every_unknown_name_is_told_with_its_line(tmp_path: Path) -> None:
    rows = f"machine,workload,latency_s\nflat_ege,{GEMM},1\nflat_edge,bret_base,1\nflat_cluod,bert_bsae,1\n"
    code, _, errors = told(tmp_path / "rows.csv", rows)
    assert code == 2
    lines = errors.splitlines()
    assert len(lines) == 4
    for line, place, near in zip(
        lines, (2, 3, 4, 4), ("flat_edge", "bert_base", "flat_cloud", "bert_base"), strict=True
    ):
        assert f"rows.csv:{place}: " in line
        assert f"Did you mean '{near}'?" in line

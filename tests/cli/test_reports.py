"""``run --out`` and ``diff``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import accsim
from accsim.cli import app

ROOT = Path(__file__).resolve().parents[2]
OP = "attention?batch=2&heads=2&q_len=128&kv_len=128&head_dim=64"


def call(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the runs ``unfused`` and ``flash`` of one op."""
    out = tmp_path_factory.mktemp("runs") / "compared"
    result = call("run", "flat_edge", OP, "--compare", "unfused,flash", "--out", out)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == "".join(f"accsim: wrote the report to {out / name}\n" for name in ("unfused", "flash"))
    return out


def test_out_writes_what_is_printed(tmp_path: Path) -> None:
    result = call("run", "flat_edge", OP, "--json", "--out", tmp_path / "a" / "run")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == json.loads((tmp_path / "a" / "run" / "summary.json").read_text())
    again = call("run", "flat_edge", OP, "--dataflow", "flash", "--out", tmp_path / "a" / "run")
    assert again.exit_code == 0
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["run"]


def test_each_dataflow_of_a_comparison_has_a_folder(runs: Path) -> None:
    assert {path.name for path in runs.iterdir()} == {"unfused", "flash"}
    for name in ("unfused", "flash"):
        plain = json.loads((runs / name / "summary.json").read_text())
        assert plain["total_cycles"] == accsim.simulate(OP, "flat_edge", dataflow=name).total_cycles


def test_a_folder_that_must_not_be_replaced_is_told_first(tmp_path: Path, runs: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    # A mapping that does not fit would end in 3: it is not even looked for.
    result = call("run", "flat_edge", "softmax?rows=1&cols=1000000000", "--out", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "notes.txt" in result.stderr
    assert call("run", "flat_edge", OP, "--compare", "unfused,flash", "--out", runs / "flash").exit_code == 2


def test_diff_is_that_of_the_reports(runs: Path) -> None:
    unfused, flash = (accsim.simulate(OP, "flat_edge", dataflow=name) for name in ("unfused", "flash"))
    expected = unfused.diff(flash)
    assert call("diff", runs / "unfused", runs / "flash").stdout == f"{expected}\n"
    plain = json.loads(call("diff", runs / "unfused", runs / "flash", "--json").stdout)
    assert plain == json.loads(json.dumps(expected.to_dict()))
    assert plain["schema_version"] == 1
    assert sum(plain["by_op_cause"].values()) == pytest.approx(plain["total_cycles"])


def test_diff_takes_machines_and_workloads(runs: Path) -> None:
    result = call("diff", f"flat_edge:{OP}", f"flat_cloud:{OP}", "--json")
    edge, cloud = (accsim.simulate(OP, machine) for machine in ("flat_edge", "flat_cloud"))
    assert json.loads(result.stdout)["speedup"] == pytest.approx(edge.latency_s / cloud.latency_s)
    mixed = call("diff", runs / "flash", f"flat_edge:{OP}", "--json")
    flash = accsim.simulate(OP, "flat_edge", dataflow="flash")
    assert json.loads(mixed.stdout)["total_cycles"] == edge.total_cycles - flash.total_cycles


def broken(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "summary.json").write_text(text)
    return folder


def test_bad_runs_are_told_all_at_once(tmp_path: Path, runs: Path) -> None:
    whole = json.loads((runs / "flash" / "summary.json").read_text())
    lacking = {key: value for key, value in whole.items() if key != "critical_path"} | {"clock_hz": "fast"}
    cases = {
        "no such folder": tmp_path / "absent",
        "is a file": runs / "flash" / "ops.csv",
        "has no summary.json": tmp_path,
        f"in it are {runs / 'flash'}, {runs / 'unfused'}": runs,
        "cannot be read": broken(tmp_path / "torn", '{"schema'),
        "read None, allowed is 1": broken(tmp_path / "list", "[]"),
        "read 2, allowed is 1": broken(tmp_path / "newer", json.dumps(whole | {"schema_version": 2})),
        "critical_path: Field required": broken(tmp_path / "lacking", json.dumps(lacking)),
    }
    for told, folder in cases.items():
        result = call("diff", folder, "flat_edge:bert_bas")
        assert (result.exit_code, result.stdout) == (2, "")
        assert str(folder) in result.stderr
        assert told in result.stderr
        assert "Did you mean 'bert_base'" in result.stderr
    assert "clock_hz" in call("diff", tmp_path / "lacking", runs / "flash").stderr


def test_a_run_without_out_loads_no_figures() -> None:
    code = (
        "import sys; sys.argv[0] = 'accsim'\nfrom accsim.cli import main\n"
        "try: main()\nfinally: print(*sorted({m.partition('.')[0] for m in sys.modules}), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "run", "flat_edge", OP]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True)
    loaded = set(run.stderr.splitlines()[-1].split())
    assert "numba" in loaded
    assert not loaded & {"matplotlib", "pandas", "pyarrow", "PIL"}

"""`accsim validate flat` on rows that the naive twin of the model made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from accsim.cli import app
from accsim.validate.statistics import error_statistics
from tests.reference import flat_corrected_naive as naive

MACHINES = {
    "edge": naive.Machine(32, 512 * 2**10, 50 * 2**30, 940e6),
    "cloud": naive.Machine(256, 32 * 2**20, 400 * 2**30, 940e6),
}
CASES = [("edge", "small", 64, 2, 4, 512), ("edge", "long", 2048, 8, 12, 64), ("cloud", "small", 4096, 4, 12, 64)]
Row = dict[str, Any]


def row(platform: str, model: str, seq_len: int, batch: int, heads: int, d_head: int) -> Row:
    """A row with the columns of the published file."""
    machine, problem = MACHINES[platform], naive.Problem(batch, heads, seq_len, d_head)
    choice, result = naive.search(problem, machine)
    ideal = 2 * batch * heads * seq_len**2 * d_head / machine.side**2 / machine.clock
    staged = {"Q": choice.q, "K": choice.k, "L": choice.scores, "S": choice.scores, "V": choice.v, "O": choice.o}
    sizes = {"seq_len": seq_len, "batch": batch, "heads": heads, "d_model": heads * d_head, "d_head": d_head}
    granularity = {"fused": int(choice.scores), "granularity": "H" if choice.rows == seq_len else "R"}
    return (
        {"platform": platform, "model": model, **sizes, "d_ff": 4 * heads * d_head, **granularity}
        | {"P1": choice.rows, "R": choice.rows, "stat_L": choice.logit, "stat_A": choice.attend}
        | {f"stage_{tensor}": int(flag) for tensor, flag in staged.items()}
        | {"buffered_fraction": 1 - result.spill, "spill_fraction": result.spill, "traffic_bytes": result.traffic}
        | {"ideal_latency_s": ideal, "latency_s": result.latency, "utilisation": ideal / result.latency}
        | {"energy_pJ": 32 * result.traffic}
    )


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [row(*case) for case in CASES]


def write(path: Path, rows: list[Row]) -> Path:
    lines = ["# made by the naive twin", ",".join(rows[0]), *(",".join(map(str, one.values())) for one in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def told(path: Path, *options: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["validate", "flat", "--data", str(path), *options])
    return result.exit_code, result.stdout, result.stderr


def test_rows_of_the_twin_are_within_tolerance(rows: list[Row], tmp_path: Path) -> None:
    assert any(one["spill_fraction"] > 0 for one in rows)
    code, text, errors = told(write(tmp_path / "rows.csv", rows))
    assert (code, errors) == (0, "")
    assert "3 rows of" in " ".join(text.split())
    assert text.count("within") == 8
    for word in ("edge small", "edge long", "cloud small", "memory-bound", "roofline", "searched latency"):
        assert word in text
    assert "Beyond" not in text
    assert max(map(len, text.splitlines())) <= 120


ALTERED = [
    ("latency_s", 1.01, {"latency", "searched_latency"}),
    ("latency_s", 0.99, {"latency", "searched_latency"}),
    ("traffic_bytes", 1.01, {"traffic"}),
    ("spill_fraction", 1.01, {"spill_fraction"}),
    ("energy_pJ", 1.01, {"energy"}),
    ("ideal_latency_s", 1.01, {"ideal_latency"}),
    ("utilisation", 0.99, {"utilization"}),
    ("buffered_fraction", 0.99, {"buffered_fraction"}),
]


@pytest.mark.parametrize(("column", "factor", "quantities"), ALTERED)
def test_a_row_that_is_one_percent_off_is_found(
    column: str, factor: float, quantities: set[str], rows: list[Row], tmp_path: Path
) -> None:
    at = next(i for i, one in enumerate(rows) if one["spill_fraction"] > 0)
    altered = [dict(one) for one in rows]
    altered[at][column] *= factor
    path = write(tmp_path / "rows.csv", altered)
    code, text, errors = told(path)
    assert (code, errors) == (4, f"accsim: beyond tolerance in {path}: {len(quantities)}\n")
    assert "Beyond tolerance" in text
    found = json.loads(told(path, "--json")[1])
    assert found["passed"] is False
    missed = found["beyond_tolerance"]
    assert {one["quantity"] for one in missed} == quantities
    assert {one["line"] for one in missed} == {at + 3}
    assert {one["given"] for one in missed} == {altered[at][column]}
    for name, one in found["quantities"].items():
        assert one["passed"] is (name not in quantities)
    if column != "spill_fraction" and column != "buffered_fraction":
        assert missed[0]["error"] == pytest.approx(1 / factor - 1, rel=1e-6)


def test_a_worse_mapping_passes_but_for_the_search(rows: list[Row], tmp_path: Path) -> None:
    machine, problem = MACHINES["edge"], naive.Problem(2, 4, 64, 512)
    choice = naive.Choice(64, "OS", "OS", False, False, False, False, False)
    result = naive.evaluate(problem, machine, choice)
    worse = rows[0] | {"stat_L": "OS", "stat_A": "OS", "fused": 0, "R": 64, "granularity": "H"}
    worse |= {f"stage_{tensor}": 0 for tensor in "QKLSVO"}
    worse |= {"latency_s": result.latency, "traffic_bytes": result.traffic, "energy_pJ": 32 * result.traffic}
    worse |= {"utilisation": worse["ideal_latency_s"] / result.latency, "spill_fraction": 0, "buffered_fraction": 1}
    assert result.latency > 1.001 * rows[0]["latency_s"]
    path = write(tmp_path / "rows.csv", [worse])
    assert told(path)[0] == 4
    found = json.loads(told(path, "--json")[1])
    assert [one["quantity"] for one in found["beyond_tolerance"]] == ["searched_latency"]


def test_json_has_the_statistics(rows: list[Row], tmp_path: Path) -> None:
    altered = [dict(one) for one in rows]
    altered[0]["latency_s"] /= 1.5
    altered[1]["latency_s"] /= 0.9
    found = json.loads(told(write(tmp_path / "rows.csv", altered), "--json")[1])
    assert (found["kind"], found["quantity"], found["count"], found["skipped"]) == ("flat", "latency", 3, 0)
    wanted = {"mape": 0.2, "median": 0.1, "bias": 0.4 / 3, "max": 0.5, "p90": 0.1 + 0.8 * 0.4}
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=1e-9)
    assert found["regimes"]["edge small"]["max"] == pytest.approx(0.5, abs=1e-9)
    assert set(found["regimes"]) >= {"edge small", "edge long", "cloud small"}
    assert sum(found["regimes"][name]["count"] for name in ("memory-bound", "compute-bound")) == 3
    assert found["baselines"]["roofline"]["count"] == 3
    assert found["baselines"]["roofline"]["max"] > 0.01


def test_one_machine_alone_and_fewer_columns(rows: list[Row], tmp_path: Path) -> None:
    optional = ("d_model", "fused", "P1", "d_ff", "energy_pJ", "ideal_latency_s", "utilisation", "buffered_fraction")
    fewer = [{name: value for name, value in one.items() if name not in optional} for one in rows]
    path = write(tmp_path / "rows.csv", fewer)
    code, text, _ = told(path, "--machine", "FLAT Edge")
    assert code == 0
    assert "2 rows of" in " ".join(text.split())
    assert "1 of other machines left out" in " ".join(text.split())
    found = json.loads(told(path, "--machine", "flat_cloud", "--json")[1])
    assert (found["count"], found["skipped"]) == (1, 2)
    assert set(found["quantities"]) == {"latency", "searched_latency", "traffic", "spill_fraction"}


def test_roofline_by_hand(tmp_path: Path) -> None:
    """64 keys at d = 512 on the edge: the array needs 4.36 us a head, to move four tensors once takes 4.88 us."""
    made = row(*CASES[0])
    path = write(tmp_path / "rows.csv", [made])
    compute = 2 * 8 * 64**2 * 512 / 1024 / 940e6
    memory = 4 * 8 * 64 * 512 * 2 / (50 * 2**30)
    found = json.loads(told(path, "--json")[1])
    assert found["baselines"]["roofline"]["bias"] == pytest.approx(max(compute, memory) / made["latency_s"] - 1)


BAD = [
    ({"platform": "clod"}, ["3:1: platform: read 'clod', allowed is edge, cloud. Did you mean 'cloud'?"]),
    ({"seq_len": 128.5}, ["3:3: seq_len: read '128.5'"]),
    ({"R": 0}, [": R: read '0'"]),
    ({"latency_s": -1}, [": latency_s: read '-1', allowed is a number above 0"]),
    ({"granularity": "R", "R": 4096}, ["3:12: R: read 4096, allowed is at most the seq_len"]),
    ({"granularity": "H", "R": 32}, ["3:12: R: read 32, allowed is the seq_len at granularity H"]),
    ({"stage_L": 1, "stage_S": 0, "fused": 1}, [": stage_S: read False, allowed is the same as stage_L"]),
    ({"stage_L": 1, "stage_S": 1, "fused": 0}, [": fused: read False, allowed is the same as stage_L"]),
    ({"d_model": 2047}, ["3:6: d_model: read 2047, allowed is heads times d_head"]),
    ({"stat_L": "IS", "stage_Q": 2}, [": stat_L: read 'IS', allowed is OS, WS", ": stage_Q: read '2'"]),
]


@pytest.mark.parametrize(("change", "messages"), BAD)
def test_bad_files(change: Row, messages: list[str], rows: list[Row], tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", [rows[0] | change])
    code, text, errors = told(path)
    assert (code, text) == (2, "")
    for message in messages:
        assert message in errors
    assert "Traceback" not in errors


def test_bad_calls(rows: list[Row], tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", rows[:2])
    assert told(path, "--machine", "flat_edg")[::2] == (
        2,
        "accsim: read machine 'flat_edg', allowed are flat_edge, flat_cloud. Did you mean 'flat_edge'?\n",
    )
    assert "none of the 2 rows is of flat_cloud" in told(path, "--machine", "flat_cloud")[2]
    result = CliRunner().invoke(app, ["validate", "flatt", "--data", str(path)])
    assert result.exit_code == 2
    assert (
        "unknown kind of validation 'flatt', allowed are runs, flat, stc, collective. Did you mean 'flat'?"
        in result.stderr
    )
    assert CliRunner().invoke(app, ["validate", "flat"]).exit_code == 2


def test_the_published_rows_and_one_altered(tmp_path: Path) -> None:
    """The rows of FuseMax's artifact, where they are beside the checkout: they do not ship."""
    path = Path(__file__).resolve().parents[3] / "shared" / "reference" / "flat_validation.csv"
    if not path.exists():
        pytest.skip("flat_validation.csv, data of a public repository, is not beside the checkout")
    assert told(path)[0] == 0
    lines = path.read_text(encoding="utf-8").splitlines()
    head = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    latency = lines[head].split(",").index("latency_s")
    cells = lines[-1].split(",")
    cells[latency] = str(1.01 * float(cells[latency]))
    altered = tmp_path / "altered.csv"
    altered.write_text("\n".join([*lines[:-1], ",".join(cells)]) + "\n", encoding="utf-8")
    assert told(altered)[0] == 4


def test_statistics_by_hand() -> None:
    found = error_statistics(np.array([0.1, -0.2, 0.3, -0.4, 0.0]))
    assert (found.count, found.max) == (5, 0.4)
    assert (found.mape, found.median, found.p90, found.bias) == pytest.approx((0.2, 0.2, 0.36, -0.04))

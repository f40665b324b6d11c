"""`accsim validate collective` and `accsim calibrate collective` on measured rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accsim.cli import app
from accsim.config.catalogue import load_accelerator
from accsim.network.node import node_times

ROWS = Path(__file__).resolve().parents[1] / "golden" / "collective.csv"
"""Measured by NVIDIA; from the PyPI package aiconfigurator-core 0.12.0, Apache-2.0."""


def told(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(("machine", "rows", "mean"), [("h100_sxm", 168, 0.06), ("A100 SXM", 84, 0.07)])
def test_measured_rows_are_met(machine: str, rows: int, mean: float) -> None:
    code, shown, errors = told("validate", "collective", "--machine", machine, "--data", str(ROWS), "--json")
    assert (code, errors) == (0, "")
    found = json.loads(shown)
    assert (found["count"], found["skipped"]) == (rows, 252 - rows)
    assert found["mape"] <= mean
    # The ladder of protocols is what matters: launch, hop and rate, fitted to these very rows, err thrice as much.
    assert found["baselines"]["launch, hop, rate: fitted to these rows"]["mape"] > 2 * found["mape"]
    assert {"ll", "ll128", "simple", "2 chips", "8 chips", "all_reduce"} <= set(found["regimes"])


def test_rows_that_are_off_in_the_mean_exit_4(tmp_path: Path) -> None:
    lines = ROWS.read_text().splitlines()
    changed = [line if line[:5] not in ("h100_",) else f"{line}0" for line in lines]  # ten times as long
    path = tmp_path / "rows.csv"
    path.write_text("\n".join([*changed[:3], *[line.replace(".", "") for line in changed[3:]]]))
    code, shown, errors = told("validate", "collective", "--machine", "h100_sxm", "--data", str(path))
    assert code == 4
    assert "MAPE 11.0 %" in shown
    assert "beyond tolerance" in errors
    assert "the mean error of latency" in errors


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "--machine: missing, needed is a machine with links: a100_sxm, h100_sxm, h200_sxm"),
        (("--machine", "tpu_v4"), "tpu_v4: links: missing, needed for collectives; machines with links: a100_sxm"),
        (("--machine", "h200_sxm"), "none of the 252 rows is of h200_sxm"),
    ],
)
def test_a_machine_with_links_and_rows_is_needed(words: tuple[str, ...], expected: str) -> None:
    code, _, errors = told("validate", "collective", "--data", str(ROWS), *words)
    assert (code, expected in errors) == (2, True), errors


def test_bad_cells_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        "op_name,num_gpus,message_bytes,latency_us\nall_reduze,2,512,9\nalltoall,1,512,9\nall_gather,16,512,9\n"
    )
    code, _, errors = told("validate", "collective", "--machine", "h100_sxm", "--data", str(path))
    assert code == 2
    assert "Did you mean 'all_reduce'" in errors
    assert ":3:2: num_gpus: read '1'" in errors
    path.write_text("op_name,num_gpus,message_bytes,latency_us\nall_gather,16,512,9\n")
    code, _, errors = told("validate", "collective", "--machine", "h100_sxm", "--data", str(path))
    assert (code, "read 16, allowed is 2 to 8" in errors) == (2, True), errors


def test_constants_that_made_the_rows_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accsim.validate.calibrate.STARTS", 1)
    # Rows that an A100 with other constants would give; the fit starts from the file's.
    set_to = {"links.hop": "1.2 us", "links.protocols.ll128.efficiency": 0.5, "links.launch": "6 us"}
    links = load_accelerator("a100_sxm", set=set_to).links
    assert links is not None
    lines = ["op_name,num_gpus,message_bytes,latency_us"]
    for op in ("all_reduce", "all_gather"):
        for chips in (2, 8):
            for size in (2**i for i in range(9, 30)):
                lines.append(f"{op},{chips},{size},{1e6 * node_times(links, op, chips, size)[0].item()!r}")
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    code, shown, _ = told("calibrate", "collective", "--machine", "a100_sxm", "--data", str(path), "--json")
    assert code == 0
    found = json.loads(shown)
    assert found["rows"] == 84
    assert found["after"]["mape"] < 0.02 < found["before"]["mape"]
    fitted = {path: constant["fitted"] for path, constant in found["constants"].items()}
    assert fitted["links.launch"] == pytest.approx(6e-6, rel=0.1)
    assert fitted["links.hop"] == pytest.approx(1.2e-6, rel=0.1)
    assert fitted["links.protocols.ll128.efficiency"] == pytest.approx(0.5, rel=0.1)


def test_a_fit_needs_as_many_rows_as_constants(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("op_name,num_gpus,message_bytes,latency_us\nall_gather,2,512,9\n")
    code, _, errors = told("calibrate", "collective", "--machine", "a100_sxm", "--data", str(path))
    assert code == 2
    assert "needed are 10, one for each constant" in errors
    code, _, errors = told("calibrate", "stc", "--machine", "a100_sxm", "--data", str(path))
    assert (code, "allowed are collective" in errors) == (2, True)


def test_messages_have_constants_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of messages that other constants would give: those of messages are found again, no others are touched."""
    monkeypatch.setattr("accsim.validate.calibrate.STARTS", 1)
    set_to = {"links.send_recv.latency": "20 us", "links.send_recv.bandwidth": "200 GB/s"}
    links = load_accelerator("a100_sxm", set=set_to).links
    assert links is not None
    path = tmp_path / "rows.csv"
    rows = [
        f"sendrecv,{chips},{size},{1e6 * node_times(links, 'send_recv', chips, size)[0].item()!r}"
        for chips in (2, 8)
        for size in (2**i for i in range(9, 32))
    ]
    path.write_text("\n".join(["op_name,num_gpus,message_bytes,latency_us", *rows]) + "\n")
    code, shown, errors = told("calibrate", "collective", "--machine", "a100_sxm", "--data", str(path), "--json")
    assert (code, errors) == (0, "")
    found = json.loads(shown)
    assert found["after"]["mape"] < 0.01 < found["before"]["mape"]
    fitted = {path: constant["fitted"] for path, constant in found["constants"].items()}
    assert all(name.startswith("links.send_recv.") for name in fitted)
    assert fitted["links.send_recv.latency"] == pytest.approx(20e-6, rel=0.05)
    assert fitted["links.send_recv.bandwidth"] == pytest.approx(200e9, rel=0.05)

"""Saved reports: what the files hold, what may be replaced, and that a folder is written as a whole or not at all."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import accsim
from accsim.cli import app
from accsim.report import files, folder
from accsim.report.files import WRITERS, save_report
from accsim.report.manifest import workload_hash
from accsim.workload.trace import Entry
from tests.report.shipped import report

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "summary.json", "inputs.json", "figures.json", "ops.csv", "ops.parquet", "trace.json", "roofline.png", "energy.png",
    "utilization.png", "timeline.png", "buffers.png", "manifest.json",
}  # fmt: skip
OP = "gemm?m=64&n=64&k=64"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the report of a small model."""
    target = tmp_path_factory.mktemp("saved") / "runs" / "tpu"
    assert report("tpu_v4", "bert_base").save(target) == target
    return target


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> accsim.Report:
    """Return a report whose save writes two small files only."""
    monkeypatch.setattr(files, "WRITERS", {name: WRITERS[name] for name in ("summary.json", "ops.csv")})
    return report("flat_edge", "attention_layer")


def names(path: Path) -> set[str]:
    return {item.name for item in path.iterdir()}


# What the files hold


def test_all_files_are_there(saved: Path) -> None:
    assert names(saved) == FILES
    assert names(saved.parent) == {"tpu"}
    for path in saved.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_summary_is_the_report(saved: Path) -> None:
    rep = report("tpu_v4", "bert_base")
    plain = json.loads((saved / "summary.json").read_text())
    assert plain == json.loads(json.dumps(rep.to_dict()))
    assert plain["schema_version"] == 1
    for op, row in zip(plain["ops"], rep.ops, strict=True):
        assert sum(op["critical_path"].values()) == pytest.approx(op["cycles"])
        assert sum(op["energy_breakdown_j"].values()) == pytest.approx(op["energy_j"])
        assert op["utilization"].keys() == row.parts[0].counters.busy.keys()


def test_tables_are_the_frame(saved: Path) -> None:
    frame = report("tpu_v4", "bert_base").to_frame()
    frame["mapping"] = [json.dumps(mapping) for mapping in frame["mapping"]]
    pd.testing.assert_frame_equal(pd.read_parquet(saved / "ops.parquet"), frame, check_dtype=False)
    pd.testing.assert_frame_equal(pd.read_csv(saved / "ops.csv"), frame, check_dtype=False)
    with (saved / "ops.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == list(frame.columns)
    assert {len(row) for row in rows} == {len(frame.columns)}


def test_frame_sums_to_the_report(saved: Path) -> None:
    rep = report("tpu_v4", "bert_base")
    frame = pd.read_parquet(saved / "ops.parquet")
    for part, joules in rep.energy_breakdown_j.items():
        assert (frame["count"] * frame[f"{part}_energy_j"]).sum() == pytest.approx(joules)
    for name, share in rep.utilization.items():
        whole = (frame["count"] * frame["cycles"] * frame[f"{name}_utilization"]).sum()
        assert whole / rep.total_cycles == pytest.approx(share)


def test_manifest(saved: Path) -> None:
    plain = json.loads((saved / "manifest.json").read_text())
    rep = report("tpu_v4", "bert_base")
    assert (plain["schema_version"], plain["written_by"]) == (1, "accsim")
    assert plain["machine"] == rep.to_dict()["machine"]
    assert plain["workload"] == {"name": "bert_base", "hash": workload_hash(rep.workload)}
    assert plain["versions"].keys() == {"python", "accsim", "numpy", "numba"}
    assert plain["versions"]["python"] == sys.version.split()[0]
    assert abs(datetime.fromisoformat(plain["written_at"]) - datetime.now(UTC)) < timedelta(hours=1)
    assert plain["command"]
    assert plain["files"].keys() == FILES - {"manifest.json"}
    for name, told in plain["files"].items():
        content = (saved / name).read_bytes()
        assert told == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_saved_again_the_data_are_the_same(saved: Path, tmp_path: Path) -> None:
    code = f"import accsim; accsim.simulate('bert_base?seq=64', 'tpu_v4').save({str(tmp_path / 'run')!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    for name in ("summary.json", "inputs.json", "figures.json", "ops.csv", "trace.json"):
        assert (tmp_path / "run" / name).read_bytes() == (saved / name).read_bytes()


def test_workload_hash_tells_workloads_apart() -> None:
    first, second = accsim.Gemm(4, 4, 8), accsim.Gemm(4, 4, 9)
    works = [
        accsim.Workload("w", entries)
        for entries in (
            (Entry(first),),
            (Entry(second),),
            (Entry(first, repeat=2),),
            (Entry(first, name="b"),),
            (Entry(accsim.Gemm(4, 4, 8, sparsity=accsim.NM(2, 4))),),
            (Entry(accsim.Gemm(4, 4, 8, sparsity=accsim.NM(2, 4), sparse_operand="A")),),
            (Entry(accsim.Gemm(4, 4, 8, sparsity=accsim.Unstructured(mask=np.eye(8, 4)))),),
            (Entry(accsim.Gemm(4, 4, 8, sparsity=accsim.Unstructured(mask=np.eye(8, 4, k=-1)))),),
            (Entry(first), Entry(second, name="b")),
            (Entry(second, name="b"), Entry(first)),
        )
    ]
    assert len({workload_hash(work) for work in works}) == len(works)
    assert workload_hash(accsim.Workload("other", (Entry(first),))) == workload_hash(works[0])


def test_a_lower_bound_has_no_timeline(tmp_path: Path) -> None:
    report("flat_edge", "attention_layer", "analytic").save(tmp_path / "run")
    assert names(tmp_path / "run") == FILES - {"timeline.png", "buffers.png"}


# What may be replaced


def test_an_earlier_output_is_replaced(tmp_path: Path, quick: accsim.Report) -> None:
    save_report(quick, tmp_path / "run", ["first"])
    (tmp_path / "empty").mkdir()
    for target in (tmp_path / "run", tmp_path / "empty"):
        save_report(quick, target, ["second"])
        assert json.loads((target / "manifest.json").read_text())["command"] == "second"
    assert names(tmp_path) == {"run", "empty"}


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ({"notes.txt": "mine"}, "notes.txt"),
        ({"manifest.json": "{}"}, "manifest.json"),
        ({"manifest.json": "no json"}, "manifest.json"),
        ({"manifest.json": '{"written_by": "another tool", "files": {"a": {}}}', "a": ""}, "manifest.json"),
        ({"manifest.json": '{"written_by": "accsim", "files": {"a": {}}}', "a": "", "mine.txt": ""}, "mine.txt"),
    ],
)
def test_what_is_not_ours_is_kept(tmp_path: Path, quick: accsim.Report, held: dict[str, str], told: str) -> None:
    for name, text in held.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(accsim.InputError, match=r"allowed is a folder that is missing, empty") as caught:
        quick.save(tmp_path)
    assert told in str(caught.value)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == held


def test_places_that_cannot_be_a_folder(tmp_path: Path, quick: accsim.Report, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    for target, told in (
        ("file", "is a file"),
        (".", "current folder"),
        ("..", "current folder"),
        ("file/x", "file is a file"),
    ):
        with pytest.raises(accsim.InputError, match=told):
            quick.save(target)
    assert names(tmp_path) == {"file"}


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path, quick: accsim.Report) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    quick.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert "summary.json" in names(tmp_path / "real")


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path, quick: accsim.Report) -> None:
    (tmp_path / "plain").mkdir()
    quick.save(tmp_path / "run")
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("exchange", [True, False])
def test_a_reader_never_sees_a_part(
    tmp_path: Path, quick: accsim.Report, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    """Look at the target at every step of a save: what is there is complete, and of one save."""
    target = tmp_path / "run"
    seen: list[set[str]] = []
    if not exchange:
        monkeypatch.setattr(folder, "_exchange", lambda *_: False)
    save_report(quick, target, ["first"])
    for name in ("rename", "exists", "iterdir", "mkdir", "open", "write_text"):
        plain = getattr(Path, name)

        def spying(*arguments: object, plain: object = plain, **options: object) -> object:
            seen.append({item.name for item in os.scandir(target)} if os.path.lexists(target) else set())
            return plain(*arguments, **options)  # type: ignore[operator]

        monkeypatch.setattr(Path, name, spying)
    save_report(quick, target, ["second"])
    whole = {"summary.json", "ops.csv", "manifest.json"}
    assert whole in seen
    assert all(found == whole or (not exchange and not found) for found in seen)
    assert json.loads((target / "manifest.json").read_text())["command"] == "second"
    assert names(tmp_path) == {"run"}


# Failures


KILLED = """
import json, os, signal, sys
from pathlib import Path
import accsim
from accsim.report import files, folder

target = Path(sys.argv[1])
report = accsim.simulate("gemm?m=64&n=64&k=64", "flat_edge")
files.WRITERS = {name: files.WRITERS[name] for name in ("summary.json", "ops.csv", "trace.json")}

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def half(report, path):
    path.write_text("{")
    die()

def kill_at(point):
    if point == "in the first file":
        files.WRITERS["summary.json"] = half
    elif point == "before another file":
        files.WRITERS["ops.csv"] = die
    elif point == "before the manifest":
        files.manifest = die
    elif point == "before the move":
        folder._move = die
    elif point == "after the move":
        folder.shutil.rmtree = die

for point in json.loads(sys.argv[2]):
    child = os.fork()
    if child == 0:
        kill_at(point)
        report.save(target)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, point
    left = sorted(path.name for path in target.parent.iterdir())
    inside = sorted(path.name for path in target.iterdir()) if target.exists() else None
    print(json.dumps([point, left, inside]))
"""
POINTS = ("in the first file", "before another file", "before the manifest", "before the move")


def kill(target: Path, points: tuple[str, ...]) -> list[tuple[str, list[str], list[str] | None]]:
    """Kill a save at each point: (point, what lies beside the target, what is in it)."""
    command = [sys.executable, "-c", KILLED, str(target), json.dumps(points)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return [tuple(json.loads(line)) for line in run.stdout.splitlines()]


def test_a_kill_leaves_no_half_written_folder(tmp_path: Path, quick: accsim.Report) -> None:
    target = tmp_path / "run"
    for number, (point, left, inside) in enumerate(kill(target, POINTS), 1):
        assert inside is None, point
        assert len(left) == number
        assert all(name.startswith(".run.accsim-") for name in left), point
    quick.save(target)
    assert names(tmp_path) == {"run"}


def test_a_kill_keeps_the_earlier_output(tmp_path: Path, quick: accsim.Report) -> None:
    target = tmp_path / "run"
    quick.save(target)
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    results = kill(target, (*POINTS, "after the move"))
    for point, left, inside in results[:-1]:
        assert inside == sorted(before), point
        assert [name for name in left if not name.startswith(".run.accsim-")] == ["run"]
    assert set(results[-1][2] or ()) == {"summary.json", "ops.csv", "trace.json", "manifest.json"}
    quick.save(target)
    assert names(tmp_path) == {"run"}


def test_a_folder_that_is_being_written_is_left_alone(tmp_path: Path, quick: accsim.Report) -> None:
    other, stale, similar = (tmp_path / name for name in (".run.accsim-other", ".run.accsim-stale", ".run2.accsim-a"))
    for path in (other, stale, similar):
        path.mkdir()
    lock = os.open(other, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    quick.save(tmp_path / "run")
    assert names(tmp_path) == {"run", other.name, similar.name}
    os.close(lock)
    quick.save(tmp_path / "run")
    assert names(tmp_path) == {"run", similar.name}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("a defect"), OSError(28, "No space left on device")])
def test_a_failure_leaves_nothing(
    tmp_path: Path, quick: accsim.Report, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(_report: accsim.Report, path: Path) -> None:
        path.write_text("half")
        raise error

    monkeypatch.setitem(files.WRITERS, "ops.csv", fail)
    told = accsim.InputError if isinstance(error, OSError) else type(error)
    with pytest.raises(told):
        quick.save(tmp_path / "run")
    assert names(tmp_path) == set()


@pytest.fixture
def full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder on a disk of 64 KiB; where nothing may be mounted, one where figures find no space."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:

        def fail(_report: accsim.Report, _path: Path) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setitem(files.WRITERS, "roofline.png", fail)
    yield tmp_path
    if not mounted.returncode:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_is_told(full_disk: Path) -> None:
    result = CliRunner().invoke(app, ["run", "flat_edge", OP, "--out", str(full_disk / "run")])
    assert result.exit_code == 2
    assert result.stderr == f"accsim: {full_disk / 'run'}: cannot be written: No space left on device\n"
    assert "total cycles" in result.stdout, "the result itself is not lost"
    assert list(full_disk.iterdir()) == []

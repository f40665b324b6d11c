"""What may go wrong in a sweep: nothing is lost, nothing is doubled, and the message says what to do."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

import accsim
from accsim.engine.builder import ProgramBuilder
from accsim.errors import InputError
from accsim.mapping.base import Dataflow, Step, register_dataflow
from accsim.sweep.executors import Done, ExecutorError
from accsim.sweep.executors.processes import MOST_DEATHS, Processes
from accsim.sweep.groups import Group, groups_of
from accsim.sweep.run import sweep, sweep_into
from accsim.sweep.space import read_space
from accsim.sweep.store import LOCK, Store, read_sweep
from accsim.sweep.work import RunGroup

WriteSpace = Callable[..., Path]
TINY = """
machines: [flat_edge]
workloads: ["gemm?m=8&n=8&k=8"]
axes:
  vector_unit.lanes: {range: [1, 40, 1]}
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in Store(folder).files()}


def points_in(folder: Path) -> list[int]:
    found: list[int] = read_sweep(folder).to_table(columns=["point"])["point"].to_pylist()
    return found


@dataclass(frozen=True)
class DeadlyWork:
    """As the real work, but a group kills the process that runs it: the first times, or every time."""

    work: RunGroup
    number: int
    marks: Path
    always: bool = False

    def __call__(self, group: Group) -> Done:
        if group.number == self.number and (self.always or not self.marks.exists()):
            self.marks.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.work(group)

    def prepare(self, group: Group) -> None:
        self.work.prepare(group)

    def give_up(self, group: Group, why: str) -> Done:
        return self.work.give_up(group, why)


def test_a_killed_process_loses_nothing_and_doubles_nothing(write_space: WriteSpace, tmp_path: Path) -> None:
    space = read_space(write_space(TINY))
    groups = list(groups_of(space))
    work = DeadlyWork(RunGroup(space), 1, tmp_path / "killed")
    done = list(Processes(2).run(work, groups))
    assert (tmp_path / "killed").exists()
    assert sorted(item.group for item in done) == groups
    assert {item.group: item.content for item in done} == {group: RunGroup(space)(group).content for group in groups}


def test_a_group_that_kills_every_process_becomes_rows_with_the_reason(write_space: WriteSpace, tmp_path: Path) -> None:
    space = read_space(write_space(TINY))
    groups = list(groups_of(space))
    done = list(Processes(2).run(DeadlyWork(RunGroup(space), 1, tmp_path / "killed", always=True), groups))
    assert sorted(item.group for item in done) == groups
    failed = {item.group.number: item.failed for item in done if item.failed}
    assert failed == {1: groups[1].points}
    import io

    import pyarrow.parquet as pq

    rows = pq.read_table(io.BytesIO(next(item.content for item in done if item.failed)))
    assert rows["point"].to_pylist() == list(range(groups[1].start, groups[1].stop))
    assert (
        rows["error"].to_pylist()[0]
        == f"the process that ran it died {MOST_DEATHS} times, the last time by signal SIGKILL"
    )


def run_cli(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "accsim.cli", "sweep", *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def wait_for_files(out: Path, process: subprocess.Popen[str], files: int) -> None:
    while len(Store(out).files()) < files:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


LONG = """
machines: [flat_edge]
workloads: ["attention?batch=1&heads=2&q_len=256&kv_len=256&head_dim=64"]
axes:
  vector_unit.lanes: {range: [1, 32, 1]}
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_killed_sweep_goes_on_where_it_was(write_space: WriteSpace, tmp_path: Path, how: signal.Signals) -> None:
    space, out = write_space(LONG), tmp_path / "out"
    process = run_cli(space, "--out", out, "--jobs", "2")
    wait_for_files(out, process, 1)
    process.send_signal(how)
    _, told = process.communicate(timeout=60)
    before = contents(out)
    assert 0 < len(before) < 4
    assert len(points_in(out)) == len(set(points_in(out)))  # a valid part of the table
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert told.endswith("accsim: interrupted\n")
        assert json.loads((out / "manifest.json").read_text())["status"] == "interrupted"
    kept: list[int] = []
    sweep(space, out=out, resume=True, progress=lambda state: kept.append(state.kept))
    assert kept[-1] == 8 * len(before)
    assert before.items() <= contents(out).items()
    assert points_in(out) == list(range(32))


def test_a_full_disk_leaves_whole_files_and_says_so(write_space: WriteSpace, tmp_path: Path) -> None:
    space, out = write_space(TINY), tmp_path / "out"
    sweep(space, out=out)
    whole = contents(out)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    largest = max(map(len, whole.values()))
    few = tmp_path / "few"
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 1, limit[1]))
    try:
        with pytest.raises(InputError, match=r"cannot be written: File too large"):
            sweep(space, out=few)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert contents(few).items() < whole.items()
    assert not list((few / "points").glob(".*"))
    sweep(space, out=few, resume=True)
    assert contents(few) == whole


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no right to mount a disk: {made.stderr.decode()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up(write_space: WriteSpace, small_disk: Path) -> None:
    process = run_cli(write_space(TINY.replace("40", "400")), "--out", small_disk / "out")
    _, told = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "No space left on device" in told
    assert "Traceback" not in told
    left = points_in(small_disk / "out")
    assert 0 < len(left) < 400
    assert left == sorted(set(left))


def test_two_sweeps_into_one_folder(write_space: WriteSpace, tmp_path: Path) -> None:
    space, out = write_space(TINY), tmp_path / "out"
    sweep(space, out=out)
    before = contents(out)
    with (out / LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another sweep writes into it"):
            sweep(space, out=out, resume=True)
    with pytest.raises(InputError, match="add --resume, or name another folder"):
        sweep(space, out=out)
    assert contents(out) == before


def test_a_folder_with_something_else(write_space: WriteSpace, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.tex").write_text("all of it")
    with pytest.raises(InputError, match=r"what no sweep wrote there \(thesis.tex\)"):
        sweep(write_space(TINY), out=out)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="is a file"):
        sweep(write_space(TINY), out=out / "thesis.tex")


@pytest.mark.parametrize("damage", [b"", b"PAR1", None])
def test_a_damaged_file_of_an_earlier_run_is_run_again(
    write_space: WriteSpace, tmp_path: Path, damage: bytes | None
) -> None:
    space, out = write_space(TINY), tmp_path / "out"
    sweep(space, out=out)
    before = contents(out)
    file = Store(out).files()[2]
    file.write_bytes(file.read_bytes()[:-20] if damage is None else damage)
    sweep(space, out=out, resume=True)
    assert contents(out) == before


def test_a_space_without_points(write_space: WriteSpace, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="read an empty list"):
        sweep(write_space(TINY.replace("{range: [1, 40, 1]}", "[]")), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    none = sweep(write_space(TINY + 'constraints: ["vector_unit.lanes > 99"]\n'))
    assert len(none) == 40
    assert not none["feasible"].any()
    assert set(none["error"]) == {"does not keep vector_unit.lanes > 99"}


@dataclass(frozen=True)
class Raising(Dataflow):
    """A user's dataflow with a mistake for some machines."""

    kinds: ClassVar[tuple[str, ...]] = ("gemm",)

    def steps(self, op: Any, acc: Any) -> tuple[Step, ...]:
        builder = ProgramBuilder(op.name)
        builder.level("step", 1 // (acc.vector_unit.lanes - 3))
        return (Step(builder.build()),)


def test_a_point_that_raises_is_a_row_with_its_error(write_space: WriteSpace) -> None:
    register_dataflow("raising_for_test", Raising)
    frame = accsim.sweep(write_space(TINY.replace("40", "5") + "  mapping.dataflow: [raising_for_test]\n"))
    assert len(frame) == 5
    assert frame["error"][2] == "ZeroDivisionError: integer division or modulo by zero"
    assert not frame["feasible"][2]


@dataclass(frozen=True)
class Forgetful:
    """An executor that loses a group."""

    def run(self, work: Any, groups: Any) -> Iterator[Done]:
        return (work(group) for group in groups if group.number != 1)


def test_a_lost_group_is_noticed(write_space: WriteSpace, tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match="ended without 1 groups"):
        sweep_into(tmp_path / "out", read_space(write_space(TINY)), Forgetful())
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["status"] == "stopped"


def test_no_scheduler_answers(write_space: WriteSpace, tmp_path: Path) -> None:
    from accsim.sweep.executors.dask_cluster import DaskCluster

    with pytest.raises(InputError, match="there is no file"):
        sweep(write_space(TINY), DaskCluster(str(tmp_path / "scheduler.json")), out=tmp_path / "out")
    with pytest.raises(InputError, match="no scheduler answers"):
        sweep(write_space(TINY), DaskCluster("tcp://127.0.0.1:9"), out=tmp_path / "out", resume=True)
    sweep(write_space(TINY), out=tmp_path / "out", resume=True)
    assert points_in(tmp_path / "out") == list(range(40))

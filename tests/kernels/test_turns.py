"""One process compiles a kernel, others wait for its file: with processes that are slow, killed or halted."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from accsim.kernels import turns
from accsim.kernels.turns import LOCKS, turn

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from accsim.kernels.turns import turn

path = Path(sys.argv[1])
with turn(path):
    print("taken", flush=True)
    time.sleep(float(sys.argv[2]))
    path.write_text("compiled")
"""


@contextmanager
def another(path: Path, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """Another process in the middle of its turn, which takes so long."""
    command = [sys.executable, "-c", HOLDER, str(path), str(seconds)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "taken\n"
        yield holder
        holder.kill()


def test_what_another_process_compiles_is_awaited(tmp_path: Path) -> None:
    path = tmp_path / "one.kernel"
    with another(path, 0.5):
        assert not path.exists()
        with turn(path):
            assert path.read_text() == "compiled"


def test_another_kernel_is_not_awaited(tmp_path: Path) -> None:
    with another(tmp_path / "one.kernel", 60), turn(tmp_path / "other.kernel"):
        assert not (tmp_path / "one.kernel").exists()


def test_a_killed_process_is_not_awaited(tmp_path: Path) -> None:
    path = tmp_path / "one.kernel"
    with another(path, 60) as holder:
        holder.kill()
        start = time.monotonic()
        with turn(path):
            assert not path.exists()
        assert time.monotonic() - start < 30


def test_a_halted_process_is_awaited_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_S", 0.1)
    path = tmp_path / "one.kernel"
    with another(path, 60), turn(path):
        assert not path.exists()


def test_a_kernel_inside_another_takes_no_turn(tmp_path: Path) -> None:
    inner = tmp_path / "inner.kernel"
    with another(inner, 60), turn(tmp_path / "outer.kernel"), turn(inner):
        assert not inner.exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with turn(tmp_path / "none" / "one.kernel"):
        assert not (tmp_path / "none").exists()


def test_a_kernel_that_is_there_takes_none(tmp_path: Path) -> None:
    path = tmp_path / "one.kernel"
    path.write_text("compiled")
    with turn(path):
        assert not (tmp_path / LOCKS).exists()

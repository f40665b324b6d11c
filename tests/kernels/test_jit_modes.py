"""Kernels as plain Python, and compiled with bounds checks: each in a fresh process with a cache folder of its own.

A warm cache would silently ignore both settings.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kernels.jit_programs import results

ROOT = Path(__file__).parents[2]


def fresh(folder: Path, **settings: str) -> dict[str, Any]:
    """What ``jit_programs`` prints in a new process with these settings and an empty cache folder."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.jit_programs"],
        cwd=ROOT,
        env=inherited | {"ACCSIM_CACHE_DIR": str(folder)} | settings,
        capture_output=True,
        text=True,
        check=True,
    )
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def here() -> Any:
    """The same results from this process's kernels."""
    return json.loads(json.dumps(results()))


def test_without_compilation(tmp_path: Path) -> None:
    printed = fresh(tmp_path / "cache", NUMBA_DISABLE_JIT="1")
    assert printed["kernel"] == "function"
    assert not (tmp_path / "cache").exists()
    assert printed["results"] == here()


@pytest.mark.slow  # it compiles every kernel once more
def test_with_bounds_checks(tmp_path: Path) -> None:
    printed = fresh(tmp_path / "cache", NUMBA_BOUNDSCHECK="1")
    assert printed["kernel"] == "Kernel"
    assert list((tmp_path / "cache").glob("run_plain-*.kernel"))
    assert printed["results"] == here()

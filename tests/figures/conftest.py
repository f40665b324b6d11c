"""Figures made once by the command line, for all tests of a run."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from accsim.cli import app


@dataclass(frozen=True)
class Made:
    """What one command made."""

    told: dict[str, Any]
    rows: pd.DataFrame
    png: Path

    def select(self, **wanted: object) -> pd.DataFrame:
        """The rows with these cells; there is one at least."""
        rows = self.rows
        for column, value in wanted.items():
            rows = rows[rows[column] == value]
        assert len(rows), wanted
        return rows

    def value(self, **wanted: object) -> float:
        """The simulated value of the one row with these cells."""
        return float(self.select(**wanted)["simulated"].item())


Maker = Callable[..., Made]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Makes a figure, of FLAT by default, or finds it made, by this process or by another of the same run."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name: str, data: Path | None = None, paper: str = "flat") -> Made:
        out = shared / f"figure-{paper}-{name}-{data.stem if data else 'alone'}"
        file = f"{paper}_{name}"
        with (shared / f"{out.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            told = out.with_suffix(".json")
            if not told.exists():
                options = ["--data", str(data)] if data else []
                result = CliRunner().invoke(app, ["figure", paper, name, "--out", str(out), "--json", *options])
                assert result.exit_code == 0, result.stderr
                assert sorted(path.name for path in out.iterdir()) == [f"{file}.csv", f"{file}.png"]
                told.write_text(result.stdout)
        return Made(json.loads(told.read_text()), pd.read_csv(out / f"{file}.csv"), out / f"{file}.png")

    return make

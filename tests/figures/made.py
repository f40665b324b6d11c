"""Figures made once by the command line, for all tests of a process."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from typer.testing import CliRunner

from accsim.cli import app

CSV_COLUMNS = ("quantity", "unit", "mode", "published", "simulated", "relative_error", "source", "confidence")


@dataclass(frozen=True)
class Figure:
    """What one command made."""

    told: dict[str, Any]
    rows: pd.DataFrame
    png: Path

    def select(self, **wanted: object) -> pd.DataFrame:
        """The rows with these cells."""
        rows = self.rows
        for column, value in wanted.items():
            rows = rows[rows[column] == value]
        assert len(rows), wanted
        return rows


@cache
def made(paper: str, name: str, data: Path | None = None) -> Figure:
    """One figure, by its command."""
    out = Path(tempfile.mkdtemp())
    options = ["--data", str(data)] if data else []
    result = CliRunner().invoke(app, ["figure", paper, name, "--out", str(out), "--json", *options])
    assert result.exit_code == 0, result.stderr
    stem = f"{paper}_{name}"
    assert sorted(path.name for path in out.iterdir()) == [f"{stem}.csv", f"{stem}.png"]
    return Figure(json.loads(result.stdout), pd.read_csv(out / f"{stem}.csv"), out / f"{stem}.png")

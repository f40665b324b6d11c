"""`accsim figure sparse stc` on a few published rows, one of them altered: it stays, with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from accsim.cli import app
from tests.validate.test_stc import ROWS, write


def test_a_row_beyond_tolerance_stays_in_the_figure_with_the_reason(tmp_path: Path) -> None:
    rows = [dict(row) for row in ROWS]
    rows[2]["cycles"] *= 1.2
    path = write(tmp_path / "rows.csv", rows)
    told = CliRunner().invoke(
        app, ["figure", "sparse", "stc", "--data", str(path), "--out", str(tmp_path / "out"), "--json"]
    )
    assert told.exit_code == 0
    assert sorted(made.name for made in (tmp_path / "out").iterdir()) == ["sparse_stc.csv", "sparse_stc.png"]
    table = pd.read_csv(tmp_path / "out" / "sparse_stc.csv", keep_default_na=False)
    assert len(table) == 2 * len(ROWS)
    beyond = table[table["beyond"]]
    assert beyond[["design", "quantity"]].to_numpy().tolist() == [["DSTC", "cycles"]]
    assert beyond["reason"].item().startswith("a mean over random places")
    assert float(beyond["relative_error"].item()) == pytest.approx(1 / 1.2 - 1, abs=0.01)
    assert any(
        "Beyond tolerance: cycles of L DSTC at 0.5, -17 %: a mean" in note for note in json.loads(told.stdout)["notes"]
    )

"""The command `accsim figure`: every figure is made by it, and what is wrong is told."""

from __future__ import annotations

import errno
import json
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import image
from typer.testing import CliRunner

from accsim.cli import app
from accsim.errors import InputError
from accsim.figures.paper_figure import NOT_SIMULATED, PaperFigure, beside, read_published
from accsim.figures.registry import FIGURES
from accsim.report.folder import write_files
from tests.figures.conftest import Maker

ROOT = Path(__file__).resolve().parents[2]
CSV_COLUMNS = ("quantity", "unit", "mode", "published", "simulated", "relative_error", "source", "confidence")
LONG = {"family", "embeddings", "scaling", "sparsecore"}
every = pytest.mark.parametrize(
    "figure",
    [
        pytest.param(
            figure, id=f"{figure.paper} {figure.name}", marks=[pytest.mark.slow] if figure.name in LONG else []
        )
        for figure in FIGURES
        if figure.data is None
    ],
)


def told(*options: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["figure", *options])
    return result.exit_code, result.stdout, result.stderr


@every
def test_one_command_makes_picture_and_table(figure: PaperFigure, made: Maker) -> None:
    here = made(figure.name, paper=figure.paper)
    assert tuple(here.rows.columns[-len(CSV_COLUMNS) :]) == CSV_COLUMNS
    assert len(here.rows) == len(here.told["rows"]) > 0
    assert here.told["columns"] == list(here.rows.columns)
    assert here.rows["simulated"].notna().any()
    assert here.rows[["quantity", "unit", "mode"]].notna().all(axis=None)
    known = here.rows["published"].notna()
    assert here.rows.loc[known, ["source", "confidence"]].notna().all(axis=None)
    assert here.told["notes"]
    assert all(note.endswith((".", "?")) for note in here.told["notes"])


@every
def test_errors_are_relative_to_the_published_value_and_blank_without_one(figure: PaperFigure, made: Maker) -> None:
    rows = made(figure.name, paper=figure.paper).rows
    both = rows["published"].notna() & rows["simulated"].notna()
    wanted = (rows["simulated"] - rows["published"])[both] / rows["published"][both]
    np.testing.assert_allclose(rows["relative_error"][both], wanted, rtol=1e-9, atol=1e-12)
    assert rows["relative_error"][~both].isna().all()


@every
def test_the_picture_is_not_blank(figure: PaperFigure, made: Maker) -> None:
    png = made(figure.name, paper=figure.paper).png
    width, height = struct.unpack(">II", png.read_bytes()[16:24])
    pixels = image.imread(png)[:, :, :3]
    assert (height, width) == pixels.shape[:2]
    dark = (pixels.min(axis=2) < 0.8).mean(axis=1)
    for part in np.array_split(dark, 4):  # title, axes, axes, notes
        assert part.max() > 0.01


@every
def test_no_text_of_the_picture_is_cut_off_or_covered(figure: PaperFigure, made: Maker) -> None:
    here = made(figure.name, paper=figure.paper)
    rows = pd.DataFrame(here.told["rows"], columns=here.told["columns"])
    drawn = figure.plot(rows)
    drawn.draw_without_rendering()
    for axes in drawn.axes:
        for way, (low, high), labels in (
            (0, sorted(axes.get_xlim()), axes.get_xticklabels()),
            (1, sorted(axes.get_ylim()), axes.get_yticklabels()),
        ):
            shown = [t for t in labels if t.get_text() and low <= t.get_position()[way] <= high]
            boxes = [t.get_window_extent() for t in shown]
            for i, box in enumerate(boxes):
                assert not any(box.padded(-1).overlaps(other.padded(-1)) for other in boxes[:i]), shown[i]
        for text in (axes.xaxis.label, axes.yaxis.label, axes.title, axes._left_title):  # type: ignore[attr-defined]
            box = text.get_window_extent()
            if text.get_text():
                assert box.x0 >= 0, text
                assert box.x1 <= drawn.bbox.x1, text


def test_list_has_every_figure() -> None:
    code, shown, _ = told("--list")
    assert code == 0
    assert all(figure.name in shown and figure.paper in shown for figure in FIGURES)
    code, plain, _ = told("--list", "--json")
    listed = {(one["paper"], one["name"], one["needs_data"]) for one in json.loads(plain)}
    assert listed == {(figure.paper, figure.name, figure.data is not None) for figure in FIGURES}


@pytest.mark.parametrize("paper", sorted({figure.paper for figure in FIGURES}))
def test_every_module_of_a_paper_is_registered(paper: str) -> None:
    modules = {path.stem for path in (ROOT / "accsim" / "figures" / paper).glob("*.py")} - {"__init__", "runs"}
    assert modules == {figure.name for figure in FIGURES if figure.paper == paper}
    assert len({(figure.paper, figure.name) for figure in FIGURES}) == len(FIGURES)


def test_table_for_a_terminal_has_notes(made: Maker) -> None:
    code, shown, stderr = told("flat", "sparse")
    assert code == 0, stderr
    assert "not simulated" in shown
    assert all(note in " ".join(shown.split()) for note in made("sparse").told["notes"])


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("falt", "speedup"), "unknown paper 'falt', allowed are flat, sparse, tpuv4. Did you mean 'flat'?"),
        (("falt", "--list"), "unknown paper 'falt', allowed are flat, sparse, tpuv4. Did you mean 'flat'?"),
        (("flat", "speed_up"), "Did you mean 'speedup'?"),
        (("flat",), "needs a PAPER and a FIGURE"),
        ((), "needs a PAPER and a FIGURE"),
        (("flat", "share", "--data", "rows.csv"), "--data: figure flat share needs no file, read rows.csv"),
        (
            ("flat", "softmax"),
            "--data: figure flat softmax needs a file of rows: fusemax_attention.csv, from the data of",
        ),
        (("flat", "validation"), "CSV or Parquet with columns platform, model, seq_len, batch, heads, d_head"),
        (("flat", "validation", "--data", "nowhere.csv"), "nowhere.csv: cannot read the file"),
    ],
)
def test_what_is_wrong_is_told(options: tuple[str, ...], wanted: str) -> None:
    code, shown, stderr = told(*options)
    assert code == 2
    assert shown == ""
    assert wanted in stderr
    assert "Traceback" not in stderr


# The table


PUBLISHED = pd.DataFrame(
    {"length": [1, 2], "published": [2.0, 4.0], "source": ["page 1", "page 2"], "confidence": ["high", "low"]}
)


def test_published_values_stand_beside_every_mode_and_those_without_a_simulation_last() -> None:
    simulated = pd.DataFrame({"length": [1, 1, 3], "mode": ["a", "b", "a"], "quantity": "q", "unit": "s"})
    rows = beside(simulated.assign(simulated=[3.0, 2.0, 7.0]), PUBLISHED)
    assert rows["mode"].tolist() == ["a", "b", "a", NOT_SIMULATED]
    assert rows["length"].tolist() == [1, 1, 3, 2]
    assert rows["published"].fillna(-1).tolist() == [2.0, 2.0, -1, 4.0]
    assert rows["relative_error"].fillna(-9).tolist() == [0.5, 0.0, -9, -9]


def test_a_case_published_twice_is_refused() -> None:
    simulated = pd.DataFrame({"length": [1], "mode": ["a"], "quantity": "q", "unit": "s", "simulated": [1.0]})
    with pytest.raises(ValueError, match="Merge keys are not unique"):
        beside(simulated, pd.concat([PUBLISHED, PUBLISHED]))


@pytest.mark.parametrize("path", sorted((ROOT / "accsim" / "figures").rglob("*.csv")), ids=lambda path: path.stem)
def test_every_published_value_has_source_and_confidence(path: Path) -> None:
    values = read_published(str(path.with_suffix(".py")))
    assert path.with_suffix(".py").exists()
    assert values[["published", "source", "confidence"]].notna().all(axis=None)
    assert values["confidence"].str.split().str[0].isin(["high", "medium", "low"]).all()
    assert path.read_text(encoding="utf-8").startswith("#")


# The files


def test_files_are_replaced_whole_and_others_are_left(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("mine")
    (tmp_path / "a.csv").write_text("old")
    written = write_files(tmp_path, {"a.csv": b"new", "b.png": b"picture"})
    assert [path.read_bytes() for path in written] == [b"new", b"picture"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.png", "other.txt"]


def test_when_one_file_cannot_be_written_none_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text("old")
    write = Path.write_bytes

    def write_until_full(path: Path, content: bytes) -> int:
        if content == b"picture":
            write(path, b"pic")
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_until_full)
    with pytest.raises(InputError, match="cannot be written: No space"):
        write_files(tmp_path, {"a.csv": b"new", "b.png": b"picture"})
    assert (tmp_path / "a.csv").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv"]


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    target.write_text("a file")
    for folder in (target, target / "below"):
        code, _, stderr = told("flat", "sparse", "--out", str(folder))
        assert code == 2
        assert f"{folder}: {target} is a file; allowed is a folder" in stderr

"""Rows of files: types, comments, and every bad cell with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from accsim.errors import InputError
from accsim.validate.table import Column, choice, count, flag, fraction, positive, read_rows, text

COLUMNS = (
    text("name"),
    count("size"),
    positive("time_s"),
    fraction("part"),
    flag("on"),
    choice("form", "OS", "WS"),
    positive("extra", needed=False),
)
HEADER = "name,size,time_s,part,on,form"
ROW = "a,512,1.5e-3,0.25,1,ws"


def write(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def problems(path: Path, columns: tuple[Column, ...] = COLUMNS) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_rows(path, columns)
    return [str(problem).removeprefix(str(path)) for problem in caught.value.problems]


def test_values_and_places(tmp_path: Path) -> None:
    path = write(tmp_path, "# what it is", "# more, with commas", HEADER, ROW, "# in between", "", "1e3,1,2,0,0,OS")
    rows = read_rows(path, COLUMNS)
    assert (len(rows), rows.lines.tolist()) == (2, [4, 7])
    assert rows["name"].tolist() == ["a", "1e3"]
    assert rows["size"].tolist() == [512, 1]
    assert rows["time_s"].tolist() == [1.5e-3, 2.0]
    assert rows["part"].tolist() == [0.25, 0.0]
    assert rows["on"].tolist() == [True, False]
    assert rows["form"].tolist() == ["WS", "OS"]
    assert "extra" not in rows
    assert rows.place(1, "part") == f"{path}:7:4"
    assert rows.take(rows["size"] == 1).lines.tolist() == [7]


def test_order_and_further_columns_do_not_matter(tmp_path: Path) -> None:
    path = write(tmp_path, "other,form,on,part,time_s,size,name,extra", "?,OS,0,1,3,4,b,0.5")
    rows = read_rows(path, COLUMNS)
    assert (rows["size"].tolist(), rows["extra"].tolist()) == ([4], [0.5])


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    frame = pd.DataFrame({"name": ["a"], "size": [4], "time_s": [0.5], "part": [0.0], "on": [True], "form": ["OS"]})
    frame.to_parquet(path)
    rows = read_rows(path, COLUMNS)
    assert (rows.lines.tolist(), rows["size"].tolist(), rows["on"].tolist()) == ([1], [4], [True])


BAD: list[tuple[str, Any, str]] = [
    ("size", "0", "2:2: size: read '0', allowed is a whole number from 1 to 2^40 - 1"),
    ("size", "1.5", "2:2: size: read '1.5', allowed is"),
    ("size", "true", "2:2: size: read 'true', allowed is"),
    ("size", "", "2:2: size: read '', allowed is"),
    ("time_s", "0", "2:3: time_s: read '0', allowed is a number above 0"),
    ("time_s", "-1", "2:3: time_s: read '-1', allowed is"),
    ("time_s", "nan", "2:3: time_s: read 'nan', allowed is"),
    ("time_s", "inf", "2:3: time_s: read 'inf', allowed is"),
    ("time_s", "1e400", "2:3: time_s: read '1e400', allowed is"),
    ("time_s", "1" + 400 * "0", "2:3: time_s: read '1000"),
    ("time_s", "1e-250", "2:3: time_s: read '1e-250', allowed is"),
    ("part", "1.01", "2:4: part: read '1.01', allowed is a number from 0 to 1"),
    ("on", "2", "2:5: on: read '2', allowed is 0 or 1"),
    ("form", "WSS", "2:6: form: read 'WSS', allowed is OS, WS. Did you mean 'WS'?"),
    ("name", "\a", "2:1: name: read '\\x07', allowed is a text"),
]


@pytest.mark.parametrize(("column", "cell", "message"), BAD)
def test_bad_cells(column: str, cell: str, message: str, tmp_path: Path) -> None:
    cells = dict(zip(HEADER.split(","), ROW.split(","), strict=True)) | {column: cell}
    (found,) = problems(write(tmp_path, HEADER, ",".join(cells.values())))
    assert found.startswith(f":{message}")


def test_all_problems_at_once_and_no_more_than_are_read(tmp_path: Path) -> None:
    assert len(problems(write(tmp_path, HEADER, "a,0,0,2,2,x"))) == 5
    found = problems(write(tmp_path, HEADER, *["a,0,0,2,2,x"] * 10))
    assert (len(found), found[-1]) == (21, "and 30 more problems")
    found = problems(write(tmp_path, HEADER, *["a,0,0,2,2,x"] * 2001))
    assert (len(found), found[-1]) == (21, "and at least 9,980 more problems")


def test_columns_that_are_missing_or_double(tmp_path: Path) -> None:
    path = write(tmp_path, "name,sizes,time_s,on,form,form", "a,1,1,1,OS,OS")
    assert problems(path) == [
        ":1:6: form: the column is given twice",
        ": size: the column is missing; the file has 'sizes'; its cells are a whole number from 1 to 2^40 - 1",
        ": part: the column is missing; its cells are a number from 0 to 1",
    ]


def test_rows_of_another_length_and_no_rows(tmp_path: Path) -> None:
    assert problems(write(tmp_path, HEADER, ROW + ",1", ROW[:-3])) == [
        ":2: read 7 cells, allowed are 6, one for each column",
        ":3: read 5 cells, allowed are 6, one for each column",
    ]
    assert problems(write(tmp_path, HEADER, "# nothing")) == [": the table has no row, needed is at least one"]
    assert "is empty" in problems(write(tmp_path, ""))[0]
    assert "No such file" in problems(tmp_path / "none.csv")[0]

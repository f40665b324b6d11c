"""Rows of a CSV or Parquet file as typed columns; every bad cell is told with its place."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accsim.config.checks import COUNT_TEXT, MAX_NAME, MAX_SIZE, shown
from accsim.errors import InputError, Problem, nearest
from accsim.workload.table_rows import Row, open_table, scalar

MOST_PROBLEMS = 20
"""Problems that are listed; the rest are counted."""

_ENOUGH = 10_000
"""Problems after which a file is not read further."""

_SMALLEST = 1e-200
"""Smallest number but 0 that is read: ratios of a prediction to it do not overflow."""


@dataclass(frozen=True)
class Column:
    """A column that is read: its name, what a cell may be, and how it is read.

    Attributes
    ----------
    allowed : what a cell may be, for messages.
    read : value of a cell, or None if it is not allowed; it gets numbers as numbers, texts without blanks around them.
    needed : a file without the column is refused.
    among : the names that a cell may be, if these are all.
    words : a cell is a text whatever it looks like.
    """

    name: str
    allowed: str
    read: Callable[[Any], Any]
    needed: bool = True
    among: tuple[str, ...] = ()
    words: bool = False


def count(name: str, *, least: int = 1, needed: bool = True) -> Column:
    """A column of whole numbers from `least`."""
    allowed = COUNT_TEXT.replace("1", str(least), 1)
    return Column(name, allowed, lambda v: v if type(v) is int and least <= v <= MAX_SIZE else None, needed)


def positive(name: str, *, needed: bool = True) -> Column:
    """A column of numbers above 0."""
    return Column(name, "a number above 0", lambda v: _number(v) if _is_number(v) and v > 0 else None, needed)


def fraction(name: str, *, needed: bool = True) -> Column:
    """A column of numbers from 0 to 1."""
    return Column(name, "a number from 0 to 1", lambda v: _number(v) if _is_number(v) and 0 <= v <= 1 else None, needed)


def flag(name: str, *, needed: bool = True) -> Column:
    """A column of truth values."""
    return Column(name, "0 or 1", lambda v: bool(v) if _is_truth(v) else None, needed)


def choice(name: str, *among: str, needed: bool = True) -> Column:
    """A column of names, in any case."""
    by_plain = {one.casefold(): one for one in among}
    return Column(name, ", ".join(among), lambda v: by_plain.get(v.casefold()), needed, among, words=True)


def text(name: str, *, needed: bool = True) -> Column:
    """A column of short texts."""
    return Column(name, f"a text of 1 to {MAX_NAME} printable characters", _text, needed, words=True)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


def _is_truth(value: object) -> bool:
    return isinstance(value, (bool, int)) and value in (0, 1)


def _number(value: Any) -> float | None:
    """Value as a float; None where it has more digits than one holds, or is so small that a ratio to it overflows."""
    try:
        read = float(value)
    except OverflowError:
        return None
    return read if read == 0 or abs(read) >= _SMALLEST else None


def _text(name: str) -> str | None:
    return name if 0 < len(name) <= MAX_NAME and name.isprintable() else None


@dataclass(frozen=True)
class Rows:
    """The rows of a file: an array for each column that was read.

    Attributes
    ----------
    file, header : the file, and the names of all its columns.
    lines : line of each row (of a Parquet file, its number).
    values : column to an array of its values.
    """

    file: str
    header: tuple[str, ...]
    lines: NDArray[np.int64]
    values: Mapping[str, NDArray[Any]]

    def __getitem__(self, column: str) -> NDArray[Any]:
        return self.values[column]

    def __contains__(self, column: str) -> bool:
        return column in self.values

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, row: int, column: str) -> str:
        """``file:line:column`` of a cell."""
        return f"{self.file}:{self.lines[row]}:{self.header.index(column) + 1}"

    def wrong(self, bad: NDArray[np.bool_], column: str, allowed: str) -> list[Problem]:
        """A problem for each row that is marked as bad, at its cell of a column."""
        found = np.flatnonzero(bad).tolist()
        values = self.values[column].tolist()
        return [Problem(self.place(i, column), column, f"read {shown(values[i])}, allowed is {allowed}") for i in found]

    def take(self, chosen: NDArray[np.bool_]) -> Rows:
        """The chosen rows alone."""
        values = {name: column[chosen] for name, column in self.values.items()}
        return Rows(self.file, self.header, self.lines[chosen], values)


def read_rows(path: Path, columns: Sequence[Column]) -> Rows:
    """Read the columns of a file; others in it are ignored, and so are lines that begin with ``#``.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column or all rows, or has cells that are not allowed: the first
        `MOST_PROBLEMS` of them, and how many more there are.
    """
    file = str(path)
    with open_table(path) as table:
        header = table.columns
        read = _columns(file, header, columns)
        places = [header.index(column.name) for column in read]
        problems: list[Problem] = []
        lines: list[int] = []
        cells: list[list[Any]] = [[] for _ in read]
        for row in table.rows:
            if _is_comment(row):
                continue
            if len(problems) >= _ENOUGH:
                break
            lines.append(row.number)
            if len(row.cells) != len(header):
                message = f"read {len(row.cells)} cells, allowed are {len(header)}, one for each column"
                problems.append(Problem(f"{file}:{row.number}", "", message))
                continue
            for column, place, found in zip(read, places, cells, strict=True):
                value = _value(row.cells[place], column)
                if value is None:
                    problems.append(_bad_cell(f"{file}:{row.number}:{place + 1}", column, row.cells[place]))
                found.append(value)
    if not lines:
        problems.append(Problem(file, "", "the table has no row, needed is at least one"))
    refuse(problems)
    values = {column.name: np.array(found) for column, found in zip(read, cells, strict=True)}
    return Rows(file, header, np.array(lines), values)


def refuse(problems: Sequence[Problem]) -> None:
    """Raise the problems, if there are any: the first `MOST_PROBLEMS`, and how many more there are."""
    if not problems:
        return
    more = len(problems) - MOST_PROBLEMS
    about = "at least " if len(problems) >= _ENOUGH else ""
    rest = [Problem("", "", f"and {about}{more:,} more problems")] if more > 0 else []
    raise InputError([*problems[:MOST_PROBLEMS], *rest])


def _columns(file: str, header: tuple[str, ...], columns: Sequence[Column]) -> list[Column]:
    """Those of the columns that the file has."""
    known = {column.name for column in columns}
    strange = [name for name in header if name not in known]
    problems = [
        Problem(f"{file}:1:{i + 1}", name, "the column is given twice")
        for i, name in enumerate(header)
        if name in known and name in header[:i]
    ]
    for column in columns:
        if column.needed and column.name not in header:
            near = nearest(column.name, strange)
            hint = "" if near is None else f"; the file has '{near}'"
            problems.append(Problem(file, column.name, f"the column is missing{hint}; its cells are {column.allowed}"))
    refuse(problems)
    return [column for column in columns if column.name in header]


def _is_comment(row: Row) -> bool:
    return isinstance(row.cells[0], str) and row.cells[0].startswith("#")


def _value(cell: Hashable, column: Column) -> Any:
    value = scalar(cell)
    if value is None:
        return None
    return column.read(str(cell).strip() if column.words else value)


def _bad_cell(place: str, column: Column, cell: Hashable) -> Problem:
    word = cell.strip() if isinstance(cell, str) else cell
    near = nearest(word, column.among) if isinstance(word, str) else None
    return Problem(place, column.name, f"read {shown(word)}, allowed is {column.allowed}", near)

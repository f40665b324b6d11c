"""Traces as tables (CSV, Parquet): a row an op, read as a stream, with equal ops as one entry of the workload."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from accsim.config.checks import MAX_NAME, MAX_SIZE, shown
from accsim.config.reader import MarkedDocument
from accsim.errors import InputError, Problem, nearest
from accsim.workload.op_form import FORMS, read_form
from accsim.workload.ops import Op
from accsim.workload.table_rows import Row, open_table, scalar
from accsim.workload.trace import Entry, Workload

COLUMNS: tuple[str, ...] = tuple(dict.fromkeys(key for form in FORMS.values() for key in form.model_fields))
"""Columns a table may have: the keys of all ops."""

MOST_PROBLEMS = 20
"""Problems that are listed; the rest are counted."""

_MOST_KNOWN = 4096
"""Rows that differ in more than their name whose op is remembered while reading."""

_DTYPES = ("dtype", "weight_dtype", "out_dtype", "kv_dtype")
_PATTERNS = ("sparsity", "other_sparsity", "out_sparsity")
_TEXTS = ("op", *_DTYPES, "function", "sparse_operand", *_PATTERNS)
"""Columns whose cells are texts whatever they look like."""


def read_table(path: Path) -> Workload:
    """The workload of a CSV or Parquet file with an op in every row.

    The file is read as a stream: memory grows with the ops that differ in more than their name, and, where there is a
    column ``after``, with the names; not with the rows.

    Raises
    ------
    InputError
        With the first `MOST_PROBLEMS` problems, each at ``file:row:column``, and how many more there are.
    """
    with open_table(path) as table:
        reader = _Reader(str(path), table.columns)
        for row in table.rows:
            reader.add(row)
    return reader.workload(path.stem)


@dataclass
class _Tally:
    """How often an op occurs, how many of these have parameters of their own, and its first name."""

    name: str | None
    count: int = 0
    weight_sets: int = 0


class _Read(NamedTuple):
    """What the cells of a row, its name aside, stand for."""

    tally: _Tally | None
    """None where the row has problems."""
    repeat: int
    weight_sets: int
    after: tuple[str, ...]
    problems: tuple[Problem, ...]
    """Without their places."""


@dataclass
class _Reader:
    """Reads rows one by one into tallies and problems."""

    file: str
    columns: tuple[str, ...]
    tallies: dict[Op, _Tally] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    rows: int = 0
    _more: int = 0
    _known: dict[tuple[Hashable, ...], _Read] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._check_columns()
        self._name_at = self.columns.index("name") if "name" in self.columns else None

    def _check_columns(self) -> None:
        problems = []
        for i, column in enumerate(self.columns):
            place = f"{self.file}:1:{i + 1}"
            if column in self.columns[:i]:
                problems.append(Problem(place, column[:60], "the column is given twice"))
            elif column not in COLUMNS:
                message = f"unknown column {shown(column)}, allowed are {', '.join(COLUMNS)}"
                problems.append(Problem(place, "", message, nearest(column, COLUMNS)))
        if "op" not in self.columns:
            problems.append(Problem(self.file, "op", f"the column is missing; it has the kind: {', '.join(FORMS)}"))
        if problems:
            raise InputError(problems)

    def add(self, row: Row) -> None:
        """Count the op of a row."""
        self.rows += 1
        number, cells = row
        name = None
        if len(cells) != len(self.columns):
            message = f"read {len(cells)} cells, allowed are {len(self.columns)}, one for each column"
            self._fail(number, Problem("", "", message))
            return
        at = self._name_at
        if at is not None:
            name = self._name(number, cells[at])
            cells = cells[:at] + cells[at + 1 :]
        read = self._known.get(cells)
        if read is None:
            read = self._known[cells] = self._read(cells)
            if len(self._known) > _MOST_KNOWN:
                self._known.clear()
        for problem in read.problems:
            self._fail(number, problem)
        for needed in read.after:
            if needed not in self._names:
                self._fail(number, Problem("", "after", f"read {shown(needed)}, allowed are names of earlier rows"))
        tally = read.tally
        if tally is not None:
            tally.count += read.repeat
            tally.weight_sets += read.weight_sets
            if tally.name is None:
                tally.name = name
        if name is not None and "after" in self.columns:
            self._names.add(name)

    def _name(self, number: int, cell: Hashable) -> str | None:
        text = cell.strip() if isinstance(cell, str) else cell
        if text is None or text == "":
            return None
        if isinstance(text, str) and len(text) <= MAX_NAME and text.isprintable():
            return text
        message = f"read {shown(cell)}, allowed is a text of 1 to {MAX_NAME} printable characters"
        self._fail(number, Problem("", "name", message))
        return None

    def _fail(self, number: int, problem: Problem) -> None:
        """Note a problem of a row at its place, or count it."""
        if len(self.problems) >= MOST_PROBLEMS:
            self._more += 1
            return
        column = problem.path.partition("[")[0]
        place = f":{self.columns.index(column) + 1}" if column in self.columns else ""
        self.problems.append(replace(problem, where=f"{self.file}:{number}{place}"))

    def _read(self, cells: tuple[Hashable, ...]) -> _Read:
        """The op of cells that were not met before; the name is not among them."""
        columns = [column for column in self.columns if column != "name"]
        read = {column: _value(column, cell) for column, cell in zip(columns, cells, strict=True)}
        data = {column: value for column, value in read.items() if value is not None}
        kind = data.get("op")
        if kind not in FORMS:
            near = nearest(kind, FORMS) if isinstance(kind, str) else None
            problem = Problem("", "op", f"read {shown(kind)}, allowed are {', '.join(FORMS)}", near)
            return _Read(None, 0, 0, (), (problem,))
        try:
            form, op = read_form(MarkedDocument(self.file, data, {}))
        except InputError as error:
            return _Read(None, 0, 0, (), error.problems)
        tally = self.tallies.setdefault(op.key, _Tally(None))
        return _Read(tally, form.repeat, form.weight_sets, tuple(form.after), ())

    def workload(self, name: str) -> Workload:
        """The tallies as entries, in the order in which they first occurred.

        Raises
        ------
        InputError
            If there was a problem, or no row.
        """
        if self.rows == 0:
            raise InputError(Problem(self.file, "", "the table has no row, needed is at least one op"))
        for op, tally in self.tallies.items():
            if tally.count > MAX_SIZE:
                message = f"the repeats of {op} add up to {tally.count}, allowed are 2^40 - 1"
                self.problems.append(Problem(self.file, "repeat", message))
        if self._more:
            self.problems.append(Problem(self.file, "", f"and {self._more:,} more problems"))
        if self.problems:
            raise InputError(self.problems)
        taken: set[str] = set()
        entries = tuple(_entry(op, tally, taken) for op, tally in self.tallies.items())
        return Workload(name, entries, source=f"{self.file}, {self.rows:,} rows")


def _entry(op: Op, tally: _Tally, taken: set[str]) -> Entry:
    """The entry of a tally, with a name that is not taken yet."""
    first = name = tally.name or op.kind
    number = 1
    while name in taken:
        number += 1
        name = f"{first[: MAX_NAME - 20]}_{number}"
    taken.add(name)
    return Entry(replace(op, name=name), tally.count, name, weight_sets=tally.weight_sets)


def _value(column: str, cell: Hashable) -> Any:
    """Value of a cell, as a YAML file would have it; None where there is nothing."""
    if column == "after" and cell is not None:
        parts = cell.split(";") if isinstance(cell, str) else cell if isinstance(cell, tuple) else (cell,)
        names = [part.strip() if isinstance(part, str) else part for part in parts]
        return [name for name in names if name != ""] or None
    if column in _TEXTS and isinstance(cell, str):
        return cell.strip() or None
    return scalar(cell)

"""Rows of CSV and Parquet files, one after the other, without holding the file."""

from __future__ import annotations

import csv
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from accsim.config.reader import parse_scalar
from accsim.errors import InputError, Problem

BATCH_ROWS = 16384
"""Rows of a Parquet file that are decoded at a time."""

MOST_COLUMNS = 1000


class Row(NamedTuple):
    """A row: where it stands (line of a CSV file, number of the row in a Parquet file), and its cells as they are."""

    number: int
    cells: tuple[Hashable, ...]


class Table(NamedTuple):
    """A file's columns and its rows, which can be read once."""

    columns: tuple[str, ...]
    rows: Iterator[Row]


@contextmanager
def open_table(path: Path) -> Iterator[Table]:
    """The columns and rows of a CSV or Parquet file.

    Cells of a CSV file are texts. Lines that begin with ``#`` before the header are left out, and so are empty lines.

    Raises
    ------
    InputError
        If the file cannot be read, is not of its format, or has no columns; from the rows, too.
    """
    name = str(path)
    try:
        if path.suffix == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield _csv(name, file)
        else:
            yield _parquet(name)
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise InputError(Problem(name, "", "the file is not UTF-8")) from error
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(Problem(name, "", f"cannot read the file: {reason[:200]}")) from error


def scalar(cell: Hashable) -> Any:
    """Value of a cell: a text as a YAML scalar, a whole float as an int, None where there is nothing.

    Examples
    --------
    >>> [scalar(cell) for cell in (" 64", "64.0", 64.0, "true", "gelu", "", float("nan"))]
    [64, 64, 64, True, 'gelu', None, None]
    """
    value = parse_scalar(cell.strip()) if isinstance(cell, str) else cell
    if isinstance(value, float):
        if value != value:
            return None
        return int(value) if value.is_integer() else value
    return None if value == "" else value


def _csv(name: str, file: Iterable[str]) -> Table:
    lines, skipped = iter(file), 0
    first = next(lines, "")
    while first.startswith("#"):
        first, skipped = next(lines, ""), skipped + 1
    reader = csv.reader(chain([first], lines), strict=True)

    def rows() -> Iterator[Row]:
        line = reader.line_num
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise InputError(Problem(f"{name}:{skipped + line + 1}:1", "", f"not a row of CSV: {error}")) from error
            if cells is None:
                return
            if cells:
                yield Row(skipped + line + 1, tuple(cells))
            line = reader.line_num

    found = rows()
    header = next(found, Row(1, ()))
    return Table(_columns(name, header.cells), found)


def _parquet(name: str) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(name)
    schema = file.schema_arrow
    columns = _columns(name, schema.names)
    nested = [field.name for field in schema if pa.types.is_nested(field.type) and not pa.types.is_list(field.type)]
    if nested:
        message = "the column has parts, allowed are numbers, texts, truth values, and lists of texts"
        raise InputError([Problem(name, column, message) for column in nested])

    def rows() -> Iterator[Row]:
        number = 0
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            cells = [
                [tuple(c) if isinstance(c, list) else c for c in column.to_pylist()]
                if pa.types.is_list(column.type)
                else column.to_pylist()
                for column in batch.columns
            ]
            for row in zip(*cells, strict=True):
                number += 1
                yield Row(number, row)

    return Table(columns, rows())


def _columns(name: str, header: Iterable[Hashable]) -> tuple[str, ...]:
    columns = tuple(str(cell).strip() for cell in header)
    if not any(columns):
        raise InputError(Problem(name, "", "the file is empty, needed is a row with the names of the columns"))
    if len(columns) > MOST_COLUMNS:
        raise InputError(Problem(name, "", f"read {len(columns)} columns, allowed are {MOST_COLUMNS}"))
    return columns

"""A figure made: its table, its notes, and the files of both."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from accsim.errors import InputError, Problem
from accsim.figures.draw import add_caption
from accsim.figures.paper_figure import PaperFigure
from accsim.report.folder import write_files
from accsim.report.result import SCHEMA_VERSION
from accsim.validate.table import read_rows, refuse


@dataclass(frozen=True)
class Made:
    """A figure with its table and its notes."""

    figure: PaperFigure
    rows: pd.DataFrame
    notes: tuple[str, ...]

    def plot(self) -> Figure:
        """The picture, with the notes below it."""
        drawn = self.figure.plot(self.rows)
        add_caption(drawn, self.notes)
        return drawn

    def to_dict(self) -> dict[str, Any]:
        """As plain data; cells without a value are None."""
        figure = self.figure
        return {
            "schema_version": SCHEMA_VERSION,
            "paper": figure.paper,
            "figure": figure.name,
            "title": figure.title,
            "origin": figure.origin,
            "notes": list(self.notes),
            "columns": list(self.rows.columns),
            "rows": json.loads(self.rows.to_json(orient="records", double_precision=15)),
        }

    def save(self, directory: Path) -> list[Path]:
        """Write ``PAPER_NAME.png`` and ``PAPER_NAME.csv`` into a folder, each at once.

        Raises
        ------
        InputError
            If they cannot be written.
        """
        picture = BytesIO()
        self.plot().savefig(picture, format="png")
        name = f"{self.figure.paper}_{self.figure.name}"
        table = self.rows.to_csv(index=False, lineterminator="\n").encode()
        return write_files(directory, {f"{name}.png": picture.getvalue(), f"{name}.csv": table})


def make(figure: PaperFigure, data: Path | None = None) -> Made:
    """Compute a figure's table.

    Parameters
    ----------
    data
        The file of rows, for a figure that needs one.

    Raises
    ------
    InputError
        If the file is missing, wrong, or not needed.
    """
    rows = figure.rows(*_rows_of(figure, data))
    return Made(figure, rows, tuple(figure.notes(rows)))


def _rows_of(figure: PaperFigure, path: Path | None) -> tuple[Any, ...]:
    """The arguments of ``figure.rows``: the rows of the file, if one is needed."""
    wanted = figure.data
    name = f"figure {figure.paper} {figure.name}"
    if wanted is None:
        if path is not None:
            raise InputError(Problem("--data", "", f"{name} needs no file, read {path}; leave it out"))
        return ()
    if path is None:
        needed = ", ".join(column.name for column in wanted.columns if column.needed)
        raise InputError(
            Problem("--data", "", f"{name} needs a file of rows: {wanted.origin}. CSV or Parquet with columns {needed}")
        )
    rows = read_rows(path, wanted.columns)
    refuse(wanted.check(rows))
    return (rows,)

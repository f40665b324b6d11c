"""A figure's table and notes for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from accsim.figures.make import Made
from accsim.figures.paper_figure import PaperFigure
from accsim.report.render import show
from accsim.report.sheet import GAP, Sheet, put

MOST_ROWS = 80
"""Rows that are shown; the file has all."""

_HIDDEN = ("source", "confidence", "mapping")
_ALWAYS = ("mode", "published", "simulated", "relative_error")


def print_made(console: Console, made: Made) -> None:
    """The table, what all of its rows have in common above it, and the notes."""
    figure, rows = made.figure, made.rows
    put(console, Text(f"{figure.paper} {figure.name}: {figure.title}", style="bold"))
    put(console, Text(f"published: {figure.origin}"))
    shown = [column for column in rows.columns if column not in _HIDDEN]
    common = [column for column in shown if column not in _ALWAYS and len(rows) > 1 and rows[column].nunique() == 1]
    if common:
        put(console, Text("all rows: " + ", ".join(f"{_head(name)} {_cell(name, rows[name][0])}" for name in common)))
    columns = [column for column in shown if column not in common]
    numbers = {column for column in columns if rows[column].dtype.kind in "if"}
    table = Sheet(tuple(map(_head, columns)), words=[i for i, name in enumerate(columns) if name not in numbers])
    for row in rows[columns].head(MOST_ROWS).itertuples(index=False):
        table.add(*(_cell(column, value) for column, value in zip(columns, row, strict=True)))
    show(console, "Published and simulated", table)
    if len(rows) > MOST_ROWS:
        put(console, Text(f"and {len(rows) - MOST_ROWS:,} more rows, in the CSV file of --out and in --json"), GAP)
    console.print()
    for note in made.notes:
        put(console, Text(f"- {note}"))


def print_figures(console: Console, figures: Sequence[PaperFigure]) -> None:
    """One line a figure."""
    table = Sheet(("paper", "figure", "shows", "published in", "needs"), words=range(5), wrap=(2, 3))
    for figure in figures:
        table.add(figure.paper, figure.name, figure.title, figure.origin, "--data FILE" if figure.data else "")
    show(console, "Figures", table)


def _head(column: str) -> str:
    return "error" if column == "relative_error" else column.replace("_", " ")


def _cell(column: str, value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{100 * value:+.1f} %" if column == "relative_error" else f"{value:.4g}"
    return str(value)

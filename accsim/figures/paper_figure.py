"""What a figure is, and the columns that every figure's table has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from accsim.errors import Problem
from accsim.validate.table import Column, Rows

COMPARED = ("quantity", "unit", "mode", "published", "simulated", "relative_error", "source", "confidence")
"""Columns at the end of every table; those before them say what a row is of. An empty cell: there is no such value."""

NOT_SIMULATED = "not simulated"
"""Mode of a published value that nothing here predicts."""

_VALUES = ("published", "source", "confidence")


@dataclass(frozen=True)
class DataFile:
    """Rows that a figure needs and that do not ship.

    Attributes
    ----------
    origin : which file it is, and where it can be had.
    columns : the columns that are read.
    check : what is wrong between the cells of a row.
    """

    origin: str
    columns: tuple[Column, ...]
    check: Callable[[Rows], list[Problem]] = lambda _: []


@dataclass(frozen=True)
class PaperFigure:
    """A figure of a paper: how its table is computed and drawn; ``accsim/figures/registry.py`` lists them.

    Attributes
    ----------
    paper, name : what the command line calls it.
    title : what it shows, in one line.
    origin : where the values were published.
    rows : the table, with the columns `COMPARED` at its end; gets the rows of the file if `data` asks for one.
    plot : the picture of such a table.
    notes : what does not reproduce and why, and what else must be known, about such a table.
    data : the file of rows that it needs.
    """

    paper: str
    name: str
    title: str
    origin: str
    rows: Callable[..., pd.DataFrame]
    plot: Callable[[pd.DataFrame], Figure]
    notes: Callable[[pd.DataFrame], Sequence[str]]
    data: DataFile | None = None


def read_published(module_file: str) -> pd.DataFrame:
    """The published values beside a figure's module: the CSV file of the same name.

    Its columns are those that say what a value is of, then ``published``, ``source`` and ``confidence``.
    """
    return pd.read_csv(Path(module_file).with_suffix(".csv"), comment="#", dtype={"source": str, "confidence": str})


def beside(simulated: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Simulated values with the published ones of the same case, and published ones that nothing simulates after them.

    Parameters
    ----------
    simulated
        Columns that say what a value is of, and ``quantity``, ``unit``, ``mode``, ``simulated``.
    published
        As `read_published` gives them; a case has one published value, and a simulated one for each mode.
    """
    keys = [column for column in published.columns if column not in _VALUES]
    joined = simulated.merge(published, on=keys, how="left", validate="many_to_one")
    known = published.merge(simulated[keys].drop_duplicates(), on=keys, how="left", indicator=True)
    rest = published[(known["_merge"] == "left_only").to_numpy()]
    if len(rest):
        joined = pd.concat([joined, rest.assign(mode=NOT_SIMULATED)], ignore_index=True)
    return compared(joined)


def compared(rows: pd.DataFrame) -> pd.DataFrame:
    """The table with the columns `COMPARED` at its end and the errors, simulated over published less 1."""
    full = rows.reindex(columns=[*(c for c in rows.columns if c not in COMPARED), *COMPARED])
    for column in ("published", "simulated"):
        full[column] = full[column].astype(np.float64)
    full["relative_error"] = full["simulated"] / full["published"] - 1.0
    return full

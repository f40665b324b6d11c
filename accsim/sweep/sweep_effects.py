"""What the axes of a sweep do to a column of its table: marginal effects, out of its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accsim.errors import InputError, Problem, check_choice
from accsim.report.words import percent
from accsim.sweep.analysis import Bins, Effects, check_columns
from accsim.sweep.axes import written
from accsim.sweep.columns import NUMBERS
from accsim.sweep.manifest import SCHEMA_VERSION
from accsim.sweep.views import ALL_WORKLOADS, SweepTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from rich.console import Console

MOST_VALUES = 40
"""Values of an axis in its effects; one of numbers with more is cut into parts of equal counts."""
SAMPLE = 20_000
"""Rows that say where the parts of an axis of many values end."""
OF_ALL = ("latency_s", "energy_j", "power_w", "area_mm2")
"""Columns of all workloads together."""


@dataclass(frozen=True)
class SweepEffects:
    """Marginal effects of a sweep's axes on a column.

    Attributes
    ----------
    column, view : what was looked at, and the workload it is of.
    dimensions : axis -> kind of quantity.
    table : as :func:`~accsim.sweep.analysis.marginal_effects` has it; the axis with the largest share comes first.
    """

    column: str
    view: str
    dimensions: dict[str, str | None]
    table: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """As plain data; numbers that are missing are None."""
        rows = self.table.astype(object).where(self.table.notna(), None).to_dict("records")
        return {"schema_version": SCHEMA_VERSION, "column": self.column, "workload": self.view, "effects": rows}

    def show(self, console: Console) -> None:
        """As a table."""
        from rich.table import Table

        table = Table(title=f"{self.column} of {self.view}, by field", box=None, title_justify="left")
        for name in ("field", "value"):
            table.add_column(name, overflow="fold")
        shares = ["feasible"] if self.view != ALL_WORKLOADS else []
        for name in ("points", *shares, "least", "median", "mean", "most", "variance"):
            table.add_column(name, justify="right")
        for axis, part in self.table.groupby("axis", sort=False):
            for i, row in enumerate(part.to_dict("records")):
                numbers = [f"{row[name]:.4g}" for name in ("least", "median", "mean", "most")]
                share = percent(round(row["variance_share"], 4)) if i == 0 else ""
                value = str(written(row["value"], self.dimensions.get(str(axis))))
                feasible = [percent(row["feasible_fraction"]) for _ in shares]
                table.add_row("" if i else str(axis), value, f"{row['points']:,}", *feasible, *numbers, share)
        console.print(table)


def sweep_effects(
    folder: Path, column: str = "latency_s", *, workload: str | None = None, fields: Sequence[str] = ()
) -> SweepEffects:
    """What each value of each field of a sweep goes with, over all values of the others.

    Parameters
    ----------
    folder : of a sweep.
    column : a number of its table.
    workload : the one that is looked at; without it, the only one or all together, weighted, where only designs count
        that are feasible with each of them.
    fields : those that are looked at; without them all that vary.

    Raises
    ------
    InputError
        For a folder without points, and a column, workload or field that it does not have.

    Notes
    -----
    Quartiles are within 0.4 % of the exact ones. A field of more than 40 numbers is cut into parts of equal counts.
    """
    table = SweepTable(folder)
    view = workload or (table.workloads[0] if len(table.workloads) == 1 else ALL_WORKLOADS)
    check_choice("workload", view, (*table.workloads, *((ALL_WORKLOADS,) if len(table.workloads) > 1 else ())))
    check_columns("effects", [column], OF_ALL if view == ALL_WORKLOADS else NUMBERS)
    check_columns("effects", fields, table.axes)
    axes = tuple(fields or table.axes)
    if not axes:
        raise InputError(Problem(str(folder), "", "the sweep has no field that varies"))
    bins = bins_of(table, _sample(_rows(table, view, axes, column)))
    effects = Effects({axis: bins[axis] for axis in axes}, [column])
    for rows in _rows(table, view, axes, column):
        effects.add(rows)
    found = effects.table(column)
    found = found.sort_values("variance_share", ascending=False, kind="stable", ignore_index=True)
    return SweepEffects(column, view, {name: about["dimension"] for name, about in table.space["axes"].items()}, found)


def bins_of(table: SweepTable, sample: pd.DataFrame) -> dict[str, Bins | None]:
    """Axis -> its parts where it has many numbers, by a sample of rows; None of one whose values all count."""
    import pandas as pd

    found: dict[str, Bins | None] = dict.fromkeys(table.axes)
    for name, about in table.space["axes"].items():
        many = (about["values"] or np.inf) > MOST_VALUES and name in sample
        if many and pd.api.types.is_numeric_dtype(sample[name]) and sample[name].nunique() > MOST_VALUES:
            found[name] = Bins.of(sample[name].dropna())
    return found


def _rows(table: SweepTable, view: str, axes: Sequence[str], column: str) -> Iterator[pd.DataFrame]:
    if view == ALL_WORKLOADS:
        return table.together()
    return table.parts((*axes, column, "feasible"), view)


def _sample(parts: Iterator[pd.DataFrame]) -> pd.DataFrame:
    """Rows that are drawn evenly."""
    import pandas as pd

    random, draw = np.random.default_rng(0), "draw"
    found: pd.DataFrame | None = None
    for rows in parts:
        keyed = rows.assign(**{draw: random.random(len(rows))})
        found = (keyed if found is None else pd.concat([found, keyed])).nsmallest(SAMPLE, draw)
    return pd.DataFrame() if found is None else found

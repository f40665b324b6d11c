"""What ``explorer.js`` draws: points by any two objectives with their fronts, and effects of the axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from accsim.report.html.page import Chart, Part, Raw, Table
from accsim.sweep.analysis import QUARTILES, Effects
from accsim.sweep.html.digest import ROW, ViewDigest, combined, shown

DIGITS = 6
"""Digits of the numbers of single points."""

CONTROLS = """<div class="controls">
<label>points of <select id="view"></select></label>
<label>across <select id="x"></select></label>
<label>up <select id="y"></select></label>
<label>front also in <select id="third"></select></label>
<label>colour <select id="colour"></select></label>
<label>scales <select id="scale"><option value="range">by range</option><option value="log">logarithmic</option>
<option value="linear">linear</option></select></label>
<label>a drag <select id="drag"><option value="select">brushes</option><option value="zoom">zooms</option>
<option value="">scrolls</option></select></label>
</div><p id="shown"></p>"""

CAPTION = (
    "A point is a design; its values are shown where the pointer is. Rings are the front: no design is better in one "
    "of its objectives and as good in the others. Brush some points to list them below; a double click lists the front "
    "again. A row of the list that is clicked is marked in the chart."
)


def explorer() -> list[Part]:
    """The chart with its controls, and the table of points that are brushed."""
    return [
        Raw(CONTROLS),
        Chart("explorer", {"data": [], "layout": {"height": 560}}, CAPTION),
        Raw('<h3 id="listed"></h3><p id="common"></p>'),
        Table("points", (), (), filtered=True),
    ]


def explorer_script() -> str:
    """What draws it."""
    return (files("accsim.sweep.html") / "explorer.js").read_text(encoding="utf-8")


def explorer_data(
    views: Mapping[str, ViewDigest],
    units: Mapping[str, str],
    objectives: Sequence[str],
    axes: Sequence[str],
    *,
    number: str = "point",
    kept: str = "points that keep the constraints",
) -> dict[str, Any]:
    """What the script reads: columns of the points that are drawn, and rows of them that are on the fronts.

    Parameters
    ----------
    units : columns of the points, with the units of their values.
    number : column that names a point.
    kept : what the points are.
    """
    rows = shown(views)
    places = {(view, row): place for place, (view, row) in enumerate(zip(rows["view"], rows[ROW], strict=True))}
    fronts = {
        name: {
            " ".join(some): [places[name, row] for row in view.front(some)] for some in combined(objectives)
        }
        for name, view in views.items()
    }  # fmt: skip
    return {
        "views": {name: view.points for name, view in views.items()},
        "view": {"values": [list(views).index(name) for name in rows["view"]], "names": list(views)},
        "number": number,
        "kept": kept,
        "point": [int(one) for one in rows[number]],
        "columns": {name: {"unit": unit, **column_data(rows[name])} for name, unit in units.items()},
        "objectives": list(objectives),
        "axes": list(axes),
        "fronts": fronts,
    }


def effects_data(effects: Mapping[str, Effects], axes: Sequence[str], objectives: Sequence[str]) -> dict[str, Any]:
    """View -> axis -> objective -> value by value the least, the quartiles, and how many points there are."""
    return {
        name: {axis: {column: _effect(found.of(axis, column)) for column in objectives} for axis in axes}
        for name, found in effects.items()
    }


def _effect(table: pd.DataFrame) -> dict[str, Any]:
    known = table.dropna(subset="least")
    numbers = {name: [rounded(value) for value in known[name]] for name in ("least", *QUARTILES)}
    values, count = [plain(value) for value in known["value"]], [int(count) for count in known["counted"]]
    return {"values": values, "count": count, **numbers}


def column_data(values: pd.Series[Any]) -> dict[str, Any]:
    """The values of a column: numbers as they are, texts as numbers of a list of ``names``."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return {"values": [plain(value) for value in values]}
    codes, names = pd.factorize(values.map(str))
    return {"values": codes.tolist(), "names": list(names)}


def plain(value: Any) -> Any:
    """A value for JSON: numbers of few digits, none where it is missing."""
    if isinstance(value, float | np.floating):
        return rounded(float(value)) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def rounded(value: float) -> float:
    """A number of few digits."""
    return float(f"{value:.{DIGITS}g}")

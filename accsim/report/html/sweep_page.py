"""The page of a sweep, out of its table and its manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import pandas as pd

from accsim.report.html.page import Cell, Chart, Facts, Note, Page, Part, Raw, Section, Table
from accsim.report.html.sweep_data import (
    OBJECTIVES,
    Views,
    column_data,
    fronts,
    marginals,
    problems,
    sample,
    views_of,
)
from accsim.report.words import si
from accsim.units import format_quantity

Plain = Mapping[str, Any]

UNITS = {"frequency": "Hz", "bytes": "B", "bandwidth": "B/s", "time": "s", "power": "W", "area": "mm²", "energy": "J"}
"""Dimension of an axis -> unit of its values."""

MOST_NAMED = 20
"""Values of a field of words that are named."""

CONTROLS = """<div class="controls">
<label>points of <select id="view"></select></label>
<label>across <select id="x"></select></label>
<label>up <select id="y"></select></label>
<label>colour <select id="colour"></select></label>
<label><input type="checkbox" id="log" checked> logarithmic</label>
<label>a drag <select id="drag"><option value="select">brushes</option><option value="zoom">zooms</option>
<option value="">scrolls</option></select></label>
</div><p id="shown"></p>"""


def sweep_page(table: pd.DataFrame, manifest: Plain) -> Page:
    """The page of a sweep.

    Parameters
    ----------
    table : a row for each point: ``point``, ``design``, ``machine``, ``workload``, ``weight``, a column for each field
        that was set, ``latency_s``, ``energy_j``, ``area_mm2``, ``power_w``, ``bound_by``, ``mapping``, ``feasible``,
        ``error``. Numbers are missing where there is an error.
    manifest : of the sweep; ``sweep`` describes the space.
    """
    space = manifest["sweep"]
    fields = {**space["axes"], **{key: space["axes"].get(text, {}) for key, text in space["linked"].items()}}
    views = views_of(table, list(space["axes"]))
    failed = list(problems(table))
    sections = [Section("Summary", [Facts(list(_summary(table, views, manifest)), cards=True)])]
    data: Plain = {}
    if len(views.frame):
        data = explorer_data(views, fields)
        sections.append(Section("Pareto explorer", list(_explorer())))
        sections.append(Section("Marginal effects", list(_marginals())))
    else:
        sections[0] = Section(
            "Summary", [*sections[0].parts, Note("No point has a result that keeps the constraints.")]
        )
    if failed:
        rows: list[list[Cell]] = [[reason, (points, f"{points:,}")] for reason, points in failed]
        sections.append(
            Section("Points without a result", [Table("errors", ("reason", "points"), rows, filtered=True)])
        )
    sections.append(Section("Configuration and sources", list(_sources(table, manifest))))
    line = f"{len(table):,} of {space['points']:,} points, fidelity {space['fidelity']}"
    return Page(f"Sweep {space['name']}", line, sections, data, ("explorer.js",) if data else ())


def explorer_data(views: Views, fields: Mapping[str, Plain]) -> dict[str, Any]:
    """What ``explorer.js`` reads: columns of the points shown, rows of the fronts, marginal effects.

    Parameters
    ----------
    fields : columns that were set -> ``dimension`` of their values, where they are quantities.
    """
    on_fronts = fronts(views)
    shown = sample(views, on_fronts)
    place = {row: number for number, row in enumerate(shown)}
    kept = views.frame.iloc[shown]
    units = {name: UNITS.get(about.get("dimension") or "", "") for name, about in fields.items()}
    columns = {"machine": "", **units, **{name: OBJECTIVES[name] for name in views.objectives}}
    columns |= {"bound_by": "", "mapping": ""}
    return {
        "views": {name: int(count) for name, count in views.frame["workload"].value_counts(sort=False).items()},
        "view": column_data(kept["workload"]),
        "point": [int(number) for number in kept["point"]],
        "columns": {name: {"unit": unit, **column_data(kept[name])} for name, unit in columns.items()},
        "objectives": list(views.objectives),
        "axes": list(views.axes),
        "fronts": {
            name: {pair: [place[row] for row in rows] for pair, rows in pairs.items()}
            for name, pairs in on_fronts.items()
        },
        "marginals": marginals(views),
    }


def _summary(table: pd.DataFrame, views: Views, manifest: Plain) -> Iterator[tuple[str, str]]:
    failed = int(table["error"].notna().sum())
    kept = int(table["feasible"].fillna(False).astype(bool).sum())
    yield "points", f"{len(table):,}"
    yield "that keep the constraints", f"{kept:,}"
    yield "that break one", f"{len(table) - kept - failed:,}"
    yield "without a result", f"{failed:,}"
    for name in views.names:
        rows = views.rows(name)
        for objective, words in (("latency_s", "least latency"), ("energy_j", "least energy")):
            yield f"{words}, {name}", si(float(rows[objective].min()), OBJECTIVES[objective])
    if manifest.get("seconds"):
        yield "took", si(float(manifest["seconds"]), "s")
    yield "status", str(manifest["status"])


def _explorer() -> Iterator[Part]:
    yield Raw(CONTROLS)
    empty = {"data": [], "layout": {"height": 560}}
    yield Chart(
        "explorer",
        empty,
        "A point is a design; its values are shown where the pointer is. The line is the front: no design is better in "
        "both. Brush some points to list them below; a double click lists the front again.",
    )
    yield Raw('<h3 id="listed"></h3><p id="common"></p>')
    yield Table("points", (), (), filtered=True)


def _marginals() -> Iterator[Part]:
    yield Raw(
        '<div class="controls"><label>of <select id="objective"></select></label></div><div id="marginals"></div>'
    )
    yield Note(
        "For each value of a field, over all points of the view that have it: the least (line with points), the median "
        "(dashed), and the middle half of the points (band). A field with many values is cut into parts of equal "
        "counts."
    )


def _sources(table: pd.DataFrame, manifest: Plain) -> Iterator[Part]:
    space = manifest["sweep"]
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    yield Facts(
        [
            ("command", manifest["command"]),
            ("begun", f"{manifest['started_at']} with {versions}"),
            ("machines", ", ".join(f"{name} (hash {digest})" for name, digest in space["machines"].items())),
            ("workloads", ", ".join(f"{name} (weight {weight:g})" for name, weight in space["workloads"].items())),
            ("linked fields", ", ".join(f"{name} = {text}" for name, text in space["linked"].items()) or "none"),
            ("constraints", ", ".join(space["constraints"]) or "none"),
            ("sample", _sample(space["sample"])),
            ("objective of the mappings", f"{space['objective']}, {space['effort']} search"),
            ("hash of the space", space["hash"]),
        ]
    )
    yield Table(
        "axes", ("field", "values", "which"), [_axis(table, name, space["axes"][name]) for name in space["axes"]]
    )
    yield Note("The file of the space:")
    yield Raw(f"<pre>{escape(space['file'])}</pre>")


def _sample(about: Plain) -> str:
    if about["method"] == "grid":
        return "grid: every combination of the values"
    return f"{about['method']}: {about['count']:,} combinations, seed {about['seed']}"


def _axis(table: pd.DataFrame, name: str, about: Plain) -> list[Cell]:
    """A field that was swept: how many values it had, and which."""
    values = table[name]
    count = f"{about['interval']}, drawn" if about["values"] is None else f"{about['values']:,}"
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        ends = [_quantity(value, about["dimension"]) for value in (values.min(), values.max())]
        return [name, count, " to ".join(dict.fromkeys(ends))]
    return [name, count, ", ".join(str(value) for value in values.dropna().unique()[:MOST_NAMED])]


def _quantity(value: Any, dimension: str | None) -> str:
    return format_quantity(float(value), dimension) if dimension else f"{value:g}"

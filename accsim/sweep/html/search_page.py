"""The page of a search, out of its table of trials and its manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from accsim.report.html.charts import Figure, figure
from accsim.report.html.page import Cell, Chart, Facts, Note, Page, Part, Section, Table
from accsim.report.plot_style import colours
from accsim.report.words import si
from accsim.sweep.axes import written
from accsim.sweep.html.about import begun, facts_of, file_of, units_of
from accsim.sweep.html.digest import ViewDigest
from accsim.sweep.html.explorer import explorer, explorer_data, explorer_script
from accsim.sweep.html.sweep_page import OBJECTIVES
from accsim.sweep.search_folder import SavedSearch
from accsim.sweep.search_result import hypervolumes_of
from accsim.sweep.studies import VIOLATION

if TYPE_CHECKING:
    import pandas as pd

Plain = Mapping[str, Any]
Numbers = npt.NDArray[np.float64]

ALL_SAMPLERS = "all samplers"
MOST_LISTED = 2000
"""Trials in their table."""


def search_page(search: SavedSearch) -> Page:
    """The page of a search."""
    trials, objectives, space = search.trials, search.objectives, search.space
    curves = hypervolumes_of(trials, objectives, search.samplers)
    sections = [Section("Summary", [Facts(list(_summary(search, curves)), cards=True)])]
    data: Plain = {}
    views = _views(search)
    if not views:
        reason = str(trials["error"].value_counts().index[0])
        sections[0] = Section("Summary", [*sections[0].parts, Note(f"No design is feasible. Most often: {reason}.")])
    elif len(objectives) > 1:
        shown = {"sampler": "", **dict.fromkeys(_fields(search), ""), **units_of(space), **_units(search)}
        fields = _fields(search)
        explored = explorer_data(views, shown, objectives, fields, number="trial", kept="trials that are feasible")
        data = {**explored, "colour": "sampler"}
        sections.append(Section("Pareto explorer", explorer()))
    sections.append(Section("Hypervolume against evaluations", list(_growth(curves))))
    if views:
        sections.append(Section("Best by each objective", [_best(search)]))
    sections += [
        Section("Trials", list(_trials(search))),
        Section("Configuration and sources", list(_sources(search))),
    ]
    line = f"{' and '.join(search.samplers)}, minimizing {', '.join(objectives)}"
    return Page(f"Search {space['name']}", line, sections, data, (explorer_script(),) if data else ())


def _views(search: SavedSearch) -> dict[str, ViewDigest]:
    """The feasible trials, of all samplers and of each."""
    feasible = search.trials[search.trials["feasible"]]
    rows = {name: feasible[feasible["sampler"] == name] for name in search.samplers}
    if len(rows) > 1:
        rows = {ALL_SAMPLERS: feasible, **rows}
    views = {name: ViewDigest(search.objectives) for name, some in rows.items() if len(some)}
    for name, view in views.items():
        view.add(rows[name])
    return views


def _units(search: SavedSearch) -> dict[str, str]:
    """Units of the objectives, and of other results that are known."""
    known = {**OBJECTIVES, **units_of(search.space)}
    others = [name for name in OBJECTIVES if search.trials[name].notna().any()]
    return {name: known.get(name, "") for name in (*search.objectives, *others)}


def _summary(search: SavedSearch, curves: Mapping[str, Numbers]) -> Iterator[tuple[str, str]]:
    trials = search.trials
    for name in search.samplers:
        mine = trials[trials["sampler"] == name]
        yield f"trials, {name}", f"{len(mine):,}, {int((~mine['feasible']).sum()):,} not feasible"
    for name in search.samplers:
        yield f"hypervolume, {name}", f"{curves[name][-1]:.3f}"
    yield "designs on the front", f"{len(search.front):,}"
    for objective in search.objectives if len(search.front) else ():
        value = float(search.front[objective].min())
        yield f"least {objective}", _told(search, objective, value)
    yield "status", str(search.manifest["status"])


def _growth(curves: Mapping[str, Numbers]) -> Iterator[Part]:
    yield Chart(
        "growth",
        growth_chart(curves),
        "Share of the box between the best and the worst of all feasible designs that the designs so far dominate; an "
        "objective that is positive throughout counts by its logarithm. Higher is better; random draws tell what the "
        "sampler is worth. One search says little about two samplers: try several seeds.",
    )


def growth_chart(curves: Mapping[str, Numbers]) -> Figure:
    """Hypervolume of each sampler after each trial."""
    lines = []
    for i, (name, colour) in enumerate(colours(curves).items()):
        values = [round(float(value), 6) for value in curves[name]]
        told = f"{escape(name)}, %{{x}} designs: %{{y:.3f}}<extra></extra>"
        line = {"color": colour, "width": 2, "shape": "hv", "dash": ("solid", "dash")[i]}
        lines.append(
            {
                "type": "scatter", "mode": "lines", "name": escape(name), "x": list(range(1, len(values) + 1)),
                "y": values, "line": line, "hovertemplate": told,
            }
        )  # fmt: skip
    xaxis = {"title": {"text": "evaluated designs"}, "rangemode": "tozero"}
    return figure(lines, 380, xaxis, {"title": {"text": "hypervolume (share)"}, "range": [0, 1.02]}, showlegend=True)


def _best(search: SavedSearch) -> Table:
    """For each objective the design with the least of it, and what the other objectives are there."""
    rows: list[Sequence[Cell]] = []
    for objective in search.objectives:
        best = search.front.sort_values([objective, *search.objectives]).iloc[0]
        rows.append([objective, *_result(search, best), *_design(search, best)])
    return Table("best", ("least", *search.objectives, "sampler", "trial", *_fields(search)), rows)


def _result(search: SavedSearch, row: pd.Series[Any]) -> list[Cell]:
    return [(float(row[name]), _told(search, name, float(row[name]))) for name in search.objectives]


def _design(search: SavedSearch, row: pd.Series[Any]) -> list[Cell]:
    """Who tried a design, and its fields."""
    return [
        str(row["sampler"]),
        (int(row["trial"]), f"{row['trial']:,}"),
        *(_cell(search, n, row[n]) for n in _fields(search)),
    ]


def _fields(search: SavedSearch) -> list[str]:
    """Columns that tell designs apart, without those that are objectives."""
    machine = ["machine"] if len(search.space["machines"]) > 1 else []
    return [*machine, *(name for name in search.varied if name not in search.objectives)]


def _cell(search: SavedSearch, field: str, value: Any) -> Cell:
    dimension = search.space["axes"].get(field, {}).get("dimension")
    if isinstance(value, str):
        return value
    return float(value), str(written(value, dimension)) if dimension else f"{value:g}"


def _told(search: SavedSearch, objective: str, value: float) -> str:
    dimension = search.space["axes"].get(objective, {}).get("dimension")
    if dimension:
        return str(written(value, dimension))
    unit = OBJECTIVES.get(objective, "")
    return si(value, unit) if unit and unit != "mm²" else f"{value:.6g}{' ' if unit else ''}{unit}"


def _trials(search: SavedSearch) -> Iterator[Part]:
    rows: list[Sequence[Cell]] = []
    for _, row in search.trials.head(MOST_LISTED).iterrows():
        known = _result(search, row) if row["feasible"] else [(None, "")] * len(search.objectives)
        missed: Cell = (float(row[VIOLATION]), f"{row[VIOLATION]:.3g}")
        rows.append([*_design(search, row), *known, missed, row["error"] if isinstance(row["error"], str) else ""])
    columns = ("sampler", "trial", *_fields(search), *search.objectives, VIOLATION, "why not feasible")
    yield Table("trials", columns, rows, filtered=True)
    if len(search.trials) > MOST_LISTED:
        yield Note(f"The first {MOST_LISTED:,} of {len(search.trials):,} trials; all are in trials.parquet.")


def _sources(search: SavedSearch) -> Iterator[Part]:
    about = search.about
    yield Facts(
        [
            *begun(search.manifest),
            ("ended", str(search.manifest.get("ended_at", ""))),
            ("objectives", ", ".join(search.objectives)),
            ("sampler", f"{about['sampler']}, batches of {about['batch']}, seed {about['seed']}"),
            *facts_of(search.space),
        ]
    )
    rows: list[Sequence[Cell]] = [[name, _count(axis)] for name, axis in search.space["axes"].items()]
    yield Table("axes", ("field", "values"), rows)
    yield from file_of(search.space)


def _count(axis: Plain) -> str:
    return f"{axis['interval']}, drawn" if axis["values"] is None else f"{axis['values']:,}"

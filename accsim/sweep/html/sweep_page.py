"""The page of a sweep, out of its table and its manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from accsim.report.html.page import Cell, Facts, Note, Page, Part, Raw, Section, Table
from accsim.report.words import percent, si
from accsim.sweep.analysis import DIGITS
from accsim.sweep.html.about import begun, facts_of, file_of, units_of
from accsim.sweep.html.digest import Digest, digest
from accsim.sweep.html.explorer import effects_data, explorer, explorer_data, explorer_script
from accsim.sweep.sweep_effects import MOST_VALUES
from accsim.sweep.views import SweepTable
from accsim.units import format_quantity

Plain = Mapping[str, Any]

OBJECTIVES = {"latency_s": "s", "energy_j": "J", "area_mm2": "mm²", "power_w": "W"}
"""Columns that are to be small, with their units."""

MOST_NAMED = 20
"""Values of a field of words that are named."""

NO_RESULT = "No point has a result that keeps the constraints."


def sweep_page(table: SweepTable) -> Page:
    """The page of a sweep.

    Raises
    ------
    InputError
        When there are no points, or a file of them cannot be read.
    """
    space, found = table.space, digest(table, tuple(OBJECTIVES))
    sections = [Section("Summary", [Facts(list(_summary(found, table.manifest)), cards=True)])]
    data: Plain = {}
    if found.views:
        data = _explored(table, found)
        sections.append(Section("Pareto explorer", explorer()))
        if data["axes"]:
            sections.append(Section("Marginal effects", list(_marginals(found, data))))
    else:
        sections[0] = Section("Summary", [*sections[0].parts, Note(NO_RESULT)])
    if found.errors:
        sections.append(Section("Points without a result", [_errors(found.errors)]))
    sections.append(Section("Configuration and sources", list(_sources(found, table.manifest))))
    line = f"{found.points:,} of {space['points']:,} points, fidelity {space['fidelity']}"
    return Page(f"Sweep {space['name']}", line, sections, data, (explorer_script(),) if data else ())


def _explored(table: SweepTable, found: Digest) -> dict[str, Any]:
    """What the explorer draws."""
    samples = [view.sample for view in found.views.values()]
    objectives = [name for name in OBJECTIVES if any(sample[name].notna().any() for sample in samples)]
    units = {"machine": "", **units_of(table.space), **{name: OBJECTIVES[name] for name in objectives}}
    axes = [name for name in table.axes if any(len(e.of(name, objectives[0])) > 1 for e in found.effects.values())]
    return {
        **explorer_data(found.views, {**units, "bound_by": "", "mapping": ""}, objectives, axes),
        "marginals": effects_data(found.effects, axes, objectives),
    }


def _summary(found: Digest, manifest: Plain) -> Iterator[tuple[str, str]]:
    kept = sum(view.points for name, view in found.views.items() if name in manifest["sweep"]["workloads"])
    yield "points", f"{found.points:,}"
    yield "that keep the constraints", f"{kept:,}"
    yield "that break one", f"{found.points - kept - found.failed:,}"
    yield "without a result", f"{found.failed:,}"
    for name, view in found.views.items():
        for objective, words in (("latency_s", "least latency"), ("energy_j", "least energy")):
            yield f"{words}, {name}", si(float(view.best[objective].min()), OBJECTIVES[objective])
    if manifest.get("seconds"):
        yield "took", si(float(manifest["seconds"]), "s")
    yield "status", str(manifest["status"])


def _marginals(found: Digest, data: Plain) -> Iterator[Part]:
    yield Raw(
        '<div class="controls"><label>of <select id="objective"></select></label></div><div id="marginals"></div>'
    )
    yield Note(
        "For each value of a field, over all points of the view that have it: the least (line with points), the median "
        "(dashed), and the middle half of the points (band). A field of more than "
        f"{MOST_VALUES} numbers is cut into parts of equal counts. Quartiles are within "
        f"{percent(2.0 ** (1 - DIGITS))} of the exact ones."
    )
    yield Raw("<h3>Share of the variance</h3>")
    first = next(iter(found.views))
    columns = list(data["objectives"])
    rows = [[axis, *(_share(found, first, axis, name) for name in columns)] for axis in data["axes"]]
    yield Table("shares", ("field", *columns), rows)
    yield Note(
        f"Of {first}: the share of an objective's variance that lies between the values of a field. Where fields vary "
        "independently, as in a whole grid or a sample whose points all have a result, it is the field's first-order "
        "Sobol index; what the shares lack of 100 % is how fields act together. 'accsim sensitivity' draws designs for "
        "both kinds of indices."
    )


def _share(found: Digest, view: str, axis: str, column: str) -> Cell:
    share = float(found.effects[view].of(axis, column)["variance_share"].iloc[0])
    return share, percent(round(share, 4))


def _errors(errors: Mapping[str, int]) -> Table:
    rows: list[list[Cell]] = [[reason, (points, f"{points:,}")] for reason, points in errors.items()]
    return Table("errors", ("reason", "points"), rows, filtered=True)


def _sources(found: Digest, manifest: Plain) -> Iterator[Part]:
    space = manifest["sweep"]
    yield Facts(
        [
            *begun(manifest),
            *facts_of(space),
            ("sample", _sample(space["sample"])),
            ("objective of the mappings", f"{space['objective']}, {space['effort']} search"),
        ]
    )
    rows = [_axis(found.ends[name], name, about) for name, about in space["axes"].items()]
    yield Table("axes", ("field", "values", "which"), rows)
    yield from file_of(space)


def _sample(about: Plain) -> str:
    if about["method"] == "grid":
        return "grid: every combination of the values"
    return f"{about['method']}: {about['count']:,} combinations, seed {about['seed']}"


def _axis(ends: Sequence[Any], name: str, about: Plain) -> list[Cell]:
    """A field that was swept: how many values it had, and which."""
    count = f"{about['interval']}, drawn" if about["values"] is None else f"{about['values']:,}"
    if all(isinstance(end, str) for end in ends):
        return [name, count, ", ".join(ends[:MOST_NAMED])]
    return [name, count, " to ".join(dict.fromkeys(_quantity(end, about["dimension"]) for end in ends))]


def _quantity(value: Any, dimension: str | None) -> str:
    return format_quantity(float(value), dimension) if dimension else f"{value:g}"

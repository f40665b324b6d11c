"""What a finished sweep says on the terminal: how many points, how fast, what failed, and the best of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accsim.report.words import si
from accsim.sweep.axes import written
from accsim.sweep.best_designs import best_designs
from accsim.sweep.manifest import SCHEMA_VERSION
from accsim.sweep.store import Store, read_sweep

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

BEST = {"latency": "latency_s", "energy": "energy_j"}
"""Objective -> the column that is shown; latency of the others."""
SHOWN = 5
SLOW = 10
"""Points a second below which two digits of their number are shown."""
UNITS = {"latency_s": "s", "energy_j": "J", "power_w": "W", "clock_hz": "Hz"}
"""Column of results -> the unit it is shown in."""
MOST_LETTERS = 110
_NUMBER = re.compile(r"\d[\d.,e+]*")


@dataclass(frozen=True)
class Summary:
    """The end of a sweep.

    Attributes
    ----------
    manifest : that of its folder.
    errors : a reason, the first of all that differ in nothing but numbers -> points without a result for it.
    best : workload -> rows with the least objective.
    designs : where there are several workloads, the designs with the least weighted sum of the objective over them.
    front : designs on the Pareto front of latency and energy over all workloads.
    """

    manifest: dict[str, Any]
    errors: dict[str, int]
    best: dict[str, list[dict[str, Any]]]
    designs: list[dict[str, Any]]
    front: int

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        keys = ("status", "shard", "points_done", "points_kept", "points_failed", "seconds")
        about = {key: self.manifest[key] for key in keys}
        found = {"errors": self.errors, "best": self.best, "designs": self.designs, "front": self.front}
        return {"schema_version": SCHEMA_VERSION, **about, **found}

    def show(self, console: Console) -> None:
        """As text and tables."""
        done, kept, seconds = (self.manifest[key] for key in ("points_done", "points_kept", "seconds"))
        each_s = (done - kept) / seconds if seconds else 0.0
        rate = f", {each_s:,.0f} points/s" if each_s >= SLOW else f", {each_s:.2g} points/s" if each_s else ""
        console.print(f"{done:,} points ({kept:,} of them kept) in {seconds:.3g} s{rate}")
        if removed := self.manifest.get("files_removed"):
            console.print(f"  {removed:,} files were removed: what their rows follow from has changed")
        for reason, points in list(self.errors.items())[:SHOWN]:
            console.print(f"  {points:,} without a result: {_short(reason)}", markup=False)
        if len(self.errors) > SHOWN:
            console.print(f"  ... and {len(self.errors) - SHOWN} more reasons, in the column 'error'")
        if self.designs:
            title = f"The best with all {len(self.manifest['sweep']['workloads'])} workloads, weighted sums"
            show_points(console, title, self.designs, self._dimensions())
        for workload, rows in self.best.items():
            show_points(console, f"The best of {workload}", rows, self._dimensions())
        if not self.best:
            console.print("no point is feasible")
        if self.front:
            console.print(f"designs that none beats in both latency and energy: {self.front:,}")

    def _dimensions(self) -> dict[str, str | None]:
        return {key: axis["dimension"] for key, axis in self.manifest["sweep"]["axes"].items()}


def show_points(
    console: Console, title: str, rows: Sequence[Mapping[str, Any]], dimensions: Mapping[str, str | None]
) -> None:
    """Rows as a table."""
    from rich.table import Table

    table = Table(title=title, box=None, title_justify="left")
    for column, value in rows[0].items():
        text = isinstance(value, str) or dimensions.get(column)
        table.add_column(column, justify="left" if text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(_text(value, dimensions.get(column), UNITS.get(column)) for column, value in row.items()))
    console.print(table)


def summary_of(folder: Path, objective: str) -> Summary:
    """What a sweep in a folder found; reads a few columns, batch by batch."""
    import pyarrow.compute as pc

    manifest = Store(folder).manifest() or {}
    about = manifest["sweep"]
    column = BEST.get(objective, "latency_s")
    varied = [key for key, axis in about["axes"].items() if axis["values"] != 1]
    machine = ["machine"] if len(about["machines"]) > 1 else []
    shown = ["point", *machine, *varied, "latency_s", "energy_j", "bound_by"]
    errors: dict[str, tuple[str, int]] = {}
    best: dict[str, list[dict[str, Any]]] = {}
    for batch in read_sweep(folder).to_batches(columns=[*shown, "workload", "feasible", "error"]):
        counts = pc.value_counts(batch["error"]).to_pylist()
        count_errors(((item["values"], item["counts"]) for item in counts), errors)
        for workload in about["workloads"]:
            found = _best_of(batch, workload, column, shown)
            if found:
                both = sorted([*best.get(workload, []), *found], key=lambda row: (row[column], row["point"]))
                best[workload] = both[:SHOWN]
    counted = sorted(errors.values(), key=lambda item: -item[1])
    designs = best_designs(folder, about, column, [*machine, *varied], SHOWN)
    several = designs.rows if len(about["workloads"]) > 1 else []
    return Summary(manifest, dict(counted), best, several, designs.front)


def count_errors(counts: Iterable[tuple[str | None, int]], errors: dict[str, tuple[str, int]]) -> None:
    """Add (error, points) to those of a kind, which differ in numbers only: kind -> the first of them, points."""
    for error, points in counts:
        if error is not None:
            kind = _NUMBER.sub("#", error)
            first, count = errors.get(kind, (error, 0))
            errors[kind] = (first, count + points)


def _best_of(batch: pa.RecordBatch, workload: str, column: str, shown: list[str]) -> list[dict[str, Any]]:
    import pyarrow.compute as pc

    rows = batch.filter(pc.and_(batch["feasible"], pc.equal(batch["workload"], workload))).select(shown)
    if not rows.num_rows:
        return []
    order = pc.select_k_unstable(rows, SHOWN, sort_keys=[(column, "ascending"), ("point", "ascending")])
    found: list[dict[str, Any]] = rows.take(order).to_pylist()
    return found


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_LETTERS else line[: MOST_LETTERS - 3] + "..."


def _text(value: Any, dimension: str | None, unit: str | None) -> str:
    if value is None:
        return ""
    if unit:
        return si(float(value), unit)
    if dimension:
        return str(written(value, dimension))
    return f"{value:.6g}" if isinstance(value, float) else str(value)

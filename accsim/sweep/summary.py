"""What a finished sweep says on the terminal: how many points, how fast, what failed, and the best of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accsim.sweep.manifest import SCHEMA_VERSION
from accsim.sweep.store import Store, read_sweep

if TYPE_CHECKING:
    from rich.console import Console

BEST = {"latency": "latency_s", "energy": "energy_j"}
"""Objective -> the column that is shown; latency of the others."""
SHOWN = 5
MOST_LETTERS = 60


@dataclass(frozen=True)
class Summary:
    """The end of a sweep.

    Attributes
    ----------
    manifest : that of its folder.
    errors : reason -> points without a result, the most frequent first.
    best : rows with the least objective.
    """

    manifest: dict[str, Any]
    errors: dict[str, int]
    best: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        keys = ("status", "shard", "points_done", "points_kept", "points_failed", "seconds")
        about = {key: self.manifest[key] for key in keys}
        return {"schema_version": SCHEMA_VERSION, **about, "errors": self.errors, "best": self.best}

    def show(self, console: Console) -> None:
        """As text and a table."""
        from rich.table import Table

        done, kept, seconds = (self.manifest[key] for key in ("points_done", "points_kept", "seconds"))
        rate = f", {(done - kept) / seconds:,.0f} points/s" if seconds and done > kept else ""
        console.print(f"{done:,} points ({kept:,} of them kept) in {seconds:.3g} s{rate}")
        for reason, points in list(self.errors.items())[:SHOWN]:
            console.print(f"  {points:,} without a result: {_short(reason)}", markup=False)
        if len(self.errors) > SHOWN:
            console.print(f"  ... and {len(self.errors) - SHOWN} more reasons, in the column 'error'")
        if not self.best:
            console.print("no point is feasible")
            return
        table = Table(title="The best points", box=None, title_justify="left")
        for column in self.best[0]:
            table.add_column(column, justify="left" if isinstance(self.best[0][column], str) else "right")
        for row in self.best:
            table.add_row(*(_text(value) for value in row.values()))
        console.print(table)


def summary_of(folder: Path, objective: str) -> Summary:
    """What a sweep in a folder found; reads a few columns, batch by batch."""
    import pyarrow.compute as pc

    manifest = Store(folder).manifest() or {}
    rows = read_sweep(folder)
    column = BEST.get(objective, "latency_s")
    swept = [key for key in manifest["sweep"]["columns"] if key in manifest["sweep"]["axes"]]
    errors: dict[str, int] = {}
    best: list[dict[str, Any]] = []
    shown = ["point", "machine", "workload", *swept, "latency_s", "energy_j", "bound_by"]
    for batch in rows.to_batches(columns=[*shown, "feasible", "error"]):
        for item in pc.value_counts(batch["error"]).to_pylist():
            if item["values"] is not None:
                errors[item["values"]] = errors.get(item["values"], 0) + item["counts"]
        kept = batch.filter(batch["feasible"]).select(shown)
        if kept.num_rows:
            order = pc.select_k_unstable(kept, SHOWN, sort_keys=[(column, "ascending"), ("point", "ascending")])
            best += kept.take(order).to_pylist()
            best = sorted(best, key=lambda row: (row[column], row["point"]))[:SHOWN]
    return Summary(manifest, dict(sorted(errors.items(), key=lambda item: -item[1])), best)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 2 * MOST_LETTERS else line[: 2 * MOST_LETTERS - 3] + "..."


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:MOST_LETTERS]

"""The files of a saved report; ``docs/reports.md`` says what each holds."""

from __future__ import annotations

import csv
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from accsim.report.describe import describe_inputs
from accsim.report.folder import MANIFEST, replacing
from accsim.report.manifest import manifest
from accsim.report.result import Report
from accsim.report.tables import op_table
from accsim.report.trace_events import trace_events, trace_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Writer = Callable[[Report, Path], None]


def save_report(report: Report, directory: str | Path, command: Sequence[str] | None = None) -> Path:
    """Write a report's files; see :meth:`Report.save`.

    Parameters
    ----------
    command : what the manifest names as the command. Default: that of this process.
    """
    given = [Path(sys.argv[0]).name, *sys.argv[1:]] if command is None else command
    with replacing(directory) as folder:
        for name, write in WRITERS.items():
            if report.fidelity != "analytic" or name not in NEED_FIRINGS:
                write(report, folder / name)
        _write_json(manifest(report, folder, shlex.join(given)), folder / MANIFEST)
    return Path(directory)


def _write_json(plain: object, path: Path) -> None:
    path.write_text(json.dumps(plain, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _summary(report: Report, path: Path) -> None:
    _write_json(report.to_dict(), path)


def _plain_table(report: Report) -> list[dict[str, object]]:
    """The table of ops with mappings as JSON text, since neither format has a cell for them."""
    return [{**row, "mapping": json.dumps(row["mapping"])} for row in op_table(report)]


def _figure_data(report: Report, path: Path) -> None:
    from accsim.report.figure_data import figure_data

    _write_json(figure_data(report), path)


def _inputs(report: Report, path: Path) -> None:
    _write_json(describe_inputs(report), path)


def _csv(report: Report, path: Path) -> None:
    rows = _plain_table(report)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _parquet(report: Report, path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(_plain_table(report)), path)


def _trace(report: Report, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(trace_text(trace_events(report), report))


def _figure(draw: Callable[[Report], Figure]) -> Writer:
    return lambda report, path: draw(report).savefig(path, format="png")


WRITERS: dict[str, Writer] = {
    "summary.json": _summary,
    "inputs.json": _inputs,
    "figures.json": _figure_data,
    "ops.csv": _csv,
    "ops.parquet": _parquet,
    "trace.json": _trace,
    "roofline.png": _figure(lambda report: report.plot_roofline()),
    "energy.png": _figure(lambda report: report.plot_energy()),
    "utilization.png": _figure(lambda report: report.plot_utilization()),
    "timeline.png": _figure(lambda report: report.plot_timeline()),
    "buffers.png": _figure(lambda report: report.plot_buffers()),
}
"""File to what writes it, in the order in which they are written; the manifest comes last."""

NEED_FIRINGS = {"timeline.png", "buffers.png"}
"""Files that a report of fidelity analytic does not have."""

"""What can be done with a report: ask again, compare, write, draw. These functions are methods of :class:`Report`.

Each imports what it needs when it is called, so that a report costs no import of pandas or matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from accsim.report.diff import Diff
    from accsim.report.result import Report


def as_text(report: Report) -> str:
    """The tables of ``accsim run``, without the ops."""
    from accsim.report.render import print_run
    from accsim.report.terminal import printed

    return printed(lambda console: print_run(console, report, ops=False))


def as_html(report: Report) -> str:
    """The same for a notebook."""
    return f"<pre>{escape(as_text(report))}</pre>"


def what_if(report: Report, faster: Mapping[str, float], *, search: bool = False) -> Report:
    """The report with resources made faster (factors; below 1 is slower).

    Mapping and clock are kept; with ``search``, both are chosen anew.

    Parameters
    ----------
    faster : resource or memory -> factor, e.g. ``{"hbm": 2.0}`` speeds up all of hbm's ports.

    Raises
    ------
    InputError
        For an unknown resource or a factor that is not positive; with ``search``, for anything but a memory.
    """
    from accsim.report.what_if import what_if

    return what_if(report, faster, search=search)


def diff(report: Report, other: Report) -> Diff:
    """Why ``other`` differs: cycles by op, by critical-path entry, and by both."""
    from accsim.report.diff import diff

    return diff(report, other)


def to_dict(report: Report) -> dict[str, Any]:
    """Plain data, JSON-ready, with a schema version."""
    from accsim.report.tables import report_dict

    return report_dict(report)


def to_frame(report: Report) -> pd.DataFrame:
    """One row a distinct op; the columns of ``ops.csv``."""
    from accsim.report.tables import report_frame

    return report_frame(report)


def save(report: Report, directory: str | Path) -> Path:
    """Write the report's files into a folder, all or none of them; the folder's path.

    The folder may be missing, empty, or an earlier output of this method, which is replaced.

    Raises
    ------
    InputError
        When the folder holds anything else, or cannot be written.
    """
    from accsim.report.files import save_report

    return save_report(report, directory)


def trace_events(report: Report, most_firings: int = 400) -> list[dict[str, Any]]:
    """Events of the Trace Event Format in order of time: ops, and the stages of one run of each distinct op.

    Parameters
    ----------
    most_firings : firings of each program that are shown; of all programs together 20 times as many.
    """
    from accsim.report.trace_events import trace_events

    return trace_events(report, most_firings)


def plot_roofline(report: Report) -> Figure:
    """Operations per second of each op over its operations per byte of main memory, with the machine's ceilings."""
    from accsim.report.plot_roofline import plot_roofline

    return plot_roofline(report)


def plot_energy(report: Report) -> Figure:
    """Joules by kind of op, stacked by component."""
    from accsim.report.plot_energy import plot_energy

    return plot_energy(report)


def plot_utilization(report: Report) -> Figure:
    """Busy time over total time of every resource, for the whole workload and for each op."""
    from accsim.report.plot_utilization import plot_utilization

    return plot_utilization(report)


def plot_timeline(
    report: Report, op: str | None = None, most_firings: int = 60, *, by: str = "resource", buffers: bool = False
) -> Figure:
    """The first firings of an op on what they hold: all of its programs when they are short, else one.

    Parameters
    ----------
    op : name of an op. Default: the one that takes most of the time.
    by : ``"resource"``: a row for each unit and port, coloured by stage. ``"stage"``: a row for each stage,
        coloured and numbered by tile.
    buffers : draw the use of the buffers (:meth:`plot_buffers`) below, on the same axis.

    Raises
    ------
    InputError
        For an unknown op, and for a report of fidelity ``analytic``, which has no timeline.
    """
    from accsim.report.plot_timeline import plot_timeline

    return plot_timeline(report, op, most_firings, by, buffers)


def plot_buffers(report: Report, op: str | None = None, most_firings: int = 60) -> Figure:
    """Bytes in use of each buffer while the first firings of an op run, as :meth:`plot_timeline` shows them.

    Raises
    ------
    InputError
        As for :meth:`plot_timeline`.
    """
    from accsim.report.plot_buffers import plot_buffers

    return plot_buffers(report, op, most_firings)

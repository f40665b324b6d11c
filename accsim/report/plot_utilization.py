"""How busy each resource is: the whole workload and each op, as a table with shaded cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accsim.report.plot_style import NORMAL, SMALL, by_time, new_figure, op_label, set_title
from accsim.report.result import Report
from accsim.report.tables import op_utilization
from accsim.report.trace_events import resources
from accsim.report.words import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_OPS = 24
_DARK = 0.55


def plot_utilization(report: Report) -> Figure:
    """See :meth:`Report.plot_utilization`."""
    whole = report.utilization
    names = [name for name in resources(report) if whole.get(name)]
    rows = by_time(report.ops)[:MOST_OPS]
    table = [[whole[name] for name in names]]
    labels = ["whole workload"]
    total = sum(row.ticks * row.count for row in report.ops) or 1
    for row in rows:
        used = op_utilization(row)
        table.append([used.get(name, 0.0) for name in names])
        labels.append(f"{op_label(row)}, {percent(row.ticks * row.count / total)}")
    figure, axes = new_figure(2.9 + 0.85 * max(4, len(names)), 1.5 + 0.28 * len(labels))
    hidden = len(report.ops) - len(rows)
    set_title(axes, report, "Utilization" + (f" (without {hidden} ops that take less time)" if hidden else ""))
    image = axes.imshow(table or [[0.0]], cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for i, line in enumerate(table):
        for j, share in enumerate(line):
            colour = "black" if share > _DARK else "white"
            axes.text(
                j, i, f"{100 * share:.0f} %" if share else "-", ha="center", va="center", fontsize=SMALL, color=colour
            )
    axes.set_xticks(range(len(names)), names, fontsize=SMALL, rotation=0)
    axes.set_yticks(range(len(labels)), labels, fontsize=SMALL)
    axes.set_ylabel("op, share of time", fontsize=NORMAL)
    axes.tick_params(length=0)
    axes.axhline(0.5, color="white", linewidth=3)
    for side in axes.spines.values():
        side.set_visible(False)
    bar = figure.colorbar(image, ax=axes, pad=0.02, format=lambda share, _: f"{100 * share:.0f} %")
    bar.set_label("busy time ÷ total time", fontsize=NORMAL)
    bar.ax.tick_params(labelsize=SMALL)
    return figure

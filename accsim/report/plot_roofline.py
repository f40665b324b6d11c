"""The roofline: what each op reaches, below what the machine allows.

Source: Williams, Waterman and Patterson, Roofline, Communications of the ACM 52(4), 2009.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from accsim.config.machine import Accelerator
from accsim.engine.program import TICKS_PER_CYCLE
from accsim.mapping.format_run import matrix_dtype
from accsim.report.plot_style import (
    GREY,
    LIGHT,
    NORMAL,
    SMALL,
    by_time,
    kind_colours,
    new_figure,
    op_label,
    place_labels,
    set_title,
)
from accsim.report.result import OpRow, Report
from accsim.report.words import percent, si

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LABELS = 14
LARGEST = 900.0
SMALLEST = 25.0
"""Areas of points, in square points: of all of the time, and at least."""


@dataclass(frozen=True)
class Point:
    """An op in the roofline.

    Attributes
    ----------
    intensity : operations per byte read from or written to main memory.
    rate : operations per second. An op with MACs counts 2 a MAC, one without its vector operations.
    share : of the whole time, all runs.
    """

    row: OpRow
    intensity: float
    rate: float
    share: float
    matrix: bool


def roofline_points(report: Report) -> list[Point]:
    """The ops that have operations, traffic and time, by time."""
    main = report.accelerator.main_memory.name
    whole = sum(row.ticks * row.count for row in report.ops)
    points = []
    for row in by_time(report.ops):
        work = row.op.flop or sum(row.op.vector_ops.values())
        moved = row.actions.get(f"read.{main}", 0.0) + row.actions.get(f"write.{main}", 0.0)
        seconds = row.ticks / TICKS_PER_CYCLE / report.accelerator.clock_hz
        if work and moved and seconds:
            points.append(Point(row, work / moved, work / seconds, row.ticks * row.count / whole, row.op.flop > 0))
    return points


def ceilings(report: Report) -> dict[str, float]:
    """:func:`peaks` of the data types that the report's ops run in."""
    acc = report.accelerator
    return peaks(acc, list(dict.fromkeys(matrix_dtype(row.op, acc) for row in report.ops)))


def peaks(acc: Accelerator, dtypes: list[str]) -> dict[str, float]:
    """Most operations per second: of the matrix units for each data type, of the vector units' cheapest operation."""
    found = {f"matrix {dtype}": 2 * acc.peak_macs_per_s(dtype) for dtype in dtypes if dtype in acc.matrix_unit.rates}
    unit = acc.vector_unit
    found["vector"] = acc.cores * unit.lanes * acc.clock_hz / min(unit.cycles_per_element.values())
    return found


def main_memory_rate(acc: Accelerator) -> float:
    """Bytes per second of main memory, reads and writes together."""
    main = acc.main_memory
    if main.shared_bandwidth:
        return main.usable_read_bytes_per_s
    return main.usable_read_bytes_per_s + main.usable_write_bytes_per_s


def plot_roofline(report: Report) -> Figure:
    """See :meth:`Report.plot_roofline`."""
    figure, axes = new_figure(8.0, 5.2)
    points = roofline_points(report)
    set_title(axes, report, "Roofline")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.set_xlabel("operational intensity (operations per byte of main memory)", fontsize=NORMAL)
    axes.set_ylabel("performance (operations per second; 1 MAC is 2)", fontsize=NORMAL)
    axes.grid(which="major", color=LIGHT, linewidth=0.6)
    kinds = kind_colours(point.row.op.kind for point in points)
    for point in points:
        axes.scatter(
            point.intensity,
            point.rate,
            s=_area(point),
            color=kinds[point.row.op.kind],
            marker="o" if point.matrix else "D",
            edgecolors="white",
            linewidths=0.6,
            alpha=0.85,
            zorder=3,
        )
    for kind, colour in kinds.items():
        matrix = next(point.matrix for point in points if point.row.op.kind == kind)
        axes.scatter([], [], s=36, color=colour, marker="o" if matrix else "D", label=kind)
    if points:
        axes.legend(
            fontsize=SMALL, title="kind of op; area shows time", title_fontsize=SMALL, frameon=False,
            loc="lower right",
        )  # fmt: skip
    _draw_ceilings(figure, axes, report, points)
    place_labels(
        axes,
        [
            (p.intensity, p.rate, math.sqrt(_area(p) / math.pi), f"{op_label(p.row)}, {percent(p.share)}")
            for p in points[:MOST_LABELS]
        ],
    )
    return figure


def _area(point: Point) -> float:
    return SMALLEST + LARGEST * point.share


def _draw_ceilings(figure: Figure, axes: Axes, report: Report, points: list[Point]) -> None:
    """Slope of main memory and the peaks of the units, each with its name and value."""
    acc = report.accelerator
    rate = main_memory_rate(acc)
    tops = ceilings(report)
    ridges = [top / rate for top in tops.values()]
    left = min([p.intensity for p in points] + ridges) / 4
    right = max([p.intensity for p in points] + ridges) * 6
    top = max(tops.values())
    low = min([p.rate for p in points] + [rate * left])
    axes.set_xlim(left, right)
    axes.set_ylim(low / 3, top * 3)
    axes.plot([left, top / rate], [left * rate, top], color="black", linewidth=1.4)
    for name, peak in tops.items():
        axes.plot(
            [peak / rate, right],
            [peak, peak],
            color="black",
            linewidth=1.4,
            linestyle="-" if name != "vector" else "--",
        )
        axes.annotate(
            f"{name}\n{si(peak, 'op/s')}", (right, peak), (5, 0), textcoords="offset points", va="center",
            fontsize=SMALL, color=GREY, annotation_clip=False,
        )  # fmt: skip
    figure.draw_without_rendering()
    (x0, y0), (x1, y1) = axes.transData.transform([(left, left * rate), (top / rate, top)])
    axes.annotate(
        f"{acc.main_memory.name} {si(rate, 'B/s')}", (left, left * rate), (8, 10), textcoords="offset points",
        fontsize=SMALL, color=GREY, rotation=math.degrees(math.atan2(y1 - y0, x1 - x0)), rotation_mode="anchor",
    )  # fmt: skip

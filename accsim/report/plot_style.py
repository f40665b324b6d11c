"""What the figures have in common: size, letters, colours. Nothing here changes a setting of matplotlib's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from accsim.report.result import OpRow, Report
from accsim.report.words import parameters
from accsim.workload.ops import OPS

DPI = 150
SMALL, NORMAL, LARGE = 8.0, 9.0, 11.0
"""Sizes of letters, in points."""

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""Colours that colour-blind readers can tell apart. Source: Okabe and Ito, Color Universal Design, 2008."""

GREY = "#666666"
LIGHT = "#DDDDDD"
MOST_LETTERS = 24
"""Letters of the name of an op."""

LETTERS_PER_INCH = 13
MARGIN = 2.0
"""Room for the line below a title: letters of size `NORMAL`, and inches beside the axes."""


class ShownFigure(Figure):
    """A figure that a notebook shows also where pyplot was not imported."""

    def _repr_png_(self) -> bytes:
        written = BytesIO()
        self.savefig(written, format="png")
        return written.getvalue()


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of a size in inches, with one pair of axes."""
    figure, (axes,) = new_panels(width, height, 1, 1)
    return figure, axes


def new_panels(width: float, height: float, rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    """A figure of a size in inches, with a grid of axes; they are given row by row."""
    figure = _empty_figure(width, height)
    return figure, _plain(figure.subplots(rows, columns, squeeze=False).flat)


def stacked_figure(width: float, heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """A figure of a width in inches, with axes of these heights (room for their labels included) over one x axis."""
    figure = _empty_figure(width, sum(heights))
    return figure, _plain(figure.subplots(len(heights), squeeze=False, sharex=True, height_ratios=heights).flat)


def _empty_figure(width: float, height: float) -> Figure:
    figure = ShownFigure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _plain(every: Iterable[Axes]) -> list[Axes]:
    """The same axes with small letters, and open above and on the right."""
    found = list(every)
    for axes in found:
        axes.tick_params(labelsize=SMALL, length=3)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return found


def set_title(axes: Axes, report: Report, what: str) -> None:
    """What is shown, and of which run; cut at the right edge of the figure."""
    given = parameters(report.workload.parameters)
    run = f"{report.accelerator.name}: {report.workload.name}{f' ({given})' if given else ''}"
    if report.fidelity != "tile":
        run += f", fidelity {report.fidelity}"
    figure = axes.get_figure(root=True)
    most = int(LETTERS_PER_INCH * (figure.get_figwidth() - MARGIN)) if figure else len(run)
    shown = run if len(run) <= most else run[: most - 3] + "..."
    axes.set_title(f"{what}\n", fontsize=LARGE, loc="left", fontweight="bold")
    below = axes.annotate(
        shown, (0, 1), (0, 6), "axes fraction", "offset points", fontsize=NORMAL, color=GREY, va="bottom"
    )
    below.set_in_layout(False)


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name, in order; they repeat after eight."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(dict.fromkeys(names))}


def kind_colours(kinds: Iterable[str]) -> dict[str, str]:
    """A colour for each of some kinds of op, in the order of `OPS`."""
    used = set(kinds)
    return colours(kind for kind in OPS if kind in used)


def prefix_of(largest: float) -> tuple[float, str]:
    """Factor and SI prefix that make the largest of some numbers at least 1."""
    steps = [
        (1e12, "T"),
        (1e9, "G"),
        (1e6, "M"),
        (1e3, "k"),
        (1.0, ""),
        (1e-3, "m"),
        (1e-6, "u"),
        (1e-9, "n"),
        (1e-12, "p"),
    ]
    return next((step for step in steps if largest >= step[0]), steps[4 if largest == 0 else -1])


def binary_unit_of(largest: int) -> tuple[int, str]:
    """Bytes of the largest binary unit that is no more than a size, and its name.

    Examples
    --------
    >>> binary_unit_of(3 * 2**20), binary_unit_of(512)
    ((1048576, 'MiB'), (1, 'bytes'))
    """
    names = ("bytes", "KiB", "MiB", "GiB", "TiB")
    power = min(max(0, (largest.bit_length() - 1) // 10), len(names) - 1)
    return 1024**power, names[power]


def op_label(row: OpRow) -> str:
    """Name of an op in a figure, and how many more share its row."""
    name = row.names[0]
    more = f" +{len(row.names) - 1}" if len(row.names) > 1 else ""
    return (name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 3] + "...") + more


def by_time(rows: Sequence[OpRow]) -> list[OpRow]:
    """Ops by the time of all their runs, the longest first."""
    return sorted(rows, key=lambda row: -row.ticks * row.count)


def place_labels(axes: Axes, labels: Sequence[tuple[float, float, float, str]]) -> list[Annotation]:
    """Write a text at each point, where it covers no point, no line of the axes, and no text before it.

    Texts are moved around their points, further and further out, with a line back to the point, in the order
    given; one for which there is no place within the axes is left out.

    Parameters
    ----------
    labels : x and y in data coordinates, the radius of the point's marker in points, the text.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    unit = figure.dpi / 72
    step = 3 * unit
    whole = axes.get_window_extent()
    centres = [axes.transData.transform((x, y)) for x, y, _, _ in labels]
    texts: list[Bbox] = []
    taken = [item.get_window_extent() for item in (*axes.texts, axes.get_legend()) if item is not None]
    taken += [
        box for line in axes.get_lines() for box in _along(line.get_transform().transform(line.get_xydata()), step)
    ]
    taken += [
        Bbox.from_bounds(px - radius * unit, py - radius * unit, 2 * radius * unit, 2 * radius * unit)
        for (px, py), (_, _, radius, _) in zip(centres, labels, strict=True)
    ]
    written = []
    for (x, y, radius, text), (px, py) in zip(labels, centres, strict=True):
        probe = axes.annotate(text, (x, y), fontsize=SMALL)
        size = probe.get_window_extent()
        probe.remove()
        for dx, dy in _around(size.width, size.height, (radius + 3) * unit):
            box = Bbox.from_bounds(px + dx, py + dy, size.width, size.height)
            inside = box.x0 >= whole.x0 and box.x1 <= whole.x1 and box.y0 >= whole.y0 and box.y1 <= whole.y1
            lead = _along([(px, py), ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)], step)
            if inside and not box.count_overlaps(taken + texts) and not any(b.count_overlaps(texts) for b in lead):
                texts.append(box)
                taken += lead
                line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 1, "shrinkB": radius}
                at = (dx / unit, dy / unit)
                written.append(
                    axes.annotate(text, (x, y), at, textcoords="offset points", fontsize=SMALL, arrowprops=line)
                )
                break
    return written


def _along(ends: Iterable[tuple[float, float]], step: float) -> list[Bbox]:
    """Small boxes that cover a line through some points of the display."""
    found = []
    for (x0, y0), (x1, y1) in pairwise(ends):
        pieces = max(1, round(max(abs(x1 - x0), abs(y1 - y0)) / step))
        for i in range(pieces + 1):
            x, y = x0 + (x1 - x0) * i / pieces, y0 + (y1 - y0) * i / pieces
            found.append(Bbox.from_bounds(x - step / 2, y - step / 2, step, step))
    return found


def _around(width: float, height: float, gap: float) -> list[tuple[float, float]]:
    """Offsets of a box's lower left corner from its point, the nearest first."""
    found = []
    for ring in range(24):
        out = gap + ring * height
        found += [(out, -height / 2), (-out - width, -height / 2), (-width / 2, out), (-width / 2, -out - height)]
        found += [(out, out), (-out - width, out), (out, -out - height), (-out - width, -out - height)]
    return found

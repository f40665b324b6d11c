"""What the figures of papers have in common as pictures: a title, panels, a caption of notes, bars and lines."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation, Transform

from accsim.report.plot_style import COLOURS, GREY, LARGE, LETTERS_PER_INCH, LIGHT, NORMAL, SMALL, new_panels

PUBLISHED = "published"
PUBLISHED_COLOUR = "#000000"

EDGE, TITLE_INCHES, LEGEND_INCHES, LINE_INCHES = 0.1, 0.3, 0.22, 0.15
"""Room at the sides of the texts around the axes, and heights of the title, a line of the legend and of the caption."""

MOST_LETTERS = 60
"""Letters that fit beside each other above the bars of a panel; of more, all values are turned."""

FEW_DECADES = 1e4
"""Range of an axis that is marked at 2 and 5 too."""


def panels(title: str, width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure with a title above a grid of axes that is ``height`` inches high; the axes are given row by row."""
    figure, axes = new_panels(width, height, rows, columns)
    _grow(figure, top=TITLE_INCHES)
    text = figure.text(EDGE, -EDGE, title, transform=_from_top(figure), fontsize=LARGE, fontweight="bold", va="top")
    text.set_in_layout(False)
    return figure, axes


def add_legend(figure: Figure, panels: Sequence[Axes], columns: int = 6) -> None:
    """One legend for all panels, below the title; a name that several have is shown once."""
    found = {name: handle for axes in panels for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    columns = min(columns, len(found))
    drawn = figure.legend(
        found.values(), found.keys(), loc="upper left", bbox_to_anchor=(0, -TITLE_INCHES),
        bbox_transform=_from_top(figure), ncols=columns, fontsize=SMALL, frameon=False, markerscale=1.5,
    )  # fmt: skip
    drawn.set_in_layout(False)
    _grow(figure, top=LEGEND_INCHES * -(-len(found) // columns) + EDGE / 2)


def add_caption(figure: Figure, notes: Sequence[str]) -> None:
    """Write notes below the axes; the figure grows by as much as they take."""
    letters = int(LETTERS_PER_INCH * 1.25 * figure.get_figwidth())
    lines = [
        line
        for note in notes
        for line in textwrap.wrap(note, letters, initial_indent="• ", subsequent_indent="   ", break_on_hyphens=False)
    ]
    _grow(figure, bottom=LINE_INCHES * len(lines) + EDGE)
    text = figure.text(
        EDGE, EDGE, "\n".join(lines), transform=figure.dpi_scale_trans, fontsize=SMALL - 0.5, color=GREY, va="bottom"
    )
    text.set_in_layout(False)


def _from_top(figure: Figure) -> Transform:
    """Inches from the upper left corner, upward and to the right."""
    return figure.dpi_scale_trans + ScaledTranslation(0, 1, figure.transFigure)  # type: ignore[arg-type]


def _grow(figure: Figure, top: float = 0.0, bottom: float = 0.0) -> None:
    """Make a figure higher, and keep the axes out of what is added."""
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    width, height = figure.get_size_inches()
    _, low, _, share = engine.get()["rect"]
    below, axes = low * height + bottom, share * height
    figure.set_size_inches(width, height + top + bottom)
    engine.set(rect=(0, below / (height + top + bottom), 1, axes / (height + top + bottom)))


def style(names: Sequence[str]) -> dict[str, str]:
    """A colour for each series: black for what was published, then those of the palette."""
    simulated = [name for name in dict.fromkeys(names) if name != PUBLISHED]
    found = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(simulated)}
    return ({PUBLISHED: PUBLISHED_COLOUR} if PUBLISHED in names else {}) | found


def bars(
    axes: Axes,
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    digits: int = 2,
    colours: Mapping[str, str] | None = None,
) -> None:
    """Bars of each group side by side with their values above; where there is no value, it says none."""
    colour = colours or style(list(series))
    places = np.arange(len(groups), dtype=float)
    width = 0.84 / max(1, len(series))
    shown = {name: [f"{v:.{digits}f}" if np.isfinite(v) else "none" for v in values] for name, values in series.items()}
    longest = max(len(text) for texts in shown.values() for text in texts)
    turned = 90 if longest * len(groups) * len(series) > MOST_LETTERS else 0
    for i, (name, values) in enumerate(series.items()):
        at = places + (i - (len(series) - 1) / 2) * width
        heights = np.nan_to_num(np.asarray(values, dtype=float))
        drawn = axes.bar(at, heights, width * 0.94, label=name, linewidth=0.8, color=colour[name])
        if name == PUBLISHED:
            for bar in drawn:
                bar.set(facecolor="white", edgecolor=PUBLISHED_COLOUR, hatch="////")
        for x, height, text in zip(at, heights, shown[name], strict=True):
            axes.annotate(
                text, (x, height), (0, 2), textcoords="offset points", ha="center", va="bottom",
                fontsize=SMALL - 1.5, rotation=turned,
            )  # fmt: skip
    axes.set_xticks(places, groups, fontsize=SMALL)
    axes.margins(y=0.18)
    axes.grid(axis="y", color=LIGHT, linewidth=0.6)


def label(axes: Axes, title: str, x: str = "", y: str = "") -> None:
    """Title and axis labels of a panel."""
    axes.set_title(title, fontsize=NORMAL, loc="left")
    axes.set_xlabel(x, fontsize=NORMAL)
    axes.set_ylabel(y, fontsize=NORMAL)


def log_axis(axes: Axes) -> None:
    """A logarithmic vertical axis, of what is drawn, with few, plain numbers."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(10, (1, 2, 5) if high < FEW_DECADES * low else (1,), numticks=12))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def lengths_axis(axes: Axes, lengths: npt.ArrayLike) -> None:
    """A logarithmic axis of sequence lengths with a tick at each."""
    values_axis(axes, lengths, lambda length: tokens(int(length)))


def values_axis(axes: Axes, values: npt.ArrayLike, name: Callable[[float], str] = "{:g}".format) -> None:
    """A logarithmic horizontal axis with a tick, and its name, at each value."""
    found = sorted(set(np.asarray(values).tolist()))
    axes.set_xscale("log", base=2)
    axes.set_xticks(found, [name(value) for value in found], fontsize=SMALL)
    axes.minorticks_off()
    axes.grid(color=LIGHT, linewidth=0.6)


def tokens(length: int) -> str:
    """A sequence length in short.

    Examples
    --------
    >>> tokens(512), tokens(4096), tokens(1048576)
    ('512', '4K', '1M')
    """
    for power, prefix in ((20, "M"), (10, "K")):
        if length >= 2**power and length % 2**power == 0:
            return f"{length >> power}{prefix}"
    return str(length)

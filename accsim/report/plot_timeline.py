"""The first firings of one op: a row for each resource or for each stage, a bar for each time it is held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.patheffects import withStroke

from accsim.errors import InputError, Problem, nearest
from accsim.report.excerpt import Excerpt, excerpt
from accsim.report.lanes import Bar, Lane, lanes_by_resource, lanes_by_stage
from accsim.report.plot_buffers import PANEL, draw_buffers, memories_used
from accsim.report.plot_style import GREY, LIGHT, NORMAL, SMALL, colours, set_title, stacked_figure
from accsim.report.result import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BY = ("resource", "stage")
"""What a row of the timeline is."""

THIN = 0.004
"""Bars below this share of the width have an edge in their own colour, so that they can be seen."""

MOST_TILES = 8
"""Colours of tiles; then they repeat."""

TINY = 6.0
"""Size of the numbers in bars, in points."""


def plot_timeline(report: Report, op: str | None, most_firings: int, by: str, buffers: bool) -> Figure:
    """See :meth:`Report.plot_timeline`."""
    if by not in BY:
        raise InputError(Problem("", "by", f"read {by!r}, allowed are {', '.join(BY)}", nearest(by, BY)))
    shown = excerpt(report, op, most_firings)
    lanes = list(lanes_by_resource(shown) if by == "resource" else lanes_by_stage(shown))
    memories = memories_used(shown) if buffers else []
    per_lane, around = (0.36, 1.8) if by == "resource" else (0.24, 1.0)
    figure, (axes, *below) = stacked_figure(9.0, [around + per_lane * len(lanes), *[PANEL] * len(memories)])
    set_title(axes, report, f"Timeline of {shown.what}")
    factor, label = shown.scale
    colour_of = _palette(shown, lanes, by)
    for place, lane in enumerate(lanes):
        _draw(axes, place, lane, factor, shown.end, colour_of)
    axes.set_yticks(range(len(lanes)), [lane.label for lane in lanes])
    axes.tick_params(axis="y", labelsize=NORMAL, length=0)
    axes.set_ylim(len(lanes) - 0.5, -0.5)
    axes.set_xlim(0, shown.end * factor)
    axes.grid(axis="x", color=LIGHT, linewidth=0.6)
    for panel, memory in zip(below, memories, strict=True):
        draw_buffers(panel, shown, memory)
    (below or [axes])[-1].set_xlabel(label, fontsize=NORMAL)
    if by == "resource":
        _stage_legend(axes, shown)
    else:
        _name_groups(axes, lanes)
        _name_tiles(axes, shown)
        figure.draw_without_rendering()
        for place, lane in enumerate(lanes):
            _number(axes, place, lane, factor)
    if len(shown.programs) > 1 and not shown.around:
        _name_programs(axes, below, shown, factor)
    return figure


def _palette(shown: Excerpt, lanes: Sequence[Lane], by: str) -> Callable[[Bar], str]:
    """The colour of a bar: by resource that of its stage, by stage that of its tile."""
    if by == "resource":
        of_stage = colours(stage.name for stage in shown.stages)
        return lambda bar: of_stage[bar.stage]
    numbers = sorted({bar.tile for lane in lanes for bar in lane.bars})
    ramp = np.linspace(0.1, 0.95, min(MOST_TILES, max(2, len(numbers))))
    of_tile = {tile: to_hex(colormaps["viridis"](ramp[i % len(ramp)])) for i, tile in enumerate(numbers)}
    return lambda bar: of_tile[bar.tile]


def _draw(axes: Axes, place: int, lane: Lane, factor: float, end: int, colour_of: Callable[[Bar], str]) -> None:
    times = [(bar.start * factor, (bar.end - bar.start) * factor) for bar in lane.bars]
    faces = [colour_of(bar) for bar in lane.bars]
    edges = ["white" if bar.end - bar.start > THIN * end else face for bar, face in zip(lane.bars, faces, strict=True)]
    axes.broken_barh(times, (place - 0.38, 0.76), facecolors=faces, edgecolors=edges, linewidth=0.4)


def _stage_legend(axes: Axes, shown: Excerpt) -> None:
    for name, colour in colours(stage.name for stage in shown.stages).items():
        axes.broken_barh([], (0, 0), facecolors=colour, label=name)
    axes.legend(
        fontsize=SMALL, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), title="stage", title_fontsize=SMALL
    )


def _name_groups(axes: Axes, lanes: Sequence[Lane]) -> None:
    """The unit of each group of lanes at their right, and lines between the groups."""
    place = 0
    for group, members in groupby(lanes, key=lambda lane: lane.group):
        after = place + len(list(members))
        middle = (place + after - 1) / 2
        axes.annotate(
            group, (1, middle), (6, 0), ("axes fraction", "data"), textcoords="offset points", va="center",
            fontsize=SMALL, color=GREY,
        )  # fmt: skip
        if after < len(lanes):
            axes.axhline(after - 0.5, color=GREY, linewidth=0.6)
        place = after


def _name_programs(axes: Axes, below: Sequence[Axes], shown: Excerpt, factor: float) -> None:
    """Where each of several programs begins, and its name above the first lane."""
    lowest, _ = axes.get_ylim()
    axes.set_ylim(lowest, -1.1)
    for part in shown.programs:
        for panel in (axes, *below):
            panel.axvline(part.begin * factor, color=GREY, linewidth=0.8, linestyle=":")
        axes.annotate(
            part.program.name, (part.begin * factor, -0.8), (3, 0), textcoords="offset points", va="center",
            fontsize=SMALL, color=GREY,
        )  # fmt: skip


def _name_tiles(axes: Axes, shown: Excerpt) -> None:
    """What the colours and numbers are, above the groups."""
    names = [".".join(part.program.levels[depth].name for depth in part.tile_levels) for part in shown.programs]
    told = ", ".join(dict.fromkeys(name for name in names if name))
    if told:
        axes.annotate(
            f"tile: {told}", (1, 1), (6, 6), "axes fraction", "offset points", fontsize=SMALL, color=GREY, va="bottom"
        )


def _number(axes: Axes, place: int, lane: Lane, factor: float) -> None:
    """Write a tile's number on the bars that follow one another and belong to it, where there is room."""
    for tile, members in groupby(lane.bars, key=lambda bar: bar.tile):
        bars = list(members)
        start, end = bars[0].start, bars[-1].end
        middle = (start + end) / 2
        nearest_bar = min(bars, key=lambda bar: max(bar.start - middle, middle - bar.end, 0))
        if not nearest_bar.start <= middle <= nearest_bar.end:
            middle = (nearest_bar.start + nearest_bar.end) / 2
        number = ".".join(str(i) for i in tile)
        text = axes.annotate(
            number, (middle * factor, place), ha="center", va="center_baseline", fontsize=TINY, color="black",
            path_effects=[withStroke(linewidth=1.4, foreground="white")],
        )  # fmt: skip
        room = axes.transData.transform([(start * factor, 0), (end * factor, 0)])
        if text.get_window_extent().width > room[1, 0] - room[0, 0]:
            text.remove()

"""The first firings of one op: a row for each resource, a bar for each time a stage holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accsim.engine.counters import Counters
from accsim.engine.program import TICKS_PER_CYCLE, Program
from accsim.errors import InputError, Problem, nearest
from accsim.report.firings import Firing, first_firings, inner_firings
from accsim.report.plot_style import (
    LIGHT,
    NORMAL,
    SMALL,
    by_time,
    colours,
    new_figure,
    op_label,
    prefix_of,
    set_title,
)
from accsim.report.result import OpRow, Report
from accsim.report.trace_events import resources

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THIN = 0.004
"""Bars below this share of the width have an edge in their own colour, so that they can be seen."""

MOST_SERVERS = 16
"""Servers of a pool that have a row of their own."""


def plot_timeline(report: Report, op: str | None, most_firings: int) -> Figure:
    """See :meth:`Report.plot_timeline`."""
    if report.fidelity == "analytic":
        raise InputError("a report of fidelity analytic has no timeline: simulate with fidelity tile")
    row = find_row(report, op)
    part, step = max(zip(row.parts, row.steps, strict=True), key=lambda pair: pair[0].counters.total_ticks)
    program = step.program
    shown, end, which = _first(program, part.counters, most_firings)
    bars = _bars(shown, end)
    order = list(resources(report))
    rows = sorted(bars, key=lambda key: (order.index(key[0]), key[1]))
    figure, axes = new_figure(9.0, 1.8 + 0.36 * len(rows))
    what = f"Timeline of {op_label(row)}" + (f", {program.name}" if len(row.steps) > 1 else "")
    set_title(axes, report, what + which)
    seconds = 1 / TICKS_PER_CYCLE / report.accelerator.clock_hz
    scale, prefix = prefix_of(end * seconds)
    stages = list(dict.fromkeys(firing.stage.name for firing in shown))
    palette = colours(stages)
    for place, key in enumerate(rows):
        for name, spans in bars[key].items():
            times = [(a * seconds / scale, (b - a) * seconds / scale) for a, b in spans]
            edges = ["white" if b - a > THIN * end else palette[name] for a, b in spans]
            axes.broken_barh(times, (place - 0.38, 0.76), facecolors=palette[name], edgecolors=edges, linewidth=0.4)
    for name in stages:
        axes.broken_barh([], (0, 0), facecolors=palette[name], label=name)
    pools = {name for name, server in rows if server}
    axes.set_yticks(range(len(rows)), [f"{name} {server}" if name in pools else name for name, server in rows])
    axes.tick_params(axis="y", labelsize=NORMAL, length=0)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, end * seconds / scale)
    begun = "program" if len(row.steps) > 1 else "op"
    axes.set_xlabel(f"time since the start of the {begun} ({prefix}s)", fontsize=NORMAL)
    axes.grid(axis="x", color=LIGHT, linewidth=0.6)
    axes.legend(
        fontsize=SMALL, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), title="stage", title_fontsize=SMALL
    )
    return figure


def find_row(report: Report, op: str | None) -> OpRow:
    """The op of a name, or the one that takes most of the time.

    Raises
    ------
    InputError
        For an unknown name.
    """
    if op is None:
        return by_time(report.ops)[0]
    for row in report.ops:
        if op in row.names:
            return row
    names = [name for row in report.ops for name in row.names]
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    raise InputError(Problem("", "op", f"unknown op '{op[:60]}', allowed are {listed}", nearest(op, names)))


def _first(program: Program, counters: Counters, most: int) -> tuple[list[Firing], int, str]:
    """The firings that are shown, until when, and which they are.

    Where stages stand for inner programs they are those of the first server of each pool, with what is inside.
    """
    outer = first_firings(program, 2 * most)
    inside = [firing for _, run in inner_firings(outer, 2 * most) for firing in run]
    found = inside or outer
    in_all = sum(counters.fires.values())
    if len(found) > most:
        # When the first firing after ``most`` starts: until then they are all there is. At 0, when the first one ends.
        end = min(firing.start for firing in found[most:]) or found[0].end
    else:
        end = counters.total_ticks if in_all == len(outer) else max(firing.end for firing in found)
    shown = [firing for firing in found if firing.start < end]
    if inside:
        around = [firing for firing in outer if firing.server == 0 and firing.start < end]
        return shown + around, end, f": the first {len(shown)} firings on the first server"
    return shown, end, f": the first {len(shown)} of {in_all:,} firings" if in_all > most else ""


def _bars(found: list[Firing], end: int) -> dict[tuple[str, int], dict[str, list[tuple[int, int]]]]:
    """(resource, server) -> stage -> spans of ticks before ``end``."""
    bars: dict[tuple[str, int], dict[str, list[tuple[int, int]]]] = {}
    for firing in found:
        held = [((firing.stage.unit, firing.server % MOST_SERVERS), firing.end - firing.start)]
        held += [((name, 0), ticks) for name, ticks in firing.rates]
        for key, ticks in held:
            if ticks:
                spans = bars.setdefault(key, {}).setdefault(firing.stage.name, [])
                spans.append((firing.start, min(end, firing.start + ticks)))
    return bars

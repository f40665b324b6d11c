"""Bytes in use of every buffer over time, against what is reserved and what the memory has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.ticker import MultipleLocator

from accsim.engine.program import Buffer
from accsim.report.excerpt import Excerpt, excerpt
from accsim.report.firings import slots_in_use
from accsim.report.plot_style import GREY, LIGHT, NORMAL, SMALL, binary_unit_of, colours, set_title, stacked_figure
from accsim.report.result import Report
from accsim.report.words import binary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = 1.9
"""Height of the axes of one memory, in inches."""

WITHIN = 2.5
"""A capacity above this multiple of what is reserved has no line: it would press the rest flat."""

Bytes = npt.NDArray[np.int64]


def plot_buffers(report: Report, op: str | None, most_firings: int) -> Figure:
    """See :meth:`Report.plot_buffers`."""
    shown = excerpt(report, op, most_firings)
    memories = memories_used(shown)
    figure, column = stacked_figure(9.0, [PANEL + 0.6, *[PANEL] * (len(memories) - 1)])
    set_title(column[0], report, f"Buffers of {shown.what}")
    for axes, memory in zip(column, memories, strict=False):
        draw_buffers(axes, shown, memory)
    if not memories:
        column[0].set_yticks([])
        column[0].annotate("no buffer of a size", (0.5, 0.5), xycoords="axes fraction", ha="center", color=GREY)
    factor, label = shown.scale
    column[-1].set_xlim(0, shown.end * factor)
    column[-1].set_xlabel(label, fontsize=NORMAL)
    return figure


def memories_used(shown: Excerpt) -> list[str]:
    """Memories that have buffers of a size in the programs of an excerpt, from the array outward."""
    used = {b.memory for part in shown.programs for b in part.program.buffers if b.memory and b.slot_bytes}
    order = [memory.name for memory in shown.report.accelerator.memories]
    return sorted(used, key=lambda name: order.index(name) if name in order else -1)


def bytes_in_use(shown: Excerpt, memory: str) -> tuple[Bytes, dict[str, Bytes]]:
    """(ticks at which something changes, buffer of a memory -> its bytes in use from each of them on).

    The first tick is 0 and the last is the excerpt's end. Buffers of one name in several programs are one.
    """
    changes: dict[str, list[tuple[int, int]]] = {}
    for part in shown.programs:
        for buffer in _buffers(part.program.buffers, memory):
            use = [(at, held * buffer.slot_bytes) for at, held in slots_in_use(buffer.name, part.firings)]
            known = changes.setdefault(buffer.name, [(0, 0)])
            known += [(part.begin + at, size) for at, size in use if at < part.end] + [(part.begin + part.end, 0)]
    ticks = np.array(sorted({at for known in changes.values() for at, _ in known} | {0, shown.end}), np.int64)
    found = {}
    for name, known in changes.items():
        times, sizes = np.array(known, np.int64).T
        found[name] = sizes[np.searchsorted(times, ticks, side="right") - 1]
    return ticks, found


def room(shown: Excerpt, memory: str) -> tuple[list[int], int]:
    """(bytes reserved in a memory by each program of an excerpt, its capacity in bytes; 0 where it is not known)."""
    reserved = [sum(b.slots * b.slot_bytes for b in _buffers(part.program.buffers, memory)) for part in shown.programs]
    return reserved, max(part.program.capacities.get(memory, 0) for part in shown.programs)


def draw_buffers(axes: Axes, shown: Excerpt, memory: str) -> None:
    """Stack the bytes in use of a memory's buffers."""
    factor, _ = shown.scale
    ticks, stack = bytes_in_use(shown, memory)
    reserved, capacity = room(shown, memory)
    has_line = 0 < capacity <= WITHIN * max(reserved)
    top = 1.08 * (capacity if has_line else max(reserved))
    unit, name_of_unit = binary_unit_of(round(top))
    palette = colours(stack)
    below = np.zeros(len(ticks), np.int64)
    for name, size in stack.items():
        axes.fill_between(
            ticks * factor, below / unit, (below + size) / unit, step="post", facecolor=palette[name], linewidth=0.0,
            label=name,
        )  # fmt: skip
        below = below + size
    ends = [*(part.begin * factor for part in shown.programs), shown.end * factor]
    axes.stairs(
        [size / unit for size in reserved], ends, baseline=None, color="black", linestyle="--", label=_told(reserved)
    )
    if has_line:
        axes.axhline(capacity / unit, color="black", linewidth=1.0, label=f"capacity {binary(capacity)}")
    elif capacity:
        axes.plot([], [], " ", label=f"(capacity {binary(capacity)})")
    axes.set_ylim(0, top / unit)
    axes.yaxis.set_major_locator(MultipleLocator(2.0 ** math.floor(math.log2(top / unit / 3))))
    axes.set_ylabel(f"{memory.rpartition('.')[2]} in use ({name_of_unit})", fontsize=NORMAL)
    axes.grid(axis="both", color=LIGHT, linewidth=0.6)
    axes.legend(fontsize=SMALL, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.08), reverse=True)


def _told(reserved: list[int]) -> str:
    least, most = min(reserved), max(reserved)
    return f"reserved {binary(most)}" if least == most else f"reserved {binary(least)} to {binary(most)}"


def _buffers(buffers: tuple[Buffer, ...], memory: str) -> list[Buffer]:
    return [buffer for buffer in buffers if buffer.memory == memory and buffer.slot_bytes]

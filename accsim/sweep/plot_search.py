"""The figure of a search: all designs with the fronts of both samplers, and how fast each front grew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from accsim.report.plot_style import COLOURS, GREY, LARGE, LIGHT, NORMAL, SMALL, new_panels
from accsim.sweep.pareto import Points, front
from accsim.units import DIMENSIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from accsim.sweep.search_result import SearchResult

MARKERS = ("o", "x")
SPREAD = 10.0
"""Most over least of an objective from which on its axis is logarithmic."""


def plot_search(result: SearchResult) -> Figure:
    """See :meth:`SearchResult.plot`."""
    wide = len(result.objectives) > 1
    figure, panels = new_panels(9.6 if wide else 5.4, 4.0, 1, 2 if wide else 1)
    if wide:
        _designs(panels[0], result)
    _growth(panels[-1], result)
    return figure


def _designs(axes: Axes, result: SearchResult) -> None:
    """Feasible designs by the first two objectives, and the front of each sampler in these two."""
    names = list(result.objectives[:2])
    rows = result.trials[result.trials["feasible"]]
    for i, sampler in enumerate(result.samplers):
        points = rows[rows["sampler"] == sampler][names].to_numpy(float)
        if not len(points):
            continue
        axes.scatter(
            points[:, 0], points[:, 1], s=16, alpha=0.45, linewidths=0.8, color=COLOURS[i], marker=MARKERS[i],
            zorder=3 - i, label=f"{sampler}: designs",
        )  # fmt: skip
        best = np.unique(points[front(points)], axis=0)
        axes.step(
            *best.T, where="post", color=COLOURS[i], linewidth=1.2, linestyle=("-", "--")[i], label=f"{sampler}: front"
        )
    axes.set_xlabel(_label(result, names[0]), fontsize=NORMAL)
    axes.set_ylabel(_label(result, names[1]), fontsize=NORMAL)
    axes.set_xscale(_scale_of(rows[names[0]].to_numpy(float)))
    axes.set_yscale(_scale_of(rows[names[1]].to_numpy(float)))
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_locator(LogLocator(10, (1, 2, 5), numticks=12))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
    more = f" (the first 2 of {len(result.objectives)} objectives)" if len(result.objectives) > 2 else ""
    _finish(axes, f"Feasible designs{more}", result.space.name)


def _label(result: SearchResult, name: str) -> str:
    """An objective, with its unit where that is not in its name."""
    dimension = result.space.dimensions.get(name)
    if not dimension:
        return name
    return f"{name} ({next(unit for unit, factor in DIMENSIONS[dimension].units.items() if factor == 1)})"


def _scale_of(values: Points) -> Literal["log", "linear"]:
    return "log" if len(values) and 0 < SPREAD * values.min() < values.max() else "linear"


def _growth(axes: Axes, result: SearchResult) -> None:
    """Hypervolume of each sampler after each trial."""
    for i, sampler in enumerate(result.samplers):
        curve = result.hypervolumes[sampler]
        axes.step(
            np.arange(1, len(curve) + 1), curve, where="post", color=COLOURS[i], linestyle=("-", "--")[i],
            linewidth=1.5, label=sampler,
        )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("evaluated designs", fontsize=NORMAL)
    axes.set_ylabel("hypervolume (share of the box of all designs)", fontsize=NORMAL)
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    _finish(axes, "Growth of the front", ", ".join(result.objectives))


def _finish(axes: Axes, title: str, below: str) -> None:
    axes.set_title(f"{title}\n", fontsize=LARGE, loc="left", fontweight="bold")
    axes.annotate(below, (0, 1), (0, 6), "axes fraction", "offset points", fontsize=NORMAL, color=GREY, va="bottom")
    axes.tick_params(which="both", labelsize=SMALL)
    axes.grid(color=LIGHT, linewidth=0.6)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=SMALL, frameon=False)

"""Lanes that wait for the fullest of them: time that they work, by tile size, number of lanes and density."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, compared
from accsim.report.plot_style import GREY
from accsim.sparsity.base import Pattern
from accsim.sparsity.imbalance import Imbalance, mask_imbalance, uniform_imbalance
from accsim.sparsity.masks import draw_mask
from accsim.sparsity.nm import NM
from accsim.sparsity.patterns import Unstructured

POSITIONS, LANES = 64, 32
"""Places of a lane and tile, and lanes, where the other is varied."""

TILE_SIZES = (16, 64, 256, 1024)
LANE_COUNTS = (2, 8, 32, 128)
DENSITIES = tuple(Fraction(text) for text in ("0.05", "0.1", "0.2", "0.5", "0.8"))
SHOWN = (Fraction("0.05"), Fraction("0.2"), Fraction("0.5"), Fraction("0.8"))
"""Densities of the lines by tile size and lanes."""

STRUCTURED = NM(2, 8)
GROUPS = (16, 16)
"""Tiles down and across the drawn masks, all of which start together."""

CLOSED, DRAWN, BALANCED = "order statistic", "drawn masks", f"drawn masks, {STRUCTURED}"


def rows() -> pd.DataFrame:
    """Efficiency in closed form and of drawn masks, with its standard error; every case once."""
    cases = [(size, LANES, density) for density in SHOWN for size in TILE_SIZES]
    cases += [(POSITIONS, lanes, density) for density in SHOWN for lanes in LANE_COUNTS]
    cases += [(POSITIONS, LANES, density) for density in DENSITIES]
    found = [row for case in dict.fromkeys(cases) for row in _case(*case)]
    found += [
        (size, LANES, float(STRUCTURED.density), BALANCED, *_shown(drawn(STRUCTURED, size, LANES)))
        for size in TILE_SIZES
    ]
    columns = ["positions", "lanes", "density", "mode", "simulated", "standard_error"]
    return compared(pd.DataFrame(found, columns=columns).assign(quantity="efficiency", unit="1"))


def _case(positions: int, lanes: int, density: Fraction) -> list[tuple[object, ...]]:
    by_mode: Mapping[str, Imbalance] = {
        CLOSED: uniform_imbalance(positions, density, lanes),
        DRAWN: drawn(Unstructured(density=density), positions, lanes),
    }
    return [(positions, lanes, float(density), mode, *_shown(found)) for mode, found in by_mode.items()]


def drawn(pattern: Pattern, positions: int, lanes: int, seed: int = 0) -> Imbalance:
    """Imbalance of a drawn mask; the lanes' places run along k, which a weight of (outputs, inputs) has last."""
    down, across = GROUPS
    return mask_imbalance(draw_mask(pattern, (lanes * down, positions * across), seed, ("n", "k")), lanes, positions)


def _shown(found: Imbalance) -> tuple[float, float]:
    """Efficiency, and its standard error to first order: the number of nonzeros is fixed, the longest lane's is not."""
    return found.efficiency, found.efficiency * found.standard_error / found.longest


def plot(rows: pd.DataFrame) -> Figure:
    """By tile size, by lanes, by density."""
    figure, axes = draw.panels("Load imbalance: share of the time that lanes work", 11.0, 3.9, 1, 3)
    by_size = rows[(rows["lanes"] == LANES) & rows["positions"].isin(TILE_SIZES)]
    by_lanes = rows[(rows["positions"] == POSITIONS) & rows["lanes"].isin(LANE_COUNTS)]
    _lines(axes[0], by_size, "positions")
    _lines(axes[1], by_lanes, "lanes")
    balanced = rows[rows["mode"] == BALANCED]
    axes[0].plot(
        balanced["positions"], balanced["simulated"], "s", color=GREY, markersize=4, label=f"{STRUCTURED} masks"
    )
    here = rows[(rows["lanes"] == LANES) & (rows["positions"] == POSITIONS) & (rows["mode"] != BALANCED)]
    _line(axes[2], here.sort_values("density"), "density", draw.PUBLISHED_COLOUR)
    draw.label(axes[0], f"{LANES} lanes", "places of a lane and tile", "efficiency")
    draw.label(axes[1], f"{POSITIONS} places of a lane and tile", "lanes")
    draw.label(axes[2], f"{POSITIONS} places, {LANES} lanes", "density")
    for panel in axes:
        panel.set_ylim(0, 1.05)
    draw.add_legend(figure, axes, 6)
    return figure


def _lines(axes: Axes, rows: pd.DataFrame, by: str) -> None:
    colour = draw.style([str(density) for density in SHOWN])
    for density in SHOWN:
        here = rows[(rows["density"] == float(density)) & (rows["mode"] != BALANCED)]
        _line(axes, here.sort_values(by), by, colour[str(density)], f"density {float(density):g}")
    draw.values_axis(axes, rows[by])


def _line(axes: Axes, rows: pd.DataFrame, by: str, colour: str, name: str = "") -> None:
    """The closed form as a line, drawn masks as points with four standard errors either way."""
    closed, real = (rows[rows["mode"] == mode] for mode in (CLOSED, DRAWN))
    axes.plot(closed[by], closed["simulated"], color=colour, linewidth=1.2, label=name)
    axes.errorbar(
        real[by], real["simulated"], 4 * real["standard_error"], fmt="o", color=colour, markersize=3.5, capsize=2
    )
    draw.values_axis(axes, rows[by])


def notes(rows: pd.DataFrame) -> list[str]:
    """What must be known."""
    here = rows.pivot_table("simulated", ["positions", "lanes", "density"], "mode")
    off = (here[DRAWN] / here[CLOSED] - 1).abs().max() * 100
    small = here[CLOSED][16, LANES, 0.05]
    return [
        "Lines: n d / E[max], the order statistic of binomial counts. Points: one drawn mask each, of "
        f"{GROUPS[0]} x {GROUPS[1]} tiles, with four standard errors either way. They differ by {off:.1f} % at most.",
        f"Small tiles of few nonzeros lose most: {small:.2f} of the time is work at 16 places of density 0.05 on "
        f"{LANES} lanes. A queue that lets lanes drift over q tiles acts like q times as many places.",
        f"{STRUCTURED} along the lanes' places is in balance whatever the size: 1, exactly.",
        "Nothing published is of this quantity; the order statistic is our own, so nothing is compared.",
    ]


FIGURE = PaperFigure(
    "sparse", "imbalance", "Load imbalance by tile size, lanes and density", "nowhere: our own", rows, plot, notes
)

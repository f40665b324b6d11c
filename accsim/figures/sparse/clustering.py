"""Nonzeros of tiles: the density model, drawn masks, and trained weights pruned by magnitude, which cluster."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, compared
from accsim.report.plot_style import COLOURS, GREY
from accsim.sparsity.base import Bools
from accsim.sparsity.density import UniformDensity, tile_counts
from accsim.sparsity.masks import draw_mask
from accsim.sparsity.patterns import Unstructured

SHAPE = (768, 256)
"""Of the weights, (outputs, inputs)."""

LAYERS = ("encoder", "decoder")
DENSITIES = (Fraction(1, 2), Fraction(1, 4), Fraction(1, 10), Fraction(1, 20))
SIDES = (2, 4, 8, 16, 32)
"""Sides of square tiles."""

LANES = 32
POSITIONS = (4, 16, 64, 256)
"""Places of a lane and tile; the lanes are rows that run side by side."""

MASKS = 8
"""Drawn masks of each density, over which the statistics are taken together."""

MODEL, DRAWN, WEIGHTS = "density model", "drawn masks", "pruned weights"
EMPTY, SPREAD, FULLEST = "empty tiles", "deviation of a tile's nonzeros", "fullest lane"
UNITS = {EMPTY: "1", SPREAD: "nonzero", FULLEST: "nonzero"}


class Expected(NamedTuple):
    """A statistic of the model, and the standard error that it has if it is taken of one tile, or group of lanes."""

    value: float
    error: float


def rows() -> pd.DataFrame:
    """Three statistics of tiles by density and tile; `gap` is the value less the model's."""
    found = [row for density in DENSITIES for row in _of_density(density)]
    columns = ["mask", "density", "tile", "quantity", "mode", "simulated", "standard_error", "gap"]
    table = pd.DataFrame(found, columns=columns)
    return compared(table.assign(unit=table["quantity"].map(UNITS)))


def _of_density(density: Fraction) -> Iterator[tuple[object, ...]]:
    drawn = [draw_mask(Unstructured(density), SHAPE, seed) for seed in range(MASKS)]
    cases = [(DRAWN, "drawn", drawn), *((WEIGHTS, layer, [weight_mask(layer, density)]) for layer in LAYERS)]
    for rows, cols in (*((side, side) for side in SIDES), *((1, places) for places in POSITIONS)):
        model = expected(rows, cols, density)
        for quantity, (value, _) in model.items():
            yield "model", float(density), f"{rows}x{cols}", quantity, MODEL, value, math.nan, 0.0
        for mode, name, masks in cases:
            for quantity, (value, number) in counted(masks, rows, cols).items():
                error = model[quantity].error / math.sqrt(number) if mode == DRAWN else math.nan
                gap = value - model[quantity].value
                yield name, float(density), f"{rows}x{cols}", quantity, mode, value, error, gap


def weight_mask(layer: str, density: Fraction) -> Bools:
    """Places that the largest magnitudes of a layer's trained weights have.

    Source: recurrent weights of the GRUs of g2p-en 2.1.0 (github.com/Kyubyong/g2p, Apache-2.0, by Kyubyong Park and
    Jongseok Kim), pruned and packed by ``tests/golden/make_weight_masks.py``.
    """
    with np.load(Path(__file__).with_name("g2p_masks.npz")) as file:
        packed = file[f"{layer}_{density.denominator}"]
    return np.unpackbits(packed, count=math.prod(SHAPE)).astype(np.bool_).reshape(SHAPE)


def expected(rows: int, cols: int, density: Fraction) -> dict[str, Expected]:
    """Statistics of the model: share of empty tiles and spread of square ones; fullest of rows side by side."""
    tile = UniformDensity(rows * cols, density, math.prod(SHAPE))
    if rows == 1:
        return {FULLEST: Expected(*tile.fullest(LANES))}
    mean, deviation = tile.nonzeros
    fourth = tile.chances @ (np.arange(rows * cols + 1) - mean) ** 4
    empty = tile.empty
    return {
        EMPTY: Expected(empty, math.sqrt(empty * (1 - empty))),
        SPREAD: Expected(deviation, math.sqrt(fourth - deviation**4) / (2 * deviation)),
    }


def counted(masks: Sequence[Bools], rows: int, cols: int) -> dict[str, tuple[float, int]]:
    """The same statistics of masks, and of how many tiles or groups each is."""
    counts = np.stack([tile_counts(mask, rows, cols) for mask in masks])
    if rows == 1:
        fullest = counts.reshape(len(masks), -1, LANES, counts.shape[2]).max(axis=2)
        return {FULLEST: (float(fullest.mean()), fullest.size)}
    return {EMPTY: (float((counts == 0).mean()), counts.size), SPREAD: (float(counts.std()), counts.size)}


def plot(rows: pd.DataFrame) -> Figure:
    """Empty tiles, and how far the weights are from the model: in the spread of tiles, and in the fullest lane."""
    figure, axes = draw.panels("Nonzeros of tiles: random masks and trained weights", 11.0, 4.1, 1, 3)
    colour = dict(zip(DENSITIES, COLOURS, strict=False))
    for density in DENSITIES:
        here = rows[rows["density"] == float(density)]
        _empty(axes[0], here[here["quantity"] == EMPTY], colour[density], f"density {float(density):g}")
        for panel, quantity in ((axes[1], SPREAD), (axes[2], FULLEST)):
            _gaps(panel, here[here["quantity"] == quantity], colour[density])
    axes[0].set_yscale("log")
    axes[0].set_ylim(1e-5, 1.5)
    for panel in axes[1:]:
        panel.axhline(0, color=GREY, linewidth=0.8)
    draw.label(axes[0], "empty tiles: lines are the model", "side of a square tile", "share of the tiles")
    draw.label(axes[1], "spread of tiles: gap to the model", "side of a square tile", "gap (%)")
    draw.label(axes[2], f"fullest of {LANES} lanes: gap to the model", "places of a lane and tile", "gap (%)")
    for panel, values in zip(axes, (SIDES, SIDES, POSITIONS), strict=True):
        draw.values_axis(panel, values)
    for name, marker in (("drawn masks", "o"), *zip(LAYERS, "s^", strict=True)):
        axes[1].plot([], [], marker, color=GREY, mfc="white" if marker == "o" else GREY, markersize=4, label=name)
    draw.add_legend(figure, axes, 7)
    return figure


def _sizes(rows: pd.DataFrame) -> list[int]:
    return [int(tile.rpartition("x")[2]) for tile in rows["tile"]]


def _empty(axes: Axes, rows: pd.DataFrame, colour: str, label: str) -> None:
    model = rows[rows["mode"] == MODEL]
    axes.plot(_sizes(model), model["simulated"], color=colour, linewidth=1.2, label=label)
    _points(axes, rows, colour, "simulated", 1.0)


def _gaps(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    relative = rows["gap"] / (rows["simulated"] - rows["gap"])
    _points(axes, rows.assign(relative=relative), colour, "relative", 100.0)


def _points(axes: Axes, rows: pd.DataFrame, colour: str, column: str, scale: float) -> None:
    for name, marker in (("drawn", "o"), *zip(LAYERS, "s^", strict=True)):
        here = rows[rows["mask"] == name]
        values = (scale * here[column]).where(here["simulated"] > 0)
        line = "" if column == "simulated" or name == "drawn" else "-"
        face = "white" if name == "drawn" else colour
        axes.plot(
            _sizes(here), values, marker + line, color=colour, mfc=face, markersize=4, linewidth=0.7,
        )  # fmt: skip


def notes(rows: pd.DataFrame) -> list[str]:
    """What the picture shows, and what must be known."""
    drawn = rows[(rows["mode"] == DRAWN)]
    errors = (drawn["gap"].abs() / drawn["standard_error"])[drawn["standard_error"] > 0]
    weights = rows[rows["mode"] == WEIGHTS]
    relative = 100 * weights["gap"] / (weights["simulated"] - weights["gap"])
    spread, fullest = (relative[weights["quantity"] == quantity] for quantity in (SPREAD, FULLEST))
    few = weights[(weights["tile"] == "8x8") & (weights["density"] == 0.05) & (weights["quantity"] == EMPTY)]
    model = (few["simulated"] - few["gap"]).iloc[0]
    return [
        "Model: hypergeometric counts, as Sparseloop's uniform density; the fullest lane exactly, with a fixed total. "
        f"{MASKS} drawn masks of {SHAPE[0]} x {SHAPE[1]}: together {errors.max():.1f} standard errors off at most.",
        "Weights: recurrent matrices of g2p-en's two GRUs, of which the largest magnitudes of a matrix are kept. They "
        f"cluster: tiles vary by {spread.min():.0f} to {spread.max():.0f} % more than of random masks, the more the "
        f"larger they are; the fullest lane has {fullest.min():+.0f} to {fullest.max():+.0f} % nonzeros.",
        f"A unit that skips empty tiles gains: of 8 x 8 at a density of 0.05, {100 * few['simulated'].min():.1f} and "
        f"{100 * few['simulated'].max():.1f} % are empty, {100 * model:.1f} % by the model. Lanes that wait lose.",
        "Weights of other models cluster otherwise. Points that are missing on the left: no tile was empty.",
        "Nothing published is of these masks, so nothing is compared.",
    ]


FIGURE = PaperFigure(
    "sparse", "clustering", "Nonzeros of tiles: the density model against random masks and pruned weights",
    "nowhere: our own", rows, plot, notes,
)  # fmt: skip

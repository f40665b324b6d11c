"""Designs of a sparse tensor core, by the density of the weights: the study's rows and the model of it here."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.paper_figure import DataFile, PaperFigure, compared
from accsim.published.sparseloop_stc import DESIGNS, DUAL_SIDE
from accsim.validate.stc import DUAL_TOLERANCE, TOLERANCE, StcRows
from accsim.validate.table import Rows

MODEL = "model of the study"
UNITS = {"cycles": ("cycles", "cycle"), "energy": ("energy_uJ", "uJ")}
"""Quantity to its column, and its unit."""

SMALLEST = 1e-7
"""Errors are drawn as this where they are less."""

SOURCE = "data of github.com/Accelergy-Project/micro22-sparseloop-artifact"
KIND = StcRows()


def rows(data: Rows) -> pd.DataFrame:
    """Cycles and energy of every row; none is left out, beyond tolerance or not."""
    cases = pd.DataFrame({name: data[name] for name in ("layer", "design", "weight_density")})
    predicted = KIND.predict(data, None)
    found = []
    for quantity, (column, unit) in UNITS.items():
        error = np.abs(predicted.values[column] / data[column] - 1)
        reason = np.where(error > predicted.tolerances[column], predicted.reasons, "")
        row = cases.assign(beyond=error > predicted.tolerances[column], reason=reason, quantity=quantity, unit=unit)
        found.append(row.assign(published=data[column], simulated=predicted.values[column]))
    return compared(pd.concat(found, ignore_index=True).assign(mode=MODEL, source=SOURCE, confidence="high"))


def plot(rows: pd.DataFrame) -> Figure:
    """Sums over the layers by density, and the error of every row."""
    figure, axes = draw.panels("Sparseloop: sparse tensor cores, sums over the layers", 10.5, 3.8, 1, 3)
    colour = draw.style([draw.PUBLISHED, *DESIGNS])
    for panel, (quantity, (_, unit)) in zip(axes, UNITS.items(), strict=False):
        _sums(panel, rows[rows["quantity"] == quantity], colour)
        draw.label(panel, quantity, "density of the weights", unit)
    for design, some in rows.groupby("design", sort=False):
        errors = some["relative_error"].abs().clip(lower=SMALLEST)
        axes[2].plot(some["weight_density"], errors, "o", color=colour[str(design)], markersize=3.5)
    for limit in (TOLERANCE, DUAL_TOLERANCE):
        axes[2].axhline(limit, color=draw.PUBLISHED_COLOUR, linewidth=0.8, linestyle="--")
    axes[2].set_yscale("log")
    draw.label(axes[2], f"errors; dashed: allowed, {DUAL_SIDE} above", "density of the weights", "relative error")
    draw.add_legend(figure, axes, 7)
    return figure


def _sums(axes: Axes, rows: pd.DataFrame, colour: dict[str, str]) -> None:
    total = rows.groupby(["design", "weight_density"], sort=False)[["published", "simulated"]].sum().reset_index()
    for design, some in total.groupby("design", sort=False):
        line = some.sort_values("weight_density")
        axes.plot(line["weight_density"], line["simulated"], "-", color=colour[str(design)], label=str(design))
    axes.plot(
        total["weight_density"], total["published"], "x", color=draw.PUBLISHED_COLOUR, markersize=4,
        label=draw.PUBLISHED,
    )  # fmt: skip
    axes.set_ylim(0)


def notes(rows: pd.DataFrame) -> list[str]:
    """What differs and why."""
    cycles = rows[rows["quantity"] == "cycles"].set_index("design")["relative_error"].abs()
    dual, others = cycles[cycles.index == DUAL_SIDE], cycles[cycles.index != DUAL_SIDE]
    worst = [
        f"{name} within {100 * some.max():.2g} %" for name, some in ((DUAL_SIDE, dual), ("others", others)) if len(some)
    ]
    return [
        f"Cycles: {', '.join(worst)}. The model was reconstructed from such rows: this shows that its form is right.",
        "The dense design's energy is of another table (65 nm): compare energies with STC at a density of 1. The "
        "paper's figure has no bars for STC below a density of a half; its rows there run at 2:4.",
        *(_beyond(case) for case in rows[rows["beyond"]].to_dict("records")),
    ]


def _beyond(case: dict[Hashable, Any]) -> str:
    where = f"{case['layer']} {case['design']} at {case['weight_density']:g}"
    reason = f": {case['reason']}" if case["reason"] else ""
    return f"Beyond tolerance: {case['quantity']} of {where}, {100 * case['relative_error']:+.2g} %{reason}."


FIGURE = PaperFigure(
    "sparse", "stc", "Designs of a sparse tensor core by the density of the weights", "Fig. 15",
    rows, plot, notes, DataFile(f"sparseloop_stc.csv, from the {SOURCE}", KIND.columns, KIND.check),
)  # fmt: skip

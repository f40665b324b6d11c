"""A bitmask whose zeros are gated, a coordinate list whose zeros are skipped: which is better at which density."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, beside, read_published
from accsim.report.plot_style import GREY
from accsim.sparsity.formats import BITMASK, COO
from accsim.sparsity.storage import StorageFormat, crossover_density

SIDE = 128
"""M, N and K of the product."""

VALUE_BITS = 8
"""Any other width crosses at the same density."""

DENSITIES = tuple(Fraction(text) for text in ("0.01", "0.02", "0.04", "0.08", "0.2", "0.4", "0.8"))
FORMATS: Mapping[str, StorageFormat] = {"bitmask": BITMASK, "coordinate list": COO}
PRODUCTS, FORMULA = "products alone", "formula"
CYCLES, ENERGY, BITS = QUANTITIES = "cycles", "energy", "bits an element"
UNITS = ("million cycles", "µJ", "bits an element")


def rows() -> pd.DataFrame:
    """Cycles of the products that are not skipped, and bits an element, beside the cycles and energies of the paper."""
    found = [
        (form, float(density), *value)
        for form in FORMATS
        for density in DENSITIES
        for value in ((CYCLES, "cycle", PRODUCTS, product_cycles(form, density)), _bits(form, density))
    ]
    table = pd.DataFrame(found, columns=["form", "density", "quantity", "unit", "mode", "simulated"])
    joined = beside(table, read_published(__file__))
    return joined.assign(unit=joined["unit"].fillna("uJ"))


def product_cycles(form: str, density: Fraction) -> float:
    """Cycles of one multiplier that gates zeros (all of them), or skips those of one operand (its nonzeros)."""
    return float(SIDE**3 * (density if form == "coordinate list" else 1))


def _bits(form: str, density: Fraction) -> tuple[str, str, str, float]:
    bits = FORMATS[form].expected_bits(SIDE, SIDE, density, VALUE_BITS)
    return BITS, "bit", FORMULA, float(bits) / SIDE**2


def storage_crossing() -> Fraction:
    """Density below which the coordinate list takes fewer bits."""
    crossing = crossover_density(BITMASK, COO, SIDE, SIDE, VALUE_BITS)
    assert crossing is not None
    return crossing


def plot(rows: pd.DataFrame) -> Figure:
    """Cycles, energy, storage by density."""
    figure, axes = draw.panels("Bitmask with gating, coordinate list with skipping", 11.0, 3.8, 1, 3)
    for panel, quantity, unit, scale in zip(axes, QUANTITIES, UNITS, (1e-6, 1.0, 1.0), strict=True):
        _panel(panel, rows[rows["quantity"] == quantity], scale)
        draw.label(panel, quantity, "density", unit)
    axes[1].set_ylim(0, 2.6)
    for panel in (axes[0], axes[2]):
        draw.log_axis(panel)
    axes[2].axvline(float(storage_crossing()), color=GREY, linewidth=0.8, linestyle="--", label="storage crosses")
    draw.add_legend(figure, axes, 6)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, scale: float) -> None:
    """Lines are formulas, rings published values."""
    colour = draw.style(list(FORMATS))
    for form, here in rows.groupby("form", sort=False):
        known = here.dropna(subset=["published"])
        name = str(form)
        axes.plot(here["density"], scale * here["simulated"], color=colour[name], label=f"{name}, formula")
        if len(known):
            label = f"{name}, {draw.PUBLISHED}"
            axes.plot(known["density"], scale * known["published"], "o", color=colour[name], mfc="white", label=label)
    draw.values_axis(axes, [float(density) for density in DENSITIES])
    axes.set_xlim(0.008, 1)


def notes(rows: pd.DataFrame) -> list[str]:
    """What differs and why."""
    cycles = rows[rows["quantity"] == CYCLES].set_index(["form", "density"])["relative_error"] * 100
    crossing = storage_crossing()
    listed = cycles["coordinate list"].dropna()
    return [
        f"Cycles, bitmask: {SIDE}^3 at every density, as gating saves no time: {cycles['bitmask', 0.2]:+.1f} %; the "
        f"artefact takes {SIDE}^2 more; what for is not known here.",
        f"Cycles, coordinate list: d {SIDE}^3, the nonzeros of one operand, bounds it from below: "
        f"{listed.min():+.0f} to {listed.max():+.0f} %. The published ones double from 0.2 to 0.4 as well, "
        "but more than the products takes time there, and at 0.8 the bandwidth of the coordinates binds, so that the "
        "bitmask wins. That machine's widths and bandwidths are not known here, and none was fitted.",
        "Energy is not simulated, for the same reason. The published one crosses between densities of 0.04 and 0.08.",
        f"Storage, by formula, crosses at {crossing}: 1 / (2 log2 {SIDE}), whatever the width of a value is.",
    ]


FIGURE = PaperFigure(
    "sparse", "crossover", "Bitmask against coordinate list by density", "Sparseloop (MICRO 2022), Fig. 1",
    rows, plot, notes,
)  # fmt: skip

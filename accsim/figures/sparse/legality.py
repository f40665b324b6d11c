"""Which products of a training step each pattern speeds up, on each unit, and why not the others."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from accsim.figures import draw
from accsim.figures.draw import PUBLISHED_COLOUR
from accsim.figures.paper_figure import PaperFigure, beside, read_published
from accsim.report.plot_style import COLOURS, LIGHT, SMALL
from accsim.sparsity.legality import CONTRACTS, Verdict, legality
from accsim.sparsity.nm import NM, VNM
from accsim.sparsity.sparse_unit import (
    FLEXIBLE_TENSOR_CORE,
    SPARSE_TENSOR_CORE,
    SPARSE_TENSOR_CORE_TF32,
    VEGETA,
    VENOM_KERNEL,
)

UNITS = (SPARSE_TENSOR_CORE, SPARSE_TENSOR_CORE_TF32, VEGETA, FLEXIBLE_TENSOR_CORE, VENOM_KERNEL)
RULES: tuple[NM | VNM, ...] = (
    NM(2, 4), NM(1, 2), NM(1, 4), NM(2, 8), NM(2, 6), NM(4, 8), VNM(64, 2, 8), VNM(64, 2, 10),
)  # fmt: skip
BOTH = "k and n"
QUANTITY, MODE = "executed density", "legality rule"
MOST_RUN = 16
"""Largest denominator of a density."""

TINTS = {
    Verdict.RUNS: COLOURS[2],
    Verdict.PADDED: COLOURS[4],
    Verdict.RE_PRUNE: COLOURS[1],
    Verdict.WRONG_AXIS: COLOURS[3],
    Verdict.NOT_AN_OPERAND: LIGHT,
}
"""Colours of the verdicts that occur."""


def placed() -> list[tuple[str, str, NM | VNM]]:
    """(rule, axes, pattern): each rule along k, along n, and, of N:M, along both."""
    found: list[tuple[str, str, NM | VNM]] = []
    for rule in RULES:
        found += [(str(rule), axis, replace(rule, axis=axis)) for axis in ("k", "n")]
        if isinstance(rule, NM):
            found.append((str(rule), BOTH, replace(rule, transposable=True)))
    return found


def rows() -> pd.DataFrame:
    """A row for each pattern, unit and product."""
    found = [
        (rule, along, unit.name, entry.product, entry.verdict.value, entry.reason, float(entry.executed_density))
        for rule, along, pattern in placed()
        for unit in UNITS
        for entry in legality(pattern, unit).products
    ]
    columns = ["pattern", "along", "hardware", "product", "verdict", "reason", "simulated"]
    table = pd.DataFrame(found, columns=columns).assign(quantity=QUANTITY, unit="1", mode=MODE)
    return beside(table, read_published(__file__))


def plot(rows: pd.DataFrame) -> Figure:
    """A table of colours: patterns down, units and their products across."""
    figure, (axes,) = draw.panels("Patterns against units: which products gain, and how much is executed", 11.0, 6.6)
    patterns = list(rows[["pattern", "along"]].drop_duplicates().itertuples(index=False, name=None))
    columns = [(unit.name, product) for unit in UNITS for product in CONTRACTS]
    cells = rows.set_index(["pattern", "along", "hardware", "product"])
    for y, pattern in enumerate(patterns):
        for x, column in enumerate(columns):
            _cell(axes, x, y, cells.loc[(*pattern, *column)])
    for verdict, tint in TINTS.items():
        axes.bar(0, 0, color=tint, label=verdict.value)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(patterns) - 0.5, -0.5)
    axes.set_xticks(range(len(columns)), [product for _, product in columns], fontsize=SMALL - 1)
    axes.set_yticks(range(len(patterns)), [f"{rule} along {along}" for rule, along in patterns], fontsize=SMALL)
    axes.tick_params(length=0)
    _divide(axes, patterns)
    draw.add_legend(figure, [axes], len(TINTS))
    return figure


def _cell(axes: Axes, x: int, y: int, cell: pd.Series[Any]) -> None:
    """A coloured field, with the executed density where something is gained."""
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=TINTS[Verdict(cell["verdict"])], edgecolor="white"))
    if cell["simulated"] < 1:
        shown = str(Fraction(cell["simulated"]).limit_denominator(MOST_RUN))
        axes.text(x, y, shown, ha="center", va="center", fontsize=SMALL)


def _divide(axes: Axes, patterns: list[tuple[str, str]]) -> None:
    """Lines between units, whose names stand above, and between rules."""
    for place, unit in enumerate(UNITS):
        first = len(CONTRACTS) * place - 0.5
        modes = ", ".join(f"{n}:{m}" for n, m in unit.modes) + (", gathers" if unit.gathered_rows else "")
        axes.text(first + len(CONTRACTS) / 2, -0.7, f"{unit.name}\n{modes}", ha="center", va="bottom", fontsize=SMALL)
        axes.axvline(first, color=PUBLISHED_COLOUR, linewidth=0.8)
    for place, (before, after) in enumerate(pairwise(patterns)):
        if before[0] != after[0]:
            axes.axhline(place + 0.5, color=PUBLISHED_COLOUR, linewidth=0.8)


def notes(rows: pd.DataFrame) -> list[str]:
    """What differs and why."""
    differ = rows[rows["relative_error"].abs() > 1e-9]
    known = rows["published"].notna().sum()
    return [
        "Numbers: multiplications that are executed, as a share of the dense product's; none: all of them. The reason "
        "of each cell is in the CSV file. B[k,n] holds the weights; forward contracts k, dgrad n, wgrad m.",
        f"Published densities: {known - len(differ)} of {known} are met. 2:6 on a 2:4 unit is not: the artefact runs "
        "it at 1/2, but an aligned run of 4 of a 2:6 mask can hold 4 nonzeros: such a mask would need re-pruning.",
        "4:8 runs on none: a run of 4 can hold 4 of its nonzeros. Measured speedups of VEGETA and VENOM are of whole "
        "kernels or engines, not of the executed share, and are not compared here.",
        "Sparse weights alone gain 3 / (1/2 + 1 + 1) = 1.2 x in a training step with 2:4, and 1.5 x if transposable: "
        "wgrad writes the weights, so that their zeros are no operand's.",
    ]


FIGURE = PaperFigure(
    "sparse", "legality", "Patterns against units: what runs, in which product",
    "Mishra et al. (2021), Sparseloop (MICRO 2022), VENOM (SC 2023)", rows, plot, notes,
)  # fmt: skip

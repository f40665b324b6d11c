"""Which products of a training step each pattern speeds up, on each unit, and why not the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

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
from accsim.sparsity.patterns import Block, Channel, Unstructured, WeightPattern
from accsim.sparsity.sparse_unit import (
    BLOCK_SKIPPING,
    DENSITY_BOUND_BLOCKS,
    FLEXIBLE_TENSOR_CORE,
    LANE_SKIPPING,
    OUTER_PRODUCT,
    SPARSE_TENSOR_CORE,
    SPARSE_TENSOR_CORE_TF32,
    VEGETA,
    VEGETA_ROW_WISE,
    VENOM_KERNEL,
    SparseUnit,
)

UNITS: Mapping[SparseUnit, str] = {
    SPARSE_TENSOR_CORE: "2:4\na100, h100, h200", SPARSE_TENSOR_CORE_TF32: "1:2\nthe same, in TF32",
    VEGETA: "1:4, 2:4 of a tile", FLEXIBLE_TENSOR_CORE: "2:4, 2:6, 2:8\nstc_flexible",
    VENOM_KERNEL: "2:4, gathers columns", DENSITY_BOUND_BLOCKS: "1:8 to 7:8\ns2ta_like",
    VEGETA_ROW_WISE: "1:4, 2:4 of each row\nvegeta_like", OUTER_PRODUCT: "zeros of both operands\ndstc_like",
    LANE_SKIPPING: "zeros of one operand", BLOCK_SKIPPING: "blocks of 16 by 8",
}  # fmt: skip
"""What each unit takes, and the shipped machines that have it."""

RULES: tuple[NM | VNM, ...] = (
    NM(2, 4), NM(1, 2), NM(1, 4), NM(2, 8), NM(2, 6), NM(4, 8), VNM(64, 2, 8), VNM(64, 2, 10),
)  # fmt: skip
BOTH = "k and n"
QUARTER = Fraction(1, 4)
BLOCKS = tuple(Block(rows, cols, QUARTER) for rows, cols in ((32, 32), (16, 8), (8, 16), (4, 4)))
SHORT = {"m": 10, "n": 10, "k": 10}
"""Extents of a product that runs of 4 do not divide."""
QUANTITY, MODE = "executed density", "legality rule"
MOST_RUN = 16
"""Largest denominator of a density that is shown as a fraction."""

TINTS = {
    Verdict.RUNS: COLOURS[2],
    Verdict.PADDED: COLOURS[4],
    Verdict.RE_PRUNE: COLOURS[1],
    Verdict.WRONG_AXIS: COLOURS[3],
    Verdict.NO_STRUCTURE: COLOURS[6],
    Verdict.NO_UNIT: "#AAAAAA",
    Verdict.NOT_AN_OPERAND: LIGHT,
}
"""Colours of the verdicts that occur."""


class Placed(NamedTuple):
    """A pattern of the table: what it is called, the axes that it runs along, the extents that it is judged with."""

    rule: str
    along: str
    pattern: WeightPattern
    extents: Mapping[str, int] | None = None


def placed() -> list[Placed]:
    """Each rule along k, along n, and, of N:M, along both; blocks, channels and single zeros as they are."""
    found = []
    for rule in RULES:
        found += [Placed(str(rule), axis, replace(rule, axis=axis)) for axis in ("k", "n")]
        if isinstance(rule, NM):
            found.append(Placed(str(rule), BOTH, replace(rule, transposable=True)))
    found += [Placed("2:4 of 10 places", axis, NM(2, 4, axis), SHORT) for axis in ("k", "n")]
    found += [Placed(f"1/4 of blocks {block.rows} by {block.cols}", BOTH, block) for block in BLOCKS]
    found += [Placed("1/4 of channels", axis, Channel(QUARTER, axis)) for axis in ("k", "n")]
    return [*found, Placed("1/4 of all places", BOTH, Unstructured(QUARTER))]


def rows() -> pd.DataFrame:
    """A row for each pattern, unit and product."""
    found = [
        (one.rule, one.along, unit.name, e.product, e.verdict.value, e.reason, float(e.executed_density))
        for one in placed()
        for unit in UNITS
        for e in legality(one.pattern, unit, extents=one.extents).products
    ]
    columns = ["pattern", "along", "hardware", "product", "verdict", "reason", "simulated"]
    table = pd.DataFrame(found, columns=columns).assign(quantity=QUANTITY, unit="1", mode=MODE)
    return beside(table, read_published(__file__))


def plot(rows: pd.DataFrame) -> Figure:
    """A table of colours: patterns down, units and their products across."""
    figure, (axes,) = draw.panels("Patterns against units: which products gain, and how much is executed", 17.5, 8.4)
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
        share = Fraction(cell["simulated"]).limit_denominator(MOST_RUN)
        shown = str(share) if abs(share - cell["simulated"]) < 1e-6 else f"{cell['simulated']:.3f}"
        axes.text(x, y, shown, ha="center", va="center", fontsize=SMALL)


def _divide(axes: Axes, patterns: list[tuple[str, str]]) -> None:
    """Lines between units, whose names stand above, and between rules."""
    for place, unit in enumerate(UNITS):
        first = len(CONTRACTS) * place - 0.5
        said = f"{unit.name}\n{UNITS[unit]}"
        axes.text(first + len(CONTRACTS) / 2, -0.7, said, ha="center", va="bottom", fontsize=SMALL)
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
        "4:8 runs where runs are of 8, or zeros are skipped one by one: a run of 4 can hold 4 of its nonzeros. "
        "Measured speedups of VEGETA and VENOM are of whole kernels or engines, not of the executed share, and are not "
        "compared here.",
        "Runs that do not divide the 10 places are filled up. Rows in modes of their own: each 64 places long, at the "
        "n of 4 of its fullest run. Where single zeros are skipped the density is a bound: lanes and packed vectors "
        "wait for the fullest. A dropped channel makes all three products smaller, on any unit.",
        "Sparse weights alone gain 3 / (1/2 + 1 + 1) = 1.2 x in a training step with 2:4, and 1.5 x if transposable: "
        "wgrad writes the weights, so that their zeros are no operand's.",
    ]


FIGURE = PaperFigure(
    "sparse", "legality", "Patterns against units: what runs, in which product",
    "Mishra et al. (2021), Sparseloop (MICRO 2022), VENOM (SC 2023)", rows, plot, notes,
)  # fmt: skip

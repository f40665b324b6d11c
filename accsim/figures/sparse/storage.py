"""Bits that an element takes by storage format and density: by formula, and as encoded masks are long."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, beside, read_published
from accsim.report.plot_style import GREY
from accsim.sparsity.base import Bools
from accsim.sparsity.bitstream import Codes, index_bits
from accsim.sparsity.formats import BITMASK, COO, CSR, NMIndex, entropy_bound_bits
from accsim.sparsity.formats_uneven import BlockEllpack, RunLength
from accsim.sparsity.masks import draw_mask
from accsim.sparsity.nm import NM
from accsim.sparsity.patterns import Unstructured
from accsim.sparsity.storage import StorageFormat, encode

SIDE = 256
"""Rows and columns of the matrices."""

MASKS = 8
"""Masks drawn for each density; their mean is shown, with its standard error."""

VALUE_BITS = (16, 8)
DENSITIES = (*(Fraction(1, 2**power) for power in range(7, 0, -1)), Fraction(3, 4), Fraction(1))
PATTERNS = (NM(2, 4), NM(1, 4), NM(2, 8), NM(1, 8))
FORMATS: Mapping[str, StorageFormat] = {
    "bitmask": BITMASK, "CSR": CSR, "COO": COO, "run length (4)": RunLength(4),
    "block ELLPACK (4x4)": BlockEllpack(4, 4),
}  # fmt: skip
NM_INDEX, LEAST = "N:M index", "least, N:M"
FORMULA, ENCODED = "formula", "encoded masks"
BITS, UNSTRUCTURED = "bits an element", "unstructured"
WORD_BITS = 32


def rows() -> pd.DataFrame:
    """Unstructured masks by density, N:M masks by pattern, and the one size that another simulator publishes."""
    cases: list[tuple[str, NM | Unstructured, Fraction]] = [(str(rule), rule, rule.density) for rule in PATTERNS]
    cases += [(UNSTRUCTURED, Unstructured(density=density), density) for density in DENSITIES]
    found = [row for bits in VALUE_BITS for case in cases for row in _case(*case, bits)]
    columns = ["form", "case", "density", "value_bits", "mode", "simulated", "standard_error"]
    table = pd.DataFrame(found, columns=columns).assign(quantity=BITS, unit="bit")
    return beside(pd.concat([table, _scale_sim()], ignore_index=True), read_published(__file__))


def _case(name: str, pattern: NM | Unstructured, density: Fraction, bits: int) -> list[tuple[object, ...]]:
    """Every format's bits an element for masks of one pattern."""
    shape = (SIDE, SIDE)
    forms: dict[str, StorageFormat] = dict(FORMATS)
    if isinstance(pattern, NM):
        forms = {NM_INDEX: NMIndex(pattern.n, pattern.m), **forms}
    found: list[tuple[object, ...]] = []
    for label, form in forms.items():
        if form.linear or not isinstance(pattern, NM):
            formula = float(form.expected_bits(SIDE, SIDE, density, bits)) / SIDE**2
            found.append((label, name, float(density), bits, FORMULA, formula, math.nan))
        masks = [draw_mask(pattern, shape, seed) for seed in range(MASKS)]
        sizes = [encode(form, codes_of(mask, bits), bits).bits / SIDE**2 for mask in masks]
        error = float(np.std(sizes, ddof=1)) / math.sqrt(MASKS)
        found.append((label, name, float(density), bits, ENCODED, float(np.mean(sizes)), error))
    if isinstance(pattern, NM):
        least = entropy_bound_bits(pattern.n, pattern.m, bits)
        found.append((LEAST, name, float(density), bits, FORMULA, least, math.nan))
    return found


def codes_of(mask: Bools, bits: int) -> Codes:
    """Codes from 1 to 2^bits − 1 where the mask has its places, 0 elsewhere."""
    values = np.arange(mask.size, dtype=np.uint64).reshape(mask.shape) % np.uint64(2**bits - 1)
    codes: Codes = (values + np.uint64(1)) * mask
    return codes


def _scale_sim() -> pd.DataFrame:
    """Words that the filters of SCALE-Sim's test take: half of each run of 4, and where each lies in its run."""
    height, width, form = 363, 96, NMIndex(2, 4)
    bits = float(form.expected_bits(height, width, Fraction(1, 2), WORD_BITS))
    metadata = bits * index_bits(form.m) / (WORD_BITS + index_bits(form.m))
    words = {"stored size": bits / WORD_BITS, "metadata size": metadata / WORD_BITS}
    table = pd.DataFrame({"quantity": words.keys(), "simulated": words.values()})
    return table.assign(
        form="block slots", case="SCALE-Sim 363x96", density=0.5, value_bits=WORD_BITS, mode=FORMULA, unit="word"
    )


def plot(rows: pd.DataFrame) -> Figure:
    """Unstructured masks by density on the left, N:M patterns as bars on the right; a row for each value width."""
    figure, axes = draw.panels("Bits an element by storage format", 11.0, 7.0, len(VALUE_BITS), 2)
    some = rows[rows["quantity"] == BITS]
    for line, bits in enumerate(VALUE_BITS):
        here = some[some["value_bits"] == bits]
        _by_density(axes[2 * line], here[here["case"] == UNSTRUCTURED], bits)
        _by_pattern(axes[2 * line + 1], here[here["case"] != UNSTRUCTURED], bits)
    draw.add_legend(figure, axes, 4)
    return figure


def _colours() -> dict[str, str]:
    return draw.style([*FORMATS, NM_INDEX, LEAST])


def _by_density(axes: Axes, rows: pd.DataFrame, bits: int) -> None:
    """Lines by formula, points of encoded masks."""
    colour = _colours()
    for name in FORMATS:
        here = rows[rows["form"] == name]
        formula, encoded = (here[here["mode"] == mode] for mode in (FORMULA, ENCODED))
        axes.plot(formula["density"], formula["simulated"], color=colour[name], linewidth=1.2)
        axes.plot(encoded["density"], encoded["simulated"], "o", color=colour[name], markersize=4)
    axes.axhline(bits, color=GREY, linewidth=0.8, linestyle="--", label="dense")
    draw.values_axis(axes, rows["density"], lambda density: str(Fraction(density)))
    draw.log_axis(axes)
    draw.label(axes, f"unstructured, values of {bits} bits: formulas (lines), encoded masks (points)", "density", BITS)


def _by_pattern(axes: Axes, rows: pd.DataFrame, bits: int) -> None:
    """Bars: encoded masks, and the least that any format needs."""
    shown = rows[(rows["mode"] == ENCODED) | (rows["form"] == LEAST)]
    table = shown.pivot(index="case", columns="form", values="simulated")
    names = [str(pattern) for pattern in PATTERNS]
    series = {form: table.loc[names, form].tolist() for form in (LEAST, NM_INDEX, *FORMATS)}
    draw.bars(axes, names, series, colours=_colours())
    draw.label(axes, f"N:M along k, values of {bits} bits", "pattern", BITS)


def notes(rows: pd.DataFrame) -> list[str]:
    """What was met, and what must be known."""
    scale_sim = rows[rows["quantity"] == "stored size"]["relative_error"].item()
    return [
        f"Matrices of {SIDE} x {SIDE}; pointers of CSR included; indices as narrow as they can be. Points: means of "
        f"{MASKS} masks, encoded bit for bit. Bars are of encoded masks.",
        "Bitmask, CSR, COO and N:M index depend on the number of nonzeros alone, and formula and encoder agree "
        "exactly. The formulas of the other two are means over independent places; they hold for no N:M pattern.",
        "The least for N:M is (n/m) b + log2 C(m, n) / m: no format that tells all masks apart needs fewer bits.",
        f"SCALE-Sim v3's filters of 363 x 96 words ({100 * scale_sim:+.1f} % here): it stores and indexes 184 slots a "
        "column, as many as 92 runs of 4 have; 363 elements fill 91.",
    ]


FIGURE = PaperFigure(
    "sparse", "storage", "Bits an element by storage format and density", "nowhere; one size in SCALE-Sim v3's test",
    rows, plot, notes,
)  # fmt: skip

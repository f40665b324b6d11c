"""Signal to quantization noise of number formats on normal values, by bits a value and by the size of the values."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, compared
from accsim.report.plot_style import COLOURS, GREY, LIGHT, place_labels
from accsim.sparsity.elements import Floats
from accsim.sparsity.number_formats import number_format
from accsim.sparsity.quantize import quantize

SHAPE = (64, 4096)
"""Rows, and values of a row, along which scales are shared."""

FORMATS = (
    "fp8_e4m3", "fp8_e5m2", "int8", "int4", "hbfp8", "hbfp6", "hbfp4", "mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e2m3",
    "mxfp6_e3m2", "mxfp4", "mxint8", "nvfp4",
)  # fmt: skip
BY_SIZE = ("fp8_e4m3", "fp8_e5m2", "int8", "hbfp8", "mxfp8_e4m3", "nvfp4")
POWERS = tuple(range(-16, 17, 4))
"""Logarithms of the standard deviations of the values; the scales of blocks follow powers of two exactly."""

FAMILIES = {"fp8": COLOURS[0], "int": COLOURS[1], "hbfp": COLOURS[2], "mx": COLOURS[3], "nv": COLOURS[5]}
MODE = "drawn values"
RATIO_DB, ERROR = "signal to noise", "relative error"


def rows() -> pd.DataFrame:
    """Relative error (root mean square) and its ratio in dB, with the standard error of each, by format and size."""
    values = normal_values()
    found = [
        (name, number_format(name).bits, power, *row)
        for name in FORMATS
        for power in (POWERS if name in BY_SIZE else (0,))
        for row in _measured(values * 2.0**power, name)
    ]
    columns = ["form", "bits_per_value", "log2_size", "quantity", "unit", "simulated", "standard_error"]
    return compared(pd.DataFrame(found, columns=columns).assign(mode=MODE))


def normal_values(seed: int = 0) -> Floats:
    """Independent values of the standard normal distribution."""
    return np.random.default_rng(seed).standard_normal(SHAPE)


def _measured(values: Floats, name: str) -> list[tuple[str, str, float, float]]:
    """The two quantities with their standard errors, by the rows as independent samples."""
    lost = ((quantize(values, name) - values) ** 2).mean(axis=1) / (values**2).mean()
    share = float(lost.mean())
    spread = float(lost.std(ddof=1)) / math.sqrt(len(lost)) / share
    return [
        (ERROR, "1", math.sqrt(share), math.sqrt(share) * spread / 2),
        (RATIO_DB, "dB", -10 * math.log10(share), 10 / math.log(10) * spread),
    ]


def plot(rows: pd.DataFrame) -> Figure:
    """Against bits a value, and against the size of the values."""
    figure, (left, right) = draw.panels("Number formats on normal values", 11.0, 4.6, 1, 2)
    ratio = rows[rows["quantity"] == RATIO_DB]
    unit = ratio[ratio["log2_size"] == 0]
    bits = np.array([3.5, 8.75])
    left.plot(bits, 20 * math.log10(2) * bits, color=GREY, linewidth=0.8, linestyle="--", label="bound, 6.02 dB a bit")
    points = list(zip(unit["form"], unit["bits_per_value"], unit["simulated"], strict=True))
    for name, width, height in points:
        left.plot(width, height, "o", color=_tint(name), markersize=5)
    left.set_ylim(10, 55)
    left.set_xlim(3.5, 9.4)
    left.grid(color=LIGHT, linewidth=0.6)
    draw.label(left, "standard deviation 1", "bits a value", "signal to noise (dB)")
    for place, name in enumerate(BY_SIZE):
        line = ratio[ratio["form"] == name]
        right.plot(line["log2_size"], line["simulated"], "-o", color=COLOURS[place], markersize=3.5, label=name)
    right.set_xticks(POWERS)
    right.grid(color=LIGHT, linewidth=0.6)
    right.set_ylim(0)
    draw.label(right, "by the size of the values", "log₂ of the standard deviation")
    draw.add_legend(figure, [left, right], 7)
    place_labels(left, [(width, height, 2.5, name) for name, width, height in points])
    return figure


def _tint(name: str) -> str:
    return next(colour for family, colour in FAMILIES.items() if name.startswith(family))


def notes(rows: pd.DataFrame) -> list[str]:
    """What must be known."""
    unit = rows[(rows["log2_size"] == 0) & (rows["quantity"] == RATIO_DB)].set_index("form")
    least = (unit["bits_per_value"] * 20 * math.log10(2) - unit["simulated"]).min()
    four = unit["simulated"]
    return [
        f"{SHAPE[0]} rows of {SHAPE[1]} normal values; a row shares the scale of int8 and int4. Signal to noise: "
        "mean square of the values over that of the errors. The CSV file has standard errors.",
        "Dashed: no code of b bits a value does better than 6.02 b dB on normal values (rate-distortion bound, Shannon "
        f"1959). The nearest format stays {least:.1f} dB below.",
        f"Four bits: nvfp4 {four['nvfp4']:.1f} dB, mxfp4 {four['mxfp4']:.1f}, hbfp4 {four['hbfp4']:.1f}, int4 by rows "
        f"{four['int4']:.1f}. Small blocks with fine scales gain most.",
        "fp8 without scales loses values outside of its range: it is what a scale of the whole tensor has to prevent.",
        "Nothing published is of this quantity: errors in papers are those of trained weights or of a model's answers.",
    ]


FIGURE = PaperFigure(
    "sparse", "formats", "Number formats: signal to noise by bits a value", "nowhere: our own", rows, plot, notes
)

"""Weights pruned 2:4: speedups of a file of measured times, beside an ideal unit's and the engine's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accsim.errors import Problem
from accsim.figures import draw
from accsim.figures.paper_figure import DataFile, PaperFigure, compared
from accsim.figures.sparse.runs import ENGINE, IDEAL, SPEEDUP, both_speedups
from accsim.sparsity.nm import NM
from accsim.validate.table import Rows, choice, count, positive, text
from accsim.workload.ops import Gemm

MACHINES = {"A100": "a100_pcie", "H100": "h100_pcie"}
"""GPU of a row to the machine."""

PATTERN, DENSE = "2_4", "dense"
CASE = ["gpu", "dtype", "model", "M", "N", "K"]
SOURCE = "data of github.com/bcacdwk/vllmbench (Apache-2.0)"
SQUARE = "square"
COLUMNS = (
    choice("gpu", *MACHINES), choice("pattern", PATTERN, DENSE), choice("dtype", "BF16", "FP16", "INT8"), text("model"),
    count("M"), count("N"), count("K"), positive("best_us"),
)  # fmt: skip


def check(data: Rows) -> list[Problem]:
    """Each case has one dense and one sparse time."""
    cases: dict[tuple[Any, ...], list[str]] = {}
    for *case, pattern in zip(*(data[name] for name in (*CASE, "pattern")), strict=True):
        cases.setdefault(tuple(case), []).append(pattern)
    return [
        Problem(
            "", " ".join(map(str, case)), f"read the patterns {', '.join(found)}; needed are one {DENSE}, one {PATTERN}"
        )
        for case, found in cases.items()
        if sorted(found) != sorted((DENSE, PATTERN))
    ]


def rows(data: Rows) -> pd.DataFrame:
    """Two speedups of each case."""
    table = pd.DataFrame({name: data[name] for name in (*CASE, "pattern", "best_us")})
    times = table.pivot(index=CASE, columns="pattern", values="best_us").reset_index()
    found = [
        (*case, mode, measured, value)
        for case, measured in zip(times[CASE].to_numpy(), times[DENSE] / times[PATTERN], strict=True)
        for mode, value in _speedups(*case)
    ]
    full = pd.DataFrame(found, columns=[*CASE, "mode", "published", "simulated"])
    return compared(full.assign(quantity=SPEEDUP, unit="1", source=SOURCE, confidence="high"))


def _speedups(gpu: str, dtype: str, _: str, m: int, n: int, k: int) -> Iterator[tuple[str, float]]:
    """Of one case, by mode."""
    yield from both_speedups(Gemm(m, n, k, dtype=dtype.lower(), sparsity=NM(2, 4)), MACHINES[gpu]).items()


def plot(rows: pd.DataFrame) -> Figure:
    """A panel for each size of the weights, and one for the square products; then the errors by size."""
    lines = dict(tuple(rows.groupby(_line(rows), sort=False)))
    shown = sorted(lines, key=lambda name: -len(lines[name]))[:5]
    figure, axes = draw.panels("2:4 weights: measured speedups by shape", 11.0, 6.4, 2, 3)
    for panel, name in zip(axes, shown, strict=False):
        _by_rows(panel, lines[name])
        draw.label(panel, name, "rows", SPEEDUP)
    for mode, colour in draw.style([IDEAL, ENGINE]).items():
        some = rows[rows["mode"] == mode]
        axes[5].plot(_work(some), 100 * some["relative_error"], "o", color=colour, markersize=3)
    axes[5].axhline(0, color=draw.PUBLISHED_COLOUR, linewidth=0.8)
    axes[5].set_xscale("log")
    draw.label(axes[5], "errors of all shapes", "multiplications", "error (%)")
    for panel in axes[len(shown) : 5]:
        panel.set_visible(False)
    draw.add_legend(figure, axes, 4)
    return figure


def _work(rows: pd.DataFrame) -> pd.Series[float]:
    return rows["M"].astype(float) * rows["N"] * rows["K"]


def _line(rows: pd.DataFrame) -> pd.Series[str]:
    """Name of the line of each row: its GPU, data type, and the sides of its weights, or that it is square."""
    sides = rows["N"].astype(str) + " x " + rows["K"].astype(str)
    square = (rows["M"] == rows["N"]) & (rows["N"] == rows["K"]) & (rows["model"].str.lower() == SQUARE)
    return rows["gpu"] + " " + rows["dtype"] + ", " + sides.where(~square, SQUARE)


def _by_rows(axes: Axes, rows: pd.DataFrame) -> None:
    colour = draw.style([IDEAL, ENGINE])
    for mode in (IDEAL, ENGINE):
        some = rows[rows["mode"] == mode].sort_values("M")
        axes.plot(some["M"], some["simulated"], color=colour[mode], label=mode)
    axes.plot(some["M"], some["published"], "-o", color=draw.PUBLISHED_COLOUR, ms=3.5, lw=0.8, label="measured")
    draw.values_axis(axes, some["M"].to_numpy()[::2], lambda length: draw.tokens(int(length)))
    axes.set_ylim(0.6, 2.1)


def notes(rows: pd.DataFrame) -> list[str]:
    """How far off, and why."""
    engine = rows[rows["mode"] == ENGINE]
    error = 100 * engine["relative_error"]
    ideal = 100 * rows[rows["mode"] == IDEAL]["relative_error"]
    slower = (engine["published"] < 1).sum()
    return [
        f"Mean absolute error of the speedup over {len(engine)} shapes: engine {error.abs().mean():.0f} %, ideal unit "
        f"{ideal.abs().mean():.0f} %. Nothing was fitted to these rows.",
        "Measured: best algorithm of cuBLASLt (dense) and cuSPARSELt (2:4). In "
        f"{slower} shapes the sparse one is slower; here both launch alike, and a unit never loses by its pattern.",
        "Engine: at the full clock; a board that lowers its clock gains otherwise. Its ceiling is the L2, which reads "
        "all of the other operand in half of the time.",
    ]


FIGURE = PaperFigure(
    "sparse", "measured", "2:4 weights: speedups of a file of measured times, by shape", SOURCE,
    rows, plot, notes, DataFile(f"sparse24_calibration.csv, from the {SOURCE}", COLUMNS, check),
)  # fmt: skip

"""V:N:M weights of VENOM: published speedups by pattern, beside an ideal gathering unit's and the engine's."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, beside, read_published
from accsim.figures.sparse.runs import ENGINE, IDEAL, SPEEDUP, both_speedups, ideal_s, machine
from accsim.sparsity.nm import VNM
from accsim.sparsity.sparse_unit import VENOM_KERNEL
from accsim.workload.ops import Gemm

GPU = "rtx_3090"
CASE = ["v", "pattern", "m", "n", "k"]
HEIGHT = 64
"""V where the published speedup is the best of several, which are not told: the one of the paper's whole models."""

DENSE_CASE = Gemm(4096, 768, 768, dtype="fp16")
CUBLAS_US = 121.8
"""Microseconds of the dense product. Source: UDC-GAC/venom result/baseline_a.csv, Fig. 12."""

CEILING = "work left out"


def rows() -> pd.DataFrame:
    """Three speedups of each published case."""
    published = read_published(__file__)
    found = [(*case, *speedup) for case in published[CASE].drop_duplicates().to_numpy() for speedup in _speedups(*case)]
    table = pd.DataFrame(found, columns=[*CASE, "mode", "simulated"])
    return beside(table.assign(quantity=SPEEDUP, unit="1"), published)


def _speedups(v: int, pattern: str, m: int, n: int, k: int) -> Iterator[tuple[str, float]]:
    """Of one case, by mode."""
    kept, of = map(int, pattern.split(":"))
    op = Gemm(m, n, k, dtype="fp16", sparsity=VNM(v or HEIGHT, kept, of))
    yield CEILING, of / kept
    yield from both_speedups(op, GPU, VENOM_KERNEL).items()


def plot(rows: pd.DataFrame) -> Figure:
    """A panel for each product."""
    shapes = rows[["m", "n", "k"]].drop_duplicates().itertuples(index=False)
    figure, axes = draw.panels("V:N:M weights: speedup over the dense product, RTX 3090", 11.0, 3.9, 1, 4)
    for panel, (m, n, k) in zip(axes, shapes, strict=True):
        here = rows[(rows["m"] == m) & (rows["n"] == n) & (rows["k"] == k)]
        _by_pattern(panel, here.assign(of=here["pattern"].str.split(":").str[1].astype(int)))
        draw.label(panel, f"{m} x {n} x {k}", "M of V:2:M", SPEEDUP if panel is axes[0] else "")
    draw.add_legend(figure, axes, 4)
    return figure


def _by_pattern(axes: Axes, rows: pd.DataFrame) -> None:
    colour = draw.style([CEILING, IDEAL, ENGINE])
    for mode, line in ((CEILING, ":"), (IDEAL, "-"), (ENGINE, "-o")):
        here = rows[rows["mode"] == mode].sort_values("of")
        axes.plot(here["of"], here["simulated"], line, color=colour[mode], markersize=3.5, label=mode)
    axes.plot(here["of"], here["published"], "-s", color=draw.PUBLISHED_COLOUR, ms=4, lw=0.8, label=draw.PUBLISHED)
    draw.values_axis(axes, here["of"])
    axes.set_ylim(0.9, 60)
    draw.log_axis(axes)


def notes(rows: pd.DataFrame) -> list[str]:
    """What differs and why."""
    error = 100 * rows[rows["mode"] == ENGINE].set_index("pattern")["relative_error"]
    by_pattern = ", ".join(
        f"{pattern} {some.min():+.0f} to {some.max():+.0f} %" for pattern, some in error.groupby(level=0, sort=False)
    )
    ideal = 100 * rows[rows["mode"] == IDEAL]["relative_error"]
    dense = ideal_s(DENSE_CASE, machine(GPU)) * 1e6
    return [
        f"Engine, by pattern: {by_pattern}. A pattern runs in the fastest way that the machine has for it: "
        "docs/sparse_gemm.md says which.",
        "Ideal unit: gathers just the four columns of each M that a block keeps and runs 2:4 in them; launch, then the "
        f"longer of multiplications and operands through memory, at peak. {ideal.min():+.0f} to {ideal.max():+.0f} %: "
        "too fast where multiplications bind, as the kernel reads column indices first; too slow from 2:40 on, where "
        "the activations' way through memory binds.",
        f"The latter has two causes: the dense product, for which cuBLAS takes {CUBLAS_US:g} us at 4096 x 768 x 768 "
        f"(Fig. 12) and an ideal unit {dense:.0f}; and blocks that keep few columns need not read all activations.",
        f"V is {HEIGHT} where the best of several was published. RTX 3090: the L40S with the white paper's clock, SMs "
        "and memory. Nothing was fitted.",
    ]


FIGURE = PaperFigure(
    "sparse", "venom", "V:N:M weights: speedup by pattern", "VENOM (SC 2023), Figs. 9 and 13", rows, plot, notes
)

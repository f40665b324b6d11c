"""Weights pruned 2:4: measured speedups of products against shape, beside an ideal unit's and the engine's."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, beside, read_published
from accsim.figures.sparse.runs import DENSE_ROWS, ENGINE, IDEAL, SPARSE_ROWS, SPEEDUP, both_speedups
from accsim.report.plot_style import SMALL
from accsim.sparsity.nm import NM
from accsim.workload.ops import Gemm

PATTERN = NM(2, 4)
CEILING = 2.0
CASE = ["gpu", "machine", "library", "dtype", "m", "n", "k"]
BY_K = "RTX 3090"
"""GPU whose shapes differ in k alone."""


def rows() -> pd.DataFrame:
    """Two speedups of each published case."""
    published = read_published(__file__)
    run = ["machine", "dtype", "m", "n", "k"]
    found = [
        (*case, *speedup)
        for case, how in zip(published[CASE].to_numpy(), published[run].to_numpy(), strict=True)
        for speedup in _speedups(*how)
    ]
    table = pd.DataFrame(found, columns=[*CASE, "mode", "simulated"])
    return beside(table.assign(quantity=SPEEDUP, unit="1"), published)


def _speedups(machine: str, dtype: str, m: int, n: int, k: int) -> Iterable[tuple[str, float]]:
    """Of one case, by mode."""
    return both_speedups(Gemm(m, n, k, dtype=dtype, sparsity=PATTERN), machine).items()


def plot(rows: pd.DataFrame) -> Figure:
    """A group of bars a case; below, lines by k."""
    figure, (above, below) = draw.panels("2:4 weights: speedup over the dense product", 11.0, 6.6, 2, 1)
    single = rows[rows["gpu"] != BY_K]
    names = [
        f"{gpu}\n{library}\n{m} x {n}\nx {k}"
        for gpu, library, m, n, k in single[["gpu", "library", "m", "n", "k"]].drop_duplicates().itertuples(index=False)
    ]
    series = {mode: single[single["mode"] == mode]["simulated"].tolist() for mode in (IDEAL, ENGINE)}
    measured = single[single["mode"] == ENGINE]["published"].tolist()
    draw.bars(above, names, {draw.PUBLISHED: measured, **series})
    above.tick_params(axis="x", labelsize=SMALL - 1.5)
    draw.label(above, "measured by users and library authors; rows x outputs x contracted", "", SPEEDUP)
    by_k = rows[rows["gpu"] == BY_K]
    colour = draw.style([IDEAL, ENGINE])
    for outputs, line, marker in zip(sorted(by_k["n"].unique()), ("-", "--"), "os", strict=True):
        here = by_k[by_k["n"] == outputs]
        for mode in (IDEAL, ENGINE):
            some = here[here["mode"] == mode]
            below.plot(some["k"], some["simulated"], line, color=colour[mode])
        some = here[here["mode"] == ENGINE]
        label = f"{draw.PUBLISHED}, {outputs} outputs"
        below.plot(
            some["k"], some["published"], line, marker=marker, color=draw.PUBLISHED_COLOUR, label=label, linewidth=0.8
        )
    draw.values_axis(below, by_k["k"])
    below.set_ylim(0.9)
    below.axhline(CEILING, color=draw.PUBLISHED_COLOUR, linewidth=0.8, linestyle=":", label="half of the work")
    draw.label(below, f"{BY_K}, cuSPARSELt over cuBLAS, 4096 rows", "contracted", SPEEDUP)
    draw.add_legend(figure, [above, below], 6)
    return figure


def notes(rows: pd.DataFrame) -> list[str]:
    """What differs and why."""
    errors = 100 * rows[rows["mode"] == ENGINE]["relative_error"]
    near = errors.abs() <= 15
    ideal = 100 * rows[rows["mode"] == IDEAL]["relative_error"]
    return [
        "Ideal unit: launch, then the longer of multiplications and of operands through main memory, both at peak; "
        f"rows in multiples of {SPARSE_ROWS} (dense: {DENSE_ROWS}). It is {ideal.median():+.0f} % off in the median.",
        f"Engine: within 15 % in {near.sum()} of {len(errors)} cases. Its sparse kernel equals the dense one and "
        "reads all of the other operand in half of the time: on the A100 and H100 the L2 binds. Nothing was fitted.",
        "Below 1 are kernels, not units: a vector that the library pads to 32 columns; on an H100, a kernel for "
        "Ampere's instructions against a dense one for Hopper's. No model here is of those.",
        "RTX 3090: the L40S with the white paper's clock, SMs and memory. The library gains little with 768 outputs, "
        "where VENOM's own 2:4 kernel gains 1.5 to 1.9: what differs is not modelled.",
    ]


FIGURE = PaperFigure(
    "sparse", "two_four", "2:4 weights: measured speedups by shape, beside an ideal unit's",
    "PyTorch, CUTLASS and CUDALibrarySamples issues; VENOM (SC 2023), Fig. 12", rows, plot, notes,
)  # fmt: skip

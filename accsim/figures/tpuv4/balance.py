"""DLRM0 in balance: its dense network made smaller until SparseCore and TensorCore take as long, and its growth."""

from __future__ import annotations

import math
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, beside, read_published
from accsim.figures.tpu_steps import SAMPLES, V4, step
from accsim.report.plot_style import LIGHT
from accsim.system import StepReport

MODEL, CHIPS = "dlrm0_like", 128
WIDTHS: Final = (4096, 4096, 4096, 4096, 1920)
"""Of the top layers of DLRM0-like, but the last."""
SCALES: Final = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
"""Of these widths."""
YEARS: Final = (2017, 2018, 2019, 2020, 2021, 2022)
GROWTH: Final = {"growth of dense weights": 4.2, "growth of embeddings": 3.8}
SPARSE, DENSE, STEP = "SparseCore and links", "TensorCore and all-reduce", "step"
BEFORE: Final = 0.75
"""Sparse over dense time of DLRM0 as it was, as published."""
AS_IT_WAS, RATIO = "as it was", "sparse over dense time"


def rows() -> pd.DataFrame:
    """Halves by width, what balance would gain, and steps by year."""
    found: list[tuple[object, ...]] = []
    for scale in SCALES:
        for part, value in _halves(_step(scale, 1.0)).items():
            found.append((f"widths x {scale:g}", scale, f"time of {part}", "ms", "pipelined", 1e3 * value))
    now = _halves(_step(1.0, 1.0))
    found.append((AS_IT_WAS, None, RATIO, "x", "pipelined", now[SPARSE] / now[DENSE]))
    found.append(
        ("searched over as it was", None, "least speedup of a step", "x", "equal work, halves made equal", _gain())
    )
    for year in YEARS:
        share = (year - YEARS[0]) / (YEARS[-1] - YEARS[0])
        dense, tables = (growth ** (share - 1) for growth in GROWTH.values())
        halves = _halves(_step(math.sqrt(dense), tables))
        for quantity, value in (("growth of dense weights", dense), ("growth of embeddings", tables)):
            found.append((str(year), year, f"{quantity}, assumed even", "x", "exponential", value * GROWTH[quantity]))
        for part, value in halves.items():
            found.append((str(year), year, f"time of {part}", "ms", "pipelined", 1e3 * value))
    table = pd.DataFrame(found, columns=["case", "x", "quantity", "unit", "mode", "simulated"])
    return beside(table, read_published(__file__))


def _step(scale: float, tables: float) -> StepReport:
    """DLRM0-like with its top layers so much wider and its tables so much longer."""
    widths = "-".join(str(max(8, 8 * round(width * scale / 8))) for width in WIDTHS)
    return step(MODEL, V4, CHIPS, model_changes=(("hyperparameters.top_mlp", f"{widths}-1"),), rows=tables)


def _halves(found: StepReport) -> dict[str, float]:
    sparse, dense = (run.time_s for run in found.spans[0].runs)
    return {SPARSE: sparse, DENSE: dense, STEP: found.step_s}


def _gain() -> float:
    """Speedup of a step if the work of both halves together stays and is dealt evenly: 1 over (1 + 0.75) / 2."""
    return 2 / (1 + BEFORE)


def plot(rows: pd.DataFrame) -> Figure:
    """Halves by width and by year."""
    figure, axes = draw.panels("DLRM0-like on 128 chips of TPU v4: halves of a step", 10.0, 3.8, 1, 2)
    colour = draw.style([SPARSE, DENSE, STEP])
    timed = rows[rows["quantity"].str.startswith("time of")]
    for panel, here in ((axes[0], timed[timed["x"] < YEARS[0]]), (axes[1], timed[timed["x"] >= YEARS[0]])):
        for part, dash in ((SPARSE, "-o"), (DENSE, "--s"), (STEP, "-.^")):
            line = here[here["quantity"] == f"time of {part}"]
            panel.plot(line["x"], line["simulated"], dash, color=colour[part], markersize=4, label=part)
        panel.set_ylim(0)
        panel.grid(color=LIGHT, linewidth=0.6)
    draw.values_axis(axes[0], SCALES)
    draw.label(axes[0], "by width of the top layers", "times those of DLRM0-like", "time (ms)")
    axes[1].set_xticks(YEARS)
    draw.label(axes[1], "by year, grown evenly to that of 2022", "", "time (ms)")
    draw.add_legend(figure, axes, 4)
    return figure


def notes(rows: pd.DataFrame) -> list[str]:
    """What is simulated and what is arithmetic."""
    value = rows[rows["case"] == "searched over as it was"]["simulated"].iloc[0]
    ratio = rows[rows["quantity"] == RATIO].iloc[0]
    times = rows.set_index(["case", "quantity"])["simulated"]
    narrower = times["widths x 0.7", f"time of {SPARSE}"] / times["widths x 0.7", f"time of {DENSE}"]
    grown = {part: times["2022", f"time of {part}"] / times["2017", f"time of {part}"] for part in (SPARSE, STEP)}
    return [
        f"A step takes as long as its longer half. Published: DLRM0's SparseCores idled a quarter of the time, and "
        f"a search that made both halves nearly equal gained more than 10 %. Dealt evenly, the same work "
        f"gains {value:.2f} x: arithmetic, not simulation.",
        f"DLRM0-like has a ratio of {ratio['simulated']:.2f} (published {BEFORE}, {100 * ratio['relative_error']:+.0f} "
        f"%), set up as in the other figures of it: {SAMPLES:,} samples a chip, tables where the placer puts them, "
        "duplicates dropped by owners. Only totals of the model are published. Layers of 0.7 times the width bring it "
        f"to {narrower:.2f}.",
        "Dense weights grew 4.2 x and embeddings 3.8 x in 43 versions; the path between is assumed even. More rows "
        f"cost memory and little time: the embedding half of 2022 takes {grown[SPARSE]:.2f} times that of 2017, the "
        f"step {grown[STEP]:.2f} times.",
    ]


FIGURE = PaperFigure(
    "tpuv4", "balance", "DLRM0 in balance, and its growth", "TPU v4 (ISCA 2023), Figs. 10 and 17", rows, plot, notes
)

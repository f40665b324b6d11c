"""Sparse attention: compute against memory time of Logit and Attend on a TPU v3, by FRAME's roofline."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.flat.runs import BERT, XLM
from accsim.figures.paper_figure import NOT_SIMULATED, PaperFigure, beside, read_published
from accsim.published.flat_frame import SPARSE_FIGURE, attention, compute_to_memory_ratio

FRAME = "flat-frame"
LENGTH = 512
"""Tokens of the one sequence; inferred from the printed ratios."""

RATIO, TOTAL, COMPUTE = "compute to memory", "total time", "compute time"
DATAFLOWS = {"un-fused": False, "FLAT": True}


def rows() -> pd.DataFrame:
    """Dense attention by FRAME; the published values of sparse attention stand alone."""
    found = []
    for model in (BERT, XLM):
        for dataflow, fused in DATAFLOWS.items():
            operators = attention(1, model.heads, LENGTH, model.head_dim, flat=fused)
            compute = sum(op.compute_s(SPARSE_FIGURE) for op in operators)
            memory = sum(op.memory_s(SPARSE_FIGURE) for op in operators)
            ratio = compute_to_memory_ratio(operators, SPARSE_FIGURE)
            for quantity, value in ((RATIO, ratio), (TOTAL, compute + memory), (COMPUTE, compute)):
                about = {"model": model.name, "attention": "dense", "dataflow": dataflow, "quantity": quantity}
                found.append({**about, "mode": FRAME, "simulated": value})
    table = beside(pd.DataFrame(found), read_published(__file__))
    return table.assign(unit=np.where(table["quantity"] == RATIO, "1", "s"))


def plot(rows: pd.DataFrame) -> Figure:
    """Ratios above, times below; a column for each model."""
    figure, axes = draw.panels("FLAT under sparse attention: Logit and Attend on a TPU v3", 10, 6.4, 2, 2)
    for column, model in enumerate((BERT, XLM)):
        for row, (quantity, scale, unit) in enumerate(((RATIO, 1, "compute ÷ memory time"), (TOTAL, 1e6, "time (µs)"))):
            some = rows[(rows["model"] == model.name) & (rows["quantity"] == quantity)]
            cases = some[["attention", "dataflow"]].drop_duplicates().sort_values(["attention"], key=_order)
            wide = some.set_index(["attention", "dataflow"])[["published", "simulated"]] * scale
            panel = axes[2 * row + column]
            series = {
                draw.PUBLISHED: [wide["published"][tuple(case)] for case in cases.to_numpy()],
                FRAME: [wide["simulated"][tuple(case)] for case in cases.to_numpy()],
            }
            draw.bars(panel, ["\n".join(case) for case in cases.to_numpy()], series, digits=2 if row == 0 else 1)
            title = f"{model.name}: printed ratio" if row == 0 else f"{model.name}: compute and memory time, stacked"
            draw.label(panel, title, y=unit if column == 0 else "")
    draw.add_legend(figure, axes)
    return figure


def _order(names: pd.Series[str]) -> pd.Series[int]:
    return names.map({"dense": 0, "ELSA": 1, "Sanger": 2})


def notes(rows: pd.DataFrame) -> list[str]:
    """What differs and why."""
    known = rows[rows["quantity"] == RATIO].dropna(subset=["simulated"])
    error = 100 * known.groupby("model")["relative_error"].agg(lambda errors: errors.abs().max())
    alone = (rows["mode"] == NOT_SIMULATED).sum()
    return [
        f"Dense ratios: XLM within {error['XLM']:.1f} %, BERT within {error['BERT']:.1f} %, by FRAME's equations for "
        "one sequence of 512 tokens and one layer, transfers on the chip left out. Why BERT is off is not known.",
        f"ELSA and Sanger ({alone} values) are not simulated: which scores they keep, and at what cost, is not given.",
        "FRAME has no tiles, no capacity and no softmax; the times are sums of compute and memory time, as drawn.",
    ]


FIGURE = PaperFigure(
    "flat", "sparse", "Sparse attention on a TPU v3 by FRAME's roofline", "slide 22 of the talk", rows, plot, notes
)

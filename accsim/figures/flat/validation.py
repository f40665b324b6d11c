"""Row by row: FuseMax's rows of FLAT's corrected simulator, the corrected model here, and the engine."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.flat.runs import CORRECTED, FREE_SOFTMAX, flat, machine
from accsim.figures.paper_figure import DataFile, PaperFigure, compared
from accsim.report.plot_style import COLOURS
from accsim.validate.flat import PLATFORMS, FlatRows
from accsim.validate.table import Rows
from accsim.workload.ops import Attention

UNITS = {"latency": "s", "traffic": "B", "spill_fraction": "1"}
"""Quantities that are shown, and their units."""

LONGEST = 65536
"""Tokens up to which the engine runs; longer ones take it minutes."""

SMALLEST = 1e-12
"""Errors are drawn as this where they are less."""

SOURCE = "data of github.com/FPSG-UIUC/micro24-fusemax-artifact"
KIND = FlatRows()


def rows(data: Rows) -> pd.DataFrame:
    """Latency, traffic and spill with the listed mappings, and the engine's latency with its own."""
    cases = pd.DataFrame({name: data[name] for name in ("platform", "model", "d_head", "seq_len")})
    cases["fused"] = data["stage_L"].astype(int)
    predicted = KIND.predict(data, None).values
    columns = {quantity.name: quantity.column for quantity in KIND.quantities}
    found = [
        cases.assign(quantity=name, mode=CORRECTED, published=data[columns[name]], simulated=predicted[name])
        for name in UNITS
    ]
    here = np.flatnonzero(data["seq_len"] <= LONGEST)
    latency = [_engine_s(data, int(i)) for i in here]
    by_engine = cases.iloc[here].assign(quantity="latency", mode=FREE_SOFTMAX, simulated=latency)
    table = pd.concat([*found, by_engine.assign(published=data["latency_s"][here])], ignore_index=True)
    return compared(table.assign(unit=table["quantity"].map(UNITS), source=SOURCE, confidence="high"))


def _engine_s(data: Rows, i: int) -> float:
    """Latency of the engine's own best mapping, fused or not, with a free softmax."""
    batch, heads, length, width = (int(data[name][i]) for name in ("batch", "heads", "seq_len", "d_head"))
    op = Attention(batch=batch, heads=heads, q_len=length, kv_len=length, head_dim=width)
    report = flat(op, machine(str(data["platform"][i]), True))
    return report.latency_s if report else float("nan")


def plot(rows: pd.DataFrame) -> Figure:
    """Latencies over the published ones by platform for the engine; every error of the corrected model."""
    figure, axes = draw.panels("FLAT's corrected simulator, row by row", 10.5, 3.9, 1, 3)
    engine = rows[rows["mode"] == FREE_SOFTMAX]
    for panel, platform in zip(axes, PLATFORMS, strict=False):
        _ratios(panel, engine[engine["platform"] == platform])
        draw.label(panel, f"{platform}: {FREE_SOFTMAX}", "sequence length (tokens)", "latency ÷ published")
    of_model = rows[(rows["mode"] == CORRECTED) & (rows["quantity"] != "spill_fraction")]
    colour = dict(zip(UNITS, (COLOURS[5], COLOURS[4]), strict=False))
    for quantity, some in of_model.groupby("quantity", sort=False):
        errors = some["relative_error"].abs().clip(lower=SMALLEST)
        axes[2].plot(some["seq_len"], errors, "o", color=colour[str(quantity)], markersize=3.5, label=str(quantity))
    draw.lengths_axis(axes[2], of_model["seq_len"])
    axes[2].tick_params(axis="x", labelrotation=60)
    axes[2].set_yscale("log")
    axes[2].axhline(1e-3, color=draw.PUBLISHED_COLOUR, linewidth=0.8, linestyle="--", label="allowed")
    draw.label(axes[2], f"{CORRECTED}, all rows", "sequence length (tokens)", "relative error")
    draw.add_legend(figure, axes, 7)
    return figure


def _ratios(axes: Axes, rows: pd.DataFrame) -> None:
    colour = draw.style(list(dict.fromkeys(rows["model"])))
    for model, some in rows.groupby("model", sort=False):
        line = some.sort_values("seq_len")
        axes.plot(
            line["seq_len"], line["simulated"] / line["published"], "-o", color=colour[str(model)], markersize=4,
            alpha=0.8, label=str(model),
        )  # fmt: skip
    axes.axhline(1, color=draw.PUBLISHED_COLOUR, linewidth=0.8)
    axes.set_ylim(0)
    draw.lengths_axis(axes, rows["seq_len"])
    axes.tick_params(axis="x", labelrotation=60)


def notes(rows: pd.DataFrame) -> list[str]:
    """What differs and why."""
    of_model = rows[rows["mode"] == CORRECTED]
    worst = of_model.groupby("quantity")["relative_error"].agg(lambda errors: errors.abs().max())
    engine = rows[rows["mode"] == FREE_SOFTMAX]["relative_error"]
    count = len(of_model) // len(UNITS)
    return [
        f"flat-corrected meets all {count} rows: latency within {worst['latency']:.1g}, traffic within "
        f"{worst['traffic']:.1g}. It was reconstructed from such rows, so this shows that its form is right, no more.",
        f"Engine (softmax and on-chip bandwidth free, own mapping, up to {draw.tokens(LONGEST)}): latency "
        f"{100 * engine.min():+.0f} to {100 * engine.max():+.0f} %. It fills and drains the array in each tile (766 "
        "cycles on the cloud's, where the model has 3), which short sequences feel most. BERT, TrXL and T5 coincide: "
        "they differ in heads alone.",
        "Edge from 4K on: rows of scores that do not fit are spilled, or un-fused scores cross the chip's border four "
        "times, where the model has two. Cloud at 64K: a row of scores is so long that tiles have fewer rows than the "
        "array, whose rest idles.",
    ]


FIGURE = PaperFigure(
    "flat", "validation", "Rows of the corrected simulator, one by one", "FuseMax (MICRO 2024), its artifact",
    rows, plot, notes, DataFile(f"flat_validation.csv, from the {SOURCE}", KIND.columns, KIND.check),
)  # fmt: skip

"""Attention with a charged softmax, as FuseMax (MICRO 2024) published it: un-fused, FLAT and FuseMax."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.flat.runs import CORRECTED, ENGINE, machine, run
from accsim.figures.paper_figure import NOT_SIMULATED, DataFile, PaperFigure, compared
from accsim.mapping.base import list_dataflows
from accsim.published.flat_corrected import Shape, evaluate, platform_of
from accsim.published.flat_search import search
from accsim.validate.flat import PLATFORMS
from accsim.validate.table import Column, Rows, choice, count, positive, text
from accsim.workload.ops import Attention

DATAFLOWS = {"unfused": "unfused", "flat_softmax": "flat", "fusemax": "fusemax"}
"""Configuration of the rows to the dataflow here."""

COLUMNS: tuple[Column, ...] = (
    choice("config", *DATAFLOWS),
    text("model"),
    count("seq_len"),
    choice("platform", *PLATFORMS),
    count("batch"),
    count("heads"),
    count("d_head"),
    positive("latency_s"),
    positive("energy_pJ"),
    positive("traffic_bytes"),
    positive("util_2d"),
)
UTILIZATION = "utilization"
PUBLISHED = {"latency": ("latency_s", "s"), UTILIZATION: ("util_2d", "1"), "traffic": ("traffic_bytes", "B")}
"""Quantity to the column of the rows and its unit; beside these, the energy in J."""

Case = dict[str, Any]
"""Cells of a row by column."""

SOURCE = "data of github.com/FPSG-UIUC/micro24-fusemax-artifact"


def rows(data: Rows) -> pd.DataFrame:
    """Each row's latency, utilization, traffic and energy beside those of the corrected model and of the engine."""
    cells = [data[column.name].tolist() for column in COLUMNS]
    cases = [dict(zip([column.name for column in COLUMNS], row, strict=True)) for row in zip(*cells, strict=True)]
    found = [one for case in cases for one in _compare(case)]
    return compared(pd.DataFrame(found))


def _compare(case: Case) -> list[Case]:
    """One row a mode and quantity."""
    published = {name: (case[column], unit) for name, (column, unit) in PUBLISHED.items()}
    published["energy"] = (case["energy_pJ"] * 1e-12, "J")
    modes = {ENGINE: _engine(case)} if DATAFLOWS[case["config"]] in list_dataflows() else {NOT_SIMULATED: {}}
    if case["config"] == "flat_softmax":
        modes[CORRECTED] = _corrected(case)
    about = {name: case[name] for name in ("config", "model", "d_head", "seq_len", "platform")}
    return [
        about
        | {"quantity": quantity, "unit": unit, "mode": mode, "published": value, "simulated": values.get(quantity)}
        | {"source": SOURCE, "confidence": "high"}
        for mode, values in modes.items()
        for quantity, (value, unit) in published.items()
        if quantity in values or mode == NOT_SIMULATED
    ]


def _engine(case: Case) -> dict[str, float]:
    batch, heads, length, width = (case[name] for name in ("batch", "heads", "seq_len", "d_head"))
    op = Attention(batch=batch, heads=heads, q_len=length, kv_len=length, head_dim=width)
    report = run(op, machine(case["platform"]), DATAFLOWS[case["config"]])
    if report is None:
        return dict.fromkeys([*PUBLISHED, "energy"], float("nan"))
    traffic = sum(report.traffic_bytes["dram"].values())
    return {
        "latency": report.latency_s,
        UTILIZATION: report.overall_utilization,
        "traffic": traffic,
        "energy": report.energy_j,
    }


def _corrected(case: Case) -> dict[str, float]:
    """The corrected simulator's best mapping, which does not know of the softmax, with the softmax charged."""
    shape = Shape(*(case[name] for name in ("batch", "heads", "seq_len", "d_head")))
    acc = machine(case["platform"])
    mapping, _ = search(shape, platform_of(acc))
    got = evaluate(shape, platform_of(acc), mapping, acc.vector_unit.lanes)
    return {
        "latency": float(got.latency_s[0]),
        UTILIZATION: float(got.utilization[0]),
        "traffic": float(got.traffic_bytes[0]),
    }


def plot(rows: pd.DataFrame) -> Figure:
    """Utilization by length above, latency below; a column for each head width."""
    widths = sorted(rows["d_head"].unique())[:2]
    figure, axes = draw.panels("Attention with a charged softmax", 10.0, 6.8, 2, len(widths))
    for i, width in enumerate(widths):
        model = rows[rows["d_head"] == width]["model"].iloc[0]
        some = rows[rows["model"] == model]
        _panel(axes[i], some[some["quantity"] == UTILIZATION])
        draw.label(axes[i], f"{model}, head width {width}", y="utilization of the array")
        axes[i].set_ylim(0)
        below = axes[len(widths) + i]
        _panel(below, some[some["quantity"] == "latency"])
        draw.log_axis(below)
        draw.label(below, "", "sequence length (tokens)", "latency (s)")
    draw.add_legend(figure, axes, 4)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame) -> None:
    """Published values as points, simulated ones as lines."""
    colour = draw.style(list(DATAFLOWS))
    for config, some in rows.groupby("config", sort=False):
        points = some.drop_duplicates("seq_len").sort_values("seq_len")
        (marks,) = axes.plot(points["seq_len"], points["published"], "o", label=f"{config}, published")
        marks.set(color=colour[str(config)], markersize=7, markerfacecolor="none")
        for mode, line in some[some["simulated"].notna()].sort_values("seq_len").groupby("mode", sort=False):
            dash = "--" if mode == CORRECTED else "-"
            axes.plot(line["seq_len"], line["simulated"], dash, color=colour[str(config)], label=f"{config}, {mode}")
    draw.lengths_axis(axes, rows["seq_len"])


def notes(rows: pd.DataFrame) -> list[str]:
    """What differs and why."""
    latency = rows[rows["quantity"] == "latency"]
    found = []
    for config, dataflow in DATAFLOWS.items():
        for mode, some in latency[latency["config"] == config].groupby("mode", sort=False):
            if mode == NOT_SIMULATED:
                found.append(f"{config}: not simulated, since there is no dataflow '{dataflow}' yet.")
            else:
                low, high = 100 * some["relative_error"].min(), 100 * some["relative_error"].max()
                found.append(f"{config}, {mode}: latency {low:+.1f} to {high:+.1f} % off.")
    times = latency.drop_duplicates(["config", "model", "seq_len"]).pivot(
        index=["model", "seq_len"], columns="config", values="published"
    )
    if {"flat_softmax", "fusemax"} <= set(times.columns):
        ratio = np.mean(times["flat_softmax"] / times["fusemax"])
        found.append(f"FuseMax over FLAT as published, mean of these rows: {ratio:.2f}×.")
    return [
        *found,
        "FLAT, engine, is slower from 64K on. There only tiles of less than the array's 256 rows fit. Longer rows of "
        "scores are spilled, and a quarter of their transfers is not hidden, where the published model takes the "
        "longer of vector unit and main memory.",
        "Traffic of FLAT: up to 16K mappings of equal latency with less traffic are taken, where the published ones "
        "minimize latency alone; at 64K it is more, since smaller tiles read K and V more often.",
        "Energy: other prices (published: fp16 MAC 17.16 pJ; here Horowitz at 45 nm, 2.0 pJ).",
    ]


FIGURE = PaperFigure(
    "flat", "softmax", "Un-fused, FLAT and FuseMax with a charged softmax", "FuseMax (MICRO 2024), Figs. 6 to 9",
    rows, plot, notes,
    DataFile(f"fusemax_attention.csv, from the {SOURCE}", COLUMNS),
)  # fmt: skip

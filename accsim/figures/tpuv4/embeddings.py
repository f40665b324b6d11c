"""Embeddings of a recommendation model on TPU v4 against TPU v3, by slice size: Figure 8, predicted."""

from __future__ import annotations

from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, beside, read_published
from accsim.figures.tpu_steps import SAMPLES, V3, V4, step
from accsim.report.plot_style import LIGHT
from accsim.system import StepReport

MODEL: Final = "dlrm_fig8_like"
CHIPS: Final = (64, 128, 256, 512)
ALL: Final = "all slices"
SPEEDUP, TIME = "embedding speedup v4/v3", "time of embeddings"
OPEN, CLOSED = "v3 open", "v3 closed"
WIRES: Final = {OPEN: (), CLOSED: (("interconnect.wrap_multiple", 1),)}
"""Whether slices of TPU v3 are closed, which is not published."""
PARTS: Final = {"ids": "ids", "lookup": "lookup", "vectors": "vectors", "gradients": "gradients",
                "row_sums": "sums of replicated rows", "table_update": "table update"}  # fmt: skip


def rows() -> pd.DataFrame:
    """Speedup by slice, its range beside the published one, and what the time is made of."""
    found: list[tuple[object, ...]] = []
    for mode in WIRES:
        by_chips = {chips: _pair(chips, mode) for chips in CHIPS}
        speedups = {chips: old.embedding_s / new.embedding_s for chips, (old, new) in by_chips.items()}
        found += [(f"{chips} chips", chips, SPEEDUP, "x", mode, value) for chips, value in speedups.items()]
        found += [
            (ALL, None, f"{SPEEDUP}, {end}", "x", mode, pick(speedups.values()))
            for end, pick in (("least", min), ("most", max))
        ]
        for chips, pair in by_chips.items():
            for machine, one in zip((V3, V4), pair, strict=True):
                found += [
                    (
                        f"{chips} chips",
                        chips,
                        f"{TIME}, {PARTS[leg.name]}",
                        "ms",
                        _name(machine, mode),
                        1e3 * leg.alone_s,
                    )
                    for leg in one.legs
                ]
    table = pd.DataFrame(found, columns=["case", "chips", "quantity", "unit", "mode", "simulated"])
    return beside(table.drop_duplicates(["case", "quantity", "mode"]), read_published(__file__))


def _pair(chips: int, mode: str) -> tuple[StepReport, StepReport]:
    return step(MODEL, V3, chips, changes=WIRES[mode]), step(MODEL, V4, chips)


def _name(machine: str, mode: str) -> str:
    return mode if machine == V3 else V4


def plot(rows: pd.DataFrame) -> Figure:
    """Speedup by chips over the published range; parts of the time on both machines."""
    figure, axes = draw.panels("Embeddings of a recommendation model: TPU v4 against TPU v3", 11.0, 3.9, 1, 3)
    low, high = (rows[rows["quantity"] == f"{SPEEDUP}, {end}"]["published"].iloc[0] for end in ("least", "most"))
    axes[0].axhspan(low, high, color="#dddddd", label="published range", zorder=0)
    colour = draw.style([OPEN, CLOSED])
    for mode, dash in ((OPEN, "-o"), (CLOSED, "--s")):
        line = rows[(rows["quantity"] == SPEEDUP) & (rows["mode"] == mode)]
        axes[0].plot(line["chips"], line["simulated"], dash, color=colour[mode], markersize=4, label=mode)
    draw.values_axis(axes[0], list(CHIPS))
    axes[0].set_ylim(0)
    draw.label(axes[0], "embedding half alone", "chips", "time on v3 ÷ time on v4")
    times = rows[rows["quantity"].str.startswith(TIME)]
    longest = times.groupby(["chips", "mode"])["simulated"].sum().max()
    for panel, mode, title in ((axes[1], OPEN, "TPU v3, open"), (axes[2], V4, "TPU v4, twisted where it can be")):
        _stack(panel, rows[rows["mode"] == mode])
        draw.label(panel, title, "chips", "time (ms)")
        panel.set_ylim(0, 1.05 * longest)
    draw.add_legend(figure, axes, 4)
    return figure


def _stack(axes: Axes, rows: pd.DataFrame) -> None:
    colour = draw.style(list(PARTS.values()))
    bottom = pd.Series(0.0, index=range(len(CHIPS)))
    for part in PARTS.values():
        here = rows[rows["quantity"] == f"{TIME}, {part}"].set_index("chips")["simulated"]
        heights = here.reindex(CHIPS, fill_value=0.0).reset_index(drop=True)
        axes.bar(range(len(CHIPS)), heights, 0.7, bottom=bottom, color=colour[part], label=part)
        bottom = bottom + heights
    axes.set_xticks(range(len(CHIPS)), [str(chips) for chips in CHIPS])
    axes.grid(axis="y", color=LIGHT, linewidth=0.6)


def notes(rows: pd.DataFrame) -> list[str]:
    """What is assumed, and what differs."""
    value = rows.set_index(["quantity", "mode"])["simulated"]
    ends = {mode: [value[f"{SPEEDUP}, {end}", mode] for end in ("least", "most")] for mode in (OPEN, CLOSED)}
    error = rows.set_index(["quantity", "mode"])["relative_error"] * 100
    told = "; ".join(
        f"{mode} {low:.2f} to {high:.2f} ({error[f'{SPEEDUP}, least', mode]:+.0f} and "
        f"{error[f'{SPEEDUP}, most', mode]:+.0f} %)"
        for mode, (low, high) in ends.items()
    )
    return [
        f"Predicted, with no constant fitted to this figure: {told}; published 1.1 to 2.0. The machines are those with "
        "which Figure 9 is met (figure sparsecore), where open v3 slices come nearer; here closed ones do.",
        f"The model has the published totals (docs/embeddings.md), {SAMPLES:,} samples a chip and tables where the "
        "placer puts them. Which slices are compared is not published.",
        "Links take half of the time or more, and gain what an all-to-all gains; units gain what their number and "
        "clock do, 2.2. Fixed costs of TPU v4's units are published to dominate at 1024 chips, and are not known.",
    ]


FIGURE = PaperFigure(
    "tpuv4", "embeddings", "Embeddings on TPU v4 against v3 by slice size", "TPU v4 (ISCA 2023), Fig. 8",
    rows, plot, notes,
)  # fmt: skip

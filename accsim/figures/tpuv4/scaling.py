"""Recommendation models on 16 to 512 chips: MLPerf's batch stops scaling, batches that grow with the slice do not."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, beside, read_published
from accsim.figures.tpu_steps import SAMPLES
from accsim.report.plot_style import LIGHT
from accsim.system import StepReport, train_step

SLICES: Final = {16: "2x2x4", 32: "2x4x4", 64: "4x4x4", 128: "twisted:4x4x8", 256: "twisted:4x8x8", 512: "8x8x8"}
"""Slices of TPU v4 by chips."""
MLPERF, LARGE = "MLPerf DLRM", "DLRM0"
MODELS: Final = {MLPERF: "dlrm_v1", LARGE: "dlrm0_like"}
BATCH: Final = 65536
"""Of MLPerf, whatever the slice."""
LEAST: Final = {LARGE: 128}
"""Chips below which the tables do not fit."""
USEFUL: Final = 1.5
"""A slice is useful while twice the chips give more throughput than this."""
THROUGHPUT, LARGEST = "throughput", "largest useful slice"
EFFICIENCY: Final = "throughput of a chip, over that of the smallest slice"
PARTS: Final = ("links", "lookup and table update", "dense network", "all-reduce")


def rows() -> pd.DataFrame:
    """Throughput and parts by slice, and the slice to which doubling is worth it."""
    found: list[tuple[object, ...]] = []
    for case, model in MODELS.items():
        steps = {chips: _step(case, model, chips) for chips in SLICES if chips >= LEAST.get(case, 0)}
        base = min(steps)
        for chips, step in steps.items():
            rate = step.samples_per_s
            found.append((case, chips, THROUGHPUT, "M samples/s", "pipelined", rate / 1e6))
            even = rate / chips / (steps[base].samples_per_s / base)
            found.append((case, chips, EFFICIENCY, "x", "pipelined", even))
            found += [(case, chips, f"time of {part}", "ms", "alone", 1e3 * _parts(step)[part]) for part in PARTS]
        found.append((case, None, LARGEST, "chips", f"doubling gains {USEFUL} x", _largest(steps)))
    units = 4 * 128
    found.append((MLPERF, None, "samples of an embedding unit at 128 chips", "samples", "arithmetic", BATCH / units))
    table = pd.DataFrame(found, columns=["case", "chips", "quantity", "unit", "mode", "simulated"])
    return beside(table, read_published(__file__))


def _step(case: str, model: str, chips: int) -> StepReport:
    batch = BATCH if case == MLPERF else SAMPLES * chips
    return train_step(f"{model}?batch={batch}", f"tpu_v4:{SLICES[chips]}", dedup="source", schedule="pipelined")


def _largest(steps: dict[int, StepReport]) -> int:
    """The last slice that the one of half its size was worth doubling for; the largest here if all were."""
    chips = sorted(steps)
    for small, large in pairwise(chips):
        if steps[large].samples_per_s < USEFUL * steps[small].samples_per_s:
            return small
    return chips[-1]


def _parts(step: StepReport) -> dict[str, float]:
    links = sum(leg.alone_s for leg in step.legs if leg.unit == "ici")
    units = sum(leg.alone_s for leg in step.legs if leg.unit != "ici")
    return dict(zip(PARTS, (links, units, step.dense_s, step.all_reduce.time_s), strict=True))


def plot(rows: pd.DataFrame) -> Figure:
    """Throughput of both; parts of each model's step."""
    figure, axes = draw.panels("Recommendation models on slices of TPU v4", 11.0, 3.9, 1, 3)
    colour = draw.style(list(MODELS))
    for case, dash in zip(MODELS, ("-o", "--s"), strict=True):
        line = rows[(rows["case"] == case) & (rows["quantity"] == EFFICIENCY)]
        axes[0].plot(line["chips"], line["simulated"], dash, color=colour[case], markersize=4, label=case)
    draw.values_axis(axes[0], list(SLICES))
    axes[0].set_ylim(0)
    draw.label(axes[0], "throughput of a chip", "chips", "over that of the smallest slice")
    titles = {MLPERF: f"{MLPERF}, batch {BATCH:,}", LARGE: f"{LARGE}, {SAMPLES:,} samples a chip"}
    for panel, (case, title) in zip(axes[1:], titles.items(), strict=True):
        _lines(panel, rows[rows["case"] == case])
        draw.label(panel, title, "chips", "time of a step's part alone (ms)")
    draw.add_legend(figure, axes, 6)
    return figure


def _lines(axes: Axes, rows: pd.DataFrame) -> None:
    colour = draw.style([*MODELS, *PARTS])
    for part, dash in zip(PARTS, ("-o", "--s", "-.^", ":D"), strict=True):
        line = rows[rows["quantity"] == f"time of {part}"]
        axes.plot(line["chips"], line["simulated"], dash, color=colour[part], markersize=4, label=part)
    draw.values_axis(axes, rows["chips"].dropna())
    draw.log_axis(axes)
    axes.grid(color=LIGHT, linewidth=0.6)


def notes(rows: pd.DataFrame) -> list[str]:
    """Why it flattens."""
    value = rows[rows["quantity"] == LARGEST].set_index("case")["simulated"]
    times = rows[(rows["case"] == MLPERF) & (rows["chips"] == 512)].set_index("quantity")["simulated"]
    fixed = times["time of all-reduce"] / sum(times[f"time of {part}"] for part in PARTS)
    return [
        f"MLPerf DLRM: doubling the chips gains more than {USEFUL} x up to {value[MLPERF]:.0f} chips (published: "
        "useful to 128). Its batch is capped, so a unit's share falls to 32 samples at 512 chips; latencies of links, "
        f"fixed costs of the units and an all-reduce as large as before ({fixed:.0%} of the parts) are left.",
        f"DLRM0, whose batch grows with the slice: {value[LARGE]:.0f} chips (published 1024), NOT reproduced: with all "
        "rows dealt over all chips, an all-to-all takes longer on a larger torus. Its real tables and their placement "
        "are not published.",
        "What counts as useful is our own choice; the published statement has no number. Slices of fewer than 64 chips "
        "are meshes. Duplicates are dropped at the chip that asks.",
    ]


FIGURE = PaperFigure(
    "tpuv4", "scaling", "Recommendation models on 16 to 512 chips", "TPU v4 (ISCA 2023), Fig. 11 and section 7.9",
    rows, plot, notes,
)  # fmt: skip

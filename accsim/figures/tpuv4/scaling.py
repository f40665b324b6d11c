"""Recommendation models on 16 to 1024 chips: batches of MLPerf stop scaling, one that grows with the slice does not."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, beside, read_published
from accsim.figures.tpu_steps import SAMPLES, V4, slice_name, step
from accsim.report.plot_style import COLOURS, GREY, LIGHT, SMALL
from accsim.system import StepReport, train_step

CHIPS: Final = (16, 32, 64, 128, 256, 512, 1024)
SMALL_SLICES: Final = {16: "2x2x4", 32: "2x4x4"}
"""Of less than a cube."""
MLPERF, DCN, LARGE = "MLPerf DLRM", "MLPerf DLRM-DCNv2", "DLRM0"
MODELS: Final = {MLPERF: "dlrm_v1", DCN: "dlrm_dcnv2", LARGE: "dlrm0_like"}
BATCH: Final = 65536
"""Of MLPerf, whatever the slice."""
LEAST: Final = {LARGE: 128}
"""Chips below which the tables do not fit."""
USEFUL: Final = 1.5
"""A slice is useful that has so much more throughput than one of half its size."""
THROUGHPUT, LARGEST, STEP = "throughput", "largest useful slice", "time of a step"
EFFICIENCY: Final = "throughput of a chip, over that of the smallest slice"
PARTS: Final = ("dense network", "sums over chips", "all-to-all", "embedding units", "ids from the host")
SHARE: Final = "share of the critical path"


def rows() -> pd.DataFrame:
    """Throughput and what binds by slice, and the slice to which doubling is worth it."""
    found: list[tuple[object, ...]] = []
    for case in MODELS:
        steps = {chips: simulated(case, chips) for chips in CHIPS if chips >= LEAST.get(case, 0)}
        base = min(steps)
        for chips, one in steps.items():
            even = one.samples_per_s / chips / (steps[base].samples_per_s / base)
            found += [
                (case, chips, THROUGHPUT, "M samples/s", "pipelined", one.samples_per_s / 1e6),
                (case, chips, EFFICIENCY, "x", "pipelined", even),
                (case, chips, STEP, "ms", "pipelined", 1e3 * one.step_s),
            ]
            found += [
                (case, chips, f"{SHARE}, {part}", "fraction", "pipelined", share) for part, share in bound(one).items()
            ]
        found.append((case, None, LARGEST, "chips", f"doubling gains {USEFUL} x", _largest(steps)))
    units = 4 * 128
    found.append((MLPERF, None, "samples of an embedding unit at 128 chips", "samples", "arithmetic", BATCH / units))
    table = pd.DataFrame(found, columns=["case", "chips", "quantity", "unit", "mode", "simulated"])
    return beside(table, read_published(__file__))


def simulated(case: str, chips: int) -> StepReport:
    """A step of a model; MLPerf's tables lie in rows over all chips, those of DLRM0 where the placer puts them."""
    if case == LARGE:
        return step(MODELS[case], V4, chips)
    name = f"{V4}:{SMALL_SLICES[chips]}" if chips in SMALL_SLICES else slice_name(V4, chips)
    return train_step(f"{MODELS[case]}?batch={BATCH}", name, schedule="pipelined")


def bound(step: StepReport) -> dict[str, float]:
    """Share of a pipelined step's critical path by part."""
    (span,) = step.spans
    of_units = span.ends_s[0] == max(span.ends_s)
    found = dict.fromkeys(PARTS, 0.0)
    for cause, seconds in step.critical_path_s.items():
        found[_part(cause, of_units)] += seconds / step.step_s
    return found


def _part(cause: str, of_units: bool) -> str:
    resource, _, why = cause.partition("/")
    if why == "input":
        return "ids from the host"
    if resource == "ici":
        return "sums over chips" if why in ("all_reduce", "row_sums") else "all-to-all"
    return "embedding units" if of_units else "dense network"


def _largest(steps: dict[int, StepReport]) -> int:
    """The largest slice that gains so much over the one of half its size."""
    chips = sorted(steps)
    useful = [
        large for small, large in pairwise(chips) if steps[large].samples_per_s >= USEFUL * steps[small].samples_per_s
    ]
    return max(useful, default=chips[0])


def plot(rows: pd.DataFrame) -> Figure:
    """Throughput of a chip by model; what binds each model's step."""
    figure, axes = draw.panels("Recommendation models on slices of TPU v4", 11.0, 6.6, 2, 2)
    for case, dash, colour in zip(MODELS, ("-o", "--s", "-.^"), (COLOURS[5], GREY, COLOURS[7]), strict=True):
        line = rows[(rows["case"] == case) & (rows["quantity"] == EFFICIENCY)]
        axes[0].plot(line["chips"], line["simulated"], dash, color=colour, markersize=4, label=case)
    draw.values_axis(axes[0], list(CHIPS))
    axes[0].set_ylim(0)
    draw.label(axes[0], "throughput of a chip", "chips", "over that of the smallest slice")
    titles = {
        MLPERF: f"{MLPERF}, batch {BATCH:,}: what binds",
        DCN: f"{DCN}, batch {BATCH:,}: what binds",
        LARGE: f"{LARGE}, {SAMPLES:,} samples a chip: what binds",
    }
    for panel, (case, title) in zip(axes[1:], titles.items(), strict=True):
        _stacked(panel, rows[rows["case"] == case])
        draw.label(panel, title, "chips (and time of a step)", "share of the critical path")
    draw.add_legend(figure, axes, 8)
    return figure


def _stacked(axes: Axes, rows: pd.DataFrame) -> None:
    """A bar a slice, stacked by part, named by chips and time."""
    colour = draw.style(PARTS)
    times = rows[rows["quantity"] == STEP].set_index("chips")["simulated"].sort_index()
    at, below = np.arange(len(times)), np.zeros(len(times))
    for part in PARTS:
        shares = rows[rows["quantity"] == f"{SHARE}, {part}"].set_index("chips").loc[times.index, "simulated"]
        if part != PARTS[-1] or shares.any():
            axes.bar(at, shares, 0.7, below, color=colour[part], label=part)
        below += shares.to_numpy()
    axes.set_xticks(at, [f"{chips:.0f}\n{time:.3g} ms" for chips, time in times.items()], fontsize=SMALL)
    axes.set_ylim(0, 1)
    axes.grid(axis="y", color=LIGHT, linewidth=0.6)


def notes(rows: pd.DataFrame) -> list[str]:
    """Why it flattens."""
    value = rows[rows["quantity"] == LARGEST].set_index("case")["simulated"]
    shares = rows[rows["quantity"].str.startswith(SHARE)].set_index(["case", "chips", "quantity"])["simulated"]

    def share(case: str, chips: int, part: str) -> str:
        return f"{shares[case, chips, f'{SHARE}, {part}']:.0%}"

    rates = rows[rows["quantity"] == THROUGHPUT].set_index(["case", "chips"])["simulated"]
    last = rates[MLPERF, value[MLPERF]] / rates[MLPERF, value[MLPERF] / 2]
    return [
        f"MLPerf DLRM: doubling the chips gains {USEFUL} x or more up to {value[MLPERF]:.0f} chips, there "
        f"{last:.2f} x (published: useful to 128); DCNv2 up to {value[DCN]:.0f}. Their batch is capped, so that a "
        "chip's own work shrinks while the sum of dense gradients does not: on 1024 chips it is "
        f"{share(MLPERF, 1024, 'sums over chips')} and {share(DCN, 1024, 'sums over chips')} of the critical path, and "
        "most of the rest is latency in layers of 64 samples.",
        f"DLRM0, whose batch grows with the slice: {value[LARGE]:.0f} chips (published 1024). An all-to-all takes "
        f"longer on a larger torus: it is {share(LARGE, 128, 'all-to-all')} of the critical path on 128 chips and "
        f"{share(LARGE, 1024, 'all-to-all')} on 1024. The paper names fixed costs of the units at 1024 chips; here "
        "a unit's share of the batch stays, and they do not bind.",
        "What counts as useful is our own choice; the published statement has no number. Slices of fewer than 64 chips "
        "are meshes. Tables of DLRM0 lie where the placer puts them, those of MLPerf in rows over all chips.",
    ]


FIGURE = PaperFigure(
    "tpuv4", "scaling", "Recommendation models on 16 to 1024 chips", "TPU v4 (ISCA 2023), Fig. 11 and section 7.9",
    rows, plot, notes,
)  # fmt: skip

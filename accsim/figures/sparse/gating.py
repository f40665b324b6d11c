"""Energy and time of a product by the density of its weights: multiplied in vain, gated, or skipped."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accsim.config.catalogue import load_accelerator
from accsim.config.machine import Accelerator
from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, compared
from accsim.report.plot_style import COLOURS, GREY, SMALL
from accsim.report.result import Report
from accsim.report.simulate import simulate
from accsim.sparsity.nm import NM
from accsim.workload.ops import Gemm

MACHINE = "tpu_v4"
RUN = 8
"""m of the patterns n:m."""

KEPT = (1, 2, 4, 6, 8)
ROWS = {"prefill": 4096, "decode": 16}
SIDE = 4096
"""Outputs, and contracted."""

GATED_ENERGY = 0.018 / 0.561
"""Of a gated multiplication over another. Source: energy tables of Sparseloop's artefact (MICRO 2022), 45 nm."""

NOTHING, GATING, SKIPPING, PADDED = "nothing", "gating", "skipping", "skipping, 4:8 alone"
UNITS: dict[str, dict[str, object]] = {
    NOTHING: {},
    GATING: {"gated_energy": GATED_ENERGY},
    SKIPPING: {"modes": {"bf16": [f"{kept}:{RUN}" for kept in KEPT if kept < RUN]}},
    PADDED: {"modes": {"bf16": [f"4:{RUN}"]}, "gated_energy": GATED_ENERGY},
}
"""What the matrix unit does with zeros. The last one gates what it executes in vain."""

TIME, ENERGY = "time", "energy"
PARTS = ("mac", "vmem", "cmem", "hbm", "idle")
"""Where the energy goes, from the array outward; what is left, such as lanes, is 0."""


def rows() -> pd.DataFrame:
    """Time and energy, with its parts, of each product and unit."""
    found = [
        (phase, kept / RUN, unit, *value)
        for phase, rows in ROWS.items()
        for kept in KEPT
        for unit in UNITS
        for value in _measured(run(rows, kept, unit))
    ]
    columns = ["phase", "density", "mode", "quantity", "unit", "simulated"]
    return compared(pd.DataFrame(found, columns=columns))


@cache
def machine(unit: str) -> Accelerator:
    """The machine with such a matrix unit."""
    return load_accelerator(MACHINE, set={"matrix_unit.sparse": UNITS[unit]})


def run(rows: int, kept: int, unit: str) -> Report:
    """One product, dense where nothing is pruned."""
    pattern = NM(kept, RUN) if kept < RUN else None
    return simulate(Gemm(rows, SIDE, SIDE, sparsity=pattern), machine(unit))


def _measured(report: Report) -> Iterator[tuple[str, str, float]]:
    yield TIME, "us", report.latency_s * 1e6
    yield ENERGY, "uJ", report.energy_j * 1e6
    for part in PARTS:
        yield f"{ENERGY} of {part}", "uJ", report.energy_breakdown_j.get(part, 0.0) * 1e6


def plot(rows: pd.DataFrame) -> Figure:
    """Time and energy by density of both products, then the parts of the energy at one density."""
    figure, axes = draw.panels(f"Zeros gated or skipped: time and energy by density, {MACHINE}", 11.0, 6.6, 2, 3)
    for line, (phase, count) in enumerate(ROWS.items()):
        here = rows[rows["phase"] == phase]
        time, energy, parts = axes[3 * line : 3 * line + 3]
        _by_density(time, here[here["quantity"] == TIME])
        _by_density(energy, here[here["quantity"] == ENERGY])
        _parts(parts, here[here["density"] == 2 / RUN])
        draw.label(time, f"time, {count} rows", "density of the weights", "share of dense")
        draw.label(energy, f"energy, {count} rows", "density of the weights", "share of dense")
        draw.label(parts, f"energy at a density of 1/4, {count} rows", "", "share of dense")
    draw.add_legend(figure, [axes[0], axes[2]], 9)
    return figure


def _by_density(axes: Axes, rows: pd.DataFrame) -> None:
    dense = rows[(rows["mode"] == NOTHING) & (rows["density"] == 1)]["simulated"].item()
    for (mode, colour), line in zip(draw.style(list(UNITS)).items(), ("-", "--", "-", "--"), strict=True):
        here = rows[rows["mode"] == mode]
        axes.plot(here["density"], here["simulated"] / dense, line + "o", color=colour, markersize=3.5, label=mode)
    axes.set_xticks([kept / RUN for kept in KEPT], [f"{kept}/{RUN}" for kept in KEPT])
    axes.set_ylim(0, 1.1)


def _parts(axes: Axes, rows: pd.DataFrame) -> None:
    dense = rows[(rows["mode"] == NOTHING) & (rows["quantity"] == ENERGY)]["simulated"].item()
    names = [name.replace(", ", ",\n") for name in UNITS]
    below = pd.Series(0.0, index=list(UNITS))
    for part, colour in zip(PARTS, (*COLOURS[4:], GREY), strict=True):
        here = rows[rows["quantity"] == f"{ENERGY} of {part}"].set_index("mode")["simulated"] / dense
        axes.bar(names, here[list(UNITS)], 0.6, bottom=below, color=colour, label=part)
        below += here
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.set_ylim(0, 1.1)


def notes(rows: pd.DataFrame) -> list[str]:
    """What the picture shows, and what must be known."""
    quarter = rows[(rows["quantity"] == ENERGY) & (rows["density"] == 2 / RUN)].pivot_table(
        "simulated", "phase", "mode"
    )
    saved = 100 * (1 - quarter.div(quarter[NOTHING], axis=0))
    gated, skipped = (saved[mode] for mode in (GATING, SKIPPING))
    return [
        f"At a density of 1/4 gating saves {gated['prefill']:.0f} % of the energy with {ROWS['prefill']} rows, "
        f"{gated['decode']:.0f} % with {ROWS['decode']}, and no time; skipping {skipped['prefill']:.0f} and "
        f"{skipped['decode']:.0f} %: bytes too, and idle power for a shorter time.",
        f"Patterns n:{RUN} of the weights. Gated: {GATED_ENERGY:.3f} of the energy of a multiplication (Sparseloop's "
        "45 nm table). The skipping unit has a mode for each; the other runs 1:8 and 2:8 in 4:8, and 6:8 dense.",
        "Skipping is not free: all of the other operand is read in a share of the time, and each weight has 3 bits "
        "more, its place. Energy to decode and to select is not known here and not charged.",
        f"Our own: no {MACHINE} has such a unit. Nothing published is of these products.",
    ]


FIGURE = PaperFigure(
    "sparse", "gating", "Gated or skipped zeros: time and energy by density", "nowhere: our own", rows, plot, notes
)

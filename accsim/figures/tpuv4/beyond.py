"""What comes after 4096 chips: tori of 3 to 6 axes and up to 64 Ki chips of the same total bandwidth."""

from __future__ import annotations

from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, compared
from accsim.network import Torus
from accsim.report.plot_style import LIGHT, NORMAL

CHIP_BYTES_PER_S: Final = 6 * 50e9
"""Of all links of a chip together, one way: those of TPU v4, shared by as many links as a torus has."""

SHAPES: Final = {
    "3D": ((16, 16, 16), (16, 16, 32), (16, 32, 32), (32, 32, 32), (32, 32, 64)),
    "4D": ((8, 8, 8, 8), (8, 8, 8, 16), (8, 8, 16, 16), (8, 16, 16, 16), (16, 16, 16, 16)),
    "5D": ((4, 4, 4, 8, 8), (4, 4, 8, 8, 8), (4, 8, 8, 8, 8), (8, 8, 8, 8, 8), (8, 8, 8, 8, 16)),
    "6D": ((4,) * 6, (4,) * 5 + (8,), (4,) * 4 + (8,) * 2, (4,) * 3 + (8,) * 3, (4,) * 2 + (8,) * 4),
}
"""As near to a cube as powers of two get, of 4 Ki to 64 Ki chips."""

TWISTED: Final = "3D twisted"
STEPPED_CHIPS: Final = 4096
"""Chips up to which an all-reduce is played step by step; beyond, its closed form stands alone."""
BUFFER_BYTES: Final = 2**26

ALL_TO_ALL, ALL_REDUCE, DIAMETER = "all-to-all bandwidth of a chip", "all-reduce time", "diameter"
ROUTED, STEPS, CLOSED = "minimal", "steps on links", "closed form"


def tori() -> list[tuple[str, Torus]]:
    """Every torus and its kind."""
    found = [
        (kind, Torus(shape, link_bytes_per_s=CHIP_BYTES_PER_S / (2 * len(shape))))
        for kind, shapes in SHAPES.items()
        for shape in shapes
    ]
    twisted = [shape for shape in SHAPES["3D"] if len(set(shape)) == 2]
    return found + [(TWISTED, Torus(shape, twisted=True)) for shape in twisted]


def rows() -> pd.DataFrame:
    """All-to-all, all-reduce and diameter of every torus."""
    found: list[tuple[object, ...]] = []
    for kind, torus in tori():
        case = (kind, "x".join(map(str, torus.shape)), torus.chips)
        sent = (torus.chips - 1) / torus.all_to_all(1.0).bounds_s["links"] / 1e9
        found.append((*case, ALL_TO_ALL, "GB/s", ROUTED, sent))
        found.append((*case, DIAMETER, "hops", "shortest paths", torus.graph.diameter))
        if kind != TWISTED:
            found.append((*case, ALL_REDUCE, "us", CLOSED, 1e6 * closed_form(torus)))
            if torus.chips <= STEPPED_CHIPS:
                played = torus.collective("all_reduce", BUFFER_BYTES, algorithm="torus_rings").time_s
                found.append((*case, ALL_REDUCE, "us", STEPS, 1e6 * played))
    columns = ["torus", "shape", "chips", "quantity", "unit", "mode", "simulated"]
    return compared(pd.DataFrame(found, columns=columns))


def closed_form(torus: Torus) -> float:
    """Seconds of an all-reduce along rings: 2 (N - 1) / N of the buffer over all links, and a hop for each step.

    Exact where all axes are equal; else a bound, since the pieces of the buffer do not fill all axes all the time.
    Source: the rings of docs/collectives.md.
    """
    moved = 2 * (1 - 1 / torus.chips) * BUFFER_BYTES
    return moved / CHIP_BYTES_PER_S + 2 * torus.hop_latency_s * sum(n // 2 for n in torus.shape)


def plot(rows: pd.DataFrame) -> Figure:
    """All-to-all bandwidth, all-reduce time and diameter by chips."""
    figure, axes = draw.panels("After 4096 chips: tori of 3 to 6 axes, 300 GB/s a chip", 11.5, 3.9, 1, 3)
    colour = draw.style([*SHAPES, TWISTED])
    for panel, quantity, mode, y in (
        (axes[0], ALL_TO_ALL, ROUTED, "bandwidth of a chip (GB/s)"), (axes[1], ALL_REDUCE, CLOSED, "time (us)"),
        (axes[2], DIAMETER, "shortest paths", "hops"),
    ):  # fmt: skip
        _lines(panel, rows[(rows["quantity"] == quantity) & (rows["mode"] == mode)], colour)
        draw.values_axis(panel, rows["chips"], lambda chips: draw.tokens(int(chips)))
        draw.label(panel, quantity, "chips", y)
    played = rows[rows["mode"] == STEPS]
    axes[1].plot(played["chips"], played["simulated"], "kx", markersize=6, label="all-reduce, played step by step")
    axes[1].set_title(f"{ALL_REDUCE}, {BUFFER_BYTES >> 20} MiB", fontsize=NORMAL, loc="left")
    for panel in axes:
        panel.margins(y=0.08)
        panel.set_ylim(0)
    draw.add_legend(figure, axes, 6)
    return figure


def _lines(axes: Axes, rows: pd.DataFrame, colour: dict[str, str]) -> None:
    for (kind, line), marker in zip(rows.groupby("torus", sort=False), "os^vD", strict=False):
        dash = f"--{marker}" if kind == TWISTED else f"-{marker}"
        axes.plot(line["chips"], line["simulated"], dash, color=colour[str(kind)], markersize=4, label=str(kind))
    axes.grid(color=LIGHT, linewidth=0.6)


def notes(rows: pd.DataFrame) -> list[str]:
    """What the lines say, and what is assumed."""
    rate = rows[rows["quantity"] == ALL_TO_ALL].set_index(["torus", "chips"])["simulated"]
    few, many = 4096, 65536
    ends = ", ".join(f"{kind} {rate[kind, few]:.1f} and {rate[kind, many]:.1f}" for kind in SHAPES)
    both = rows[rows["quantity"] == ALL_REDUCE].pivot(index="shape", columns="mode", values="simulated").dropna()
    large = rows[(rows["quantity"] == ALL_REDUCE) & (rows["shape"] == "32x32x64")]["simulated"].item()
    share = 100 * 2 * 64 / large
    off = 100 * (both[STEPS] / both[CLOSED] - 1).max()
    return [
        f"GB/s of a chip in all-to-all at {few:,} and at {many:,} chips: {ends}; 32x32x64 twisted "
        f"{rate[TWISTED, many]:.1f}. On a regular torus a chip gets 8 / d of a link's rate, d its longest axis: more "
        "axes are shorter, but share 300 GB/s.",
        "The bandwidth term of an all-reduce does not depend on how many chips or axes there are, only its hops do, 1 "
        f"us each: of {BUFFER_BYTES >> 20} MiB on 32x32x64 they are {share:.0f} % of the time.",
        f"All-reduce: closed form, exact for equal axes; up to {STEPPED_CHIPS:,} chips also played step by step (x), "
        f"which takes up to {off:.0f} % longer where axes are unequal. On twisted tori there is no closed form: left "
        "out.",
        "A chip has the same bandwidth in all tori: 6 links of 50 GB/s become 12 of 25 in 6D. With 50 GB/s on every "
        "link all rates of a torus of n axes are n / 3 times these, for as many more cables. Cables' lengths are not "
        "charged.",
        "4096 chips are the machine; everything beyond is our own, and nothing of it is published.",
    ]


FIGURE = PaperFigure(
    "tpuv4", "beyond", "After 4096 chips: tori of 3 to 6 axes, to 64 Ki chips", "nowhere: our own", rows, plot, notes
)

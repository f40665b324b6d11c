"""Operational intensity of a layer's operators, fused and not, and the roofline of a TPU v3."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accsim.config.catalogue import load_accelerator
from accsim.figures import draw
from accsim.figures.flat.runs import ENGINE
from accsim.figures.paper_figure import PaperFigure, beside, read_published
from accsim.report.plot_style import GREY, LIGHT, NORMAL, SMALL
from accsim.report.simulate import simulate
from accsim.workload.ops import Attention, Gemm, Op

LENGTHS = (512, 1024, 2048)
WIDTH, HEADS, HEAD_DIM, WIDE = 1024, 16, 64, 4096
"""Width of the model, its heads, their width, and both widths of the other FC, which its drawn values ask for."""

WORD_BYTES = 2
CLOSED_FORM = "closed form"
INTENSITY, RIDGE, MACHINE = "intensity", "ridge", "TPU v3"
ROOMY = {"cores": 1, "memories.vmem.capacity": "1 GiB"}
"""One core, and a buffer in which every tensor is loaded once: what the figure assumes."""


def of_product(rows: int, cols: int, inner: int) -> float:
    """Multiplications a byte of a (rows x inner) (inner x cols) product whose three matrices move once."""
    return 1 / (WORD_BYTES * (1 / rows + 1 / cols + 1 / inner))


CLOSED: Mapping[str, Callable[[int], float]] = {
    "Q, K, V, O": lambda n: of_product(n, WIDTH, WIDTH),
    "other FC": lambda n: of_product(n, WIDE, WIDE),
    "L or A": lambda n: of_product(n, n, HEAD_DIM),
    "FC, FC fused": lambda n: 1 / (WORD_BYTES * (1 / n + 1 / WIDE)),
    "L, A fused": lambda n: n / (2 * WORD_BYTES),
}
"""Operator to its intensity at a length. Fused: what passes between the two does not move."""

RUN: Mapping[str, Callable[[int], Op]] = {
    "Q, K, V, O": lambda n: Gemm(m=n, n=WIDTH, k=WIDTH),
    "other FC": lambda n: Gemm(m=n, n=WIDE, k=WIDE),
    "L or A": lambda n: Gemm(m=n, n=n, k=HEAD_DIM, batch=HEADS, weights=False),
    "L, A fused": lambda n: Attention(batch=1, heads=HEADS, q_len=n, kv_len=n, head_dim=HEAD_DIM),
}
"""Operator to what the engine runs."""


def rows() -> pd.DataFrame:
    """Intensities by closed form and from the engine's traffic, and the ridge point in both units."""
    acc = load_accelerator("tpu_v3")
    ridge = 2 * acc.peak_macs_per_s("bf16") / acc.main_memory.read_bytes_per_s
    found: list[tuple[str, int, str, str, str, float]] = []
    for length in LENGTHS:
        found += [(name, length, INTENSITY, "MAC/B", CLOSED_FORM, form(length)) for name, form in CLOSED.items()]
        found += [(name, length, INTENSITY, "MAC/B", ENGINE, by_engine(op(length))) for name, op in RUN.items()]
    found.append((MACHINE, 0, RIDGE, "FLOP/B", "peak ÷ bandwidth", ridge))
    table = pd.DataFrame(found, columns=["op", "seq_len", "quantity", "unit", "mode", "simulated"])
    full = beside(table, read_published(__file__))
    return full.assign(unit=np.where(full["quantity"] == RIDGE, "FLOP/B", "MAC/B"))


def by_engine(op: Op) -> float:
    """Multiplications for each byte that the engine moves to or from main memory."""
    acc = load_accelerator("tpu_v3", set=ROOMY)
    report = simulate(op, acc, dataflow="flat" if isinstance(op, Attention) else None)
    return op.macs / sum(report.traffic_bytes[acc.main_memory.name].values())


def plot(rows: pd.DataFrame) -> Figure:
    """The bars of the figure, and the same operators under the roofline in one unit."""
    figure, axes = draw.panels("FLAT: operational intensity and roofline, TPU v3, one sequence", 10.5, 8.4, 2, 1)
    some = rows[rows["quantity"] == INTENSITY].set_index(["op", "seq_len"])
    places = [(op, length) for op in some.index.unique("op") for length in LENGTHS]
    published = some["published"].groupby(level=[0, 1]).first()
    series = {draw.PUBLISHED: [published[place] for place in places]}
    for mode in (CLOSED_FORM, ENGINE):
        series[mode] = some[some["mode"] == mode]["simulated"].reindex(places).tolist()
    draw.bars(axes[0], [draw.tokens(length) for _, length in places], series, digits=0)
    for i, (op, length) in enumerate(places):
        if length == LENGTHS[1]:
            axes[0].annotate(op, (i, 0), (0, -16), textcoords="offset points", ha="center", va="top", fontsize=SMALL)
    axes[0].xaxis.labelpad = 16
    draw.label(
        axes[0], "bars of Fig. 5", "sequence length (tokens), operator", "MAC per byte (the figure's axis says FLOP/B)"
    )
    _roofline(axes[1], some[some["mode"] == CLOSED_FORM].reset_index())
    draw.add_legend(figure, axes)
    return figure


def _roofline(axes: Axes, rows: pd.DataFrame) -> None:
    """Peak and bandwidth of the chip, and each operator at 1K tokens; two operations a MAC."""
    acc = load_accelerator("tpu_v3")
    peak, rate = 2 * acc.peak_macs_per_s("bf16"), acc.main_memory.read_bytes_per_s
    edges = np.array([20.0, peak / rate, 3000.0])
    axes.plot(edges, np.minimum(peak, rate * edges) / 1e12, color="black", linewidth=1.4)
    at = rows[rows["seq_len"] == LENGTHS[1]]
    colour = draw.style(list(at["op"]))
    for op, intensity in zip(at["op"], at["simulated"], strict=True):
        x = 2 * intensity
        axes.plot(x, min(peak, rate * x) / 1e12, "o", color=colour[op], markersize=7)
        axes.annotate(
            op, (x, min(peak, rate * x) / 1e12), (0, -9), textcoords="offset points", fontsize=SMALL, rotation=-55,
            va="top", rotation_mode="anchor",
        )  # fmt: skip
    axes.axvline(peak / rate, color=GREY, linewidth=0.8, linestyle="--")
    axes.annotate(
        f"ridge {peak / rate:.0f} FLOP/B, published 130",
        (peak / rate, 5),
        (4, 0),
        textcoords="offset points",
        fontsize=SMALL,
    )
    axes.set_xscale("log")
    draw.log_axis(axes)
    axes.set_ylim(4, 200)
    axes.grid(color=LIGHT, linewidth=0.6)
    axes.set_xlabel("operational intensity (FLOP per byte, 2 a MAC)", fontsize=NORMAL)
    draw.label(axes, f"roofline, {draw.tokens(LENGTHS[1])} tokens", axes.get_xlabel(), "attainable (TFLOP/s)")


def notes(rows: pd.DataFrame) -> list[str]:
    """What differs and why."""
    ridge = rows[rows["quantity"] == RIDGE].iloc[0]
    return [
        "The figure's unit is inconsistent: its ridge (130) is in FLOP/B, its bars are MAC/B. In FLOP/B all bars are "
        f"twice as high, against a ridge of {ridge['simulated']:.0f} here (123 TFLOP/s, 900 GB/s; in GiB/s, 128).",
        "L or A alone is drawn flat at 25.6, its value at 512; it rises to 30.1 at 2K. Fused L-A is drawn at N / 3: "
        "three of the four tensors that move. With all four it is N / 4, as in the engine's traffic: 25 % less.",
        "Other FC fits a weight of 4096 × 4096, not the 1024 × 4096 of this model. For 'L or A, FC fused' no formula "
        "is known. The engine runs one core with a buffer that loads every tensor once; it fuses no FC with another.",
    ]


FIGURE = PaperFigure(
    "flat", "intensity", "Operational intensity and roofline of a TPU v3", "Fig. 5, slide 10", rows, plot, notes
)

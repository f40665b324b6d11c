"""All mappings of one attention op: utilization against the room they take, un-fused and at each of FLAT's tiles."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from accsim.config.catalogue import load_accelerator
from accsim.config.machine import Accelerator
from accsim.engine.program import TICKS_PER_CYCLE
from accsim.figures import draw
from accsim.figures.flat.runs import BERT, CORRECTED, ENGINE, attention, machine, shape
from accsim.figures.paper_figure import PaperFigure, compared
from accsim.mapping.compiled import CompiledDataflow, run_points
from accsim.mapping.flat import Flat
from accsim.mapping.gemm import FORMS
from accsim.mapping.unfused import parts
from accsim.mapping.vector import Streamed
from accsim.published.flat_corrected import evaluate, platform_of
from accsim.published.flat_search import space
from accsim.report.plot_style import GREY, LIGHT, SMALL
from accsim.validate.flat import PLATFORMS
from accsim.workload.ops import Attention, Op

PLATFORM = "cloud"
LENGTH = 1024
ROOM = "16 GiB"
"""Buffer in which every mapping fits, so that none spills."""

UNFUSED = "un-fused"
TILES = {"row": "FLAT R", "head": "FLAT H", "batch": "FLAT B", "batch_head": "FLAT M"}
"""Granularity to the paper's name of it."""

Found = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Bytes and ticks of mappings."""


def rows() -> pd.DataFrame:
    """A row a mapping; the buffer is large enough for all of them."""
    acc = load_accelerator(PLATFORMS[PLATFORM], set={"memories.sg.capacity": ROOM})
    op = attention(BERT, LENGTH)
    by_engine = {name: _mappings(Flat(granularity=tile, spill=0), op, acc) for tile, name in TILES.items()}
    by_engine[UNFUSED] = _unfused(op, acc)
    ideal = op.macs / acc.peak_macs_per_s(op.dtype) * acc.clock_hz * TICKS_PER_CYCLE
    found = [
        pd.DataFrame({"dataflow": name, "footprint_bytes": need, "simulated": ideal / ticks, "mode": ENGINE})
        for name, (need, ticks) in by_engine.items()
    ]
    table = pd.concat([*found, _corrected(acc)], ignore_index=True)
    table = table.assign(platform=PLATFORM, seq_len=LENGTH, quantity="utilization", unit="1")
    return compared(
        table[["platform", "seq_len", "dataflow", "footprint_bytes", "quantity", "unit", "mode", "simulated"]]
    )


def _mappings(dataflow: CompiledDataflow, op: Op, acc: Accelerator) -> Found:
    """Every mapping of a dataflow, run as one batch a program shape."""
    need, ticks = [], []
    for points in dataflow.space(op, acc):
        lowered = dataflow.lower(op, acc, points, actions=False)
        local = np.array([memory == acc.memories[0].name for memory in lowered.shape.buffers.values()])
        need.append((lowered.block.slots * lowered.block.slot_bytes.astype(np.float64))[:, local].sum(axis=1))
        ticks.append(run_points(lowered).astype(np.float64))
    return np.concatenate(need), np.concatenate(ticks)


def _unfused(op: Attention, acc: Accelerator) -> Found:
    """Mappings of Logit and of Attend, each with the fastest of the other parts that need no more room."""
    logit, softmax, attend = parts(op)
    first, last = (_every_form(product, acc) for product in (logit, attend))
    between = _mappings(Streamed(), softmax, acc)
    need, ticks = [], []
    for one, others in ((first, (between, last)), (last, (first, between))):
        for room, time in zip(*one, strict=True):
            chosen = [_fastest_within(other, room) for other in others]
            need.append(max(room, *(other_room for other_room, _ in chosen)))
            ticks.append(time + sum(other_time for _, other_time in chosen))
    return np.array(need), np.array(ticks)


def _every_form(product: Op, acc: Accelerator) -> Found:
    """Every mapping of a product, in all stationary forms."""
    found = [_mappings(form(), product, acc) for form in FORMS.values()]
    return np.concatenate([need for need, _ in found]), np.concatenate([ticks for _, ticks in found])


def _fastest_within(found: Found, room: float) -> tuple[float, float]:
    """Bytes and ticks of the fastest mapping that needs no more room; where there is none, of the smallest."""
    need, ticks = found
    allowed = need <= max(room, need.min())
    best = int(np.where(allowed, ticks, np.inf).argmin())
    return float(need[best]), float(ticks[best])


def _corrected(acc: Accelerator) -> pd.DataFrame:
    """The corrected model's whole space."""
    platform, op = platform_of(acc), shape(BERT, LENGTH)
    mapping = space(platform, op)
    estimate = evaluate(op, platform, mapping)
    tile = np.where(np.asarray(mapping.rows) == LENGTH, "FLAT H", "FLAT R")
    names = np.where(np.asarray(mapping.stage_scores, dtype=bool), tile, UNFUSED)
    return pd.DataFrame(
        {"dataflow": names, "footprint_bytes": estimate.footprint_bytes, "simulated": estimate.utilization}
    ).assign(mode=CORRECTED)


def plot(rows: pd.DataFrame) -> Figure:
    """A panel for the engine, one for the corrected model."""
    figure, axes = draw.panels(
        f"All mappings of BERT's attention, {draw.tokens(LENGTH)} tokens, {PLATFORM}", 10, 4.4, 1, 2
    )
    colour = draw.style([*TILES.values(), UNFUSED])
    capacity = machine(PLATFORM).memories[0].capacity_bytes
    for panel, mode in zip(axes, (ENGINE, CORRECTED), strict=True):
        for name, some in rows[rows["mode"] == mode].groupby("dataflow", sort=False):
            at = some["footprint_bytes"] / 2**20
            panel.scatter(at, some["simulated"], s=9, color=colour[str(name)], alpha=0.5, linewidths=0, label=name)
        panel.set_xscale("log")
        panel.set_ylim(0)
        panel.axvline(capacity / 2**20, color=GREY, linewidth=0.8, linestyle="--")
        panel.annotate(
            "buffer", (capacity / 2**20, 1), (-3, -3), panel.get_xaxis_transform(), "offset points",
            va="top", ha="right", fontsize=SMALL, color=GREY,
        )  # fmt: skip
        panel.grid(color=LIGHT, linewidth=0.6)
        y = "utilization" if mode == ENGINE else ""
        draw.label(panel, f"{mode}, softmax {'charged' if mode == ENGINE else 'free'}", "room needed (MiB)", y)
    draw.add_legend(figure, axes)
    return figure


def notes(rows: pd.DataFrame) -> list[str]:
    """What must be known of the rows."""
    count = rows["mode"].value_counts()
    capacity = machine(PLATFORM).memories[0].capacity_bytes
    fits = rows[(rows["footprint_bytes"] <= capacity) & (rows["mode"] == ENGINE)]
    best = fits.groupby("dataflow")["simulated"].max()
    return [
        f"{count[ENGINE]:,} mappings run by the engine and {count[CORRECTED]:,} of the corrected model's space, in a "
        f"buffer of {ROOM} where nothing spills. The points of the paper's own scatter (Fig. 13) cannot be read.",
        f"Best in the buffer, engine: rows of a head {best['FLAT R']:.3f}, un-fused {best[UNFUSED]:.3f}. The charged "
        "softmax caps FLAT at d / 512 = 0.125, as FuseMax found; where it is free, 64 of 256 columns cap it at 0.40.",
        "Un-fused: each mapping of Logit and of Attend with the fastest mappings of the rest that need no more room.",
    ]


FIGURE = PaperFigure(
    "flat", "space", "All mappings of one op: utilization against the room needed", "like Fig. 13", rows, plot, notes
)

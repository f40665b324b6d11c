"""FLAT and the dataflows after it on FLAT's two machines, the softmax charged: our own figure, nothing published."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.flat.runs import BERT, ENGINE, attention, machine, run
from accsim.figures.paper_figure import PaperFigure, compared
from accsim.mapping.base import list_dataflows
from accsim.report.words import mapping_short
from accsim.validate.flat import PLATFORMS

LENGTHS = (512, 4096, 32768, 262144, 1048576)
FAMILY = ("unfused", "flat", "flash1", "flash2", "flash3", "fusemax")
QUANTITIES = {"latency": "s", "energy": "J", "traffic": "B"}
BASE = "flat"
"""The dataflow that the picture shows the others against."""


def there() -> list[str]:
    """Those of the family that are registered."""
    return [name for name in FAMILY if name in list_dataflows()]


def rows() -> pd.DataFrame:
    """Latency, energy and off-chip traffic of the fastest mapping of each dataflow."""
    found = []
    for platform in PLATFORMS:
        for length in LENGTHS:
            for name in there():
                report = run(attention(BERT, length), machine(platform), name)
                about = {"platform": platform, "seq_len": length, "dataflow": name}
                about["mapping"] = "" if report is None else mapping_short(report.ops[0].mapping)
                values: list[float] = [float("nan")] * len(QUANTITIES)
                if report is not None:
                    values = [report.latency_s, report.energy_j, sum(report.traffic_bytes["dram"].values())]
                for (quantity, unit), value in zip(QUANTITIES.items(), values, strict=True):
                    found.append({**about, "quantity": quantity, "unit": unit, "mode": ENGINE, "simulated": value})
    return compared(pd.DataFrame(found))


def plot(rows: pd.DataFrame) -> Figure:
    """A row of panels a platform, a column a quantity; each dataflow over FLAT."""
    figure, axes = draw.panels(
        "FLAT and the dataflows after it: BERT, batch 64, softmax charged", 10.5, 6.2, len(PLATFORMS), len(QUANTITIES)
    )
    names = [name for name in FAMILY if name in set(rows["dataflow"])]
    colour = draw.style(names)
    places = [(platform, quantity) for platform in PLATFORMS for quantity in QUANTITIES]
    for panel, (platform, quantity) in zip(axes, places, strict=True):
        some = rows[(rows["platform"] == platform) & (rows["quantity"] == quantity)]
        wide = some.pivot(index="seq_len", columns="dataflow", values="simulated")
        for name in names:
            panel.plot(wide.index, wide[name] / wide[BASE], "-o", color=colour[name], markersize=4, label=name)
        draw.lengths_axis(panel, wide.index)
        if quantity == "traffic":
            draw.log_axis(panel)
        else:
            panel.set_ylim(0)
        x = "sequence length (tokens)" if platform == list(PLATFORMS)[-1] else ""
        draw.label(panel, f"{platform}: {quantity}", x, f"{quantity} ÷ FLAT's")
    draw.add_legend(figure, axes)
    return figure


def notes(rows: pd.DataFrame) -> list[str]:
    """What must be known of the rows."""
    missing = [name for name in FAMILY if name not in set(rows["dataflow"])]
    latency = rows[rows["quantity"] == "latency"].pivot(
        index=["platform", "seq_len"], columns="dataflow", values="simulated"
    )
    spilled = rows[rows["mapping"].str.contains("spill")].groupby("platform")["seq_len"].min().map(draw.tokens)
    gain = (latency["flat"] / latency["flash2"]).groupby("platform").max()
    found = [
        "Nothing of this is published: it is what the engine says of each dataflow's fastest mapping.",
        f"FlashAttention-2 is up to {gain['edge']:.1f}× (edge) and {gain['cloud']:.1f}× (cloud) as fast as FLAT: an "
        "online softmax tiles the keys too, so no row of scores has to fit the chip, and has three operations a score "
        f"in place of four. FLAT spills its rows at {spilled['edge']} (edge), {spilled['cloud']} (cloud) and beyond.",
        "Un-fused attention takes the rows of its softmax in blocks, and twice, where one does not fit the buffer.",
    ]
    if not {"flash3", "fusemax"} & set(missing):
        found += _beyond(latency)
    if missing:
        found.append(f"No dataflow here yet: {', '.join(missing)}.")
    return found


def _beyond(latency: pd.DataFrame) -> list[str]:
    """Notes of the two dataflows after FlashAttention-2."""
    halves = 100 * (latency["flash3"] / latency["flash2"] - 1)
    gain = (latency["flash2"] / latency["fusemax"]).groupby("platform").max()
    return [
        f"FlashAttention-3's halves in ping-pong: {halves.min():+.1f} to {halves.max():+.1f} % of FlashAttention-2's "
        "time, since its pipelined form overlaps softmax and GEMMs too.",
        f"FuseMax is up to {gain['edge']:.1f}× (edge) and {gain['cloud']:.1f}× (cloud) as fast as FlashAttention-2: "
        "the array takes the exponentials, and the lanes a correction for each output and tile. The cloud has 256 PEs "
        "a lane, the edge 32.",
    ]


FIGURE = PaperFigure(
    "flat", "family", "FLAT, FlashAttention and FuseMax on FLAT's machines, softmax charged", "nowhere: our own",
    rows, plot, notes,
)  # fmt: skip

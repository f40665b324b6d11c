"""TPU v4's torus against islands of 8 chips under InfiniBand: how much longer collectives take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, beside, read_published
from accsim.network.hierarchical import island_all_reduce
from accsim.network.islands import Islands
from accsim.network.torus import Torus

ISLAND = (2, 2, 2)
NIC_SHARE = 0.83
"""Share of InfiniBand's 200 Gb/s that collectives reach on a full fat tree: assumed."""
GRADIENTS = 680e6
"""Bytes of an all-reduce: the gradients of BERT-large, 340 million parameters in bf16; assumed."""
SIZES = (128e6, GRADIENTS, 1360e6)
PAIR = 1e5
"""Bytes for every pair of an all-to-all: large enough that latency is nothing."""

SLICES = ((8, 8, 8), (8, 8, 12), (8, 8, 16), (8, 12, 16), (8, 16, 16), (12, 16, 16), (16, 16, 16))
"""The slice of each number of chips whose sides differ least, twisted where it can be."""

REDUCE, EXCHANGE = COLLECTIVES = "all-reduce", "all-to-all"
LOWEST, HIGHEST = ENDS = "lowest", "highest"


class Slowdown(NamedTuple):
    """Time on islands over time on a slice."""

    shape: tuple[int, int, int]
    collective: str
    size: float
    ratio: float

    @property
    def chips(self) -> int:
        """Of the slice."""
        return math.prod(self.shape)


def slowdowns(nic_share: float = NIC_SHARE, sizes: Sequence[float] = SIZES) -> list[Slowdown]:
    """Of each slice and collective; an all-reduce of each size."""
    found = []
    for shape in SLICES:
        twisted = sorted(set(shape)) == [min(shape), 2 * min(shape)]
        tori = [Torus(shape, twisted=twist) for twist in ({False, twisted})]
        islands = Islands(Torus(ISLAND, wrap=False), math.prod(shape) // math.prod(ISLAND), link_efficiency=nic_share)
        for size in sizes:
            best = min(torus.all_reduce(size, algorithm="torus_rings").time_s for torus in tori)
            found.append(Slowdown(shape, REDUCE, size, island_all_reduce(islands, size).time_s / best))
        best = min(torus.all_to_all(PAIR).time_s for torus in tori)
        found.append(Slowdown(shape, EXCHANGE, PAIR, island_exchange(islands, PAIR) / best))
    return found


def island_exchange(islands: Islands, pair: float) -> float:
    """Seconds of a uniform all-to-all over NICs: those of an island talk over its own links."""
    inside = islands.inside.chips
    return pair * inside * (islands.islands - 1) / islands.links()[0].rate


def rows() -> pd.DataFrame:
    """The lowest and the highest slowdown beside the published ones, then those of every slice."""
    found = slowdowns()
    table = []
    for collective in COLLECTIVES:
        here = [one for one in found if one.collective == collective and one.size in (GRADIENTS, PAIR)]
        for end, one in zip(ENDS, (min(here, key=_ratio), max(here, key=_ratio)), strict=True):
            table.append((collective, end, "slowdown", "x", _mode(one), one.ratio))
    ends = pd.DataFrame(table, columns=["collective", "end", "quantity", "unit", "mode", "simulated"])
    joined = beside(ends, read_published(__file__))
    each = [
        (one.collective, "x".join(map(str, one.shape)), "slowdown", "x", _mode(one), one.ratio, one.chips, one.size)
        for one in found
    ]
    columns = ["collective", "end", "quantity", "unit", "mode", "simulated", "chips", "bytes"]
    return pd.concat([joined, pd.DataFrame(each, columns=columns)], ignore_index=True)[
        ["collective", "end", "chips", "bytes", *joined.columns[2:]]
    ]


def _ratio(one: Slowdown) -> float:
    return one.ratio


def _mode(one: Slowdown) -> str:
    return f"{one.size / 1e6:g} MB" if one.collective == REDUCE else "large messages"


def plot(rows: pd.DataFrame) -> Figure:
    """Slowdown by chips; the published range as a band."""
    figure, axes = draw.panels("InfiniBand between islands of 8 chips, against TPU v4's torus", 9.0, 3.4, 1, 2)
    colour = draw.style(list(rows["mode"].unique()))
    for panel, collective in zip(axes, COLLECTIVES, strict=True):
        here = rows[rows["collective"] == collective]
        low, high = here["published"].dropna()
        panel.axhspan(low, high, color="#dddddd", label="published range", zorder=0)
        each = here[here["chips"].notna()]
        for mode, line in each.groupby("mode", sort=False):
            panel.plot(line["chips"], line["simulated"], "o-", color=colour[str(mode)], label=f"{collective}, {mode}")
        draw.values_axis(panel, sorted(each["chips"].unique()))
        panel.set_ylim(0, 3)
        draw.label(panel, collective, "chips", "times as long as on the torus")
    draw.add_legend(figure, axes, 5)
    return figure


def notes(rows: pd.DataFrame) -> list[str]:
    """Assumptions, and what differs."""
    errors = rows.dropna(subset=["published"]).set_index(["collective", "end"])["relative_error"] * 100
    ideal = slowdowns(1.0, (GRADIENTS,))
    spans = {
        collective: (min(ratios), max(ratios))
        for collective in COLLECTIVES
        for ratios in [[one.ratio for one in ideal if one.collective == collective]]
    }
    told = ", ".join(
        f"{collective} {end} {errors[collective, end]:+.0f} %" for collective in COLLECTIVES for end in ENDS
    )
    full = ", ".join(f"{collective} {low:.2f} to {high:.2f}" for collective, (low, high) in spans.items())
    return [
        "Assumed, and the same for all slices: islands of 2x2x2 on links of 50 GB/s without wraparound, a NIC of "
        f"25 GB/s a chip of which {NIC_SHARE:.0%} is reached, a fat tree that binds nowhere, all-reduces of "
        f"{GRADIENTS / 1e6:.0f} MB (BERT-large in bf16) in as many chunks as are best, slices as cubic as they can be, "
        "twisted where that helps. None of this is published.",
        f"Ends against the published ones: {told}.",
        f"With NICs at their full rate: {full}.",
        "The published range of the all-reduce is wider than ours, which varies with the shape (axes of unequal length "
        "leave links of the torus idle) and with the number of exchanges. Small buffers cost the islands more.",
    ]


FIGURE = PaperFigure(
    "tpuv4", "infiniband", "Islands under InfiniBand against the torus", "TPU v4 (ISCA 2023), section 7.3",
    rows, plot, notes,
)  # fmt: skip

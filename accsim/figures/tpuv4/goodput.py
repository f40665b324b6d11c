"""Goodput by slice size and availability of hosts: optical switches against fixed wires."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from accsim.errors import InputError
from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, beside, read_published
from accsim.network.goodput import Machine
from accsim.report.plot_style import LIGHT

HOSTS: Final = (0.99, 0.995, 0.999)
BLOCKS: Final[Mapping[int, tuple[int, int, int]]] = {
    64: (1, 1, 1), 128: (1, 1, 2), 256: (1, 2, 2), 512: (2, 2, 2),
    1024: (2, 2, 4), 2048: (2, 4, 4), 3072: (3, 4, 4), 4096: (4, 4, 4),
}  # fmt: skip
"""Chips of a slice to the block of cubes that it is with fixed wires."""

CONFIDENCE: Final = 0.9
SAMPLES: Final = 200_000

SWITCHES, WIRES = "switches", "wires"
MEAN, SURE = "switches, mean", f"switches, {100 * CONFIDENCE:g} % sure"
ALIGNED, ANYWHERE = "wires, aligned blocks", "wires, any block"
MODES: Final = {MEAN: "-o", SURE: "--s", ALIGNED: "-^", ANYWHERE: "-v"}
"""Line and marker of each."""


def rows() -> pd.DataFrame:
    """Goodput of every wiring; a standard error where it is sampled."""
    found = [
        (mode.split(",")[0], host, chips, mode, *value)
        for host in HOSTS
        for chips, block in BLOCKS.items()
        for mode, value in _of(Machine(host), block).items()
    ]
    table = pd.DataFrame(found, columns=["wiring", "host", "chips", "mode", "simulated", "standard_error"])
    return beside(table.assign(quantity="goodput", unit="1"), read_published(__file__))


def _of(machine: Machine, block: tuple[int, int, int]) -> dict[str, tuple[float, float]]:
    """Goodput and its standard error, by mode."""
    cubes = math.prod(block)
    return {
        MEAN: (machine.switched(cubes), 0.0),
        SURE: (machine.guaranteed(cubes, CONFIDENCE), 0.0),
        ALIGNED: (machine.fixed(block), 0.0),
        ANYWHERE: _anywhere(machine, block),
    }


def _anywhere(machine: Machine, block: tuple[int, int, int]) -> tuple[float, float]:
    """With blocks of every orientation anywhere and across the ends; sampled where there is no closed form."""
    try:
        return machine.fixed(block, "wrap"), 0.0
    except InputError:
        _, found = machine.sample(block, "wrap", SAMPLES)
        return found.mean, found.standard_error


def plot(rows: pd.DataFrame) -> Figure:
    """A panel for each availability of hosts."""
    figure, axes = draw.panels("TPU v4: goodput by size of the slices", 11.5, 3.8, 1, len(HOSTS))
    colour = draw.style([draw.PUBLISHED, *MODES])
    for panel, host in zip(axes, HOSTS, strict=True):
        here = rows[rows["host"] == host]
        for mode, dash in MODES.items():
            line = here[here["mode"] == mode]
            panel.plot(line["chips"], line["simulated"], dash, color=colour[mode], markersize=3.5, label=mode)
        known = here[here["published"].notna()]
        panel.plot(
            known["chips"], known["published"], "x", color=draw.PUBLISHED_COLOUR, markersize=8, label=draw.PUBLISHED
        )
        draw.values_axis(panel, here["chips"], lambda chips: draw.tokens(int(chips)))
        panel.set_ylim(-0.03, 1.03)
        panel.grid(color=LIGHT, linewidth=0.6)
        y = "goodput (share of the chips)" if host == HOSTS[0] else ""
        draw.label(panel, f"hosts work {100 * host:g} % of the time", "chips of a slice", y)
    draw.add_legend(figure, axes, 5)
    return figure


def notes(rows: pd.DataFrame) -> list[str]:
    """What is compared with what, and what it proves."""
    known = rows[rows["published"].notna() & (rows["mode"] == MEAN)]
    worst = 100 * known["relative_error"].abs().max()
    cell = rows.set_index(["host", "chips", "mode"])["simulated"]
    wires = ", ".join(f"{cell[host, 1024, ALIGNED]:.2f} at {100 * host:g} %" for host in HOSTS)
    return [
        f"The mean lies within {worst:.1f} % of all {len(known)} published values, and the goodput that is reached "
        f"with {100 * CONFIDENCE:g} % certainty equals them. Any certainty up to 98.9 % would, so they prove little.",
        "Published in words: without switches only 99.9 % gives a reasonable goodput. Aligned blocks of 1024 chips "
        f"have {wires}.",
        "64 cubes of 16 hosts, all alike and independent; a cube works if its hosts do, h^16. Switches: a slice takes "
        "any cubes that work (binomial). Wires: it takes a block of neighbours; which blocks the paper allows is not "
        "said, so two sets are shown: one aligned partition, and blocks of every orientation anywhere and across the "
        "machine's ends.",
        f"wires, any block: closed form for 3072 and 4096 chips, else {SAMPLES:,} drawn machines filled first-fit.",
        "3072 chips is above 2048 with switches: one slice of 48 cubes leaves 16 spare, a second one of 32 leaves "
        "none.",
    ]


FIGURE = PaperFigure(
    "tpuv4", "goodput", "Goodput by slice size, with optical switches and with fixed wires",
    "TPU v4 (ISCA 2023), Fig. 4", rows, plot, notes,
)  # fmt: skip

"""Load of every link of a 4x4x8 slice, by axis and position: tori, routings, traffic."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, compared
from accsim.network import Torus
from accsim.report.plot_style import SMALL

SHAPE: Final = (4, 4, 8)
AXES: Final = "xyz"
HOT, HOT_SHARE = 0, 8.0
"""The chip that gets more, and how many times as much as another one."""


class Case(NamedTuple):
    """A torus, a routing, and whether one chip gets more traffic than the others."""

    torus: Torus
    routing: str
    skewed: bool = False

    @property
    def traffic(self) -> NDArray[np.float64]:
        """Share of each pair in the traffic of all, times their number; float64[from, to]."""
        chips = self.torus.chips
        pairs = np.ones((chips, chips))
        pairs[:, HOT] = HOT_SHARE if self.skewed else 1.0
        np.fill_diagonal(pairs, 0.0)
        return np.asarray(pairs * (chips * (chips - 1) / pairs.sum()))

    def loads(self) -> NDArray[np.float64]:
        """Pairs whose traffic each link carries, float64[x, y, z, axis, direction]; upwards first."""
        found = self.torus.link_loads(self.traffic, routing=self.routing, contention="links").link_bytes
        link_at = self.torus.graph.link_at
        loads = np.where(link_at >= 0, found[link_at], np.nan)
        return loads.reshape(*self.torus.shape, len(AXES), 2)


REGULAR, TWISTED = Torus(SHAPE), Torus(SHAPE, twisted=True)
CASES: Final = {
    "mesh, dimension order": Case(Torus(SHAPE, wrap=False), "dimension_order"),
    "regular, minimal": Case(REGULAR, "minimal"),
    "twisted, minimal": Case(TWISTED, "minimal"),
    "twisted, dimension order, lexicographic": Case(TWISTED, "dimension_order?ties=lexicographic"),
    "regular, minimal, hot chip": Case(REGULAR, "minimal", skewed=True),
    "twisted, minimal, hot chip": Case(TWISTED, "minimal", skewed=True),
}


def rows() -> pd.DataFrame:
    """A row for each link: where it leaves, along which axis and in which direction."""
    parts = []
    for mode, case in CASES.items():
        loads = case.loads()
        x, y, z, axis, down = (index.ravel() for index in np.indices(loads.shape))
        part = pd.DataFrame({"axis": np.array(list(AXES))[axis], "direction": np.array(["+", "-"])[down]})
        parts.append(part.assign(x=x, y=y, z=z, mode=mode, simulated=loads.ravel()))
    table = pd.concat(parts, ignore_index=True).dropna(subset=["simulated"])
    return compared(table.assign(quantity="link load", unit="pairs"))


def plot(rows: pd.DataFrame) -> Figure:
    """A row of panels for each axis, a column for each case; a cell is a chip, and has its busier direction."""
    figure, axes = draw.panels("All-to-all on a 4x4x8 slice: load of every link", 12.5, 7.2, len(AXES), len(CASES))
    most = float(rows["simulated"].max())
    image = None
    for i, axis in enumerate(AXES):
        for j, mode in enumerate(CASES):
            panel = axes[i * len(CASES) + j]
            here = rows[(rows["axis"] == axis) & (rows["mode"] == mode)]
            image = _map(panel, here, most)
            panel.set_title(f"{mode.replace(', ', chr(10))}\n" if i == 0 else "", fontsize=SMALL, loc="left")
            load = here["simulated"]
            panel.set_xlabel(f"{load.min():.0f} to {load.max():.0f}", fontsize=SMALL)
            if j == 0:
                panel.set_ylabel(f"links along {axis}\n4 x + y", fontsize=SMALL)
    assert image is not None
    bar = figure.colorbar(image, ax=axes, fraction=0.02, pad=0.01)
    bar.set_label("pairs whose traffic the busier direction carries", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    return figure


def _map(axes: Axes, rows: pd.DataFrame, most: float) -> AxesImage:
    """Chips of a plane z under each other; blank where no link leaves."""
    busier = rows.groupby(["x", "y", "z"])["simulated"].max()
    cells = np.full(SHAPE, np.nan)
    cells[tuple(busier.index.to_frame().to_numpy().T)] = busier.to_numpy()
    x, y, z = SHAPE
    image = axes.imshow(cells.reshape(x * y, z), cmap="viridis", vmin=0, vmax=most, aspect="auto")
    axes.set_xticks([0, z - 1], ["z = 0", f"{z - 1}"], fontsize=SMALL - 1)
    axes.set_yticks([0, 4, 8, 12], ["0", "4", "8", "12"], fontsize=SMALL - 1)
    return image


def notes(rows: pd.DataFrame) -> list[str]:
    """What the maps show."""
    most = rows.groupby("mode", sort=False)["simulated"].max()
    hot = [most["regular, minimal, hot chip"], most["twisted, minimal, hot chip"]]
    into = CASES["regular, minimal, hot chip"].traffic[:, HOT].sum()
    each = "; ".join(f"{mode} {value:.1f}" for mode, value in most.items())
    return [
        f"Busiest link, in pairs whose whole traffic it carries: {each}. All cases have the same traffic in all, "
        "every pair alike, or the hot chip receiving 8 times what others do.",
        "On a torus all links of an axis are alike, so uniform traffic differs by axis alone: a regular one waits for "
        "its long axis, z, with x and y half used. The twist makes all three alike; that is its whole gain. A routing "
        "that takes ties one way throws a part of that away.",
        "A mesh has no closed axes: its middle carries what a torus sends both ways around.",
        f"A hot chip receives by six links, {into / 6:.0f} pairs each at best. Regular, its z links carry "
        f"{hot[0]:.0f}, as they carry most of the other traffic; twisted, all six carry {hot[1]:.0f}, a gain of "
        f"{hot[0] / hot[1]:.2f}.",
        "Below each map: least and most of it. Nothing is published of single links, so nothing is compared.",
    ]


FIGURE = PaperFigure(
    "tpuv4", "heatmap", "Load of every link of a 4x4x8 slice, by torus, routing and traffic", "nowhere: our own",
    rows, plot, notes,
)  # fmt: skip

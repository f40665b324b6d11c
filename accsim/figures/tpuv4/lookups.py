"""What embeddings ask of TPU v4: throughput by width, valency and popularity of rows, and with more of each part."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from accsim.embedding.placement import row_sharded
from accsim.embedding.step_work import step_work
from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, compared
from accsim.report.plot_style import LIGHT
from accsim.system import read_slice
from accsim.system.cut import cut
from accsim.system.halves import pipelined
from accsim.system.legs import embedding_legs, links_of
from accsim.system.placing import tiles_of
from accsim.workload.embeddings import EmbeddingSet, Feature, Popularity, Table, Valency

SLICE, SAMPLES, DEDUP, STACKS = "tpu_v4:twisted:4x4x8", 2048, "source", 8
TABLES, ROWS = 100, 2_000_000
WIDTH, VALENCY, EXPONENT = 64, 10, 1.0
SWEEPS: Final = {
    "width": (16, 32, 64, 128, 256), "valency": (1, 3, 10, 30, 100), "exponent": (0.0, 0.6, 0.8, 1.0, 1.2)
}  # fmt: skip
MACHINES: Final[dict[str, dict[str, object]]] = {
    "as built": {},
    "8 SparseCores": {"sparse_core.count": 8},
    "links twice as fast": {"interconnect.link_bandwidth": "100 GB/s"},
    "both": {"sparse_core.count": 8, "interconnect.link_bandwidth": "100 GB/s"},
}
EMBEDDING: Final = "embedding half"
RATE: Final = "lookups of a chip"


def rows() -> pd.DataFrame:
    """Lookups a second by each of the three, and by machine."""
    found: list[tuple[object, ...]] = []
    for axis, values in SWEEPS.items():
        for value in values:
            found.append((axis, value, RATE, "G/s", DEDUP, _rate(**{axis: value}, machine="as built")))
    for machine in MACHINES:
        for valency in (1, VALENCY, 100):
            found.append((machine, valency, RATE, "G/s", DEDUP, _rate(valency=valency, machine=machine)))
    return compared(pd.DataFrame(found, columns=["case", "x", "quantity", "unit", "mode", "simulated"]))


@lru_cache(maxsize=64)
def _rate(
    width: float = WIDTH, valency: float = VALENCY, exponent: float = EXPONENT, machine: str = "as built"
) -> float:
    """Lookups of a chip in a second of its embedding half, 10^9."""
    bag = int(valency)
    tables = Table("t", ROWS, int(width), popularity=Popularity(exponent, 10), count=TABLES)
    both = EmbeddingSet((tables,), (Feature("f", "t", Valency(bag, bag), count=TABLES),))
    on = read_slice(SLICE, set=MACHINES[machine])
    work = step_work(both, SAMPLES, row_sharded(both, on.chips), dedup=DEDUP, tiles=tiles_of(on))
    legs = embedding_legs(on, cut(work, STACKS), "sparse_core", links_of(on, work))
    time_s = sum(pipelined(each, legs.stacks).time_s for each in (legs.forward, legs.backward))
    return sum(stack.looked_up for stack in work.stacks) / time_s / 1e9


def plot(rows: pd.DataFrame) -> Figure:
    """The three sweeps and the machines."""
    figure, axes = draw.panels(f"Lookups of a chip of TPU v4, {TABLES} tables on 128 chips", 12.0, 3.8, 1, 4)
    for panel, (axis, values) in zip(axes, SWEEPS.items(), strict=False):
        line = rows[rows["case"] == axis]
        panel.plot(line["x"], line["simulated"], "-o", color=draw.style([EMBEDDING])[EMBEDDING], markersize=4,
                   label="embedding half")  # fmt: skip
        if axis != "exponent":
            draw.values_axis(panel, values)
        panel.set_ylim(0)
        panel.grid(color=LIGHT, linewidth=0.6)
        draw.label(panel, f"by {axis}", {"width": "elements", "valency": "rows of a bag"}.get(axis, "of popularity"),
                   "10⁹ lookups/s")  # fmt: skip
    here = rows[rows["case"].isin(MACHINES)]
    series = {
        f"valency {int(x)}": here[here["x"] == x].set_index("case").loc[list(MACHINES), "simulated"].tolist()
        for x in (1, VALENCY, 100)
    }
    draw.bars(axes[3], [name.replace(" ", "\n") for name in MACHINES], series, 2)
    draw.label(axes[3], "by machine", "", "10⁹ lookups/s")
    draw.add_legend(figure, axes, 5)
    return figure


def notes(rows: pd.DataFrame) -> list[str]:
    """What would help."""
    value = rows[rows["case"].isin(MACHINES)].set_index(["case", "x"])["simulated"]
    gain = {m: value[m, VALENCY] / value["as built", VALENCY] for m in MACHINES}
    return [
        f"At {VALENCY} rows a bag twice the SparseCores gain {gain['8 SparseCores']:.2f} x, links twice as fast "
        f"{gain['links twice as fast']:.2f} x, both {gain['both']:.2f} x: links bind.",
        f"{TABLES} tables of {ROWS:,} rows, one feature each; unless swept, {WIDTH} wide, {VALENCY} rows a bag, "
        f"exponent {EXPONENT:g} with a shift of 10. All rows dealt over all chips, {SAMPLES:,} samples a chip, "
        "duplicates dropped at the chip that asks.",
        "Popular rows are looked up again and again, so dedup makes steep laws faster, and hot rows limit them.",
        "Nothing of this is published: our own.",
    ]


FIGURE = PaperFigure(
    "tpuv4", "lookups", "Lookups by width, valency and popularity; twice the SparseCores", "nowhere: our own",
    rows, plot, notes,
)  # fmt: skip

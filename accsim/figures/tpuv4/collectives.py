"""Collectives against message size, on slices and within GPU nodes, with the algorithm that is chosen."""

from __future__ import annotations

from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accsim.config.catalogue import load_accelerator
from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, beside, read_published
from accsim.figures.tpuv4.bisection import PODS
from accsim.network import Torus
from accsim.network.node import node_times

SIZES: Final = tuple(2**power for power in range(10, 33, 3))
KINDS: Final = ("all_reduce", "all_to_all")
SLICES: Final = {
    "4x4x4": Torus((4, 4, 4)), "4x4x8 twisted": Torus((4, 4, 8), twisted=True), "16x16x16": Torus((16, 16, 16))
}  # fmt: skip
NODES: Final = {"H100 node": "h100_sxm", "A100 node": "a100_sxm"}
GPUS: Final = 8

PUBLISHED_PODS: Final = ("TPU v4", "TPU v5e", "TPU v6e")
POD_BYTES: Final = 2**34
EFFICIENCIES: Final = (1.0, 0.9)
"""Share of a link's bandwidth that payload gets: ideal, and what the JAX scaling book counts on (45 of 50 GB/s)."""

STEPS, PROTOCOLS = "steps on links", "protocols of the node"
TIME, RATE, TOTAL = "time", "buffer over time", "bandwidth of all chips"


def rows() -> pd.DataFrame:
    """Time and rate of every network, collective and size; then the pods."""
    found: list[tuple[object, ...]] = []
    for kind in KINDS:
        for name, torus in SLICES.items():
            for size in SIZES:
                here = torus.collective(kind, size)
                found += _row(name, kind, size, here.algorithm, STEPS, here.time_s)
        for name, machine in NODES.items():
            links = load_accelerator(machine).links
            assert links is not None
            times, protocols = node_times(links, kind, GPUS, SIZES)
            for size, time, protocol in zip(SIZES, times.tolist(), protocols.tolist(), strict=True):
                found += _row(name, kind, size, protocol, PROTOCOLS, time)
    for pod in PUBLISHED_PODS:
        found += [_pod(pod, efficiency) for efficiency in EFFICIENCIES]
    columns = ["network", "kind", "size_bytes", "algorithm", "mode", "quantity", "unit", "simulated"]
    return beside(pd.DataFrame(found, columns=columns), read_published(__file__))


def _row(name: str, kind: str, size: int, algorithm: str, mode: str, time_s: float) -> list[tuple[object, ...]]:
    case = (name, kind, size, algorithm, mode)
    return [(*case, TIME, "us", time_s * 1e6), (*case, RATE, "GB/s", size / time_s / 1e9)]


def _pod(pod: str, efficiency: float) -> tuple[object, ...]:
    """Bytes that all chips of a pod send in a second, in a large all-reduce: 2 (N - 1) / N of the buffer each."""
    shape, rate = PODS[pod]
    torus = Torus(shape, link_bytes_per_s=rate, link_efficiency=efficiency)
    found = torus.all_reduce(POD_BYTES, algorithm="torus_rings")
    total = 2 * (torus.chips - 1) * POD_BYTES / found.time_s / 1e12
    mode = f"links at {100 * efficiency:g} %"
    return f"{pod} pod", "all_reduce", POD_BYTES, found.algorithm, mode, TOTAL, "TB/s", total


def plot(rows: pd.DataFrame) -> Figure:
    """Times and rates by size; colours are networks, markers algorithms. The pods beside."""
    figure, axes = draw.panels("Collectives against message size", 11.0, 7.2, 2, 2)
    sized = rows[rows["quantity"] != TOTAL]
    colour = draw.style(list(sized["network"].unique()))
    markers = dict(zip(sized["algorithm"].unique(), "os^vDPX*", strict=False))
    for panel, quantity, kind, y in (
        (axes[0], TIME, KINDS[0], "time (us)"), (axes[1], RATE, KINDS[0], "buffer ÷ time (GB/s)"),
        (axes[2], TIME, KINDS[1], "time (us)"),
    ):  # fmt: skip
        here = sized[(sized["quantity"] == quantity) & (sized["kind"] == kind)]
        _lines(panel, here, colour, markers)
        draw.label(panel, kind, "bytes of a chip's buffer", y)
    for algorithm, marker in markers.items():
        axes[0].plot([], [], marker, color="#666666", markersize=4, label=str(algorithm))
    pods = rows[rows["quantity"] == TOTAL]
    names = list(pods["network"].unique())
    table = pods.pivot(index="network", columns="mode", values="simulated").loc[names]
    published = pods.drop_duplicates("network")["published"].tolist()
    modes = {mode: table[mode].tolist() for mode in pods["mode"].unique()}
    draw.bars(axes[3], names, {draw.PUBLISHED: published} | modes, 1, draw.style([draw.PUBLISHED, *"12345", *modes]))
    draw.log_axis(axes[3])
    axes[3].set_ylim(20, 4000)
    draw.label(axes[3], "all_reduce of whole pods, 16 GiB", "", "bytes sent by all chips (TB/s)")
    draw.add_legend(figure, axes, 6)
    return figure


def _lines(axes: Axes, rows: pd.DataFrame, colour: dict[str, str], markers: dict[str, str]) -> None:
    for name, line in rows.groupby("network", sort=False):
        axes.plot(line["size_bytes"], line["simulated"], "-", color=colour[str(name)], linewidth=1.2, label=str(name))
        for algorithm, some in line.groupby("algorithm", sort=False):
            axes.plot(
                some["size_bytes"], some["simulated"], markers[str(algorithm)], color=colour[str(name)], markersize=4.5
            )
    draw.values_axis(axes, SIZES, _bytes)
    draw.log_axis(axes)


def _bytes(size: float) -> str:
    """A number of bytes in short."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 2**power:
            return f"{size / 2**power:g}\n{unit}"
    return f"{size:g}\nB"


def notes(rows: pd.DataFrame) -> list[str]:
    """What is met, and what the lines show."""
    pods = rows[rows["quantity"] == TOTAL].set_index(["network", "mode"])["relative_error"] * 100
    ideal, real = (f"links at {100 * efficiency:g} %" for efficiency in EFFICIENCIES)
    raw = max(abs(pods[f"{pod} pod", ideal]) for pod in ("TPU v5e", "TPU v6e"))
    few = rows[(rows["kind"] == "all_reduce") & (rows["quantity"] == TIME) & (rows["size_bytes"] == SIZES[0])]
    least = ", ".join(f"{row.network} {row.simulated:.1f} us by {row.algorithm}" for row in few.itertuples())
    return [
        f"Pods: the 1.1 PB/s of TPU v4 counts 45 GB/s a link: {pods['TPU v4 pod', real]:+.1f} % with {real}, "
        f"{pods['TPU v4 pod', ideal]:+.1f} % with {ideal}. The numbers of v5e and v6e count raw links: within "
        f"{raw:.2f} % with {ideal}. The efficiency enters the rate of every link, and nothing else.",
        "Slices: ideal links of 50 GB/s, 1 us a hop (assumed: the real latency is not published), no launch. Nodes: 8 "
        "GPUs, launch, hop and protocols fitted to measured rows; docs/collectives.md has both models and their "
        "errors.",
        f"all_reduce of 1 KiB: {least}.",
        "Large buffers: three axes of 2 x 50 GB/s reach half of 300 GB/s in an all-reduce whatever the slice's size "
        "(4x4x8 twisted by trees that share no link, its rings being unlike); an all-to-all gets slower with the "
        "longest axis.",
        "Of algorithms, the fastest for the size is taken and drawn; 4096 chips are too many for those that are "
        "routed pair by pair, so only rings along the axes are tried there.",
    ]


FIGURE = PaperFigure(
    "tpuv4", "collectives", "Collectives against message size, on slices and GPU nodes",
    "our own; all-reduce of pods: Google Cloud documentation", rows, plot, notes,
)  # fmt: skip

"""What N:M weights would buy a TPU v4 whose arrays had modes for them: a language model, reading and writing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accsim.config.catalogue import load_accelerator
from accsim.config.machine import Accelerator
from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, compared
from accsim.report.plot_style import COLOURS, GREY, LIGHT, SMALL
from accsim.report.result import Report
from accsim.report.simulate import simulate
from accsim.sparsity.nm import NM
from accsim.workload.catalogue import load_workload
from accsim.workload.ops import Gemm
from accsim.workload.trace import Workload

MACHINE = "tpu_v4"
MODEL = "llama3_8b"
PHASES = {"prefill": f"{MODEL}_prefill?seq=1024", "decode": f"{MODEL}_decode"}
PATTERNS = (NM(2, 4), NM(1, 4), NM(1, 8))
DENSE = "dense"
UNPRUNED = "lm_head"
"""The one product of weights that stays dense: it makes the tokens, and pruning recipes leave it out."""

ENGINE, BOUND = "engine", "pruned products by density"
LATENCY, ENERGY, PRODUCT = "latency", "energy", "latency of "
PARTS = ("mac", "vmem", "cmem", "hbm", "idle")
"""Where the energy goes, from the array outward; the lanes' part is too small to be seen."""


def rows() -> pd.DataFrame:
    """Latency and energy of the model, with its parts and its pruned products, by phase and pattern."""
    found = [row for phase in PHASES for row in _of_phase(phase)]
    columns = ["phase", "pattern", "density", "mode", "quantity", "unit", "simulated"]
    return compared(pd.DataFrame(found, columns=columns))


def _of_phase(phase: str) -> Iterator[tuple[object, ...]]:
    dense = run(phase, None)
    pruned = sum(seconds for _, seconds in _pruned(dense))
    for pattern in (None, *PATTERNS):
        density = float(pattern.density) if pattern else 1.0
        case = (phase, str(pattern or DENSE), density)
        report = run(phase, pattern)
        yield (*case, ENGINE, LATENCY, "ms", 1e3 * report.latency_s)
        yield (*case, ENGINE, ENERGY, "mJ", 1e3 * report.energy_j)
        for part in PARTS:
            yield (*case, ENGINE, f"{ENERGY} of {part}", "mJ", 1e3 * report.energy_breakdown_j.get(part, 0.0))
        for name, seconds in _pruned(report):
            yield (*case, ENGINE, f"{PRODUCT}{name}", "ms", 1e3 * seconds)
        yield (*case, BOUND, LATENCY, "ms", 1e3 * (dense.latency_s - pruned * (1 - density)))


@cache
def machine() -> Accelerator:
    """The machine with a mode for each pattern in its arrays."""
    modes = {"matrix_unit.sparse.modes.bf16": [str(pattern) for pattern in PATTERNS]}
    return load_accelerator(MACHINE, set=modes)


@cache
def run(phase: str, pattern: NM | None) -> Report:
    """The model with its products pruned."""
    return simulate(pruned_model(load_workload(PHASES[phase]), pattern), machine())


def pruned_model(model: Workload, pattern: NM | None) -> Workload:
    """A model whose products with parameters have a pattern, but for the last."""
    entries = tuple(
        replace(entry, op=replace(entry.op, sparsity=pattern))
        if isinstance(entry.op, Gemm) and entry.op.weights and entry.name != UNPRUNED
        else entry
        for entry in model.entries
    )
    return replace(model, entries=entries)


def _pruned(report: Report) -> list[tuple[str, float]]:
    """Products that are pruned, or would be, and how long all repeats take."""
    return [
        (row.names[0], row.count * row.energy.latency_s)
        for row in report.ops
        if isinstance(row.op, Gemm) and row.op.weights and UNPRUNED not in row.names
    ]


def plot(rows: pd.DataFrame) -> Figure:
    """Speedups of the model, of its products, and its energy; a row for each phase."""
    figure, axes = draw.panels(f"{MODEL} with N:M weights on a {MACHINE} with sparse arrays", 11.0, 6.6, 2, 3)
    names = [str(pattern) for pattern in PATTERNS]
    for line, phase in enumerate(PHASES):
        here = rows[rows["phase"] == phase]
        whole, products, energy = axes[3 * line : 3 * line + 3]
        _model(whole, here[here["quantity"] == LATENCY], names)
        _products(products, here[here["quantity"].str.startswith(PRODUCT)], names)
        _energy(energy, here, [DENSE, *names])
        draw.label(whole, f"{phase}: the whole model", "", "speedup")
        draw.label(products, f"{phase}: products", "", "speedup")
        draw.label(energy, f"{phase}: energy", "", "share of dense")
    draw.add_legend(figure, [axes[0]])
    axes[1].legend(loc="upper left", fontsize=SMALL, frameon=False)
    axes[2].legend(loc="upper right", fontsize=SMALL, frameon=False)
    return figure


def _speedups(rows: pd.DataFrame, names: list[str]) -> list[float]:
    by_pattern = rows.set_index("pattern")["simulated"]
    return [by_pattern[DENSE] / by_pattern[name] for name in names]


def _model(axes: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    series = {mode: _speedups(rows[rows["mode"] == mode], names) for mode in (BOUND, ENGINE)}
    draw.bars(axes, names, series)


def _products(axes: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    series = {"1 / density": [1 / float(pattern.density) for pattern in PATTERNS]}
    for quantity, some in rows.groupby("quantity", sort=False):
        series[str(quantity).removeprefix(PRODUCT)] = _speedups(some, names)
    draw.bars(axes, names, series, 1, dict(zip(series, (GREY, *COLOURS[2:]), strict=False)))


def _energy(axes: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    total = rows[(rows["quantity"] == ENERGY) & (rows["pattern"] == DENSE)]["simulated"].item()
    below = pd.Series(0.0, index=names)
    for part, colour in zip(PARTS, (*COLOURS[4:], LIGHT), strict=True):
        here = rows[rows["quantity"] == f"{ENERGY} of {part}"].set_index("pattern")["simulated"] / total
        axes.bar(names, here[names], 0.6, bottom=below, color=colour, label=part)
        below += here[names]
    axes.set_ylim(0, 1.1)


def notes(rows: pd.DataFrame) -> list[str]:
    """What the picture shows, and what must be known."""
    engine = rows[rows["mode"] == ENGINE]
    by_pattern = engine.pivot_table("simulated", ["phase", "quantity"], "pattern")
    faster = by_pattern[DENSE] / by_pattern["2:4"]
    less = 100 * (1 - 1 / faster)
    return [
        f"2:4 makes prefill {faster['prefill', LATENCY]:.2f} and decode {faster['decode', LATENCY]:.2f} times as fast, "
        f"and saves {less['prefill', ENERGY]:.0f} and {less['decode', ENERGY]:.0f} % of the energy, most of it idle "
        "power for a shorter time. Prefill gains by the array's cycles, decode by bytes, of which places are a part.",
        f"{MODEL}, bf16. Prefill: 1024 tokens of one prompt; decode: a token of each of 16 sequences. Attention and "
        f"{UNPRUNED} stay dense. Blue: pruned products at the dense time by the density, all else as it is.",
        f"Our own: no {MACHINE} has such arrays. Each row of an array would get m / n as many activations and choose "
        "among them; their way from vmem is charged, the multiplexers' area, clock and energy are not.",
        "What the accuracy of the model would be is another question.",
    ]


FIGURE = PaperFigure(
    "sparse", "tpu", "N:M weights on a TPU v4 with sparse arrays: a language model", "nowhere: our own",
    rows, plot, notes,
)  # fmt: skip

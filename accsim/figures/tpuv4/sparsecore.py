"""DLRM0 on 128 chips: TPU v3, TPU v4, and TPU v4 with its embeddings elsewhere than on SparseCores: Figure 9."""

from __future__ import annotations

from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from accsim.config.catalogue import load_accelerator
from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, beside, read_published
from accsim.figures.tpu_steps import SAMPLES, V3, V4, step
from accsim.report.plot_style import LIGHT

MODEL: Final = "dlrm0_like"
CHIPS: Final = 128
GENERATIONS: Final = "TPU v4 over TPU v3"
ELSEWHERE: Final = {
    "host": "SparseCore over host memory",
    "variable_server": "SparseCore over variable servers",
    "tensor_core": "SparseCore over TensorCore",
}
"""Places without embedding units; the paper's are the first two."""
RANGE: Final = "SparseCore over embeddings elsewhere"
AS_GIVEN, CLOSED = "as given", "TPU v3 slice closed"
CHANGES: Final[dict[str, tuple[tuple[str, object], ...]]] = {
    AS_GIVEN: (),
    "half the memory rate": (("host.memory_bandwidth", "128 GB/s"), ("data_center.memory_bandwidth", "128 GB/s")),
    "twice the memory rate": (("host.memory_bandwidth", "512 GB/s"), ("data_center.memory_bandwidth", "512 GB/s")),
    "half the PCIe rate": (("host.pcie", "8 GB/s"),),
    "twice the PCIe rate": (("host.pcie", "32 GB/s"),),
    "half the cost of instructions": (("sparse_core.instruction_cycles", 50), ("sparse_core.stack_cycles", 500)),
    CLOSED: (("interconnect.wrap_multiple", 1),),
    "twice the cost of instructions": (("sparse_core.instruction_cycles", 200), ("sparse_core.stack_cycles", 2000)),
}
"""What is not published, halved and doubled."""
OWN: Final = "placed for each place"
"""Tables where the placer puts them by the rates of the place that looks them up, not of SparseCores."""
STEP, PART = "step time", "time alone"


def rows() -> pd.DataFrame:
    """Speedups beside the published ones, their sensitivity, and step times."""
    found: list[tuple[object, ...]] = []
    for mode, changes in CHANGES.items():
        found += [(case, "speedup", "x", mode, value) for case, value in _speedups(changes).items()]
    found += [(case, "speedup", "x", OWN, value) for case, value in _speedups((), own=True).items()]
    whole = [("TPU v3", step(MODEL, V3, CHIPS)), ("TPU v4", step(MODEL, V4, CHIPS))]
    whole += [(f"TPU v4, {where}", step(MODEL, V4, CHIPS, where=where)) for where in ELSEWHERE]
    for case, one in whole:
        found.append((case, STEP, "ms", AS_GIVEN, 1e3 * one.step_s))
        found += [
            (case, f"{PART}, {part}", "ms", AS_GIVEN, 1e3 * value)
            for part, value in (
                ("links", sum(leg.alone_s for leg in one.legs if leg.unit == "ici") + one.all_reduce.time_s),
                ("lookup and table update", sum(leg.alone_s for leg in one.legs if leg.unit != "ici")),
                ("dense network", one.dense_s),
            )
        ]
    table = pd.DataFrame(found, columns=["case", "quantity", "unit", "mode", "simulated"])
    return beside(table, read_published(__file__))


def _speedups(changes: tuple[tuple[str, object], ...], *, own: bool = False) -> dict[str, float]:
    """By case; those of the range are of the two places that the paper has."""
    of_v3 = tuple(change for change in changes if change[0].startswith(("sparse_core", "interconnect")))
    changes = tuple(change for change in changes if not change[0].startswith("interconnect"))
    new = step(MODEL, V4, CHIPS, changes=changes)
    found = {GENERATIONS: step(MODEL, V3, CHIPS, changes=of_v3).step_s / new.step_s}
    for where, case in ELSEWHERE.items():
        placed_for = where if own else "sparse_core"
        found[case] = step(MODEL, V4, CHIPS, where=where, placed_for=placed_for, changes=changes).step_s / new.step_s
    both = [found[ELSEWHERE[where]] for where in ("host", "variable_server")]
    return found | {f"{RANGE}, least": min(both), f"{RANGE}, most": max(both)}


def _limit(where: str) -> str:
    """What bounds a step with embeddings elsewhere, by its name in the report."""
    return step(MODEL, V4, CHIPS, where=where).bound_by.partition("/")[0].rpartition(".")[2].replace("_", " ")


def plot(rows: pd.DataFrame) -> Figure:
    """Speedups with published ones and sensitivity; what a step is made of."""
    figure, axes = draw.panels("DLRM0 on 128 chips, with and without SparseCores", 11.0, 4.2, 1, 2)
    cases = [GENERATIONS, f"{RANGE}, least", f"{RANGE}, most", ELSEWHERE["tensor_core"]]
    here = rows[(rows["quantity"] == "speedup") & rows["case"].isin(cases)]
    given = here[here["mode"] == AS_GIVEN].set_index("case").loc[cases]
    names = ["v4 over v3", "SC over host\nor servers, least", "SC over host\nor servers, most", "SC over\nTensorCore"]
    series = {draw.PUBLISHED: given["published"].tolist(), "simulated": given["simulated"].tolist()}
    draw.bars(axes[0], names, series, 1)
    spread = here.groupby("case")["simulated"].agg(["min", "max"]).loc[cases]
    for place, (low, high) in enumerate(spread.itertuples(index=False)):
        axes[0].plot([place + 0.46] * 2, [low, high], "k_-", markersize=7, linewidth=1.0,
                     label="unknowns halved and doubled, other placements" if place == 0 else None)  # fmt: skip
    draw.label(axes[0], "speedup of a step", "", "times as fast")
    machines = list(rows[rows["quantity"] == STEP]["case"])
    colour = draw.style(["simulated", "links", "lookup and table update", "dense network", STEP])
    for i, part in enumerate(("links", "lookup and table update", "dense network")):
        heights = rows[rows["quantity"] == f"{PART}, {part}"].set_index("case").loc[machines, "simulated"]
        axes[1].bar(
            [at + 0.2 * (i - 1.5) for at in range(len(machines))], heights, 0.19, color=colour[part], label=part
        )
    whole = rows[rows["quantity"] == STEP].set_index("case").loc[machines, "simulated"]
    axes[1].bar([at + 0.3 for at in range(len(machines))], whole, 0.19, color=colour[STEP], label=STEP)
    axes[1].set_xticks(range(len(machines)), [name.replace(", ", ",\n").replace("_", " ") for name in machines])
    draw.log_axis(axes[1])
    axes[1].grid(axis="y", color=LIGHT, linewidth=0.6)
    draw.label(axes[1], "parts alone, and the step (embeddings beside the dense half)", "", "time (ms)")
    draw.add_legend(figure, axes, 6)
    return figure


def notes(rows: pd.DataFrame) -> list[str]:
    """What is assumed, fitted and missed."""
    value = rows[rows["quantity"] == "speedup"].set_index(["case", "mode"])["simulated"]
    low, high = (value[f"{RANGE}, {end}", AS_GIVEN] for end in ("least", "most"))
    spread = value.xs(ELSEWHERE["host"]).drop([AS_GIVEN, OWN])
    own = [value[case, OWN] for case in ELSEWHERE.values()]
    host = load_accelerator(V4).host
    assert host is not None
    return [
        f"Without SparseCores: {low:.2f} to {high:.2f} times as slow (published 5 to 7, with CPU memory as the limit; "
        f"here {_limit('host')} binds hosts, and {_limit('variable_server')} servers). The share of its peak that CPU "
        f"memory reaches at random rows ({host.random_efficiency:.2f}, {V4}.yaml) is fixed on this figure: of all "
        "hundredths it has the least sum of the relative errors of both ends. Halving and doubling each unknown moves "
        f"the host's from {spread.min():.1f} to {spread.max():.1f}.",
        f"TPU v4 over v3: {value[GENERATIONS, AS_GIVEN]:.2f} (published 3.1) if a v3 slice, a part of a machine with "
        f"fixed wires, is an open mesh; {value[GENERATIONS, CLOSED]:.2f} if it is closed, as the dense half then "
        "binds. Which it was is not published.",
        "Of DLRM0 only totals are published. The cluster of 400 learners and 176 variable servers is not simulated: "
        "what a Skylake socket does of the dense network is not published.",
        f"{SAMPLES:,} samples a chip; the embedding half of a step runs beside the dense half of the one before; "
        "tables lie where the placer puts them for SparseCores, whatever looks them up. Placed by the rates of each "
        f"place, host, servers and TensorCore are {own[0]:.1f}, {own[1]:.1f} and {own[2]:.1f} times as slow.",
    ]


FIGURE = PaperFigure(
    "tpuv4", "sparsecore", "DLRM0 with and without SparseCores, TPU v4 against v3", "TPU v4 (ISCA 2023), Fig. 9",
    rows, plot, notes,
)  # fmt: skip

"""Which slices are used, what the paper derives from that, and how much of the machine such a mix fills."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from accsim.figures import draw
from accsim.figures.paper_figure import PaperFigure, beside, compared, read_published
from accsim.network.goodput import Machine
from accsim.network.slice_mix import mix_goodput
from accsim.report.plot_style import LIGHT, SMALL

SHARE, GROUP, STATEMENT, GOODPUT, LOST = "share of slices", "share of a group", "statement", "goodput", "slices lost"
NORMAL: Final = "renormalised"
HOSTS: Final = (0.98, 0.99, 0.995, 0.999, 1.0)
WAITING: Final = {1: "in order", 10: "10 wait"}
"""Slices that find no place and wait while later ones are placed, at the end; 1: none is passed over."""
SWITCHES, WIRES = "switches", "wires"


class Slice(NamedTuple):
    """A slice of Table 2."""

    shape: tuple[int, ...]
    share: float
    twisted: bool

    @property
    def chips(self) -> int:
        """Their number."""
        return math.prod(self.shape)

    @property
    def twistable(self) -> bool:
        """Whether it is of n x n x 2n or n x 2n x 2n chips with n at least 4."""
        n, long = min(self.shape), max(self.shape)
        return n >= 4 and long == 2 * n and set(self.shape) == {n, long}


STATEMENTS: Final[dict[str, tuple[Callable[[Slice], bool], Callable[[Slice], bool]]]] = {
    "at least 64 chips": (lambda one: one.chips >= 64, lambda _: True),
    "twistable": (lambda one: one.twistable, lambda _: True),
    "twistable, of at least 64 chips": (lambda one: one.twistable, lambda one: one.chips >= 64),
    "twisted, of twistable": (lambda one: one.twisted, lambda one: one.twistable),
    "twisted": (lambda one: one.twisted, lambda _: True),
    "twisted, of at least 64 chips": (lambda one: one.twisted, lambda one: one.chips >= 64),
    "all sides 4 or 8": (lambda one: set(one.shape) <= {4, 8}, lambda _: True),
}
"""What is counted, and among which slices."""


def listed() -> list[Slice]:
    """The slices of Table 2."""
    table = read_published(__file__)
    slices = table[table["quantity"] == SHARE]
    return [_slice(str(case), share) for case, share in zip(slices["case"], slices["published"], strict=True)]


def _slice(case: str, share: float) -> Slice:
    """The slice of a name such as ``4x4x8 twisted``."""
    shape, _, form = case.partition(" ")
    return Slice(tuple(map(int, shape.split("x"))), share, form == "twisted")


def rows() -> pd.DataFrame:
    """Shares, groups and statements beside the published ones, then goodputs of the mix."""
    slices, published = listed(), read_published(__file__)
    total = sum(one.share for one in slices)
    cases = published.groupby("quantity", sort=False)["case"].agg(list)
    found: list[tuple[object, ...]] = [
        (case, SHARE, NORMAL, one.share / total) for case, one in zip(cases[SHARE], slices, strict=True)
    ]
    for case in cases[GROUP]:
        weight = sum(one.share for one in slices if _in_group(one, case))
        found += [(case, GROUP, "sum of the shares", weight), (case, GROUP, NORMAL, weight / total)]
    for case, (counted, among) in STATEMENTS.items():
        whole = sum(one.share for one in slices if among(one))
        found.append((case, STATEMENT, NORMAL, sum(one.share for one in slices if among(one) and counted(one)) / whole))
    shares = pd.DataFrame(found, columns=["case", "quantity", "mode", "simulated"]).assign(unit="1")
    table = pd.concat([beside(shares, published), compared(_goodputs())], ignore_index=True)
    first = ["case", "host", "waiting", "standard_error"]
    return table[[*first, *(column for column in table.columns if column not in first)]]


def _in_group(one: Slice, case: str) -> bool:
    """Whether a slice has as many chips as a group such as ``<64 chips`` or ``128-192 chips``."""
    name = case.removesuffix(" chips")
    if name.startswith("<"):
        return one.chips < int(name[1:])
    least, _, most = name.partition("-")
    return int(least) <= one.chips <= int(most or least)


def _goodputs() -> pd.DataFrame:
    """Goodput of the mix by availability of the hosts, and the share of it that has no place at all."""
    found: list[tuple[object, ...]] = []
    for host in HOSTS:
        for waiting in WAITING:
            here = mix_goodput(Machine(host), waiting=waiting)
            for mode, goodput in ((SWITCHES, here.switched), (WIRES, here.fixed)):
                found.append(("mix", host, waiting, GOODPUT, mode, goodput.mean, goodput.standard_error))
    found.append(("mix", None, None, LOST, WIRES, here.unplaceable, 0.0))
    columns = ["case", "host", "waiting", "quantity", "mode", "simulated", "standard_error"]
    return pd.DataFrame(found, columns=columns).assign(unit="1")


def plot(rows: pd.DataFrame) -> Figure:
    """Shares above; statements, and goodput by availability, below."""
    figure, axes = draw.panels("TPU v4: slices in use, and goodput of their mix", 11.0, 7.6, 2, 2)
    grid = axes[0].get_gridspec()
    assert grid is not None
    axes[1].remove()
    axes[0].set_subplotspec(grid[0, :])
    _shares(axes[0], rows[rows["quantity"] == SHARE])
    said = rows[rows["quantity"] == STATEMENT]
    names = [
        case.replace(", of ", "\nof ").replace("at least ", "≥ ").replace("sides 4", "sides\n4")
        for case in said["case"]
    ]
    series = {draw.PUBLISHED: said["published"].tolist(), NORMAL: said["simulated"].tolist()}
    draw.bars(axes[2], names, series)
    axes[2].tick_params(axis="x", labelsize=SMALL - 2)
    draw.label(axes[2], "statements of section 2.9", "", "share of slices")
    good = rows[rows["quantity"] == GOODPUT]
    colour = draw.style([draw.PUBLISHED, NORMAL, SWITCHES, WIRES])
    for mode in (SWITCHES, WIRES):
        for (waiting, name), dash in zip(WAITING.items(), ("-o", "--s"), strict=True):
            line = good[(good["mode"] == mode) & (good["waiting"] == waiting)]
            axes[3].plot(
                range(len(HOSTS)), line["simulated"], dash, color=colour[mode], markersize=3.5, label=f"{mode}, {name}"
            )
    axes[3].set_xticks(range(len(HOSTS)), [f"{100 * host:g}" for host in HOSTS], fontsize=SMALL)
    axes[3].set_ylim(0, 1.03)
    axes[3].grid(color=LIGHT, linewidth=0.6)
    draw.label(axes[3], "the mix on 64 cubes", "hosts that work (%)", "goodput (share of the chips)")
    draw.add_legend(figure, [axes[2], axes[3]], 6)
    return figure


def _shares(axes: Axes, rows: pd.DataFrame) -> None:
    places = range(len(rows))
    axes.bar(places, rows["published"], 0.8, facecolor="white", edgecolor=draw.PUBLISHED_COLOUR, hatch="////")
    axes.plot(places, rows["simulated"], "_", color=draw.style([NORMAL])[NORMAL], markersize=11, markeredgewidth=2)
    axes.set_xticks(list(places), [case.replace(" ", "\n") for case in rows["case"]], rotation=90, fontsize=SMALL - 1)
    axes.set_xlim(-0.7, len(rows) - 0.3)
    axes.grid(axis="y", color=LIGHT, linewidth=0.6)
    draw.label(axes, "slices: published, and renormalised to 1", "", "share of slices")


def notes(rows: pd.DataFrame) -> list[str]:
    """What adds up, what does not, and how the mix was replayed."""
    total = rows[rows["quantity"] == SHARE]["published"].sum()
    said = rows[rows["quantity"] == STATEMENT]
    worst = said.iloc[int(said["relative_error"].abs().to_numpy().argmax())]
    lost = rows[rows["quantity"] == LOST]["simulated"].item()
    cell = rows[rows["quantity"] == GOODPUT].set_index(["host", "waiting", "mode"])["simulated"]
    each = "; ".join(
        f"{name}: {cell[0.99, waiting, SWITCHES]:.2f} with switches, {cell[0.99, waiting, WIRES]:.2f} with wires"
        for waiting, name in WAITING.items()
    )
    return [
        f"The shares add up to {total:.3f}; the rest are slices below 0.1 % each, which are not listed. All that "
        "follows is renormalised to 1. Groups are shown as sums too; they are published in whole percent.",
        f"Statements: furthest off is '{worst['case']}', {worst['published']:.2f} published, {worst['simulated']:.3f} "
        "here.",
        f"Goodput of the mix where hosts work 99 % of the time, {each}. Small slices that pass waiting ones fill any "
        "machine, and large ones wait.",
        "Replay: machines with failed hosts are filled with slices drawn from the mix, as they come, until so many "
        "find no place. Slices below 64 chips share cubes. None ends or moves: this is how full a machine gets, not a "
        "schedule over time. Nothing of it is published.",
        "Wires: any block of neighbours in any orientation, not across the machine's ends. They have no place for "
        f"{100 * lost:.1f} % of the slices, such as 4x4x32 on 16x16x16 chips, and can twist none: twisted ones are "
        "regular there.",
    ]


FIGURE = PaperFigure(
    "tpuv4", "slices", "Slices in use, and goodput of their mix", "TPU v4 (ISCA 2023), Table 2 and section 2.9",
    rows, plot, notes,
)  # fmt: skip

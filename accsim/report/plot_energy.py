"""Where the joules go: a bar for each kind of op, stacked by component."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accsim.report.plot_style import LIGHT, NORMAL, SMALL, colours, new_figure, prefix_of, set_title
from accsim.report.result import Report
from accsim.report.words import percent, si

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def energy_by_kind(report: Report) -> dict[str, dict[str, float]]:
    """Kind of op -> component -> joules over the whole workload; the kind that takes most first."""
    found: dict[str, dict[str, float]] = {}
    for row in report.ops:
        parts = found.setdefault(row.op.kind, {})
        for part, joules in row.energy.breakdown_j.items():
            parts[part] = parts.get(part, 0.0) + joules * row.count
    return dict(sorted(found.items(), key=lambda item: -sum(item[1].values())))


def components(report: Report) -> list[str]:
    """Components of the energy: what computes, the memories from the array outward, idle."""
    known = _known(report)
    spent = {part: joules for row in report.ops for part, joules in row.energy.breakdown_j.items() if joules}
    return [part for part in known if part in spent] + [part for part in spent if part not in known]


def _known(report: Report) -> list[str]:
    return ["mac", "vector", *(memory.name for memory in report.accelerator.memories), "idle"]


def plot_energy(report: Report) -> Figure:
    """See :meth:`Report.plot_energy`."""
    kinds = energy_by_kind(report)
    parts = components(report)
    figure, axes = new_figure(8.0, max(2.6, 1.4 + 0.5 * len(kinds)))
    low, high = report.energy_range_j
    span = "" if low == high else f" ({si(low, 'J')} to {si(high, 'J')} at low and high prices)"
    set_title(axes, report, f"Energy: {si(report.energy_j, 'J')}{span}")
    scale, prefix = prefix_of(max((sum(kind.values()) for kind in kinds.values()), default=0.0))
    places = range(len(kinds))
    left = [0.0] * len(kinds)
    palette = colours([*_known(report), *parts])
    for part in parts:
        widths = [kind.get(part, 0.0) / scale for kind in kinds.values()]
        axes.barh(
            places, widths, left=left, height=0.62, color=palette[part], edgecolor="white", linewidth=0.5, label=part
        )
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for place, whole in zip(places, left, strict=True):
        share = percent(whole * scale / report.energy_j) if report.energy_j else ""
        axes.annotate(
            f"{si(whole * scale, 'J')}, {share}",
            (whole, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
        )
    axes.set_yticks(places, [f"{kind} ({_runs(report, kind)})" for kind in kinds], fontsize=NORMAL)
    axes.invert_yaxis()
    axes.set_xlim(0, max(left, default=1.0) * 1.25 or 1.0)
    axes.set_xlabel(f"energy of all runs ({prefix}J)", fontsize=NORMAL)
    axes.grid(axis="x", color=LIGHT, linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    if parts:
        axes.legend(
            fontsize=SMALL, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0),
            title="component", title_fontsize=SMALL,
        )  # fmt: skip
    return figure


def _runs(report: Report, kind: str) -> str:
    runs = sum(row.count for row in report.ops if row.op.kind == kind)
    return f"{runs} run" + ("s" if runs != 1 else "")

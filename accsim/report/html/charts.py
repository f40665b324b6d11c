"""The figures of a run for plotly.js, out of the plain data of a saved report. Names in them are escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from accsim.report.plot_style import GREY, LIGHT, MOST_LETTERS, colours, kind_colours, prefix_of
from accsim.report.words import cycles, percent, si

Figure = dict[str, Any]
Plain = Mapping[str, Any]

ROW = 30
"""Height of a bar with its gap, in pixels."""

AROUND = 130
"""Height of a chart's axis, legend and margins, in pixels."""

MOST_OPS = 24
"""Ops in the table of utilizations."""

LARGEST, SMALLEST = 40.0, 8.0
"""Diameters of points in the roofline, in pixels: of all of the time, and at least."""

STATES = {
    "busy": "busy",
    "data": "waits for data",
    "slot": "waits for a free slot",
    "resource": "waits for another resource",
    "held": "held by a slower one",
    "order": "waits for its turn",
    "rest": "nothing to do",
}
"""What a resource does with its time: busy, kinds of stalls, the rest."""

WHYS = {
    "resource": "its successor waited for this resource",
    "data": "its successor waited for its result",
    "slot": "its successor waited for a slot",
    "latency": "latency",
    "end": "last of its program",
    "op": "overhead of an op",
}
"""Why an entry of the critical path is on it."""


def figure(data: Sequence[Plain], height: float, xaxis: Plain, yaxis: Plain, **layout: object) -> Figure:
    """A figure with the looks that all have in common."""
    looks = {"gridcolor": LIGHT, "zerolinecolor": LIGHT, "linecolor": GREY, "automargin": True}
    common = {
        "height": height,
        "margin": {"l": 10, "r": 16, "t": 10, "b": 48},
        "font": {"size": 12, "color": "#1a1a1a"},
        "plot_bgcolor": "white",
        "hoverlabel": {"align": "left"},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.0,
            "xanchor": "left",
            "yanchor": "bottom",
            "traceorder": "normal",
        },
        "xaxis": {**looks, **xaxis},
        "yaxis": {**looks, **yaxis},
    }
    return {"data": list(data), "layout": {**common, **layout}}


def _bars(rows: Sequence[str], name: str, colour: str, values: Sequence[float], hover: Sequence[str]) -> Plain:
    """Horizontal bars of one colour, to be stacked."""
    marker = {"color": colour, "line": {"color": "white", "width": 0.5}}
    return {
        "type": "bar", "orientation": "h", "name": escape(name), "y": list(rows), "x": list(values), "marker": marker,
        "hovertext": list(hover), "hoverinfo": "text",
    }  # fmt: skip


def _stacked(rows: Sequence[str], bars: Iterable[Plain], xaxis: Plain) -> Figure:
    return figure(
        list(bars), AROUND + ROW * len(rows), xaxis, {"autorange": "reversed", "showgrid": False}, barmode="stack",
        bargap=0.3,
    )  # fmt: skip


def critical_path_chart(summary: Plain) -> Figure:
    """Share of the critical path by resource, stacked by why; the bars add up to the whole time."""
    path, total = summary["critical_path"], summary["total_cycles"] or 1.0
    entries = {tuple(key.rsplit("/", 1)): value for key, value in path.items()}
    whole: dict[str, float] = {}
    for (resource, _), value in entries.items():
        whole[resource] = whole.get(resource, 0.0) + value
    rows = sorted(whole, key=lambda name: -whole[name])
    whys = [why for why in WHYS if any(key[1] == why for key in entries)]
    bars = []
    for why, colour in colours(WHYS).items():
        if why in whys:
            values = [entries.get((row, why), 0.0) for row in rows]
            told = [
                f"{escape(row)}/{why}: {percent(value / total)}, {cycles(value)} cycles<br>{WHYS[why]}"
                for row, value in zip(rows, values, strict=True)
            ]
            bars.append(_bars([escape(row) for row in rows], why, colour, [v / total for v in values], told))
    return _stacked(rows, bars, {"title": {"text": "share of the whole time"}, "tickformat": ".0%"})


def resource_states(summary: Plain) -> dict[str, dict[str, float]]:
    """Resource -> what it does (see `STATES`) -> share of the whole time; they add up to 1."""
    total = summary["total_cycles"] or 1.0
    found = {}
    for name, busy in sorted(summary["utilization"].items(), key=lambda item: -item[1]):
        states = {"busy": busy}
        for cause, spent in summary["stalls"].get(name, {}).items():
            kind = cause.partition(":")[0]
            states[kind] = states.get(kind, 0.0) + spent / total
        found[name] = {**states, "rest": max(0.0, 1.0 - sum(states.values()))}
    return found


def utilization_chart(summary: Plain) -> Figure:
    """Share of the time in which each resource is busy, waits, or has nothing left to do."""
    found = resource_states(summary)
    total = summary["total_cycles"] or 1.0
    palette = {**colours(STATES), "rest": "#e3e3e3"}
    bars = []
    for state, words in STATES.items():
        values = [states.get(state, 0.0) for states in found.values()]
        if any(values):
            told = [
                f"{escape(name)}: {words} {percent(value)}" + _causes(summary["stalls"].get(name, {}), state, total)
                for name, value in zip(found, values, strict=True)
            ]
            bars.append(_bars([escape(name) for name in found], words, palette[state], values, told))
    xaxis = {"title": {"text": "share of the whole time"}, "tickformat": ".0%", "range": [0, 1]}
    return _stacked(list(found), bars, xaxis)


def _causes(stalls: Plain, state: str, total: float) -> str:
    """The largest causes of a kind of stall, a line each."""
    causes = {cause: spent for cause, spent in stalls.items() if cause.partition(":")[0] == state and spent}
    largest = sorted(causes, key=lambda cause: -causes[cause])[:6]
    return "".join(f"<br>{escape(cause)} {percent(causes[cause] / total)}" for cause in largest)


def op_utilization_chart(summary: Plain) -> Figure:
    """Busy time over the time of each op, for the ops that take most of the time."""
    ops = sorted(summary["ops"], key=lambda op: -op["share_of_time"])[:MOST_OPS]
    used = [name for name, share in summary["utilization"].items() if share]
    labels = [f"{escape(_brief(op['name']))}, {percent(op['share_of_time'])}" for op in ops]
    shares = [[op["utilization"].get(name) for name in used] for op in ops]
    heat = {
        "type": "heatmap", "x": [escape(name) for name in used],
        "y": list(range(len(ops))),
        "z": shares, "zmin": 0, "zmax": 1, "colorscale": "Cividis", "xgap": 1, "ygap": 1,
        "text": [["" if share is None else f"{100 * share:.0f} %" for share in row] for row in shares],
        "texttemplate": "%{text}", "customdata": [[escape(op["name"])] * len(used) for op in ops],
        "hovertemplate": "%{customdata}<br>%{x} busy %{text}<extra></extra>", "showscale": False,
    }  # fmt: skip
    plain = {"showgrid": False, "zeroline": False, "ticks": ""}
    rows = {**plain, "autorange": "reversed", "tickvals": heat["y"], "ticktext": labels}
    margin = {"l": 10, "r": 16, "t": 50, "b": 10}
    return figure([heat], 60 + 24 * len(ops), {**plain, "side": "top"}, rows, margin=margin)


def _brief(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 3] + "..."


def roofline_chart(roofline: Plain) -> Figure:
    """Each op's operations per second over its operations per byte, below the ceilings of the machine."""
    points, peaks, rate = roofline["points"], roofline["peaks_per_s"], roofline["memory_bytes_per_s"]
    ridges = [peak / rate for peak in peaks.values()]
    intensities = [point["operational_intensity_per_byte"] for point in points]
    left, right = min(intensities + ridges) / 4, max(intensities + ridges) * 6
    top = max(peaks.values())
    lines = [black_line([left, top / rate], [left * rate, top], f"{roofline['memory']} {si(rate, 'B/s')}", "solid")]
    for name, peak in peaks.items():
        dash = "dash" if name == "vector" else "solid"
        lines.append(black_line([peak / rate, right], [peak, peak], f"{name} {si(peak, 'op/s')}", dash))
    return figure(
        lines + [_points(points, kind, colour) for kind, colour in kind_colours(p["kind"] for p in points).items()],
        520,
        {
            **_powers_of_ten(-6, 12),
            "range": [math.log10(left), math.log10(right)],
            "title": {"text": "operations per byte of main memory"},
        },
        {**_powers_of_ten(0, 24), "title": {"text": "operations per second"}},
        annotations=[_label(one) for one in lines],
        hovermode="closest",
    )


def _powers_of_ten(least: int, most: int) -> Plain:
    """A logarithmic axis with SI prefixes."""
    powers = [10.0**power for power in range(least, most)]
    prefixes = "", "k", "M", "G", "T", "P", "E", "Z"
    text = [f"{v:g}" if v < 1 else f"{10 ** (k % 3)}{prefixes[k // 3]}" for k, v in enumerate(powers, least)]
    return {"type": "log", "tickvals": powers, "ticktext": text}


def black_line(x: Sequence[float], y: Sequence[float], text: str, dash: str) -> Figure:
    """A black line with a name."""
    return {
        "type": "scatter", "mode": "lines", "x": list(x), "y": list(y), "name": escape(text), "showlegend": False,
        "line": {"color": "black", "width": 1.4, "dash": dash}, "hoverinfo": "name",
    }  # fmt: skip


def _label(line: Plain) -> Plain:
    """The name of a ceiling: a roof's above its right end, that of the slope beside its middle."""
    slope = line["y"][0] != line["y"][1]
    share = 0.45 if slope else 0.99
    x, y = (math.log10(a) + share * (math.log10(b) - math.log10(a)) for a, b in (line["x"], line["y"]))
    return {
        "x": x, "y": y, "text": line["name"], "showarrow": False, "font": {"size": 11, "color": GREY},
        "xanchor": "right", "yanchor": "bottom", "xshift": -6 if slope else 0,
    }  # fmt: skip


def _points(points: Sequence[Plain], kind: str, colour: str) -> Plain:
    """The ops of one kind; the area of a point shows its time."""
    mine = [point for point in points if point["kind"] == kind]
    told = [
        f"<b>{escape(p['op'])}</b>, {p['count']} runs, {percent(p['share_of_time'])} of the time<br>"
        f"{si(p['operational_intensity_per_byte'], 'op/B')}, {si(p['rate_per_s'], 'op/s')}<br>"
        f"bound by {escape(p['bound_by'])}"
        for p in mine
    ]
    sizes = [SMALLEST + (LARGEST - SMALLEST) * math.sqrt(p["share_of_time"]) for p in mine]
    line = {"color": "white", "width": 0.8}
    symbol = ["circle" if p["matrix"] else "diamond" for p in mine]
    return {
        "type": "scatter", "mode": "markers", "name": kind,
        "x": [p["operational_intensity_per_byte"] for p in mine], "y": [p["rate_per_s"] for p in mine],
        "marker": {"color": colour, "size": sizes, "symbol": symbol, "opacity": 0.85, "line": line},
        "hovertext": told, "hoverinfo": "text",
    }  # fmt: skip


def energy_chart(energy: Plain, runs: Mapping[str, int]) -> Figure:
    """Joules of all runs of each kind of op, stacked by component.

    Parameters
    ----------
    runs : kind of op -> how often the workload runs one.
    """
    kinds, parts = energy["by_kind_j"], energy["components"]
    totals = {kind: sum(joules.values()) for kind, joules in kinds.items()}
    scale, prefix = prefix_of(max(totals.values(), default=0.0))
    rows = [f"{kind} ({runs[kind]:,} run{'s' if runs[kind] != 1 else ''})" for kind in kinds]
    bars = []
    for part, colour in colours(parts).items():
        values = [joules.get(part, 0.0) for joules in kinds.values()]
        told = [
            f"{kind}: {escape(part)} {si(value, 'J')}<br>of {si(totals[kind], 'J')}"
            for kind, value in zip(kinds, values, strict=True)
        ]
        bars.append(_bars(rows, part, colour, [value / scale for value in values], told))
    return _stacked(rows, bars, {"title": {"text": f"energy of all runs ({prefix}J)"}})

"""The figures of a run over time for plotly.js: what holds each resource, and the bytes in use of the buffers."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from accsim.report.html.charts import AROUND, ROW, Figure, black_line, figure
from accsim.report.plot_style import binary_unit_of, colours, prefix_of
from accsim.report.words import binary, si

Plain = Mapping[str, Any]


def timeline_chart(timeline: Plain) -> Figure:
    """When each resource is held, by stage."""
    scale, prefix = prefix_of(timeline["end_s"])
    lanes = timeline["lanes"]
    bars = []
    for stage, colour in colours(timeline["stages"]).items():
        spans = [(lane["resource"], span) for lane in lanes for span in lane["spans"] if span["stage"] == stage]
        marker = {"color": colour, "line": {"color": colour, "width": 0.5}}
        told = [
            f"{escape(stage)} on {escape(resource)}<br>{si(span['start_s'], 's')} to {si(span['end_s'], 's')}"
            + (f"<br>{span['firings']} firings" if span["firings"] > 1 else "")
            for resource, span in spans
        ]
        bars.append(
            {
                "type": "bar", "orientation": "h", "name": escape(stage), "marker": marker,
                "y": [escape(resource) for resource, _ in spans],
                "base": [span["start_s"] / scale for _, span in spans],
                "x": [(span["end_s"] - span["start_s"]) / scale for _, span in spans],
                "hovertext": told, "hoverinfo": "text",
            }
        )  # fmt: skip
    order = [escape(lane["resource"]) for lane in lanes]
    yaxis = {"autorange": "reversed", "categoryorder": "array", "categoryarray": order, "showgrid": False}
    return figure(
        bars, AROUND + ROW * len(lanes), _time_axis(timeline, prefix, scale), yaxis, barmode="overlay", bargap=0.25,
        hovermode="closest",
    )  # fmt: skip


def buffers_chart(buffers: Plain, timeline: Plain) -> Figure:
    """Bytes in use of the buffers of one memory over the time of the timeline, against what is reserved."""
    scale, prefix = prefix_of(timeline["end_s"])
    unit, name_of_unit = binary_unit_of(buffers["reserved_bytes"])
    time = [at / scale for at in buffers["time_s"]]
    palette = colours(buffers["in_use_bytes"])
    areas: list[Plain] = [
        {
            "type": "scatter", "mode": "lines", "stackgroup": "in use", "name": escape(name),
            "x": time, "y": [size / unit for size in sizes],
            "line": {"shape": "hv", "width": 0, "color": palette[name]}, "fillcolor": palette[name],
            "hovertext": [f"{escape(name)} {binary(size)}" for size in sizes], "hoverinfo": "text",
        }
        for name, sizes in buffers["in_use_bytes"].items()
    ]  # fmt: skip
    ends = [0, timeline["end_s"] / scale]
    most = buffers["reserved_bytes"]
    reserved = black_line(ends, [most / unit] * 2, f"reserved {binary(most)}", "dash")
    yaxis = {"title": {"text": f"{escape(buffers['memory'])} in use ({name_of_unit})"}, "rangemode": "tozero"}
    return figure(
        [*areas, {**reserved, "showlegend": True}], 300, _time_axis(timeline, prefix, scale), yaxis, hovermode="x"
    )


def _time_axis(timeline: Plain, prefix: str, scale: float) -> Plain:
    title = f"time since the start of the {timeline['from']} ({prefix}s)"
    return {"title": {"text": title}, "range": [0, timeline["end_s"] / scale]}

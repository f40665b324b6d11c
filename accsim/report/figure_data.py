"""The numbers that the figures show, as plain data: what ``figures.json`` of a saved report holds."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from accsim.engine.program import TICKS_PER_CYCLE
from accsim.report.excerpt import Excerpt, excerpt
from accsim.report.lanes import Bar, lanes_by_resource
from accsim.report.plot_buffers import bytes_in_use, memories_used, room
from accsim.report.plot_energy import components, energy_by_kind
from accsim.report.plot_roofline import ceilings, main_memory_rate, roofline_points
from accsim.report.result import SCHEMA_VERSION, Report

MOST_FIRINGS = 120
"""Firings in the timeline."""


def figure_data(report: Report) -> dict[str, Any]:
    """Roofline, energy, and (of any fidelity but ``analytic``) the timeline with the buffers in use."""
    shown = None if report.fidelity == "analytic" else excerpt(report, None, MOST_FIRINGS)
    return {
        "schema_version": SCHEMA_VERSION,
        "roofline": roofline_data(report),
        "energy": {"components": components(report), "by_kind_j": energy_by_kind(report)},
        "timeline": None if shown is None else timeline_data(shown),
        "buffers": None if shown is None else buffers_data(shown),
    }


def roofline_data(report: Report) -> dict[str, Any]:
    """Points by op in operations per byte of main memory and per second, and the machine's ceilings."""
    return {
        "memory": report.accelerator.main_memory.name,
        "memory_bytes_per_s": main_memory_rate(report.accelerator),
        "peaks_per_s": ceilings(report),
        "points": [
            {
                "op": point.row.label,
                "kind": point.row.op.kind,
                "count": point.row.count,
                "operational_intensity_per_byte": point.intensity,
                "rate_per_s": point.rate,
                "share_of_time": point.share,
                "matrix": point.matrix,
                "bound_by": point.row.bound_by,
            }
            for point in roofline_points(report)
        ],
    }


def timeline_data(shown: Excerpt) -> dict[str, Any]:
    """Resource -> stage -> the spans in which it is held, in seconds; spans of one stage that touch are one."""
    second = _second(shown)
    return {
        "what": shown.what,
        "from": "op" if len(shown.programs) == len(shown.row.steps) else "program",
        "end_s": shown.end * second,
        "stages": list(dict.fromkeys(stage.name for stage in shown.stages)),
        "lanes": [
            {
                "resource": lane.label,
                "spans": [
                    {"stage": stage, "start_s": start * second, "end_s": end * second, "firings": count}
                    for stage, bars in groupby(lane.bars, key=lambda bar: bar.stage)
                    for start, end, count in _joined(list(bars))
                ],
            }
            for lane in lanes_by_resource(shown)
        ],
    }


def _joined(bars: list[Bar]) -> list[tuple[int, int, int]]:
    """(start, end, how many) of bars, those that touch as one."""
    found: list[tuple[int, int, int]] = []
    for bar in bars:
        if found and found[-1][1] == bar.start:
            start, _, count = found.pop()
            found.append((start, bar.end, count + 1))
        else:
            found.append((bar.start, bar.end, 1))
    return found


def buffers_data(shown: Excerpt) -> list[dict[str, Any]]:
    """For each memory the bytes in use of its buffers, from each of some times on, and what is reserved."""
    found = []
    for memory in memories_used(shown):
        ticks, in_use = bytes_in_use(shown, memory)
        reserved, capacity = room(shown, memory)
        found.append(
            {
                "memory": memory,
                "time_s": [tick * _second(shown) for tick in ticks.tolist()],
                "in_use_bytes": {name: size.tolist() for name, size in in_use.items()},
                "reserved_bytes": max(reserved),
                "capacity_bytes": capacity,
            }
        )
    return found


def _second(shown: Excerpt) -> float:
    """Seconds of a tick."""
    return 1 / TICKS_PER_CYCLE / shown.report.accelerator.clock_hz

"""Why two runs differ, from the summaries that a saved report holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pydantic

from accsim.report.result import SCHEMA_VERSION, Report

MOST_SHOWN = 12
"""Entries of each part of a printed difference."""

LEAST_WIDTH = 32
"""Letters of the names of these entries."""


@dataclass(frozen=True)
class Diff:
    """What changed from one run to another: cycles (new minus old) in all, by op, by critical-path entry, by both.

    Cycles are of the old run's clock; ``speedup`` is old over new time. The parts are sorted, the largest change
    first, and each sums to ``total_cycles``. Keys of ``by_op_cause`` are ``"op: resource/why"``.
    """

    total_cycles: float
    speedup: float
    by_op: Mapping[str, float]
    by_cause: Mapping[str, float]
    by_op_cause: Mapping[str, float]

    def __str__(self) -> str:
        lines = [f"{self.total_cycles:+,.0f} cycles ({self.speedup:.3f} x as fast)"]
        titles = {
            "by op": self.by_op,
            "by cause on the critical path": self.by_cause,
            "by op and cause": self.by_op_cause,
        }
        for title, parts in titles.items():
            changed = [(name, cycles) for name, cycles in parts.items() if cycles]
            rest = changed[MOST_SHOWN:]
            if rest:
                changed[MOST_SHOWN:] = [(f"{len(rest)} more", sum(cycles for _, cycles in rest))]
            width = max([LEAST_WIDTH, *(len(name) for name, _ in changed)])
            lines += [title, *(f"  {name:<{width}} {cycles:+,.0f}" for name, cycles in changed)]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON-ready, with a schema version."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}


class _OpSummary(pydantic.BaseModel):
    """What a comparison needs of an op."""

    name: str
    count: int
    cycles: float
    critical_path: dict[str, float]


class Summary(pydantic.BaseModel):
    """What a comparison needs of a report's plain data."""

    schema_version: Literal[1]
    clock_hz: float
    total_cycles: float
    critical_path: dict[str, float]
    ops: list[_OpSummary]

    @property
    def latency_s(self) -> float:
        """Time in seconds."""
        return self.total_cycles / self.clock_hz


def diff(old: Report, new: Report) -> Diff:
    """Differences from ``old`` to ``new``; ops are matched by name."""
    return compare(Summary.model_validate(old.to_dict()), Summary.model_validate(new.to_dict()))


def compare(old: Summary, new: Summary) -> Diff:
    """Differences from one summary to another; ops are matched by name."""
    scale = old.clock_hz / new.clock_hz
    return Diff(
        total_cycles=new.total_cycles * scale - old.total_cycles,
        speedup=old.latency_s / new.latency_s if new.latency_s else 1.0,
        by_op=_differences(_by_op(old), _by_op(new), scale),
        by_cause=_differences(old.critical_path, new.critical_path, scale),
        by_op_cause=_differences(_by_op_cause(old), _by_op_cause(new), scale),
    )


def _by_op(run: Summary) -> dict[str, float]:
    cycles: dict[str, float] = {}
    for op in run.ops:
        cycles[op.name] = cycles.get(op.name, 0.0) + op.count * op.cycles
    return cycles


def _by_op_cause(run: Summary) -> dict[str, float]:
    found: dict[str, float] = {}
    for op in run.ops:
        for cause, cycles in op.critical_path.items():
            name = f"{op.name}: {cause}"
            found[name] = found.get(name, 0.0) + op.count * cycles
    return found


def _differences(old: Mapping[str, float], new: Mapping[str, float], scale: float) -> dict[str, float]:
    change = {name: new.get(name, 0.0) * scale - old.get(name, 0.0) for name in {**old, **new}}
    return dict(sorted(change.items(), key=lambda item: -abs(item[1])))

"""Why two reports differ."""

from __future__ import annotations

from collections.abc import Mapping

from accsim.engine.program import TICKS_PER_CYCLE
from accsim.report.result import Diff, Report


def diff(old: Report, new: Report) -> Diff:
    """Differences from ``old`` to ``new``, largest first; ops matched by name. Cycles are of each one's own clock."""
    return Diff(
        total_cycles=new.total_cycles - old.total_cycles,
        speedup=old.latency_s / new.latency_s if new.latency_s else 1.0,
        by_op=_differences(_by_op(old), _by_op(new)),
        by_cause=_differences(old.critical_path, new.critical_path),
    )


def _by_op(report: Report) -> dict[str, float]:
    return {row.names[0]: row.count * row.ticks / TICKS_PER_CYCLE for row in report.ops}


def _differences(old: Mapping[str, float], new: Mapping[str, float]) -> dict[str, float]:
    change = {name: new.get(name, 0.0) - old.get(name, 0.0) for name in {**old, **new}}
    return dict(sorted(change.items(), key=lambda item: -abs(item[1])))

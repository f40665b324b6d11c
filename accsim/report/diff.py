"""Why two reports differ."""

from __future__ import annotations

from collections.abc import Mapping

from accsim.engine.program import TICKS_PER_CYCLE
from accsim.report.result import Diff, Report


def diff(old: Report, new: Report) -> Diff:
    """Differences from ``old`` to ``new``, largest first; ops are matched by name."""
    return Diff(
        total_cycles=new.total_cycles - old.total_cycles,
        speedup=old.total_cycles / new.total_cycles if new.total_cycles else 1.0,
        by_op=_differences(_by_op(old), _by_op(new)),
        by_cause=_differences(old.critical_path, new.critical_path),
    )


def _by_op(report: Report) -> dict[str, float]:
    cycles: dict[str, float] = {}
    for row in report.ops:
        name = row.names[0]
        cycles[name] = cycles.get(name, 0.0) + row.count * row.ticks / TICKS_PER_CYCLE
    return cycles


def _differences(old: Mapping[str, float], new: Mapping[str, float]) -> dict[str, float]:
    change = {name: new.get(name, 0.0) - old.get(name, 0.0) for name in {**old, **new}}
    return dict(sorted(change.items(), key=lambda item: -abs(item[1])))

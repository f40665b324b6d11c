"""Points simulated one by one: the mapping of every op is searched as far as the point leaves it open."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from accsim.config.machine import Accelerator
from accsim.errors import AccsimError
from accsim.mapping.base import Dataflow
from accsim.report.result import Report
from accsim.report.simulate import simulate
from accsim.sweep.outcome import Outcome, numbers_of
from accsim.sweep.space import Space
from accsim.workload.trace import Workload


def run_searched(
    space: Space, acc: Accelerator, work: Workload, mapping: Dataflow | None, outcome: Outcome, at: Iterable[int]
) -> None:
    """Simulate a setting and write it to all of its points; an error is their result."""
    chosen = list(at)
    try:
        report = simulate(
            work, acc, dataflow=mapping, objective=space.objective, effort=space.effort, fidelity=space.fidelity
        )
    except Exception as error:  # noqa: BLE001 the row of the point says so
        outcome.fail(np.array(chosen), reason(error))
        return
    numbers, mapped = numbers_of(report), _mapped(report, mapping)
    for i in chosen:
        outcome.set_numbers(i, numbers)
        outcome.set_text("mapping", i, mapped)
        outcome.set_text("bound_by", i, report.bound_by)


def reason(error: Exception) -> str:
    """Why a point has no result: the library's own words, or what went wrong in a dataflow or a file."""
    return str(error) if isinstance(error, AccsimError) else f"{type(error).__name__}: {error}"


def _mapped(report: Report, given: Dataflow | None) -> str:
    """The mappings that were chosen, of the ops that the given dataflow serves or of all: ``op: mapping; ...``."""
    kinds = None if given is None else given.kinds
    rows = [row for row in report.ops if kinds is None or row.op.kind in kinds]
    return "; ".join(f"{row.names[0]}: {row.mapping!r}" for row in rows)

"""Compiles what a command needs late: ``python -m accsim.report.warm [MACHINE WORKLOAD]``.

The command line starts it beside itself when it finds no compiled kernels, so that two processes compile different ones
at the same time; what they compile is shared through the cache folder.
"""

from __future__ import annotations

import sys

from accsim.engine.builder import ProgramBuilder
from accsim.engine.program import Stage
from accsim.engine.run import run_program
from accsim.workload.ops import Op


def warm_engine() -> None:
    """Run the smallest program there is, with attribution."""
    builder = ProgramBuilder("warm")
    builder.level("once", 1)
    builder.resource("unit")
    builder.stage(Stage("work", "unit", 1))
    run_program(builder.build())


def warm_ops(machine: str, workload: str) -> None:
    """Simulate one op of each kind, from the kind that a run of the workload comes to last."""
    from accsim.report.simulate import simulate
    from accsim.workload.catalogue import load_workload

    first: dict[str, Op] = {}
    for op, _ in load_workload(workload):
        first.setdefault(op.kind, op)
    for op in reversed(first.values()):
        simulate(op, machine)


if __name__ == "__main__":
    warm_engine()
    if len(sys.argv) > 1:
        warm_ops(*sys.argv[1:])

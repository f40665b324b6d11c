"""Compiles what a command needs late: ``python -m accsim.report.warm [MACHINE WORKLOAD]``.

The command line starts it beside itself when it finds no compiled kernels. The command begins with the engine without
attribution and lowers ops as it comes to them; this begins with the last kind of op and ends with the engine with
attribution. What both compile is shared through the cache folder.
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
    """Lower one op of each kind, from the kind that a run of the workload comes to last."""
    from accsim.config.catalogue import load_accelerator
    from accsim.mapping.choose import default_dataflows
    from accsim.mapping.compiled import CompiledDataflow
    from accsim.workload.catalogue import load_workload

    acc = load_accelerator(machine)
    first: dict[str, Op] = {}
    for op, _ in load_workload(workload):
        first.setdefault(op.kind, op)
    for op in reversed(first.values()):
        for dataflow in default_dataflows(op, acc):
            if isinstance(dataflow, CompiledDataflow):
                dataflow.steps(op, acc)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        warm_ops(*sys.argv[1:])
    warm_engine()

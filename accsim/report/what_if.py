"""Re-running a report with faster resources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.inner import programs_within, stand_for
from accsim.engine.program import Amount, Program, Stage, Varying
from accsim.errors import InputError, Problem, nearest
from accsim.mapping.machine_numbers import all_ports
from accsim.report.result import OpRow, Report


def what_if(report: Report, faster: Mapping[str, float], *, search: bool) -> Report:
    """The report with some resources made faster; see :meth:`Report.what_if`."""
    from accsim.report.early_weights import with_early_weights
    from accsim.report.simulate import run_steps, simulate

    known = _known(report)
    problems = []
    for name, factor in faster.items():
        if name not in known:
            message = f"unknown resource '{name}', allowed are {', '.join(sorted(known))}"
            problems.append(Problem("", "what_if", message, nearest(name, known)))
        elif not factor > 0:
            problems.append(Problem("", f"what_if.{name}", f"read {factor}, allowed is a factor above 0", None))
        elif search and name not in {memory.name for memory in report.accelerator.memories}:
            problems.append(
                Problem("", f"what_if.{name}", "with search, allowed are the memories of the machine", None)
            )
    if problems:
        raise InputError(problems)
    if search:
        return simulate(
            report.workload,
            _faster_machine(report, faster),
            dataflow=report.dataflow,
            objective=report.goal.objective,
            constraints=report.goal.constraints,
            effort=report.goal.effort,
            fidelity=report.fidelity,
            power_cap=report.cap is not None,
            prefetch_weights=report.prefetch_weights,
        )
    factors = {resource: faster[name] for name in faster for resource in known[name]}
    rows: list[OpRow] = []
    for row in {row.op: row for row in report.ops}.values():
        steps = tuple(replace(step, program=_speed_up(step.program, factors)) for step in row.steps)
        rows.append(
            run_steps(
                report.accelerator,
                row.op,
                row.count,
                row.names,
                row.found,
                steps,
                report.fidelity,
                False,
            )
        )
    changed = replace(report, ops=tuple(rows))
    if report.prefetch_weights:
        changed = with_early_weights(changed)
    return changed if report.cap is None else replace(changed, cap=replace(report.cap, power_w=changed.power_w))


def _known(report: Report) -> dict[str, set[str]]:
    """Name a user may give -> the resources it stands for: itself, or all ports of a memory."""
    programs = [part for row in report.ops for step in row.steps for part in programs_within(step.program)]
    # A pool of inner programs is as fast as what is in it.
    pools = {stage.unit for program in programs for stage in program.stages if stage.inner is not None}
    resources = {r.name for program in programs for r in program.resources} - pools
    known = {name: {name} for name in resources}
    for memory in report.accelerator.memories:
        ports = resources & all_ports(memory)
        if ports:
            known[memory.name] = ports
    return known


def _speed_up(program: Program, factors: Mapping[str, float]) -> Program:
    def scaled(amount: Amount, name: str) -> Amount:
        factor = factors.get(name)
        if factor is None:
            return amount
        if isinstance(amount, Varying):
            return Varying(amount.levels, np.ceil(amount.values / factor).astype(np.int64))
        return int(np.ceil(amount / factor))

    def faster(stage: Stage) -> Stage:
        if stage.inner is not None:
            return stand_for(stage, _speed_up(stage.inner.program, factors), stage.inner.shares)
        rates = tuple((name, scaled(ticks, name)) for name, ticks in stage.rates)
        return replace(stage, ticks=scaled(stage.ticks, stage.unit), rates=rates)

    return replace(program, stages=tuple(faster(stage) for stage in program.stages))


def _faster_machine(report: Report, faster: Mapping[str, float]) -> Accelerator:
    memories = tuple(
        memory.model_copy(
            update={
                "read_bytes_per_s": memory.read_bytes_per_s * faster[memory.name],
                "write_bytes_per_s": memory.write_bytes_per_s * faster[memory.name],
            }
        )
        if memory.name in faster
        else memory
        for memory in report.machine.memories
    )
    return report.machine.model_copy(update={"memories": memories})

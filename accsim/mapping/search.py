"""Search over a mapping's open choices: the best complete mapping for a goal, and what lost against it.

``docs/search.md`` has what is searched, how ties are broken, and where the result is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import prod

from accsim.config.machine import Accelerator
from accsim.engine.energy import energy_of, price_list
from accsim.engine.run import run_program
from accsim.errors import InputError, MappingError, TooLongError
from accsim.kernels.matrix import TICKS
from accsim.mapping.base import Dataflow, Step
from accsim.mapping.by_length import by_length
from accsim.mapping.compiled import CompiledDataflow
from accsim.mapping.composed import Composed
from accsim.mapping.found import Found, Scored, best_and_next, in_order, merge, stated, unmet
from accsim.mapping.goal import OBJECTIVES, Costs, Goal, stack
from accsim.mapping.limits import too_long
from accsim.mapping.machine_numbers import overhead_ticks
from accsim.mapping.points import search_points
from accsim.workload.ops import Op

MOST_COMBINATIONS = 1000
"""Mappings that are put together of those of parts: all combinations of ten mappings each of three parts."""


def search(dataflow: Dataflow, op: Op, acc: Accelerator, goal: Goal | str = "latency") -> Found:
    """The complete mapping of ``dataflow`` that is best for an op on a machine.

    Parameters
    ----------
    goal : what to minimize and keep to; an objective's name alone has no constraints.

    Raises
    ------
    InputError
        For an unknown objective, or a dataflow that does not serve the op.
    MappingError
        When nothing in the space fits, with the nearest fit, or nothing keeps the constraints, with the least reached.
    TooLongError
        When all that fits takes longer than can be counted.
    """
    goal = Goal(goal) if isinstance(goal, str) else goal
    if op.kind not in dataflow.kinds:
        kinds = ", ".join(dataflow.kinds)
        raise InputError(f"{type(dataflow).__name__} maps {kinds}, not the {op.kind} '{op.name}'")
    options = by_length(dataflow, op)
    if options != (dataflow,):
        found = search_all(options, op, acc, goal)
        return replace(found, runners_up=found.runners_up[:1])
    if isinstance(dataflow, CompiledDataflow):
        return search_points(dataflow, op, acc, goal)
    if isinstance(dataflow, Composed):
        return _search_parts(dataflow, op, acc, goal)
    return _search_candidates(dataflow, op, acc, goal)


def search_all(options: Sequence[Dataflow], op: Op, acc: Accelerator, goal: Goal) -> Found:
    """The best of several dataflows.

    Raises
    ------
    MappingError
        When nothing fits, or nothing keeps the constraints, with what was rejected and why.
    TooLongError
        When all that fits takes longer than can be counted.
    """
    found: list[Found] = []
    rejected: list[str] = []
    long: list[TooLongError] = []
    for option in options:
        try:
            found.append(search(option, op, acc, goal))
        except MappingError as error:
            rejected += error.rejected or [str(error)]
        except TooLongError as error:
            long.append(error)
    if found:
        return merge(found)
    if long:
        raise long[0]
    kept = f" and keeps {stated(goal)}" if goal.constraints else ""
    raise MappingError(f"no mapping of '{op.name}' fits {acc.name}{kept}", list(dict.fromkeys(rejected)))


def _search_candidates(dataflow: Dataflow, op: Op, acc: Accelerator, goal: Goal) -> Found:
    """Each candidate run on its own."""
    candidates = dataflow.candidates(op, acc, goal.objective)
    scored: list[Scored] = []
    rejected: list[str] = []
    long: list[TooLongError] = []
    for candidate in candidates:
        try:
            scored.append(Scored(candidate, _cost_of_steps(candidate.steps(op, acc), acc)))
        except TooLongError as error:
            long.append(error)
        except MappingError as error:
            rejected.append(str(error))
    if not scored and long:
        shortest = min(long, key=lambda error: error.least_ticks)
        raise too_long(op, acc, shortest.least_ticks, shortest.most_ticks)
    if not scored:
        raise MappingError(f"no mapping of '{op.name}' fits {acc.name}", rejected)
    return _best_of(scored, dataflow, op, acc, goal, len(candidates))


def _best_of(scored: Sequence[Scored], dataflow: Dataflow, op: Op, acc: Accelerator, goal: Goal, points: int) -> Found:
    """The best of mappings that are all known."""
    costs = stack([item.costs for item in scored])
    kept = [scored[int(i)] for i in goal.kept(costs).nonzero()[0]]
    if not kept:
        least = {c.quantity: float(costs.of(c.quantity).min()) for c in goal.constraints}
        raise unmet(op, acc, type(dataflow).__name__, goal, least)
    best, runner_up = best_and_next(in_order(kept, goal.objective))
    return Found(goal, best, runner_up, points, len(scored))


def _cost_of_steps(steps: Sequence[Step], acc: Accelerator) -> Costs[float]:
    """What programs that run one after the other cost, each with the fixed overhead of an op."""
    prices = price_list(acc)
    main, local = acc.main_memory.name, acc.memories[0].name
    seconds = joules = traffic = footprint = 0.0
    for step in steps:
        counters = run_program(step.program)
        seconds += (counters.total_ticks + overhead_ticks(acc, "op")) / TICKS / acc.clock_hz
        dynamic = {action: count * step.copies for action, count in counters.actions.items()}
        joules += energy_of(dynamic, prices, 0.0, 0.0).total_j
        traffic += sum(dynamic.get(f"{way}.{main}", 0.0) for way in ("read", "write"))
        footprint = max(footprint, step.program.reserved_bytes(local))
    return Costs(seconds, joules + acc.power.idle_w * seconds, float(round(traffic)), footprint)


def _search_parts(dataflow: Composed, op: Op, acc: Accelerator, goal: Goal) -> Found:
    """Combinations of the best and the next mapping of each part.

    Times, energies and bytes of the parts add up, and the footprint is that of the largest, so each part is searched on
    its own. What ties parts together (EDP, and a limit of anything but the footprint) is exact only among the best of
    each part by every objective.
    """
    own = tuple(constraint for constraint in goal.constraints if constraint.quantity == "footprint")
    tied = goal.objective == "edp" or own != goal.constraints
    goals = [Goal(name, own, goal.effort) for name in (OBJECTIVES if tied else (goal.objective,))]
    choices: list[list[tuple[Scored, ...]]] = []
    fields, points = dataflow.parts(op, acc), 0
    for part in fields.values():
        found = [search_all(part.options, part.op, acc, each) for each in goals]
        points += found[0].points
        choices.append([(one.best, *one.runners_up[:1]) for one in found])
    scored = [
        Scored(
            dataflow.with_mappings(dict(zip(fields, [item.mapping for item in chosen], strict=True))),
            _in_sequence([item.costs for item in chosen]),
        )
        for chosen in _combinations(choices)
    ]
    return replace(_best_of(scored, dataflow, op, acc, goal, points), feasible=points)


def _combinations(choices: Sequence[Sequence[tuple[Scored, ...]]]) -> Iterator[Sequence[Scored]]:
    """One mapping for each part of those found by each goal: every combination where these are few.

    Else the best of all parts by the same goal, and those in which one part has its next.
    """
    distinct = [list({repr(item.mapping): item for found in part for item in found}.values()) for part in choices]
    if prod(len(part) for part in distinct) <= MOST_COMBINATIONS:
        yield from product(*distinct)
        return
    for goal in range(len(choices[0])):
        best = [part[goal][0] for part in choices]
        yield best
        for i, part in enumerate(choices):
            yield from ([*best[:i], item, *best[i + 1 :]] for item in part[goal][1:])


def _in_sequence(costs: Sequence[Costs[float]]) -> Costs[float]:
    """The costs of mappings that run one after the other."""
    seconds, joules, traffic, footprints = zip(*costs, strict=True)
    return Costs(sum(seconds), sum(joules), sum(traffic), max(footprints))

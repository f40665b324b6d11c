"""What a builder refuses, and the defaults it fills in (levels, shifts, levels of dependences)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from accsim.engine.program import (
    MAX_LEVELS,
    MAX_STAGE_TICKS,
    Amount,
    Hold,
    Program,
    Span,
    Stage,
    Varying,
)
from accsim.engine.tables import bounds, most_fires, single, spread
from accsim.errors import TooLongError, nearest

MAX_SHIFT = 2**20
UNDECIDED = -1
"""The shift of a stage whose producers ask for shifts at different levels, until it is refused."""


def check_program(program: Program) -> list[str]:
    """Every problem that can be seen before the defaults are filled in, one line each."""
    problems = _check_names(program)
    if problems:
        return problems
    problems = _check_levels(program) + _check_resources(program)
    if problems:
        return problems
    stages = {stage.name for stage in program.stages}
    for stage in program.stages:
        problems += _check_stage(program, stage, stages)
    return problems + _check_capacity(program)


def _check_names(program: Program) -> list[str]:
    problems = []
    kinds = {
        "level": [lv.name for lv in program.levels],
        "resource": [r.name for r in program.resources],
        "buffer": [b.name for b in program.buffers],
        "stage": [s.name for s in program.stages],
    }
    for kind, names in kinds.items():
        counts = Counter(names)
        problems += [f"two {kind}s are named '{name}'" for name, count in counts.items() if count > 1]
    if len(program.levels) > MAX_LEVELS:
        problems.append(f"{len(program.levels)} levels; at most {MAX_LEVELS} are allowed: join loops or nest a program")
    if not program.stages:
        problems.append("no stages: nothing takes time")
    return problems


def _check_levels(program: Program) -> list[str]:
    problems = []
    for depth, level in enumerate(program.levels):
        where = f"level '{level.name}'"
        if any(run < 1 for run in level.runs) or not level.runs:
            problems.append(f"{where}: run lengths {level.runs}; each must be at least 1")
        problems += _check_amount(program, level.trips, f"{where}: trips", 1, 2**40, outside=depth)
    return problems


def _check_resources(program: Program) -> list[str]:
    problems = []
    for resource in program.resources:
        if resource.servers < 1:
            problems.append(f"resource '{resource.name}': {resource.servers} servers; at least 1 is needed")
    for buffer in program.buffers:
        if buffer.slots < 1 or buffer.slot_bytes < 0:
            problems.append(f"buffer '{buffer.name}': needs at least 1 slot of at least 0 bytes")
        if buffer.memory and buffer.memory not in program.capacities:
            problems.append(f"buffer '{buffer.name}': {unknown('memory', buffer.memory, list(program.capacities))}")
    return problems


def _check_amount(
    program: Program, amount: Amount, where: str, least: int, most: int | None, *, outside: int = MAX_LEVELS
) -> list[str]:
    """Problems of one amount; ``outside`` is the depth of the level it bounds (it may vary with outer ones only)."""
    if isinstance(amount, Varying):
        names = [level.name for level in program.levels]
        if amount.values.ndim != len(amount.levels):
            return [f"{where}: {amount.values.ndim} axes for {len(amount.levels)} levels"]
        for name, size in zip(amount.levels, amount.values.shape, strict=True):
            if name not in names:
                return [f"{where}: {unknown('level', name, names)}"]
            depth = program.depth(name)
            if depth >= outside:
                return [f"{where}: varies with '{name}', which is not outside the level it bounds"]
            if size != len(program.levels[depth].runs):
                return [f"{where}: {size} values for the {len(program.levels[depth].runs)} classes of '{name}'"]
        low, high = int(amount.values.min()), int(amount.values.max())
    else:
        low = high = amount
    if low < least or (most is not None and high > most):
        allowed = f"at least {least}" if most is None else f"{least} to {most}"
        return [f"{where} = {low if low < least else high}; allowed is {allowed}"]
    return []


def _check_stage(program: Program, stage: Stage, stages: set[str]) -> list[str]:
    where = f"stage '{stage.name}'"
    names = [resource.name for resource in program.resources]
    servers = {resource.name: resource.servers for resource in program.resources}
    problems = []
    held = [stage.unit] + [name for name, _ in stage.rates]
    problems += [f"{where}: {unknown('resource', n, names)}" for n in held if n not in servers]
    if problems:
        return problems
    if len(set(held)) < len(held):
        problems.append(f"{where}: holds one resource twice")
    if len(stage.rates) > 2:
        problems.append(f"{where}: {len(stage.rates)} rates; at most 2 are allowed")
    problems += [f"{where}: rate '{n}' is a pool; a rate has one server" for n in held[1:] if servers[n] > 1]
    for what, ticks in _durations(stage):
        problems += _check_amount(program, ticks, f"{where}: {what}", 0, None)
    if stage.inner is not None and stage.ticks != stage.inner.counters.total_ticks:
        inner = f"the inner program '{stage.inner.program.name}' takes {stage.inner.counters.total_ticks}"
        problems.append(f"{where}: ticks {stage.ticks}; {inner}: make the stage with stand_for")
    if not 0 <= stage.latency <= MAX_STAGE_TICKS:
        problems.append(f"{where}: latency {stage.latency}; allowed is 0 to {MAX_STAGE_TICKS}")
    if stage.shift is not None and not 0 <= stage.shift <= MAX_SHIFT:
        problems.append(f"{where}: shift {stage.shift}; allowed is 0 to {MAX_SHIFT}")
    return problems + _check_spans(program, stage, where) + _check_edges(program, stage, where, stages)


def _durations(stage: Stage) -> list[tuple[str, Amount]]:
    """How long a stage holds its unit and its rates, each with its name."""
    return [("ticks", stage.ticks), *((f"ticks of rate '{name}'", ticks) for name, ticks in stage.rates)]


def check_length(program: Program) -> None:
    """Refuse a program with a stage that is too long to be counted.

    Raises
    ------
    TooLongError
        When one firing takes more than 2**60 ticks.
    """
    for stage in program.stages:
        for what, amount in _durations(stage):
            longest = int(amount.values.max()) if isinstance(amount, Varying) else amount
            if longest > MAX_STAGE_TICKS:
                message = f"stage '{stage.name}': {what} = {longest}; allowed is 0 to {MAX_STAGE_TICKS}"
                raise TooLongError(f"program '{program.name}' is too long: {message}", longest, MAX_STAGE_TICKS)


def _check_spans(program: Program, stage: Stage, where: str) -> list[str]:
    problems = []
    names = [level.name for level in program.levels]
    for name, span in stage.spans.items():
        if name not in names:
            problems.append(f"{where}: {unknown('level', name, names)}")
            continue
        depth = program.depth(name)
        for amount in (span.lo, span.hi):
            if amount is not None:
                problems += _check_amount(program, amount, f"{where}: span of '{name}'", -(2**40), 2**40, outside=depth)
    if problems:
        return problems
    for depth, name in enumerate(names):
        lo, hi = bounds(program, stage, depth)
        trips = spread(program, program.levels[depth].trips)
        if np.any(hi > trips) or np.any(lo > hi):
            problems.append(f"{where}: span [{lo.max()}, {hi.max()}) of '{name}' leaves its trips {trips.min()}")
    return problems


def _check_edges(program: Program, stage: Stage, where: str, stages: set[str]) -> list[str]:
    levels = [level.name for level in program.levels]
    buffers = {b.name for b in program.buffers}
    problems = []
    for name in (stage.level, stage.shift_level or ""):
        if name and name not in levels:
            problems.append(f"{where}: {unknown('level', name, levels)}")
    for after in stage.after:
        if after.stage not in stages:
            problems.append(f"{where}: after {unknown('stage', after.stage, sorted(stages))}")
        if after.level is not None and after.level not in levels:
            problems.append(f"{where}: after '{after.stage}': {unknown('level', after.level, levels)}")
        if not 0 <= after.lag <= MAX_SHIFT:
            problems.append(f"{where}: after '{after.stage}': lag {after.lag}; allowed is 0 to {MAX_SHIFT}")
    for verb, holds in (("takes", stage.acquires), ("gives back", stage.releases)):
        if len({hold.buffer for hold in holds}) < len(holds):
            problems.append(f"{where}: {verb} slots of one buffer twice; a stage may do so once a firing")
    for hold in stage.acquires + stage.releases:
        if hold.buffer not in buffers:
            problems.append(f"{where}: {unknown('buffer', hold.buffer, sorted(buffers))}")
        problems += [f"{where}: {unknown('level', n, levels)}" for n in hold.first + hold.last if n not in levels]
    return problems


def _check_capacity(program: Program) -> list[str]:
    problems = []
    for memory, capacity in program.capacities.items():
        inside = [b for b in program.buffers if b.memory == memory]
        need = sum(b.slots * b.slot_bytes for b in inside)
        if need > capacity:
            parts = ", ".join(f"{b.name} {b.slots} x {b.slot_bytes} B" for b in inside)
            problems.append(f"needs {need} B in {memory}, has {capacity} B ({parts})")
    return problems


def fill_defaults(program: Program) -> Program:
    """The program with every stage's level, shift, shift level and every dependence's level stated."""
    inner = program.levels[-1].name
    done: dict[str, Stage] = {}
    for stage in program.stages:
        level = stage.level or _declared_level(program, stage)
        shift, shift_level = _default_shift(program, stage, done)
        done[stage.name] = replace(stage, level=level, shift=shift, shift_level=shift_level or inner)
    stages = []
    for stage in done.values():
        after = tuple(replace(a, level=a.level or _lag_level(program, done[a.stage], stage)) for a in stage.after)
        stages.append(replace(stage, after=after))
    return replace(program, stages=tuple(stages))


def _declared_level(program: Program, stage: Stage) -> str:
    """The deepest level at which the stage's span is not declared as one index."""
    for level in reversed(program.levels):
        if not single(stage.spans.get(level.name, Span())):
            return level.name
    return program.levels[0].name


def _default_shift(program: Program, stage: Stage, done: dict[str, Stage]) -> tuple[int, str | None]:
    if stage.shift is not None:
        return stage.shift, stage.shift_level
    asked = _asked_shifts(program, stage, done)
    if len({level for _, level in asked.values()}) > 1:
        return UNDECIDED, None
    return max(asked.values(), default=(0, None))


def _asked_shifts(program: Program, stage: Stage, done: Mapping[str, Stage]) -> dict[str, tuple[int, str | None]]:
    """Producer -> the shift above 0 and its level that it asks of the stage; ``done`` are the stages before."""
    asked = {}
    for after in stage.after:
        producer = done.get(after.stage)
        if producer is None:
            continue
        shift, level = producer.shift or 0, producer.shift_level
        loaded = None if producer.after else _buffer_between(producer, stage)
        if loaded is not None:
            slots = next(b.slots for b in program.buffers if b.name == loaded.buffer)
            shift, level = shift + slots - 1, _acquire_level(program, producer, loaded)
        if shift > 0:
            asked[producer.name] = (shift, level)
    return asked


def _buffer_between(load: Stage, stage: Stage) -> Hold | None:
    released = {hold.buffer for hold in stage.releases}
    return next((hold for hold in load.acquires if hold.buffer in released), None)


def _acquire_level(program: Program, load: Stage, hold: Hold) -> str:
    """The deepest level at which a load takes a slot more than once."""
    for level in reversed(program.levels):
        named = level.name in hold.first or level.name in hold.last
        if not named and not single(load.spans.get(level.name, Span())):
            return level.name
    return program.levels[0].name


def _lag_level(program: Program, producer: Stage, consumer: Stage) -> str:
    deepest = min(program.depth(producer.level), program.depth(consumer.level))
    for depth in range(deepest + 1):
        lo, hi = bounds(program, producer, depth)
        lo2, hi2 = bounds(program, consumer, depth)
        if not np.any(np.maximum(lo, lo2) < np.minimum(hi, hi2)):
            return program.levels[max(depth - 1, 0)].name
    return program.levels[deepest].name


def check_defaults(program: Program) -> list[str]:
    """Problems of a filled-in program: shifts that cannot be inherited, carried lags, unthrottled producers."""
    problems = []
    inner = program.levels[-1].name
    done: dict[str, Stage] = {}
    for stage in program.stages:
        if stage.shift == UNDECIDED:
            asked = _asked_shifts(program, stage, done)
            parts = [f"'{name}' for {shift} of '{level}'" for name, (shift, level) in asked.items()]
            problems.append(
                f"stage '{stage.name}': its producers ask for shifts at different levels, {' and '.join(parts)}: "
                "set shift= and shift_level= of the stage"
            )
        done[stage.name] = stage
        for after in stage.after:
            if after.carried and after.level == inner and after.lag > 1:
                problems.append(
                    f"stage '{stage.name}': after '{after.stage}' carried over {after.lag} innermost iterations; "
                    "allowed is 0 or 1 (name an outer level)"
                )
    return problems + _check_throttled(program)


def _check_throttled(program: Program) -> list[str]:
    if all(most_fires(program, stage) <= 1 for stage in program.stages):
        return []
    before = {s.name: {hold.buffer for hold in s.acquires} for s in program.stages}
    upstream = _closure(before, [(a.stage, s.name) for s in program.stages for a in s.after])
    behind = {s.name: {hold.buffer for hold in s.releases} for s in program.stages}
    downstream = _closure(behind, [(s.name, a.stage) for s in program.stages for a in s.after])
    by_name = {s.name: s for s in program.stages}
    problems = []
    for stage in program.stages:
        for after in stage.after:
            producer: Stage = by_name[after.stage]
            if producer.unit == stage.unit or upstream[producer.name] & downstream[stage.name]:
                continue
            if most_fires(program, producer) > 1:
                problems.append(
                    f"stage '{producer.name}' hands to '{stage.name}' without a buffer: an unthrottled producer; "
                    "acquire a slot at or before the producer and release it at or after the consumer"
                )
    return problems


def _closure(sets: dict[str, set[str]], edges: list[tuple[str, str]]) -> dict[str, set[str]]:
    """Flow the sets along the edges (from, to) until nothing changes."""
    changed = True
    while changed:
        changed = False
        for origin, to in edges:
            if not sets[origin] <= sets[to]:
                sets[to] |= sets[origin]
                changed = True
    return sets


def unknown(kind: str, name: str, allowed: Sequence[str]) -> str:
    """A problem line for an unknown name, with the nearest valid one."""
    guess = nearest(name, allowed)
    hint = f" Did you mean '{guess}'?" if guess else ""
    listed = ", ".join(allowed[:8]) + (", ..." if len(allowed) > 8 else "")
    return f"unknown {kind} '{name}'; allowed: {listed or 'none'}.{hint}"

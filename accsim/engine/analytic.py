"""Fidelity ``analytic``: firings counted in closed form, and the lower bound of a program's time they give.

The bound is the maximum over resources of the earliest reach of its first stage, the time it is held divided by its
servers, and the least latency behind its last stage. ``tile`` is never below it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from accsim.engine.counters import Counters, scale_path
from accsim.engine.merge import with_inner
from accsim.engine.program import Program, Stage, Varying
from accsim.engine.tables import IntArray, bounds, spread

NO_END = 2**62


def count_fires(program: Program, stage: Stage) -> IntArray:
    """How often a stage fires in each combination of classes (one axis a level), in closed form."""
    total = np.ones([1] * len(program.levels), np.int64)
    for depth, level in enumerate(program.levels):
        lo, hi = bounds(program, stage, depth)
        ends = np.array([*np.cumsum(level.runs[:-1]), NO_END], np.int64)
        shape = [1] * len(program.levels)
        shape[depth] = len(ends)
        last = ends.reshape(shape)
        first = np.concatenate([[0], ends[:-1]]).reshape(shape)
        total = total * np.maximum(np.minimum(hi, last) - np.maximum(lo, first), 0)
    return total


def bound_program(program: Program) -> Counters:
    """Counters of a program whose time is its lower bound: busy, fires and actions are exact, stalls are not known.

    Inner programs are taken as they run: their time and their stalls are those of the engine.
    """
    own = _bound_own(program)
    bound = with_inner(program, own)
    # A resource that inner programs share may need longer than the program's own stages.
    more = {name: -(ticks // bound.servers[name]) for name, ticks in bound.done.items() if ticks < 0}
    if not more:
        return bound
    name = max(more, key=lambda name: more[name])
    total = own.total_ticks + more[name]
    return with_inner(program, replace(own, total_ticks=total, critical_path={f"{name}/resource": total}))


def _bound_own(program: Program) -> Counters:
    """The bound of the program's own stages and resources."""
    fires = {stage.name: count_fires(program, stage) for stage in program.stages}
    busy = {resource.name: 0 for resource in program.resources}
    held = dict(busy)
    reach: dict[str, int] = {}
    tail: dict[str, int] = {}
    arrives: dict[str, int] = {}
    for stage in program.stages:
        often = fires[stage.name]
        ticks = [spread(program, amount) for amount in (stage.ticks, *(t for _, t in stage.rates))]
        slowest = np.broadcast_to(np.maximum.reduce(np.broadcast_arrays(*ticks)), often.shape)
        if not often.any():
            continue
        early = max((arrives.get(a.stage, 0) for a in stage.after if not a.lag and not a.carried), default=0)
        arrives[stage.name] = early + int(slowest[often > 0].min()) + stage.latency
        for name, amount in zip([stage.unit, *(n for n, _ in stage.rates)], ticks, strict=True):
            busy[name] += int((often * amount).sum())
            held[name] += int((often * (slowest if name == stage.unit else amount)).sum())
            reach[name] = min(reach.get(name, NO_END), early)
            tail[name] = min(tail.get(name, NO_END), stage.latency)
    servers = {r.name: r.servers for r in program.resources}
    least = {name: reach[name] - (-held[name] // servers[name]) + tail[name] for name in reach}
    total = max(least.values(), default=0)
    actions: dict[str, float] = {}
    for stage in program.stages:
        for action, count in stage.actions.items():
            per_fire = spread(program, count) if isinstance(count, Varying) else count
            actions[action] = actions.get(action, 0.0) + float((fires[stage.name] * per_fire).sum())
    bound_by = max(least, key=lambda name: least[name], default="")
    return Counters(
        total_ticks=total,
        busy=busy,
        stalls={name: {} for name in busy},
        done={name: total * servers[name] - ticks for name, ticks in busy.items()},
        servers=servers,
        occupancy={},
        fires={name: int(count.sum()) for name, count in fires.items()},
        actions=actions,
        critical_path=_path(program, fires, bound_by, total),
    )


def _path(program: Program, fires: dict[str, IntArray], bound_by: str, total: int) -> dict[str, int]:
    """All time on the resource that bounds it, or on what bounds the inner programs that run there."""
    inside: dict[str, int] = {}
    for stage in program.stages:
        if stage.unit == bound_by and stage.inner is not None:
            for key, ticks in stage.inner.counters.critical_path.items():
                inside[key] = inside.get(key, 0) + ticks * int(fires[stage.name].sum())
    if inside:
        return {key: ticks for key, ticks in scale_path(inside, total) if ticks}
    return {f"{bound_by}/resource": total} if bound_by else {}

"""Composition: counters of programs one after the other, and two or more programs at once on shared resources."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from accsim.engine.counters import Counters


@dataclass(frozen=True)
class Part:
    """One program's counters within a trace.

    Attributes
    ----------
    times : how often it runs, one after the other.
    copies : identical copies it stands for; actions are counted for all of them.
    overhead_ticks : fixed time before each run.
    early : busy ticks of a resource that its run was spared, since the program before did that work in its idle time.
    """

    counters: Counters
    times: int = 1
    copies: float = 1.0
    overhead_ticks: int = 0
    early: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Totals:
    """Sums over the parts of a trace; ticks, and counts of actions of all copies.

    ``servers`` is how many of a resource ``busy``, ``available`` and ``stalls`` are over. A part that has fewer of it,
    as where one SM stands for all, counts for as many. ``critical_path`` holds the overheads as ``"overhead/op"`` and
    sums to ``total_ticks``.
    """

    total_ticks: int
    servers: Mapping[str, int]
    busy: Mapping[str, int]
    available: Mapping[str, int]
    stalls: Mapping[str, Mapping[str, int]]
    actions: Mapping[str, float]
    critical_path: Mapping[str, int]


def in_sequence(parts: Iterable[Part]) -> Totals:
    """The parts one after the other, empty state in between: times, busy, stalls and actions add.

    ``available`` is total × servers, the denominator of utilization, over the whole trace.
    """
    parts = list(parts)
    total = 0
    busy: dict[str, int] = {}
    servers: dict[str, int] = {}
    for part in parts:
        for name, count in part.counters.servers.items():
            servers[name] = math.lcm(servers.get(name, 1), count)
    stalls: dict[str, dict[str, int]] = {}
    actions: dict[str, float] = {}
    path: dict[str, int] = {}
    for part in parts:
        counters = part.counters
        total += part.times * (counters.total_ticks + part.overhead_ticks)
        for resource, count in counters.servers.items():
            times = part.times * servers[resource] // count
            ticks = counters.busy[resource] + part.early.get(resource, 0)
            busy[resource] = busy.get(resource, 0) + times * ticks
            _add(stalls.setdefault(resource, {}), counters.stalls[resource], times)
        for action, amount in counters.actions.items():
            actions[action] = actions.get(action, 0.0) + amount * part.copies * part.times
        _add(path, counters.critical_path, part.times)
        if part.overhead_ticks:
            _add(path, {"overhead/op": part.overhead_ticks}, part.times)
    available = {name: total * count for name, count in servers.items()}
    return Totals(total, servers, busy, available, stalls, actions, path)


def _add(total: dict[str, int], counts: Mapping[str, int], times: int) -> None:
    for key, count in counts.items():
        total[key] = total.get(key, 0) + count * times


@dataclass(frozen=True)
class Alone:
    """What a program needs when it runs alone: its time, and its busy time on each resource (any unit of time)."""

    time: float
    busy: Mapping[str, float]


def at_once(programs: Sequence[Alone]) -> tuple[float, ...]:
    """When each of several programs ends that start together and share resources.

    Notes
    -----
    Program i alone takes T_i and uses b_ir of resource r. Together they progress at max-min fair rates x_i ≤ 1 with
    Σ x_i b_ir / T_i ≤ 1 on every r, solved again whenever one ends. On disjoint resources each takes its own time;
    bound by the same resource throughout, the last ends at the sum.

    Source: max-min fairness by progressive filling (Bertsekas and Gallager, Data Networks, section 6.5.2).
    """
    left = [1.0] * len(programs)
    ends = [0.0] * len(programs)
    running = {i for i, program in enumerate(programs) if program.time > 0}
    now = 0.0
    while running:
        rates = _fair_rates({i: programs[i] for i in running})
        step = min(left[i] * programs[i].time / rates[i] for i in running)
        now += step
        ended = set()
        for i in running:
            left[i] -= step * rates[i] / programs[i].time
            if left[i] <= 1e-12:
                ends[i] = now
                ended.add(i)
        running -= ended
    return tuple(ends)


def _fair_rates(programs: Mapping[int, Alone]) -> dict[int, float]:
    """Max-min fair rates: raise all together, freeze those whose resource is full, go on with the rest."""
    rates = dict.fromkeys(programs, 0.0)
    free: dict[str, float] = {}
    for program in programs.values():
        free |= dict.fromkeys(program.busy, 1.0)
    rising = set(programs)
    while rising:
        load = {r: sum(programs[i].busy.get(r, 0.0) / programs[i].time for i in rising) for r in free}
        step = min([1.0 - rates[i] for i in rising] + [free[r] / load[r] for r in free if load[r] > 0])
        for i in rising:
            rates[i] += step
        for resource, share in load.items():
            free[resource] -= step * share
        full = {r for r in free if free[r] <= 1e-12 and load[r] > 0}
        rising = {
            i for i in rising if rates[i] < 1.0 - 1e-12 and not any(programs[i].busy.get(r, 0.0) > 0 for r in full)
        }
    return rates

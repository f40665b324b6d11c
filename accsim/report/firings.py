"""The first firings of a tile program, each with its place in the nest, what it held, and on what it waited.

The engine's event list has times only. The rest follows from the program: a stage fires in the order of its index
ranges (``docs/engine.md``), so its n-th firing is the n-th index within them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby
from typing import Any

import numpy.typing as npt

from accsim.engine.inner import servers_of
from accsim.engine.program import After, Hold, Program, Stage, Varying
from accsim.engine.run import first_events
from accsim.engine.tables import IntArray, bounds, spread

Index = tuple[int, ...]

WAYS = ("read.", "write.")
"""Beginnings of the actions that count bytes of a memory."""


@dataclass(frozen=True)
class Firing:
    """One firing of a stage; times in ticks from the program's start.

    Attributes
    ----------
    firing : how often its stage fired before.
    index : iteration of each level that it does the work of.
    end, finish : when its unit is free again, and when its result is there.
    server : which of the unit's servers holds it.
    ticks : the unit's own work; it is held longer where a rate is slower.
    rates : shared rates it held from ``start`` on, and for how long.
    moves : bytes read from or written to a memory, ``"read.hbm"``.
    takes, gives : buffers of which it takes a slot at ``start`` or gives one back at ``finish``.
    producers : places in the list of firings whose results it waited for.
    """

    stage: Stage
    firing: int
    index: Index
    start: int
    end: int
    server: int
    ticks: int
    rates: tuple[tuple[str, int], ...]
    moves: tuple[tuple[str, float], ...]
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    producers: tuple[int, ...]

    @property
    def slowest(self) -> str:
        """What it took longest for: its unit, or a rate that was slower."""
        name, ticks = max(self.rates, key=lambda rate: rate[1], default=("", 0))
        return name if ticks > self.ticks else self.stage.unit

    @property
    def finish(self) -> int:
        """When its result is there: the end of the hold and the stage's latency."""
        return self.end + self.stage.latency


def first_firings(program: Program, most: int) -> list[Firing]:
    """The first ``most`` firings of a program in issue order (all of them when it has fewer).

    Notes
    -----
    Dependences carried over more than one iteration of an inner level are left out of ``producers``.
    """
    walks = {stage.name: _Walk(program, stage) for stage in program.stages}
    events = first_events(program, most)
    found: list[Firing] = []
    for event, server in zip(events, servers_of(program, events), strict=True):
        walk = walks[event.stage]
        stage = walk.stage
        place = walk.step()
        producers = [
            walks[after.stage].meant_by(program.depth(after.level or ""), after, place) for after in stage.after
        ]
        found.append(
            Firing(
                stage,
                event.firing,
                place,
                event.start,
                event.end,
                server,
                *walk.held(),
                walk.moves(),
                tuple(hold.buffer for hold in stage.acquires if walk.holds(hold)),
                tuple(hold.buffer for hold in stage.releases if walk.holds(hold)),
                tuple(at for at in producers if at is not None),
            )
        )
        walk.fired.append(len(found) - 1)
    return found


def slots_in_use(buffer: str, found: Sequence[Firing]) -> list[tuple[int, int]]:
    """(tick, slots of a buffer held from then on), in order of time: each from its taker's start to its giver's finish.

    Over all firings of a program its integral is the engine's ``Occupancy.slot_ticks``.
    """
    changes: dict[int, int] = {}
    for firing in found:
        if buffer in firing.takes:
            changes[firing.start] = changes.get(firing.start, 0) + 1
        if buffer in firing.gives:
            changes[firing.finish] = changes.get(firing.finish, 0) - 1
    times = sorted(changes)
    return list(zip(times, accumulate(changes[at] for at in times), strict=True))


def bytes_per_tick(found: Sequence[Firing]) -> dict[str, list[tuple[int, tuple[float, float]]]]:
    """Memory -> (tick, bytes read and written a tick from then on), in order of time.

    A firing moves its bytes evenly while its unit is held. Over all firings of a program the integral is the bytes that
    its actions count.
    """
    users: dict[str, list[Firing]] = {}
    for firing in found:
        if firing.end > firing.start:
            for memory in dict.fromkeys(action.partition(".")[2] for action, size in firing.moves if size):
                users.setdefault(memory, []).append(firing)
    return {memory: list(_rates(memory, firings)) for memory, firings in users.items()}


def _rates(memory: str, firings: Sequence[Firing]) -> Iterator[tuple[int, tuple[float, float]]]:
    starts = {at: list(group) for at, group in groupby(sorted(firings, key=_start), key=_start)}
    active: list[Firing] = []
    last = (0.0, 0.0)
    for at in sorted({time for firing in firings for time in (firing.start, firing.end)}):
        active = [firing for firing in active if firing.end > at] + starts.get(at, [])
        read, write = (sum(dict(f.moves).get(way + memory, 0.0) / (f.end - f.start) for f in active) for way in WAYS)
        if (read, write) != last:
            last = read, write
            yield at, last


def _start(firing: Firing) -> int:
    return firing.start


def inner_firings(firings: Sequence[Firing], most: int) -> list[tuple[Program, list[Firing]]]:
    """The first ``most`` firings inside those given that are on the first server of their unit, by inner program run.

    Times are from the outer program's start; ``producers`` are places in the list of the same run.
    """
    found = []
    for outer in firings:
        if outer.stage.inner is None or outer.server > 0 or most <= 0:
            continue
        program = outer.stage.inner.program
        inside = [
            replace(firing, start=firing.start + outer.start, end=firing.end + outer.start)
            for firing in first_firings(program, most)
        ]
        most -= len(inside)
        found.append((program, inside))
        for run in inner_firings(inside, most):
            most -= len(run[1])
            found.append(run)
    return found


class _Walk:
    """The firings of one stage in order: where the next one lies, and where the earlier ones are in the list."""

    def __init__(self, program: Program, stage: Stage) -> None:
        self.program = program
        self.stage = stage
        self.bounds = [bounds(program, stage, depth) for depth in range(len(program.levels))]
        self.trips = [spread(program, level.trips) for level in program.levels]
        self.run_ends = [list(accumulate(level.runs[:-1])) for level in program.levels]
        self.ticks = spread(program, stage.ticks)
        self.rates = [(name, spread(program, ticks)) for name, ticks in stage.rates]
        self.bytes = {name: amount for name, amount in stage.actions.items() if name.startswith(WAYS)}
        self.places = self._places(0, (), (), ())
        self.done: list[Index] = []
        self.fired: list[int] = []
        self.classes: Index = ()
        self.edges: tuple[tuple[bool, bool], ...] = ()

    def _places(
        self, depth: int, index: Index, classes: Index, edges: tuple[tuple[bool, bool], ...]
    ) -> Iterator[tuple[Index, Index, tuple[tuple[bool, bool], ...]]]:
        """(index, class of each level, whether first and last of its range at each level), in order."""
        if depth == len(self.bounds):
            yield index, classes, edges
            return
        lo, hi = (_at(table, classes) for table in self.bounds[depth])
        hi = min(hi, _at(self.trips[depth], classes))
        for i in range(lo, hi):
            here = (*classes, bisect_right(self.run_ends[depth], i))
            yield from self._places(depth + 1, (*index, i), here, (*edges, (i == lo, i == hi - 1)))

    def step(self) -> Index:
        """Go on to the next firing; its index."""
        index, self.classes, self.edges = next(self.places)
        self.done.append(index)
        return index

    def held(self) -> tuple[int, tuple[tuple[str, int], ...]]:
        """The unit's own ticks at this firing, and its shared rates with theirs."""
        return _at(self.ticks, self.classes), tuple((name, _at(table, self.classes)) for name, table in self.rates)

    def moves(self) -> tuple[tuple[str, float], ...]:
        """Bytes that this firing reads from or writes to each memory."""
        found = []
        for action, amount in self.bytes.items():
            if isinstance(amount, Varying):
                amount = _entry(spread(self.program, amount), self.classes)
            found.append((action, float(amount)))
        return tuple(found)

    def holds(self, hold: Hold) -> bool:
        """Whether this firing takes (or gives back) the slot."""
        depth = self.program.depth
        first = all(self.edges[depth(name)][0] for name in hold.first)
        return first and all(self.edges[depth(name)][1] for name in hold.last)

    def meant_by(self, depth: int, after: After, consumer: Index) -> int | None:
        """Place in the list of the firing that a dependence means; None if it is void (or carried too far)."""
        outer, i = consumer[:depth], consumer[depth]
        carried = after.carried and depth > 0
        if carried and after.lag > 1:
            return None
        if carried and after.lag == 1:
            at = bisect_left(self.done, consumer[: depth + 1], key=lambda index: index[: depth + 1])
        else:
            at = bisect_right(self.done, (*outer, i - after.lag), key=lambda index: index[: depth + 1])
        if at == 0 or (not carried and self.done[at - 1][:depth] != outer):
            return None
        return self.fired[at - 1]


def _at(table: IntArray, classes: Sequence[int]) -> int:
    return int(_entry(table, classes))


def _entry(table: npt.NDArray[Any], classes: Sequence[int]) -> Any:
    """Entry of a table over the classes of the levels; classes that are not given are those it does not vary over."""
    padded = [*classes, *[0] * (table.ndim - len(classes))]
    return table[tuple(c if size > 1 else 0 for c, size in zip(padded, table.shape, strict=True))]

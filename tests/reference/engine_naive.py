"""The engine's rules written down the obvious, slow way: every firing is kept, every question answered by searching.

``simulate`` follows ``docs/engine.md`` sentence by sentence and shares nothing with the engine but the types of a
program. Inner programs are left to the tests of the engine's own door.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from accsim.engine.program import After, Amount, Hold, Level, Program, Span, Stage, Varying
from accsim.errors import MappingError

Index = tuple[int, ...]


@dataclass(frozen=True)
class Occupancy:
    """Use of a buffer: slot-ticks held, largest number of slots held at once, slots reserved."""

    slot_ticks: int
    peak: int
    reserved: int


@dataclass(frozen=True)
class Result:
    """Counters of a run, in ticks; the names are those of the engine's own counters."""

    total_ticks: int
    busy: dict[str, int]
    stalls: dict[str, dict[str, int]]
    done: dict[str, int]
    occupancy: dict[str, Occupancy]
    fires: dict[str, int]
    actions: dict[str, float]
    critical_path: dict[str, int]


@dataclass(eq=False)
class Firing:
    """One firing of a stage, with everything later questions need."""

    number: int
    stage: Stage
    index: Index
    ticks: int = 0
    rates: tuple[tuple[str, int], ...] = ()
    start: int = 0
    finish: int = 0
    winner: Cause | None = None

    @property
    def held(self) -> list[tuple[str, int]]:
        """(resource, own ticks): the unit first, then the rates as listed."""
        return [(self.stage.unit, self.ticks), *self.rates]

    @property
    def slowest(self) -> tuple[str, int]:
        """The resource that takes longest; of equal ones the first in the order of ``held``."""
        longest = max(ticks for _, ticks in self.held)
        return next((name, ticks) for name, ticks in self.held if ticks == longest)


@dataclass(frozen=True, eq=False)
class Cause:
    """One thing a firing waits for: the time it allows, its name in the stalls, and the firing it comes from.

    ``why`` is ``resource``, ``data``, ``slot`` or ``order``; ``resource`` is set for the first only.
    """

    time: int
    name: str
    why: str
    firing: Firing | None
    resource: str = ""


@dataclass
class Server:
    """A unit, a rate or one server of a pool: when it is free, and the last firing on it."""

    number: int
    free: int = 0
    last: Firing | None = None


@dataclass
class Queue:
    """Acquires and releases of one buffer, in issue order."""

    slots: int
    acquires: list[Firing] = field(default_factory=list)
    releases: list[Firing] = field(default_factory=list)


# Numbers of a program


def class_of(level: Level, i: int) -> int:
    """The class of iteration i: the run it lies in, the last run being open."""
    begin = 0
    for number, length in enumerate(level.runs[:-1]):
        begin += length
        if i < begin:
            return number
    return len(level.runs) - 1


def value(program: Program, amount: Amount, index: Index) -> int:
    """An amount at a work index (or at the outer part of one)."""
    if not isinstance(amount, Varying):
        return amount
    at = []
    for name in amount.levels:
        depth = program.depth(name)
        at.append(class_of(program.levels[depth], index[depth]))
    return int(amount.values[tuple(at)])


def walk(program: Program) -> list[Index]:
    """Every step of the nest, in loop order."""
    steps: list[Index] = [()]
    for level in program.levels:
        steps = [(*outer, i) for outer in steps for i in range(value(program, level.trips, outer))]
    return steps


def bounds(program: Program, stage: Stage, depth: int, index: Index) -> tuple[int, int]:
    """[lo, hi) of the stage at a level; negative values count from the trips, and never reach below index 0."""
    level = program.levels[depth]
    span = stage.spans.get(level.name, Span())
    trips = value(program, level.trips, index)
    lo = value(program, span.lo, index)
    hi = trips if span.hi is None else value(program, span.hi, index)
    return (max(trips + lo, 0) if lo < 0 else lo), (max(trips + hi, 0) if hi < 0 else hi)


def in_spans(program: Program, stage: Stage, index: Index) -> bool:
    """Whether the stage fires at this step."""
    for depth, i in enumerate(index):
        lo, hi = bounds(program, stage, depth, index)
        if not lo <= i < hi:
            return False
    return True


def holds(program: Program, stage: Stage, hold: Hold, index: Index) -> bool:
    """Whether the firing at this index takes (or gives back) the slot."""
    firsts = [program.depth(name) for name in hold.first]
    lasts = [program.depth(name) for name in hold.last]
    return all(index[d] == bounds(program, stage, d, index)[0] for d in firsts) and all(
        index[d] == bounds(program, stage, d, index)[1] - 1 for d in lasts
    )


# Issue order


@dataclass
class Cursor:
    """A walk through the nest; all stages of one shift share it."""

    level: int
    shift: int
    steps: list[Index]
    at: int = 0
    open: bool = False

    def step_on(self) -> None:
        """Move on one step, and close if that ended the iteration of the cursor's level."""
        if self.level in ended(self.steps, self.at):
            self.open = False
        self.at += 1


def ended(steps: list[Index], at: int) -> list[int]:
    """The levels an iteration of which ends with this step, outermost first."""
    here = steps[at]
    return [d for d in range(len(here)) if at + 1 == len(steps) or steps[at + 1][: d + 1] != here[: d + 1]]


def begun(steps: list[Index], at: int) -> list[int]:
    """The levels an iteration of which begins with this step, outermost first."""
    here = steps[at]
    return [d for d in range(len(here)) if at == 0 or steps[at - 1][: d + 1] != here[: d + 1]]


def issue(program: Program) -> list[tuple[Stage, Index]]:
    """All firings in issue order, as (stage, work index)."""
    steps = walk(program)
    keys = [(program.depth(s.shift_level or program.levels[-1].name), s.shift or 0) for s in program.stages]
    cursors = {key: Cursor(*key, steps) for key in keys if key[1] > 0}
    iterations = [0] * len(program.levels)
    order: list[tuple[Stage, Index]] = []

    def begin(level: int) -> None:
        for cursor in cursors.values():
            if cursor.level == level and iterations[level] >= cursor.shift and cursor.at < len(steps):
                cursor.open = True
        iterations[level] += 1

    def play(main: Index | None, playing: list[Cursor]) -> None:
        at = {(cursor.level, cursor.shift): steps[cursor.at] for cursor in playing}
        for stage, key in zip(program.stages, keys, strict=True):
            index = at.get(key) if key in cursors else main
            if index is not None and in_spans(program, stage, index):
                order.append((stage, index))
        for cursor in playing:
            cursor.step_on()

    def open_from(level: int) -> list[Cursor]:
        return [cursor for cursor in cursors.values() if cursor.open and cursor.level >= level]

    for at, step in enumerate(steps):
        for level in begun(steps, at):
            begin(level)
        play(step, open_from(0))
        outermost = ended(steps, at)[0]
        while open_from(outermost):
            play(None, open_from(outermost))
    while any(cursor.at < len(steps) for cursor in cursors.values()):
        for level in range(len(program.levels)):
            begin(level)
        play(None, open_from(0))
        while open_from(0):
            play(None, open_from(0))
    return order


# Dependences


def count_through(program: Program) -> dict[Index, int]:
    """Which iteration of its level each (outer part of a) step lies in, counted through the whole program."""
    steps = walk(program)
    count: dict[Index, int] = {}
    for depth in range(1, len(program.levels) + 1):
        iterations = sorted({step[:depth] for step in steps})
        count.update({iteration: number for number, iteration in enumerate(iterations)})
    return count


def produced(
    program: Program, after: After, index: Index, works: list[Firing], count: dict[Index, int]
) -> Firing | None:
    """Of the producer's firings the one that a dependence means at this work index; None when it is void."""
    d = program.depth(after.level or program.levels[-1].name)
    if after.carried:
        target = count[index[: d + 1]] - after.lag
        if target < 0:
            return None
        works = [f for f in works if count[f.index[: d + 1]] <= target]
    else:
        if index[d] - after.lag < 0:
            return None
        works = [f for f in works if f.index[:d] == index[:d] and f.index[d] <= index[d] - after.lag]
    return max(works, key=lambda f: f.index, default=None)


def check_carried(program: Program) -> None:
    """Refuse a carried lag above 1 at the innermost level."""
    for stage in program.stages:
        for after in stage.after:
            if after.carried and after.level == program.levels[-1].name and after.lag > 1:
                raise MappingError(f"{stage.name}: carried lag {after.lag} at the innermost level")


def depend(program: Program, firings: list[Firing]) -> dict[Firing, list[Firing | None]]:
    """The producing firings of every firing, one entry a dependence as listed."""
    check_carried(program)
    count = count_through(program)
    works = {stage.name: [f for f in firings if f.stage.name == stage.name] for stage in program.stages}
    found: dict[Firing, list[Firing | None]] = {}
    for firing in firings:
        after_all = firing.stage.after
        found[firing] = [produced(program, after, firing.index, works[after.stage], count) for after in after_all]
        for after, producer in zip(after_all, found[firing], strict=True):
            if producer is not None and producer.number >= firing.number:
                raise MappingError(f"{firing.stage.name} depends on a later firing of {after.stage}")
    for stage in program.stages:
        for i, after in enumerate(stage.after):
            if works[stage.name] and all(found[f][i] is None for f in works[stage.name]):
                raise MappingError(f"{stage.name}: after {after.stage} is void at every firing")
    return found


# Times


@dataclass
class Machine:
    """Resources and buffers while the firings are timed, and the firings so far on each pool."""

    servers: dict[str, list[Server]]
    queues: dict[str, Queue]
    on_pool: dict[str, list[Firing]]
    stalls: dict[str, dict[str, int]]

    @classmethod
    def of(cls, program: Program) -> Machine:
        """The machine of a program, with nothing on it yet."""
        return cls(
            {r.name: [Server(i) for i in range(r.servers)] for r in program.resources},
            {b.name: Queue(b.slots) for b in program.buffers},
            {r.name: [] for r in program.resources if r.servers > 1},
            {r.name: {} for r in program.resources},
        )

    def server(self, resource: str) -> Server:
        """The server that is free first; of equal ones the one whose last firing was issued first, then by number."""
        return min(self.servers[resource], key=lambda s: (s.free, -1 if s.last is None else s.last.number, s.number))

    def charge(self, resource: str, cause: str, ticks: int) -> None:
        """Add lost ticks of a resource to a cause."""
        if ticks:
            self.stalls[resource][cause] = self.stalls[resource].get(cause, 0) + ticks


def place(machine: Machine, firing: Firing, producers: list[Firing | None], acquired: list[tuple[str, int]]) -> None:
    """Time one firing, charge the gaps before it, and hold its resources.

    ``acquired`` are (buffer, number of the acquire) as listed.
    """
    stage = firing.stage
    taken = [(name, machine.server(name), ticks) for name, ticks in firing.held]
    causes = [Cause(server.free, f"resource:{name}", "resource", server.last, name) for name, server, _ in taken]
    for after, producer in zip(stage.after, producers, strict=True):
        if producer is not None:
            causes.append(Cause(producer.finish, f"data:{after.stage}", "data", producer))
    for buffer, k in acquired:
        queue = machine.queues[buffer]
        if k >= queue.slots:
            if k - queue.slots >= len(queue.releases):
                raise MappingError(f"{stage.name} takes a slot of {buffer} that is given back later")
            release = queue.releases[k - queue.slots]
            causes.append(Cause(release.finish, f"slot:{buffer}", "slot", release))
    if machine.on_pool.get(stage.unit):
        previous = machine.on_pool[stage.unit][-1]
        causes.append(Cause(previous.start, "order", "order", previous))

    firing.start = max(cause.time for cause in causes)
    firing.winner = next(cause for cause in causes if cause.time == firing.start)
    slowest, longest = firing.slowest
    firing.finish = firing.start + longest + stage.latency
    for i, (name, server, ticks) in enumerate(taken):
        machine.charge(name, firing.winner.name, firing.start - server.free)
        server.free = firing.start + (longest if i == 0 else ticks)
        server.last = firing
    machine.charge(stage.unit, f"held:{slowest}", longest - firing.ticks)
    if stage.unit in machine.on_pool:
        machine.on_pool[stage.unit].append(firing)


def run(program: Program, machine: Machine, firings: list[Firing]) -> None:
    """Time all firings in issue order; acquires and releases are numbered as they come."""
    producers = depend(program, firings)
    for firing in firings:
        stage = firing.stage
        acquired = []
        for hold in stage.acquires:
            if holds(program, stage, hold, firing.index):
                queue = machine.queues[hold.buffer]
                acquired.append((hold.buffer, len(queue.acquires)))
                queue.acquires.append(firing)
        place(machine, firing, producers[firing], acquired)
        for hold in stage.releases:
            if holds(program, stage, hold, firing.index):
                queue = machine.queues[hold.buffer]
                if len(queue.releases) >= len(queue.acquires):
                    raise MappingError(f"{stage.name} gives back a slot of {hold.buffer} before it is taken")
                queue.releases.append(firing)
    for name, queue in machine.queues.items():
        if len(queue.releases) != len(queue.acquires):
            raise MappingError(f"{name}: {len(queue.acquires)} acquires, {len(queue.releases)} releases")


# Counters


def occupancy(queue: Queue) -> Occupancy:
    """Slot-ticks and peak of a buffer, over all pairs of its acquires and releases; the peak looks back `slots` pairs."""
    spans = [(a.start, r.finish) for a, r in zip(queue.acquires, queue.releases, strict=True)]
    peaks = [1 + sum(finish > start for _, finish in spans[max(0, k - queue.slots + 1) : k]) for k, (start, _) in enumerate(spans)]
    return Occupancy(sum(finish - start for start, finish in spans), max(peaks, default=0), queue.slots)


def critical_path(firings: list[Firing]) -> dict[str, int]:
    """The walk back from the largest finish, as "resource/why" -> ticks."""
    path: dict[str, int] = {}

    def give(resource: str, why: str, ticks: int) -> None:
        if ticks:
            path[f"{resource}/{why}"] = path.get(f"{resource}/{why}", 0) + ticks

    firing = max(firings, key=lambda f: (f.finish, f.number), default=None)
    if firing is not None:
        give(firing.slowest[0], "end", firing.slowest[1])
        give(firing.slowest[0], "latency", firing.stage.latency)
    while firing is not None and firing.winner is not None:
        cause, firing = firing.winner, firing.winner.firing
        if firing is None or cause.why == "order":
            continue
        slowest, longest = firing.slowest
        if cause.why != "resource":
            give(slowest, cause.why, longest)
            give(slowest, "latency", firing.stage.latency)
        elif firing.stage.unit == cause.resource:
            give(slowest, "resource", longest)
        else:
            give(cause.resource, "resource", dict(firing.rates)[cause.resource])
    return path


def simulate(program: Program) -> Result:
    """The counters of a program that came out of the builder.

    Raises
    ------
    MappingError
        A dependence on a later firing or void at every firing of a stage that fires, a carried lag above 1 at the
        innermost level, a slot taken before its release was issued, a release before its acquire, counts that
        disagree.
    ValueError
        A stage stands for an inner program.
    """
    if any(stage.inner is not None for stage in program.stages):
        raise ValueError("inner programs are not part of the twin")
    firings = []
    for number, (stage, index) in enumerate(issue(program)):
        rates = tuple((name, value(program, ticks, index)) for name, ticks in stage.rates)
        firings.append(Firing(number, stage, index, value(program, stage.ticks, index), rates))
    machine = Machine.of(program)
    run(program, machine, firings)

    total = max((f.finish for f in firings), default=0)
    busy = {r.name: sum(t for f in firings for name, t in f.held if name == r.name) for r in program.resources}
    actions = {name: 0.0 for stage in program.stages for name in stage.actions}
    for firing in firings:
        for name, amount in firing.stage.actions.items():
            count = value(program, amount, firing.index) if isinstance(amount, Varying) else amount
            actions[name] += count
    return Result(
        total_ticks=total,
        busy=busy,
        stalls=machine.stalls,
        done={name: sum(total - s.free for s in servers) for name, servers in machine.servers.items()},
        occupancy={name: occupancy(queue) for name, queue in machine.queues.items()},
        fires={s.name: sum(f.stage.name == s.name for f in firings) for s in program.stages},
        actions=actions,
        critical_path=critical_path(firings),
    )

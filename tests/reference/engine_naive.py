"""The engine's rules written down the obvious, slow way: every firing is kept, every question answered by searching.

``simulate`` follows ``docs/engine.md`` sentence by sentence and shares nothing with the engine but the types of a
program. Inner programs are left to the tests of the engine's own door.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from accsim.engine.program import After, Program, Stage
from accsim.errors import MappingError
from tests.reference.order_naive import Index, count_through, holds, issue, number, value


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


# Dependences


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
    """Slot-ticks and peak of a buffer over its pairs of acquire and release; the peak looks at `slots` pairs."""
    spans = [(a.start, r.finish) for a, r in zip(queue.acquires, queue.releases, strict=True)]
    peaks = [
        1 + sum(finish > start for _, finish in spans[max(0, k - queue.slots + 1) : k])
        for k, (start, _) in enumerate(spans)
    ]
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
    for order, (stage, index) in enumerate(issue(program)):
        rates = tuple((name, value(program, ticks, index)) for name, ticks in stage.rates)
        firings.append(Firing(order, stage, index, value(program, stage.ticks, index), rates))
    machine = Machine.of(program)
    run(program, machine, firings)

    total = max((f.finish for f in firings), default=0)
    busy = {r.name: sum(t for f in firings for name, t in f.held if name == r.name) for r in program.resources}
    actions = {name: 0.0 for stage in program.stages for name in stage.actions}
    for firing in firings:
        for name, amount in firing.stage.actions.items():
            actions[name] += number(program, amount, firing.index)
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

"""Random tile programs, composed of what dataflows are made of, most of them legal.

A program is a nest with one to three *chains*: stages that hand tiles to each other through buffers (load, compute,
store), at a drawn depth, over drawn ranges (sibling loops, weights loaded once, accumulators). The chain is then
decorated (rates, latencies, further dependences, shifts), and what the rules of issue order forbid is mended, except
in a few programs that are left as drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from accsim.engine.builder import ProgramBuilder
from accsim.engine.program import (
    END,
    START,
    After,
    Amount,
    Buffer,
    Hold,
    Level,
    Program,
    Resource,
    Span,
    Stage,
    Varying,
    vary,
)
from accsim.errors import MappingError
from tests.reference.engine_naive import Firing, produced, simulate
from tests.reference.order_naive import Index, count_through, holds, issue

RUNS = ((1,), (1,), (1, 1), (2, 1), (1, 2, 1), (1, 1, 1, 1))
# Which range a consumer may have inside an iteration in which its producer has this one.
BEHIND = {
    "start": ("start", "early", "all", "late", "end"),
    "early": ("early", "late", "end"),
    "all": ("all", "all", "end"),
    "late": ("late", "end"),
    "end": ("end",),
}


@dataclass
class Draft:
    """A program being drawn."""

    levels: list[Level]
    least: list[int]
    resources: list[Resource] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)

    def classes(self, outside: int) -> list[str]:
        """The levels outside a depth that have more than one class."""
        return [level.name for level in self.levels[:outside] if len(level.runs) > 1]

    def amount(self, draw: st.DrawFn, low: int, high: int, outside: int = 4) -> Amount:
        """A constant, or a table over the classes of one or two levels outside a depth."""
        names = self.classes(outside)
        if not names or draw(st.integers(0, 2)) < 2:
            return draw(st.integers(low, high))
        chosen = names[: draw(st.integers(1, min(2, len(names))))] if draw(st.booleans()) else names[-1:]
        shape = tuple(len(level.runs) for level in self.levels if level.name in chosen)
        size = int(np.prod(shape))
        values = draw(st.lists(st.integers(low, high), min_size=size, max_size=size))
        return vary(chosen, np.reshape(values, shape))


def build(
    levels: Sequence[Level], resources: Sequence[Resource], buffers: Sequence[Buffer], stages: Sequence[Stage]
) -> Program:
    """The program of these parts, through the builder."""
    b = ProgramBuilder("drawn")
    for level in levels:
        b.level(level.name, level.trips, level.runs)
    for resource in resources:
        b.resource(resource.name, resource.servers)
    for buffer in buffers:
        b.buffer(buffer.name, buffer.slots)
    for stage in stages:
        b.stage(stage)
    return b.build()


def draw_nest(draw: st.DrawFn, most_steps: int) -> Draft:
    """One to four levels with at most so many steps."""
    draft = Draft([], [])
    room = most_steps
    for depth in range(draw(st.integers(1, 4))):
        most = min(6, room)
        if room >= 60 and draw(st.integers(0, 7)) == 0:
            trips: Amount = draw(st.integers(30, 60))
        else:
            trips = draft.amount(draw, 1, most, depth)
        values = [trips] if isinstance(trips, int) else [int(value) for value in trips.values.ravel()]
        draft.levels.append(Level("abcd"[depth], trips, draw(st.sampled_from(RUNS))))
        draft.least.append(min(values))
        room = max(room // max(values), 1)
    return draft


def draw_outer_span(draw: st.DrawFn, draft: Draft, depth: int) -> Span | None:
    """The range of a whole chain at a level at which it goes on from iteration to iteration."""
    kind = draw(st.integers(0, 11))
    if kind < 7:
        return None
    low = draft.amount(draw, 0, draft.least[depth] // 2, depth)
    high = draft.amount(draw, draft.least[depth] - draft.least[depth] // 2, draft.least[depth], depth)
    return (Span(1), Span(0, -1), Span(-2), Span(low, high), Span(low))[kind - 7]


def draw_inner_spans(draw: st.DrawFn, draft: Draft, depth: int, count: int) -> list[dict[str, Span]]:
    """The ranges of the stages of a chain at the levels below the one at which it hands over; none is empty."""
    spans: list[dict[str, Span]] = [{} for _ in range(count)]
    for below in range(depth + 1, len(draft.levels)):
        half = max(draft.least[below] // 2, 1)
        ranges = {"start": START, "early": Span(0, half), "late": Span(-half), "end": END}
        kind = draw(st.sampled_from(("start", "early", "all", "all", "all")))
        for mine in spans:
            if kind in ranges:
                mine[draft.levels[below].name] = ranges[kind]
            kind = draw(st.sampled_from(BEHIND[kind]))
    return spans


def draw_shifts(draw: st.DrawFn, draft: Draft, depth: int, count: int) -> list[tuple[int | None, str | None]]:
    """Shift and its level for the stages of a chain: the default, growing at one level, or anything."""
    mode = draw(st.integers(0, 9))
    if mode < 4:
        return [(None, None)] * count
    if mode < 8:
        level = draft.levels[draw(st.integers(0, depth))].name
        steps = draw(st.lists(st.integers(0, 2), min_size=count - 1, max_size=count - 1))
        return [(sum(steps[:i]), level) for i in range(count)]
    names = [level.name for level in draft.levels]
    return [(draw(st.integers(0, 2)), draw(st.sampled_from(names))) for _ in range(count)]


def draw_chain(draw: st.DrawFn, draft: Draft, count: int) -> None:
    """Add a chain of stages that hand over once in each iteration of one level."""
    depth = draw(st.integers(0, len(draft.levels) - 1))
    if draw(st.booleans()):
        depth = len(draft.levels) - 1
    outer = {level.name: draw_outer_span(draw, draft, d) for d, level in enumerate(draft.levels[: depth + 1])}
    common = {name: span for name, span in outer.items() if span is not None}
    inner = draw_inner_spans(draw, draft, depth, count)
    shifts = draw_shifts(draw, draft, depth, count)
    units = [resource.name for resource in draft.resources]
    first = len(draft.stages)
    for i in range(count):
        shift, shift_level = shifts[i]
        stage = Stage(
            f"s{first + i}",
            draw(st.sampled_from(units)),
            draft.amount(draw, 0, 9),
            latency=draw(st.sampled_from((0, 0, 0, 3, 11))),
            spans=common | inner[i],
            shift=shift,
            shift_level=shift_level,
            after=(draw_handover(draw, draft, f"s{first + i - 1}"),) if i else (),
        )
        actions = draw_actions(draw, stage.ticks)
        draft.stages.append(replace(stage, rates=draw_rates(draw, draft, stage.unit), actions=actions))
    for i in range(1, count):
        draw_buffer(draw, draft, depth, first + i - 1, first + i)
    if draw(st.booleans()):
        ends = sorted(draw(st.lists(st.integers(first, first + count - 1), min_size=2, max_size=2)))
        draw_buffer(draw, draft, draw(st.integers(0, depth)), *ends)


def draw_actions(draw: st.DrawFn, ticks: Amount) -> dict[str, float | Varying]:
    """Bytes of each firing, constant; and quarters of an operation, varying as the ticks do."""
    actions: dict[str, float | Varying] = {"bytes": draw(st.integers(0, 5))}
    if isinstance(ticks, Varying) and draw(st.booleans()):
        actions["operations"] = vary(ticks.levels, ticks.values / 4, np.float64)
    return actions


def draw_rates(draw: st.DrawFn, draft: Draft, unit: str) -> tuple[tuple[str, Amount], ...]:
    """Up to two rates beside the unit."""
    units = [r.name for r in draft.resources if r.servers == 1 and r.name != unit]
    if not units or draw(st.integers(0, 2)) < 2:
        return ()
    names = draw(st.lists(st.sampled_from(units), min_size=1, max_size=2, unique=True))
    return tuple((name, draft.amount(draw, 0, 9)) for name in names)


def draw_buffer(draw: st.DrawFn, draft: Draft, depth: int, taker: int, giver: int) -> None:
    """Let one stage take and another give back a slot, once an iteration of a level (a new buffer or a shared one)."""
    used = {hold.buffer for hold in draft.stages[taker].acquires + draft.stages[giver].releases}
    shared = [buffer.name for buffer in draft.buffers if buffer.name not in used]
    if shared and draw(st.integers(0, 5)) == 0:
        name = draw(st.sampled_from(shared))
    else:
        name = f"m{len(draft.buffers)}"
        draft.buffers.append(Buffer(name, draw(st.integers(1, 4))))
    below = tuple(level.name for level in draft.levels[depth + 1 :])
    swapped = draw(st.integers(0, 11)) == 0
    acquire = Hold(name, last=below) if swapped and giver != taker else Hold(name, first=below)
    stage = draft.stages[taker]
    draft.stages[taker] = replace(stage, acquires=(*stage.acquires, acquire))
    stage = draft.stages[giver]
    draft.stages[giver] = replace(stage, releases=(*stage.releases, Hold(name, last=below)))


def draw_handover(draw: st.DrawFn, draft: Draft, producer: str) -> After:
    """The dependence of a stage on the one before it in its chain: mostly the default."""
    if draw(st.integers(0, 4)) < 3:
        return After(producer)
    names = [level.name for level in draft.levels]
    level = draw(st.sampled_from((*names, names[-1])))
    lag, carried = draw(st.sampled_from((0, 0, 1, 2))), draw(st.integers(0, 2)) == 0
    return After(producer, min(lag, 1) if carried else lag, level, carried)


def draw_dependence(draw: st.DrawFn, program: Program) -> tuple[str, After]:
    """(consumer, dependence) between any two stages."""
    names = [stage.name for stage in program.stages]
    level = draw(st.sampled_from([level.name for level in program.levels]))
    carried = draw(st.booleans())
    most = 1 if carried and level == program.levels[-1].name else 2
    after = After(draw(st.sampled_from(names)), draw(st.integers(0, most)), level, carried)
    return draw(st.sampled_from(names)), after


class Order:
    """The issue order of a program, to tell which dependences and how few slots it allows."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.firings = [Firing(number, *fired) for number, fired in enumerate(issue(program))]
        self.works = {s.name: [f for f in self.firings if f.stage.name == s.name] for s in program.stages}
        self.count: dict[Index, int] = count_through(program)

    def allows(self, consumer: str, after: After) -> bool:
        """Whether the dependence is never on a later firing, and not always void."""
        found = []
        for firing in self.works[consumer]:
            producer = produced(self.program, after, firing.index, self.works[after.stage], self.count)
            if producer is not None and producer.number >= firing.number:
                return False
            found.append(producer)
        return not found or any(found)

    def fewest_slots(self) -> dict[str, int]:
        """The fewest slots with which every acquire comes after the release it waits for."""
        fewest = {buffer.name: 1 for buffer in self.program.buffers}
        acquired = dict.fromkeys(fewest, 0)
        released = dict.fromkeys(fewest, 0)
        for firing in self.firings:
            before = dict(released)
            for hold in firing.stage.acquires:
                if holds(self.program, firing.stage, hold, firing.index):
                    acquired[hold.buffer] += 1
                    fewest[hold.buffer] = max(fewest[hold.buffer], acquired[hold.buffer] - before[hold.buffer])
            for hold in firing.stage.releases:
                released[hold.buffer] += holds(self.program, firing.stage, hold, firing.index)
        return fewest


def mend(draw: st.DrawFn, program: Program) -> Program:
    """The program with more dependences, without those that issue order forbids, and with slots enough."""
    order = Order(program)
    stages = [replace(s, after=tuple(a for a in s.after if order.allows(s.name, a))) for s in program.stages]
    fewest = order.fewest_slots()
    buffers = [replace(b, slots=max(b.slots, fewest[b.name])) for b in program.buffers]
    mended = build(program.levels, program.resources, buffers, stages)
    for _ in range(draw(st.integers(0, 5))):
        consumer, after = draw_dependence(draw, mended)
        if order.allows(consumer, after):
            more = [replace(s, after=(*s.after, after)) if s.name == consumer else s for s in mended.stages]
            try:
                mended = build(program.levels, program.resources, buffers, more)
            except MappingError:
                continue
    return mended


@st.composite
def drafts(draw: st.DrawFn, most_steps: int = 60) -> Program | None:
    """A program of at most so many steps; None when the builder refuses what was drawn."""
    draft = draw_nest(draw, most_steps)
    for i in range(draw(st.integers(1, 5))):
        draft.resources.append(Resource(f"u{i}", draw(st.sampled_from((1, 1, 1, 1, 2, 3, 4)))))
    for count in draw(st.sampled_from(((1,), (2,), (3,), (4,), (2, 2), (3, 2), (3, 1), (2, 2, 2), (4, 3), (2, 3)))):
        draw_chain(draw, draft, count)
    try:
        program = build(draft.levels, draft.resources, draft.buffers, draft.stages)
        return program if draw(st.integers(0, 9)) == 0 else mend(draw, program)
    except MappingError:
        return None


@st.composite
def programs(draw: st.DrawFn, most_steps: int = 60) -> Program:
    """A program that the builder accepts; the run may still refuse it."""
    program = draw(drafts(most_steps))
    if program is None:
        reject()
    return program


@st.composite
def long_programs(draw: st.DrawFn, most_steps: int = 40_000) -> Program:
    """A drawn program with one or two of its loops made hundreds or thousands of iterations long."""
    program = draw(programs(most_steps=24))
    levels = list(program.levels)
    widest = [level.trips if isinstance(level.trips, int) else int(level.trips.values.max()) for level in levels]
    for depth in draw(st.permutations(range(len(levels))))[: draw(st.integers(1, 2))]:
        level = levels[depth]
        room = most_steps // (int(np.prod(widest)) // widest[depth])
        factor = draw(st.integers(100, 3000))
        if isinstance(level.trips, int) and room > 100:
            runs = tuple(run * draw(st.sampled_from((1, 1, factor // 10))) for run in level.runs)
            widest[depth] = max(level.trips, min(factor, room))
            levels[depth] = replace(level, trips=widest[depth], runs=runs)
    return replace(program, levels=tuple(levels))


@st.composite
def loops(draw: st.DrawFn) -> Program:
    """One loop of constant amounts on units, every stage firing in every iteration."""
    draft = Draft([Level("i", 12)], [12])
    draft.resources += [Resource(f"u{i}") for i in range(draw(st.integers(1, 5)))]
    for count in draw(st.sampled_from(((1,), (2,), (3,), (4,), (2, 2), (3, 2), (5,)))):
        draw_chain(draw, draft, count)
    stages = [replace(stage, spans={}) for stage in draft.stages]
    try:
        program = mend(draw, build(draft.levels, draft.resources, draft.buffers, stages))
        simulate(program)
    except MappingError:
        reject()
    return program

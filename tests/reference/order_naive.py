"""The steps of a nest and the order in which the stages' firings are issued, by walking every cursor.

The rules are those of ``docs/engine.md``, sections "Program" and "Issue order".
"""

from __future__ import annotations

from dataclasses import dataclass

from accsim.engine.program import Amount, Hold, Level, Program, Span, Stage, Varying

Index = tuple[int, ...]


# Numbers of a program


def class_of(level: Level, i: int) -> int:
    """The class of iteration i: the run it lies in, the last run being open."""
    begin = 0
    for number, length in enumerate(level.runs[:-1]):
        begin += length
        if i < begin:
            return number
    return len(level.runs) - 1


def number(program: Program, amount: float | Varying, index: Index) -> float:
    """A number at a work index (or at the outer part of one)."""
    if not isinstance(amount, Varying):
        return amount
    depths = [program.depth(name) for name in amount.levels]
    found: float = amount.values[tuple(class_of(program.levels[d], index[d]) for d in depths)].item()
    return found


def value(program: Program, amount: Amount, index: Index) -> int:
    """An amount, which is whole, at a work index (or at the outer part of one)."""
    return int(number(program, amount, index))


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


def count_through(program: Program) -> dict[Index, int]:
    """Which iteration of its level each (outer part of a) step lies in, counted through the whole program."""
    steps = walk(program)
    count: dict[Index, int] = {}
    for depth in range(1, len(program.levels) + 1):
        iterations = sorted({step[:depth] for step in steps})
        count.update({iteration: number for number, iteration in enumerate(iterations)})
    return count

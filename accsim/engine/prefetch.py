"""Programs whose first tile is there already: a stage's first firing takes no time, all else stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate

import numpy as np

from accsim.engine.program import Amount, Level, Program, Span, Stage, Varying, vary
from accsim.engine.tables import IntArray, bounds, spread


def first_index(program: Program, stage: str) -> tuple[int, ...] | None:
    """Work index of a stage's first firing, one entry a level; None when it never fires.

    Raises
    ------
    KeyError
        For an unknown stage.
    """
    ranges = [bounds(program, program.stage(stage), depth) for depth in range(len(program.levels))]

    def search(index: tuple[int, ...]) -> tuple[int, ...] | None:
        if len(index) == len(ranges):
            return index
        lo, hi = (_at(program, array, index) for array in ranges[len(index)])
        # Iterations of one class are alike: the first of each class in the range is enough.
        for i in [lo, *(end for end in _ends(program.levels[len(index)]) if end > lo)]:
            found = search((*index, i)) if i < hi else None
            if found is not None:
                return found
        return None

    return search(())


def first_ticks(program: Program, stage: str) -> dict[str, int]:
    """Resource -> its own ticks in a stage's first firing: the unit, then the rates; empty when it never fires.

    Raises
    ------
    KeyError
        For an unknown stage.
    """
    index = first_index(program, stage)
    if index is None:
        return {}
    found = program.stage(stage)
    return {
        name: _at(program, spread(program, ticks), index) for name, ticks in ((found.unit, found.ticks), *found.rates)
    }


def isolate(program: Program, level: str, index: int) -> Program:
    """The same program with iteration ``index`` of a level as a class of its own.

    Every amount that varies with the level is written out for its new classes, so a run gives the same counters.

    Raises
    ------
    KeyError
        For an unknown level.
    """
    names = [item.name for item in program.levels]
    if level not in names:
        raise KeyError(level)
    old = program.levels[names.index(level)]
    ends = _ends(old)
    cuts = sorted({*ends, index, index + 1} - {0})
    runs = (*np.diff([0, *cuts]).tolist(), old.runs[-1])
    origin = np.searchsorted(ends, [0, *cuts], side="right")

    def split(amount: Amount) -> Amount:
        if not isinstance(amount, Varying) or level not in amount.levels:
            return amount
        values = np.take(amount.values, origin, axis=amount.levels.index(level))
        return vary(amount.levels, values, values.dtype.type)

    levels = (
        replace(item, trips=split(item.trips), runs=runs if item is old else item.runs) for item in program.levels
    )
    return replace(program, levels=tuple(levels), stages=tuple(_each_amount(stage, split) for stage in program.stages))


def primed(program: Program, stage: str) -> Program:
    """The program with the first firing of a stage already done: it holds its unit and its rates for no time.

    Its latency stays, which is one number for all firings of a stage, and so do its place in the issue order, its slots
    and its actions. The total is never larger than before, and smaller by at most what the firing took.

    Raises
    ------
    KeyError
        For an unknown stage.
    """
    index = first_index(program, stage)
    if index is None:
        return program
    found = program.stage(stage)
    several = [
        depth
        for depth in range(len(program.levels))
        for lo, hi in [bounds(program, found, depth)]
        if np.any(hi - lo > 1)
    ]
    for depth in several:
        program = isolate(program, program.levels[depth].name, index[depth])
    first = {program.levels[depth].name: _class_of(program.levels[depth], index[depth]) for depth in several}

    def without_first(amount: Amount) -> Amount:
        inside = amount.levels if isinstance(amount, Varying) else ()
        axes = [item for item in program.levels if item.name in first or item.name in inside]
        if not axes:
            return 0
        shape = [len(item.runs) if item in axes else 1 for item in program.levels]
        values = np.broadcast_to(spread(program, amount), shape).reshape([len(item.runs) for item in axes]).copy()
        values[tuple(first.get(item.name, slice(None)) for item in axes)] = 0
        return vary([item.name for item in axes], values)

    found = program.stage(stage)
    rates = tuple((name, without_first(ticks)) for name, ticks in found.rates)
    early = replace(found, ticks=without_first(found.ticks), rates=rates)
    return replace(program, stages=tuple(early if item is found else item for item in program.stages))


def _ends(level: Level) -> list[int]:
    """Index behind the last iteration of each class but the last, which is open."""
    return list(accumulate(level.runs[:-1]))


def _class_of(level: Level, index: int) -> int:
    return int(np.searchsorted(_ends(level), index, side="right"))


def _at(program: Program, array: IntArray, index: tuple[int, ...]) -> int:
    """The entry of a table (one axis a level) at a work index or the outer part of one."""
    place = [0] * array.ndim
    for depth, i in enumerate(index):
        if array.shape[depth] > 1:
            place[depth] = _class_of(program.levels[depth], i)
    return int(array[tuple(place)])


def _each_amount(stage: Stage, change: Callable[[Amount], Amount]) -> Stage:
    """The stage with all of its amounts changed: ticks, rates, range ends, actions that vary."""
    spans = {
        name: Span(change(span.lo), None if span.hi is None else change(span.hi)) for name, span in stage.spans.items()
    }
    actions = {
        name: change(amount) if isinstance(amount, Varying) else amount for name, amount in stage.actions.items()
    }
    rates = tuple((name, change(ticks)) for name, ticks in stage.rates)
    return replace(stage, ticks=change(stage.ticks), rates=rates, spans=spans, actions=actions)

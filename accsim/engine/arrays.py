"""Flattening of a program into the arrays the kernels take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accsim.engine.program import Program, Stage
from accsim.engine.tables import IntArray, bounds, spread
from accsim.kernels import layout as k


@dataclass(frozen=True, eq=False)
class Flat:
    """A flattened program with what is needed to name the results.

    Attributes
    ----------
    arrays : the kernels' :class:`~accsim.kernels.layout.ProgramArrays`.
    row_shape : per stage, the number of classes its rows run over, one entry a level.
    names : what attribution columns stand for: the resources, then stages with inner programs.
    """

    arrays: k.ProgramArrays
    row_shape: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]


def flatten(program: Program) -> Flat:
    """The arrays of a checked program, padded on the outside to four levels."""
    pad = k.LEVELS - len(program.levels)
    resources = {r.name: i for i, r in enumerate(program.resources)}
    names = [*resources]
    cursors = _cursors(program, pad)
    stage = np.zeros((len(program.stages), k.STAGE_COLUMNS), np.int64)
    rows: list[IntArray] = []
    shapes = []
    row0 = 0
    for s, item in enumerate(program.stages):
        table, shape = _rows(program, item, pad)
        stage[s, k.UNIT] = resources[item.unit]
        rates = [resources[name] for name, _ in item.rates] + [-1, -1]
        stage[s, k.RATE1 : k.RATE2 + 1] = rates[:2]
        stage[s, k.CURSOR] = cursors.index(_cursor_of(program, item, pad))
        stage[s, k.LATENCY] = item.latency
        stage[s, k.ROW0] = row0
        stage[s, k.STRIDE : k.STRIDE + k.LEVELS] = _strides(shape)
        stage[s, k.ATTR] = resources[item.unit]
        stage[s, k.SPAN_DEPTH] = _span_depth(program, item, pad)
        if item.inner is not None:
            stage[s, k.ATTR] = len(names)
            names.append(item.name)
        rows.append(table)
        shapes.append(shape)
        row0 += len(table)
    dep, mark = _dependences(program, stage, pad)
    hold = _holds(program, stage, pad)
    _place_stalls(stage, len(program.buffers))
    level, trips, runs = _levels(program, pad)
    arrays = k.ProgramArrays(
        level,
        trips,
        runs,
        stage,
        np.concatenate(rows),
        dep,
        hold,
        np.array([r.servers for r in program.resources], np.int64),
        np.array([b.slots for b in program.buffers], np.int64),
        np.array(cursors, np.int64).reshape(-1, 2),
        mark,
    )
    return Flat(arrays, tuple(shapes), tuple(names))


def _cursor_of(program: Program, stage: Stage, pad: int) -> tuple[int, int]:
    if not stage.shift:
        return (k.LEVELS - 1, 0)
    return (program.depth(stage.shift_level or program.levels[-1].name) + pad, stage.shift)


def _cursors(program: Program, pad: int) -> list[tuple[int, int]]:
    cursors = [(k.LEVELS - 1, 0)]
    for cursor in (_cursor_of(program, stage, pad) for stage in program.stages):
        if cursor not in cursors:
            cursors.append(cursor)
    return cursors


def _span_depth(program: Program, stage: Stage, pad: int) -> int:
    """The deepest padded level whose classes a span of the stage depends on, or -1."""
    spans = [array for depth in range(len(program.levels)) for array in bounds(program, stage, depth)]
    return max((pad + axis for array in spans for axis, size in enumerate(array.shape) if size > 1), default=-1)


def _strides(shape: tuple[int, ...]) -> list[int]:
    strides = []
    size = 1
    for length in reversed(shape):
        strides.append(size if length > 1 else 0)
        size *= length
    return strides[::-1]


def _rows(program: Program, stage: Stage, pad: int) -> tuple[IntArray, tuple[int, ...]]:
    """One row a combination of classes: ticks of unit and rates, then lo and hi of each padded level."""
    amounts = [stage.ticks, *(ticks for _, ticks in stage.rates)]
    columns = [spread(program, amount) for amount in amounts]
    zero = np.zeros([1] * len(program.levels), np.int64)
    columns += [zero] * (3 - len(columns))
    spans = [bounds(program, stage, depth) for depth in range(len(program.levels))]
    columns += [zero] * pad + [lo for lo, _ in spans]
    columns += [zero + 1] * pad + [hi for _, hi in spans]
    full = np.broadcast_arrays(*columns)
    shape = (1,) * pad + full[0].shape
    return np.stack([column.reshape(-1) for column in full], axis=1), shape


def _levels(program: Program, pad: int) -> tuple[IntArray, IntArray, IntArray]:
    level = np.zeros((k.LEVELS, k.RUN0 + 1), np.int64)
    trips: list[int] = [1]
    runs: list[int] = [k.NO_END]
    for depth, item in enumerate(program.levels):
        table = spread(program, item.trips)
        level[pad + depth, k.TRIP0] = len(trips)
        level[pad + depth, k.TRIP_STRIDE : k.TRIP_STRIDE + k.LEVELS] = _strides((1,) * pad + table.shape)
        trips += table.reshape(-1).tolist()
        level[pad + depth, k.RUN0] = len(runs)
        runs += [*np.cumsum(item.runs[:-1]).tolist(), k.NO_END]
    return level, np.array(trips, np.int64), np.array(runs, np.int64)


def _dependences(program: Program, stage: IntArray, pad: int) -> tuple[IntArray, IntArray]:
    index = {s.name: i for i, s in enumerate(program.stages)}
    marks: dict[tuple[int, int], int] = {}
    dep: list[list[int]] = []
    for s, item in enumerate(program.stages):
        stage[s, k.DEP0] = len(dep)
        for after in item.after:
            source = index[after.stage]
            level = program.depth(after.level or program.levels[-1].name) + pad
            inner = level == k.LEVELS - 1
            mark = marks.setdefault((source, level - 1 if inner else level), len(marks))
            base = -1 if inner or level == 0 else marks.setdefault((source, level - 1), len(marks))
            dep.append([source, level, after.lag, int(after.carried), mark, base])
        stage[s, k.DEP1] = len(dep)
    return np.array(dep, np.int64).reshape(-1, 6), np.array(list(marks), np.int64).reshape(-1, 2)


def _holds(program: Program, stage: IntArray, pad: int) -> IntArray:
    buffers = {b.name: i for i, b in enumerate(program.buffers)}
    hold: list[list[int]] = []
    for s, item in enumerate(program.stages):
        for first, last, edges in ((k.ACQ0, k.ACQ1, item.acquires), (k.REL0, k.REL1, item.releases)):
            stage[s, first] = len(hold)
            for edge in edges:
                masks = [sum(1 << (program.depth(n) + pad) for n in names) for names in (edge.first, edge.last)]
                hold.append([buffers[edge.buffer], *masks])
            stage[s, last] = len(hold)
    return np.array(hold, np.int64).reshape(-1, 3)


def _place_stalls(stage: IntArray, buffers: int) -> None:
    """Stall counts lie behind the buffers' slot-ticks: per stage 3 held resources for each cause."""
    causes = 4 + (stage[:, k.DEP1] - stage[:, k.DEP0]) + (stage[:, k.ACQ1] - stage[:, k.ACQ0])
    stage[:, k.STALL0] = buffers + 3 * (np.cumsum(causes) - causes)

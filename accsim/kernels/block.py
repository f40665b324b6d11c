"""Many points of one program shape: the arrays a dataflow's ``lower`` fills, and the batch entry that runs them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accsim.kernels.engine import walk
from accsim.kernels.jit import kernel
from accsim.kernels.layout import (
    D0,
    D1,
    HI,
    LATENCY,
    LEVELS,
    LO,
    MAX_STAGE_TICKS,
    MAX_TICKS,
    OK,
    RATE1,
    RUN0,
    TOTAL_AT,
    TRIP0,
    TRIP_STRIDE,
    UNIT,
    Events,
    ProgramArrays,
)
from accsim.kernels.state import grow, new_snapshot, new_state

# kinds of spans a shape may ask for
ALL, START, END, FIRST_HALF, SECOND_HALF, MIDDLE = 0, 1, 2, 3, 4, 5


class Block(NamedTuple):
    """Numbers of N points of one shape. Rows run over stages, then over the classes of the levels.

    Attributes
    ----------
    trips : int64[N, trips]
    runs : int64[N, runs], cumulative run ends as in ``ProgramArrays.runs``.
    row : int64[N, rows, 11]
    slots : int64[N, buffers]
    slot_bytes : int64[N, buffers]
    latency : int64[N, stages]
    actions : float64[N, rows, actions], or N = 0 when nobody asks for energy or traffic.
    """

    trips: np.ndarray
    runs: np.ndarray
    row: np.ndarray
    slots: np.ndarray
    slot_bytes: np.ndarray
    latency: np.ndarray
    actions: np.ndarray


@kernel
def class_indices(combo, classes, index):
    """Write the class of each level in combination ``combo`` (the innermost level runs fastest) into ``index``."""
    for k in range(LEVELS - 1, -1, -1):
        index[k] = combo % classes[k]
        combo //= classes[k]


@kernel
def trips_at(level, trips, k, index):
    """Trips of level k where the levels outside are in the classes of ``index``."""
    at = level[k, TRIP0]
    for outer in range(k):
        at += level[k, TRIP_STRIDE + outer] * index[outer]
    return trips[at]


@kernel(allocates=True)
def fill_spans(block, i, level, kinds, classes):
    """Resolve the kinds of spans of every stage against the trips of point i.

    Parameters
    ----------
    level : int64[4, ...], the shape's level table.
    kinds : int64[stages, 4], one of ALL … MIDDLE for each padded level.
    classes : int64[4], number of classes of each padded level.
    """
    trips = block.trips[i]
    combos = 1
    for k in range(LEVELS):
        combos *= classes[k]
    index = np.zeros(LEVELS, np.int64)
    for combo in range(combos):
        class_indices(combo, classes, index)
        for k in range(LEVELS):
            n = trips_at(level, trips, k, index)
            half = n // 2
            for s in range(kinds.shape[0]):
                kind = kinds[s, k]
                lo = 0
                hi = n
                if kind == START:
                    hi = 1
                elif kind == END:
                    lo = n - 1
                elif kind == FIRST_HALF:
                    hi = half
                elif kind == SECOND_HALF:
                    lo = half
                elif kind == MIDDLE:
                    lo = half - 1
                    hi = half
                block.row[i, s * combos + combo, LO + k] = lo
                block.row[i, s * combos + combo, HI + k] = hi


@kernel(allocates=True)
def run_block(shape, block, windows, depths, jump, total, fires):
    """Run every point of a block without attribution.

    ``total[i]`` becomes its ticks, or minus the code of what stopped it; ``fires[i]`` how often each row fired (when
    it has room). ``windows`` and ``depths`` carry over from point to point.
    """
    events = Events(np.empty((0, 4), np.int64), np.zeros(1, np.int64))
    stage = shape.stage.copy()
    for i in range(block.trips.shape[0]):
        stage[:, LATENCY] = block.latency[i]
        p = ProgramArrays(
            shape.level,
            block.trips[i],
            block.runs[i],
            stage,
            block.row[i],
            shape.dep,
            shape.hold,
            shape.servers,
            block.slots[i],
            shape.cursor,
            shape.mark,
        )
        while True:
            st = new_state(p, windows, depths)
            code = walk(p, st, jump, new_snapshot(p, st), None, events)
            if not grow(st, windows, depths):
                break
        total[i] = st.times[TOTAL_AT] if code == OK else -code
        if fires.shape[0] > 0:
            fires[i] = st.fires


@kernel
def count_fires(level, trips, runs, row, stages, classes, fires, scratch):
    """How often each row fires, in closed form: over the levels, the overlap of its span with its class's run.

    Parameters
    ----------
    level, trips, runs, row : as in ``ProgramArrays``.
    stages : their number; each has one row for every combination of ``classes``.
    scratch : int64[3, 4], room for the classes of a combination and the ends of their runs.
    """
    index, first, last = scratch[0], scratch[1], scratch[2]
    combos = 1
    for k in range(LEVELS):
        combos *= classes[k]
    for combo in range(combos):
        class_indices(combo, classes, index)
        reached = True
        for k in range(LEVELS):
            run = level[k, RUN0] + index[k]
            first[k] = 0 if index[k] == 0 else runs[run - 1]
            last[k] = min(runs[run], trips_at(level, trips, k, index))
            reached = reached and first[k] < last[k]
        for s in range(stages):
            r = s * combos + combo
            count = 1 if reached else 0
            if reached:
                for k in range(LEVELS):
                    count *= max(0, min(row[r, HI + k], last[k]) - max(row[r, LO + k], first[k]))
            fires[r] = count


@kernel
def held_after(held, fires, ticks):
    """Ticks that a resource is held after ``fires`` more of ``ticks`` each, no more than just above ``MAX_TICKS``."""
    if held + float(fires) * ticks > MAX_TICKS:
        return MAX_TICKS + 1
    return held + fires * ticks


@kernel(allocates=True)
def bound_block(shape, block, classes, bound, fires):
    """Lower bound of every point's ticks: the busiest resource, plus the least latency of its stages.

    More than ``MAX_TICKS`` where a point is too long to be run, or one of its stages is. Also fills ``fires``
    (int64[N, rows]) in closed form.
    """
    stages = shape.stage.shape[0]
    combos = 1
    for k in range(LEVELS):
        combos *= classes[k]
    busy = np.zeros(shape.servers.shape[0], np.int64)
    tail = np.zeros(shape.servers.shape[0], np.int64)
    scratch = np.zeros((3, LEVELS), np.int64)
    for i in range(block.trips.shape[0]):
        row = block.row[i]
        count_fires(shape.level, block.trips[i], block.runs[i], row, stages, classes, fires[i], scratch)
        busy[:] = 0
        too_long = False
        tail[:] = MAX_TICKS
        for s in range(stages):
            unit = shape.stage[s, UNIT]
            fired = False
            for r in range(s * combos, (s + 1) * combos):
                if fires[i, r] == 0:
                    continue
                fired = True
                slowest = row[r, D0]
                for k in range(2):
                    rate = shape.stage[s, RATE1 + k]
                    if rate >= 0:
                        busy[rate] = held_after(busy[rate], fires[i, r], row[r, D1 + k])
                        slowest = max(slowest, row[r, D1 + k])
                busy[unit] = held_after(busy[unit], fires[i, r], slowest)
                too_long = too_long or slowest > MAX_STAGE_TICKS
            if fired:
                tail[unit] = min(tail[unit], block.latency[i, s])
        most = MAX_TICKS + 1 if too_long else 0
        for r in range(busy.shape[0]):
            least = busy[r] // shape.servers[r]
            if tail[r] < MAX_TICKS:
                least += tail[r]
            most = max(most, least)
        bound[i] = most

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
    plain,
)
from accsim.kernels.state import clear_state, grow, new_snapshot, new_state

# kinds of spans a shape may ask for (``LAST_BEFORE + cut``, ``BETWEEN + MOST_CUTS * first + last``): the innermost
# level may be cut into sections, loops one after the other
ALL, START, END, LAST_BEFORE, BETWEEN = 0, 1, 2, 16, 32
MOST_CUTS = 16


class Block(NamedTuple):
    """Numbers of N points of one shape. Rows run over stages, then over the classes of the levels.

    Attributes
    ----------
    trips : int64[N, trips]
    runs : int64[N, runs], cumulative run ends as in ``ProgramArrays.runs``.
    cuts : int64[N, classes of the innermost trips x (sections + 1)], where the sections of the innermost level begin
        and the last one ends; nothing where it is not cut.
    row : int64[N, rows, 11]
    slots : int64[N, buffers]
    slot_bytes : int64[N, buffers]
    latency : int64[N, stages]
    actions : float64[N, rows, actions], or N = 0 when nobody asks for energy or traffic.
    """

    trips: np.ndarray
    runs: np.ndarray
    cuts: np.ndarray
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
def trip_class(level, k, index):
    """Which of the trips of level k holds where the levels outside are in the classes of ``index``."""
    at = 0
    for outer in range(k):
        at += level[k, TRIP_STRIDE + outer] * index[outer]
    return at


@kernel
def trips_at(level, trips, k, index):
    """Trips of level k where the levels outside are in the classes of ``index``."""
    return trips[level[k, TRIP0] + trip_class(level, k, index)]


@kernel(inline="always")
def span_of(kind, n, cuts):
    """(lo, hi) of a kind of span in a loop of n trips."""
    if kind >= BETWEEN:
        return cuts[(kind - BETWEEN) // MOST_CUTS], cuts[(kind - BETWEEN) % MOST_CUTS]
    if kind >= LAST_BEFORE:
        return cuts[kind - LAST_BEFORE] - 1, cuts[kind - LAST_BEFORE]
    if kind == START:
        return 0, 1
    if kind == END:
        return n - 1, n
    return 0, n


@kernel(allocates=True)
def fill_spans(block, i, level, kinds, classes):
    """Resolve the kinds of spans of every stage against the trips of point i.

    Parameters
    ----------
    level : int64[4, ...], the shape's level table.
    kinds : int64[stages, 4], the kind of span at each padded level.
    classes : int64[4], number of classes of each padded level.
    """
    row = block.row[i]
    combos = 1
    varies = False
    for k in range(LEVELS):
        combos *= classes[k]
        for outer in range(k):
            varies = varies or level[k, TRIP_STRIDE + outer] > 0
    index = np.zeros(LEVELS, np.int64)
    trips = np.empty(LEVELS, np.int64)
    inner = LEVELS - 1
    cut_classes = 1
    for outer in range(inner):
        if level[inner, TRIP_STRIDE + outer] > 0:
            cut_classes *= classes[outer]
    width = block.cuts.shape[1] // cut_classes
    for combo in range(combos):
        if combo > 0 and not varies:
            break
        class_indices(combo, classes, index)
        for k in range(LEVELS):
            trips[k] = trips_at(level, block.trips[i], k, index)
        cuts = block.cuts[i, width * trip_class(level, inner, index) :]
        for s in range(kinds.shape[0]):
            for k in range(LEVELS):
                row[s * combos + combo, LO + k], row[s * combos + combo, HI + k] = span_of(kinds[s, k], trips[k], cuts)
    if not varies:
        for s in range(kinds.shape[0]):
            for r in range(s * combos + 1, (s + 1) * combos):
                for k in range(LO, LO + 2 * LEVELS):
                    row[r, k] = row[s * combos, k]


@kernel(inline="always")
def _point(shape, block, stage, i):
    """Point i as a program; ``stage`` is a copy of the shape's table that takes its latencies."""
    stage[:, LATENCY] = block.latency[i]
    return ProgramArrays(
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


@kernel(allocates=True)
def run_block(shape, block, windows, depths, jump, total, fires):
    """Run every point of a block without attribution.

    ``total[i]`` becomes its ticks, or minus the code of what stopped it; ``fires[i]`` how often each row fired (when
    it has room). ``windows`` and ``depths`` carry over from point to point.
    """
    if block.trips.shape[0] == 0:
        return
    events = Events(np.empty((0, 4), np.int64), np.zeros(1, np.int64))
    stage = shape.stage.copy()
    p = _point(shape, block, stage, plain(0))
    st = new_state(p, windows, depths)
    snap = new_snapshot(p, st)
    for i in range(block.trips.shape[0]):
        p = _point(shape, block, stage, i)
        fits = i > 0 and np.array_equal(block.slots[i], block.slots[i - 1])
        while True:
            if fits:
                clear_state(p, st)
                snap.head[:] = 0
            else:
                st = new_state(p, windows, depths)
                snap = new_snapshot(p, st)
            code = walk(p, st, jump, snap, None, events)
            if not grow(st, windows, depths):
                break
            fits = False
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

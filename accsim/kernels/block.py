"""Many points of one program shape: the arrays a dataflow's ``lower`` fills, and the batch entry that runs them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accsim.kernels.engine import walk
from accsim.kernels.jit import kernel
from accsim.kernels.layout import (
    HI,
    LATENCY,
    LEVELS,
    LO,
    NO_END,
    OK,
    TOTAL_AT,
    TRIP0,
    TRIP_STRIDE,
    Events,
    ProgramArrays,
)
from accsim.kernels.state import clear_state, grow, new_snapshot, new_state

# kinds of spans a shape may ask for (``LAST_BEFORE + cut``, ``BETWEEN + MOST_CUTS * first + last``, and the same
# ``BEHIND`` the first index of these): the innermost level may be cut into sections, loops one after the other
MOST_CUTS = 16
ALL, START, END, LAST_BEFORE, BETWEEN = 0, 1, 2, 16, 32
BEHIND = BETWEEN + MOST_CUTS * MOST_CUTS


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
def clear_block(block):
    """Make a block as empty as a new one: trips and slots one, no ends of runs, and all else nothing."""
    block.trips[:] = 1
    block.runs[:] = NO_END
    block.cuts[:] = 0
    block.row[:] = 0
    block.slots[:] = 1
    block.slot_bytes[:] = 0
    block.latency[:] = 0
    block.actions[:] = 0.0


@kernel(inline="always")
def class_of(combo, classes, k):
    """The class of level k in combination ``combo`` of all classes (the innermost level runs fastest)."""
    if combo == 0:
        return 0
    for inner in range(LEVELS - 1, k, -1):
        combo //= classes[inner]
    return combo % classes[k]


@kernel(inline="always")
def trip_class(level, k, combo, classes):
    """Which of the trips of level k holds in a combination of the classes of the levels outside."""
    at = 0
    for outer in range(k):
        if level[k, TRIP_STRIDE + outer] > 0:
            at += level[k, TRIP_STRIDE + outer] * class_of(combo, classes, outer)
    return at


@kernel(inline="always")
def span_of(kind, n, cuts):
    """(lo, hi) of a kind of span in a loop of n trips."""
    if kind >= BEHIND:
        return cuts[(kind - BEHIND) // MOST_CUTS] + 1, cuts[(kind - BEHIND) % MOST_CUTS]
    if kind >= BETWEEN:
        return cuts[(kind - BETWEEN) // MOST_CUTS], cuts[(kind - BETWEEN) % MOST_CUTS]
    if kind >= LAST_BEFORE:
        return cuts[kind - LAST_BEFORE] - 1, cuts[kind - LAST_BEFORE]
    if kind == START:
        return 0, 1
    if kind == END:
        return n - 1, n
    return 0, n


@kernel(inline="late")
def fill_spans(block, i, level, kinds, classes):
    """Resolve the kinds of spans of every stage against the trips of point i.

    Parameters
    ----------
    level : int64[4, ...], the shape's level table.
    kinds : int64[stages, 4], the kind of span at each padded level.
    classes : int64[4], number of classes of each padded level.
    """
    row = block.row[i]
    inner = LEVELS - 1
    combos, cut_classes = 1, 1
    varies = False
    for k in range(LEVELS):
        combos *= classes[k]
        for outer in range(k):
            varies = varies or level[k, TRIP_STRIDE + outer] > 0
        if level[inner, TRIP_STRIDE + k] > 0:
            cut_classes *= classes[k]
    width = block.cuts.shape[1] // cut_classes
    for combo in range(combos if varies else 1):
        cuts = block.cuts[i, width * trip_class(level, inner, combo, classes) :]
        for k in range(LEVELS):
            n = block.trips[i, level[k, TRIP0] + trip_class(level, k, combo, classes)]
            for s in range(kinds.shape[0]):
                row[s * combos + combo, LO + k], row[s * combos + combo, HI + k] = span_of(kinds[s, k], n, cuts)
    if not varies:
        for s in range(kinds.shape[0]):
            for r in range(s * combos + 1, (s + 1) * combos):
                for k in range(LO, LO + 2 * LEVELS):
                    row[r, k] = row[s * combos, k]


@kernel(inline="always")
def _point(shape, block, stage, i):
    """Point i as a program; ``stage`` is a copy of the shape's table that takes its latencies."""
    for s in range(stage.shape[0]):
        stage[s, LATENCY] = block.latency[i, s]
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


@kernel
def _same_slots(slots, i):
    """Whether point i has as many slots as the one before; NumPy's comparison would import SciPy at every start."""
    same = True
    for b in range(slots.shape[1]):
        same = same and slots[i, b] == slots[i - 1, b]
    return same


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
    p = _point(shape, block, stage, 0)
    st = new_state(p, windows, depths)
    snap = new_snapshot(p, st)
    for i in range(block.trips.shape[0]):
        p = _point(shape, block, stage, i)
        fits = i > 0 and _same_slots(block.slots, i)
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
            for r in range(st.fires.shape[0]):
                fires[i, r] = st.fires[r]

"""The arrays of a flattened tile program and of the engine's state, and the names of their columns.

All numbers are int64. Programs are padded to four levels: level 3 is the innermost.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accsim.kernels.jit import kernel

LEVELS = 4
NO_END = 2**62
MAX_TICKS = 2**62
MAX_STAGE_TICKS = 2**60

# ProgramArrays.level columns
TRIP0, TRIP_STRIDE, RUN0 = 0, 1, 5
# ProgramArrays.stage columns; SPAN_DEPTH is the deepest level whose classes a span depends on, or -1
UNIT, RATE1, RATE2, CURSOR, LATENCY, ROW0, STRIDE = 0, 1, 2, 3, 4, 5, 6
DEP0, DEP1, ACQ0, ACQ1, REL0, REL1, ATTR, STALL0, SPAN_DEPTH = 10, 11, 12, 13, 14, 15, 16, 17, 18
STAGE_COLUMNS = 19
# ProgramArrays.row columns: ticks of the unit and of the rates, span per level
D0, D1, D2, LO, HI = 0, 1, 2, 3, 7
ROW_COLUMNS = 11
# ProgramArrays.dep columns; MARK and BASE are rows of ProgramArrays.mark or -1
SRC, LEVEL, LAG, CARRIED, MARK, BASE = 0, 1, 2, 3, 4, 5
# ProgramArrays.hold columns: masks have bit l set for level l
BUFFER, FIRST, LAST = 0, 1, 2
# ProgramArrays.cursor columns
SHIFT_LEVEL, SHIFT = 0, 1
# ProgramArrays.mark columns
MARK_STAGE, MARK_LEVEL = 0, 1
# State.cursor columns
IDX, GLOBAL, TRIP, CLASS, OPEN, WAIT, DONE, ACTIVE = 0, 4, 8, 12, 16, 17, 18, 19
CURSOR_COLUMNS = 20
# State.buffer columns; 7 is CLIP
SLOTS, ACQ_AT, ACQ_MASK, REL_AT, REL_MASK, N_ACQ, N_REL, PEAK = 0, 1, 2, 3, 4, 5, 6, 8
BUFFER_COLUMNS = 9
# State.ring columns (a stage's finish times inside State.times): firings played and those a jump skipped; the ring
# is indexed by firings played; READ_FROM and CLIP tell what may be read, see `same`
RING_AT, RING_MASK, WINDOW, PLAYED, SKIPPED, TOP_AT, READ_FROM, CLIP = 0, 1, 2, 3, 4, 5, 6, 7
RING_COLUMNS = 8
# State.dep columns: firings of the stage that were not void; iteration up to which a look ahead has found no firing of
# the producer; firings of the producer up to the one read last; see `reach`; whether no span of the producer is empty
HITS, CLEAR, READ, REACH, FILLED = 0, 1, 2, 3, 4
DEP_STATE_COLUMNS = 5
# State.error columns
E_CODE, E_STAGE, E_INDEX, E_NEED = 0, 1, 2, 3
# codes of what stopped a run
OK, GROW_WINDOW, GROW_DEPTH, LATER_FIRING, SLOT_RULE, RELEASE_RULE, OVERFLOW, EVENTS_FULL, LOOK_AHEAD = range(9)
# why a stage's successor waited: columns of an attribution vector, four a name
WHY_RESOURCE, WHY_DATA, WHY_SLOT, WHY_LATENCY = 0, 1, 2, 3
WHYS = 4
# Attribution.note columns
KEY, LENGTH, DELAY, SOURCE = 0, 1, 2, 3
# State.times[0] is the largest finish so far
TOTAL_AT = 0


class ProgramArrays(NamedTuple):
    """A flattened program. Row r of a stage is chosen by the classes its cursor is in."""

    level: np.ndarray
    trips: np.ndarray
    runs: np.ndarray
    stage: np.ndarray
    row: np.ndarray
    dep: np.ndarray
    hold: np.ndarray
    servers: np.ndarray
    slots: np.ndarray
    cursor: np.ndarray
    mark: np.ndarray


class State(NamedTuple):
    """Everything a run changes. ``times`` holds every time value, so that a jump can move them alike."""

    times: np.ndarray
    resource_at: np.ndarray
    ring: np.ndarray
    buffer: np.ndarray
    cursor: np.ndarray
    mark_at: np.ndarray
    mark_skipped: np.ndarray
    mark_ring: np.ndarray
    stall: np.ndarray
    fires: np.ndarray
    dep: np.ndarray
    rows: np.ndarray
    code: np.ndarray
    code_at: np.ndarray
    items: np.ndarray
    const_at: np.ndarray
    error: np.ndarray


class Snapshot(NamedTuple):
    """One saved state a level, in an order that does not depend on where rings begin."""

    head: np.ndarray
    time: np.ndarray
    count: np.ndarray
    cursor: np.ndarray
    stall: np.ndarray
    fires: np.ndarray


class Attribution(NamedTuple):
    """Vectors that add up to a start time, one a time value, with what a successor adds to them."""

    vec: np.ndarray
    note: np.ndarray
    issued: np.ndarray
    saved: np.ndarray
    delta: np.ndarray
    has_delta: np.ndarray
    rows: np.ndarray


class Events(NamedTuple):
    """The event list: stage, firing, start, end (of the unit's hold), server."""

    rows: np.ndarray
    count: np.ndarray


# Snapshot.head columns
VALID, AT, LIMIT, LOOKED = 0, 1, 2, 3


@kernel
def power_of_two(n):
    """The smallest power of two that is at least n (and at least 1)."""
    size = 1
    while size < n:
        size *= 2
    return size

"""How long nothing changes: iterations of a level over which every stage, edge and guard keeps its place.

At the innermost level that is the length of a segment; further out it is condition (a) of the jump.
"""

from __future__ import annotations

from accsim.kernels.cursor import in_span, row_at, run_end
from accsim.kernels.jit import kernel
from accsim.kernels.layout import (
    ACQ0,
    ACTIVE,
    CARRIED,
    CLASS,
    CURSOR,
    DEP0,
    DEP1,
    DONE,
    FIRST,
    HI,
    IDX,
    LAG,
    LAST,
    LEVEL,
    LEVELS,
    LO,
    NO_END,
    OPEN,
    REACH,
    REL1,
    ROW0,
    SHIFT_LEVEL,
    SRC,
    TRIP,
    WAIT,
)


@kernel(inline="late")
def stretch(p, st, level):
    """Iterations of ``level`` from now on in which every stage, edge and guard keeps its place; 0 if none can.

    At the innermost level the answer is exact, and ``st.rows`` tells the row of each stage that fires now (-1 for the
    others); further out it leaves one iteration of room for cursors that stand inside an iteration.
    """
    m = NO_END
    outer = level < LEVELS - 1
    for c in range(p.cursor.shape[0]):
        cur = st.cursor[c]
        k = p.cursor[c, SHIFT_LEVEL]
        if not outer:
            if not cur[ACTIVE]:
                continue
        elif k >= level:
            if cur[WAIT] > 0 or cur[DONE]:
                return 0
            for q in range(level):
                if cur[IDX + q] != st.cursor[0, IDX + q]:
                    return 0
        elif not cur[OPEN]:
            continue
        room = 1 if outer else 0
        m = min(m, cur[TRIP + level] - cur[IDX + level] - room)
        m = min(m, run_end(p, level, cur[CLASS + level]) - cur[IDX + level] - room)
    for s in range(p.stage.shape[0]):
        if m <= 0:
            return 0
        c = p.stage[s, CURSOR]
        if not outer:
            st.rows[s] = -1
        if outer:
            if p.cursor[c, SHIFT_LEVEL] < level and not st.cursor[c, OPEN]:
                continue
        elif not st.cursor[c, ACTIVE]:
            continue
        m = min(m, _stage_stretch(p, st, s, c, level))
    return m


@kernel(inline="always")
def _stage_stretch(p, st, s, c, level):
    row = row_at(p, st, s, c, level)
    for k in range(level):
        if not in_span(p, st, row, c, k):
            return NO_END
    room = 1 if level < LEVELS - 1 else 0
    j = st.cursor[c, IDX + level]
    lo = p.row[row, LO + level]
    hi = p.row[row, HI + level]
    if j >= hi or lo >= hi:
        return NO_END
    if j < lo:
        return max(0, lo - j - room)
    if room == 0:
        st.rows[s] = row
    m = hi - j - room
    for h in range(p.stage[s, ACQ0], p.stage[s, REL1]):
        if p.hold[h, FIRST] >> level & 1 and j == lo:
            m = min(m, 1 - room)
        if p.hold[h, LAST] >> level & 1 and j < hi - 1:
            m = min(m, hi - 1 - j - room)
    for d in range(p.stage[s, DEP0], p.stage[s, DEP1]):
        if p.dep[d, LEVEL] == level:
            m = min(m, _target_stretch(p, st, d, c, level, j - p.dep[d, LAG], room))
        elif p.dep[d, LEVEL] > level:
            m = min(m, _target_stretch(p, st, d, c, level, j, room))
            if p.dep[d, CARRIED] and level < st.dep[d, REACH]:
                m = min(m, _target_stretch(p, st, d, c, level, j - 1, room))
    return max(0, m)


@kernel
def reach(p, s, d):
    """The level inside an iteration of which dependence d of stage s finds its producer's firing, once it fires there.

    A carried dependence may read a firing of an earlier iteration of any level. With lag 0, and a producer that begins
    no later than the consumer at every level inside, it does not for as long as the producer is in its span.
    """
    level = p.dep[d, LEVEL]
    if not p.dep[d, CARRIED] or p.dep[d, LAG] > 0:
        return level
    src = p.dep[d, SRC]
    while level > 0:
        latest = 0
        for row in range(p.stage[src, ROW0], _row_end(p, src)):
            if p.row[row, LO + level] >= p.row[row, HI + level]:
                return level
            latest = max(latest, p.row[row, LO + level])
        for row in range(p.stage[s, ROW0], _row_end(p, s)):
            if p.row[row, LO + level] < latest:
                return level
        level -= 1
    return level


@kernel
def filled(p, s):
    """Whether stage s fires in every iteration of a level that lies in its span."""
    for row in range(p.stage[s, ROW0], _row_end(p, s)):
        for k in range(LEVELS):
            if p.row[row, LO + k] >= p.row[row, HI + k]:
                return False
    return True


@kernel(inline="always")
def _row_end(p, s):
    return p.stage[s + 1, ROW0] if s + 1 < p.stage.shape[0] else p.row.shape[0]


@kernel(inline="always")
def _target_stretch(p, st, d, c, level, target, room):
    """For how long the target iteration of dependence d stays on one side of the producer's bounds."""
    if target < 0:
        return -target - room
    row = row_at(p, st, p.dep[d, SRC], c, level)
    for k in range(level):
        if not in_span(p, st, row, c, k):
            return NO_END
    if target < p.row[row, LO + level]:
        return p.row[row, LO + level] - target - room
    if target < p.row[row, HI + level]:
        return p.row[row, HI + level] - target - room
    return NO_END

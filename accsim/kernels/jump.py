"""The jump: a repeating state is found by comparison and its remaining whole periods are added by multiplication.

A snapshot lists the live time values in an order free of where rings begin: the total and the resources, then of
each stage its newest finishes (as many as are still read), of each buffer its held acquires' starts and newest
releases, then the largest finishes of pool stages. A value is *moved* when its owner was active in between (it must
have moved by the period's length), otherwise it is the same event and must be older than every start in the period.
"""

from __future__ import annotations

from accsim.kernels.cursor import fired, refresh
from accsim.kernels.jit import kernel
from accsim.kernels.layout import (
    ACQ_AT,
    ACQ_MASK,
    AT,
    CURSOR,
    GLOBAL,
    HITS,
    IDX,
    LEVELS,
    LIMIT,
    LOOKED,
    MARK_LEVEL,
    MARK_STAGE,
    N_ACQ,
    N_REL,
    OPEN,
    PLAYED,
    READ,
    REL_AT,
    REL_MASK,
    RING_AT,
    RING_MASK,
    SHIFT_LEVEL,
    SKIPPED,
    SLOTS,
    SOURCE,
    SRC,
    TOP_AT,
    TOTAL_AT,
    VALID,
    WINDOW,
)
from accsim.kernels.same import since_mark

SMALL_STATE = 256


@kernel(inline="late")
def worth_a_look(p, st, level, snap):
    """Whether enough was played since the last look that saving or comparing a state costs less than it can save.

    A small state always is; a large one (long windows) is looked at once per as many firings as it has values.
    """
    size = snap.time.shape[1]
    if size <= SMALL_STATE:
        return True
    played = 0
    for s in range(p.stage.shape[0]):
        played += st.ring[s, PLAYED]
    if played - snap.head[level, LOOKED] < size:
        return False
    snap.head[level, LOOKED] = played
    return True


@kernel(inline="late")
def save_state(p, st, level, snap, att, at, limit):
    """Save the state at iteration ``at`` of ``level``; a jump may go up to ``limit``."""
    snap.head[level, VALID] = 1
    snap.head[level, AT] = at
    snap.head[level, LIMIT] = limit
    time = snap.time[level]
    count = snap.count[level]
    n = 0
    while n < st.resource_at[p.servers.shape[0]]:
        time[n] = st.times[n]
        n += 1
    k = 0
    for s in range(p.stage.shape[0]):
        ring = st.ring[s]
        for i in range(ring[WINDOW]):
            time[n] = st.times[ring[RING_AT] + ((ring[PLAYED] - 1 - i) & ring[RING_MASK])]
            n += 1
        time[n] = st.times[ring[TOP_AT]]
        n += 1
        count[k] = ring[PLAYED]
        k += 1
    for b in range(p.slots.shape[0]):
        row = st.buffer[b]
        for i in range(row[SLOTS]):
            time[n] = st.times[row[ACQ_AT] + ((row[N_ACQ] - 1 - i) & row[ACQ_MASK])]
            time[n + 1] = st.times[row[REL_AT] + ((row[N_REL] - 1 - i) & row[REL_MASK])]
            n += 2
        count[k] = row[N_ACQ]
        count[k + 1] = row[N_REL]
        k += 2
    for j in range(p.mark.shape[0]):
        for i in range(st.mark_at[j + 1] - st.mark_at[j]):
            count[k] = since_mark(p, st, j, i)
            k += 1
    for c in range(st.cursor.shape[0]):
        for i in range(st.cursor.shape[1]):
            snap.cursor[level, c, i] = st.cursor[c, i]
    for i in range(st.stall.shape[0]):
        snap.stall[level, i] = st.stall[i]
    if level < LEVELS - 1:
        rows = st.fires.shape[0]
        for i in range(rows):
            snap.fires[level, i] = st.fires[i]
        for i in range(st.dep.shape[0]):
            snap.fires[level, rows + i] = st.dep[i, HITS]
            snap.fires[level, rows + st.dep.shape[0] + i] = fired(st, p.dep[i, SRC]) - st.dep[i, READ]
    if att is not None:
        _save_vectors(p, st, level, att)


@kernel(inline="late")
def periods_left(st, level, snap, att, p, at, limit):
    """Whole periods to add, 0 to wait (with attribution, until two successive periods added equal vectors)."""
    period = at - snap.head[level, AT]
    left = (limit - at) // period
    if left <= 0:
        return 0
    if att is None:
        return left
    same = att.has_delta[level] == period
    if _vectors_repeat(p, st, level, att) and same:
        return left
    att.has_delta[level] = period
    return 0


@kernel(inline="late")
def apply_jump(p, st, level, snap, att, step, periods):
    """Move everything active by ``periods`` times ``step`` and add its counts as often."""
    base = p.stage.shape[0]
    count = snap.count[level]
    span = step * periods
    st.times[TOTAL_AT] += span
    for r in range(p.servers.shape[0]):
        if st.rows[base + r]:
            for t in range(st.resource_at[r], st.resource_at[r + 1]):
                st.times[t] += span
    for s in range(base):
        ring = st.ring[s]
        if ring[PLAYED] != count[s]:
            for i in range(ring[WINDOW]):
                st.times[ring[RING_AT] + ((ring[PLAYED] - 1 - i) & ring[RING_MASK])] += span
            if st.times[ring[TOP_AT]] != 0:
                st.times[ring[TOP_AT]] += span
            ring[SKIPPED] += periods * (ring[PLAYED] - count[s])
    for b in range(p.slots.shape[0]):
        row = st.buffer[b]
        if row[N_ACQ] != count[base + 2 * b]:
            for i in range(row[SLOTS]):
                st.times[row[REL_AT] + ((row[N_REL] - 1 - i) & row[REL_MASK])] += span
            for i in range(row[N_ACQ] - row[N_REL]):
                st.times[row[ACQ_AT] + ((row[N_ACQ] - 1 - i) & row[ACQ_MASK])] += span
    for i in range(st.stall.shape[0]):
        st.stall[i] += periods * (st.stall[i] - snap.stall[level, i])
    if att is not None:
        _move_vectors(p, st, level, att, periods)


@kernel(inline="late")
def move_cursors(p, st, level, snap, periods):
    """Move the cursors, marks, rows and dependences on by whole periods of an outer level (after the times)."""
    for j in range(p.mark.shape[0]):
        s = p.mark[j, MARK_STAGE]
        k = GLOBAL + p.mark[j, MARK_LEVEL]
        c = p.stage[s, CURSOR]
        if p.mark[j, MARK_LEVEL] >= level:
            st.mark_skipped[j] += periods * (st.cursor[c, k] - snap.cursor[level, c, k])
            for i in range(st.mark_at[j], st.mark_at[j + 1]):
                st.mark_ring[i] += periods * (st.ring[s, PLAYED] - snap.count[level, s])
    period = st.cursor[0, IDX + level] - snap.head[level, AT]
    for c in range(p.cursor.shape[0]):
        if p.cursor[c, SHIFT_LEVEL] >= level or st.cursor[c, OPEN] == 1:
            st.cursor[c, IDX + level] += periods * period
            for k in range(level, LEVELS):
                st.cursor[c, GLOBAL + k] += periods * (st.cursor[c, GLOBAL + k] - snap.cursor[level, c, GLOBAL + k])
            refresh(p, st, c, level)
    rows = st.fires.shape[0]
    for i in range(rows):
        st.fires[i] += periods * (st.fires[i] - snap.fires[level, i])
    for i in range(st.dep.shape[0]):
        st.dep[i, HITS] += periods * (st.dep[i, HITS] - snap.fires[level, rows + i])
        src = p.dep[i, SRC]
        moved = periods * (st.ring[src, PLAYED] - snap.count[level, src])
        if fired(st, src) - moved - st.dep[i, READ] == snap.fires[level, rows + st.dep.shape[0] + i]:
            st.dep[i, READ] += moved


@kernel
def _live_rows(p, st, att):
    """Write the vector rows of the live values into ``att.rows``; their number."""
    rows = att.rows
    n = 0
    for r in range(p.servers.shape[0]):
        servers = p.servers[r]
        if servers > 1:
            for i in range(servers):
                rows[n] = att.note[st.resource_at[r] + i, SOURCE]
                n += 1
    for s in range(p.stage.shape[0]):
        ring = st.ring[s]
        for i in range(ring[WINDOW]):
            rows[n] = ring[RING_AT] + ((ring[PLAYED] - 1 - i) & ring[RING_MASK])
            n += 1
        rows[n] = ring[TOP_AT]
        n += 1
    for b in range(p.slots.shape[0]):
        row = st.buffer[b]
        for i in range(row[SLOTS]):
            rows[n] = row[REL_AT] + ((row[N_REL] - 1 - i) & row[REL_MASK])
            n += 1
    return n


@kernel
def _save_vectors(p, st, level, att):
    rows = att.rows
    n = _live_rows(p, st, att)
    for i in range(n):
        for q in range(att.vec.shape[1]):
            att.saved[level, i, q] = att.vec[rows[i], q]


@kernel
def _vectors_repeat(p, st, level, att):
    """Whether every live vector grew as it did in the period before; notes this period's growth."""
    rows = att.rows
    n = _live_rows(p, st, att)
    same = True
    for i in range(n):
        for q in range(att.vec.shape[1]):
            grown = att.vec[rows[i], q] - att.saved[level, i, q]
            same = same and grown == att.delta[level, i, q]
            att.delta[level, i, q] = grown
    return same


@kernel
def _move_vectors(p, st, level, att, periods):
    rows = att.rows
    n = _live_rows(p, st, att)
    for i in range(n):
        for q in range(att.vec.shape[1]):
            att.vec[rows[i], q] += periods * att.delta[level, i, q]

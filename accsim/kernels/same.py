"""Whether a state repeats: a saved one and the present one are compared, as far as they can decide what follows."""

from __future__ import annotations

from accsim.kernels.cursor import fired, in_span, mark_entry, row_at
from accsim.kernels.jit import kernel
from accsim.kernels.layout import (
    ACQ0,
    ACQ1,
    ACQ_AT,
    ACQ_MASK,
    AT,
    BASE,
    BUFFER,
    CARRIED,
    CLASS,
    CLIP,
    CURSOR,
    DEP0,
    DEP1,
    DONE,
    FILLED,
    GLOBAL,
    HI,
    IDX,
    LAG,
    LEVEL,
    LEVELS,
    LO,
    MARK,
    MARK_LEVEL,
    MARK_STAGE,
    N_ACQ,
    N_REL,
    NO_END,
    OPEN,
    PEAK,
    PLAYED,
    RATE1,
    REACH,
    READ,
    READ_FROM,
    REL_AT,
    REL_MASK,
    RING_AT,
    RING_MASK,
    SHIFT_LEVEL,
    SLOTS,
    SRC,
    TOP_AT,
    TOTAL_AT,
    UNIT,
    WAIT,
    WINDOW,
)
from accsim.kernels.segment import I_DEPS, I_HEAD, I_UNIT_AT, X_AT, X_MASK, X_SIZE


@kernel(inline="late")
def since_mark(p, st, j, back):
    """Firings of mark j's stage since the end of its iteration ``back`` before the last one."""
    s = p.mark[j, MARK_STAGE]
    iteration = st.cursor[p.stage[s, CURSOR], GLOBAL + p.mark[j, MARK_LEVEL]] - 1 - back
    if iteration < 0:
        return fired(st, s)
    return fired(st, s) - st.mark_ring[mark_entry(st, j, iteration)]


@kernel(inline="late")
def bulk_matches(st, items, time):
    """Take a quick look: units of all items moved by the same time, and captured causes are older than that."""
    code = st.code
    first = code[st.items[0] + I_UNIT_AT]
    step = st.times[first] - time[first]
    for item in range(items):
        at = st.items[item]
        unit_at = code[at + I_UNIT_AT]
        if st.times[unit_at] - time[unit_at] != step:
            return False
        x = at + I_HEAD
        for _d in range(code[at + I_DEPS]):
            if code[x + X_MASK] == 0 and code[x + X_AT] >= st.const_at[0] and st.times[code[x + X_AT]] > time[unit_at]:
                return False
            x += X_SIZE
    return True


@kernel(inline="late")
def same_cursors(p, st, level, snap):
    """Whether every cursor stands where it stood, the moving ones as many iterations of ``level`` further on."""
    period = st.cursor[0, IDX + level] - snap.head[level, AT]
    for c in range(p.cursor.shape[0]):
        now = st.cursor[c]
        was = snap.cursor[level, c]
        if now[OPEN] != was[OPEN] or now[WAIT] != was[WAIT] or now[DONE] != was[DONE]:
            return False
        moving = p.cursor[c, SHIFT_LEVEL] >= level or now[OPEN] == 1
        if now[IDX + level] - was[IDX + level] != (period if moving else 0):
            return False
        for k in range(LEVELS):
            if k != level and (now[IDX + k] != was[IDX + k] or now[CLASS + k] != was[CLASS + k]):
                return False
    return True


@kernel(inline="late")
def same_state(p, st, level, snap):
    """The time by which everything active has moved since the snapshot, if the state is the same; else -1.

    A time that cannot be waited for any more need not be the same: one that no dependence may still read, or that is
    no later than all who may read it can start.
    """
    time = snap.time[level]
    count = snap.count[level]
    base = p.stage.shape[0]
    _mark_used(p, st, level, snap)
    step = st.times[TOTAL_AT] - time[TOTAL_AT]
    oldest = st.times[TOTAL_AT]
    for r in range(p.servers.shape[0]):
        if st.rows[base + r]:
            for t in range(st.resource_at[r], st.resource_at[r + 1]):
                if st.times[t] - time[t] != step:
                    return -1
            oldest = min(oldest, time[st.resource_at[r]])
    _mark_readers(p, st, level, snap)
    n = st.resource_at[p.servers.shape[0]]
    for s in range(base):
        ring = st.ring[s]
        moved = ring[PLAYED] != count[s]
        for i in range(min(ring[WINDOW], fired(st, s) - ring[READ_FROM])):
            now = st.times[ring[RING_AT] + ((ring[PLAYED] - 1 - i) & ring[RING_MASK])]
            if moved and now - time[n + i] != step and max(now, time[n + i] + step) > ring[CLIP]:
                return -1
            if not moved and now > oldest:
                return -1
        n += ring[WINDOW]
        if moved and st.times[ring[TOP_AT]] != 0 and st.times[ring[TOP_AT]] - time[n] != step:
            return -1
        n += 1
    k = base
    for b in range(p.slots.shape[0]):
        if not _same_slots(st.times, st.buffer[b], time[n:], count[k], count[k + 1], step):
            return -1
        n += 2 * p.slots[b]
        k += 2
    for j in range(p.mark.shape[0]):
        if p.mark[j, MARK_LEVEL] >= level:
            for i in range(min(st.mark_at[j + 1] - st.mark_at[j], st.rows[base + p.servers.shape[0] + j])):
                if count[k + i] != since_mark(p, st, j, i):
                    return -1
        k += st.mark_at[j + 1] - st.mark_at[j]
    return step if _reads_move(p, st, level, count) else -1


@kernel(inline="late")
def _same_slots(times, row, time, acquired, released, step):
    """Whether a buffer's held acquires and newest releases are those of the snapshot, ``step`` later.

    The next acquires wait for the releases of slots that are free now; the others count for the peak of the occupancy
    unless it has been reached, as far as they are later than the start of an acquire that is held.
    """
    held = row[N_ACQ] - row[N_REL]
    if held != acquired - released:
        return False
    if row[N_ACQ] == acquired:
        return True
    earliest = row[CLIP]
    for i in range(held):
        start = times[row[ACQ_AT] + ((row[N_ACQ] - 1 - i) & row[ACQ_MASK])]
        if start - time[2 * i] != step:
            return False
        earliest = min(earliest, start)
    for i in range(row[SLOTS]):
        finish = times[row[REL_AT] + ((row[N_REL] - 1 - i) & row[REL_MASK])]
        if i < released and finish - time[2 * i + 1] == step:
            continue
        last = finish if i >= released else max(finish, time[2 * i + 1] + step)
        if i < row[SLOTS] - held and last > row[CLIP]:
            return False
        if row[PEAK] < row[SLOTS] and last > earliest:
            return False
    return True


@kernel(inline="late")
def _mark_used(p, st, level, snap):
    """Flag in ``st.rows`` (behind the stages) which resources were used since the snapshot."""
    base = p.stage.shape[0]
    for r in range(p.servers.shape[0]):
        st.rows[base + r] = 0
    for s in range(base):
        if st.ring[s, PLAYED] != snap.count[level, s]:
            st.rows[base + p.stage[s, UNIT]] = 1
            for k in range(RATE1, RATE1 + 2):
                if p.stage[s, k] >= 0:
                    st.rows[base + p.stage[s, k]] = 1


@kernel(inline="late")
def _mark_readers(p, st, level, snap):
    """Note what may still be read: of each stage the oldest firing, of its finishes and a buffer's releases the CLIP.

    Reads go forward in issue order. A stage at the start of an iteration of ``level`` does not come back to what it has
    read if what it reads next lies in an iteration of its producer that had not begun then (:func:`_reads_on`). No
    reader starts before its unit is free, so a time up to the CLIP, the least of its readers' free times, is not waited
    for (no reader known to move on: no CLIP). Both hold only where the reader has kept up with the producer since the
    snapshot.
    """
    inner = level == LEVELS - 1
    for s in range(p.stage.shape[0]):
        st.ring[s, READ_FROM] = -NO_END if inner else NO_END
        st.ring[s, CLIP] = -1 if inner else NO_END
    for b in range(p.slots.shape[0]):
        st.buffer[b, CLIP] = -1 if inner else NO_END
    if inner:
        return
    for s in range(p.stage.shape[0]):
        unit = p.stage[s, UNIT]
        free = st.times[st.resource_at[unit]] if st.rows[p.stage.shape[0] + unit] else -1
        for h in range(p.stage[s, ACQ0], p.stage[s, ACQ1]):
            b = p.hold[h, BUFFER]
            st.buffer[b, CLIP] = min(st.buffer[b, CLIP], free)
        fresh = True
        for k in range(level + 1, LEVELS):
            fresh = fresh and st.cursor[p.stage[s, CURSOR], IDX + k] == 0
        for d in range(p.stage[s, DEP0], p.stage[s, DEP1]):
            ring = st.ring[p.dep[d, SRC]]
            on = fresh and _reads_on(p, st, s, d, level)
            ring[READ_FROM] = min(ring[READ_FROM], st.dep[d, READ] if on else st.dep[d, READ] - 1)
            ring[CLIP] = min(ring[CLIP], free)
            behind = snap.fires[level, st.fires.shape[0] + st.dep.shape[0] + d]
            if fired(st, p.dep[d, SRC]) - st.dep[d, READ] != behind:
                ring[READ_FROM] = -NO_END
                ring[CLIP] = -1
    _mark_depths(p, st, level)


@kernel(inline="late")
def _mark_depths(p, st, level):
    """Note in ``st.rows`` (behind stages and resources) how many iterations back each mark may still be read.

    All of them, for a reader that stands still at ``level`` while others move.
    """
    back = st.rows[p.stage.shape[0] + p.servers.shape[0] :]
    for j in range(p.mark.shape[0]):
        back[j] = 0
    for s in range(p.stage.shape[0]):
        c = p.stage[s, CURSOR]
        here = st.cursor[c]
        still = NO_END if p.cursor[c, SHIFT_LEVEL] < level and not here[OPEN] else 0
        for d in range(p.stage[s, DEP0], p.stage[s, DEP1]):
            there = st.cursor[p.stage[p.dep[d, SRC], CURSOR]]
            at = p.dep[d, LEVEL]
            lag = p.dep[d, LAG]
            if at == LEVELS - 1:
                at -= 1
                lag = 1
            mark = p.dep[d, MARK]
            back[mark] = max(back[mark], still + there[GLOBAL + at] - here[GLOBAL + at] + lag)
            base = p.dep[d, BASE]
            if base >= 0:
                back[base] = max(back[base], still + there[GLOBAL + at - 1] - here[GLOBAL + at - 1] + 1)


@kernel(inline="late")
def _reads_on(p, st, s, d, level):
    """Whether dependence d of stage s, at the start of an iteration of ``level``, reads a firing of a new iteration.

    Within an enclosing iteration it always does; otherwise if the producer fires in the one that it asks for.
    """
    if p.dep[d, LEVEL] > level and not p.dep[d, CARRIED]:
        return True
    if p.dep[d, LEVEL] < level or level < st.dep[d, REACH] or not st.dep[d, FILLED]:
        return False
    c = p.stage[s, CURSOR]
    row = row_at(p, st, p.dep[d, SRC], c, level)
    for k in range(level):
        if not in_span(p, st, row, c, k):
            return False
    target = st.cursor[c, IDX + level]
    if p.dep[d, LEVEL] == level:
        target -= p.dep[d, LAG]
    return p.row[row, LO + level] <= target < p.row[row, HI + level]


@kernel(inline="late")
def _reads_move(p, st, level, count):
    """Whether no active stage reads, over a level outside, one fixed firing of an active producer."""
    if level == LEVELS - 1:
        return True
    for s in range(p.stage.shape[0]):
        if st.ring[s, PLAYED] != count[s]:
            for d in range(p.stage[s, DEP0], p.stage[s, DEP1]):
                src = p.dep[d, SRC]
                if p.dep[d, LEVEL] < level and st.ring[src, PLAYED] != count[src]:
                    return False
    return True

"""Segments: stretches of rounds in which the same stages fire in the same way, written as a flat item list.

:func:`accsim.kernels.stretch.stretch` says for how many rounds; :func:`build` writes the items.
"""

from __future__ import annotations

from accsim.kernels.cursor import fired, in_span, mark_entry, row_at, will_fire, will_fire_within
from accsim.kernels.jit import kernel
from accsim.kernels.layout import (
    ACQ0,
    ACQ1,
    ATTR,
    BASE,
    BUFFER,
    CARRIED,
    CLEAR,
    CURSOR,
    D0,
    D1,
    D2,
    DEP0,
    DEP1,
    E_CODE,
    E_INDEX,
    E_NEED,
    E_STAGE,
    FIRST,
    GLOBAL,
    GROW_DEPTH,
    GROW_WINDOW,
    HI,
    HITS,
    IDX,
    LAG,
    LAST,
    LATENCY,
    LATER_FIRING,
    LEVEL,
    LEVELS,
    LO,
    LOOK_AHEAD,
    MARK,
    OK,
    RATE1,
    RATE2,
    READ,
    REL0,
    REL1,
    RING_AT,
    RING_MASK,
    SKIPPED,
    SPAN_DEPTH,
    SRC,
    STALL0,
    UNIT,
    WINDOW,
)

# columns of an item's head in State.code (one place a stage, the head kept while the row is); dependences (4 numbers
# each), acquires (2 each: buffer, cause) and releases (1 each: buffer) follow
I_STAGE, I_UNIT, I_UNIT_AT, I_SERVERS, I_RATES, I_RATE1_AT, I_D1, I_RATE2_AT, I_D2 = 0, 1, 2, 3, 4, 5, 6, 7, 8
I_SLOWEST, I_LATENCY, I_STALL, I_DEPS, I_ACQS, I_RELS, I_ORDER, I_ROW = 9, 10, 11, 12, 13, 14, 15, 16
I_SLOW_NAME, I_RATE1, I_RATE2 = 17, 18, 19
I_HEAD = 20
X_AT, X_MASK, X_POS, X_STEP = 0, 1, 2, 3
X_SIZE = 4


@kernel(inline="late")
def _fail(st, code, stage, index, need):
    st.error[E_CODE] = code
    st.error[E_STAGE] = stage
    st.error[E_INDEX] = index
    st.error[E_NEED] = need
    return -1


@kernel
def _count_until(p, st, s, d, level, iteration, mark, pending):
    """Firings (as of now, in this round) of dependence d's producer up to the end of a global iteration; -1 on error.

    An iteration that the producer's cursor has not begun, or in which its spans may change, needs a look ahead
    (:func:`look_ahead`), unless one has already found it clear of firings.
    """
    if iteration < 0:
        return 0
    src = p.dep[d, SRC]
    now = st.cursor[p.stage[src, CURSOR], GLOBAL + level]
    if iteration < now:
        depth = st.mark_at[mark + 1] - st.mark_at[mark]
        if now - iteration > depth:
            return _fail(st, GROW_DEPTH, s, mark, now - iteration)
        return st.mark_ring[mark_entry(st, mark, iteration)]
    if iteration > now or p.stage[src, SPAN_DEPTH] > level:
        if iteration > st.dep[d, CLEAR]:
            return _fail(st, LOOK_AHEAD, level, d, iteration)
    elif will_fire(p, st, src, p.stage[src, CURSOR], level, pending):
        return _fail(st, LATER_FIRING, s, src, 0)
    return fired(st, src) + (1 if st.rows[src] >= 0 and src < s else 0)


@kernel(inline="always")
def _resolve(p, st, s, d):
    """(count, step): the producer firings up to dependence d's target, and how many more a round adds.

    count 0 means the dependence is void; -1 an error (in ``st.error``).
    """
    src = p.dep[d, SRC]
    level = p.dep[d, LEVEL]
    carried = p.dep[d, CARRIED]
    cur = st.cursor[p.stage[s, CURSOR]]
    target = cur[IDX + level] - p.dep[d, LAG]
    if target < 0 and not carried:
        return 0, 0
    pending = not (st.rows[src] >= 0 and src < s)
    if level < LEVELS - 1:
        count = _count_until(p, st, s, d, level, cur[GLOBAL + level] - p.dep[d, LAG], p.dep[d, MARK], pending)
        if count > 0 and not carried and level > 0:
            before = _count_until(p, st, s, d, level - 1, cur[GLOBAL + level - 1] - 1, p.dep[d, BASE], pending)
            if before < 0:
                return -1, 0
            if before == count:
                return 0, 0
        return count, 0
    count = _count_until(p, st, s, d, level - 1, cur[GLOBAL + level - 1] - 1, p.dep[d, MARK], pending)
    if count < 0:
        return -1, 0
    row = row_at(p, st, src, p.stage[s, CURSOR], LEVELS - 1)
    inside = 0
    step = 0
    reachable = target >= 0
    for k in range(level):
        reachable = reachable and in_span(p, st, row, p.stage[s, CURSOR], k)
    if reachable:
        lo = p.row[row, LO + level]
        hi = p.row[row, HI + level]
        inside = max(0, min(target - lo + 1, hi - lo))
        step = 1 if lo <= target < hi else 0
    if inside == 0 and not carried:
        return 0, 0
    return count + inside, step


@kernel(inline="always")
def _write_dep(p, st, at, s, d, count, step, rounds):
    """One dependence of the item being written at ``at``; -1 on error."""
    src = p.dep[d, SRC]
    ring = st.ring[src]
    fires = st.rows[src] >= 0
    seen = fired(st, src) + (1 if fires and src < s else 0)
    back = seen - count
    back_last = back + (rounds - 1) * ((1 if fires else 0) - step)
    if back < 0 or back_last < 0:
        return _fail(st, LATER_FIRING, s, src, 0)
    pos = count - 1 - ring[SKIPPED]
    st.dep[d, READ] = count + (rounds - 1) * step
    if step == 0 and fires and count <= fired(st, src):
        back = fired(st, src) - count
        if back >= ring[WINDOW]:
            return _fail(st, GROW_WINDOW, s, src, back + 1)
        st.times[st.const_at[d]] = st.times[ring[RING_AT] + (pos & ring[RING_MASK])]
        st.code[at + X_AT] = st.const_at[d]
        st.code[at + X_MASK] = 0
        st.code[at + X_POS] = ring[RING_AT] + (pos & ring[RING_MASK])
        st.code[at + X_STEP] = 0
        return at + X_SIZE
    if max(back, back_last) >= ring[WINDOW]:
        return _fail(st, GROW_WINDOW, s, src, max(back, back_last) + 1)
    st.code[at + X_AT] = ring[RING_AT]
    st.code[at + X_MASK] = ring[RING_MASK]
    st.code[at + X_POS] = pos
    st.code[at + X_STEP] = step
    return at + X_SIZE


@kernel(inline="always")
def _held_now(p, st, s, row, h):
    c = p.stage[s, CURSOR]
    for k in range(LEVELS):
        index = st.cursor[c, IDX + k]
        if p.hold[h, FIRST] >> k & 1 and index != p.row[row, LO + k]:
            return False
        if p.hold[h, LAST] >> k & 1 and index != p.row[row, HI + k] - 1:
            return False
    return True


@kernel(inline="always")
def _write_acquires(p, st, at, s, row):
    cause = 3 + p.stage[s, DEP1] - p.stage[s, DEP0] - p.stage[s, ACQ0]
    for h in range(p.stage[s, ACQ0], p.stage[s, ACQ1]):
        if _held_now(p, st, s, row, h):
            st.code[at] = p.hold[h, BUFFER]
            st.code[at + 1] = cause + h
            at += 2
    return at


@kernel(inline="always")
def _write_releases(p, st, at, s, row):
    for h in range(p.stage[s, REL0], p.stage[s, REL1]):
        if _held_now(p, st, s, row, h):
            st.code[at] = p.hold[h, BUFFER]
            at += 1
    return at


@kernel(inline="always")
def _write_head(p, st, at, s, row):
    code = st.code
    unit = p.stage[s, UNIT]
    code[at + I_ROW] = row
    code[at + I_STAGE] = s
    code[at + I_UNIT] = unit
    code[at + I_UNIT_AT] = st.resource_at[unit]
    code[at + I_SERVERS] = p.servers[unit]
    code[at + I_RATE1] = p.stage[s, RATE1]
    code[at + I_RATE2] = p.stage[s, RATE2]
    code[at + I_ORDER] = 3 + p.stage[s, DEP1] - p.stage[s, DEP0] + p.stage[s, ACQ1] - p.stage[s, ACQ0]
    slowest = p.row[row, D0]
    slow_name = p.stage[s, ATTR]
    rates = 0
    if p.stage[s, RATE1] >= 0:
        rates = 1
        code[at + I_RATE1_AT] = st.resource_at[p.stage[s, RATE1]]
        code[at + I_D1] = p.row[row, D1]
        if p.row[row, D1] > slowest:
            slowest = p.row[row, D1]
            slow_name = p.stage[s, RATE1]
    if p.stage[s, RATE2] >= 0:
        rates = 2
        code[at + I_RATE2_AT] = st.resource_at[p.stage[s, RATE2]]
        code[at + I_D2] = p.row[row, D2]
        if p.row[row, D2] > slowest:
            slowest = p.row[row, D2]
            slow_name = p.stage[s, RATE2]
    code[at + I_RATES] = rates
    code[at + I_SLOWEST] = slowest
    code[at + I_SLOW_NAME] = slow_name
    code[at + I_LATENCY] = p.stage[s, LATENCY]
    code[at + I_STALL] = p.stage[s, STALL0]


@kernel(inline="late")
def build(p, st, rounds):
    """Write the items of a segment of ``rounds`` rounds (see ``stretch``); their number, or -1 on error.

    Also counts the rows' firings and the dependences that are not void, unless it stops. A void dependence stays in the
    item, waiting for time 0, so that a cause's place in the stall counts is its position in the stage.
    """
    items = 0
    for s in range(p.stage.shape[0]):
        row = st.rows[s]
        if row < 0:
            continue
        at = st.code_at[s]
        if st.code[at + I_ROW] != row:
            _write_head(p, st, at, s, row)
        end = at + I_HEAD
        for d in range(p.stage[s, DEP0], p.stage[s, DEP1]):
            count, step = _resolve(p, st, s, d)
            if count < 0:
                return -1
            if count == 0:
                _write_void(st, end, st.const_at[d])
                end += X_SIZE
                continue
            end = _write_dep(p, st, end, s, d, count, step, rounds)
            if end < 0:
                return -1
        st.code[at + I_DEPS] = p.stage[s, DEP1] - p.stage[s, DEP0]
        after = _write_acquires(p, st, end, s, row)
        st.code[at + I_ACQS] = (after - end) // 2
        end = _write_releases(p, st, after, s, row)
        st.code[at + I_RELS] = end - after
        st.items[items] = at
        items += 1
    _count_firings(p, st, rounds)
    st.error[E_CODE] = OK
    return items


@kernel
def _count_firings(p, st, rounds):
    """Count the rows' firings, and the dependences of the built items that are not void."""
    for s in range(p.stage.shape[0]):
        if st.rows[s] >= 0:
            st.fires[st.rows[s]] += rounds
            x = st.code_at[s] + I_HEAD
            for d in range(p.stage[s, DEP0], p.stage[s, DEP1]):
                if st.code[x + X_POS] >= 0:
                    st.dep[d, HITS] += rounds
                x += X_SIZE


@kernel(inline="late")
def look_ahead(p, st):
    """Settle what :func:`build` stopped for: True if the producer does not fire up to the iteration in question.

    Otherwise the error is a later firing.
    """
    level, d, iteration = st.error[E_STAGE], st.error[E_INDEX], st.error[E_NEED]
    src = p.dep[d, SRC]
    consumer = 0
    while d >= p.stage[consumer, DEP1]:
        consumer += 1
    pending = not (st.rows[src] >= 0 and src < consumer)
    if will_fire_within(p, st, src, level, iteration, pending):
        _fail(st, LATER_FIRING, consumer, src, 0)
        return False
    st.dep[d, CLEAR] = iteration
    return True


@kernel(inline="always")
def _write_void(st, at, const):
    """A void dependence waits for nothing: time 0, which never wins over a resource."""
    st.times[const] = 0
    st.code[at + X_AT] = const
    st.code[at + X_MASK] = 0
    st.code[at + X_POS] = -1
    st.code[at + X_STEP] = 0

"""Cursors: each walks the loop nest for the stages of one (shift level, shift); cursor 0 is the main one."""

from __future__ import annotations

from accsim.kernels.jit import kernel
from accsim.kernels.layout import (
    CLASS,
    CURSOR,
    CURSOR_COLUMNS,
    DONE,
    GLOBAL,
    HI,
    IDX,
    LEVELS,
    LO,
    MARK_LEVEL,
    MARK_STAGE,
    PLAYED,
    ROW0,
    RUN0,
    SKIPPED,
    STRIDE,
    TRIP,
    TRIP0,
    TRIP_STRIDE,
)


@kernel(inline="always")
def run_end(p, level, run):
    """The first index past run ``run`` of a level."""
    return p.runs[p.level[level, RUN0] + run]


@kernel(inline="always")
def fired(st, s):
    """How often stage s has fired, the firings skipped by jumps included."""
    return st.ring[s, PLAYED] + st.ring[s, SKIPPED]


@kernel(inline="always")
def mark_entry(st, mark, iteration):
    """Where a mark keeps its count at the end of a global iteration."""
    at = st.mark_at[mark]
    return at + ((iteration - st.mark_skipped[mark]) & (st.mark_at[mark + 1] - at - 1))


@kernel(inline="always")
def refresh(p, st, c, level):
    """Bring the class at ``level`` and the trips of the levels inside it up to date with the indices."""
    cur = st.cursor
    while cur[c, IDX + level] >= run_end(p, level, cur[c, CLASS + level]):
        cur[c, CLASS + level] += 1
    for inner in range(level + 1, LEVELS):
        at = p.level[inner, TRIP0]
        for outer in range(inner):
            at += p.level[inner, TRIP_STRIDE + outer] * cur[c, CLASS + outer]
        cur[c, TRIP + inner] = p.trips[at]


@kernel
def reset(p, st, c):
    """Put a cursor on the first step."""
    cur = st.cursor
    for level in range(LEVELS):
        cur[c, IDX + level] = 0
        cur[c, GLOBAL + level] = 0
        cur[c, CLASS + level] = 0
    cur[c, DONE] = 0
    cur[c, TRIP] = p.trips[p.level[0, TRIP0]]
    refresh(p, st, c, 0)


@kernel(inline="always")
def advance(p, st, c, steps):
    """Move a cursor on by ``steps`` of its innermost loop (not past its end).

    Returns the level whose index moved (3 inside the innermost loop), or -1 at the end of the nest.
    """
    cur = st.cursor
    level = LEVELS - 1
    cur[c, IDX + level] += steps
    while cur[c, IDX + level] >= cur[c, TRIP + level]:
        cur[c, IDX + level] = 0
        cur[c, CLASS + level] = 0
        level -= 1
        if level < 0:
            cur[c, DONE] = 1
            return -1
        for k in range(p.mark.shape[0]):
            if p.mark[k, MARK_LEVEL] == level and p.stage[p.mark[k, MARK_STAGE], CURSOR] == c:
                st.mark_ring[mark_entry(st, k, cur[c, GLOBAL + level])] = fired(st, p.mark[k, MARK_STAGE])
        cur[c, GLOBAL + level] += 1
        cur[c, IDX + level] += 1
    refresh(p, st, c, level)
    return level


@kernel(inline="always")
def row_at(p, st, s, c, level):
    """Row of stage s at the classes of cursor c, as far as levels up to ``level`` decide it."""
    row = p.stage[s, ROW0]
    for k in range(level + 1):
        row += p.stage[s, STRIDE + k] * st.cursor[c, CLASS + k]
    return row


@kernel(inline="always")
def in_span(p, st, row, c, level):
    """Whether cursor c lies in the span of ``row`` at one level."""
    index = st.cursor[c, IDX + level]
    return p.row[row, LO + level] <= index < p.row[row, HI + level]


@kernel(inline="always")
def will_fire(p, st, s, c, level, with_current):
    """Whether stage s fires again before cursor c's current iteration of ``level`` ends.

    Exact where its spans depend on no class of a level inside.
    """
    cur = st.cursor
    if cur[c, DONE]:
        return False
    row = row_at(p, st, s, c, LEVELS - 1)
    for k in range(level + 1):
        if not in_span(p, st, row, c, k):
            return False
    here = with_current
    for k in range(level + 1, LEVELS):
        if p.row[row, LO + k] >= p.row[row, HI + k]:
            return False
    for k in range(level + 1, LEVELS):
        if max(cur[c, IDX + k] + 1, p.row[row, LO + k]) < p.row[row, HI + k]:
            return True
        if not in_span(p, st, row, c, k):
            return False
    return here


@kernel
def will_fire_within(p, st, s, level, iteration, with_current):
    """Whether stage s fires again before a global iteration of ``level`` ends (the current one or one still to come).

    Walks a copy of the stage's cursor (the last row of ``st.cursor``) from one innermost loop to the next.
    """
    copy = p.cursor.shape[0]
    inner = LEVELS - 1
    for q in range(CURSOR_COLUMNS):
        st.cursor[copy, q] = st.cursor[p.stage[s, CURSOR], q]
    first = st.cursor[copy, IDX + inner] if with_current else st.cursor[copy, IDX + inner] + 1
    while st.cursor[copy, DONE] == 0 and st.cursor[copy, GLOBAL + level] <= iteration:
        row = row_at(p, st, s, copy, inner)
        inside = True
        for k in range(inner):
            inside = inside and in_span(p, st, row, copy, k)
        if inside and max(first, p.row[row, LO + inner]) < p.row[row, HI + inner]:
            return True
        first = 0
        st.cursor[copy, IDX + inner] = st.cursor[copy, TRIP + inner] - 1
        advance(p, st, copy, 1)
    return False

"""The engine: walks the cursors of one program segment by segment, and jumps at the outer levels.

:func:`run_plain` and :func:`run_attributed` run one program.
"""

from __future__ import annotations

import numpy as np

from accsim.kernels.cursor import advance, reset
from accsim.kernels.jit import kernel
from accsim.kernels.jump import apply_jump, move_cursors, periods_left, save_state, worth_a_look
from accsim.kernels.layout import (
    ACTIVE,
    AT,
    DONE,
    E_CODE,
    IDX,
    LEVELS,
    LIMIT,
    LOOK_AHEAD,
    MAX_TICKS,
    NO_END,
    OK,
    OPEN,
    OVERFLOW,
    SHIFT,
    SHIFT_LEVEL,
    TOTAL_AT,
    VALID,
    WAIT,
    Events,
)
from accsim.kernels.rounds import play_segment
from accsim.kernels.same import same_cursors, same_state
from accsim.kernels.segment import build, look_ahead
from accsim.kernels.state import grow, new_attribution, new_snapshot, new_state
from accsim.kernels.stretch import stretch

INNER = LEVELS - 1
ERROR = -2
RESAVE = 4


@kernel
def walk(p, st, jump, snap, att, events):
    """Run a program on a fresh state; OK or an error code, detailed in ``st.error``.

    The main cursor plays with all that are open. Where one of its iterations ends, what is left of those that end with
    it comes next, and at its own end virtual iterations, until every cursor has walked the whole nest.
    """
    for c in range(p.cursor.shape[0]):
        reset(p, st, c)
        st.cursor[c, WAIT] = p.cursor[c, SHIFT]
        st.cursor[c, OPEN] = 0
    _begin(p, st, 0)
    level = INNER  # that moved last with the main cursor; -1 past its end
    left = False
    while True:
        most = NO_END
        if left:
            left = _activate(p, st, False, max(level, 0))
            if not left:
                if level >= 0:
                    _begin(p, st, level)
                    if jump and not _try_outer(p, st, level, snap, att):
                        st.error[E_CODE] = OVERFLOW
                        return OVERFLOW
                continue
        elif level >= 0:
            _activate(p, st, True, 0)
            most = _least_wait(p, st)
        else:
            most = _begin_virtual(p, st)
            if most < 0:
                return OK
            if most == 0:
                left = True
                continue
        moved = _segment(p, st, most, jump, snap, att, events)
        if moved == ERROR:
            return st.error[E_CODE]
        if not left:
            level = moved if level >= 0 else level
            left = level < INNER


@kernel(inline="late")
def _segment(p, st, most, jump, snap, att, events):
    """Play rounds of the active cursors, as many as are alike and no more than ``most``, and move the cursors on.

    Returns the main cursor's level that moved, or ERROR.
    """
    rounds = min(stretch(p, st, INNER), most)
    items = -1
    while items < 0:
        items = build(p, st, rounds)
        if items < 0 and not (st.error[E_CODE] == LOOK_AHEAD and look_ahead(p, st)):
            return ERROR
    if play_segment(p, st, items, rounds, jump, snap, att, events) != OK:
        return ERROR
    main = INNER
    for c in range(p.cursor.shape[0]):
        if st.cursor[c, ACTIVE]:
            carry = advance(p, st, c, rounds)
            if c == 0:
                main = carry
            elif carry <= p.cursor[c, SHIFT_LEVEL] and p.cursor[c, SHIFT_LEVEL] < INNER:
                st.cursor[c, OPEN] = 0
        elif p.cursor[c, SHIFT_LEVEL] == INNER and st.cursor[c, WAIT] > 0 and st.cursor[0, ACTIVE]:
            st.cursor[c, WAIT] -= rounds
    return main


@kernel(inline="always")
def _begin(p, st, level):
    """The main cursor begins an iteration of ``level`` and of all levels inside it."""
    for c in range(1, p.cursor.shape[0]):
        k = p.cursor[c, SHIFT_LEVEL]
        if level <= k < INNER and not st.cursor[c, DONE]:
            if st.cursor[c, WAIT] > 0:
                st.cursor[c, WAIT] -= 1
            else:
                st.cursor[c, OPEN] = 1


@kernel(inline="always")
def _activate(p, st, main, least_level):
    """Choose who takes part in the next rounds; True if anyone does.

    With the main cursor: all that are open. Without it: the open ones whose iteration ended with it.
    """
    any_active = False
    for c in range(p.cursor.shape[0]):
        k = p.cursor[c, SHIFT_LEVEL]
        if c == 0:
            active = main
        elif k == INNER:
            active = main and st.cursor[c, WAIT] == 0 and st.cursor[c, DONE] == 0
        else:
            active = st.cursor[c, OPEN] == 1 and (main or k >= least_level)
        st.cursor[c, ACTIVE] = 1 if active else 0
        any_active = any_active or active
    return any_active


@kernel(inline="always")
def _least_wait(p, st):
    """Rounds until the next cursor of the innermost level opens."""
    least = MAX_TICKS
    for c in range(1, p.cursor.shape[0]):
        if p.cursor[c, SHIFT_LEVEL] == INNER and st.cursor[c, WAIT] > 0:
            least = min(least, st.cursor[c, WAIT])
    return least


@kernel(inline="always")
def _begin_virtual(p, st):
    """Begin a virtual iteration after the program's end; rounds to play, or -1 when every cursor has walked it all."""
    _begin(p, st, 0)
    rounds = -1
    for c in range(1, p.cursor.shape[0]):
        row = st.cursor[c]
        row[ACTIVE] = row[OPEN]
        if p.cursor[c, SHIFT_LEVEL] == INNER:
            row[ACTIVE] = 1 if row[WAIT] == 0 and not row[DONE] else 0
            row[WAIT] = max(0, row[WAIT] - 1)
        if not row[DONE]:
            rounds = max(rounds, row[ACTIVE])
    st.cursor[0, ACTIVE] = 0
    return rounds


@kernel(inline="late")
def _try_outer(p, st, level, snap, att):
    """At the start of an iteration of an outer level: jump if the state repeats since the last one saved.

    A new one is saved ever less often (after a quarter more iterations), so that in the end any period is found.
    """
    for inner in range(level + 1, LEVELS):
        snap.head[inner, VALID] = 0
    if not worth_a_look(p, st, level, snap):
        return True
    at = st.cursor[0, IDX + level]
    head = snap.head[level]
    if head[VALID] and at >= head[LIMIT]:
        head[VALID] = 0
    limit = head[LIMIT]
    repeats = False
    if head[VALID] and same_cursors(p, st, level, snap):
        step = same_state(p, st, level, snap)
        repeats = step >= 0
        periods = periods_left(st, level, snap, att, p, at, limit) if repeats else 0
        if periods > 0:
            if step > 0 and periods > (MAX_TICKS - st.times[TOTAL_AT]) // step:
                return False
            apply_jump(p, st, level, snap, att, step, periods)
            move_cursors(p, st, level, snap, periods)
            head[VALID] = 0
            return True
    if not repeats:
        if at == 0 or (head[VALID] and at < head[AT] + max(1, head[AT] // RESAVE)):
            return True
        length = stretch(p, st, level)
        head[VALID] = 0
        head[AT] = at
        if length < 2:
            return True
        limit = at + length
        if att is not None:
            att.has_delta[level] = 0
    save_state(p, st, level, snap, att, at, limit)
    return True


@kernel(allocates=True)
def run_plain(p, windows, depths, jump, most_events):
    """Run a program without attribution. ``windows`` (a stage) and ``depths`` (a mark) grow where a read needs it.

    Returns the code, the state and the events.
    """
    while True:
        st = new_state(p, windows, depths)
        events = Events(np.empty((most_events, 4), np.int64), np.zeros(1, np.int64))
        code = walk(p, st, jump, new_snapshot(p, st), None, events)
        if not grow(st, windows, depths):
            return code, st, events


@kernel(allocates=True)
def run_attributed(p, windows, depths, jump, most_events, names):
    """As :func:`run_plain`, with the critical path over ``names`` names; returns the attribution too."""
    while True:
        st = new_state(p, windows, depths)
        events = Events(np.empty((most_events, 4), np.int64), np.zeros(1, np.int64))
        snap = new_snapshot(p, st)
        att = new_attribution(p, st, snap, names)
        code = walk(p, st, jump, snap, att, events)
        if not grow(st, windows, depths):
            return code, st, events, att

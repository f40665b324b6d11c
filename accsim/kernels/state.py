"""Allocation of the engine's state: sizes follow from the program, the windows read so far, and the slots."""

from __future__ import annotations

import numpy as np

from accsim.kernels.jit import kernel
from accsim.kernels.layout import (
    ACQ0,
    ACQ1,
    ACQ_AT,
    ACQ_MASK,
    BUFFER_COLUMNS,
    CLEAR,
    CURSOR_COLUMNS,
    DEP0,
    DEP1,
    DEP_STATE_COLUMNS,
    E_CODE,
    E_INDEX,
    E_NEED,
    FILLED,
    GROW_DEPTH,
    GROW_WINDOW,
    HITS,
    LEVELS,
    N_ACQ,
    N_REL,
    PEAK,
    PLAYED,
    REACH,
    READ,
    REL0,
    REL1,
    REL_AT,
    REL_MASK,
    RING_AT,
    RING_COLUMNS,
    RING_MASK,
    SKIPPED,
    SLOTS,
    SOURCE,
    SRC,
    TOP_AT,
    UNIT,
    WHYS,
    WINDOW,
    Attribution,
    Snapshot,
    State,
    power_of_two,
)
from accsim.kernels.segment import I_HEAD, X_SIZE
from accsim.kernels.stretch import filled, reach

EXACT_ROOM = 16


@kernel(allocates=True)
def new_state(p, windows, depths):
    """An empty state whose rings hold at least ``windows`` firings a stage and ``depths`` iterations a mark."""
    resources = p.servers.shape[0]
    stages = p.stage.shape[0]
    buffers = p.slots.shape[0]
    resource_at = np.empty(resources + 1, np.int64)
    size = 1
    for r in range(resources):
        resource_at[r] = size
        size += p.servers[r] + 1 if p.servers[r] > 1 else 1
    resource_at[resources] = size
    dummy = size
    size += 1
    ring = np.zeros((stages, RING_COLUMNS), np.int64)
    code_at = np.empty(stages, np.int64)
    code = 0
    causes = 0
    for s in range(stages):
        length = power_of_two(windows[s])
        ring[s, RING_AT] = size
        ring[s, RING_MASK] = length - 1
        ring[s, WINDOW] = windows[s]
        ring[s, TOP_AT] = dummy
        size += length
        if p.servers[p.stage[s, UNIT]] > 1:
            ring[s, TOP_AT] = size
            size += 1
        deps = p.stage[s, DEP1] - p.stage[s, DEP0]
        acquires = p.stage[s, ACQ1] - p.stage[s, ACQ0]
        code_at[s] = code
        code += I_HEAD + X_SIZE * deps + 2 * acquires + p.stage[s, REL1] - p.stage[s, REL0]
        causes += 3 * (4 + deps + acquires)
    buffer = np.zeros((buffers, BUFFER_COLUMNS), np.int64)
    for b in range(buffers):
        length = power_of_two(p.slots[b])
        buffer[b, SLOTS] = p.slots[b]
        buffer[b, ACQ_AT] = size
        buffer[b, ACQ_MASK] = length - 1
        buffer[b, REL_AT] = size + length
        buffer[b, REL_MASK] = length - 1
        size += 2 * length
    const_at = np.arange(size, size + p.dep.shape[0] + 1)
    mark_at = np.zeros(p.mark.shape[0] + 1, np.int64)
    for k in range(p.mark.shape[0]):
        mark_at[k + 1] = mark_at[k] + power_of_two(depths[k])
    st = State(
        np.empty(size + p.dep.shape[0], np.int64),
        resource_at,
        ring,
        buffer,
        np.empty((p.cursor.shape[0] + 1, CURSOR_COLUMNS), np.int64),
        mark_at,
        np.empty(p.mark.shape[0], np.int64),
        np.empty(mark_at[-1], np.int64),
        np.empty(buffers + causes, np.int64),
        np.empty(p.row.shape[0], np.int64),
        np.empty((p.dep.shape[0], DEP_STATE_COLUMNS), np.int64),
        np.empty(stages + resources + p.mark.shape[0], np.int64),
        np.empty(code, np.int64),
        code_at,
        np.empty(stages, np.int64),
        const_at,
        np.empty(4, np.int64),
    )
    clear_state(p, st)
    return st


@kernel
def clear_state(p, st):
    """Make a state empty, for a program of the same shape with the same slots as the one it was made for."""
    st.times[:] = 0
    st.ring[:, PLAYED] = 0
    st.ring[:, SKIPPED] = 0
    st.buffer[:, N_ACQ] = 0
    st.buffer[:, N_REL] = 0
    st.buffer[:, PEAK] = 0
    st.cursor[:] = 0
    st.mark_skipped[:] = 0
    st.mark_ring[:] = 0
    st.stall[:] = 0
    st.fires[:] = 0
    st.code[:] = -1
    st.error[:] = 0
    for s in range(p.stage.shape[0]):
        for d in range(p.stage[s, DEP0], p.stage[s, DEP1]):
            st.dep[d, HITS] = 0
            st.dep[d, CLEAR] = -1
            st.dep[d, READ] = 0
            st.dep[d, REACH] = reach(p, s, d)
            st.dep[d, FILLED] = 1 if filled(p, p.dep[d, SRC]) else 0


@kernel(allocates=True)
def new_snapshot(p, st):
    """Room for one saved state a level."""
    times = st.resource_at[-1]
    for s in range(p.stage.shape[0]):
        times += st.ring[s, WINDOW] + 1
    for b in range(p.slots.shape[0]):
        times += 2 * p.slots[b]
    counts = p.stage.shape[0] + 2 * p.slots.shape[0] + st.mark_ring.shape[0]
    return Snapshot(
        np.zeros((LEVELS, 4), np.int64),
        np.empty((LEVELS, times), np.int64),
        np.empty((LEVELS, counts), np.int64),
        np.empty((LEVELS, st.cursor.shape[0], CURSOR_COLUMNS), np.int64),
        np.empty((LEVELS, st.stall.shape[0]), np.int64),
        np.empty((LEVELS - 1, st.fires.shape[0] + 2 * st.dep.shape[0]), np.int64),
    )


@kernel(allocates=True)
def new_attribution(p, st, snap, names):
    """Zero vectors over ``names`` names for every time value; a pool's servers own the rows of their first order."""
    size = st.times.shape[0]
    width = names * WHYS
    note = np.zeros((size, 4), np.int64)
    for r in range(p.servers.shape[0]):
        if p.servers[r] > 1:
            for t in range(st.resource_at[r], st.resource_at[r] + p.servers[r]):
                note[t, SOURCE] = t
    live = snap.time.shape[1]
    return Attribution(
        np.zeros((size, width), np.int64),
        note,
        np.zeros(p.stage.shape[0] + 1, np.int64),
        np.zeros((LEVELS, live, width), np.int64),
        np.zeros((LEVELS, live, width), np.int64),
        np.zeros(LEVELS, np.int64),
        np.zeros(live, np.int64),
    )


@kernel
def _room(now, need):
    """Just what is needed while that is little (a short window repeats sooner), then at least twice the room."""
    return need if need <= EXACT_ROOM else max(need, 2 * now)


@kernel
def grow(st, windows, depths):
    """Whether a run stopped for want of room; then the window or depth it needed is in place for the next try."""
    code = st.error[E_CODE]
    if code == GROW_WINDOW:
        windows[st.error[E_INDEX]] = _room(windows[st.error[E_INDEX]], st.error[E_NEED])
    elif code == GROW_DEPTH:
        depths[st.error[E_INDEX]] = _room(depths[st.error[E_INDEX]], st.error[E_NEED])
    else:
        return False
    return True

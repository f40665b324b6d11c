"""The critical path, carried forward: a vector for each live time value that sums to the start it explains.

A vector's column ``4 * name + why`` holds ticks; names are the resources, then stages that stand for inner programs.
Row t of ``Attribution`` belongs to ``State.times[t]``: of a firing's finish (its ring entry), of a release, of a pool's
server, of a captured constant. Its note's KEY, LENGTH and DELAY say what a successor adds to it. A unit or rate
points with SOURCE at the ring entry of its last firing, which stays in place until that stage fires again.
"""

from __future__ import annotations

from accsim.kernels.jit import kernel
from accsim.kernels.layout import (
    DELAY,
    KEY,
    LENGTH,
    SOURCE,
    TOP_AT,
    WHY_DATA,
    WHY_LATENCY,
    WHY_RESOURCE,
    WHY_SLOT,
    WHYS,
)
from accsim.kernels.segment import (
    I_D1,
    I_D2,
    I_DEPS,
    I_HEAD,
    I_LATENCY,
    I_RATE1,
    I_RATE1_AT,
    I_RATE2,
    I_RATE2_AT,
    I_RATES,
    I_SERVERS,
    I_SLOW_NAME,
    I_SLOWEST,
    I_STAGE,
    I_UNIT_AT,
    X_AT,
    X_MASK,
    X_POS,
    X_SIZE,
)


@kernel(inline="always")
def copy_vector(vec, to, origin):
    """Copy a vector, four columns (one name) at a time: loads before stores, so that no overlap is tested for."""
    for q in range(0, vec.shape[1], WHYS):
        a = vec[origin, q]
        b = vec[origin, q + 1]
        c = vec[origin, q + 2]
        d = vec[origin, q + 3]
        vec[to, q] = a
        vec[to, q + 1] = b
        vec[to, q + 2] = c
        vec[to, q + 3] = d


@kernel(inline="always")
def copy_row(vec, note, to, origin):
    """Copy a vector and what a successor adds to it."""
    copy_vector(vec, to, origin)
    note[to, KEY] = note[origin, KEY]
    note[to, LENGTH] = note[origin, LENGTH]
    note[to, DELAY] = note[origin, DELAY]


@kernel
def capture_constants(st, items, att):
    """Copy the vectors of producers whose finish was captured for the whole segment (their ring may move on)."""
    for item in range(items):
        at = st.items[item]
        x = at + I_HEAD
        for _d in range(st.code[at + I_DEPS]):
            constant = st.code[x + X_MASK] == 0 and st.code[x + X_AT] >= st.const_at[0]
            if constant and st.code[x + X_POS] >= 0:
                copy_row(att.vec, att.note, st.code[x + X_AT], st.code[x + X_POS])
            x += X_SIZE


@kernel(inline="always")
def attribute_start(code, at, cause, won, out, vec, note):
    """Write the vector of the firing whose ring entry is ``out`` from the cause that won."""
    unit_at = code[at + I_UNIT_AT]
    origin = won
    charge_at = won
    why = WHY_RESOURCE
    if cause < 3:
        held_at = unit_at if cause == 0 else code[at + I_RATE1_AT] if cause == 1 else code[at + I_RATE2_AT]
        origin = note[held_at, SOURCE]
        charge_at = origin if cause == 0 and code[at + I_SERVERS] > 1 else held_at
    elif won > 0:
        why = WHY_DATA if cause < 3 + code[at + I_DEPS] else WHY_SLOT
    else:
        charge_at = unit_at + code[at + I_SERVERS]
        origin = note[charge_at, SOURCE]
    key = note[charge_at, KEY]
    length = note[charge_at, LENGTH]
    delay = note[charge_at, DELAY]
    copy_vector(vec, out, origin)
    vec[out, key + why] += length
    if why != WHY_RESOURCE:
        vec[out, key + WHY_LATENCY] += delay


@kernel(inline="always")
def attribute_uses(code, at, out, finish, times, ring, vec, note, issued):
    """Note the firing as the last one on each resource it holds, before servers are sorted anew."""
    s = code[at + I_STAGE]
    unit_at = code[at + I_UNIT_AT]
    servers = code[at + I_SERVERS]
    key = code[at + I_SLOW_NAME] * WHYS
    note[out, KEY] = key
    note[out, LENGTH] = code[at + I_SLOWEST]
    note[out, DELAY] = code[at + I_LATENCY]
    last = issued.shape[0] - 1
    issued[last] += 1
    if servers > 1:
        copy_row(vec, note, note[unit_at, SOURCE], out)
        note[unit_at + servers, SOURCE] = out
        top = ring[s, TOP_AT]
        if finish >= times[top]:
            times[top] = finish
            copy_row(vec, note, top, out)
            issued[s] = issued[last]
    else:
        note[unit_at, SOURCE] = out
        note[unit_at, KEY] = key
        note[unit_at, LENGTH] = code[at + I_SLOWEST]
        issued[s] = issued[last]
    if code[at + I_RATES] > 0:
        _hold_rate(note, code[at + I_RATE1_AT], out, code[at + I_RATE1], code[at + I_D1])
        if code[at + I_RATES] > 1:
            _hold_rate(note, code[at + I_RATE2_AT], out, code[at + I_RATE2], code[at + I_D2])


@kernel(inline="always")
def _hold_rate(note, rate_at, out, name, ticks):
    note[rate_at, SOURCE] = out
    note[rate_at, KEY] = name * WHYS
    note[rate_at, LENGTH] = ticks

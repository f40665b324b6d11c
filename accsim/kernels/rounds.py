"""The inner loop: plays the rounds of one segment on its flat item list, and jumps inside it when it repeats."""

from __future__ import annotations

from accsim.kernels.attribute import attribute_start, attribute_uses, capture_constants, copy_row
from accsim.kernels.jit import kernel
from accsim.kernels.jump import apply_jump, periods_left, save_state, worth_a_look
from accsim.kernels.layout import (
    ACQ_AT,
    ACQ_MASK,
    AT,
    E_CODE,
    E_INDEX,
    E_STAGE,
    EVENTS_FULL,
    LEVELS,
    MAX_TICKS,
    N_ACQ,
    N_REL,
    OK,
    OVERFLOW,
    PEAK,
    PLAYED,
    REL_AT,
    REL_MASK,
    RELEASE_RULE,
    RING_AT,
    RING_MASK,
    SLOT_RULE,
    SLOTS,
    SOURCE,
    TOTAL_AT,
    VALID,
)
from accsim.kernels.same import bulk_matches, same_state
from accsim.kernels.segment import (
    I_ACQS,
    I_D1,
    I_D2,
    I_DEPS,
    I_HEAD,
    I_LATENCY,
    I_ORDER,
    I_RATE1_AT,
    I_RATE2_AT,
    I_RATES,
    I_RELS,
    I_SERVERS,
    I_SLOWEST,
    I_STAGE,
    I_STALL,
    I_UNIT_AT,
    X_AT,
    X_MASK,
    X_POS,
    X_SIZE,
    X_STEP,
)

FIRST_SAVE = 2
LEAST_LEFT = 8


@kernel(inline="always")
def play_segment(p, st, items, rounds, jump, snap, att, events):
    """Play ``rounds`` rounds; with ``jump`` the whole periods left are added by multiplication.

    Returns OK or an error code, detailed in ``st.error``.
    """
    if items == 0:
        return OK
    if att is not None:
        capture_constants(st, items, att)
    snap.head[LEVELS - 1, VALID] = 0
    done = 0
    while done < rounds:
        more = rounds - done
        if jump and more > LEAST_LEFT:
            more = 1
        if not _play_on(st, items, more, att, events):
            return st.error[E_CODE]
        done += more
        if jump and done >= FIRST_SAVE and rounds - done >= LEAST_LEFT:
            done = _try_jump(p, st, items, rounds, done, snap, att)
            if done < 0:
                st.error[E_CODE] = OVERFLOW
                return OVERFLOW
    return OK


@kernel(inline="always")
def _try_jump(p, st, items, rounds, done, snap, att):
    """Rounds done after a jump, if one is possible; saves a state at powers of two. -1 on overflow."""
    level = LEVELS - 1
    if not worth_a_look(p, st, level, snap):
        return done
    head = snap.head[level]
    repeats = False
    if head[VALID] and bulk_matches(st, items, snap.time[level]):
        step = same_state(p, st, level, snap)
        repeats = step >= 0
        periods = periods_left(st, level, snap, att, p, done, rounds) if repeats else 0
        if periods > 0:
            if step > 0 and periods > (MAX_TICKS - st.times[TOTAL_AT]) // step:
                return -1
            apply_jump(p, st, level, snap, att, step, periods)
            done += periods * (done - head[AT])
            head[VALID] = 0
            head[AT] = done
            return done
    if repeats or done >= 2 * head[AT] or not head[VALID]:
        save_state(p, st, level, snap, att, done, rounds)
        if att is not None and not repeats:
            att.has_delta[level] = 0
    return done


@kernel(inline="always")
def _play_on(st, items, rounds, att, events):
    """Unpack the state into the arrays of the hot loop."""
    if att is None:
        return _play(
            st.code,
            st.items,
            items,
            rounds,
            st.times,
            st.ring,
            st.buffer,
            st.stall,
            st.error,
            None,
            None,
            None,
            events.rows,
            events.count,
        )
    return _play(
        st.code,
        st.items,
        items,
        rounds,
        st.times,
        st.ring,
        st.buffer,
        st.stall,
        st.error,
        att.vec,
        att.note,
        att.issued,
        events.rows,
        events.count,
    )


@kernel(inline="late")
def _play(code, items, count, rounds, times, ring, buffer, stall, error, vec, note, issued, record, recorded):
    """Play every item in order, ``rounds`` times over. False on an error (detailed in ``error``).

    The engine's hot loop: bare arrays in, no views made.
    """
    for _round in range(rounds):
        for item in range(count):
            at = items[item]
            stage = code[at + I_STAGE]
            unit_at = code[at + I_UNIT_AT]
            rates = code[at + I_RATES]
            free0 = times[unit_at]
            free1 = free0
            free2 = free0
            start = free0
            cause = 0
            won = 0
            if rates > 0:
                free1 = times[code[at + I_RATE1_AT]]
                if free1 > start:
                    start = free1
                    cause = 1
                if rates > 1:
                    free2 = times[code[at + I_RATE2_AT]]
                    if free2 > start:
                        start = free2
                        cause = 2
            x = at + I_HEAD
            for d in range(code[at + I_DEPS]):
                pos = code[x + X_POS]
                entry = code[x + X_AT] + (pos & code[x + X_MASK])
                code[x + X_POS] = pos + code[x + X_STEP]
                if times[entry] > start:
                    start = times[entry]
                    cause = 3 + d
                    won = entry
                x += X_SIZE
            acquires = x
            for _a in range(code[at + I_ACQS]):
                b = code[x]
                k = buffer[b, N_ACQ] - buffer[b, SLOTS]
                if k >= 0:
                    if k >= buffer[b, N_REL]:
                        return _rule(error, SLOT_RULE, stage, b)
                    entry = buffer[b, REL_AT] + (k & buffer[b, REL_MASK])
                    if times[entry] > start:
                        start = times[entry]
                        cause = code[x + 1]
                        won = entry
                x += 2
            servers = code[at + I_SERVERS]
            if servers > 1 and times[unit_at + servers] > start:
                start = times[unit_at + servers]
                cause = code[at + I_ORDER]
                won = 0
            charge = code[at + I_STALL] + 3 * cause
            stall[charge] += start - free0
            end = start + code[at + I_SLOWEST]
            finish = end + code[at + I_LATENCY]
            if finish > MAX_TICKS:
                return _rule(error, OVERFLOW, stage, 0)
            played = ring[stage, PLAYED]
            ring[stage, PLAYED] = played + 1
            out = ring[stage, RING_AT] + (played & ring[stage, RING_MASK])
            if vec is not None:
                attribute_start(code, at, cause, won, out, vec, note)
                attribute_uses(code, at, out, finish, times, ring, vec, note, issued)
            times[out] = finish
            if servers > 1:
                _use_server(times, unit_at, servers, start, end, note)
            else:
                times[unit_at] = end
            if rates > 0:
                stall[charge + 1] += start - free1
                times[code[at + I_RATE1_AT]] = start + code[at + I_D1]
                if rates > 1:
                    stall[charge + 2] += start - free2
                    times[code[at + I_RATE2_AT]] = start + code[at + I_D2]
            if finish > times[TOTAL_AT]:
                times[TOTAL_AT] = finish
            for _a in range(code[at + I_ACQS]):
                b = code[acquires]
                times[buffer[b, ACQ_AT] + (buffer[b, N_ACQ] & buffer[b, ACQ_MASK])] = start
                buffer[b, N_ACQ] += 1
                acquires += 2
            for _r in range(code[at + I_RELS]):
                b = code[x]
                if buffer[b, N_REL] >= buffer[b, N_ACQ]:
                    return _rule(error, RELEASE_RULE, stage, b)
                _release(times, buffer, stall, b, finish, out, vec, note)
                x += 1
            if record.shape[0] > 0 and not _record(record, recorded, stage, played, start, end):
                return _rule(error, EVENTS_FULL, stage, 0)
    return True


@kernel
def _rule(error, code, stage, index):
    error[E_CODE] = code
    error[E_STAGE] = stage
    error[E_INDEX] = index
    return False


@kernel(inline="always")
def _release(times, buffer, stall, b, finish, out, vec, note):
    """Give back one slot: its time, the time it was held, and the peak seen at its acquire's start."""
    k = buffer[b, N_REL]
    rel_at = buffer[b, REL_AT]
    mask = buffer[b, REL_MASK]
    at = rel_at + (k & mask)
    times[at] = finish
    start = times[buffer[b, ACQ_AT] + (k & buffer[b, ACQ_MASK])]
    stall[b] += finish - start
    slots = buffer[b, SLOTS]
    if buffer[b, PEAK] < slots:
        held = 1
        for i in range(1, min(k + 1, slots)):
            if times[rel_at + ((k - i) & mask)] > start:
                held += 1
        if held > buffer[b, PEAK]:
            buffer[b, PEAK] = held
    buffer[b, N_REL] = k + 1
    if vec is not None:
        copy_row(vec, note, at, out)


@kernel(inline="always")
def _use_server(times, at, servers, start, end, note):
    """The server free first now is free at ``end``; servers stay sorted by (free, issue order)."""
    row = 0
    if note is not None:
        row = note[at, SOURCE]
    i = 0
    while i + 1 < servers and times[at + i + 1] <= end:
        times[at + i] = times[at + i + 1]
        if note is not None:
            note[at + i, SOURCE] = note[at + i + 1, SOURCE]
        i += 1
    times[at + i] = end
    if note is not None:
        note[at + i, SOURCE] = row
    times[at + servers] = start


@kernel
def _record(record, recorded, stage, played, start, end):
    n = recorded[0]
    if n >= record.shape[0]:
        return False
    record[n, 0] = stage
    record[n, 1] = played
    record[n, 2] = start
    record[n, 3] = end
    recorded[0] = n + 1
    return True

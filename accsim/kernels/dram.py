"""One DRAM channel, command by command: which request is served when, under every timing rule between two commands.

The channel serves its requests as fast as the rules allow. In every clock it may issue one column command (RD, WR) and
one row command (ACT, PRE); on a shared command bus only one of the two, column first. Among the requests in the window
the oldest that may issue goes first (FR-FCFS, Rixner et al., ISCA 2000); the window holds the oldest request not yet
served and the ``window`` - 1 after it, so nothing waits for ever. A row with a request in the window is not closed.

Time jumps from command to command; ``tests/reference/dram_naive.py`` looks at every clock and finds the same log.
"""

from typing import Final, NamedTuple

import numpy as np

from accsim.kernels.jit import kernel

READ: Final = 0
WRITE: Final = 1
ACTIVATE: Final = 2
PRECHARGE: Final = 3
PRECHARGE_ALL: Final = 4
REFRESH: Final = 5

CLOSED: Final = -1
FAR: Final = 1 << 62
ALL: Final = 1 << 62
PAST: Final = -(1 << 40)
"""When anything before the first command happened."""

# Scalars of the state.
NOW: Final = 0
COLUMN_FREE: Final = 1
ROW_FREE: Final = 2
READ_AT: Final = 3
WRITE_AT: Final = 4
ACTIVATE_AT: Final = 5
SIZE: Final = 6
NEXT: Final = 7
LOGGED: Final = 8
SCALARS: Final = 9

# Counters, also as they stood at a refresh.
TIME: Final = 0
SERVED: Final = 1
ACTIVATES: Final = 2
PRECHARGES: Final = 3
MISSES: Final = 4
CONFLICTS: Final = 5
REFRESHES: Final = 6
COUNTERS: Final = 7

HIT: Final = 0
MISS: Final = 1
CONFLICT: Final = 2


class Timing(NamedTuple):
    """Timing rules in clocks, by their JEDEC names without the t; ``burst`` is how long one burst holds the data bus.

    ``rtw`` is from RD to WR, ``wtr_s`` and ``wtr_l`` from the end of the written data to RD.
    """

    burst: int
    cl: int
    cwl: int
    rcd_rd: int
    rcd_wr: int
    rp: int
    ras: int
    rc: int
    ccd_s: int
    ccd_l: int
    rrd_s: int
    rrd_l: int
    faw: int
    wtr_s: int
    wtr_l: int
    rtw: int
    wr: int
    rtp: int
    refi: int
    rfc: int


class Policy(NamedTuple):
    """Banks of a group, requests looked at, 1 to close a row behind its last request in the window, 1 for one bus."""

    banks_per_group: int
    window: int
    closed_page: int
    shared_bus: int


class Requests(NamedTuple):
    """Bursts in order of arrival: bank (counted over all groups), row, and 1 for a write."""

    bank: np.ndarray
    row: np.ndarray
    write: np.ndarray


class State(NamedTuple):
    """What a channel remembers; times are the earliest clock at which a command may issue."""

    open_row: np.ndarray
    bank_read: np.ndarray
    bank_write: np.ndarray
    bank_activate: np.ndarray
    bank_precharge: np.ndarray
    bank_idle: np.ndarray
    """When a precharged bank may be refreshed."""
    hits: np.ndarray
    """Requests in the window that want the open row of a bank."""
    oldest: np.ndarray
    """The oldest request in the window for a bank, FAR if there is none."""
    group_read: np.ndarray
    group_write: np.ndarray
    group_activate: np.ndarray
    last_activates: np.ndarray
    """The last four, oldest at the count modulo four."""
    waiting: np.ndarray
    """The window: requests not yet served, oldest first."""
    cause: np.ndarray
    scalar: np.ndarray
    count: np.ndarray
    first_refresh: np.ndarray
    """Counters when the first refresh was issued."""
    last_refresh: np.ndarray
    log: np.ndarray
    """(clock, command, bank, row) of every command, as far as there is room."""


def new_state(groups: int, banks_per_group: int, window: int, requests: int, logged: int = 0) -> State:
    """A channel before its first command, with room to log ``logged`` commands."""
    banks = groups * banks_per_group
    return State(
        np.full(banks, CLOSED),
        *np.full((5, banks), PAST),
        np.zeros(banks, np.int64),
        np.full(banks, FAR),
        *np.full((3, groups), PAST),
        np.full(4, PAST),
        np.zeros(window, np.int64),
        np.zeros(requests, np.int8),
        np.zeros(SCALARS, np.int64),
        *np.zeros((3, COUNTERS), np.int64),
        np.zeros((logged, 4), np.int64),
    )


@kernel
def serve(t, p, q, s, refreshes):
    """Serve requests; the state holds the counters, and at TIME the clock at which the last data have passed.

    Parameters
    ----------
    t, p, q, s : Timing, Policy, Requests, State
        ``refi`` must leave room for a request between two refreshes; the configuration checks it.
    refreshes : int
        Stop behind this many refreshes, ALL for none: the counters between the first and the last are a steady rate.
    """
    due = t.refi
    _refill(p, q, s)
    while s.scalar[SIZE] > 0 and s.count[REFRESHES] < refreshes:
        column, column_at = _next_column(p, q, s)
        row, row_at = _next_row(t, p, s)
        if min(column_at, row_at) >= due:
            _refresh(t, s, due)
            due += t.refi
        elif column_at <= row_at:
            _issue_column(t, p, q, s, column, column_at)
        else:
            _issue_row(t, p, q, s, row, row_at)


@kernel
def _refill(p, q, s):
    """Bring the window up to the oldest request and those right behind it."""
    scalar = s.scalar
    while scalar[NEXT] < len(q.bank):
        oldest = s.waiting[0] if scalar[SIZE] > 0 else scalar[NEXT]
        if scalar[NEXT] >= oldest + p.window:
            return
        i = scalar[NEXT]
        s.waiting[scalar[SIZE]] = i
        scalar[SIZE] += 1
        scalar[NEXT] += 1
        s.oldest[q.bank[i]] = min(s.oldest[q.bank[i]], i)
        if s.open_row[q.bank[i]] == q.row[i]:
            s.hits[q.bank[i]] += 1


@kernel
def _next_column(p, q, s):
    """Place in the window, and clock, of the next column command: the earliest, and of those the oldest."""
    floor = max(s.scalar[NOW], s.scalar[COLUMN_FREE])
    best, best_at = -1, FAR
    for k in range(s.scalar[SIZE]):
        i = s.waiting[k]
        bank = q.bank[i]
        if s.open_row[bank] != q.row[i]:
            continue
        group = bank // p.banks_per_group
        if q.write[i]:
            at = max(s.bank_write[bank], s.group_write[group], s.scalar[WRITE_AT], floor)
        else:
            at = max(s.bank_read[bank], s.group_read[group], s.scalar[READ_AT], floor)
        if at < best_at:
            best, best_at = k, at
            if at == floor:
                break
    return best, best_at


@kernel
def _next_row(t, p, s):
    """Request that the next row command is for, and its clock; each bank works for its oldest request."""
    floor = max(s.scalar[NOW], s.scalar[ROW_FREE])
    activate_at = max(s.scalar[ACTIVATE_AT], s.last_activates[s.count[ACTIVATES] % 4] + t.faw, floor)
    best, best_at = FAR, FAR
    for bank in range(len(s.open_row)):
        i = s.oldest[bank]
        if i == FAR or s.hits[bank] > 0:
            continue
        if s.open_row[bank] == CLOSED:
            at = max(s.bank_activate[bank], s.group_activate[bank // p.banks_per_group], activate_at)
        else:
            at = max(s.bank_precharge[bank], floor)
        if at < best_at or (at == best_at and i < best):
            best, best_at = i, at
    return best, best_at


@kernel
def _oldest_of(q, s, bank):
    for k in range(s.scalar[SIZE]):
        if q.bank[s.waiting[k]] == bank:
            return s.waiting[k]
    return FAR


@kernel
def _issue_column(t, p, q, s, place, at):
    scalar, count = s.scalar, s.count
    i = s.waiting[place]
    bank, row = q.bank[i], q.row[i]
    group = bank // p.banks_per_group
    for k in range(place, scalar[SIZE] - 1):
        s.waiting[k] = s.waiting[k + 1]
    scalar[SIZE] -= 1
    s.hits[bank] -= 1
    if s.oldest[bank] == i:
        s.oldest[bank] = _oldest_of(q, s, bank)
    short, long = max(t.ccd_s, t.burst), max(t.ccd_l, t.burst)
    if q.write[i]:
        data = at + t.cwl + t.burst
        scalar[WRITE_AT] = max(scalar[WRITE_AT], at + short)
        s.group_write[group] = max(s.group_write[group], at + long)
        scalar[READ_AT] = max(scalar[READ_AT], data + t.wtr_s)
        s.group_read[group] = max(s.group_read[group], data + t.wtr_l)
        s.bank_precharge[bank] = max(s.bank_precharge[bank], data + t.wr)
        _note(s, at, WRITE, bank, row)
    else:
        data = at + t.cl + t.burst
        scalar[READ_AT] = max(scalar[READ_AT], at + short)
        s.group_read[group] = max(s.group_read[group], at + long)
        scalar[WRITE_AT] = max(scalar[WRITE_AT], at + t.rtw)
        s.bank_precharge[bank] = max(s.bank_precharge[bank], at + t.rtp)
        _note(s, at, READ, bank, row)
    scalar[NOW] = at
    scalar[COLUMN_FREE] = at + 1
    if p.shared_bus:
        scalar[ROW_FREE] = at + 1
    count[TIME] = max(count[TIME], data)
    count[SERVED] += 1
    count[MISSES] += s.cause[i] == MISS
    count[CONFLICTS] += s.cause[i] == CONFLICT
    _refill(p, q, s)
    if p.closed_page and s.hits[bank] == 0:
        _close(t, s, bank, s.bank_precharge[bank])


@kernel
def _issue_row(t, p, q, s, i, at):
    bank, row = q.bank[i], q.row[i]
    s.scalar[NOW] = at
    s.scalar[ROW_FREE] = at + 1
    if p.shared_bus:
        s.scalar[COLUMN_FREE] = at + 1
    if s.open_row[bank] != CLOSED:
        _note(s, at, PRECHARGE, bank, s.open_row[bank])
        _close(t, s, bank, at)
        s.cause[i] = CONFLICT
        return
    group = bank // p.banks_per_group
    s.open_row[bank] = row
    s.bank_read[bank] = at + t.rcd_rd
    s.bank_write[bank] = at + t.rcd_wr
    s.bank_precharge[bank] = at + t.ras
    s.bank_activate[bank] = at + t.rc
    s.group_activate[group] = at + t.rrd_l
    s.scalar[ACTIVATE_AT] = at + t.rrd_s
    s.last_activates[s.count[ACTIVATES] % 4] = at
    s.count[ACTIVATES] += 1
    s.cause[i] = max(s.cause[i], MISS)
    for k in range(s.scalar[SIZE]):
        other = s.waiting[k]
        s.hits[bank] += q.bank[other] == bank and q.row[other] == row
    _note(s, at, ACTIVATE, bank, row)


@kernel
def _close(t, s, bank, at):
    """Precharge a bank at a clock, which may be yet to come (auto-precharge)."""
    s.open_row[bank] = CLOSED
    s.hits[bank] = 0
    s.bank_idle[bank] = at + t.rp
    s.bank_activate[bank] = max(s.bank_activate[bank], at + t.rp)
    s.count[PRECHARGES] += 1


@kernel
def _refresh(t, s, due):
    """Precharge all open banks as soon as each may be, then refresh all; nothing else issues from ``due`` on."""
    banks = len(s.open_row)
    at, any_open = max(due, s.scalar[ROW_FREE]), False
    for bank in range(banks):
        if s.open_row[bank] != CLOSED:
            any_open = True
            at = max(at, s.bank_precharge[bank])
    if any_open:
        _note(s, at, PRECHARGE_ALL, 0, 0)
        for bank in range(banks):
            if s.open_row[bank] != CLOSED:
                _close(t, s, bank, at)
    for bank in range(banks):
        at = max(at, s.bank_idle[bank])
    for bank in range(banks):
        s.bank_activate[bank] = max(s.bank_activate[bank], at + t.rfc)
    s.scalar[NOW] = at
    s.scalar[ROW_FREE] = at + 1
    s.scalar[COLUMN_FREE] = at + 1
    s.count[REFRESHES] += 1
    _note(s, at, REFRESH, 0, 0)
    mark = s.first_refresh if s.count[REFRESHES] == 1 else s.last_refresh
    for k in range(COUNTERS):
        mark[k] = s.count[k]
    mark[TIME] = at


@kernel
def _note(s, at, command, bank, row):
    n = s.scalar[LOGGED]
    if n < len(s.log):
        s.log[n, 0], s.log[n, 1], s.log[n, 2], s.log[n, 3] = at, command, bank, row
        s.scalar[LOGGED] = n + 1

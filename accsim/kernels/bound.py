"""Lower bounds of many points of one program shape, and what they count, in closed form."""

from __future__ import annotations

import numpy as np

from accsim.kernels.block import class_of, trip_class
from accsim.kernels.jit import kernel
from accsim.kernels.layout import (
    CARRIED,
    D0,
    D1,
    DEP0,
    DEP1,
    HI,
    LAG,
    LEVEL,
    LEVELS,
    LO,
    MAX_STAGE_TICKS,
    MAX_TICKS,
    RATE1,
    RUN0,
    SRC,
    TRIP0,
    UNIT,
)


@kernel
def count_fires(level, trips, runs, row, stages, classes, fires, ends):
    """How often each row fires, in closed form: over the levels, the overlap of its span with its class's run.

    Parameters
    ----------
    level, trips, runs, row : as in ``ProgramArrays``.
    stages : their number; each has one row for every combination of ``classes``.
    ends : int64[2, 4], room for the ends of the runs of a combination's classes.
    """
    first, last = ends[0], ends[1]
    combos = 1
    for k in range(LEVELS):
        combos *= classes[k]
    for combo in range(combos):
        reached = True
        for k in range(LEVELS):
            own = class_of(combo, classes, k)
            run = level[k, RUN0] + own
            first[k] = 0 if own == 0 else runs[run - 1]
            last[k] = min(runs[run], trips[level[k, TRIP0] + trip_class(level, k, combo, classes)])
            reached = reached and first[k] < last[k]
        for s in range(stages):
            r = s * combos + combo
            count = 1 if reached else 0
            if reached:
                for k in range(LEVELS):
                    count *= max(0, min(row[r, HI + k], last[k]) - max(row[r, LO + k], first[k]))
            fires[r] = count


@kernel
def held_after(held, fires, ticks):
    """Ticks that a resource is held after ``fires`` more of ``ticks`` each, no more than just above ``MAX_TICKS``."""
    if held + float(fires) * ticks > MAX_TICKS:
        return MAX_TICKS + 1
    return held + fires * ticks


@kernel(allocates=True)
def bound_block(shape, block, classes, chains, deep, bound, fires, busy):
    """Lower bound of every point's ticks; more than ``MAX_TICKS`` where a point or one of its stages is too long.

    A resource is held for all its stages, one after the other, with the shortest chain of producers before and the
    least latency of one behind: fidelity ``analytic``. ``deep`` has what must come before the first and behind the last
    at every level, and the slots of ``chains``: a slot is held for all of the stages of its chain, one after the other,
    and there are only so many. Also fills, in closed form, how often each row fires, and the ticks that each resource
    works (not those that a unit waits for a rate).

    Parameters
    ----------
    chains : int64[chains, 1 + stages], the buffer, and 1 for each stage of the chain.
    bound, fires, busy : int64[N], int64[N, rows] and float64[N, resources], filled.
    """
    stages, resources = shape.stage.shape[0], shape.servers.shape[0]
    combos = 1
    for k in range(LEVELS):
        combos *= classes[k]
    taken, tail, reach = np.zeros((3, resources), np.int64)
    held, least, before, behind = np.zeros((4, stages), np.int64)
    ends = np.zeros((2, LEVELS), np.int64)
    for i in range(block.trips.shape[0]):
        row = block.row[i]
        count_fires(shape.level, block.trips[i], block.runs[i], row, stages, classes, fires[i], ends)
        busy[i, :] = 0.0
        taken[:] = 0
        tail[:] = MAX_TICKS
        reach[:] = MAX_TICKS
        for s in range(stages):
            unit, rates = shape.stage[s, UNIT], (shape.stage[s, RATE1], shape.stage[s, RATE1 + 1])
            worked, whole, shortest = 0.0, 0, MAX_TICKS
            for r in range(s * combos, (s + 1) * combos):
                count = fires[i, r]
                if count == 0:
                    continue
                slowest = row[r, D0]
                worked += float(count) * slowest
                for k in range(2):
                    if rates[k] >= 0:
                        ticks = row[r, D1 + k]
                        busy[i, rates[k]] += float(count) * ticks
                        taken[rates[k]] = held_after(taken[rates[k]], count, ticks)
                        slowest = max(slowest, ticks)
                whole = held_after(whole, count, slowest) if slowest <= MAX_STAGE_TICKS else MAX_TICKS + 1
                shortest = min(shortest, slowest)
            busy[i, unit] += worked
            held[s], least[s] = whole, shortest
            taken[unit] = min(taken[unit] + whole, MAX_TICKS + 1)
        for s in range(stages):
            before[s] = 0
            behind[s] = block.latency[i, s]
        if deep:
            _add_neighbours(shape, row, combos, block.latency[i], least, before, behind)
        else:
            _add_producers(shape, block.latency[i], least, before)
        for s in range(stages):
            for k in range(3):
                resource = shape.stage[s, UNIT + k]
                if resource >= 0 and least[s] < MAX_TICKS:
                    reach[resource] = min(reach[resource], before[s])
                    tail[resource] = min(tail[resource], behind[s])
        most = 0
        for r in range(resources):
            if reach[r] < MAX_TICKS:
                most = max(most, reach[r] + taken[r] // shape.servers[r] + tail[r])
        if deep:
            for c in range(chains.shape[0]):
                whole = 0
                for s in range(stages):
                    whole = min(whole + chains[c, 1 + s] * held[s], MAX_TICKS + 1)
                most = max(most, whole // block.slots[i, chains[c, 0]])
        bound[i] = most


@kernel
def _add_producers(shape, latency, least, before):
    """The least time before a stage's first start: one firing of each stage in the longest chain that leads to it."""
    for s in range(shape.stage.shape[0]):
        for d in range(shape.stage[s, DEP0], shape.stage[s, DEP1]):
            source = shape.dep[d, SRC]
            same = source < s and shape.dep[d, LAG] == 0 and shape.dep[d, CARRIED] == 0
            if same and least[source] < MAX_TICKS:
                before[s] = max(before[s], before[source] + least[source] + latency[source])


@kernel
def _add_neighbours(shape, row, combos, latency, least, before, behind):
    """The least time before a stage's first start and behind its last work.

    ``before`` gets one firing of each stage that all firings wait for, and ``behind``, which has the latencies, one of
    each stage that waits for the last.
    """
    stages = shape.stage.shape[0]
    for forward in (True, False):
        for n in range(stages):
            s = n if forward else stages - 1 - n
            for d in range(shape.stage[s, DEP0], shape.stage[s, DEP1]):
                source, level = shape.dep[d, SRC], shape.dep[d, LEVEL]
                if shape.dep[d, LAG] > 0 or shape.dep[d, CARRIED] == 1:
                    continue
                if least[source] == MAX_TICKS or least[s] == MAX_TICKS:
                    continue
                ours, theirs = row[s * combos : (s + 1) * combos], row[source * combos : (source + 1) * combos]
                if forward and _covers(theirs, ours, level, LO):
                    before[s] = max(before[s], before[source] + least[source] + latency[source])
                if not forward and _covers(ours, theirs, level, HI):
                    behind[source] = max(behind[source], latency[source] + least[s] + behind[s])


@kernel
def _covers(outer, inner, level, end):
    """Whether a stage fires in every iteration of a level in which another does, and begins (``LO``) or ends with it.

    Given are the rows of both: of the first one, no span may be empty.
    """
    for c in range(outer.shape[0]):
        for k in range(LEVELS):
            if outer[c, HI + k] <= outer[c, LO + k]:
                return False
            if (k < level or (k == level and end == LO)) and outer[c, LO + k] > inner[c, LO + k]:
                return False
            if (k < level or (k == level and end == HI)) and outer[c, HI + k] < inner[c, HI + k]:
                return False
    return True


@kernel(allocates=True)
def all_counted(actions, fires, copies, worth, found):
    """What the rows of every point count in all their firings and copies, weighted.

    Parameters
    ----------
    actions, fires, copies : float64[N, rows, actions], int64[N, rows] and float64[N].
    worth : float64[actions, weights].
    found : float64[N, weights], filled.
    """
    points, rows, columns = actions.shape
    counts = np.zeros(columns)
    for i in range(points):
        counts[:] = 0.0
        for r in range(rows):
            if fires[i, r] > 0:
                times = float(fires[i, r])
                for column in range(columns):
                    counts[column] += times * actions[i, r, column]
        for k in range(worth.shape[1]):
            total = 0.0
            for column in range(columns):
                total += counts[column] * worth[column, k]
            found[i, k] = copies[i] * total


@kernel
def all_reserved(slots, slot_bytes, inside, found):
    """Bytes that those buffers of every point take which are 1 in ``inside`` (int64[buffers]): float64[N], filled."""
    for i in range(slots.shape[0]):
        total = 0.0
        for b in range(slots.shape[1]):
            total += inside[b] * (float(slots[i, b]) * slot_bytes[i, b])
        found[i] = total

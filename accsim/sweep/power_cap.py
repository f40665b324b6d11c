"""The rule of :mod:`accsim.engine.power` for many points: each runs at the largest clock that its power cap leaves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.power import SLACK, at_clock
from accsim.kernels.matrix import TICKS
from accsim.sweep.outcome import IntArray, Numbers
from accsim.sweep.sums import Sums


def within_caps(
    acc: Accelerator, chosen: IntArray, run: Callable[[Accelerator, IntArray], Sums]
) -> tuple[Numbers, Sums]:
    """(clock of each point, what it takes there).

    Parameters
    ----------
    chosen : numbers of the points.
    run : what some points take on the machine at another clock.
    """
    clocks = np.full(len(chosen), acc.clock_hz)
    sums = run(acc, chosen)
    cap, idle = acc.power.cap_w, acc.power.idle_w
    steps = np.array([step for step in acc.power.clocks_hz if step < acc.clock_hz])
    left = np.full(len(chosen), len(steps))
    while cap is not None:
        seconds = sums.ticks / TICKS / clocks
        over = np.flatnonzero((sums.dynamic_j + idle * seconds > cap * seconds) & (left > 0))
        if not len(over):
            break
        least_s = sums.dynamic_j[over] / (cap - idle)
        may_hold = np.searchsorted(steps, sums.ticks[over] / TICKS / least_s * (1 + SLACK), side="right")
        left[over] = np.maximum(np.minimum(may_hold, left[over]) - 1, 0)
        for step in np.unique(left[over]):
            at = over[left[over] == step]
            clocks[at] = steps[step]
            sums.replace(at, run(at_clock(acc, float(steps[step])), chosen[at]))
    return clocks, sums

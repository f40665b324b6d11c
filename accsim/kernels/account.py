"""What many points of one program shape use in all: busy time of every resource, from how often their rows fire."""

from __future__ import annotations

from accsim.kernels.jit import kernel
from accsim.kernels.layout import D0, D1, RATE1, UNIT


@kernel
def busy_block(shape, block, fires, busy):
    """Add up the ticks that the stages of each point work on each resource (not those that a unit waits for a rate).

    Parameters
    ----------
    fires : int64[N, rows], how often each row fires.
    busy : float64[N, resources], filled.
    """
    stages = shape.stage.shape[0]
    combos = block.row.shape[1] // stages
    for i in range(block.row.shape[0]):
        busy[i, :] = 0.0
        for s in range(stages):
            unit = shape.stage[s, UNIT]
            for r in range(s * combos, (s + 1) * combos):
                times = float(fires[i, r])
                busy[i, unit] += times * block.row[i, r, D0]
                for k in range(2):
                    rate = shape.stage[s, RATE1 + k]
                    if rate >= 0:
                        busy[i, rate] += times * block.row[i, r, D1 + k]

"""What many points of one compiled dataflow take, each a complete mapping: time, energy, traffic and busy resources."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from accsim.config.machine import Accelerator
from accsim.engine.tables import IntArray
from accsim.kernels.work import ACTIONS
from accsim.mapping.compiled import (
    TOO_LONG,
    Bounds,
    CompiledDataflow,
    FloatArray,
    Points,
    bounds,
    pj_per_column,
    run_points,
)
from accsim.mapping.format_run import matrix_dtype
from accsim.mapping.shape import Shape
from accsim.workload.ops import Op

BLOCK = 512
"""Points that are lowered at once: their numbers stay in the processor's cache."""
MAIN = ("main_read", "main_write")


class Measured(NamedTuple):
    """Arrays over points of one shape.

    Attributes
    ----------
    ticks : int64[N], ``TOO_LONG`` or more of a point that takes longer than can be counted.
    fits : bool[N], whether all buffers do.
    needs : memory -> float64[N], bytes of the buffers in it.
    dynamic_j : float64[N], energy without the idle power.
    main_bytes : float64[2, N], read from and written to main memory.
    busy : float64[resources, N], ticks that each resource works.
    """

    shape: Shape
    ticks: IntArray
    fits: npt.NDArray[np.bool_]
    needs: dict[str, FloatArray]
    dynamic_j: FloatArray
    main_bytes: FloatArray
    busy: FloatArray

    @property
    def too_long(self) -> npt.NDArray[np.bool_]:
        """Whether each point fits but takes longer than can be counted."""
        return self.fits & (self.ticks >= TOO_LONG)


def measure(dataflow: CompiledDataflow, op: Op, acc: Accelerator, points: Points, fidelity: str) -> Measured:
    """What points take for an op, block by block: with fidelity ``analytic`` their bound, with ``tile`` their run.

    Points that do not fit are not run.
    """
    worth = np.column_stack(
        [pj_per_column(acc, matrix_dtype(op, acc)) * 1e-12, *([c == way for c in ACTIONS] for way in MAIN)]
    )
    shape, size = dataflow.writer(op, acc, points.variant).shape, len(points.table)
    ticks, fits = np.empty(size, np.int64), np.empty(size, bool)
    needs = {memory: np.empty(size) for memory in shape.capacities}
    counted, busy = np.empty((size, worth.shape[1])), np.empty((size, len(shape.resources)))
    room = Bounds.room(shape, min(size, BLOCK))
    for at, lowered in dataflow.lower_in_blocks(op, acc, points, BLOCK):
        fits[at] = True
        for memory, capacity in shape.capacities.items():
            needs[memory][at] = lowered.reserved_bytes(memory)
            fits[at] &= needs[memory][at] <= capacity
        fires = room.fires[: len(lowered.copies)]
        bounds(lowered, into=Bounds(ticks[at], fires, busy[at]))
        counted[at] = lowered.counted(fires, worth)
        if fidelity == "tile":
            ticks[at][fits[at]] = run_points(lowered.without_actions().select(fits[at]))
    return Measured(shape, ticks, fits, needs, counted[:, 0], counted[:, 1:].T, busy.T)

"""Amounts of a program as arrays over the classes of its levels, and its spans resolved against the trips."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accsim.engine.program import Amount, Program, Span, Stage, Varying

IntArray = npt.NDArray[np.int64]


def spread(program: Program, amount: Amount) -> IntArray:
    """The amount with one axis a level, of length 1 where it does not vary."""
    shape = [1] * len(program.levels)
    if not isinstance(amount, Varying):
        return np.full(shape, amount, dtype=np.int64)
    for name, size in zip(amount.levels, amount.values.shape, strict=True):
        shape[program.depth(name)] = size
    order = np.argsort([program.depth(name) for name in amount.levels])
    return amount.values.transpose(order).reshape(shape)


def bounds(program: Program, stage: Stage, depth: int) -> tuple[IntArray, IntArray]:
    """(lo, hi) of a stage at one level, negative values and None resolved against the trips."""
    level = program.levels[depth]
    span = stage.spans.get(level.name, Span())
    trips = spread(program, level.trips)
    lo = spread(program, span.lo)
    lo = np.where(lo < 0, np.maximum(trips + lo, 0), lo)
    if span.hi is None:
        return lo, trips
    hi = spread(program, span.hi)
    return lo, np.where(hi < 0, np.maximum(trips + hi, 0), hi)


def most_fires(program: Program, stage: Stage) -> int:
    """An upper bound of how often a stage fires: the product of its widest spans."""
    most = 1
    for depth in range(len(program.levels)):
        lo, hi = bounds(program, stage, depth)
        most *= int(np.max(np.maximum(hi - lo, 0)))
    return most


def single(span: Span) -> bool:
    """Whether a span is declared as one index (its first, its last, or [i, i + 1))."""
    if isinstance(span.lo, int) and isinstance(span.hi, int):
        return span.hi - span.lo == 1 and (span.lo < 0) == (span.hi < 0)
    return span.lo == -1 and span.hi is None

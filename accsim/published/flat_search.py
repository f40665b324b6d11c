"""The exhaustive search of ``flat-corrected``: the lowest latency of at most 512 mappings of an operator.

Source: the space is the smallest one whose minimum equals the latency of every row that FuseMax (MICRO 2024) published
of FLAT's corrected simulator; the paper says that it searches exhaustively, and gives no size.
"""

from __future__ import annotations

from itertools import product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from accsim.published.flat_corrected import Estimate, FlatMapping, Floats, Numbers, Platform, Shape, evaluate

ROW_MULTIPLES = (1, 2, 4)
"""Rows of a tile at row granularity, in array sides; beside them there is head granularity."""

_Inputs = TypeVar("_Inputs", Shape, Platform)

_CHUNK = 256
"""Operators that are searched at once, which bounds the memory."""


def space(platform: Platform, shape: Shape, stage_scores: tuple[bool, ...] = (False, True)) -> FlatMapping:
    """Every mapping of one operator on one platform; arrays of at most 512.

    Head granularity, and row granularity with R = p, 2 p, 4 p below N; both stationary forms of both operators; every
    staging of Q, K, V, O and of the scores. Loops over batch and heads are outermost.

    Parameters
    ----------
    stage_scores
        Without True there is no fusion, which is FLAT's baseline FLEX.
    """
    points, valid = _points(_columns(platform), _columns(shape), stage_scores)
    return FlatMapping(*(np.broadcast_to(choice, valid.shape)[valid] for choice in points))


def search(
    shape: Shape,
    platform: Platform,
    *,
    stage_scores: tuple[bool, ...] = (False, True),
    softmax_lanes: float | None = None,
) -> tuple[FlatMapping, Estimate]:
    """The mapping of lowest latency of each operator, and what the model says of it.

    Ties go to the lower traffic, then to the smaller footprint, then to the earlier point. (The published rows break
    ties otherwise: compare latencies with them, not mappings.)

    Parameters
    ----------
    shape, platform
        Numbers, or arrays of one dimension: one search for each element.
    stage_scores
        As in `space`.
    softmax_lanes
        As in `evaluate`: charged while searching.

    Returns
    -------
    Arrays with an element for each operator.
    """
    shapes, platforms = _columns(shape), _columns(platform)
    count = np.broadcast(*shapes, *platforms).shape[0]
    found: list[FlatMapping] = []
    for start in range(0, count, _CHUNK):
        here = slice(start, start + _CHUNK)
        some = Shape(*(_part(column, count, here) for column in shapes))
        there = Platform(*(_part(column, count, here) for column in platforms))
        points, valid = _points(there, some, stage_scores)
        best = _best(evaluate(some, there, points, softmax_lanes), valid)
        rows = np.arange(len(best))
        found.append(FlatMapping(*(np.broadcast_to(choice, valid.shape)[rows, best] for choice in points)))
    mapping = FlatMapping(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
    flat = [np.broadcast_to(column, (count, 1))[:, 0] for column in (*shapes, *platforms)]
    return mapping, evaluate(Shape(*flat[:4]), Platform(*flat[4:]), mapping, softmax_lanes)


def _points(platform: Platform, shape: Shape, stage_scores: tuple[bool, ...]) -> tuple[FlatMapping, NDArray[np.bool_]]:
    """Mappings along the second axis of operators along the first, and which of them are in the space."""
    flags = (False, True)
    grid = product((0, *ROW_MULTIPLES), flags, flags, flags, flags, stage_scores, flags, flags)
    multiple, *choices = (np.array(column) for column in zip(*grid, strict=True))
    rows = multiple * platform.side
    whole = multiple == 0
    valid = np.broadcast_to(whole | (rows < shape.seq_len), np.broadcast(rows, shape.seq_len).shape)
    return FlatMapping(np.where(whole, shape.seq_len, rows), *choices), valid


def _best(estimate: Estimate, valid: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Place of the best mapping of each operator."""
    left = valid
    for cost in (estimate.latency_s, estimate.traffic_bytes, estimate.footprint_bytes):
        costs = np.where(left, cost, np.inf)
        left = left & (costs == costs.min(axis=1, keepdims=True))
    return np.asarray(left.argmax(axis=1))


def _columns(numbers: _Inputs) -> _Inputs:
    """Each number as a column, an operator a row."""
    return type(numbers)(*(np.atleast_1d(np.asarray(number, dtype=np.float64))[:, None] for number in numbers))


def _part(column: Numbers, count: int, here: slice) -> Floats:
    return np.broadcast_to(np.asarray(column), (count, 1))[here]

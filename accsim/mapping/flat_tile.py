"""What a tile of FLAT is: how many heads it has, their extents, and what of it may stay on the chip."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np

from accsim.config.compute_units import SystolicArray
from accsim.config.machine import Accelerator
from accsim.engine.tables import IntArray
from accsim.errors import MappingError
from accsim.mapping.attention import Problem, longest_blocks, problem_of
from accsim.mapping.compiled import Points
from accsim.mapping.flat_shape import Variant, staged_name
from accsim.workload.ops import Attention

GRANULARITIES = ("row", "head", "batch", "batch_head")
STAYS = {staged_name(kept): frozenset(kept) for most in range(4, -1, -1) for kept in combinations("qkvo", most)}
"""What stays on the chip, by its name in ``Flat.staged``."""
SEARCHED = tuple(name for name, kept in STAYS.items() if {"q", "o"} <= kept)


def heads_of_tile(op: Attention, acc: Accelerator, granularity: str) -> int:
    """Heads (groups that share keys) of a tile.

    Raises
    ------
    MappingError
        Where they cannot be divided over the cores.
    """
    if granularity in ("row", "head"):
        return 1
    groups = op.batch * op.kv_heads
    together = op.kv_heads if granularity == "batch" else groups // min(groups, acc.cores)
    if groups % together:
        raise MappingError(f"'{op.name}': {groups} heads cannot be divided into tiles of {together} on {acc.name}")
    return together


def op_of_tiles(op: Attention, together: int) -> Attention:
    """The op that is worked on: a tile of several heads has all their queries, so that no mask saves it a key block."""
    if together == 1 or not op.causal:
        return op
    return replace(op, causal=False, window=None, kv_len=op.seen_keys)


def problem_of_tiles(op: Attention, acc: Accelerator, granularity: str) -> tuple[Problem, tuple[int, float], int]:
    """(extents; heads of a tile and the share of its scores that no mask hides; scores that are shared out).

    Heads together are one with the keys of all, whose queries differ.
    """
    together = heads_of_tile(op, acc, granularity)
    whole = op_of_tiles(op, together)
    problem, seen = problem_of(whole), op.scores / whole.scores
    if together > 1:
        keys = problem.keys * together
        problem = problem._replace(groups=problem.groups // together, keys=keys, window=keys)
    return problem, (together, seen), whole.scores


def stagings(op: Attention, given: str | None, together: int) -> tuple[str, ...]:
    """What is staged, to be tried.

    Keys of a sliding window, which moves on, do not stay for other row tiles; and K and V both do or none where they
    share their storage.

    Raises
    ------
    MappingError
        When what is given is none of these.
    """
    found = (given,) if given else SEARCHED
    if op.shared_kv:
        found = tuple(name for name in found if ("k" in STAYS[name]) == ("v" in STAYS[name]))
        if not found:
            raise MappingError(f"staged {given}: '{op.name}' stores keys and values as one; allowed is both or none")
    if op.window and together == 1:
        found = tuple(name for name in found if not STAYS[name] & {"k", "v"})
        if not found:
            allowed = ", ".join(name for name, kept in STAYS.items() if not kept & {"k", "v"})
            raise MappingError(
                f"staged {given}: under the sliding window of '{op.name}' allowed are {allowed}, or more in tiles of "
                "several heads"
            )
    return found


def blocks_of_tiles(op: Attention, acc: Accelerator, points: Points) -> IntArray:
    """Key blocks of the longest tile of each point, those of all its heads."""
    together = heads_of_tile(op, acc, Variant(*points.variant).granularity)
    return longest_blocks(op_of_tiles(op, together), points.table) * together


def with_passing_outputs(op: Attention, acc: Accelerator, variant: Variant, table: IntArray) -> list[Points]:
    """The points of a variant: of an O that does not stay those where it can pass in pieces, by whether it comes back.

    Pieces have as many rows as the array. Where a tile is no larger, O is one piece and would have to stay. A tile of
    several heads divides all its outputs at its end, when those of the first heads must have left. The sums of tensor
    cores stay in registers.
    """
    unit = acc.matrix_unit
    if variant.o:
        return [Points(variant, table)]
    if not isinstance(unit, SystolicArray) or (variant.two_pass and heads_of_tile(op, acc, variant.granularity) > 1):
        return []
    table = table[np.minimum(table[:, 0], op.q_len * op.heads // op.kv_heads) > unit.rows]
    several = blocks_of_tiles(op, acc, Points(variant, table)) > 1
    parts = (Points(variant._replace(partial=partial), table[several == partial]) for partial in (False, True))
    return [points for points in parts if len(points.table)]


def why_outputs_stay(op: Attention, acc: Accelerator, staged: str) -> str:
    """Why no point of :func:`with_passing_outputs` is left."""
    unit, kept = acc.matrix_unit, staged_name([*sorted(STAYS[staged], key="qkvo".index), "o"])
    if not isinstance(unit, SystolicArray):
        return f"staged {staged}: the outputs of '{op.name}' stay in the registers of {acc.name}; allowed is {kept}"
    return (
        f"staged {staged}: outputs of '{op.name}' that do not stay leave in pieces of the array's {unit.rows} rows: "
        f"allowed are tiles of more rows, of several heads with a three_pass softmax, or {kept}"
    )

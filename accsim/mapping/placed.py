"""Many complete mappings of one dataflow at once: from the numbers of their choices to the points of its shapes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from accsim.config.machine import Accelerator
from accsim.engine.tables import IntArray
from accsim.mapping.attention import Loops, problem_of, share_of
from accsim.mapping.compiled import Placed, Points
from accsim.workload.ops import Attention


def given_numbers(mapping: object, columns: Mapping[str, IntArray], *names: str) -> IntArray | None:
    """The numbers of some choices, int64[points, names], from columns or else the mapping.

    None where one is open, or where a column is of another choice.
    """
    if columns.keys() - set(names):
        return None
    length = max(len(column) for column in columns.values())
    found = []
    for name in names:
        column = columns.get(name, getattr(mapping, name))
        if column is None:
            return None
        found.append(np.broadcast_to(np.asarray(column, np.int64), (length,)))
    return np.stack(found, axis=1)


def by_loops(op: Attention, acc: Accelerator, tiles: IntArray, codes: tuple[int, ...]) -> list[tuple[Loops, Placed]]:
    """Given pairs (rows of a tile, keys of a block) of an op without a mask, by the loops that they need.

    ``codes`` of stationary forms follow each pair; the variant is left empty.
    """
    problem = problem_of(op)
    rows, each = np.unique(tiles[:, 0], return_inverse=True)
    ragged_rows = np.array([_ragged(problem, min(row, op.q_len * problem.shared), acc.cores) for row in rows.tolist()])
    ragged_keys = op.kv_len % np.minimum(tiles[:, 1], op.kv_len) > 0
    kinds = 2 * ragged_rows[each.reshape(-1)] + ragged_keys
    found = []
    for kind in np.unique(kinds).tolist():
        at = np.flatnonzero(kinds == kind)
        table = np.column_stack([tiles[at], *(np.full(len(at), code) for code in codes)])
        found.append((Loops(1 + kind // 2, False, bool(kind % 2)), Placed(Points((), table), at)))
    return found


def _ragged(problem: object, tile: int, cores: int) -> bool:
    """Whether the last row tile of a core has fewer rows."""
    return bool(share_of(problem, tile, cores).rows % tile)

"""What a step holds in the main memory of a chip, and tables that do not fit beside the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from accsim.embedding.placement import Placement
from accsim.embedding.work import ID_BYTES, StepWork
from accsim.errors import InputError, Problem
from accsim.mapping.embedding_counts import Counts
from accsim.mapping.embedding_place import COO_BYTES
from accsim.workload.embeddings import EmbeddingSet
from accsim.workload.ops_base import tensor_bytes

ELSEWHERE: Final = ("host", "variable_server")
"""Places whose tables do not lie in the chip's memory; how large theirs is, is not asked."""
UNDER_WAY: Final = {"pipelined": 2}
"""Steps whose vectors a chip holds at once, by schedule; else one."""


def step_bytes(work: StepWork, schedule: str) -> dict[str, int]:
    """Bytes of the busiest chip for ids, vectors and their gradients.

    Ids of its own samples with sample and weight, and those that it is asked for. Vectors that it receives, and what it
    joins of them. A gradient of each bag, and of each vector that it sends.
    """
    counts, steps = Counts(work), UNDER_WAY.get(schedule, 1)
    row = np.array([tensor_bytes(stack.width, stack.dtype) for stack in work.stacks])
    vectors = ((counts.received + counts.kept + counts.bags_joined) * row).sum()
    gradients = ((counts.bags + counts.sent.largest) * row).sum()
    ids = COO_BYTES * counts.ids.sum() + ID_BYTES * counts.served.largest.sum()
    each = {"vectors": vectors, "vector_gradients": gradients, "ids": ids}
    return {name: steps * round(float(size)) for name, size in each.items()}


def table_bytes(tables: EmbeddingSet, placement: Placement, where: str) -> dict[str, int]:
    """Bytes of rows, and of their optimizers' state, on the fullest chip; none where they lie elsewhere."""
    if where in ELSEWHERE:
        return {}
    held = placement.held_bytes(tables)
    fullest = int(held.argmax())
    state = sum(
        -(-share.table.rows // share.owners) * share.state_bytes
        for share in placement.shares(tables)
        if share.sharding.kind == "replicated" or 0 <= fullest - share.first < share.sharding.chips
    )
    return {"tables": int(held[fullest]) - state, "table_state": state}


def check_tables(
    tables: EmbeddingSet, placement: Placement, where: str, capacity_bytes: int, beside: Mapping[str, int]
) -> None:
    """Refuse tables that do not fit beside the rest of a step.

    Raises
    ------
    InputError
        With the fullest chip, its largest tables, and what the rest takes.
    """
    if where in ELSEWHERE:
        return
    try:
        placement.check_memory(tables, max(0, capacity_bytes - sum(beside.values())))
    except InputError as error:
        rest = ", ".join(f"{name.replace('_', ' ')} {size:,} B" for name, size in beside.items())
        message = f"of {capacity_bytes:,} B a chip, a step takes beside its tables: {rest}"
        raise InputError([*error.problems, Problem("placement", "", message)]) from error

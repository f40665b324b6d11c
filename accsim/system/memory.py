"""What a step holds in the main memory of a chip, and tables that do not fit beside the rest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from accsim.config.machine import Accelerator
from accsim.embedding.placement import Placement
from accsim.embedding.work import ID_BYTES, StepWork
from accsim.errors import InputError, Problem
from accsim.mapping.embedding_counts import Counts
from accsim.mapping.embedding_place import COO_BYTES
from accsim.system.ids import HOST, SERVERS
from accsim.workload.embeddings import EmbeddingSet
from accsim.workload.ops_base import tensor_bytes

ELSEWHERE: Final = (HOST, SERVERS)
"""Places whose tables do not lie in the chip's memory."""
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


class Outside(NamedTuple):
    """Memory beside the chips that has their tables.

    Attributes
    ----------
    holder
        What has it.
    bytes
        Rows and their optimizers' state, on the fullest holder.
    capacity_bytes
        None where the machine file does not say.
    """

    holder: str
    bytes: int
    capacity_bytes: int | None


def outside(tables: EmbeddingSet, placement: Placement, where: str, chip: Accelerator) -> Outside | None:
    """What a host has for all its chips, or a server for its part of the slice; None where chips have the tables."""
    held = placement.held_bytes(tables)
    if where == HOST and chip.host is not None:
        of = min(chip.host.chips, len(held))
        fullest = np.add.reduceat(held, np.arange(0, len(held), of)).max()
        return Outside(f"a host of {of} chips", int(fullest), chip.host.capacity_bytes)
    if where == SERVERS and chip.data_center is not None:
        servers = chip.data_center.servers_per_chip * len(held)
        return Outside("a server", math.ceil(int(held.sum()) / servers), chip.data_center.capacity_bytes)
    return None


def check_tables(
    tables: EmbeddingSet, placement: Placement, where: str, chip: Accelerator, beside: Mapping[str, int]
) -> None:
    """Refuse tables that do not fit beside the rest of a step, or, where chips do not have them, in the other memory.

    Raises
    ------
    InputError
        With the fullest chip, its largest tables, and what the rest takes.
    """
    other = outside(tables, placement, where, chip)
    if other is not None:
        if other.capacity_bytes is not None and other.bytes > other.capacity_bytes:
            message = f"{other.holder} would hold {other.bytes:,} B, allowed are {other.capacity_bytes:,} B"
            raise InputError(Problem("placement", "", message))
        return
    capacity = chip.main_memory.capacity_bytes
    try:
        placement.check_memory(tables, max(0, capacity - sum(beside.values())))
    except InputError as error:
        rest = ", ".join(f"{name.replace('_', ' ')} {size:,} B" for name, size in beside.items())
        message = f"of {capacity:,} B a chip, a step takes beside its tables: {rest}"
        raise InputError([*error.problems, Problem("placement", "", message)]) from error

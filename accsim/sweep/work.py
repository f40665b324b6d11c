"""What a worker does with a group: its rows, as the content of a Parquet file."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from accsim.sweep.evaluate import evaluate_part, failed_part
from accsim.sweep.executors import Done
from accsim.sweep.groups import Group
from accsim.sweep.part import part_of
from accsim.sweep.space import Space

if TYPE_CHECKING:
    import pyarrow as pa

FEW = 2
"""Points that are run to prepare: two, since one alone is no block."""
OBJECTIVE_COLUMNS = {"latency": "latency_s", "energy": "energy_j"}


@dataclass(frozen=True)
class RunGroup:
    """Work on the groups of one space."""

    space: Space

    def __call__(self, group: Group) -> Done:
        """The rows of a group."""
        start = time.perf_counter()
        part = part_of(self.space, group.start, group.stop)
        return done(self.space, group, evaluate_part(self.space, part), time.perf_counter() - start)

    def prepare(self, group: Group) -> None:
        """Run the first few points, which compiles and loads what the others need too."""
        evaluate_part(self.space, part_of(self.space, group.start, min(group.stop, group.start + FEW)))

    def give_up(self, group: Group, why: str) -> Done:
        """A group that nobody can run: every point of it is a row with the reason."""
        return done(self.space, group, failed_part(self.space, part_of(self.space, group.start, group.stop), why), 0.0)


def done(space: Space, group: Group, table: pa.Table, seconds: float) -> Done:
    """A group with its rows as bytes."""
    feasible = np.asarray(table["feasible"])
    shown = np.asarray(table[OBJECTIVE_COLUMNS.get(space.objective, "latency_s")])[feasible]
    best = float(shown.min()) if len(shown) else np.inf
    return Done(group, encode(table), int((~feasible).sum()), best, seconds)


def encode(table: pa.Table) -> bytes:
    """The content of the Parquet file of some rows: the same rows make the same bytes.

    The numbers of points are stored as differences, other numbers as they are, texts as places among the distinct ones.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=1,
        use_dictionary=[item.name for item in table.schema if pa.types.is_dictionary(item.type)],
        column_encoding=dict.fromkeys(("point", "design"), "DELTA_BINARY_PACKED"),
        write_batch_size=max(1, len(table)),
        store_schema=False,
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content

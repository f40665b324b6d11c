"""Steps of recommendation models on slices of TPU v3 and v4 that have as many chips: what several figures run.

One set-up for all of them: `SAMPLES` a chip whatever the slice, slices of TPU v4 twisted where they can be, tables
where the placer puts them for SparseCores, duplicates dropped by owners, which send sums of bags, and the embedding
half beside the dense half of the step before.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final

from accsim.embedding.placement import Placement
from accsim.figures.tpuv4.bisection import SLICES
from accsim.mapping.sparse_core import place_of
from accsim.system import StepReport, read_slice, train_step
from accsim.system.placing import BEST, placements
from accsim.workload.catalogue import load_workload
from accsim.workload.embeddings import EmbeddingSet

V3, V4 = "tpu_v3", "tpu_v4"
SAMPLES: Final = 8192
"""Of a chip: 2048 for each of the four embedding units of TPU v4, the smaller end of what section 7.9 says of internal
models; as many on TPU v3, so that batches of as many chips are equal."""


Changes = tuple[tuple[str, object], ...]
"""Values to replace, by key."""


def slice_name(machine: str, chips: int, *, twisted: bool = True) -> str:
    """The slice of a machine with so many chips, as square or cubic as they get; twisted where it can be."""
    flat, solid = SLICES[chips]
    if machine == V3:
        return f"{V3}:{flat[0]}x{flat[1]}"
    twist = "twisted:" if twisted and max(solid) == 2 * min(solid) else ""
    return f"{V4}:{twist}{'x'.join(map(str, solid))}"


@lru_cache(maxsize=256)
def step(
    model: str,
    machine: str,
    chips: int,
    *,
    twisted: bool = True,
    samples: int = SAMPLES,
    where: str = "sparse_core",
    placed_for: str = "sparse_core",
    changes: Changes = (),
    model_changes: Changes = (),
    rows: float = 1.0,
) -> StepReport:
    """A step in the set-up of this module.

    Parameters
    ----------
    where, placed_for
        What looks rows up, and the place by whose rates tables are placed.
    changes, model_changes
        Settings of the machine, and of the model.
    rows
        Rows of each table, over those of the model; they lie where the model's do.
    """
    on = read_slice(slice_name(machine, chips, twisted=twisted), set=dict(changes))
    wires = tuple(change for change in changes if change[0].startswith("interconnect"))
    placed = placed_tables(model, machine, chips, twisted, samples, placed_for, wires)
    return train_step(
        f"{model}?batch={samples * chips}", on, placement=placed, where=where, dedup="owner", schedule="pipelined",
        set=dict(model_changes), embeddings=_tables(model, rows),
    )  # fmt: skip


def _tables(model: str, rows: float) -> EmbeddingSet:
    """A model's tables with so many times their rows."""
    found = load_workload(model).embeddings
    assert found is not None
    if rows == 1.0:
        return found
    return EmbeddingSet(tuple(replace(table, rows=round(table.rows * rows)) for table in found.tables), found.features)


@lru_cache(maxsize=64)
def placed_tables(
    model: str, machine: str, chips: int, twisted: bool, samples: int, where: str, wires: Changes
) -> Placement:
    """What the placer finds for a place, whatever else is changed about a slice; a tenth of the memory is left free."""
    on = read_slice(slice_name(machine, chips, twisted=twisted), set=dict(wires))
    tables = _tables(model, 1.0)
    room = 0.9 * on.chip.main_memory.capacity_bytes
    return placements(tables, samples, on, place_of(on.chip, where), BEST, room)[-1][0]

"""Placements of a model's tables on a slice by name, and the rates of a chip that a placer balances."""

from __future__ import annotations

from typing import Final

from accsim.embedding.chip_time import ChipRates
from accsim.embedding.imbalance import SCOPES
from accsim.embedding.placement import Placement, row_sharded
from accsim.embedding.placer import place
from accsim.errors import InputError, check_choice
from accsim.mapping.embedding_rows import random_efficiency
from accsim.system.slices import Slice
from accsim.workload.embeddings import EmbeddingSet

ROWS, BEST = "rows", "best"
PLACEMENTS: Final = (ROWS, BEST)
"""All rows dealt over all chips; or what a placer finds, where that is faster."""
ROW_BYTES: Final = 256
"""Of a row at random, whose rate a placer takes for all."""


def placements(
    embeddings: EmbeddingSet, samples: int, on: Slice, wanted: Placement | str, chip_bytes: float
) -> tuple[tuple[Placement, tuple[str, ...]], ...]:
    """Placements to try, each with the places where duplicates may be dropped with it.

    A placer that cuts tables by columns or gives them whole to chips does so for sums of bags to travel, so dedup is at
    the owner then.

    Raises
    ------
    InputError
        For an unknown name, and tables that do not fit.
    """
    if isinstance(wanted, Placement):
        if wanted.chips != on.chips:
            raise InputError(f"read a placement over {wanted.chips} chips, allowed is one over the slice's {on.chips}")
        wanted.check_memory(embeddings, chip_bytes)
        return ((wanted, SCOPES),)
    check_choice("placement", wanted, PLACEMENTS)
    rows = row_sharded(embeddings, on.chips)
    rows.check_memory(embeddings, chip_bytes)
    if wanted == ROWS or on.chips == 1:
        return ((rows, SCOPES),)
    found = place(
        embeddings, samples, on.chips, rates=chip_rates(on), chip_bytes=chip_bytes, dedup="owner", tiles=tiles_of(on)
    )
    return (rows, SCOPES), (found, ("owner",))


def chip_rates(on: Slice) -> ChipRates:
    """What a chip of a slice does a second for embeddings."""
    chip, unit = on.chip, on.chip.sparse_core
    main = chip.main_memory
    share = random_efficiency(main.standard, ROW_BYTES) if main.standard is not None else 1.0
    if unit is not None:
        elements = unit.all_tiles * unit.lanes * (unit.clock_hz or chip.clock_hz)
    else:
        elements = chip.cores * chip.vector_unit.lanes * chip.clock_hz
    exchange = on.network.all_to_all(1.0).bounds_s["links"] / max(1, on.chips - 1)
    return ChipRates(main.read_bytes_per_s * share, 1 / exchange, elements)


def tiles_of(on: Slice) -> int:
    """Tiles of a chip that rows are dealt over; one where there are no embedding units."""
    unit = on.chip.sparse_core
    return unit.all_tiles if unit is not None else 1

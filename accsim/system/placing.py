"""Placements of a model's tables on a slice by name, and the rates of a chip that a placer balances."""

from __future__ import annotations

from typing import Final

from accsim.embedding.chip_time import ChipRates
from accsim.embedding.imbalance import SCOPES
from accsim.embedding.placement import Placement, row_sharded
from accsim.embedding.placer import place
from accsim.errors import InputError, check_choice
from accsim.mapping.embedding_place import Place
from accsim.system.slices import Slice
from accsim.workload.embeddings import EmbeddingSet

ROWS, BEST = "rows", "best"
PLACEMENTS: Final = (ROWS, BEST)
"""All rows dealt over all chips; or what a placer finds, where that is faster."""


def placements(
    embeddings: EmbeddingSet, samples: int, on: Slice, at: Place, wanted: Placement | str, chip_bytes: float
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
        embeddings, samples, on.chips, rates=chip_rates(on, at), chip_bytes=chip_bytes, dedup="owner", tiles=at.tiles
    )
    return (rows, SCOPES), (found, ("owner",))


def chip_rates(on: Slice, at: Place) -> ChipRates:
    """What a chip of a slice does a second for embeddings that are looked up at a place."""
    pair_s = on.network.all_to_all(1.0).bounds_s["links"]  # a byte of each ordered pair
    return at.rates(max(1, on.chips - 1) / pair_s)

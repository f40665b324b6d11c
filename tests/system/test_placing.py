"""What a placer balances on a slice: rates of the place that looks rows up, in closed form, and what follows."""

from __future__ import annotations

import pytest

from accsim.embedding.chip_time import chip_seconds
from accsim.errors import InputError
from accsim.mapping.sparse_core import place_of
from accsim.system import read_slice
from accsim.system.placing import PLACEMENTS, chip_rates, placements
from accsim.workload.embeddings import EmbeddingSet, Feature, Popularity, Table, Valency

ON = read_slice("tpu_v4:4x4x8")
ROOM = 20.0 * 2**30
TABLES = EmbeddingSet(
    (Table("few", 2000, 64, count=3), Table("many", 10**7, 64, popularity=Popularity(1.05, 2), count=3)),
    (Feature("f", "few", Valency(20, 20), count=3), Feature("m", "many", Valency(20, 20), count=3)),
)


@pytest.mark.parametrize(
    ("where", "network"),
    [
        # The long axis carries 128 bytes of a byte for each pair (docs/network.md), at 45 GB/s.
        ("sparse_core", 127 / 128 * 45e9), ("tensor_core", 127 / 128 * 45e9), ("host", 16e9),
        ("variable_server", 6.25e9),
    ],
)  # fmt: skip
def test_the_network_is_the_slowest_way_of_a_vector(where: str, network: float) -> None:
    assert chip_rates(ON, place_of(ON.chip, where)).network_bytes_per_s == pytest.approx(network)


@pytest.mark.parametrize("where", ["tensor_core", "host"])
def test_tables_are_placed_for_the_place_that_looks_them_up(where: str) -> None:
    """By its rates what is found for it is at least as good as what is found for SparseCores, and as rows."""
    at = place_of(ON.chip, where)
    rates = chip_rates(ON, at)

    def cost(name: str) -> float:
        found = placements(TABLES, 512, ON, place_of(ON.chip, name), "best", ROOM)[-1][0]
        return float(chip_seconds(TABLES, 512, found, rates=rates, dedup="owner", tiles=at.tiles).max())

    own = cost(where)
    (rows, _), _ = placements(TABLES, 512, ON, at, "best", ROOM)
    of_rows = float(chip_seconds(TABLES, 512, rows, rates=rates, dedup="owner", tiles=at.tiles).max())
    assert own <= of_rows * (1 + 1e-9)
    assert own <= cost("sparse_core") * 1.02  # a local search


def test_rows_are_not_cut_below_what_a_transfer_moves() -> None:
    """A TensorCore moves 512 bytes for a piece of 32 as for a whole row of 256, a tile 32."""
    widths = {}
    for where in ("sparse_core", "tensor_core"):
        found = placements(TABLES, 8192, ON, place_of(ON.chip, where), "best", ROOM)[-1][0]
        shardings = found.shardings.values()
        widths[where] = min(64 // one.chips if one.kind == "column" else 64 for one in shardings)
    assert widths["sparse_core"] < widths["tensor_core"]


def test_what_is_asked_for() -> None:
    at = place_of(ON.chip, "sparse_core")
    with pytest.raises(InputError, match=f"unknown placement 'row', allowed are {', '.join(PLACEMENTS)}"):
        placements(TABLES, 512, ON, at, "row", ROOM)
    assert len(placements(TABLES, 512, ON, at, "rows", ROOM)) == 1
    alone = read_slice("tpu_v4:1x1x1")
    assert len(placements(TABLES, 512, alone, at, "best", 2 * ROOM)) == 1

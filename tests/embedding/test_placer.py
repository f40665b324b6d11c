"""The placer: against every placement there is, and what it promises."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accsim.embedding import (
    SCOPES,
    ChipRates,
    EmbeddingSet,
    Feature,
    Placement,
    Popularity,
    Sharding,
    Table,
    Valency,
    chip_seconds,
    place,
    row_sharded,
)
from accsim.errors import InputError
from accsim.workload.catalogue import load_workload

RATES = ChipRates(memory_bytes_per_s=1.2e12, network_bytes_per_s=1e11, elements_per_s=5e11)
ROOM = 32 * 2.0**30


def cost(embeddings: EmbeddingSet, samples: int, placement: Placement, dedup: str, tiles: int) -> float:
    found = chip_seconds(embeddings, samples, placement, rates=RATES, dedup=dedup, tiles=tiles)
    return float(found.max())


@given(
    rows=st.lists(st.integers(1, 10**6), min_size=1, max_size=3), exponent=st.sampled_from([0.0, 1.05]),
    valency=st.integers(1, 20), samples=st.integers(1, 2000), dedup=st.sampled_from(SCOPES), data=st.data(),
)  # fmt: skip
@settings(max_examples=10)
def test_never_worse_than_rows_over_all_chips(
    rows: list[int], exponent: float, valency: int, samples: int, dedup: str, data: st.DataObject
) -> None:
    tables = tuple(Table(f"t{i}", n, 32, popularity=Popularity(exponent), count=i + 1) for i, n in enumerate(rows))
    features = tuple(Feature(t.name, t.name, Valency(valency, valency), count=t.count) for t in tables)
    embeddings = EmbeddingSet(tables, features)
    plain = row_sharded(embeddings, 8)
    least = int(plain.held_bytes(embeddings).max())
    room = data.draw(st.integers(least, 4 * least))
    found = place(embeddings, samples, 8, rates=RATES, chip_bytes=room, dedup=dedup, tiles=4)
    assert found.held_bytes(embeddings).max() <= room
    assert cost(embeddings, samples, found, dedup, 4) <= cost(embeddings, samples, plain, dedup, 4) * (1 + 1e-9)


@pytest.mark.parametrize("dedup", SCOPES)
def test_as_good_as_the_best_of_all_placements(dedup: str) -> None:
    tables = (
        Table("small", 20, 16), Table("hot", 10**5, 16, popularity=Popularity(1.2)), Table("large", 10**6, 32),
    )  # fmt: skip
    features = (Feature("f", "small", Valency(5, 5)), Feature("g", "hot", Valency(20, 20)), Feature("h", "large"))
    embeddings = EmbeddingSet(tables, features)
    kinds = [Sharding("replicated"), Sharding("row", 2)]
    kinds += [Sharding("table", firsts=(chip,)) for chip in (0, 1)] + [Sharding("column", 2)]
    names = [table.name for table in tables]
    every = [Placement(2, dict(zip(names, chosen, strict=True))) for chosen in product(kinds, repeat=3)]
    best = min(cost(embeddings, 500, placement, dedup, 4) for placement in every)
    found = place(embeddings, 500, 2, rates=RATES, chip_bytes=ROOM, dedup=dedup, tiles=4)
    assert cost(embeddings, 500, found, dedup, 4) <= best * 1.001


def test_small_tables_are_replicated_where_that_pays() -> None:
    tables = (Table("small", 50, 64, optimizer="sgd"), Table("large", 10**7, 64, optimizer="sgd"))
    embeddings = EmbeddingSet(tables, (Feature("f", "small", count=1), Feature("g", "large")))
    found = place(embeddings, 4096, 16, rates=RATES, chip_bytes=ROOM, dedup="owner", tiles=64)
    assert found.shardings["small"].kind == "replicated"
    assert found.shardings["large"].kind != "replicated"


def test_memory_is_kept_and_what_does_not_fit_is_named() -> None:
    embeddings = EmbeddingSet(
        (Table("a", 10**6, 32, count=3), Table("b", 50, 32)), (Feature("f", "a", count=3), Feature("g", "b"))
    )
    least = int(row_sharded(embeddings, 4).held_bytes(embeddings).max())
    found = place(embeddings, 64, 4, rates=RATES, chip_bytes=least, dedup="none", tiles=4)
    assert found == place(embeddings, 64, 4, rates=RATES, chip_bytes=least, dedup="none", tiles=4)
    assert found.held_bytes(embeddings).max() <= least
    with pytest.raises(
        InputError, match=r"would hold 192,003,328 B, allowed are 192,003,327 B: a 192,000,000 B, b 3,328 B"
    ):
        place(embeddings, 64, 4, rates=RATES, chip_bytes=least - 1, dedup="none", tiles=4)


@pytest.mark.slow  # every sharding of 26 tables
def test_dcnv2_on_128_chips() -> None:
    embeddings = load_workload("dlrm_dcnv2").embeddings
    assert embeddings is not None
    found = place(embeddings, 512, 128, rates=RATES, chip_bytes=ROOM, dedup="owner", tiles=64)
    plain = cost(embeddings, 512, row_sharded(embeddings, 128), "owner", 64)
    # Of 179 vectors a sample by rows, 100 and more are parts of the one bag of 100 and the one of 27.
    assert cost(embeddings, 512, found, "owner", 64) < 0.9 * plain
    assert found.shardings["cat_5"].kind == "replicated"  # three rows


def test_bad_numbers() -> None:
    embeddings = EmbeddingSet((Table("t", 5, 8),), (Feature("f", "t"),))
    with pytest.raises(InputError) as error:
        ChipRates(0, -1, float("nan"))
    assert len(error.value.problems) == 3
    with pytest.raises(InputError, match="chip_bytes: read -1, allowed is a number above 0"):
        place(embeddings, 1, 1, rates=RATES, chip_bytes=-1, dedup="none", tiles=1)
    assert np.isfinite(
        cost(embeddings, 1, place(embeddings, 1, 1, rates=RATES, chip_bytes=1e9, dedup="none", tiles=1), "none", 1)
    )

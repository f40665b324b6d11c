"""Placements in words, and what a step says of those that were tried."""

from __future__ import annotations

import pytest

from accsim.embedding.placement import Placement, Sharding, row_sharded
from accsim.system import train_step
from accsim.system.placement_words import placement_words
from accsim.workload.embeddings import EmbeddingSet, Feature, Table

TABLES = EmbeddingSet(
    (Table("t", 20_000, 64, count=4), Table("u", 40_000, 32)), (Feature("f", "t", count=4), Feature("g", "u"))
)


@pytest.mark.parametrize(
    ("shardings", "words"),
    [
        ({"t": Sharding("row", 64), "u": Sharding("row", 64)}, "rows over all chips"),
        ({"t": Sharding("row", 64), "u": Sharding("row", 16)}, "tables: 5 by rows"),
        ({"t": Sharding("replicated"), "u": Sharding("table")}, "tables: 4 on every chip, 1 whole"),
        ({"t": Sharding("column", 4), "u": Sharding("row", 64)}, "tables: 4 by columns, 1 by rows"),
    ],
)
def test_words_count_tables_by_how_they_lie(shardings: dict[str, Sharding], words: str) -> None:
    assert placement_words(Placement(64, shardings), TABLES) == words


def test_the_better_placement_is_taken_and_the_other_is_told() -> None:
    model, on = "dlrm_v1?batch=4096", "tpu_v4:4x4x4"
    best = train_step(model, on, placement="best", dedup="owner")
    rows = train_step(model, on, dedup="owner")
    assert not rows.other_placements_s
    ((words, seconds),) = best.other_placements_s.items()
    assert best.step_s <= 1.001 * min(rows.step_s, seconds)
    assert {best.placed, words} >= {rows.placed}
    told = {best.placed: best.step_s, words: seconds}
    assert told[rows.placed] == rows.step_s
    assert best.placement == row_sharded(best.embeddings, 64) or best.placed != rows.placed

"""How tables lie on a slice, in words."""

from __future__ import annotations

from collections import Counter
from typing import Final

from accsim.embedding.placement import Placement
from accsim.workload.embeddings import EmbeddingSet

WORDS: Final = {"replicated": "on every chip", "table": "whole", "row": "by rows", "column": "by columns"}
"""Kind of sharding -> how a table lies."""


def placement_words(placement: Placement, embeddings: EmbeddingSet) -> str:
    """How many tables are cut how.

    Examples
    --------
    >>> from accsim.embedding.placement import row_sharded
    >>> from accsim.workload.catalogue import load_workload
    >>> tables = load_workload("dlrm_dcnv2").embeddings
    >>> placement_words(row_sharded(tables, 128), tables)
    'rows over all chips'
    """
    shares = placement.shares(embeddings)
    if all(share.sharding.kind == "row" and share.sharding.chips == placement.chips for share in shares):
        return "rows over all chips"
    counts = Counter(WORDS[share.sharding.kind] for share in shares)
    parts = [f"{count} {words}" for words, count in counts.most_common()]
    return f"tables: {', '.join(parts)}"

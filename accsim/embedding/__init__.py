"""What a batch looks up in embedding tables: index traces, their statistics in closed form, dedup and imbalance."""

from accsim.embedding.imbalance import SCOPES, Imbalance, count_imbalance, expected_imbalance
from accsim.embedding.reuse import Draws, Reuse, count_reuse, expected_reuse, fit_mixture
from accsim.embedding.trace import TraceBatch, draw_batches
from accsim.embedding.trace_file import read_batch, read_batches, write_batch
from accsim.embedding.unique import Counted, Lookups, count_unique, expected_unique
from accsim.workload.embeddings import EmbeddingSet, Feature, Popularity, Table, Valency

__all__ = [
    "SCOPES",
    "Counted",
    "Draws",
    "EmbeddingSet",
    "Feature",
    "Imbalance",
    "Lookups",
    "Popularity",
    "Reuse",
    "Table",
    "TraceBatch",
    "Valency",
    "count_imbalance",
    "count_reuse",
    "count_unique",
    "draw_batches",
    "expected_imbalance",
    "expected_reuse",
    "expected_unique",
    "fit_mixture",
    "read_batch",
    "read_batches",
    "write_batch",
]

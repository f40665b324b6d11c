"""What a batch looks up in embedding tables: index traces, their statistics in closed form, dedup and imbalance.

And where tables lie on the chips of a slice, and what a step then asks of embedding units and network.
"""

from accsim.embedding.chip_time import ChipRates, chip_seconds
from accsim.embedding.imbalance import SCOPES, Imbalance, count_imbalance, expected_imbalance
from accsim.embedding.placement import SHARDINGS, Placement, Sharding, row_sharded
from accsim.embedding.placer import place
from accsim.embedding.reuse import Draws, Reuse, count_reuse, expected_reuse, fit_mixture
from accsim.embedding.step_count import count_step_work
from accsim.embedding.step_work import step_work
from accsim.embedding.trace import TraceBatch, draw_batches
from accsim.embedding.trace_file import read_batch, read_batches, write_batch
from accsim.embedding.unique import Counted, Lookups, count_unique, expected_unique
from accsim.embedding.work import Exchange, StackWork, StepWork
from accsim.workload.embeddings import EmbeddingSet, Feature, Popularity, Table, Valency

__all__ = [
    "SCOPES",
    "SHARDINGS",
    "ChipRates",
    "Counted",
    "Draws",
    "EmbeddingSet",
    "Exchange",
    "Feature",
    "Imbalance",
    "Lookups",
    "Placement",
    "Popularity",
    "Reuse",
    "Sharding",
    "StackWork",
    "StepWork",
    "Table",
    "TraceBatch",
    "Valency",
    "chip_seconds",
    "count_imbalance",
    "count_reuse",
    "count_step_work",
    "count_unique",
    "draw_batches",
    "expected_imbalance",
    "expected_reuse",
    "expected_unique",
    "fit_mixture",
    "place",
    "read_batch",
    "read_batches",
    "row_sharded",
    "step_work",
    "write_batch",
]

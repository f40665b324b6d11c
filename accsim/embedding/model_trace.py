"""Traces for a model: its features, in its own order, read its own tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from accsim.embedding.trace import TraceBatch, model_features
from accsim.embedding.trace_file import read_batch
from accsim.errors import InputError, Problem
from accsim.workload.embeddings import EmbeddingSet

Trace = TraceBatch | str | Path
"""A batch, or the path of a file that has one."""


def model_batch(trace: Trace, embeddings: EmbeddingSet) -> TraceBatch:
    """A batch as lookups of a model.

    Parameters
    ----------
    trace
        Features are the model's, those alike one by one. Of a file, bags may be empty where a feature's may.
    embeddings
        Tables and features.

    Raises
    ------
    InputError
        If it has other than the model's features, and as `accsim.embedding.read_batch`. Ids of an array are looked at
        where they are counted.
    """
    features = model_features(embeddings)
    if isinstance(trace, TraceBatch):
        if len(trace.tables) != len(features.names):
            message = f"read {len(trace.tables)}, allowed are the {len(features.names)} of the model"
            raise InputError(Problem("trace", "features", message))
        found = trace
    else:
        empty = any(feature.valency.least == 0 for feature in embeddings.features)
        found = read_batch(trace, rows=features.rows[features.tables].tolist(), empty_bags=empty)
    return replace(found, tables=features.tables, rows=features.rows, names=features.names)

"""Recommendation models: embeddings of categorical features that meet the dense ones, between two perceptrons."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from accsim.config.checks import MAX_SIZE
from accsim.config.fields import Wording
from accsim.config.reader import PlacedError, Wrong
from accsim.workload.backward import backward, update
from accsim.workload.embedding_form import FeatureForm, Features, TableForm, Tables, embedding_set, placed
from accsim.workload.embeddings import EmbeddingSet
from accsim.workload.models.base import Block, Count, Hyperparameters, ModelFile, Parameters
from accsim.workload.trace import Entry


def _widths(text: str) -> tuple[int, ...]:
    """Widths of the layers of a perceptron."""
    return tuple(int(width) for width in text.split("-"))


def _in_range(text: str) -> str:
    if not all(1 <= width <= MAX_SIZE for width in _widths(text)):
        raise ValueError("allowed are widths from 1 to 2^40 - 1")
    return text


Layers = Annotated[
    str,
    Field(pattern=r"^\d{1,13}(-\d{1,13}){0,63}$"),
    AfterValidator(_in_range),
    Wording("widths of layers with '-' in between, such as 512-256-128"),
]


class DlrmHyperparameters(Hyperparameters):
    """The shape of a DLRM without its tables.

    Sources: Naumov et al., arXiv 1906.00091, section 2 (perceptrons, interaction by dot products); Wang et al., arXiv
    2008.13535, section 3.4 (low-rank cross layers of DCN-V2); TorchRec's ``InteractionDCNArch`` (cross layers in place
    of the dot products).
    """

    dense_features: Count
    """Numbers of a sample that are no category."""
    bottom_mlp: Layers
    """Widths of the layers that the dense features pass; the last is embedding_dim."""
    top_mlp: Layers
    """Widths of the layers behind the interaction."""
    sparse_features: Count
    """Categorical features."""
    embedding_dim: Count
    """Width of each feature's vector."""
    interaction: Literal["dot", "dcn", "concat"]
    """How vectors meet: dot products of all pairs, cross layers, or not before the top layers."""
    cross_layers: Count | None = None
    """With dcn: number of cross layers."""
    cross_rank: Count | None = None
    """With dcn: columns of the first, and rows of the second matrix of a cross layer."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        wrong = []
        last = _widths(self.bottom_mlp)[-1]
        if last != self.embedding_dim:
            message = f"read a last width of {last}, allowed is that of the other vectors, embedding_dim"
            wrong.append(Wrong(("bottom_mlp",), f"{message} = {self.embedding_dim}"))
        for name in ("cross_layers", "cross_rank"):
            if (self.interaction == "dcn") != (getattr(self, name) is not None):
                needed = "needed with" if self.interaction == "dcn" else "allowed only with"
                wrong.append(Wrong((name,), f"{needed} interaction: dcn"))
        if wrong:
            raise PlacedError(wrong)
        return self

    @property
    def vectors(self) -> int:
        """Vectors of a sample that meet: the features', and that of the bottom layers."""
        return self.sparse_features + 1

    @property
    def joined(self) -> int:
        """Width of all vectors side by side."""
        return self.vectors * self.embedding_dim

    @property
    def bottom(self) -> tuple[int, ...]:
        """Widths before and behind each bottom layer."""
        return self.dense_features, *_widths(self.bottom_mlp)

    @property
    def top(self) -> tuple[int, ...]:
        """Widths before and behind each top layer."""
        pairs = self.vectors * (self.vectors - 1) // 2
        return self.embedding_dim + pairs if self.interaction == "dot" else self.joined, *_widths(self.top_mlp)

    def parameter_count(self) -> int:
        """Parameters of the dense network; every layer has a bias."""
        linear = sum((k + 1) * n for widths in (self.bottom, self.top) for k, n in pairwise(widths))
        cross = (self.cross_layers or 0) * self.joined * (2 * (self.cross_rank or 0) + 1)
        return linear + cross


class DlrmParameters(Parameters):
    """What a DLRM is run with."""

    batch: Count = 1
    """Samples at a time."""
    part: Literal["all", "dense"] = "all"
    """dense: without the lookups."""
    phase: Literal["inference", "training"] = "inference"
    """training: the dense network's backward pass and update behind the forward pass. Those of the tables are the
    embedding unit's."""


class Dlrm(ModelFile):
    """One pass over a batch of samples: forward, or a training step's."""

    shape = DlrmHyperparameters

    architecture: Literal["dlrm"]
    """Key of the code that expands it."""
    parameters: DlrmParameters = DlrmParameters()
    """Defaults of what it is run with; each may be set by a query."""
    hyperparameters: DlrmHyperparameters
    """Its shape."""
    tables: Tables
    """Embedding tables."""
    features: Features
    """Categorical features."""

    @model_validator(mode="after")
    def _tables_fit(self) -> Self:
        found = placed(self.tables_and_features)
        h = self.hyperparameters
        wrong = [
            Wrong(("tables", i, "width"), f"read {table.width}, allowed is embedding_dim = {h.embedding_dim}")
            for i, table in enumerate(self.tables)
            if table.width != h.embedding_dim
        ]
        if found.feature_count != h.sparse_features:
            message = f"read {h.sparse_features}, allowed is what features add up to, {found.feature_count}"
            wrong.append(Wrong(("hyperparameters", "sparse_features"), message))
        if wrong:
            raise PlacedError(wrong)
        return self

    def noted_paths(self) -> list[str]:
        """Dotted paths of the values that `estimated` may speak of; all tables, and all features, are one."""
        of_tables = [f"tables.{name}" for name in TableForm.model_fields]
        return [*super().noted_paths(), *of_tables, *(f"features.{name}" for name in FeatureForm.model_fields)]

    def tables_and_features(self) -> EmbeddingSet:
        """The embedding tables, and the features that read them."""
        return embedding_set(self.tables, self.features)

    def parameter_count(self) -> int:
        """Learned parameters, tables included."""
        return super().parameter_count() + self.tables_and_features().parameter_count

    def entries(self) -> tuple[Entry, ...]:
        """Lookups, bottom layers, interaction, top layers; in training, their gradients and the update."""
        p, h = self.parameters, self.hyperparameters
        lookups = self._lookups() if p.part == "all" else []
        bottom = self._layers("bottom", h.bottom, "relu")
        dense = (*bottom, *self._interaction(), *self._layers("top", h.top, "sigmoid"))
        trained = (*backward(dense, first=bottom[0].name), *update(dense)) if p.phase == "training" else ()
        return (*lookups, *dense, *trained)

    def _lookups(self) -> list[Entry]:
        """The bags of each feature; features alike are repeats."""
        batch, found = self.parameters.batch, self.tables_and_features()
        entries = []
        for feature in found.features:
            table = found.table(feature.table)
            block = Block(table.dtype, feature.count, "lookup.")
            lookups = max(batch, round(batch * feature.valency.mean))
            entries.append(block.bags(feature.name, batch, lookups, table.rows, table.width))
        return entries

    def _layers(self, name: str, widths: tuple[int, ...], last: str) -> list[Entry]:
        """Products, each with its activation; that of the last one is `last`."""
        batch, once = self.parameters.batch, Block(self.parameters.dtype, 1, f"{name}.")
        entries = []
        for i, (k, n) in enumerate(pairwise(widths), start=1):
            entries.append(once.linear(f"linear{i}", batch, n, k))
            entries.append(once.elementwise(f"act{i}", batch * n, "relu" if i < len(widths) - 1 else last))
        return entries

    def _interaction(self) -> list[Entry]:
        """What joins the vectors."""
        batch, h = self.parameters.batch, self.hyperparameters
        once = Block(self.parameters.dtype, 1, "interaction.")
        if h.interaction == "dot":
            pairs = once.product("pairs", batch, h.vectors, h.vectors, h.embedding_dim)
            return [pairs, once.elementwise("join", batch * h.top[0], "copy")]
        entries = [once.elementwise("join", batch * h.joined, "copy")]
        cross = Block(self.parameters.dtype, h.cross_layers or 0, "cross.")
        if h.cross_rank is not None:
            entries += [
                cross.linear("down", batch, h.cross_rank, h.joined),
                cross.linear("up", batch, h.joined, h.cross_rank),
                cross.elementwise("times_first", batch * h.joined, "multiply"),
                cross.elementwise("add", batch * h.joined, "add"),
            ]
        return entries

"""What the architectures share: their file's common keys, and a writer of entries."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import Field, model_validator

from accsim.config.fields import Name, Notes, Text
from accsim.config.frozen import FrozenDict
from accsim.config.reader import FileModel, PlacedError, Wrong
from accsim.errors import nearest
from accsim.workload.embeddings import EmbeddingSet
from accsim.workload.fields import Count as Count
from accsim.workload.fields import Dtype as Dtype
from accsim.workload.ops import Attention, Conv2d, Elementwise, Embedding, EmbeddingBag, Gemm, Norm, Op
from accsim.workload.ops_base import FROM_OTHERS
from accsim.workload.trace import Entry, Workload

After = tuple[str, ...]
"""Names of entries to wait for; empty for the one before."""


class Hyperparameters(FileModel):
    """The shape of a model."""

    @abstractmethod
    def parameter_count(self) -> int:
        """Learned parameters, embeddings, biases and norms included."""


class Parameters(FileModel):
    """What a model is run with."""

    batch: Count = 1
    """Sequences at a time."""
    dtype: Dtype = "bf16"
    """Data type of weights and activations."""


class ModelFile(FileModel):
    """A model as its file gives it."""

    shape: ClassVar[type[Hyperparameters]]
    """Class of `hyperparameters`."""

    name: Name
    """Name in reports."""
    architecture: str
    """Key of the code that expands it."""
    parameters: Parameters
    """Defaults of what it is run with; each may be set by a query, as in ``bert_base?seq=4096``."""
    hyperparameters: Hyperparameters
    """Its shape."""
    source: Text
    """Where the hyperparameters come from."""
    estimated: Notes = Field(default_factory=FrozenDict)
    """Dotted path of a value that is not from the source, to the reason why."""

    @abstractmethod
    def entries(self) -> tuple[Entry, ...]:
        """The ops of one forward pass."""

    def noted_paths(self) -> list[str]:
        """Dotted paths of the values that `estimated` may speak of."""
        sections: Mapping[str, FileModel] = {"parameters": self.parameters, "hyperparameters": self.hyperparameters}
        return [f"{section}.{name}" for section, part in sections.items() for name in type(part).model_fields]

    def parameter_count(self) -> int:
        """Learned parameters of the whole model."""
        return self.hyperparameters.parameter_count()

    @model_validator(mode="after")
    def _notes_lead_somewhere(self) -> Self:
        known = self.noted_paths()
        wrong = [
            Wrong(("estimated", path), f"no value '{path}' in this file", nearest(path, known), key=True)
            for path in self.estimated
            if path not in known
        ]
        if wrong:
            raise PlacedError(wrong)
        return self

    def workload(self) -> Workload:
        """The expanded model.

        Raises
        ------
        InputError
            If a product of the parameters is too large for an op.
        """
        return Workload(
            name=self.name,
            entries=self.entries(),
            parameters=FrozenDict(self.parameters.model_dump(exclude_none=True)),
            source=self.source,
            architecture=self.architecture,
            hyperparameters=FrozenDict(self.hyperparameters.model_dump(exclude_none=True)),
            embeddings=self.tables_and_features(),
        )

    def tables_and_features(self) -> EmbeddingSet | None:
        """The embedding tables of a recommendation model and the features that read them; None of any other."""
        return None


def check_heads(d_model: int, heads: int) -> None:
    """Raise a `PlacedError` at ``heads`` if the heads do not share the model's width evenly."""
    if d_model % heads:
        raise PlacedError([Wrong(("heads",), f"read {heads}, allowed is a divisor of d_model = {d_model}")])


@dataclass(frozen=True)
class Block:
    """Writes entries that share their data types, a repeat and the start of their names."""

    dtype: str
    repeat: int = 1
    prefix: str = ""
    weight_dtype: str | None = None
    """Data type of the weights of products; None for `dtype`."""

    def _entry(self, op: Op, after: After) -> Entry:
        return Entry(op, self.repeat, after=after)

    def linear(self, name: str, rows: int, n: int, k: int, after: After = ()) -> Entry:
        """A product with a k x n weight; its bias, if any, is where the accumulators start from and costs nothing."""
        op = Gemm(rows, n, k, dtype=self.dtype, name=self.prefix + name, weight_dtype=self.weight_dtype)
        return self._entry(op, after)

    def grouped(self, name: str, rows: int, n: int, k: int, groups: int) -> Entry:
        """A product of `rows` rows in each of several groups with a k x n weight of its own: experts, or heads."""
        op = Gemm(rows, n, k, groups, self.dtype, self.prefix + name, grouped=True, weight_dtype=self.weight_dtype)
        return self._entry(op, ())

    def kv_append(self, elements: int, kv_dtype: str | None) -> Entry:
        """New keys and values on their way to the cache, in its data type."""
        op = Elementwise(elements, "copy", dtype=self.dtype, name=f"{self.prefix}kv_append", out_dtype=kv_dtype)
        return self._entry(op, ())

    def product(self, name: str, batch: int, m: int, n: int, k: int) -> Entry:
        """A product of two activations for every batch element."""
        return self._entry(Gemm(m, n, k, batch, self.dtype, self.prefix + name, weights=False), ())

    def embedding(self, name: str, tokens: int, vocab: int, dim: int, *, tied: bool = False) -> Entry:
        """A row of a table for each token; tied, a product of the model has the table as its weight."""
        return self._entry(Embedding(tokens, dim, vocab, self.dtype, self.prefix + name, tied), ())

    def bags(self, name: str, bags: int, lookups: int, vocab: int, dim: int) -> Entry:
        """The sum of some rows of a table for each bag."""
        return self._entry(EmbeddingBag(bags, lookups, dim, vocab, self.dtype, self.prefix + name), ())

    def conv(
        self,
        name: str,
        batch: int,
        channels: tuple[int, int],
        height: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        after: After = (),
    ) -> Entry:
        """A convolution from `channels[0]` to `channels[1]` channels of a square map; its bias costs nothing."""
        op = Conv2d(
            *channels, height, kernel, batch=batch, stride=stride, padding=padding, dtype=self.dtype,
            name=self.prefix + name,
        )  # fmt: skip
        return self._entry(op, after)

    def norm(self, name: str, rows: int, cols: int, function: str, after: After = ()) -> Entry:
        """A normalization of each row."""
        return self._entry(Norm(rows, cols, function, self.dtype, self.prefix + name), after)

    def elementwise(
        self, name: str, elements: int, function: str, inputs: int = FROM_OTHERS, after: After = ()
    ) -> Entry:
        """A function of each element."""
        return self._entry(Elementwise(elements, function, inputs, self.dtype, self.prefix + name), after)


@dataclass(frozen=True)
class MultiHead:
    """Shape of an attention sublayer with as many key heads as query heads."""

    batch: int
    q_len: int
    kv_len: int
    d_model: int
    heads: int
    head_dim: int
    causal: bool = False

    def entries(self, block: Block, query: str, memory: str, *, score_bias: bool = False) -> list[Entry]:
        """Projections of queries, keys and values, attention, output projection.

        Parameters
        ----------
        block
            Writer of the entries.
        query, memory
            Names of the entries that give the queries' and the keys' input.
        score_bias
            True: a tensor is added to the scores, as an op of its own before the attention.
        """
        inner = self.heads * self.head_dim
        q_rows, kv_rows = self.batch * self.q_len, self.batch * self.kv_len
        shape = (self.batch, self.heads, self.q_len, self.kv_len, self.head_dim, self.heads, self.causal)
        attention = Attention(*shape, dtype=block.dtype, name=f"{block.prefix}attention")
        ready = tuple(block.prefix + name for name in ("q_proj", "k_proj", "v_proj"))
        out = [
            block.linear("q_proj", q_rows, inner, self.d_model, (query,)),
            block.linear("k_proj", kv_rows, inner, self.d_model, (memory,)),
            block.linear("v_proj", kv_rows, inner, self.d_model, (memory,)),
        ]
        if score_bias:
            out.append(block.elementwise("score_bias", attention.scores, "add", after=ready[:2]))
            ready = (*ready, f"{block.prefix}score_bias")
        out.append(Entry(attention, block.repeat, after=ready))
        out.append(block.linear("o_proj", q_rows, self.d_model, inner))
        return out

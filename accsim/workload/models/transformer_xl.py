"""Transformer-XL: segments that attend to a memory of earlier ones, relative positions, adaptive softmax."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from accsim.config.checks import MAX_SIZE
from accsim.config.reader import PlacedError, Wrong
from accsim.workload.models.base import Block, Count, Hyperparameters, ModelFile, Parameters
from accsim.workload.ops import Attention, Gemm
from accsim.workload.trace import Entry


class TransformerXlHyperparameters(Hyperparameters):
    """The shape of a Transformer-XL; source: Dai et al., arXiv 1901.02860, sections 3.3 and 4, and its released code.

    The vocabulary is split into a head of frequent tokens and three tails (adaptive softmax: Grave et al., arXiv
    1609.04309; adaptive inputs: Baevski and Auli, arXiv 1809.10853).
    """

    layers: Count
    """Layers."""
    d_model: Count
    """Width of the hidden state."""
    heads: Count
    """Attention heads."""
    head_dim: Count
    """Width of one head; heads x head_dim may differ from d_model."""
    d_ff: Count
    """Width between the two feed-forward products."""
    vocab: Count
    """Tokens of the vocabulary; those of no other part are the last tail."""
    head_tokens: Count
    """Tokens of the head."""
    tail1_tokens: Count
    """Tokens of the first tail."""
    tail2_tokens: Count
    """Tokens of the second tail."""
    narrowing: Annotated[int, Field(ge=1, le=64)] = 1
    """Width of an embedding over that of the next part; above 1, projections lead from each to d_model and back."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        wrong = []
        if self.head_tokens + self.tail1_tokens + self.tail2_tokens >= self.vocab:
            wrong.append(Wrong(("vocab",), f"read {self.vocab}, allowed is more than head, tail1 and tail2 have"))
        if self.d_model % self.narrowing**3:
            message = f"read {self.narrowing}, allowed is a number whose cube divides d_model = {self.d_model}"
            wrong.append(Wrong(("narrowing",), message))
        if wrong:
            raise PlacedError(wrong)
        return self

    @property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """(tokens, width of the embedding) of the head and of each tail."""
        sizes = (self.head_tokens, self.tail1_tokens, self.tail2_tokens)
        whole = (*sizes, self.vocab - sum(sizes))
        return tuple((tokens, self.d_model // self.narrowing**i) for i, tokens in enumerate(whole))

    def parameter_count(self) -> int:
        """Parameters; the output shares the embeddings and, but for the head, their projections.

        Each layer has position biases of its own; only the feed-forward products, the norms and the output have biases.
        """
        d, inner = self.d_model, self.heads * self.head_dim
        attention = 5 * d * inner + 2 * inner
        feed_forward = 2 * d * self.d_ff + self.d_ff + d
        tables = sum(tokens * width for tokens, width in self.parts)
        projections = (sum(d * width for _, width in self.parts) + d * d) if self.narrowing > 1 else 0
        output = self.vocab + 3 * (d + 1)
        return tables + projections + output + self.layers * (attention + feed_forward + 4 * d)


class TransformerXlParameters(Parameters):
    """What a Transformer-XL is run with."""

    seq: Count
    """Tokens of the segment."""
    memory: Annotated[int, Field(ge=0, le=MAX_SIZE)] = 0
    """Tokens before the segment whose hidden states every layer keeps and attends to."""
    position_bias: Literal["fused", "separate"] = "fused"
    """fused: the scores' accumulators start from the position scores, at no cost; separate: an op of its own adds them
    to the scores in memory."""


class TransformerXl(ModelFile):
    """One forward pass over a segment, with the probabilities of all tokens at every place."""

    shape = TransformerXlHyperparameters

    architecture: Literal["transformer_xl"]
    """Key of the code that expands it."""
    parameters: TransformerXlParameters
    """Defaults of what it is run with; each may be set by a query."""
    hyperparameters: TransformerXlHyperparameters
    """Its shape."""

    def entries(self) -> tuple[Entry, ...]:
        """Embedding, layers, output."""
        return (*self._embedding(), *self._attention(), *self._feed_forward(), *self._output())

    @property
    def _rows(self) -> int:
        return self.parameters.batch * self.parameters.seq

    def _embedding(self) -> list[Entry]:
        h, once = self.hyperparameters, Block(self.parameters.dtype)
        entries = [once.embedding("token_embedding", self._rows, h.head_tokens, h.d_model, tied=True)]
        if h.narrowing > 1:
            entries.append(once.linear("embedding_proj", self._rows, h.d_model, h.d_model))
        return entries

    def _attention(self) -> list[Entry]:
        p, h = self.parameters, self.hyperparameters
        block, rows, inner, keys = Block(p.dtype, h.layers), self._rows, h.heads * h.head_dim, p.seq + p.memory
        attention = Attention(p.batch, h.heads, p.seq, keys, h.head_dim, causal=True, dtype=p.dtype)
        positions = Gemm(rows, keys, h.head_dim, h.heads, p.dtype, "position_scores", weights=False)
        ready = ("query_bias", "kv_proj", "position_scores")
        bias = block.elementwise("score_bias", attention.scores, "add", after=ready)
        separate = p.position_bias == "separate"
        return [
            block.linear("q_proj", rows, inner, h.d_model),
            block.linear("kv_proj", p.batch * keys, 2 * inner, h.d_model),
            block.linear("position_proj", keys, inner, h.d_model),
            block.elementwise("query_bias", 2 * rows * inner, "add", 1, after=("q_proj",)),
            Entry(positions, h.layers, after=("query_bias", "position_proj")),
            *([bias] if separate else []),
            Entry(attention, h.layers, after=("score_bias",) if separate else ready),
            block.linear("o_proj", rows, h.d_model, inner),
            block.elementwise("attention_residual", rows * h.d_model, "add"),
            block.norm("attention_norm", rows, h.d_model, "layer"),
        ]

    def _feed_forward(self) -> list[Entry]:
        h, block, rows = self.hyperparameters, Block(self.parameters.dtype, self.hyperparameters.layers), self._rows
        return [
            block.linear("ffn_up", rows, h.d_ff, h.d_model),
            block.elementwise("ffn_act", rows * h.d_ff, "relu"),
            block.linear("ffn_down", rows, h.d_model, h.d_ff),
            block.elementwise("ffn_residual", rows * h.d_model, "add"),
            block.norm("ffn_norm", rows, h.d_model, "layer"),
        ]

    def _output(self) -> list[Entry]:
        h, once, entries = self.hyperparameters, Block(self.parameters.dtype), []
        for i, (tokens, width) in enumerate(h.parts):
            name = "head" if i == 0 else f"tail{i}"
            if h.narrowing > 1:
                entries.append(once.linear(f"{name}_proj", self._rows, width, h.d_model))
            entries.append(once.linear(name, self._rows, tokens + (3 if i == 0 else 0), width))
        return entries

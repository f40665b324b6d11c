"""Encoders that normalize after each sublayer: BERT, XLM, FlauBERT."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from accsim.workload.models.base import Block, Count, Hyperparameters, ModelFile, MultiHead, Parameters, check_heads
from accsim.workload.trace import Entry


class EncoderHyperparameters(Hyperparameters):
    """The shape of an encoder; source: Devlin et al., arXiv 1810.04805, section 3."""

    layers: Count
    """Encoder layers."""
    d_model: Count
    """Width of the hidden state."""
    heads: Count
    """Attention heads, a divisor of d_model."""
    d_ff: Count
    """Width between the two feed-forward products."""
    vocab: Count
    """Tokens of the embedding table."""
    positions: Count = 512
    """Learned positions; counted as parameters only, a longer sequence is not refused."""
    segments: Annotated[int, Field(ge=0, le=1024)] = 2
    """Learned segment (token type) embeddings; 0 for none."""
    pooler: bool = True
    """True if a dense layer with tanh works on the first token of each sequence."""
    activation: Literal["gelu", "relu", "silu"] = "gelu"
    """Function between the two feed-forward products."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        check_heads(self.d_model, self.heads)
        return self

    def parameter_count(self) -> int:
        """Parameters without a language-model head; with the pooler where there is one."""
        d = self.d_model
        embeddings = (self.vocab + self.positions + self.segments) * d + 2 * d
        attention = 4 * (d * d + d)
        feed_forward = 2 * d * self.d_ff + self.d_ff + d
        layer = attention + feed_forward + 2 * 2 * d
        return embeddings + self.layers * layer + self.pooler * (d * d + d)


class EncoderParameters(Parameters):
    """What an encoder is run with."""

    seq: Count = 512
    """Tokens of a sequence."""


class Encoder(ModelFile):
    """One forward pass over whole sequences, without padding."""

    shape = EncoderHyperparameters

    architecture: Literal["encoder"]
    """Key of the code that expands it."""
    parameters: EncoderParameters = EncoderParameters()
    """Defaults of what it is run with; each may be set by a query."""
    hyperparameters: EncoderHyperparameters
    """Its shape."""

    def entries(self) -> tuple[Entry, ...]:
        """Embedding, layers, pooler."""
        return (*self._embedding(), *self._layers(), *self._pooler())

    def _embedding(self) -> list[Entry]:
        p, h = self.parameters, self.hyperparameters
        block, rows = Block(p.dtype), p.batch * p.seq
        added = 3 if h.segments else 2
        return [
            block.embedding("token_embedding", rows, h.vocab, h.d_model),
            block.elementwise("embedding_add", rows * h.d_model, "add", added),
            block.norm("embedding_norm", rows, h.d_model, "layer"),
        ]

    def _layers(self) -> list[Entry]:
        p, h = self.parameters, self.hyperparameters
        block, rows = Block(p.dtype, h.layers), p.batch * p.seq
        attention = MultiHead(p.batch, p.seq, p.seq, h.d_model, h.heads, h.d_model // h.heads)
        return [
            *attention.entries(block, "embedding_norm", "embedding_norm"),
            block.elementwise("attention_residual", rows * h.d_model, "add"),
            block.norm("attention_norm", rows, h.d_model, "layer"),
            block.linear("ffn_up", rows, h.d_ff, h.d_model),
            block.elementwise("ffn_act", rows * h.d_ff, h.activation),
            block.linear("ffn_down", rows, h.d_model, h.d_ff),
            block.elementwise("ffn_residual", rows * h.d_model, "add"),
            block.norm("ffn_norm", rows, h.d_model, "layer"),
        ]

    def _pooler(self) -> list[Entry]:
        p, h = self.parameters, self.hyperparameters
        if not h.pooler:
            return []
        block = Block(p.dtype)
        return [
            block.linear("pooler", p.batch, h.d_model, h.d_model),
            block.elementwise("pooler_act", p.batch * h.d_model, "tanh"),
        ]

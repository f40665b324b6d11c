"""Decoders with learned positions, layer norm before each sublayer, and biases: GPT-2, GPT-3."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from accsim.workload.models.base import Block, Count, Hyperparameters, ModelFile, check_heads
from accsim.workload.models.decoder import DecoderParameters
from accsim.workload.ops import Attention
from accsim.workload.trace import Entry


class GptHyperparameters(Hyperparameters):
    """The shape of a GPT; source: Radford et al., 2019, section 2.3; Brown et al., arXiv 2005.14165, Table 2.1."""

    layers: Count
    """Decoder layers."""
    d_model: Count
    """Width of the hidden state."""
    heads: Count
    """Attention heads, a divisor of d_model."""
    d_ff: Count
    """Width between the two feed-forward products."""
    vocab: Count
    """Tokens of the embedding table, which the output product uses too."""
    positions: Count
    """Learned positions; counted as parameters only, a longer sequence is not refused."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        check_heads(self.d_model, self.heads)
        return self

    def parameter_count(self) -> int:
        """Parameters; every product of a layer has a bias, the output product has none and no table of its own."""
        d = self.d_model
        attention = 4 * (d * d + d)
        feed_forward = 2 * d * self.d_ff + self.d_ff + d
        return (self.vocab + self.positions) * d + self.layers * (attention + feed_forward + 2 * 2 * d) + 2 * d


class Gpt(ModelFile):
    """One forward pass: a prefill, or one step of decoding."""

    shape = GptHyperparameters

    architecture: Literal["gpt"]
    """Key of the code that expands it."""
    parameters: DecoderParameters
    """Defaults of what it is run with; each may be set by a query."""
    hyperparameters: GptHyperparameters
    """Its shape."""

    def entries(self) -> tuple[Entry, ...]:
        """Embedding, layers, and the output product for the last token of each sequence."""
        p, h = self.parameters, self.hyperparameters
        rows = p.batch * p.new_tokens
        once = Block(p.dtype)
        return (
            once.embedding("token_embedding", rows, h.vocab, h.d_model, tied=True),
            once.elementwise("position_add", rows * h.d_model, "add"),
            *self._layers(rows),
            once.norm("final_norm", rows, h.d_model, "layer"),
            once.linear("lm_head", p.batch, h.vocab, h.d_model),
        )

    def _layers(self, rows: int) -> list[Entry]:
        p, h = self.parameters, self.hyperparameters
        block, width = Block(p.dtype, h.layers, weight_dtype=p.weight_dtype), h.d_model // h.heads
        attention = Attention(
            p.batch, h.heads, p.new_tokens, p.keys, width, causal=True, dtype=p.dtype, kv_dtype=p.kv_dtype
        )
        return [
            block.norm("attention_norm", rows, h.d_model, "layer"),
            block.linear("qkv_proj", rows, 3 * h.d_model, h.d_model),
            block.kv_append(rows * 2 * h.d_model, p.kv_dtype),
            Entry(attention, h.layers),
            block.linear("o_proj", rows, h.d_model, h.d_model),
            block.elementwise("attention_residual", rows * h.d_model, "add"),
            block.norm("ffn_norm", rows, h.d_model, "layer"),
            block.linear("ffn_up", rows, h.d_ff, h.d_model),
            block.elementwise("ffn_act", rows * h.d_ff, "gelu"),
            block.linear("ffn_down", rows, h.d_model, h.d_ff),
            block.elementwise("ffn_residual", rows * h.d_model, "add"),
        ]

"""Decoders with grouped-query attention, RMS norm, rotary positions and a gated feed-forward layer: Llama, Mistral."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from accsim.config.checks import COUNT_TEXT
from accsim.config.reader import PlacedError, Wrong
from accsim.workload.models.base import Block, Count, Dtype, Hyperparameters, ModelFile, Parameters, check_heads
from accsim.workload.ops import Attention
from accsim.workload.trace import Entry


class DecoderHyperparameters(Hyperparameters):
    """The shape of a decoder; source: Grattafiori et al., arXiv 2407.21783, section 3.2 and Table 3."""

    layers: Count
    """Decoder layers."""
    d_model: Count
    """Width of the hidden state."""
    heads: Count
    """Query heads."""
    kv_heads: Count
    """Heads of keys and values, a divisor of heads."""
    head_dim: Count | None = None
    """Width of one head; default: d_model / heads."""
    d_ff: Count
    """Width of the gated product."""
    vocab: Count
    """Tokens of the embedding table."""
    window: Count | None = None
    """Most keys that a token sees, its own and those before it (sliding-window attention); default: all."""
    tied_embeddings: bool = False
    """True if the output product uses the embedding table."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.heads % self.kv_heads:
            wrong = f"read {self.kv_heads}, allowed is a divisor of heads = {self.heads}"
            raise PlacedError([Wrong(("kv_heads",), wrong)])
        if self.head_dim is None:
            check_heads(self.d_model, self.heads)
        return self

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return self.head_dim or self.d_model // self.heads

    def parameter_count(self) -> int:
        """Parameters; no product has a bias, norms have a scale alone."""
        d, width = self.d_model, self.head_width
        attention = 2 * d * (self.heads + self.kv_heads) * width
        layer = attention + 3 * d * self.d_ff + 2 * d
        tables = 1 if self.tied_embeddings else 2
        return tables * self.vocab * d + self.layers * layer + d


class DecoderParameters(Parameters):
    """What a decoder is run with."""

    phase: Literal["prefill", "decode"] = "prefill"
    """prefill: all tokens of a prompt at once; decode: one more token of each sequence."""
    seq: Count | None = None
    """Prefill only: new tokens of each sequence."""
    kv_len: Count | None = None
    """Keys of each sequence, the new tokens' included; for prefill, default seq."""
    weight_dtype: Dtype | None = None
    """Data type of the weights of the layers' products; default: dtype, as embeddings and output product have."""
    kv_dtype: Dtype | None = None
    """Data type of the KV cache, which attention reads also in prefill; default: dtype."""

    @model_validator(mode="after")
    def _lengths_fit_the_phase(self) -> Self:
        wrong: list[Wrong] = []
        if self.phase == "decode":
            if self.kv_len is None:
                wrong.append(Wrong(("kv_len",), f"missing, needed for the phase decode is {COUNT_TEXT}"))
            if self.seq is not None:
                allowed = "allowed are batch, dtype, kv_dtype, kv_len, weight_dtype"
                message = f"not a parameter of the phase decode, which makes one token; {allowed}"
                wrong.append(Wrong(("seq",), message, "kv_len", key=True))
        elif self.seq is None:
            wrong.append(Wrong(("seq",), f"missing, needed for the phase prefill is {COUNT_TEXT}"))
        elif self.kv_len is not None and self.kv_len < self.seq:
            wrong.append(Wrong(("kv_len",), f"read {self.kv_len}, allowed is at least seq = {self.seq}"))
        if wrong:
            raise PlacedError(wrong)
        return self

    @property
    def new_tokens(self) -> int:
        """Tokens of each sequence that this pass works on."""
        return self.seq or 1

    @property
    def keys(self) -> int:
        """Keys of each sequence."""
        return self.kv_len or self.new_tokens


class Decoder(ModelFile):
    """One forward pass: a prefill, or one step of decoding."""

    shape = DecoderHyperparameters

    architecture: Literal["decoder"]
    """Key of the code that expands it."""
    parameters: DecoderParameters
    """Defaults of what it is run with; each may be set by a query."""
    hyperparameters: DecoderHyperparameters
    """Its shape."""

    def entries(self) -> tuple[Entry, ...]:
        """Embedding, layers, and the output product for the last token of each sequence."""
        p, h = self.parameters, self.hyperparameters
        rows = p.batch * p.new_tokens
        once = Block(p.dtype)
        return (
            once.embedding("token_embedding", rows, h.vocab, h.d_model, tied=h.tied_embeddings),
            *self._attention(rows),
            *self._feed_forward(rows),
            once.norm("final_norm", rows, h.d_model, "rms"),
            once.linear("lm_head", p.batch, h.vocab, h.d_model),
        )

    def _attention(self, rows: int) -> list[Entry]:
        p, h = self.parameters, self.hyperparameters
        block, width = Block(p.dtype, h.layers, weight_dtype=p.weight_dtype), h.head_width
        attention = Attention(
            batch=p.batch,
            heads=h.heads,
            q_len=p.new_tokens,
            kv_len=p.keys,
            head_dim=width,
            kv_heads=h.kv_heads,
            causal=True,
            dtype=p.dtype,
            window=h.window,
            kv_dtype=p.kv_dtype,
        )
        return [
            block.norm("attention_norm", rows, h.d_model, "rms"),
            block.linear("qkv_proj", rows, (h.heads + 2 * h.kv_heads) * width, h.d_model),
            block.elementwise("rope", rows * (h.heads + h.kv_heads) * width, "rope"),
            block.kv_append(rows * 2 * h.kv_heads * width, p.kv_dtype),
            Entry(attention, h.layers),
            block.linear("o_proj", rows, h.d_model, h.heads * width),
            block.elementwise("attention_residual", rows * h.d_model, "add"),
        ]

    def _feed_forward(self, rows: int) -> list[Entry]:
        p, h = self.parameters, self.hyperparameters
        block = Block(p.dtype, h.layers, weight_dtype=p.weight_dtype)
        return [
            block.norm("ffn_norm", rows, h.d_model, "rms"),
            block.linear("gate_up_proj", rows, 2 * h.d_ff, h.d_model),
            block.elementwise("ffn_act", rows * h.d_ff, "swiglu"),
            block.linear("ffn_down", rows, h.d_model, h.d_ff),
            block.elementwise("ffn_residual", rows * h.d_model, "add"),
        ]

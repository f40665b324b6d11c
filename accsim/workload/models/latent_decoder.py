"""Decoders with multi-head latent attention and a mixture of experts: DeepSeek-V2.

Source: DeepSeek-AI, arXiv 2405.04434: section 2.1 (attention, and the absorbed products of decoding), section 2.2
(experts), appendix B (the shape of DeepSeek-V2-Lite).
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from accsim.config.reader import PlacedError, Wrong
from accsim.workload.models.base import Block, Count, Hyperparameters, ModelFile
from accsim.workload.models.decoder import DecoderParameters
from accsim.workload.ops import Attention, Softmax
from accsim.workload.trace import Entry


class LatentDecoderHyperparameters(Hyperparameters):
    """The shape of a decoder with latent attention; source: arXiv 2405.04434, sections 2 and B."""

    layers: Count
    """Decoder layers."""
    dense_layers: Count
    """First of them, whose feed-forward layer has no experts."""
    d_model: Count
    """Width of the hidden state."""
    heads: Count
    """Query heads."""
    kv_rank: Count
    """Width of the latent that keys and values are made of (d_c)."""
    q_rank: Count | None = None
    """Width of the latent that queries are made of (d'_c); default: none."""
    nope_dim: Count
    """Columns of a head of queries and keys without a position (d_h)."""
    rope_dim: Count
    """Columns of a head with one; all heads share those of the keys (d_h^R)."""
    v_dim: Count
    """Columns of a head of values."""
    d_ff: Count
    """Width of the gated product in a layer without experts."""
    experts: Count
    """Routed experts of a layer."""
    experts_per_token: Count
    """How many of them a token goes to."""
    shared_experts: Count
    """Experts that every token goes to."""
    d_expert: Count
    """Width of the gated product of an expert."""
    vocab: Count
    """Tokens of the embedding table, and of the output product, which has its own."""

    @model_validator(mode="after")
    def _parts_are_no_more_than_the_whole(self) -> Self:
        wrong = [
            Wrong((part,), f"read {getattr(self, part)}, allowed are at most the {whole} = {getattr(self, whole)}")
            for part, whole in (("dense_layers", "layers"), ("experts_per_token", "experts"))
            if getattr(self, part) > getattr(self, whole)
        ]
        if wrong:
            raise PlacedError(wrong)
        return self

    @property
    def qk_dim(self) -> int:
        """Columns of a head of queries and keys."""
        return self.nope_dim + self.rope_dim

    def parameter_count(self) -> int:
        """Parameters; no product has a bias, norms have a scale alone."""
        d, routed = self.d_model, self.experts + self.shared_experts
        q_in = self.q_rank or d
        query = (d * self.q_rank + self.q_rank if self.q_rank else 0) + q_in * self.heads * self.qk_dim
        latent = d * (self.kv_rank + self.rope_dim) + self.kv_rank
        attention = query + latent + self.heads * (self.kv_rank * (self.nope_dim + self.v_dim) + self.v_dim * d)
        moe = 3 * d * self.d_expert * routed + d * self.experts
        feed_forward = self.dense_layers * 3 * d * self.d_ff + (self.layers - self.dense_layers) * moe
        return 2 * self.vocab * d + self.layers * (attention + 2 * d) + feed_forward + d


class LatentDecoder(ModelFile):
    """One forward pass: a prefill, or one step of decoding with the products of the latent absorbed."""

    shape = LatentDecoderHyperparameters

    architecture: Literal["latent_decoder"]
    """Key of the code that expands it."""
    parameters: DecoderParameters
    """Defaults of what it is run with; each may be set by a query."""
    hyperparameters: LatentDecoderHyperparameters
    """Its shape."""

    def entries(self) -> tuple[Entry, ...]:
        """Embedding, layers without and with experts, and the output product for the last token of each sequence."""
        p, h = self.parameters, self.hyperparameters
        once = Block(p.dtype)
        first = Block(p.dtype, h.dense_layers, "dense_", p.weight_dtype)
        found = [
            once.embedding("token_embedding", self._rows, h.vocab, h.d_model),
            *self._attention(first),
            *self._feed_forward(first),
        ]
        if h.layers > h.dense_layers:
            rest = Block(p.dtype, h.layers - h.dense_layers, weight_dtype=p.weight_dtype)
            found += [*self._attention(rest), *self._experts(rest)]
        found += [
            once.norm("final_norm", self._rows, h.d_model, "rms"),
            once.linear("lm_head", p.batch, h.vocab, h.d_model),
        ]
        return tuple(found)

    @property
    def _rows(self) -> int:
        return self.parameters.batch * self.parameters.new_tokens

    def _attention(self, block: Block) -> list[Entry]:
        h, rows = self.hyperparameters, self._rows
        q_in, latent = h.q_rank or h.d_model, h.kv_rank + h.rope_dim
        down = [
            block.linear("q_down", rows, q_in, h.d_model),
            block.norm("q_norm", rows, q_in, "rms"),
        ]
        attend = self._absorbed(block) if self.parameters.phase == "decode" else self._expanded(block)
        return [
            block.norm("attention_norm", rows, h.d_model, "rms"),
            *(down if h.q_rank else []),
            block.linear("q_proj", rows, h.heads * h.qk_dim, q_in),
            block.linear("kv_down", rows, latent, h.d_model),
            block.norm("kv_norm", rows, h.kv_rank, "rms"),
            block.elementwise("rope", rows * (h.heads + 1) * h.rope_dim, "rope"),
            block.kv_append(rows * latent, self.parameters.kv_dtype),
            *attend,
            block.linear("o_proj", rows, h.d_model, h.heads * h.v_dim),
            block.elementwise("attention_residual", rows * h.d_model, "add"),
        ]

    def _expanded(self, block: Block) -> list[Entry]:
        """Keys and values of every head made from the latents of all positions."""
        p, h = self.parameters, self.hyperparameters
        op = Attention(
            p.batch, h.heads, p.new_tokens, p.keys, h.qk_dim, causal=True, dtype=p.dtype,
            name=f"{block.prefix}attention", v_dim=h.v_dim, latent_dim=h.kv_rank + h.rope_dim,
            kv_dtype=p.kv_dtype,
        )  # fmt: skip
        up = block.linear("kv_up", p.batch * p.keys, h.heads * (h.nope_dim + h.v_dim), h.kv_rank)
        return [up, Entry(op, block.repeat)]

    def _absorbed(self, block: Block) -> list[Entry]:
        """Queries brought to the latent, which is the one head of keys and values, and outputs back from it."""
        p, h = self.parameters, self.hyperparameters
        op = Attention(
            p.batch, h.heads, p.new_tokens, p.keys, h.kv_rank + h.rope_dim, kv_heads=1, causal=True, dtype=p.dtype,
            name=f"{block.prefix}attention", v_dim=h.kv_rank, shared_kv=True, kv_dtype=p.kv_dtype,
        )  # fmt: skip
        return [
            block.grouped("q_absorb", self._rows, h.kv_rank, h.nope_dim, h.heads),
            Entry(op, block.repeat),
            block.grouped("v_absorb", self._rows, h.v_dim, h.kv_rank, h.heads),
        ]

    def _feed_forward(self, block: Block) -> list[Entry]:
        h, rows = self.hyperparameters, self._rows
        return [
            block.norm("ffn_norm", rows, h.d_model, "rms"),
            block.linear("gate_up_proj", rows, 2 * h.d_ff, h.d_model),
            block.elementwise("ffn_act", rows * h.d_ff, "swiglu"),
            block.linear("ffn_down", rows, h.d_model, h.d_ff),
            block.elementwise("ffn_residual", rows * h.d_model, "add"),
        ]

    def _experts(self, block: Block) -> list[Entry]:
        """Shared experts as one product; routed ones as grouped products of as many rows each."""
        h, rows = self.hyperparameters, self._rows
        routed, width = rows * h.experts_per_token, h.shared_experts * h.d_expert
        used = min(h.experts, routed)
        each = -(-routed // used)
        return [
            block.norm("ffn_norm", rows, h.d_model, "rms"),
            block.linear("router", rows, h.experts, h.d_model),
            Entry(Softmax(rows, h.experts, block.dtype, f"{block.prefix}router_softmax"), block.repeat),
            block.elementwise("dispatch", routed * h.d_model, "copy"),
            block.grouped("experts_gate_up", each, 2 * h.d_expert, h.d_model, used),
            block.elementwise("experts_act", routed * h.d_expert, "swiglu"),
            block.grouped("experts_down", each, h.d_model, h.d_expert, used),
            block.elementwise("experts_weight", routed * h.d_model, "multiply", 1),
            block.linear("shared_gate_up", rows, 2 * width, h.d_model),
            block.elementwise("shared_act", rows * width, "swiglu"),
            block.linear("shared_down", rows, h.d_model, width),
            block.elementwise("ffn_residual", rows * h.d_model, "add", h.experts_per_token + 2),
        ]

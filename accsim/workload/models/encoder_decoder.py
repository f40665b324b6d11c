"""Encoder and decoder with cross-attention: T5."""

from __future__ import annotations

from typing import Literal

from accsim.workload.models.base import Block, Count, Hyperparameters, ModelFile, MultiHead, Parameters
from accsim.workload.trace import Entry


class EncoderDecoderHyperparameters(Hyperparameters):
    """The shape of T5; source: Raffel et al., arXiv 1910.10683, sections 2.1 and 3.1."""

    encoder_layers: Count
    """Layers of the encoder."""
    decoder_layers: Count
    """Layers of the decoder."""
    d_model: Count
    """Width of the hidden state."""
    heads: Count
    """Attention heads."""
    d_kv: Count
    """Width of one head; heads x d_kv may differ from d_model."""
    d_ff: Count
    """Width between the two feed-forward products."""
    vocab: Count
    """Tokens of the embedding table, which encoder, decoder and output share."""
    position_buckets: Count = 32
    """Learned relative positions of each head, one table in the encoder and one in the decoder."""

    def parameter_count(self) -> int:
        """Parameters; the output product uses the embedding table, no product has a bias, norms have a scale alone."""
        d, inner = self.d_model, self.heads * self.d_kv
        attention = 4 * d * inner
        feed_forward = 2 * d * self.d_ff
        encoder = self.encoder_layers * (attention + feed_forward + 2 * d)
        decoder = self.decoder_layers * (2 * attention + feed_forward + 3 * d)
        return self.vocab * d + encoder + decoder + 2 * (self.position_buckets * self.heads + d)


class EncoderDecoderParameters(Parameters):
    """What T5 is run with."""

    seq: Count = 512
    """Tokens of the encoder's sequence."""
    target_seq: Count = 512
    """Tokens of the decoder's sequence, all at once as in training."""
    position_bias: Literal["fused", "separate"] = "fused"
    """fused: the scores' accumulators start from the relative positions, at no cost; separate: an op of its own adds
    them to the scores in memory."""


class EncoderDecoder(ModelFile):
    """One forward pass of encoder and decoder, the decoder over its whole sequence (teacher forcing)."""

    shape = EncoderDecoderHyperparameters

    architecture: Literal["encoder_decoder"]
    """Key of the code that expands it."""
    parameters: EncoderDecoderParameters = EncoderDecoderParameters()
    """Defaults of what it is run with; each may be set by a query."""
    hyperparameters: EncoderDecoderHyperparameters
    """Its shape."""

    def entries(self) -> tuple[Entry, ...]:
        """Encoder, decoder, output product."""
        p, h = self.parameters, self.hyperparameters
        rows = p.batch * p.target_seq
        head = Block(p.dtype).linear("lm_head", rows, h.vocab, h.d_model)
        return (*self._encoder(), *self._decoder(), head)

    def _start(self, stack: str, rows: int, length: int) -> list[Entry]:
        p, h = self.parameters, self.hyperparameters
        block = Block(p.dtype, prefix=f"{stack}.")
        return [
            block.elementwise("position_bias", h.heads * length * length, "copy"),
            block.embedding("token_embedding", rows, h.vocab, h.d_model, tied=True),
        ]

    def _encoder(self) -> list[Entry]:
        p, h = self.parameters, self.hyperparameters
        rows = p.batch * p.seq
        block = Block(p.dtype, h.encoder_layers, "encoder.")
        attention = MultiHead(p.batch, p.seq, p.seq, h.d_model, h.heads, h.d_kv)
        bias, norm = p.position_bias == "separate", "encoder.attention_norm"
        return [
            *self._start("encoder", rows, p.seq),
            block.norm("attention_norm", rows, h.d_model, "rms"),
            *attention.entries(block, norm, norm, score_bias=bias),
            block.elementwise("attention_residual", rows * h.d_model, "add"),
            *self._feed_forward(block, rows),
            Block(p.dtype, prefix="encoder.").norm("final_norm", rows, h.d_model, "rms"),
        ]

    def _decoder(self) -> list[Entry]:
        p, h = self.parameters, self.hyperparameters
        rows = p.batch * p.target_seq
        block = Block(p.dtype, h.decoder_layers, "decoder.")
        itself = MultiHead(p.batch, p.target_seq, p.target_seq, h.d_model, h.heads, h.d_kv, causal=True)
        across = MultiHead(p.batch, p.target_seq, p.seq, h.d_model, h.heads, h.d_kv)
        self_block = Block(p.dtype, h.decoder_layers, "decoder.self_")
        cross_block = Block(p.dtype, h.decoder_layers, "decoder.cross_")
        bias, norm = p.position_bias == "separate", "decoder.self_norm"
        return [
            *self._start("decoder", rows, p.target_seq),
            self_block.norm("norm", rows, h.d_model, "rms"),
            *itself.entries(self_block, norm, norm, score_bias=bias),
            self_block.elementwise("residual", rows * h.d_model, "add"),
            cross_block.norm("norm", rows, h.d_model, "rms"),
            *across.entries(cross_block, "decoder.cross_norm", "encoder.final_norm"),
            cross_block.elementwise("residual", rows * h.d_model, "add"),
            *self._feed_forward(block, rows),
            Block(p.dtype, prefix="decoder.").norm("final_norm", rows, h.d_model, "rms"),
        ]

    def _feed_forward(self, block: Block, rows: int) -> list[Entry]:
        h = self.hyperparameters
        return [
            block.norm("ffn_norm", rows, h.d_model, "rms"),
            block.linear("ffn_up", rows, h.d_ff, h.d_model),
            block.elementwise("ffn_act", rows * h.d_ff, "relu"),
            block.linear("ffn_down", rows, h.d_model, h.d_ff),
            block.elementwise("ffn_residual", rows * h.d_model, "add"),
        ]

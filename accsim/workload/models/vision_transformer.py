"""Encoders of image patches that normalize before each sublayer: ViT."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from accsim.config.reader import PlacedError, Wrong
from accsim.workload.models.base import Block, Count, Hyperparameters, ModelFile, MultiHead, Parameters, check_heads
from accsim.workload.trace import Entry


class VisionTransformerHyperparameters(Hyperparameters):
    """The shape of a ViT; source: Dosovitskiy et al., arXiv 2010.11929, section 3.1 and Table 1."""

    layers: Count
    """Encoder layers."""
    d_model: Count
    """Width of the hidden state."""
    heads: Count
    """Attention heads, a divisor of d_model."""
    d_ff: Count
    """Width between the two feed-forward products."""
    patch: Count
    """Rows and columns of a patch."""
    positions: Count
    """Learned positions, the class token's included; counted as parameters only, other image sizes are not refused."""
    classes: Count
    """Outputs of the classifier."""
    channels: Count = 3
    """Channels of the image."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        check_heads(self.d_model, self.heads)
        return self

    def parameter_count(self) -> int:
        """Parameters, with the classifier; every product has a bias."""
        d = self.d_model
        embedding = self.channels * self.patch**2 * d + d + d + self.positions * d
        attention = 4 * (d * d + d)
        feed_forward = 2 * d * self.d_ff + self.d_ff + d
        return embedding + self.layers * (attention + feed_forward + 4 * d) + 2 * d + d * self.classes + self.classes


class VisionTransformerParameters(Parameters):
    """What a ViT is run with."""

    image: Count = 224
    """Rows and columns of an image, a multiple of the patch's."""


class VisionTransformer(ModelFile):
    """One forward pass over square images."""

    shape = VisionTransformerHyperparameters

    architecture: Literal["vision_transformer"]
    """Key of the code that expands it."""
    parameters: VisionTransformerParameters = VisionTransformerParameters()
    """Defaults of what it is run with; each may be set by a query."""
    hyperparameters: VisionTransformerHyperparameters
    """Its shape."""

    @model_validator(mode="after")
    def _patches_fill_the_image(self) -> Self:
        image, patch = self.parameters.image, self.hyperparameters.patch
        if image % patch:
            raise PlacedError(
                [Wrong(("parameters", "image"), f"read {image}, allowed is a multiple of patch = {patch}")]
            )
        return self

    def entries(self) -> tuple[Entry, ...]:
        """Patches, layers, classifier on the class token."""
        p, h = self.parameters, self.hyperparameters
        rows = p.batch * self._tokens
        once = Block(p.dtype)
        return (
            once.conv("patch_embedding", p.batch, (h.channels, h.d_model), p.image, h.patch, h.patch),
            once.elementwise("position_add", rows * h.d_model, "add"),
            *self._layers(rows),
            once.norm("final_norm", rows, h.d_model, "layer"),
            once.linear("head", p.batch, h.classes, h.d_model),
        )

    @property
    def _tokens(self) -> int:
        """Tokens of an image: its patches and the class token."""
        return int((self.parameters.image // self.hyperparameters.patch) ** 2 + 1)

    def _layers(self, rows: int) -> list[Entry]:
        p, h = self.parameters, self.hyperparameters
        block = Block(p.dtype, h.layers)
        attention = MultiHead(p.batch, self._tokens, self._tokens, h.d_model, h.heads, h.d_model // h.heads)
        return [
            block.norm("attention_norm", rows, h.d_model, "layer"),
            *attention.entries(block, "attention_norm", "attention_norm"),
            block.elementwise("attention_residual", rows * h.d_model, "add"),
            block.norm("ffn_norm", rows, h.d_model, "layer"),
            block.linear("ffn_up", rows, h.d_ff, h.d_model),
            block.elementwise("ffn_act", rows * h.d_ff, "gelu"),
            block.linear("ffn_down", rows, h.d_model, h.d_ff),
            block.elementwise("ffn_residual", rows * h.d_model, "add"),
        ]

"""Residual networks of bottleneck blocks: ResNet-50 and its deeper kin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from accsim.workload.models.base import Block, Count, Hyperparameters, ModelFile, Parameters
from accsim.workload.ops import Pool2d
from accsim.workload.trace import Entry

EXPANSION = 4
"""Channels that leave a block over those inside it."""


class ResnetHyperparameters(Hyperparameters):
    """The shape of a ResNet; source: He et al., arXiv 1512.03385, Table 1."""

    stage1_blocks: Count
    """Blocks of the stage with the largest maps."""
    stage2_blocks: Count
    """Blocks of the second stage."""
    stage3_blocks: Count
    """Blocks of the third stage."""
    stage4_blocks: Count
    """Blocks of the stage with the smallest maps."""
    width: Count = 64
    """Channels inside the blocks of the first stage; each later stage has twice those of the one before."""
    classes: Count
    """Outputs of the classifier."""
    channels: Count = 3
    """Channels of the image."""

    @property
    def stages(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        return self.stage1_blocks, self.stage2_blocks, self.stage3_blocks, self.stage4_blocks

    def parameter_count(self) -> int:
        """Parameters: filters without a bias, scale and shift of a batch norm behind each, the classifier."""
        count = self.channels * 49 * self.width + 2 * self.width
        came = self.width
        for stage, blocks in enumerate(self.stages):
            inside, out = self.width * 2**stage, EXPANSION * self.width * 2**stage
            block = 9 * inside**2 + inside * out + 2 * (2 * inside + out)
            count += blocks * block + inside * (came + (blocks - 1) * out) + came * out + 2 * out
            came = out
        return count + came * self.classes + self.classes


class ResnetParameters(Parameters):
    """What a ResNet is run with."""

    image: Count = 224
    """Rows and columns of an image."""


class _Map(NamedTuple):
    """A feature map: its rows and columns, and its channels."""

    side: int
    channels: int


class Resnet(ModelFile):
    """One forward pass over square images, as in inference: batch norms are folded into the filters before them."""

    shape = ResnetHyperparameters

    architecture: Literal["resnet"]
    """Key of the code that expands it."""
    parameters: ResnetParameters = ResnetParameters()
    """Defaults of what it is run with; each may be set by a query."""
    hyperparameters: ResnetHyperparameters
    """Its shape."""

    def entries(self) -> tuple[Entry, ...]:
        """First convolution and pooling, four stages, mean over each map, classifier."""
        p, h = self.parameters, self.hyperparameters
        once = Block(p.dtype)
        first = once.conv("conv1", p.batch, (h.channels, h.width), p.image, 7, 2, 3)
        side = -(-p.image // 2)
        pool = Pool2d(h.width, side, 3, batch=p.batch, stride=2, padding=1, dtype=p.dtype, name="pool1")
        entries = [first, once.elementwise("conv1_act", p.batch * side**2 * h.width, "relu"), Entry(pool)]
        at = _Map(-(-side // 2), h.width)
        for stage, blocks in enumerate(h.stages):
            inside, stride = h.width * 2**stage, 1 if stage == 0 else 2
            entries += self._block(Block(p.dtype, 1, f"stage{stage + 1}.first."), at, inside, stride)
            at = _Map(-(-at.side // stride), EXPANSION * inside)
            if blocks > 1:
                entries += self._block(Block(p.dtype, blocks - 1, f"stage{stage + 1}.rest."), at, inside, 1)
        mean = Pool2d(at.channels, at.side, at.side, batch=p.batch, function="average", dtype=p.dtype, name="pool")
        return (*entries, Entry(mean), once.linear("head", p.batch, h.classes, at.channels))

    def _block(self, block: Block, at: _Map, inside: int, stride: int) -> Iterator[Entry]:
        """Three convolutions around a shortcut, which is one too where the shape changes; the second one strides."""
        batch, out, side = self.parameters.batch, EXPANSION * inside, -(-at.side // stride)
        shortcut: tuple[str, ...] = ()
        if at.channels != out or stride > 1:
            yield block.conv("shortcut", batch, (at.channels, out), at.side, 1, stride)
            shortcut = (f"{block.prefix}shortcut",)
        yield block.conv("conv1", batch, (at.channels, inside), at.side, 1)
        yield block.elementwise("act1", batch * at.side**2 * inside, "relu")
        yield block.conv("conv2", batch, (inside, inside), at.side, 3, stride, 1)
        yield block.elementwise("act2", batch * side**2 * inside, "relu")
        yield block.conv("conv3", batch, (inside, out), side, 1)
        yield block.elementwise("add", batch * side**2 * out, "add", after=(f"{block.prefix}conv3", *shortcut))
        yield block.elementwise("act3", batch * side**2 * out, "relu")

"""Links of a chip to the other chips of its slice, a torus."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from accsim.config.fields import Bandwidth, Identifier, OverheadTime, Text
from accsim.config.links import LINKS, Share
from accsim.config.reader import FileModel


class Interconnect(FileModel):
    """What joins the chips of a slice; ``docs/network.md`` has the model."""

    name: Identifier = LINKS
    """What its links are called in reports."""
    axes: Annotated[int, Field(ge=1, le=6)]
    """Axes of the torus."""
    link_bandwidth_bytes_per_s: Bandwidth = Field(alias="link_bandwidth")
    """Raw rate of a link, one direction; a chip has two links an axis."""
    link_efficiency: Share = 1.0
    """Share of that rate that payload gets."""
    hop_s: OverheadTime = Field(alias="hop")
    """Latency from port to port."""
    most_chips: Annotated[int, Field(ge=1, le=2**20)]
    """Chips of the largest slice."""
    wrap_multiple: Annotated[int, Field(ge=1, le=1024)]
    """An axis is closed where its length is a multiple of this, or else open."""
    wrap_all: bool = False
    """True: all axes are closed, or none."""
    source: Text
    """Where the numbers come from."""

    def closed(self, shape: tuple[int, ...]) -> tuple[bool, ...]:
        """Whether each axis of a slice is closed."""
        each = tuple(length % self.wrap_multiple == 0 for length in shape)
        return (all(each),) * len(shape) if self.wrap_all else each

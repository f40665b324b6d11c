"""Links between the chips of one node, and what its collective library takes to use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from accsim.config.fields import Bandwidth, Identifier, OverheadTime, Text, freeze
from accsim.config.reader import FileModel

Share = Annotated[float, Field(gt=0, le=1)]
Chips = Annotated[int, Field(ge=2, le=1024)]


class Protocol(FileModel):
    """A way to move a message along a ring of chips; ``docs/collectives.md`` has the formula."""

    setup_s: OverheadTime = Field(default=0.0, alias="setup")
    """Before the first step, once."""
    hop_s: OverheadTime | None = Field(default=None, alias="hop")
    """Each step of the ring, however few bytes it moves; by default, the links'."""
    efficiency: Share
    """Share of the link's rate that a message reaches."""
    ramp: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the efficiency that p chips lose, times p: fewer chips fill fewer channels."""
    copies: bool = True
    """Whether a chip's own shard is copied to its place in the result afterwards."""


class InSwitch(FileModel):
    """An all-reduce whose sums are formed in the switch."""

    setup_s: OverheadTime = Field(alias="setup")
    """Before the first byte, once."""
    efficiency: Share
    """Share of the link's rate that a message reaches."""
    chips: Chips
    """Fewest chips with which the library uses it."""


class NodeLinks(FileModel):
    """What joins the chips of a node, all to all through a switch or directly."""

    bandwidth_bytes_per_s: Bandwidth = Field(alias="bandwidth")
    """Rate of one chip's links together, one way."""
    chips: Chips
    """Chips of a node."""
    launch_s: OverheadTime = Field(alias="launch")
    """Launch of a collective and the barrier before it."""
    hop_s: OverheadTime = Field(alias="hop")
    """A step from one chip to the next, however few bytes it moves."""
    copy_bytes_per_s: Bandwidth = Field(alias="copy_bandwidth")
    """Rate at which a chip copies its own shard within its memory."""
    protocols: Annotated[Mapping[Identifier, Protocol], AfterValidator(freeze), Field(min_length=1, max_length=8)]
    """By name; of each message, the library takes the fastest."""
    in_switch: InSwitch | None = None
    """None: the switch, if there is one, only passes messages on."""
    source: Text
    """Where the numbers come from."""

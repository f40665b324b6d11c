"""Links between the chips of one node, and what its collective library takes to use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from accsim.config.fields import Bandwidth, Capacity, Identifier, OverheadTime, Text, freeze
from accsim.config.reader import FileModel

LINKS: Final = "links"
"""Name of links that a machine's file gives no name."""
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


class Flagged(FileModel):
    """How a message of few bytes goes: every word with its own flag, so that nobody waits for a fence."""

    latency_s: OverheadTime = Field(alias="latency")
    """Launch and hop."""
    most_bytes: Capacity = Field(alias="most")
    """Longer messages go without flags."""
    efficiency: Share
    """Share of the bytes moved that is not flags."""


class SendRecv(FileModel):
    """A message from one chip of a node to another, over channels that the library opens for the pair."""

    bandwidth_bytes_per_s: Bandwidth = Field(alias="bandwidth")
    """What a pair's links reach, one way."""
    channels: Annotated[int, Field(ge=1, le=1024)]
    """Of a chip, for its messages to all others; a message takes its share of them, halved until all have room."""
    channel_bytes_per_s: Bandwidth = Field(alias="channel_bandwidth")
    """What a channel, one thread block, moves at most."""
    least_part_bytes: Capacity = Field(alias="least_part")
    """Bytes of a channel at least: short messages take fewer channels."""
    most_part_bytes: Capacity = Field(alias="most_part")
    """Bytes of a channel beyond which a message takes twice as many, as long as the chip has them."""
    latency_s: OverheadTime = Field(alias="latency")
    """Launch and hop."""
    flagged: Flagged
    source: Text
    """Where the numbers come from."""


class NodeLinks(FileModel):
    """What joins the chips of a node, all to all through a switch or directly."""

    name: Identifier = LINKS
    """What its links are called in reports."""
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
    send_recv: SendRecv | None = None
    """None: the node's single messages are not known."""
    source: Text
    """Where the numbers come from."""

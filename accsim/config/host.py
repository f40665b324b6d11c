"""Processors beside a chip that may hold its embedding tables: its host's, and servers in the data centre."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from accsim.config.fields import Bandwidth, Capacity, Count, Frequency, Latency, OverheadTime, Text
from accsim.config.reader import FileModel


class Processors(FileModel):
    """The processors of one machine of the data centre and their memory."""

    cores: Count
    """Cores, all sockets together."""
    lanes: Annotated[int, Field(ge=1, le=4096)]
    """Numbers that a core adds, or multiplies, in a cycle."""
    clock_hz: Frequency = Field(alias="clock")
    """Clock of the cores at such work."""
    memory_bytes_per_s: Bandwidth = Field(alias="memory_bandwidth")
    """Peak rate of the memory, all sockets together."""
    random_efficiency: Annotated[float, Field(gt=0, le=1)]
    """Share of that rate that reading rows at random places reaches."""
    capacity_bytes: Capacity | None = Field(default=None, alias="capacity")
    """Memory for tables; not checked where it is not given."""
    staging_bytes: Capacity = Field(alias="staging")
    """Memory for the rows of one chip that are on their way."""
    stack_s: OverheadTime = Field(alias="stack")
    """Fixed cost of a stack of tables, once in each pass."""

    @property
    def operations_per_s(self) -> float:
        """Operations on single numbers a second."""
        return self.cores * self.lanes * self.clock_hz


class Host(Processors):
    """The host of a chip."""

    chips: Count
    """Chips that share it."""
    pcie_bytes_per_s: Bandwidth = Field(alias="pcie")
    """Rate between it and one of them, each way."""
    latency_s: Latency = Field(alias="latency")
    """From a request of a chip to the first byte of the answer."""
    source: Text
    """Where the numbers come from."""


class DataCenter(Processors):
    """Servers for embeddings that chips reach over the network of the data centre."""

    servers_per_chip: Annotated[float, Field(gt=0, le=1024)]
    """Servers, for each chip of a slice."""
    chip_bytes_per_s: Bandwidth = Field(alias="chip_bandwidth")
    """A chip's share of its host's network, each way."""
    server_bytes_per_s: Bandwidth = Field(alias="server_bandwidth")
    """Network of a server, each way."""
    latency_s: Latency = Field(alias="latency")
    """From a request of a chip to the first byte of the answer."""
    source: Text
    """Where the numbers come from."""

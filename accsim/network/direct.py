"""Hypercubes and fully connected chips: no switches, and the same from every chip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from accsim.config.checks import ArgumentChecks
from accsim.network.graph import Cables, Graph, build_graph
from accsim.network.topology import Topology

MOST_DIMENSIONS = 20
MOST_CONNECTED = 2048


@dataclass(frozen=True)
class Hypercube(Topology):
    """2^dimensions chips; those whose numbers differ in one bit are joined.

    Parameters
    ----------
    dimensions
        1 to 20.
    """

    dimensions: int
    kind: ClassVar[str] = "hypercube"

    def check(self, check: ArgumentChecks) -> None:
        """Note what is wrong with the arguments; see `Topology.check`."""
        check.count("dimensions", most=MOST_DIMENSIONS)

    def build(self) -> Graph:
        """The graph; see `Topology.build`."""
        chips = np.arange(2**self.dimensions)
        bit = np.repeat(np.arange(self.dimensions), len(chips) // 2)
        lower = np.concatenate([chips[chips >> d & 1 == 0] for d in range(self.dimensions)])
        cables = Cables(lower, lower | 1 << bit, np.zeros_like(bit), bit, bit)
        return build_graph(len(chips), 0, cables, self.links(), symmetric=True)


@dataclass(frozen=True)
class FullyConnected(Topology):
    """A cable between every two chips.

    Parameters
    ----------
    count
        Chips, 2 to 2048.
    """

    count: int
    kind: ClassVar[str] = "fully_connected"

    def check(self, check: ArgumentChecks) -> None:
        """Note what is wrong with the arguments; see `Topology.check`."""
        check.count("count", least=2, most=MOST_CONNECTED)

    def build(self) -> Graph:
        """The graph; see `Topology.build`."""
        a, b = np.triu_indices(self.count, 1)
        cables = Cables(a, b, np.zeros_like(a), b - a - 1, self.count - 1 - (b - a))
        return build_graph(self.count, 0, cables, self.links(), symmetric=True)

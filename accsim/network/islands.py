"""Islands of chips with a network of their own, joined by a second one: NVLink under InfiniBand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from accsim.config.checks import ArgumentChecks, shown
from accsim.network.graph import Cables, Graph, build_graph
from accsim.network.topology import Topology

MOST_CHIPS = 2**18


@dataclass(frozen=True)
class Islands(Topology):
    """Copies of a network; every chip also has a NIC on a switched network without a bottleneck of its own.

    The NIC joins the chip by copper and the switched network, one node, by fibre; both have the bandwidth and latency
    of this topology's links. Between two chips of an island lie the island's links alone as long as they are fewer than
    the four by the NICs.

    Parameters
    ----------
    inside
        The network of an island; ``FatTree((8,), link_bytes_per_s=450e9)`` is a box of 8 H100 under NVLink switches.
    islands
        How many.
    link_bytes_per_s
        Of a NIC, one direction; by default InfiniBand HDR, 200 Gb/s.
    """

    inside: Topology
    islands: int
    link_bytes_per_s: float = field(default=25e9, kw_only=True)
    kind: ClassVar[str] = "islands"

    def check(self, check: ArgumentChecks) -> None:
        """Note what is wrong with the arguments; see `Topology.check`."""
        inside: object = self.inside
        if not isinstance(inside, Topology):
            check.fail("inside", f"read {shown(inside)}, allowed is a topology")
        elif check.count("islands") and inside.chips * self.islands > MOST_CHIPS:
            total = inside.chips * self.islands
            check.fail("islands", f"read {total:,} chips in all, allowed are at most {MOST_CHIPS:,}")

    def build(self) -> Graph:
        """The graph; see `Topology.build`."""
        island = self.inside.graph
        chips, switches = island.chips, island.nodes - island.chips
        total = chips * self.islands
        core = total + switches * self.islands + total
        once = np.flatnonzero(island.reverse > np.arange(len(island.reverse)))

        def placed(nodes: NDArray[np.int64]) -> NDArray[np.int64]:
            """Nodes of the first island, in every island."""
            copy = np.arange(self.islands)[:, None]
            return np.where(nodes < chips, nodes + copy * chips, nodes - chips + total + copy * switches).ravel()

        chip = np.arange(total)
        nic = core - total + chip
        kinds = len(island.links)
        kind = np.concatenate([np.tile(island.kind[once], self.islands), np.repeat([kinds, kinds + 1], total)])
        none = np.zeros(len(kind), np.int64)
        cables = Cables(
            np.concatenate([placed(island.source[once].astype(np.int64)), chip, nic]),
            np.concatenate([placed(island.target[once].astype(np.int64)), nic, np.full(total, core)]),
            kind,
            none,
            none,
        )
        return build_graph(total, core + 1 - total, cables, (*island.links, *self.links()))

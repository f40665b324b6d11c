"""Dragonflies: groups of routers, every two groups joined once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from accsim.config.checks import ArgumentChecks
from accsim.network.graph import Cables, Graph, build_graph
from accsim.network.topology import Topology

MOST_CHIPS = 2**20
MOST_SIDE = 256


@dataclass(frozen=True)
class Dragonfly(Topology):
    """Routers of a group are all joined by copper, groups by fibre.

    Link q of a group, counted over its routers, leads to the group q, or q + 1 from its own number on.

    Parameters
    ----------
    routers
        Of a group (a in the paper).
    chips_per_router
        p in the paper; balanced is routers / 2.
    global_links
        Of a router (h in the paper); balanced is routers / 2.
    groups
        By default as many as the links reach, routers x global_links + 1. With fewer, links without a group to lead to
        are not there.

    Source: Kim, Dally, Scott, Abts, *Technology-driven, highly-scalable dragonfly topology*, ISCA 2008.

    Examples
    --------
    >>> Dragonfly(4, 2, 2).groups, Dragonfly(4, 2, 2).chips, Dragonfly(4, 2, 2).graph.diameter
    (9, 72, 5)
    """

    routers: int
    chips_per_router: int
    global_links: int
    groups: int | None = None
    kind: ClassVar[str] = "dragonfly"

    def check(self, check: ArgumentChecks) -> None:
        """Note what is wrong with the arguments; see `Topology.check`."""
        if not check.count("routers", "chips_per_router", "global_links", most=MOST_SIDE):
            return
        reached = self.routers * self.global_links + 1
        check.fill("groups", reached)
        if not check.count("groups", least=2, most=reached):
            return
        chips = self.groups_joined * self.routers * self.chips_per_router
        if chips > MOST_CHIPS:
            check.fail("groups", f"read {chips:,} chips, allowed are at most {MOST_CHIPS:,}")

    @property
    def groups_joined(self) -> int:
        """Number of groups."""
        return self.groups or self.routers * self.global_links + 1

    def build(self) -> Graph:
        """The graph; see `Topology.build`."""
        groups, a = self.groups_joined, self.routers
        routers = groups * a
        chips = routers * self.chips_per_router
        chip = np.arange(chips)
        one, two = np.triu_indices(a, 1)
        base = np.arange(groups)[:, None] * a
        low, high = np.triu_indices(groups, 1)
        from_low = low * a + (high - 1) // self.global_links
        from_high = high * a + low // self.global_links
        ends_a = [chip, (base + one).ravel() + chips, from_low + chips]
        ends_b = [chip // self.chips_per_router + chips, (base + two).ravel() + chips, from_high + chips]
        medium = np.repeat([0, 0, 1], [len(part) for part in ends_a])
        none = np.zeros(len(medium), np.int64)
        cables = Cables(np.concatenate(ends_a), np.concatenate(ends_b), medium, none, none)
        return build_graph(chips, routers, cables, self.links())

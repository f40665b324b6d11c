"""Fat trees, full and tapered; a star is one of a single level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from accsim.config.checks import ArgumentChecks
from accsim.network.graph import Cables, Graph, build_graph
from accsim.network.topology import Topology

MOST_LEVELS = 6
MOST_CHIPS = 2**20


@dataclass(frozen=True)
class FatTree(Topology):
    """Levels of switches above the chips: an extended generalized fat tree.

    A switch of level l has ``children[l - 1]`` links down and, except at the top, ``children[l - 1] / taper`` up, each
    to another switch. Cables of chips are copper, those between switches optical.

    Parameters
    ----------
    children
        Links down of a switch of each level, from the chips upwards; one level is a star.
    taper
        Bandwidth down divided by bandwidth up, of every level but the top; 1 is full bisection.

    Source: Öhring, Ibel, Das, Kumar, *On generalized fat trees*, IPPS 1995: XGFT(h; m; w) with m the children and
    w = 1, m1 / taper, m2 / taper, ...

    Examples
    --------
    >>> FatTree((4, 4)).graph.nodes, FatTree((4, 4), taper=2).graph.nodes
    (24, 22)
    """

    children: tuple[int, ...]
    taper: float = 1.0
    kind: ClassVar[str] = "fat_tree"

    def check(self, check: ArgumentChecks) -> None:
        """Note what is wrong with the arguments; see `Topology.check`."""
        good = check.counts("children", most=MOST_LEVELS)
        if not check.number("taper", positive=True) or not good:
            return
        if math.prod(self.children) > MOST_CHIPS:
            check.fail("children", f"read {math.prod(self.children):,} chips, allowed are at most {MOST_CHIPS:,}")
        for level, down in enumerate(self.children[:-1], start=1):
            up = down / self.taper
            if up != int(up) or up < 1:
                text = f"{self.taper:g} leaves a switch of level {level} with {down} links down {up:g} links up"
                check.fail("taper", f"read {text}, allowed is a taper with a whole number of them")

    @property
    def parents(self) -> tuple[int, ...]:
        """Links up of a chip and of a switch of each level but the top."""
        return (1, *(int(down / self.taper) for down in self.children[:-1]))

    def build(self) -> Graph:
        """The graph; see `Topology.build`."""
        a, b, medium = [], [], []
        offset, below = 0, np.arange(math.prod(self.children)).reshape(*reversed(self.children))
        for level, up in enumerate(self.parents):
            above = below.shape[: len(self.children) - level - 1]
            names = below.shape[len(above) + 1 :]
            offset += below.size
            switches = np.arange(math.prod(above) * up * math.prod(names)).reshape(*above, 1, up, *names) + offset
            ends = np.broadcast_arrays(np.expand_dims(below, len(above) + 1), switches)
            a.append(ends[0].ravel())
            b.append(ends[1].ravel())
            medium.append(np.full(ends[0].size, int(level > 0)))
            below = switches.reshape(*above, up, *names)
        none = np.zeros(sum(map(len, a)), np.int64)
        cables = Cables(np.concatenate(a), np.concatenate(b), np.concatenate(medium), none, none)
        chips = math.prod(self.children)
        return build_graph(chips, offset + below.size - chips, cables, self.links())

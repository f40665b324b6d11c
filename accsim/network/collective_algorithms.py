"""Algorithms of collectives by name: what each can do and where it fits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Final

import numpy as np

from accsim.network import algorithms as rings
from accsim.network.collective_base import Algorithm, Ranks, Scheduled
from accsim.network.collective_traffic import Exchange, InSwitch
from accsim.network.contention import MOST_MATRIX_CHIPS
from accsim.network.disjoint_trees import broadcast, first_group
from accsim.network.graph import Graph
from accsim.network.schedule import Ints, Schedule
from accsim.network.stepwise import Plan
from accsim.network.torus_rings import opposite_ports, ring_pieces

MOST_DIRECT: Final = 256
"""Ranks of a direct algorithm, whose sends grow with their square."""
MOST_ROUTED: Final = 1024
"""Ranks of an algorithm whose sends go more than one hop: each step of each is routed."""
MOST_TREE_RANKS: Final = 512
"""Ranks of trees that share no link: with more, too few chunks could follow each other."""
CHUNKS: Final = 64
"""Chunks of a pipeline for each rank of its ring: filling it then takes 1.6 % of the time."""

GATHERING: Final = ("all_gather", "reduce_scatter", "all_reduce")
"""Collectives that an all-gather gives: itself, itself backwards, and that and itself."""


def _of_kind(kind: str, gather: Schedule, ways_back: Ints | None = None) -> Schedule:
    """The collective that an all-gather gives."""
    if kind == "all_gather":
        return gather
    reduce = gather.backwards(ways_back)
    return reduce if kind == "reduce_scatter" else reduce.then(gather)


class _OfRanks(Scheduled):
    """An all-gather that knows nothing of the network: every group of ranks carries it out."""

    kinds = GATHERING

    @abstractmethod
    def gather(self, ranks: int) -> Schedule:
        """The all-gather among so many ranks."""

    def plans(self, graph: Graph, kind: str, ranks: Ranks, size: float) -> list[Plan]:  # noqa: ARG002
        """One plan a group."""
        schedule = _of_kind(kind, self.gather(ranks.each))
        return [Plan(schedule, chips, size / schedule.blocks) for chips in ranks.chips]

    def unfit(self, graph: Graph, ranks: Ranks) -> str | None:
        """Too many ranks to route."""
        del graph
        return None if ranks.each <= MOST_ROUTED else f"needs at most {MOST_ROUTED} ranks, there are {ranks.each}"


class OneWayRing(_OfRanks):
    """A ring of the ranks, each step one block to the next."""

    name = "ring"

    def gather(self, ranks: int) -> Schedule:
        """Along the ring of the ranks in their order."""
        return rings.one_way(rings.ring_of(ranks), np.zeros(ranks, np.int64), 1, ranks)


class TwoWayRing(_OfRanks):
    """A ring of the ranks in both directions, each block half way around."""

    name = "two_way_ring"

    def gather(self, ranks: int) -> Schedule:
        """Along the ring of the ranks in their order."""
        blocks = rings.HALVES * ranks
        return rings.both_ways(rings.ring_of(ranks), np.zeros(ranks, np.int64), rings.HALVES, blocks)


class HalvingDoubling(_OfRanks):
    """Recursive doubling, and recursive halving where there is something to add."""

    name = "halving_doubling"

    def gather(self, ranks: int) -> Schedule:
        """Among a power of two of ranks."""
        return rings.recursive_doubling(ranks)

    def unfit(self, graph: Graph, ranks: Ranks) -> str | None:
        """No power of two."""
        if ranks.each & (ranks.each - 1):
            return f"needs a power of two of ranks, there are {ranks.each}"
        return super().unfit(graph, ranks)


class Direct(_OfRanks):
    """Every rank sends to every other at once."""

    name = "direct"

    def gather(self, ranks: int) -> Schedule:
        """In one step."""
        return rings.direct(ranks)

    def unfit(self, graph: Graph, ranks: Ranks) -> str | None:
        """Too many pairs."""
        del graph
        return None if ranks.each <= MOST_DIRECT else f"needs at most {MOST_DIRECT} ranks, there are {ranks.each}"


class TorusRings(Scheduled):
    """Rings along all axes at once, both ways, each axis with another piece of the buffer."""

    name = "torus_rings"
    kinds = GATHERING

    def plans(self, graph: Graph, kind: str, ranks: Ranks, size: float) -> list[Plan]:
        """A plan of all chips for each piece of the buffer."""
        lattice = graph.lattice
        assert lattice is not None
        chips, back = np.arange(graph.chips), opposite_ports(lattice)
        return [
            Plan(_of_kind(kind, piece.gather, back), chips, piece.share * size / piece.gather.blocks)
            for piece in ring_pieces(graph, ranks.axes or range(lattice.axes))
        ]

    def unfit(self, graph: Graph, ranks: Ranks) -> str | None:
        """No axes."""
        del ranks
        return None if graph.lattice is not None else "needs a mesh, torus or twisted torus"


class Tree(Scheduled):
    """Along a binomial tree: twice as many ranks in each step."""

    name = "tree"
    kinds = ("broadcast", "all_reduce")

    def plans(self, graph: Graph, kind: str, ranks: Ranks, size: float) -> list[Plan]:  # noqa: ARG002
        """One plan a group."""
        spread = rings.binomial_tree(ranks.each)
        schedule = spread if kind == "broadcast" else spread.backwards().then(spread)
        return [Plan(schedule, chips, size) for chips in ranks.chips]

    def unfit(self, graph: Graph, ranks: Ranks) -> str | None:
        """Too many ranks to route."""
        del graph
        return None if ranks.each <= MOST_ROUTED else f"needs at most {MOST_ROUTED} ranks, there are {ranks.each}"


class Pipeline(Scheduled):
    """A broadcast around a ring, half of the buffer each way, in chunks."""

    name = "pipeline"
    kinds = ("broadcast",)

    def plans(self, graph: Graph, kind: str, ranks: Ranks, size: float) -> list[Plan]:  # noqa: ARG002
        """One plan a group."""
        schedule = rings.pipeline(rings.ring_of(ranks.each), CHUNKS * ranks.each)
        return [Plan(schedule, chips, size / schedule.blocks) for chips in ranks.chips]

    def unfit(self, graph: Graph, ranks: Ranks) -> str | None:
        """Too many steps."""
        del graph
        return None if ranks.each <= MOST_DIRECT else f"needs at most {MOST_DIRECT} ranks, there are {ranks.each}"


class DisjointTrees(Scheduled):
    """Along trees that share no link, all at once; sums the same ways back."""

    name = "disjoint_trees"
    kinds = ("broadcast", "all_reduce")

    def plans(self, graph: Graph, kind: str, ranks: Ranks, size: float) -> list[Plan]:
        """One plan a group: what the first one does, all do."""
        spread = broadcast(first_group(graph, ranks))
        back = None if graph.lattice is None else opposite_ports(graph.lattice)
        schedule = spread if kind == "broadcast" else spread.backwards(back).then(spread)
        return [Plan(schedule, chips, size / schedule.blocks) for chips in ranks.chips]

    def unfit(self, graph: Graph, ranks: Ranks) -> str | None:
        """Switches, no or too many ranks, or some axes of a twisted torus."""
        if graph.nodes > graph.chips:
            return "needs chips that are joined without switches"
        if not 2 <= ranks.each <= MOST_TREE_RANKS:
            return f"needs 2 to {MOST_TREE_RANKS} ranks, there are {ranks.each}"
        twisted = graph.lattice is not None and any(map(any, graph.lattice.twist))
        return "needs all axes of a twisted torus" if twisted and ranks.axes is not None else None


class Shift(Scheduled):
    """The buffer of every rank goes to the next one of its group: a step of ring attention, or of a pipeline."""

    name = "shift"
    kinds = ("permute",)

    def plans(self, graph: Graph, kind: str, ranks: Ranks, size: float) -> list[Plan]:  # noqa: ARG002
        """One plan a group."""
        return [Plan(rings.shift(ranks.each), chips, size) for chips in ranks.chips]

    def unfit(self, graph: Graph, ranks: Ranks) -> str | None:
        """Too many chips to route."""
        del ranks
        most = MOST_MATRIX_CHIPS
        return None if graph.chips <= most else f"needs at most {most:,} chips, there are {graph.chips:,}"


ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    one.name: one
    for one in (
        TorusRings(),
        OneWayRing(),
        TwoWayRing(),
        HalvingDoubling(),
        Direct(),
        Tree(),
        Pipeline(),
        DisjointTrees(),
        Shift(),
        Exchange(),
        InSwitch(),
    )
}
"""By name."""

KINDS: Final = tuple(dict.fromkeys(kind for one in ALGORITHMS.values() for kind in one.kinds))
"""Collectives that some algorithm does."""

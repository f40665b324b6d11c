"""Broadcast along trees that share no link: every link into a chip brings a part of the buffer of its own.

As many trees as paths without a common link lead from the root to the chip that fewest lead to, which is what its links
can bring at most; a torus of n axes has 2n. ``accsim/kernels/trees.py`` grows them.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Final, NamedTuple

import numpy as np

from accsim.kernels.trees import grow_trees, has_paths
from accsim.network.collective_base import Ranks
from accsim.network.graph import Graph, Ints
from accsim.network.schedule import ROUTED, Phase, Schedule, Sends

CHUNKS: Final = 64
"""Chunks of a tree for each of its levels: filling it then takes 1.6 % of the time."""
MOST_SENDS: Final = 2**22
"""Of all chunks along all trees; large networks have fewer chunks for it."""


class Group(NamedTuple):
    """Ranks and the links between them, in CSR form; int32.

    Attributes
    ----------
    first, source, target, reverse : as of `Graph`, by rank.
    port : by which each leaves its chip, or `ROUTED`.
    """

    first: Ints
    source: Ints
    target: Ints
    reverse: Ints
    port: Ints


def first_group(graph: Graph, ranks: Ranks) -> Group:
    """The first group of ranks, with the links along its axes."""
    rank = np.full(graph.nodes, -1, np.int32)
    rank[ranks.chips[0]] = np.arange(ranks.each)
    inside = (rank[graph.source] >= 0) & (rank[graph.target] >= 0)
    if ranks.axes is not None:
        inside &= np.isin(graph.port // 2, ranks.axes)
    kept = np.flatnonzero(inside)
    kept = kept[np.argsort(rank[graph.source[kept]], kind="stable")]
    place = np.empty(len(inside), np.int32)
    place[kept] = np.arange(len(kept))
    source = rank[graph.source[kept]]
    first = np.searchsorted(source, np.arange(ranks.each + 1)).astype(np.int32)
    port = graph.port[kept] if graph.lattice is not None else np.full(len(kept), ROUTED, np.int32)
    return Group(first, source, rank[graph.target[kept]], place[graph.reverse[kept]], port)


def disjoint_trees(group: Group) -> tuple[Ints, Ints]:
    """Links of each tree from rank 0, int32[trees, ranks - 1], and hops from it to each rank, int32[trees, ranks]."""
    ranks, links = len(group.first) - 1, len(group.target)
    graph = group.first, group.source, group.target, group.reverse
    free, flow = np.ones(links, np.bool_), np.empty(links, np.bool_)
    scratch = [np.empty(ranks, np.int32) for _ in range(3)]
    trees = int(np.diff(group.first).min())
    while not all(has_paths(*graph, free, 0, end, trees, flow, *scratch[:2]) for end in range(1, ranks)):
        trees -= 1
    found, depth = np.empty((trees, ranks - 1), np.int32), np.empty((trees, ranks), np.int32)
    grown = grow_trees(*graph, 0, trees, found, depth, free, flow, *scratch)
    assert grown
    return found, depth


def broadcast(group: Group) -> Schedule:
    """Broadcast from rank 0, an equal part of the buffer along each tree, in chunks that follow each other."""
    links, depth = disjoint_trees(group)
    trees, ranks = depth.shape
    deepest = int(depth.max())
    chunks = max(1, min(CHUNKS * deepest, MOST_SENDS // links.size))
    tree = np.repeat(np.arange(trees), ranks - 1)
    source, goal, port = (column[links.ravel()].astype(np.int64) for column in (group.source, group.target, group.port))
    begins = depth[tree, source].astype(np.int64)
    every = Sends.of(source, goal, tree * chunks - begins, port=port)
    steps = []
    for t in range(deepest + chunks - 1):
        some = (begins <= t) & (t < begins + chunks)
        here = every if some.all() else Sends(*(getattr(every, one.name)[some] for one in fields(every)))
        steps.append(replace(here, first=here.first + t, into=here.into + t))
    return Schedule(ranks, trees * chunks, (Phase(tuple(steps), deepest),))

"""Routing in dimension order, with named rules for ties, and its virtual channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from accsim.config.checks import ArgumentChecks
from accsim.errors import InputError
from accsim.kernels.torus import Ways, follow_channels, walk_matrix, walk_pairs
from accsim.network.graph import Floats, Graph, Ints, is_acyclic
from accsim.network.lattice import Coordinates, Lattice
from accsim.network.paths import Path
from accsim.network.routing import Loads, Routes, Routing

MOST_CHANNEL_PAIRS: Final = 2**28


def _split(_: Coordinates, begin: NDArray[np.int64]) -> Floats:
    """Evenly over all shortest vectors."""
    count = np.diff(begin)
    return np.repeat(1.0 / count, count)


def _axis_split(vectors: Coordinates, begin: NDArray[np.int64]) -> Floats:
    """Axis by axis: evenly over the first components that are possible, then over the second ones behind each, ..."""
    owner = np.repeat(np.arange(len(begin) - 1), np.diff(begin))
    weight = np.ones(len(vectors))
    for axis in range(vectors.shape[1]):
        begins = np.ones(len(vectors), np.bool_)
        begins[1:] = (owner[1:] != owner[:-1]) | (vectors[1:, axis] != vectors[:-1, axis])
        branch = np.cumsum(begins) - 1
        branches = np.bincount(owner[begins], minlength=len(begin) - 1)
        weight /= branches[owner]
        owner = branch
        begin = np.append(np.flatnonzero(begins), len(vectors))
    return weight


def _shortest(vectors: Coordinates, begin: NDArray[np.int64]) -> Floats:
    """All to the vector whose absolute components come first in lexicographic order; of two signs, plus."""
    return _first_of((vectors < 0, np.abs(vectors)), begin)


def _lexicographic(vectors: Coordinates, begin: NDArray[np.int64]) -> Floats:
    """All to the vector that comes last in lexicographic order: plus before minus, axis after axis."""
    return _first_of((-vectors,), begin)


def _first_of(keys: tuple[NDArray[np.generic], ...], begin: NDArray[np.int64]) -> Floats:
    """Weight 1 for the first vector of each node; the last keys count most, and of each the first axis."""
    owner = np.repeat(np.arange(len(begin) - 1), np.diff(begin))
    columns = [key[:, axis] for key in keys for axis in reversed(range(key.shape[1]))]
    order = np.lexsort((*columns, owner))
    weight = np.zeros(len(owner))
    weight[order[begin[:-1]]] = 1.0
    return weight


TIES: Final[Mapping[str, Callable[[Coordinates, NDArray[np.int64]], Floats]]] = {
    "split": _split,
    "axis_split": _axis_split,
    "shortest": _shortest,
    "lexicographic": _lexicographic,
}
"""What is done where several vectors between two nodes are shortest."""


@dataclass(frozen=True)
class DimensionOrder(Routing):
    """One axis after the other, along a shortest vector; on meshes, tori and twisted tori.

    Parameters
    ----------
    ties
        Which vector, where several are shortest: a key of `TIES`.
    order
        Axes in the order in which they are taken; by default x, y, z, ...
    """

    ties: str = "split"
    order: tuple[int, ...] | None = None
    name: ClassVar[str] = "dimension_order"

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.choice("ties", TIES)
        check.finish()

    def loads(self, graph: Graph, demand: Floats) -> Loads:
        """Bytes on every link; see `Routing.loads`."""
        plan = _Plan(self, graph)
        load = np.zeros(len(graph.target))
        late = walk_matrix(
            plan.link_at, graph.target, graph.hop_s, plan.order, plan.ways, demand, load, plan.links, plan.away
        )
        return Loads(load, late)

    def routes(self, graph: Graph, source: Ints, goal: Ints) -> Routes:
        """Links of pairs of different chips."""
        plan = _Plan(self, graph)
        begin = np.zeros(len(source) + 1, np.int64)
        link, share = np.empty(0, np.int32), np.empty(0)
        late = 0.0
        for _ in range(2):
            late = walk_pairs(
                plan.link_at,
                graph.target,
                graph.hop_s,
                plan.order,
                plan.ways,
                source,
                goal,
                begin,
                link,
                share,
                plan.links,
                plan.away,
            )
            if len(link) < begin[-1]:
                link, share = np.empty(begin[-1], np.int32), np.empty(begin[-1])
        return Routes(begin, link, share, late)

    def paths(self, graph: Graph, source: Ints, goal: Ints, size: Floats) -> list[Path]:
        """Ways of the bytes of pairs of different chips; see `Routing.paths`."""
        routes = self.routes(graph, source, goal)
        found = []
        for pair, (start, end, whole) in enumerate(zip(source.tolist(), goal.tolist(), size.tolist(), strict=True)):
            part = slice(*routes.begin[pair : pair + 2])
            links, shares = routes.link[part], routes.share[part]
            begins = [*np.flatnonzero(graph.source[links] == start).tolist(), len(links)]
            found += [
                Path(start, end, tuple(links[first:last].tolist()), whole * float(shares[first]))
                for first, last in pairwise(begins)
            ]
        return found


class _Plan:
    """What the kernels need of a rule and a graph."""

    def __init__(self, rule: DimensionOrder, graph: Graph) -> None:
        lattice = graph.lattice
        if lattice is None:
            raise InputError("dimension order needs axes: allowed are meshes, tori and twisted tori")
        order = tuple(range(lattice.axes)) if rule.order is None else tuple(rule.order)
        if sorted(order) != list(range(lattice.axes)):
            raise InputError(f"read the axes {order}, allowed is each of 0 to {lattice.axes - 1} once")
        cover = lattice.cover
        vectors, begin = lattice.shortest_vectors
        self.order = np.array(order, np.int64)
        self.ways = Ways(
            lattice.coordinates,
            np.array(cover.shape, np.int64),
            np.array(cover.twist_order, np.int64),
            np.array(cover.twist, np.int64),
            vectors,
            TIES[rule.ties](vectors, begin),
            begin,
        )
        self.link_at = graph.link_at
        self.links = np.empty(int(np.abs(vectors).sum(axis=1).max()), np.int32)
        self.away = np.empty(lattice.axes, np.int64)


def datelines(graph: Graph, lattice: Lattice) -> NDArray[np.bool_]:
    """One cable of every ring along every closed axis, both its links: the one that leads up to the ring's first node.

    On a twisted torus a ring along an axis goes on through the twist until it closes.
    """
    marked = np.zeros(len(graph.source), np.bool_)
    for axis in range(lattice.axes):
        up = np.flatnonzero(graph.port == 2 * axis)
        if not lattice.wrap[axis] or not len(up):
            continue
        after = np.arange(graph.nodes)
        after[graph.source[up]] = graph.target[up]
        lowest, here = np.arange(graph.nodes), after.copy()
        for _ in range(lattice.period(axis) - 1):
            lowest, here = np.minimum(lowest, here), after[here]
        crossing = up[lowest[graph.target[up]] == graph.target[up]]
        marked[crossing] = marked[graph.reverse[crossing]] = True
    return marked


def is_deadlock_free(graph: Graph, rule: DimensionOrder, channels: int = 2) -> bool:
    """True if no chain of virtual channels, each waiting for the next, comes back to where it began.

    Every route starts an axis in channel 0 and, with two channels, goes on in channel 1 behind the axis's dateline.

    Source: Dally and Seitz, *Deadlock-free message routing in multiprocessor interconnection networks*, IEEE Trans.
    Computers C-36(5), 1987: routing is free of deadlock if and only if the dependency graph of its channels is acyclic.

    Parameters
    ----------
    channels
        Virtual channels of a link, 1 or 2.

    Raises
    ------
    InputError
        If the graph has no axes, or too many channels to check.
    """
    if channels not in (1, 2):
        raise InputError(f"read {channels!r} virtual channels, allowed are 1 and 2")
    plan = _Plan(rule, graph)
    lattice = graph.lattice
    assert lattice is not None
    links, ports = len(graph.source), 2 * lattice.axes
    if links * ports * channels**2 > MOST_CHANNEL_PAIRS:
        raise InputError(f"read a network of {links:,} links, which has too many channels to check for deadlock")
    follows = np.zeros((links * channels, ports * channels), np.bool_)
    line = datelines(graph, lattice)
    follow_channels(
        plan.link_at, graph.target, graph.port, plan.order, plan.ways, line, channels, follows, plan.links, plan.away
    )
    before, behind = np.nonzero(follows)
    node = graph.target[before // channels]
    after = plan.link_at[node, behind // channels].astype(np.int64) * channels + behind % channels
    return is_acyclic(before, after, links * channels)

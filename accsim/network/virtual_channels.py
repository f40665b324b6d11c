"""Virtual channels with which a network may use all shortest paths and never deadlock.

A scheme sorts paths into classes, each with channels of its own, and has a path go up a level behind some links. A
network is free of deadlock if no chain of channels, each of which a path takes right after the one before, comes back
to where it began (Dally and Seitz, 1987). ``docs/network.md`` has why each scheme has no such chain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accsim.errors import InputError, check_choice
from accsim.kernels.paths import follow_shortest
from accsim.network.dimension_order import MOST_CHANNEL_PAIRS, DimensionOrder, is_deadlock_free
from accsim.network.graph import Graph, is_acyclic

Bools = NDArray[np.bool_]

ESCAPE: Final = "escape"
"""One channel for all shortest paths, and two to which a message that has to wait goes over for the rest of its way."""


@dataclass(frozen=True, eq=False)
class Scheme:
    """How a path gets its channels.

    Attributes
    ----------
    classes
        Links that a path of each class may take; bool[classes, links].
    rises
        Behind these links a path goes up a level; bool[links].
    """

    classes: Bools
    rises: Bools


def _hops(graph: Graph) -> Scheme:
    """A level for every hop (Günther, *Prevention of deadlocks in packet-switched data transport systems*, 1981)."""
    every = np.ones(len(graph.target), np.bool_)
    return Scheme(every[None], every)


def _negative_hops(graph: Graph) -> Scheme:
    """A level for every hop to a lower colour, neighbours being of different colours.

    Source: Gopal, *Prevention of store-and-forward deadlock in computer networks*, IEEE Trans. Communications 33(12),
    1985; Boppana and Chalasani, ISCA 1993.
    """
    colour = np.full(graph.nodes, -1)
    hops = graph.hops(0)
    for node in np.argsort(hops, kind="stable").tolist():
        taken = set(colour[graph.target[graph.first[node] : graph.first[node + 1]]].tolist())
        colour[node] = next(number for number in range(len(taken) + 1) if number not in taken)
    return Scheme(np.ones((1, len(graph.target)), np.bool_), colour[graph.source] > colour[graph.target])


def _orthants(graph: Graph) -> Scheme:
    """A class for every choice of a direction along each axis, and a level for every end of the grid that is crossed.

    Source: Linder and Harden, *An adaptive and fault tolerant wormhole routing strategy for k-ary n-cubes*, IEEE Trans.
    Computers 40(1), 1991.
    """
    lattice = graph.lattice
    if lattice is None:
        raise InputError("channels by orthants need axes: allowed are meshes, tori and twisted tori")
    axis, down = np.divmod(graph.port, 2)
    at = lattice.coordinates[graph.source, axis]
    last = np.where(down, 0, np.array(lattice.shape)[axis] - 1)
    signs = np.array(list(product((0, 1), repeat=lattice.axes)))
    return Scheme(signs[:, axis] == down, at == last)


SCHEMES: Final[Mapping[str, Callable[[Graph], Scheme]]] = {
    "hops": _hops,
    "negative_hops": _negative_hops,
    "orthants": _orthants,
}
"""By name; `ESCAPE` beside them."""


@dataclass(frozen=True)
class MinimalChannels:
    """Virtual channels for all shortest paths of a network.

    Attributes
    ----------
    scheme
        Its name.
    per_link
        Channels of the link that needs most.
    deadlock_free
        True if no chain of channels comes back to where it began.
    """

    scheme: str
    per_link: int
    deadlock_free: bool


def minimal_channels(graph: Graph, scheme: str = ESCAPE) -> MinimalChannels:
    """Channels that a scheme needs, and whether it keeps a network free of deadlock: all paths are followed.

    Parameters
    ----------
    scheme
        A key of `SCHEMES`, or ``escape``: a message takes any shortest path in one channel, and where it would wait it
        may go on in dimension order in two others, which it does not leave (Duato, *A new theory of deadlock-free
        adaptive routing in wormhole networks*, IEEE Trans. Parallel and Distributed Systems 4(12), 1993).

    Raises
    ------
    InputError
        If there is no such scheme, it does not fit the network, or there are too many channels to follow.

    Examples
    --------
    >>> from accsim.network import Torus
    >>> minimal_channels(Torus((4, 4)).graph, "negative_hops")
    MinimalChannels(scheme='negative_hops', per_link=3, deadlock_free=True)
    """
    check_choice("scheme of channels", scheme, (ESCAPE, *SCHEMES))
    if scheme == ESCAPE:
        return MinimalChannels(scheme, 3, is_deadlock_free(graph, DimensionOrder()))
    per_link, free = follow(graph, SCHEMES[scheme](graph))
    return MinimalChannels(scheme, per_link, free)


def follow(graph: Graph, scheme: Scheme, levels: int | None = None) -> tuple[int, bool]:
    """Channels of the link that needs most, and whether no chain of channels comes back to where it began.

    Parameters
    ----------
    levels
        Levels that paths have; those that would go beyond the last are not followed. By default enough for all.

    Raises
    ------
    InputError
        If there are more pairs of channels than `MOST_CHANNEL_PAIRS`.
    """
    levels = levels or max(1, graph.diameter)
    links, most = len(graph.target), int(np.diff(graph.first).max(initial=0))
    if links * most * levels**2 > MOST_CHANNEL_PAIRS:
        raise InputError(f"read a network of {links:,} links, which has too many channels to check for deadlock")
    scratch = (
        np.empty(graph.nodes, np.int32),
        np.empty(graph.nodes, np.int32),
        np.empty((graph.nodes, levels), np.bool_),
    )
    taken, free = np.zeros(links, np.int64), True
    for allowed in scheme.classes:
        follows = np.zeros((links * levels, most * levels), np.bool_)
        used = np.zeros((links, levels), np.bool_)
        follow_shortest(graph.first, graph.target, allowed, scheme.rises, graph.chips, follows, used, *scratch)
        taken += used.sum(axis=1)
        before, behind = np.nonzero(follows)
        after = (graph.first[graph.target[before // levels]].astype(np.int64) + behind // levels) * levels
        free = free and is_acyclic(before, after + behind % levels, links * levels)
    return int(taken.max(initial=0)), free

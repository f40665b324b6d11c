"""Traffic as paths from end to end: what flows over the links, taken apart into ways from chip to chip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from accsim.network.graph import Floats, Graph

ROUNDING = 1e-6
"""Share of a goal's bytes that may be missing in a flow: what a linear program leaves open."""


MOST_PATHS = 2**16
"""Of all pairs together."""


class Path(NamedTuple):
    """A way from one chip to another, and the bytes that take it."""

    source: int
    goal: int
    links: tuple[int, ...]
    size: float


def take_apart(graph: Graph, flow: Floats, source: int, wanted: Mapping[int, float]) -> list[Path]:
    """Paths of which a flow from one chip consists, at most as many as it has links; circles are left out.

    From a goal back, each follows the link that brings most of what is left, the first of equal ones (Ford and
    Fulkerson, *Flows in networks*, 1962, section I.2).

    Parameters
    ----------
    flow
        Bytes on each link, float64[links].
    wanted
        Bytes for each goal: what comes to it less what leaves it.
    """
    left = flow.copy()
    found = []
    for goal, size in wanted.items():
        ways: dict[tuple[int, ...], float] = {}
        open_ = size
        while open_ > ROUNDING * size and (links := _back(graph, left, source, goal)):
            part = min(open_, float(left[links].min()))
            left[links] -= part
            open_ -= part
            ways[tuple(links)] = part
        ways = ways or {_shortest(graph, source, goal): size}
        found += [Path(source, goal, way, size * part / sum(ways.values())) for way, part in ways.items()]
    return found


def join(first: Sequence[Path], second: Sequence[Path]) -> list[Path]:
    """Paths that go on along others from where they end: as many bytes on each of both, in their order."""
    found = []
    rest = [path.size for path in second]
    at = 0
    for path in first:
        left = path.size
        while at < len(second) and left > ROUNDING * path.size:
            part = min(left, rest[at])
            found.append(Path(path.source, second[at].goal, path.links + second[at].links, part))
            left -= part
            rest[at] -= part
            at += rest[at] <= ROUNDING * second[at].size
    return found


def _back(graph: Graph, left: Floats, source: int, goal: int) -> list[int]:
    """Links from the source to a goal that still carry something, none if there are none; breaks up circles."""
    links: list[int] = []
    nodes = [goal]
    while nodes[-1] != source:
        coming = graph.reverse[graph.first[nodes[-1]] : graph.first[nodes[-1] + 1]]
        link = int(coming[np.argmax(left[coming])])
        if left[link] <= 0:
            return []
        links.append(link)
        nodes.append(int(graph.source[link]))
        if nodes[-1] in nodes[:-1]:
            begin = nodes.index(nodes[-1])
            circle = links[begin:]
            left[circle] -= left[circle].min()
            del links[begin:], nodes[begin + 1 :]
    return links[::-1]


def _shortest(graph: Graph, source: int, goal: int) -> tuple[int, ...]:
    """Links of a shortest path, the first ones that lead nearer."""
    away = graph.hops(goal)
    links: list[int] = []
    here = source
    while here != goal:
        out = range(int(graph.first[here]), int(graph.first[here + 1]))
        links.append(next(link for link in out if away[graph.target[link]] < away[here]))
        here = int(graph.target[links[-1]])
    return tuple(links)

"""Routing: which links the traffic between two chips takes, and the load that puts on every link."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accsim.errors import InputError
from accsim.kernels.paths import count_paths, hops_from, list_all_links, list_steps, spread_alike, spread_evenly
from accsim.network.graph import Floats, Graph, Ints
from accsim.network.paths import MOST_PATHS, Path, join, take_apart


class Loads(NamedTuple):
    """What traffic puts on links.

    Attributes
    ----------
    bytes
        Of each link, float64[links]; or, folded, of each link of a port, float64[ports].
    latency_s
        Of the slowest route with traffic.
    """

    bytes: Floats
    latency_s: float


class Routes(NamedTuple):
    """Links of pairs of chips: pair f puts ``share`` of its bytes on each of ``link[begin[f] : begin[f + 1]]``.

    Attributes
    ----------
    latency_s
        Of the slowest route.
    """

    begin: NDArray[np.int64]
    link: Ints
    share: Floats
    latency_s: float


class Routing(ABC):
    """A rule for routes. Each rule that treats all chips alike keeps a graph's symmetry, so that it can be folded."""

    name: ClassVar[str]

    @abstractmethod
    def loads(self, graph: Graph, demand: Floats) -> Loads:
        """Bytes on every link when chip s sends ``demand[s, t]`` bytes to chip t.

        Parameters
        ----------
        demand
            float64[sources, chips]; sources are the first chips. What a chip sends to itself is left out.
        """

    def folded(self, graph: Graph, row: Floats) -> Loads:
        """Bytes on every link of each port when every chip sends what ``row`` says of chip 0, seen from itself.

        Parameters
        ----------
        graph
            A symmetric one: all links of a port then carry the same.
        row
            float64[chips], bytes from chip 0 to each chip.
        """
        found = self.loads(graph, row[None, :])
        return Loads(fold(graph, found.bytes), found.latency_s)

    def routes(self, graph: Graph, source: Ints, goal: Ints) -> Routes:  # noqa: ARG002
        """Links of pairs of different chips.

        Raises
        ------
        InputError
            If the rule has no fixed routes.
        """
        raise InputError(
            f"routing '{self.name}' has no fixed routes, allowed for flows are minimal and dimension_order"
        )

    def paths(self, graph: Graph, source: Ints, goal: Ints, size: Floats) -> list[Path]:
        """Ways of the bytes of pairs of different chips, by which links get the loads of the rule.

        Parameters
        ----------
        size
            Bytes of each pair.
        """
        routes = self.routes(graph, source, goal)
        found = []
        for pair, (start, end, whole) in enumerate(zip(source.tolist(), goal.tolist(), size.tolist(), strict=True)):
            part = slice(*routes.begin[pair : pair + 2])
            flow = np.zeros(len(graph.target))
            np.add.at(flow, routes.link[part], routes.share[part] * whole)
            found += take_apart(graph, flow, start, {end: whole})
        return found


def fold(graph: Graph, load: Floats) -> Floats:
    """Load of one chip's traffic, added up by port.

    Raises
    ------
    InputError
        If the graph is not symmetric.
    """
    if not graph.symmetric:
        raise InputError("only meshes without ends, hypercubes and fully connected chips look the same from every chip")
    return np.bincount(graph.port, weights=load, minlength=graph.ports).astype(np.float64)


@dataclass(frozen=True)
class Minimal(Routing):
    """Every pair's traffic split evenly over all its shortest paths, by hops."""

    name: ClassVar[str] = "minimal"

    def loads(self, graph: Graph, demand: Floats) -> Loads:
        """Bytes on every link; see `Routing.loads`."""
        load = np.zeros(len(graph.target))
        if graph.symmetric and len(demand) > 1 and len(load):
            return Loads(load, _spread_alike(graph, demand, load))
        ints, floats = _scratch(graph, 2), _float_scratch(graph, 3)
        late = spread_evenly(graph.first, graph.target, graph.hop_s, demand, load, *ints, *floats)
        return Loads(load, late)

    def routes(self, graph: Graph, source: Ints, goal: Ints) -> Routes:
        """Links of pairs of different chips; quickest where pairs of a source follow each other."""
        begin = np.zeros(len(source) + 1, np.int64)
        link, share = np.empty(0, np.int32), np.empty(0)
        hops, order, queue = _scratch(graph, 3)
        late = 0.0
        for _ in range(2):
            late = list_all_links(
                graph.first,
                graph.target,
                graph.reverse,
                graph.hop_s,
                source,
                goal,
                begin,
                link,
                share,
                hops,
                order,
                *_float_scratch(graph, 3),
                queue,
            )
            if len(link) < begin[-1]:
                link, share = np.empty(begin[-1], np.int32), np.empty(begin[-1])
        return Routes(begin, link, share, late)


@dataclass(frozen=True)
class Valiant(Routing):
    """To a chip drawn at random, then to the goal, both ways split evenly over all shortest paths.

    Source: Valiant, *A scheme for fast parallel communication*, SIAM J. Computing 11(2), 1982.
    """

    name: ClassVar[str] = "valiant"

    def loads(self, graph: Graph, demand: Floats) -> Loads:
        """Bytes on every link; see `Routing.loads`."""
        sent = demand.copy()
        np.fill_diagonal(sent, 0.0)
        out = np.zeros(graph.chips)
        out[: len(sent)] = sent.sum(axis=1)
        there = Minimal().loads(graph, np.broadcast_to(out[: len(sent), None] / graph.chips, sent.shape))
        square = (graph.chips, graph.chips)
        back = Minimal().loads(graph, np.broadcast_to(sent.sum(axis=0) / graph.chips, square))
        return Loads(there.bytes + back.bytes, there.latency_s + back.latency_s)

    def paths(self, graph: Graph, source: Ints, goal: Ints, size: Floats) -> list[Path]:
        """Ways of the bytes of pairs of different chips: to each chip of the network, and on from there.

        Raises
        ------
        InputError
            If there are more than `MOST_PATHS`.
        """
        if len(source) * graph.chips > MOST_PATHS:
            raise InputError(
                f"valiant routing of {len(source):,} pairs by way of {graph.chips:,} chips, allowed are at most "
                f"{MOST_PATHS:,} ways"
            )
        chips = range(graph.chips)
        legs = {(s, m) for s in source.tolist() for m in chips} | {(m, t) for t in goal.tolist() for m in chips}
        ends = np.array(sorted((s, t) for s, t in legs if s != t), np.int32).reshape(-1, 2)
        ways: dict[tuple[int, int], list[Path]] = {(chip, chip): [Path(chip, chip, (), 1.0)] for chip in chips}
        for way in Minimal().paths(graph, ends[:, 0], ends[:, 1], np.ones(len(ends))):
            ways.setdefault((way.source, way.goal), []).append(way)
        return [
            way._replace(size=way.size * whole / graph.chips)
            for start, end, whole in zip(source.tolist(), goal.tolist(), size.tolist(), strict=True)
            for middle in chips
            for way in join(ways[start, middle], ways[middle, end])
        ]

    def folded(self, graph: Graph, row: Floats) -> Loads:
        """Bytes on every link of each port: twice those of a chip that sends its mean row to all."""
        mean = (row.sum() - row[0]) / graph.chips
        half = Minimal().folded(graph, np.full(graph.chips, mean))
        return Loads(2 * half.bytes, 2 * half.latency_s)


def _spread_alike(graph: Graph, demand: Floats, load: Floats) -> float:
    """Add to the loads of a symmetric graph those of paths from every source; latency of the slowest."""
    ints, floats = _scratch(graph, 2), _float_scratch(graph, 2)
    count = hops_from(graph.first, graph.target, 0, *ints)
    count_paths(graph.first, graph.target, graph.hop_s, *ints, count, *floats)
    steps, share = np.empty((len(load), 3), np.int32), np.empty(len(load))
    taken = list_steps(graph.first, graph.target, graph.port, *ints, count, floats[0], steps, share)
    scratch = np.empty(taken, np.int32), *_scratch(graph, 1), *_float_scratch(graph, 2)
    moved = steps[:taken], share[:taken]
    return float(spread_alike(graph.link_at, graph.target, graph.hop_s, *moved, demand, load, *scratch))


def _scratch(graph: Graph, count: int) -> list[Ints]:
    return [np.empty(graph.nodes, np.int32) for _ in range(count)]


def _float_scratch(graph: Graph, count: int) -> list[Floats]:
    return [np.empty(graph.nodes) for _ in range(count)]

"""How long traffic takes on a network: levels of contention behind one interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accsim.config.checks import ArgumentChecks, shown
from accsim.engine.program import TICKS_PER_CYCLE
from accsim.engine.run import run_program
from accsim.errors import InputError, check_choice
from accsim.network.flows import FairShare
from accsim.network.graph import Floats, Graph, Ints
from accsim.network.lattice import axis_name
from accsim.network.paths import MOST_PATHS
from accsim.network.routing import Routes, Routing
from accsim.network.store_and_forward import CLOCK_HZ, forward_program

MOST_MATRIX_CHIPS: Final = 2**14
MOST_FLOWS: Final = 2**20


@dataclass(frozen=True)
class Endpoint:
    """What a chip can send and receive, whatever its links can carry.

    Parameters
    ----------
    injection_bytes_per_s, ejection_bytes_per_s
        Into and out of the network; None without a limit.
    hbm_bytes_per_s
        Of the memory that is read for what is sent and written for what is received; None without a limit.
    descriptor_bytes, descriptor_s
        A DMA descriptor moves so many bytes of one message, and takes so long to issue, one after the other.
    """

    injection_bytes_per_s: float | None = None
    ejection_bytes_per_s: float | None = None
    hbm_bytes_per_s: float | None = None
    descriptor_bytes: int = 4096
    descriptor_s: float = 0.0

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        limits = ("injection_bytes_per_s", "ejection_bytes_per_s", "hbm_bytes_per_s")
        check.number(*(name for name in limits if getattr(self, name) is not None), positive=True)
        check.count("descriptor_bytes")
        check.number("descriptor_s")
        check.finish()


UNLIMITED: Final = Endpoint()


class Demand(NamedTuple):
    """Bytes from each chip to each other.

    Attributes
    ----------
    bytes
        float64[chips, chips]; the diagonal does not count.
    uniform
        True if all pairs have the same.
    """

    bytes: Floats
    uniform: bool

    @property
    def sent(self) -> Floats:
        """Bytes that each chip sends, float64[chips]."""
        return self._sum(axis=1)

    @property
    def received(self) -> Floats:
        """Bytes that each chip receives, float64[chips]."""
        return self._sum(axis=0)

    def _sum(self, axis: int) -> Floats:
        own = np.diagonal(self.bytes)
        if self.uniform:  # of a pod of 65,536 chips the matrix would be too long to be added up
            return own * (len(own) - 1)
        return np.asarray(self.bytes.sum(axis=axis) - own)


def read_demand(chips: int, pattern: ArrayLike) -> Demand:
    """The demand of a pattern: a number of bytes for every ordered pair of chips, or a matrix.

    Raises
    ------
    InputError
        If it is not of chips x chips finite numbers of at least 0.
    """
    try:
        given = np.asarray(pattern, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"read the traffic {shown(pattern)}, allowed are bytes a pair or a matrix of them") from error
    if given.shape not in ((), (chips, chips)):
        raise InputError(f"read traffic of shape {given.shape}, allowed are a number and the shape ({chips}, {chips})")
    if not np.isfinite(given).all() or (given < 0).any():
        raise InputError("read traffic of negative or infinite bytes, allowed are finite numbers of at least 0")
    return Demand(np.broadcast_to(given, (chips, chips)), given.ndim == 0)


class Carried(NamedTuple):
    """What a level of contention finds.

    Attributes
    ----------
    link_bytes
        Of every link.
    links_s
        Until the last byte is through, latency not counted.
    latency_s
        Of the slowest route.
    """

    link_bytes: Floats
    links_s: float
    latency_s: float


def _folded(graph: Graph, demand: Demand, routing: Routing, _: Endpoint) -> Carried:
    """Links of a port carry the same: one chip's traffic is routed, and loads are added up by port."""
    if not demand.uniform:
        raise InputError(
            "folded contention needs the same bytes for every pair, allowed for others are links and flows"
        )
    found = routing.folded(graph, np.ascontiguousarray(demand.bytes[0]))
    load = found.bytes[graph.port]
    return Carried(load, float((load / graph.rate).max(initial=0.0)), found.latency_s)


def _links(graph: Graph, demand: Demand, routing: Routing, _: Endpoint) -> Carried:
    """All traffic is routed; the link that needs longest decides."""
    found = routing.loads(graph, demand.bytes)
    return Carried(found.bytes, float((found.bytes / graph.rate).max(initial=0.0)), found.latency_s)


def _flows(graph: Graph, demand: Demand, routing: Routing, endpoint: Endpoint) -> Carried:
    """Every pair is a flow, and flows share links, injection and ejection max-min fairly until the last has ended."""
    source, goal, size = _pairs(demand)
    if not len(source):
        return Carried(np.zeros(len(graph.target)), 0.0, 0.0)
    if len(source) > MOST_FLOWS:
        raise InputError(f"contention 'flows' of {len(source):,} pairs of chips, allowed are at most {MOST_FLOWS:,}")
    routes = routing.routes(graph, source, goal)
    load = _load(graph, routes, size)
    capacity = [graph.rate]
    for limit, end in ((endpoint.injection_bytes_per_s, source), (endpoint.ejection_bytes_per_s, goal)):
        if limit is not None:
            routes = _with_link(routes, end.astype(np.int64) + sum(map(len, capacity)))
            capacity.append(np.full(graph.chips, limit))
    ends, _ = FairShare(np.concatenate(capacity), routes).ends(size)
    return Carried(load, float(ends.max()), routes.latency_s)


def _chunks(graph: Graph, demand: Demand, routing: Routing, endpoint: Endpoint) -> Carried:
    """Chunks of every pair go from node to node, each link serving one after the other, in the tile engine."""
    source, goal, size = _pairs(demand)
    if not len(source):
        return Carried(np.zeros(len(graph.target)), 0.0, 0.0)
    if len(source) > MOST_PATHS:
        raise InputError(f"contention 'chunks' of {len(source):,} pairs of chips, allowed are at most {MOST_PATHS:,}")
    paths = routing.paths(graph, source, goal, size)
    load = np.zeros(len(graph.target))
    for path in paths:
        np.add.at(load, list(path.links), path.size)
    latency = max(float(graph.hop_s[list(path.links)].sum()) for path in paths)
    program = forward_program(graph, paths, endpoint.injection_bytes_per_s, endpoint.ejection_bytes_per_s)
    seconds = run_program(program, attribution=False).total_ticks / TICKS_PER_CYCLE / CLOCK_HZ
    return Carried(load, max(0.0, seconds - latency), latency)


def _pairs(demand: Demand) -> tuple[Ints, Ints, Floats]:
    """Chips that send, chips that receive, and bytes of each pair that has any."""
    wanted = np.array(demand.bytes)
    np.fill_diagonal(wanted, 0.0)
    source, goal = (index.astype(np.int32) for index in np.nonzero(wanted))
    return source, goal, wanted[source, goal]


def _load(graph: Graph, routes: Routes, size: Floats) -> Floats:
    """Bytes of pairs on every link."""
    weights = np.repeat(size, np.diff(routes.begin)) * routes.share
    return np.bincount(routes.link, weights=weights, minlength=len(graph.target)).astype(np.float64)


def _with_link(routes: Routes, link: NDArray[np.int64]) -> Routes:
    """The routes with one more link each."""
    at = routes.begin[1:]
    return Routes(
        routes.begin + np.arange(len(routes.begin)),
        np.insert(routes.link, at, link).astype(np.int32),
        np.insert(routes.share, at, 1.0),
        routes.latency_s,
    )


LEVELS: Final[Mapping[str, Callable[[Graph, Demand, Routing, Endpoint], Carried]]] = {
    "folded": _folded,
    "links": _links,
    "flows": _flows,
    "chunks": _chunks,
}
"""Levels of contention by name, from quick to detailed."""


@dataclass(frozen=True, eq=False)
class Transfer:
    """Traffic on a network and what it takes.

    Attributes
    ----------
    time_s
        Until the last byte has arrived: the slowest of links and chips, and the latency of the slowest route.
    latency_s
        That latency.
    link_bytes
        Bytes on every link of the graph.
    bound_by
        What takes longest: ``link x+`` (of an axis, upwards) or ``link 3 -> 7``, ``injection``, ``ejection``, ``hbm``,
        ``dma``, ``latency``; ``nothing`` where nothing is sent.
    bounds_s
        Time of each but the latency: ``links`` and those of the chips.
    algorithm
        The routing and the level of contention.
    """

    time_s: float
    latency_s: float
    link_bytes: Floats
    bound_by: str
    bounds_s: Mapping[str, float]
    algorithm: str

    @property
    def max_link_bytes(self) -> float:
        """Bytes on the link that carries most."""
        return float(self.link_bytes.max(initial=0.0))


def transfer(graph: Graph, demand: Demand, routing: Routing, level: str, endpoint: Endpoint) -> Transfer:
    """How long a demand takes.

    Parameters
    ----------
    level
        A key of `LEVELS`, or ``auto``: ``folded`` where that is exact, else ``links``.

    Raises
    ------
    InputError
        If level or routing do not fit graph or demand.
    """
    if level == "auto":
        level = "folded" if graph.symmetric and demand.uniform else "links"
    check_choice("level of contention", level, ("auto", *LEVELS))
    if level != "folded" and graph.chips > MOST_MATRIX_CHIPS:
        raise InputError(f"contention '{level}' of {graph.chips:,} chips, allowed are at most {MOST_MATRIX_CHIPS:,}")
    found = LEVELS[level](graph, demand, routing, endpoint)
    bounds = {"links": found.links_s, **_chip_bounds(demand, endpoint)}
    slowest = max(bounds, key=lambda name: bounds[name])
    time = bounds[slowest] + found.latency_s
    if time == 0:
        bound_by = "nothing"
    elif found.latency_s > bounds[slowest]:
        bound_by = "latency"
    else:
        bound_by = slowest if slowest != "links" else f"link {_link_name(graph, found.link_bytes)}"
    return Transfer(time, found.latency_s, found.link_bytes, bound_by, bounds, f"{routing.name}, {level}")


def _chip_bounds(demand: Demand, endpoint: Endpoint) -> dict[str, float]:
    """Time that the busiest chip needs, by what it needs it for; only of what is limited."""
    sent, received = demand.sent, demand.received
    found: dict[str, float] = {}
    for name, limit, moved in (
        ("injection", endpoint.injection_bytes_per_s, sent),
        ("ejection", endpoint.ejection_bytes_per_s, received),
        ("hbm", endpoint.hbm_bytes_per_s, sent + received),
    ):
        if limit is not None:
            found[name] = float(moved.max()) / limit
    if endpoint.descriptor_s:
        each = np.ceil((demand.bytes[0, 0] if demand.uniform else demand.bytes) / endpoint.descriptor_bytes)
        pieces = Demand(np.broadcast_to(each, demand.bytes.shape), demand.uniform)
        found["dma"] = float(pieces.sent.max()) * endpoint.descriptor_s
    return found


def _link_name(graph: Graph, load: Floats) -> str:
    """The first of the links that need longest: its axis and direction, or its ends."""
    need = load / graph.rate
    link = int(np.argmax(need >= need.max() * (1 - 1e-9)))
    if graph.lattice is not None:
        port = int(graph.port[link])
        return axis_name(port // 2) + "+-"[port % 2]
    return " -> ".join(graph.name(int(end)) for end in (graph.source[link], graph.target[link]))

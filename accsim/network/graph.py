"""A network as arrays: chips, switches, and directed links sorted by the node they leave (CSR)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accsim.config.checks import ArgumentChecks
from accsim.errors import InputError
from accsim.kernels.paths import hops_from

if TYPE_CHECKING:
    from accsim.network.lattice import Lattice

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

LIGHT_M_PER_S: Final = 299_792_458.0
SPEED: Final = {"copper": 0.7, "optical": 1 / 1.468}
"""Signal speed as a share of that of light: a typical twinax cable (assumed); single-mode fibre (group index of
Corning SMF-28 at 1310 and 1550 nm, rounded)."""

MOST_NODES: Final = 2**22


@dataclass(frozen=True)
class Cable:
    """What a link runs over, both directions together.

    Parameters
    ----------
    medium
        ``copper`` or ``optical``.
    length_m
        Adds to the latency what the signal needs for it.
    cost_usd, power_w
        With the transceivers at both ends; None where unknown.
    """

    medium: str = "copper"
    length_m: float = 0.0
    cost_usd: float | None = None
    power_w: float | None = None

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.choice("medium", SPEED)
        check.number("length_m")
        check.number(*(name for name in ("cost_usd", "power_w") if getattr(self, name) is not None))
        check.finish()

    @property
    def latency_s(self) -> float:
        """Time of flight."""
        return self.length_m / (SPEED[self.medium] * LIGHT_M_PER_S)


COPPER: Final = Cable("copper")
OPTICAL: Final = Cable("optical")


@dataclass(frozen=True)
class Link:
    """A kind of link, one direction.

    Parameters
    ----------
    bytes_per_s
        Raw bandwidth of the direction.
    latency_s
        From port to port, without the cable.
    efficiency
        Share of the bandwidth that payload gets.
    """

    bytes_per_s: float
    latency_s: float
    cable: Cable = COPPER
    efficiency: float = 1.0

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.number("bytes_per_s", positive=True)
        check.number("latency_s")
        check.number("efficiency", positive=True, most=1.0)
        check.finish()

    @property
    def rate(self) -> float:
        """Payload bytes a second."""
        return self.bytes_per_s * self.efficiency

    @property
    def hop_s(self) -> float:
        """Latency of one hop, cable included."""
        return self.latency_s + self.cable.latency_s


class Cables(NamedTuple):
    """Pairs of nodes to be joined; each becomes two links.

    Attributes
    ----------
    a, b
        The ends, int[cables].
    kind
        Index into the kinds of links.
    port_a, port_b
        Port that the link from ``a`` to ``b`` leaves by, and that from ``b`` to ``a``.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    kind: NDArray[np.int64]
    port_a: NDArray[np.int64]
    port_b: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes and directed links as read-only arrays.

    Attributes
    ----------
    chips
        Nodes 0 to ``chips`` - 1 send and receive; those behind them are switches.
    first
        The links that leave node v are ``first[v]`` to ``first[v + 1]`` - 1; int32[nodes + 1].
    source, target, reverse
        Ends of each link, and the link the other way over the same cable; int32[links].
    port
        Port of its source that a link leaves by; int32[links].
    kind
        Index of its kind in ``links``; int32[links].
    links
        The kinds.
    symmetric
        True if for any two chips a symmetry of the graph that keeps ports takes one to the other: the loads of what one
        chip sends, added up by port, are then those of uniform traffic.
    lattice
        Coordinates, where the graph is a mesh, torus or twisted torus.
    names
        Names of nodes, where they have any.
    """

    chips: int
    first: Ints
    source: Ints
    target: Ints
    reverse: Ints
    port: Ints
    kind: Ints
    links: tuple[Link, ...]
    symmetric: bool = False
    lattice: Lattice | None = None
    names: tuple[str, ...] = ()

    @property
    def nodes(self) -> int:
        """Chips and switches."""
        return len(self.first) - 1

    def name(self, node: int) -> str:
        """Name of a node."""
        if self.names:
            return self.names[node]
        return f"chip {node}" if node < self.chips else f"switch {node - self.chips}"

    @property
    def ports(self) -> int:
        """Ports of a node, at most."""
        return int(self.port.max()) + 1 if len(self.port) else 0

    @cached_property
    def rate(self) -> Floats:
        """Payload bytes a second of each link."""
        return np.array([link.rate for link in self.links])[self.kind]

    @cached_property
    def hop_s(self) -> Floats:
        """Latency of each link."""
        return np.array([link.hop_s for link in self.links])[self.kind]

    @cached_property
    def link_at(self) -> Ints:
        """Link that leaves each node by each port, -1 where there is none; int32[nodes, ports]."""
        found = np.full((self.nodes, self.ports), -1, np.int32)
        found[self.source, self.port] = np.arange(len(self.source))
        return found

    @property
    def cost_usd(self) -> float | None:
        """Cost of all cables; None if that of one is unknown."""
        return self._total([link.cable.cost_usd for link in self.links])

    @property
    def power_w(self) -> float | None:
        """Power of all cables; None if that of one is unknown."""
        return self._total([link.cable.power_w for link in self.links])

    def _total(self, each: list[float | None]) -> float | None:
        total = 0.0
        for value, links in zip(each, np.bincount(self.kind, minlength=len(each)), strict=True):
            if links and value is None:
                return None
            total += (value or 0.0) * int(links) / 2
        return total

    def hops(self, root: int) -> Ints:
        """Hops from a node to every node, -1 where no path leads; int32[nodes]."""
        hops = np.empty(self.nodes, np.int32)
        hops_from(self.first, self.target, root, hops, np.empty(self.nodes, np.int32))
        return hops

    @cached_property
    def _far(self) -> tuple[int, int, int]:
        """Longest distance, the sum of all, and the number of sources they are taken over."""
        roots = 1 if self.symmetric else self.chips
        longest = total = 0
        for root in range(roots):
            hops = self.hops(root)[: self.chips]
            longest, total = max(longest, int(hops.max())), total + int(hops.sum())
        return longest, total, roots

    @property
    def diameter(self) -> int:
        """Hops between the two chips furthest apart."""
        return self._far[0]

    @property
    def distance_sum(self) -> float:
        """Hops from a chip to all others, added up; the average over chips."""
        return self._far[1] / self._far[2]


def build_graph(
    chips: int,
    switches: int,
    cables: Cables,
    links: tuple[Link, ...],
    *,
    symmetric: bool = False,
    lattice: Lattice | None = None,
    names: tuple[str, ...] = (),
) -> Graph:
    """The graph of a list of cables. Links of one node are in order of their ports.

    Raises
    ------
    InputError
        If a node cannot be reached from the first, or there are more than `MOST_NODES`.
    """
    nodes = chips + switches
    if nodes > MOST_NODES:
        raise InputError(f"read a network of {nodes:,} nodes, allowed are at most {MOST_NODES:,}")
    source = np.concatenate([cables.a, cables.b])
    port = np.concatenate([cables.port_a, cables.port_b])
    order = np.lexsort((port, source))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    other = np.roll(place, len(cables.a))
    first = np.zeros(nodes + 1, np.int64)
    np.cumsum(np.bincount(source, minlength=nodes), out=first[1:])
    graph = Graph(
        chips,
        _fixed(first),
        _fixed(source[order]),
        _fixed(np.concatenate([cables.b, cables.a])[order]),
        _fixed(other[order]),
        _fixed(port[order]),
        _fixed(np.concatenate([cables.kind, cables.kind])[order]),
        links,
        symmetric,
        lattice,
        names,
    )
    lost = np.flatnonzero(graph.hops(0) < 0)
    if len(lost):
        shown = ", ".join(graph.name(int(node)) for node in lost[:5])
        raise InputError(f"the network is in parts: {len(lost):,} of its {nodes:,} nodes cannot be reached ({shown})")
    return graph


def is_acyclic(before: NDArray[np.int64], behind: NDArray[np.int64], size: int) -> bool:
    """True if no chain of steps from one of ``size`` things to the next comes back to where it began."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    steps = csr_array((np.ones(len(before), np.int8), (before, behind)), shape=(size, size))
    chains, _ = connected_components(steps, connection="strong")
    return bool(chains == size) and not (before == behind).any()


def _fixed(values: NDArray[np.int64]) -> Ints:
    array = values.astype(np.int32)
    array.flags.writeable = False
    return array

"""What all topologies have in common: the numbers of a link, the graph, and traffic on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from accsim.config.checks import ArgumentChecks
from accsim.errors import InputError
from accsim.network.collectives import Collective, run_collective
from accsim.network.contention import UNLIMITED, Endpoint, Transfer, read_demand, transfer
from accsim.network.graph import COPPER, OPTICAL, Cable, Graph, Link
from accsim.network.routing import Routing
from accsim.network.routings import read_routing
from accsim.network.stepwise import CollectiveTime, Stepwise


@dataclass(frozen=True, kw_only=True)
class Topology(ABC):
    """A network of chips.

    Parameters
    ----------
    link_bytes_per_s
        Raw bandwidth of a link, one direction. The default is that of TPU v4: 6 links of 50 GB/s.
    hop_latency_s
        From port to port. About 1 us on TPU, according to the JAX scaling book.
    link_efficiency
        Share of a link's bandwidth that payload gets.
    copper, optical
        The cables of links of either medium.
    endpoint
        Limits of a chip.

    Raises
    ------
    InputError
        With everything that is wrong with the arguments.
    """

    kind: ClassVar[str]
    link_bytes_per_s: float = 50e9
    hop_latency_s: float = 1e-6
    link_efficiency: float = 1.0
    copper: Cable = COPPER
    optical: Cable = OPTICAL
    endpoint: Endpoint = UNLIMITED

    def __post_init__(self) -> None:
        check = ArgumentChecks(self)
        check.number("link_bytes_per_s", positive=True)
        check.number("hop_latency_s")
        check.number("link_efficiency", positive=True, most=1.0)
        for field, type_ in (("copper", Cable), ("optical", Cable), ("endpoint", Endpoint)):
            if not isinstance(getattr(self, field), type_):
                check.fail(field, f"allowed is an accsim.network {type_.__name__}")
        self.check(check)
        check.finish()

    @abstractmethod
    def check(self, check: ArgumentChecks) -> None:
        """Note what is wrong with the arguments of this kind of topology, and normalize them."""

    @abstractmethod
    def build(self) -> Graph:
        """The graph."""

    @cached_property
    def graph(self) -> Graph:
        """The graph, built when first asked for."""
        return self.build()

    @property
    def chips(self) -> int:
        """Their number."""
        return self.graph.chips

    def links(self) -> tuple[Link, Link]:
        """A link over copper and one over fibre."""
        copper, optical = (
            Link(self.link_bytes_per_s, self.hop_latency_s, cable, self.link_efficiency)
            for cable in (self.copper, self.optical)
        )
        return copper, optical

    def link_loads(
        self, pattern: ArrayLike, *, routing: str | Routing = "minimal", contention: str = "auto"
    ) -> Transfer:
        """Load of every link, and the time it takes.

        Parameters
        ----------
        pattern
            Bytes for every ordered pair of chips, as a number or as a matrix [from, to].
        routing
            ``minimal``, ``dimension_order``, ``valiant``, ``optimal``, with fields as in
            ``dimension_order?ties=shortest``; or a `Routing`.
        contention
            ``folded``, ``links``, ``flows``, ``chunks``, or ``auto``: ``folded`` where that is exact, else ``links``.

        Raises
        ------
        InputError
            If a name is unknown, or pattern, routing and contention do not fit the network.
        """
        demand = read_demand(self.chips, pattern)
        return transfer(self.graph, demand, read_routing(routing), contention, self.endpoint)

    def all_to_all(
        self, bytes_per_pair: float, *, routing: str | Routing = "minimal", contention: str = "auto"
    ) -> Transfer:
        """Every chip sends so many bytes to every other; see `link_loads`."""
        return self.link_loads(float(bytes_per_pair), routing=routing, contention=contention)

    def permute(
        self, goal: Sequence[int], size: float, *, routing: str | Routing = "minimal", contention: str = "auto"
    ) -> Transfer:
        """Chip i sends ``size`` bytes to chip ``goal[i]``, to itself nothing; see `link_loads`.

        Raises
        ------
        InputError
            If the goals are not those of a permutation of all chips.
        """
        if sorted(goal) != list(range(self.chips)):
            raise InputError(f"read {len(goal)} goals, allowed is a permutation of the chips 0 to {self.chips - 1}")
        demand = np.zeros((self.chips, self.chips))
        demand[np.arange(self.chips), goal] = size
        return self.link_loads(demand, routing=routing, contention=contention)

    def send(
        self, source: int, goal: int, size: float, *, routing: str | Routing = "minimal", contention: str = "auto"
    ) -> Transfer:
        """One chip sends so many bytes to another; see `link_loads`.

        Raises
        ------
        InputError
            If there are no such chips.
        """
        if not (0 <= source < self.chips and 0 <= goal < self.chips):
            raise InputError(f"read the chips {source} and {goal}, allowed are 0 to {self.chips - 1}")
        demand = np.zeros((self.chips, self.chips))
        demand[source, goal] = size
        return self.link_loads(demand, routing=routing, contention=contention)

    def collective(
        self, kind: str, size: float, *, axes: Sequence[int] | None = None, algorithm: str = "auto",
        adds_bytes_per_s: float | None = None,
    ) -> CollectiveTime:  # fmt: skip
        """A collective and what it takes, by the algorithm that is fastest.

        Parameters
        ----------
        kind
            ``all_reduce``, ``reduce_scatter``, ``all_gather``, ``broadcast``, ``all_to_all`` or ``permute``.
        size
            Bytes of a chip's full buffer; of an all-to-all, what it sends and keeps.
        axes
            Axes of a mesh or torus along which chips take part, each line or plane of chips for itself; all by default.
        algorithm
            A name, or ``auto``; `accsim.network.collective_algorithms.ALGORITHMS` has them.
        adds_bytes_per_s
            Bytes of sums that a chip's vector unit forms a second; None without a limit.

        Raises
        ------
        InputError
            If a name is unknown, or no algorithm fits the network.
        """
        wanted = Collective(kind, size, None if axes is None else tuple(axes), algorithm)
        return run_collective(Stepwise(self.graph, self.endpoint, adds_bytes_per_s), wanted)

    def all_reduce(self, size: float, *, axes: Sequence[int] | None = None, algorithm: str = "auto") -> CollectiveTime:
        """Sum a buffer of so many bytes over all chips; see `collective`."""
        return self.collective("all_reduce", size, axes=axes, algorithm=algorithm)

    def form(self) -> dict[str, object]:
        """The kind and the fields that are not their default, for JSON."""
        found: dict[str, object] = {"kind": self.kind}
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                found[field.name] = _plain(value)
        return found


def _plain(value: object) -> object:
    if isinstance(value, Topology):
        return value.form()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value) if isinstance(value, Path) else value

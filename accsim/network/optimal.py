"""Routing with the least largest load, by linear programming: what no other routing of the same traffic can beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from accsim.errors import InputError
from accsim.network.graph import Floats, Graph, Ints
from accsim.network.paths import Path, take_apart
from accsim.network.routing import Loads, Minimal, Routing, fold

MOST_VARIABLES: Final = 2**20


@dataclass(frozen=True)
class Optimal(Routing):
    """Every chip's traffic split over any paths, so that the link that needs longest needs as little as possible.

    A multicommodity flow, one commodity a source, solved by HiGHS (Huangfu and Hall, *Parallelizing the dual revised
    simplex method*, 2018). Of symmetric traffic one source is enough: averaged over the symmetries an optimal flow
    stays optimal, and then all links of a port carry the same. The latency is that of shortest paths, a lower bound.
    """

    name: ClassVar[str] = "optimal"

    def loads(self, graph: Graph, demand: Floats) -> Loads:
        """Bytes on every link; see `Routing.loads`.

        Raises
        ------
        InputError
            If the program has more than `MOST_VARIABLES` variables: sources x links.
        """
        senders = [s for s in range(len(demand)) if demand[s].sum() > demand[s, s]]
        flows = _solve(graph, senders, demand, np.arange(len(graph.target)))
        return Loads(flows.sum(axis=0), Minimal().loads(graph, demand).latency_s)

    def paths(self, graph: Graph, source: Ints, goal: Ints, size: Floats) -> list[Path]:
        """Ways of the bytes of pairs of different chips; see `Routing.paths`."""
        demand = np.zeros((graph.chips, graph.chips))
        demand[source, goal] = size
        senders = np.unique(source).tolist()
        flows = _solve(graph, senders, demand, np.arange(len(graph.target)))
        found = []
        for sender, flow in zip(senders, flows, strict=True):
            goals = np.flatnonzero(demand[sender]).tolist()
            found += take_apart(graph, flow, sender, {goal: float(demand[sender, goal]) for goal in goals})
        return found

    def folded(self, graph: Graph, row: Floats) -> Loads:
        """Bytes on every link of each port; see `Routing.folded`."""
        flow = _solve(graph, [0], row[None, :], graph.port)
        return Loads(fold(graph, flow[0]), Minimal().folded(graph, row).latency_s)


def _solve(graph: Graph, senders: list[int], demand: Floats, group: NDArray[np.int32] | NDArray[np.int64]) -> Floats:
    """Bytes of each sender on each link, float64[senders, links]; the links of a group count as one."""
    from scipy.optimize import linprog
    from scipy.sparse import block_diag, csr_array, hstack

    links, count = len(graph.target), len(senders)
    if count == 0:
        return np.zeros((1, links))
    if links * count > MOST_VARIABLES:
        raise InputError(
            f"optimal routing of {count:,} senders over {links:,} links is a program of {links * count:,} variables, "
            f"allowed are {MOST_VARIABLES:,}"
        )
    ones, places = np.ones(links), np.arange(links)
    enters = csr_array((ones, (graph.target, places)), shape=(graph.nodes, links))
    leaves = csr_array((ones, (graph.source, places)), shape=(graph.nodes, links))
    gains = enters - leaves
    kept = [np.delete(np.arange(graph.nodes), s) for s in senders]
    wanted = np.zeros((count, graph.nodes))
    wanted[:, : graph.chips] = demand[senders]
    groups = int(group.max()) + 1
    scale = graph.rate.max()
    shares = csr_array((scale / graph.rate, (group, places)), shape=(groups, links))
    balance: Any = hstack([block_diag([gains[rows] for rows in kept]), csr_array((count * (graph.nodes - 1), 1))])
    limits: Any = hstack([*[shares] * count, csr_array(-np.ones((groups, 1)))])
    unit = wanted.max()
    found: Any = linprog(
        np.append(np.zeros(links * count), 1.0),
        A_ub=limits,
        b_ub=np.zeros(groups),
        A_eq=balance.tocsr(),
        b_eq=np.concatenate([wanted[i, rows] for i, rows in enumerate(kept)]) / unit,
        method="highs",
    )
    if not found.success:
        raise InputError(f"the linear program of optimal routing was not solved: {found.message}")
    flows: Floats = np.asarray(found.x[:-1], np.float64).reshape(count, links) * unit
    return flows

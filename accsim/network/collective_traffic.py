"""Collectives without a schedule of steps: all pairs at once, and sums that are formed in switches."""

from __future__ import annotations

import numpy as np

from accsim.network.collective_base import Algorithm, Ranks
from accsim.network.contention import read_demand, transfer
from accsim.network.graph import Graph, Ints
from accsim.network.stepwise import CollectiveTime, Stepwise


class Exchange(Algorithm):
    """All pairs at once, as links and chips allow."""

    name = "exchange"
    kinds = ("all_to_all",)

    def unfit(self, graph: Graph, ranks: Ranks) -> str | None:
        """Nothing."""
        del graph, ranks
        return None

    def time(self, chips: Stepwise, kind: str, ranks: Ranks, size: float) -> CollectiveTime:  # noqa: ARG002
        """Traffic of ``size`` / ranks bytes for every ordered pair of a group."""
        graph = chips.graph
        pair = size / ranks.each
        if len(ranks.chips) == 1:
            demand = read_demand(graph.chips, pair)
        else:
            matrix = np.zeros((graph.chips, graph.chips))
            for group in ranks.chips:
                matrix[np.ix_(group, group)] = pair
            demand = read_demand(graph.chips, matrix)
        found = transfer(graph, demand, chips.routing, "auto", chips.endpoint)
        bound = found.bound_by.split()[0].replace("link", "links")
        busy = {name: seconds for name, seconds in found.bounds_s.items() if name != "links"}
        moved = dict.fromkeys(("sends", "receives"), size * (1 - 1 / ranks.each)) | {"adds": 0.0}
        return CollectiveTime(
            found.time_s, 1, found.latency_s, found.link_bytes, busy, bound, self.name, chip_bytes=moved
        )


class InSwitch(Algorithm):
    """Switches form the sums on the way up to a centre and copy them on the way down.

    The buffer is cut evenly over the centres: the switches nearest to the chip that is furthest away. Each link of a
    centre's tree carries its piece once each way. Graham et al., *Scalable hierarchical aggregation protocol (SHArP)*,
    COMHPC 2016.
    """

    name = "in_switch"
    kinds = ("all_reduce",)
    on_demand = True

    def unfit(self, graph: Graph, ranks: Ranks) -> str | None:
        """No switches, or groups of chips."""
        if graph.nodes == graph.chips:
            return "needs switches"
        return None if ranks.axes is None else "needs all chips"

    def time(self, chips: Stepwise, kind: str, ranks: Ranks, size: float) -> CollectiveTime:  # noqa: ARG002
        """Time of all pieces at once."""
        graph = chips.graph
        switches = range(graph.chips, graph.nodes)
        reach = [graph.hops(switch) for switch in switches]
        far = [int(hops[: graph.chips].max()) for hops in reach]
        centres = [hops for hops, furthest in zip(reach, far, strict=True) if furthest == min(far)]
        load, late = np.zeros(len(graph.target)), 0.0
        for hops in centres:
            uses, latency = _tree_links(graph, hops)
            load[uses] += size / len(centres)
            load[graph.reverse[uses]] += size / len(centres)
            late = max(late, 2 * latency)
        needs = float((load / graph.rate).max())
        bound = "links" if needs > late else "latency"
        moved = {"sends": size, "receives": size, "adds": 0.0}
        return CollectiveTime(needs + late, 2 * min(far), late, load, {}, bound, self.name, chip_bytes=moved)


def _tree_links(graph: Graph, hops: Ints) -> tuple[Ints, float]:
    """Links towards the node from which hops are counted, one of each node that a chip's way there leads through."""
    nearer = np.flatnonzero(hops[graph.target] < hops[graph.source])
    parent = np.full(graph.nodes, -1, np.int32)
    parent[graph.source[nearer[::-1]]] = nearer[::-1]
    uses, late = set(), np.zeros(graph.nodes)
    for node in np.argsort(hops, kind="stable").tolist():
        if hops[node] > 0:
            link = parent[node]
            late[node] = late[graph.target[link]] + graph.hop_s[link]
    below = np.zeros(graph.nodes, np.bool_)
    below[: graph.chips] = True
    for node in np.argsort(-hops, kind="stable").tolist():
        if below[node] and hops[node] > 0:
            uses.add(int(parent[node]))
            below[graph.target[parent[node]]] = True
    return np.array(sorted(uses), np.int32), float(late[: graph.chips].max())

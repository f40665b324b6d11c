"""Trees that share no link: their number by another maximum flow, every byte delivered, and the bound of links met."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from accsim.network import FullyConnected, Hypercube, Topology, Torus
from accsim.network.collectives import ranks_along
from accsim.network.disjoint_trees import broadcast, disjoint_trees, first_group
from accsim.network.graph import Cables, Graph, Link, build_graph
from accsim.network.schedule import execute
from accsim.network.torus_rings import opposite_ports

B, ALPHA = 50e9, 1e-6
LARGE = 2.0**30

SMALL = [
    Torus((5,)), Torus((2, 2)), Torus((3, 4)), Torus((2, 3, 2)), Torus((2, 4), twisted=True), Torus((3, 3), wrap=False),
    Torus((2, 2, 4), twisted=True), Hypercube(3), FullyConnected(5),
]  # fmt: skip


def cut(graph: Graph, root: int = 0) -> int:
    """Paths without a common link from the root to the node that fewest lead to, by SciPy's maximum flow."""
    ones = np.ones(len(graph.target), np.int32)
    capacity = csr_array((ones, (graph.source, graph.target)), shape=(graph.nodes, graph.nodes))
    capacity.sum_duplicates()
    return min(int(maximum_flow(capacity, root, end).flow_value) for end in range(graph.nodes) if end != root)


def check_trees(graph: Graph) -> None:
    links, depth = disjoint_trees(first_group(graph, ranks_along(graph, None)))
    assert len(links) == cut(graph)
    assert len(set(links.ravel().tolist())) == links.size, "a link in two trees"
    for tree, hops in zip(links, depth, strict=True):
        assert sorted(graph.target[tree].tolist()) == list(range(1, graph.nodes)), "each node is reached once"
        assert (hops[graph.target[tree]] == hops[graph.source[tree]] + 1).all()
        assert hops[0] == 0 == hops.min()


@pytest.mark.parametrize("topology", SMALL, ids=str)
def test_as_many_trees_as_the_links_of_a_chip_can_bring(topology: Topology) -> None:
    check_trees(topology.graph)


@given(st.integers(3, 9), st.data())
@settings(max_examples=40)
def test_trees_of_any_graph(nodes: int, data: st.DataObject) -> None:
    pair = st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1)).filter(lambda ends: ends[0] != ends[1])
    extra = data.draw(st.lists(pair, max_size=12))
    a, b = np.array([(v, v + 1) for v in range(nodes - 1)] + extra).T
    none = np.zeros(len(a), np.int64)
    check_trees(build_graph(nodes, 0, Cables(a, b, none, none, none), (Link(1e9, 1e-6),)))


@pytest.mark.parametrize("topology", SMALL, ids=str)
def test_every_byte_arrives_and_every_sum_is_right(topology: Topology) -> None:
    graph = topology.graph
    spread = broadcast(first_group(graph, ranks_along(graph, None)))
    numbers = np.random.default_rng(1).integers(-9, 9, (graph.chips, spread.blocks)).astype(np.float64)
    assert np.array_equal(execute(spread, numbers), np.tile(numbers[0], (graph.chips, 1)))
    summed = spread.backwards(None if graph.lattice is None else opposite_ports(graph.lattice))
    total = np.tile(numbers.sum(axis=0), (graph.chips, 1))
    assert np.array_equal(execute(summed, numbers)[0], total[0])
    assert np.array_equal(execute(summed.then(spread), numbers), total)
    if graph.lattice is not None:
        for step in (*spread.steps, *summed.steps):
            link = graph.link_at[step.source, step.port]
            assert np.array_equal(graph.target[link], step.goal)
            assert len(set(link.tolist())) == len(link), "a link carries one chunk a step"


@pytest.mark.parametrize(
    ("torus", "links"),
    [
        (Torus((4, 4)), 4), (Torus((4, 4, 4)), 6), (Torus((4, 4, 8)), 6), (Torus((4, 4, 8), twisted=True), 6),
        (Torus((4, 4), wrap=False), 2),
    ],
    ids=str,
)  # fmt: skip
def test_a_broadcast_takes_what_the_links_of_a_chip_need(torus: Torus, links: int) -> None:
    """V over all links of the chip that has fewest, and 1.7 % to fill the trees with 64 chunks a level."""
    bound = LARGE / (links * B)
    found = torus.collective("broadcast", LARGE, algorithm="disjoint_trees")
    assert found.latency_s == pytest.approx(found.steps * ALPHA)
    assert bound <= found.time_s - found.latency_s <= 1.017 * bound


def test_an_all_reduce_of_unlike_axes_goes_both_ways_along_the_trees() -> None:
    torus = Torus((4, 4, 8), twisted=True)
    found = torus.all_reduce(LARGE)
    assert found.algorithm == "disjoint_trees"
    assert 2 * LARGE / (6 * B) <= found.time_s - found.latency_s <= 1.017 * 2 * LARGE / (6 * B)
    assert found.others["torus_rings"] > 1.08 * found.time_s


def test_groups_along_axes_do_the_same_side_by_side() -> None:
    plane = Torus((4, 4)).collective("broadcast", LARGE, algorithm="disjoint_trees")
    planes = Torus((4, 3, 4)).collective("broadcast", LARGE, axes=(0, 2), algorithm="disjoint_trees")
    assert planes.time_s == pytest.approx(plane.time_s, rel=1e-12)
    assert planes.link_bytes.sum() == pytest.approx(3 * plane.link_bytes.sum())

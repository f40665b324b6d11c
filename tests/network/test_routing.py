"""Loads of routings: against every path listed, against closed forms, and the laws they keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accsim.errors import InputError
from accsim.network import (
    Cable,
    DimensionOrder,
    Dragonfly,
    FatTree,
    FullyConnected,
    Hypercube,
    Islands,
    Minimal,
    Optimal,
    Topology,
    Torus,
    Valiant,
    is_deadlock_free,
)
from accsim.network.dimension_order import TIES, datelines
from accsim.network.graph import Cables, Floats, Graph, Link, build_graph
from accsim.network.routing import Routing
from tests.reference.network_naive import even_loads, shortest_paths

SMALL: list[Topology] = [
    Torus((2, 4), twisted=True),
    Torus((3, 4), wrap=(True, False)),
    Torus((2, 2, 3)),
    Hypercube(3),
    FullyConnected(5),
    FatTree((2, 2, 2)),
    Dragonfly(2, 1, 1),
    Islands(FatTree((2,)), 2),
]
LATTICES = [
    Torus((5,)),
    Torus((2, 4), twisted=True),
    Torus((4, 2, 2), twisted=True),
    Torus((3, 4), wrap=(True, False)),
    Torus((3, 2, 4), wrap=False),
    Torus((3, 5), twist=((0, 2), (0, 0))),
]
RULES: list[Routing] = [Minimal(), *(DimensionOrder(ties) for ties in TIES)]


def random_demand(chips: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    return rng.random((chips, chips)) * (rng.random((chips, chips)) < 0.5)


def as_pairs(demand: Floats) -> Mapping[tuple[int, int], float]:
    return {(int(s), int(t)): float(demand[s, t]) for s, t in zip(*np.nonzero(demand), strict=True) if s != t}


def ends_of(graph: Graph) -> list[tuple[int, int]]:
    return list(zip(graph.source.tolist(), graph.target.tolist(), strict=True))


@pytest.mark.parametrize("topology", SMALL, ids=str)
def test_even_split_equals_every_path_listed(topology: Topology) -> None:
    graph = topology.graph
    demand = random_demand(graph.chips, 3)
    found = Minimal().loads(graph, demand)
    assert found.bytes.tolist() == pytest.approx(even_loads(ends_of(graph), as_pairs(demand)))


@pytest.mark.parametrize("topology", SMALL, ids=str)
def test_routes_are_the_loads_pair_by_pair(topology: Topology) -> None:
    graph = topology.graph
    demand = random_demand(graph.chips, 4)
    pairs = as_pairs(demand)
    source, goal = (np.array([pair[side] for pair in pairs], np.int32) for side in (0, 1))
    rules: list[Routing] = [Minimal()] if graph.lattice is None else RULES
    for rule in rules:
        routes = rule.routes(graph, source, goal)
        each = np.repeat(list(pairs.values()), np.diff(routes.begin)) * routes.share
        summed = np.bincount(routes.link, weights=each, minlength=len(graph.target))
        loads = rule.loads(graph, demand)
        assert summed == pytest.approx(loads.bytes)
        assert routes.latency_s == pytest.approx(loads.latency_s)


@settings(max_examples=30)
@given(st.sampled_from(SMALL), st.integers(0, 100))
def test_loads_are_conserved_and_turn_with_the_traffic(topology: Topology, seed: int) -> None:
    graph = topology.graph
    demand = random_demand(graph.chips, seed)
    np.fill_diagonal(demand, 0.0)
    found = Minimal().loads(graph, demand).bytes
    hops = np.stack([graph.hops(s)[: graph.chips] for s in range(graph.chips)])
    assert found.sum() == pytest.approx((hops * demand).sum())
    back = Minimal().loads(graph, demand.T.copy()).bytes
    assert back[graph.reverse] == pytest.approx(found)


@settings(max_examples=40)
@given(st.sampled_from(LATTICES), st.sampled_from(sorted(TIES)), st.integers(0, 100))
def test_dimension_order_is_minimal_and_follows_the_axes(torus: Torus, ties: str, seed: int) -> None:
    graph = torus.graph
    demand = random_demand(graph.chips, seed)
    np.fill_diagonal(demand, 0.0)
    hops = np.stack([graph.hops(s) for s in range(graph.chips)])
    rule = DimensionOrder(ties)
    assert rule.loads(graph, demand).bytes.sum() == pytest.approx((hops * demand).sum())
    source, goal = (index.astype(np.int32) for index in np.nonzero(demand))
    routes = rule.routes(graph, source, goal)
    for f, (s, t) in enumerate(zip(source, goal, strict=True)):
        links, share = (x[routes.begin[f] : routes.begin[f + 1]] for x in (routes.link, routes.share))
        ways = len(links) // hops[s, t]
        for links_of_way in links.reshape(ways, hops[s, t]):
            assert graph.source[links_of_way[0]] == s
            assert graph.target[links_of_way[-1]] == t
            assert (graph.target[links_of_way[:-1]] == graph.source[links_of_way[1:]]).all()
            assert (np.diff(graph.port[links_of_way] // 2) >= 0).all()
        assert share.reshape(ways, -1)[:, 0].sum() == pytest.approx(1.0)


@settings(max_examples=20)
@given(st.sampled_from(LATTICES), st.integers(0, 100))
def test_turning_links_routes_and_traffic_together_changes_nothing(torus: Torus, seed: int) -> None:
    graph = torus.graph
    demand = random_demand(graph.chips, seed)
    axes = tuple(range(len(torus.shape)))
    there = DimensionOrder("split", axes).loads(graph, demand).bytes
    back = DimensionOrder("split", axes[::-1]).loads(graph, demand.T.copy()).bytes
    assert back[graph.reverse] == pytest.approx(there)


@pytest.mark.parametrize("topology", [t for t in [*SMALL, *LATTICES] if t.graph.symmetric], ids=str)
def test_folded_loads_equal_those_of_all_chips(topology: Topology) -> None:
    graph = topology.graph
    rules: list[Routing] = [Minimal(), Valiant(), *(RULES if graph.lattice else [])]
    for rule in rules:
        folded = rule.folded(graph, np.ones(graph.chips))
        loads = rule.loads(graph, np.ones((graph.chips, graph.chips)))
        assert folded.bytes[graph.port] == pytest.approx(loads.bytes)
        assert folded.latency_s == pytest.approx(loads.latency_s)


@pytest.mark.parametrize("length", [4, 5, 8, 9])
def test_rings_and_lines_have_the_loads_of_the_closed_forms(length: int) -> None:
    ring = Torus((3, length)).graph
    busiest = Minimal().folded(ring, np.ones(3 * length)).bytes.max()
    even = length % 2 == 0
    assert busiest == pytest.approx(3 * (length**2 if even else length**2 - 1) / 8)
    line = Torus((length,), wrap=False).graph
    assert Minimal().loads(line, np.ones((length, length))).bytes.max() == length // 2 * (length - length // 2)


@pytest.mark.parametrize("dimensions", [2, 3, 6])
def test_hypercube_loads(dimensions: int) -> None:
    graph = Hypercube(dimensions).graph
    assert Minimal().folded(graph, np.ones(graph.chips)).bytes.tolist() == pytest.approx([graph.chips / 2] * dimensions)


@pytest.mark.parametrize(
    "topology",
    [Torus((4, 3)), Torus((2, 4), twisted=True), Torus((2, 2, 5)), Torus((4, 4, 8), twisted=True), Hypercube(4),
     FullyConnected(5), Torus((8, 4), optical=Cable("optical", 50.0))],
    ids=str,
)  # fmt: skip
def test_paths_of_one_chip_stand_for_those_of_all(topology: Topology) -> None:
    """A graph that looks the same from every chip is routed by moving one chip's paths; without knowing it, anew."""
    graph, demand = topology.graph, random_demand(topology.chips, 3)
    assert graph.symmetric
    moved, anew = Minimal().loads(graph, demand), Minimal().loads(replace(graph, symmetric=False), demand)
    assert moved.bytes == pytest.approx(anew.bytes, rel=1e-12)
    assert moved.latency_s == pytest.approx(anew.latency_s, rel=1e-12)


def test_fat_tree_loads_double_with_the_taper() -> None:
    for taper in (1, 2, 4):
        tree = FatTree((4, 4), taper=taper)
        up = tree.all_to_all(1.0).link_bytes[tree.graph.source >= 16]
        assert up.max() == pytest.approx(max(4 * 12 / 4 * taper, 15)), "chips above the leaf, over the links up"


def test_valiant_needs_twice_the_uniform_load_whatever_the_traffic() -> None:
    torus = Torus((4, 4))
    uniform = Minimal().folded(torus.graph, np.full(16, 1 / 16)).bytes
    shift = np.roll(np.eye(16), 5, axis=1)
    assert Valiant().loads(torus.graph, shift).bytes == pytest.approx(2 * uniform[torus.graph.port])


def test_optimal_routing_is_never_worse_and_delivers_everything() -> None:
    for topology in (SMALL[1], SMALL[0], Dragonfly(2, 1, 1)):
        graph = topology.graph
        demand = random_demand(graph.chips, 9)
        best = Optimal().loads(graph, demand).bytes
        assert best.max() <= Minimal().loads(graph, demand).bytes.max() * (1 + 1e-9)
        np.fill_diagonal(demand, 0.0)
        hops = np.stack([graph.hops(s)[: graph.chips] for s in range(graph.chips)])
        assert best.sum() >= (hops * demand).sum() * (1 - 1e-9)


def test_optimal_routing_of_two_ways_of_different_width() -> None:
    wide, narrow = Link(2e9, 0.0), Link(1e9, 0.0)
    a, b, none = np.array([0, 0, 2]), np.array([1, 2, 1]), np.zeros(3, np.int64)
    graph = build_graph(3, 0, Cables(a, b, np.array([0, 1, 1]), none, none), (wide, narrow))
    demand = np.zeros((3, 3))
    demand[0, 1] = 3.0
    load = Optimal().loads(graph, demand).bytes
    assert (load / graph.rate).max() == pytest.approx(1e-9), "3 bytes over 2 + 1 GB/s"


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[int, int]], tuple[int, int], int]:
    nodes = draw(st.integers(4, 6))
    ring = [(v, (v + 1) % nodes) for v in range(nodes)]
    pair = st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1)).filter(lambda p: p[0] != p[1])
    return [*ring, *draw(st.lists(pair, max_size=3))], draw(pair), nodes


def graph_of(pairs: list[tuple[int, int]], nodes: int) -> Graph:
    a, b = np.array(pairs).T
    none = np.zeros(len(pairs), np.int64)
    return build_graph(nodes, 0, Cables(a, b, none, none, none), (Link(1e9, 1e-6),))


@settings(max_examples=25)
@given(graphs(), st.integers(0, 50))
def test_more_links_never_hurt_under_optimal_routing(
    drawn: tuple[list[tuple[int, int]], tuple[int, int], int], seed: int
) -> None:
    pairs, extra, nodes = drawn
    demand = random_demand(nodes, seed)
    before = Optimal().loads(graph_of(pairs, nodes), demand).bytes.max()
    after = Optimal().loads(graph_of([*pairs, extra], nodes), demand).bytes.max()
    assert after <= before + 1e-9


def test_more_links_can_hurt_under_minimal_routing() -> None:
    ring = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)]
    demand = np.zeros((6, 6))
    demand[[0, 1, 5], [3, 3, 3]] = 1.0
    before, after = (Minimal().loads(graph_of(pairs, 6), demand).bytes.max() for pairs in (ring, [*ring, (0, 3)]))
    assert before == 1.5
    assert after > before


@pytest.mark.parametrize("torus", [*LATTICES, Torus((4, 4, 4)), Torus((4, 4, 8), twisted=True)], ids=str)
@pytest.mark.parametrize("ties", TIES)
def test_two_channels_with_datelines_are_free_of_deadlock(torus: Torus, ties: str) -> None:
    assert is_deadlock_free(torus.graph, DimensionOrder(ties))


def test_one_channel_deadlocks_where_a_ring_is_long_enough() -> None:
    rule = DimensionOrder()
    assert not is_deadlock_free(Torus((4,)).graph, rule, channels=1)
    assert not is_deadlock_free(Torus((4, 8), twisted=True).graph, rule, channels=1)
    assert is_deadlock_free(Torus((3,)).graph, rule, channels=1), "no route takes two links"
    assert is_deadlock_free(Torus((3, 4), wrap=False).graph, rule, channels=1), "no ring"


@pytest.mark.parametrize("torus", [t for t in LATTICES if t.graph.symmetric], ids=str)
def test_every_ring_has_one_dateline(torus: Torus) -> None:
    graph, lattice = torus.graph, torus.lattice
    marked = datelines(graph, lattice)
    for axis in range(lattice.axes):
        for port in (2 * axis, 2 * axis + 1):
            for node in range(graph.nodes):
                crossed = 0
                for _ in range(lattice.period(axis)):
                    link = graph.first[node] + port
                    crossed += int(marked[link])
                    node = int(graph.target[link])
                assert crossed == 1


def test_shortest_vectors_are_all_of_them() -> None:
    torus = Torus((2, 4), twisted=True)
    vectors, begin = torus.lattice.shortest_vectors
    ends = ends_of(torus.graph)
    for node in range(1, torus.graph.chips):
        ways = {tuple(np.bincount(torus.graph.port[path], minlength=4)) for path in shortest_paths(ends, 0, node)}
        listed = vectors[begin[node] : begin[node + 1]]
        as_ports = np.stack([np.maximum(listed, 0), np.maximum(-listed, 0)], axis=-1).reshape(-1, 4)
        assert {tuple(way) for way in as_ports} == ways


def test_rules_say_what_they_cannot_do() -> None:
    star = FatTree((4,)).graph
    pair = np.array([0], np.int32), np.array([1], np.int32)
    for attempt in (
        lambda: DimensionOrder().loads(star, np.ones((4, 4))),
        lambda: DimensionOrder(order=(0, 0)).loads(Torus((4, 4)).graph, np.ones((16, 16))),
        lambda: Valiant().routes(star, *pair),
        lambda: Minimal().folded(star, np.ones(4)),
        lambda: Optimal().loads(Torus((32, 32)).graph, np.ones((1024, 1024))),
        lambda: is_deadlock_free(star, DimensionOrder()),
        lambda: is_deadlock_free(Torus((4,)).graph, DimensionOrder(), channels=3),
    ):
        with pytest.raises(InputError, match=r"allowed|same|needs"):
            attempt()

"""Topologies: counts and neighbours known from their definitions."""

from __future__ import annotations

import math
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from accsim.errors import InputError
from accsim.network import Cable, Dragonfly, FatTree, FullyConnected, GraphFile, Hypercube, Islands, Topology, Torus
from accsim.network.graph import Graph
from accsim.network.lattice import Lattice
from tests.reference.network_naive import distances, steps_of_a_twisted_torus

SMALL: list[Topology] = [
    Torus((5,)),
    Torus((2, 3, 4)),
    Torus((4, 4, 8), twisted=True),
    Torus((4, 3), wrap=False),
    Torus((3, 4), wrap=(True, False)),
    Torus((2, 2, 2, 2, 2, 2)),
    Hypercube(4),
    FullyConnected(7),
    FatTree((9,)),
    FatTree((4, 4, 3), taper=2),
    Dragonfly(4, 2, 2),
    Dragonfly(3, 1, 2, groups=4),
    Islands(FatTree((4,), link_bytes_per_s=450e9), 3),
    Islands(Torus((2, 2, 2), wrap=False), 3),
]


def links(graph: Graph) -> list[tuple[int, int]]:
    return list(zip(graph.source.tolist(), graph.target.tolist(), strict=True))


@pytest.mark.parametrize("topology", SMALL, ids=str)
def test_every_graph_is_well_formed(topology: Topology) -> None:
    graph = topology.graph
    ends = links(graph)
    assert graph.first[0] == 0
    assert graph.first[-1] == len(ends)
    for node, (begin, end) in enumerate(pairwise(graph.first.tolist())):
        assert all(ends[link][0] == node for link in range(begin, end))
    assert [ends[back][::-1] for back in graph.reverse.tolist()] == ends
    assert all(a != b for a, b in ends)
    for root in range(graph.nodes):
        naive = distances(ends, root)
        assert graph.hops(root).tolist() == [naive[node] for node in range(graph.nodes)]


@pytest.mark.parametrize("topology", [t for t in SMALL if t.graph.symmetric], ids=str)
def test_symmetric_graphs_look_the_same_from_every_chip(topology: Topology) -> None:
    graph = topology.graph
    sums = {int(graph.hops(root).sum()) for root in range(graph.chips)}
    assert sums == {graph.distance_sum}
    assert (np.bincount(graph.port) == graph.chips).all(), "every chip has one link a port"


@pytest.mark.parametrize("shape", [(4, 4, 8), (4, 8, 8), (2, 4), (8, 4, 4), (3, 6, 3)])
def test_twisted_torus_is_the_published_one(shape: tuple[int, ...]) -> None:
    graph = Torus(shape, twisted=True).graph
    for chip, ends in steps_of_a_twisted_torus(shape).items():
        node = int(np.ravel_multi_index(chip, shape))
        found = graph.target[graph.first[node] : graph.first[node + 1]]
        assert [tuple(map(int, np.unravel_index(end, shape))) for end in found] == ends


def test_zero_twist_is_the_regular_torus() -> None:
    regular, zero = Torus((3, 4, 5)).graph, Torus((3, 4, 5), twist=((0,) * 3,) * 3).graph
    assert links(regular) == links(zero)
    assert regular.port.tolist() == zero.port.tolist()


def test_a_chain_of_twists_is_folded_until_it_lies_inside() -> None:
    lattice = Lattice((3, 4, 5), (True,) * 3, ((0, 3, 1), (0, 0, 2), (0, 0, 0)))
    for axis, period in enumerate([(3, -3, -1), (0, 4, -2), (0, 0, 5)]):
        assert lattice.inside(np.array(period)).tolist() == [0, 0, 0], axis
    vectors = np.stack(np.meshgrid(*[np.arange(-7, 8)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    folded = lattice.inside(vectors)
    assert ((folded >= 0) & (folded < [3, 4, 5])).all()
    graph = Torus((3, 4, 5), twist=((0, 3, 1), (0, 0, 2), (0, 0, 0))).graph
    assert {int(graph.hops(root).sum()) for root in range(60)} == {graph.distance_sum}


@pytest.mark.parametrize("shape", [(5,), (4, 4), (2, 3, 4), (3, 3, 3, 3), (2, 2, 2, 2, 2, 2)])
def test_distances_of_tori_and_meshes(shape: tuple[int, ...]) -> None:
    nodes = math.prod(shape)
    torus, mesh = Torus(shape).graph, Torus(shape, wrap=False).graph
    assert torus.diameter == sum(n // 2 for n in shape)
    assert torus.distance_sum == sum(nodes // n * (n * n // 4) for n in shape)
    assert mesh.diameter == sum(n - 1 for n in shape)
    assert mesh.distance_sum == pytest.approx(sum(nodes / n * (n * n - 1) / 3 for n in shape))
    assert len(torus.source) == 2 * len(shape) * nodes
    assert len(mesh.source) == 2 * sum(nodes // n * (n - 1) for n in shape)


def test_hypercube_and_complete_graph() -> None:
    cube, complete = Hypercube(6).graph, FullyConnected(9).graph
    assert (cube.diameter, cube.distance_sum, len(cube.source)) == (6, 6 * 2**5, 6 * 64)
    assert (complete.diameter, complete.distance_sum, len(complete.source)) == (1, 8, 72)


def test_fat_trees() -> None:
    full = FatTree((4, 4, 8)).graph
    assert full.chips == 128
    assert full.nodes - full.chips == 32 + 32 + 16
    assert [full.hops(0)[:128].tolist().count(d) for d in (2, 4, 6)] == [3, 12, 112]
    tapered = FatTree((4, 4, 8), taper=2).graph
    assert tapered.nodes - tapered.chips == 32 + 16 + 4
    degree = np.diff(tapered.first)
    assert degree.tolist() == [1] * 128 + [4 + 2] * 32 + [4 + 2] * 16 + [8] * 4
    star = FatTree((16,)).graph
    assert (star.nodes, star.diameter, len(star.source)) == (17, 2, 32)


def test_a_switch_of_a_fat_tree_has_its_links_up_to_different_switches() -> None:
    graph = FatTree((3, 4, 2)).graph
    ends = links(graph)
    assert len(set(ends)) == len(ends)


@pytest.mark.parametrize(("routers", "chips", "global_links"), [(4, 2, 2), (2, 1, 1), (6, 3, 3)])
def test_dragonflies_join_every_two_groups_once(routers: int, chips: int, global_links: int) -> None:
    dragonfly = Dragonfly(routers, chips, global_links)
    graph = dragonfly.graph
    groups = routers * global_links + 1
    assert dragonfly.groups == groups
    assert graph.chips == groups * routers * chips
    router = [(a - graph.chips, b - graph.chips) for a, b in links(graph) if min(a, b) >= graph.chips]
    across = [(a // routers, b // routers) for a, b in router if a // routers != b // routers]
    assert sorted(across) == [(a, b) for a in range(groups) for b in range(groups) if a != b]
    assert (np.diff(graph.first)[graph.chips :] == chips + routers - 1 + global_links).all()
    assert graph.diameter == (3 if routers == 1 else 5)


def test_islands_keep_their_traffic_inside() -> None:
    topology = Islands(FatTree((4,), link_bytes_per_s=450e9), 3)
    graph = topology.graph
    assert graph.chips == 12
    assert graph.nodes == 12 + 3 + 12 + 1
    inside = np.zeros((12, 12))
    inside[:4, :4] = 1.0
    found = topology.link_loads(inside)
    assert found.link_bytes[graph.rate == 25e9].sum() == 0
    assert found.max_link_bytes == 3


def test_cables_of_a_torus_are_copper_inside_a_cube_and_optical_outside() -> None:
    copper, optical = Cable("copper", cost_usd=10.0, power_w=0.5), Cable("optical", 30.0, 500.0, 4.0)
    cube = Torus((4, 4, 4), copper=copper, optical=optical).graph
    assert int((cube.kind == 1).sum()) == 96, "48 circuits of two directions"
    assert cube.cost_usd == 144 * 10 + 48 * 500
    assert cube.power_w == 144 * 0.5 + 48 * 4
    pod = Torus((16, 16, 16), copper=copper, optical=optical).graph
    assert int((pod.kind == 1).sum()) == 64 * 96
    assert Torus((4, 4, 4)).graph.cost_usd is None
    small = Torus((2, 2, 4), wrap=False).graph
    assert not small.kind.any()


def test_latency_of_a_link_has_its_time_of_flight() -> None:
    graph = Torus((4, 4, 4), optical=Cable("optical", 30.0)).graph
    assert graph.hop_s[graph.kind == 1] == pytest.approx(1e-6 + 30 * 1.468 / 299792458)
    assert (graph.hop_s[graph.kind == 0] == 1e-6).all()


def test_graph_file(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_text(
        "# a triangle under a switch\na,b,bandwidth,latency,medium,length_m,cost_usd\n"
        "north,south,100 GB/s,500 ns,copper,1,20\nsouth,east,,,,,\nnorth,switch one,25 GB/s,2 us,optical,10,\n"
    )
    graph = GraphFile(path).graph
    assert graph.names == ("north", "south", "east", "switch one")
    assert graph.chips == 3
    rate = {(graph.names[a], graph.names[b]): graph.rate[i] for i, (a, b) in enumerate(links(graph))}
    assert rate["south", "north"] == 100e9
    assert rate["south", "east"] == 50e9
    assert rate["switch one", "north"] == 25e9
    assert GraphFile(path).all_to_all(1e6).bound_by == "link south -> east"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,c\nx,y\n", ["c: unknown column", "b: the column is missing"]),
        ("a,b\nx,x\ny,\n", [":2: joins x to itself", ":3: read '' as a node"]),
        ("a,b,bandwidth,medium\nx,y,5 GHz,copper\nx,z,5 GB/s,coper\n", ["'GHz'", "Did you mean 'copper'?"]),
        ("a,b\nx,y\nu,v\n", ["the network is in parts: 2 of its 4 nodes cannot be reached (u, v)"]),
        ("a,b\nswitch1,switch2\n", ["at least one chip"]),
        ("a,b\n", ["has no cables"]),
    ],
)
def test_bad_graph_files_tell_everything(tmp_path: Path, text: str, told: list[str]) -> None:
    path = tmp_path / "net.csv"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        _ = GraphFile(path).graph
    for part in told:
        assert part in str(error.value)


def test_topologies_are_values() -> None:
    torus = Torus((4, 4, 8), twisted=True)
    assert pickle.loads(pickle.dumps(torus)) == torus == Torus([4, 4, 8], twisted=True)  # type: ignore[arg-type]
    assert hash(torus) == hash(Torus((4, 4, 8), twisted=True))
    assert torus.form() == {"kind": "torus", "shape": (4, 4, 8), "twisted": True, "wrap": (True, True, True)}

"""Virtual channels for all shortest paths: every path listed one by one, channels sorted one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest

from accsim.errors import InputError
from accsim.network import Dragonfly, FatTree, Hypercube, Topology, Torus
from accsim.network.dimension_order import TIES, datelines
from accsim.network.graph import Graph
from accsim.network.virtual_channels import ESCAPE, SCHEMES, Scheme, follow, minimal_channels
from tests.reference.network_naive import shortest_paths

Channel = tuple[object, ...]

TORI = [
    Torus((4, 4)), Torus((3, 5)), Torus((2, 4), twisted=True), Torus((2, 2, 4), twisted=True),
    Torus((4, 8), twisted=True), Torus((3, 4), wrap=False), Torus((3, 5), twist=((0, 2), (0, 0))),
]  # fmt: skip
OTHERS: list[Topology] = [Hypercube(3), FatTree((2, 3)), Dragonfly(2, 1, 1)]


def sorts(waits: Iterable[tuple[Channel, Channel]]) -> bool:
    """Whether things can be put in an order in which each comes before those behind it (Kahn, 1962)."""
    behind, left = defaultdict(set), defaultdict(int)
    for a, b in waits:
        if b not in behind[a]:
            behind[a].add(b)
            left[b] += 1
    ready, done = [a for a in behind if not left[a]], 0
    everything = set(behind) | set(left)
    while ready:
        done += 1
        for b in behind.get(ready.pop(), ()):
            left[b] -= 1
            if not left[b]:
                ready.append(b)
    return done == len(everything)


def channels_of_all_paths(graph: Graph, scheme: Scheme) -> tuple[int, list[tuple[Channel, Channel]]]:
    """Channels of the link that needs most, and those that some path takes one after the other."""
    ends = [(int(a), int(b)) for a, b in zip(graph.source, graph.target, strict=True)]
    used, waits = defaultdict(set), []
    for source in range(graph.chips):
        for goal in range(graph.nodes):
            for path in shortest_paths(ends, source, goal) if goal != source else ():
                for number, allowed in enumerate(scheme.classes):
                    if allowed[path].all():
                        levels = [int(scheme.rises[path[:hop]].sum()) for hop in range(len(path))]
                        taken = [(link, number, level) for link, level in zip(path, levels, strict=True)]
                        waits += pairwise(taken)
                        for channel in taken:
                            used[channel[0]].add(channel)
    return max(map(len, used.values())), waits


@pytest.mark.parametrize(
    ("topology", "name"),
    [(t, name) for t in TORI for name in SCHEMES] + [(t, n) for t in OTHERS for n in ("hops", "negative_hops")],
    ids=str,
)
def test_schemes_are_free_of_deadlock_along_every_path(topology: Topology, name: str) -> None:
    graph = topology.graph
    scheme = SCHEMES[name](graph)
    most, waits = channels_of_all_paths(graph, scheme)
    found = minimal_channels(graph, name)
    assert sorts(waits)
    assert (found.per_link, found.deadlock_free) == (most, True)
    ends = [(int(a), int(b)) for a, b in zip(graph.source, graph.target, strict=True)]
    for path in (path for goal in range(1, graph.chips) for path in shortest_paths(ends, 0, goal)):
        assert any(allowed[path].all() for allowed in scheme.classes), "a path without a class"


@pytest.mark.parametrize("topology", [Torus((4, 4)), Torus((5,)), Torus((4, 8), twisted=True)], ids=str)
def test_without_levels_there_are_circles(topology: Torus) -> None:
    graph = topology.graph
    never = np.zeros(len(graph.target), np.bool_)
    for name in SCHEMES:
        flat = Scheme(SCHEMES[name](graph).classes, never)
        assert not sorts(channels_of_all_paths(graph, flat)[1])
        assert not follow(graph, flat)[1]


@pytest.mark.parametrize(
    ("torus", "diameter"),
    [
        (Torus((4, 4)), 4),
        (Torus((4, 4, 4)), 6),
        (Torus((4, 4, 8)), 8),
        (Torus((4, 4, 8), twisted=True), 6),
        (Torus((8, 8, 8)), 12),
    ],
    ids=str,
)
def test_channels_by_count(torus: Torus, diameter: int) -> None:
    """A level a hop; one for every second hop where two colours are enough; by orthant as counted in the docs."""
    n = len(torus.shape)
    by_orthant = (n + 1) * 2 ** (n - 1) - (n - 1) * 2 ** (n - 2)
    expected = {"hops": diameter, "negative_hops": diameter // 2 + 1, "orthants": by_orthant, ESCAPE: 3}
    found = {name: minimal_channels(torus.graph, name) for name in expected}
    assert {name: one.per_link for name, one in found.items()} == expected
    assert all(one.deadlock_free for one in found.values())


def escape_waits(torus: Torus) -> set[tuple[Channel, Channel]]:
    """Escape channels that a message may hold one after the other if it may leave them in between (Duato, 1993)."""
    graph, lattice = torus.graph, torus.lattice
    line = datelines(graph, lattice)
    vectors, begin = lattice.shortest_vectors
    taken = TIES["shortest"](vectors, begin) > 0
    away = np.stack([graph.hops(chip) for chip in range(graph.chips)])
    waits: set[tuple[Channel, Channel]] = set()
    for goal in range(graph.chips):
        escape: dict[int, tuple[Channel, int]] = {}
        reached = {goal: set[int]()}
        for here in np.argsort(away[:, goal], kind="stable").tolist()[1:]:
            seen = lattice.coordinates[goal] - lattice.coordinates[here]
            node = int(lattice.number(lattice.inside(seen[None]))[0])
            vector = vectors[begin[node] : begin[node + 1]][taken[begin[node] : begin[node + 1]]][0]
            axis = int(np.flatnonzero(vector)[0])
            port, at, crosses = 2 * axis + (vector[axis] < 0), here, False
            for _ in range(abs(vector[axis])):
                crosses |= bool(line[graph.link_at[at, port]])
                at = int(graph.target[graph.link_at[at, port]])
            link = int(graph.link_at[here, port])
            escape[here] = (link, crosses), int(graph.target[link])
            out = graph.target[graph.first[here] : graph.first[here + 1]].tolist()
            nearer = [next_ for next_ in out if away[next_, goal] < away[here, goal]]
            reached[here] = {here}.union(*(reached[next_] for next_ in nearer))
        for channel, behind in escape.values():
            waits |= {(channel, escape[later][0]) for later in reached[behind]}
    return waits


def test_messages_may_come_back_from_an_escape_on_plain_tori_only() -> None:
    """So nobody does in the scheme: its escape channels are those of dimension order, whatever the torus."""
    for plain in (Torus((4, 4)), Torus((5, 3)), Torus((2, 3, 4))):
        assert sorts(escape_waits(plain))
    assert not sorts(escape_waits(Torus((4, 8), twisted=True)))
    assert minimal_channels(Torus((4, 8), twisted=True).graph).deadlock_free


def test_what_has_no_scheme_is_refused() -> None:
    star = FatTree((4,)).graph
    for name, told in (
        ("orthants", "channels by orthants need axes"),
        (ESCAPE, "dimension order needs axes"),
        ("hop", "Did you mean 'hops'"),
    ):
        with pytest.raises(InputError, match=told):
            minimal_channels(star, name)
    with pytest.raises(InputError, match="too many channels to check"):
        minimal_channels(Torus((80, 80)).graph, "hops")
    assert minimal_channels(Torus((1,)).graph, "hops").per_link == 0

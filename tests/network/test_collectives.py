"""Collectives on networks: closed forms of each algorithm, bounds that none beats, errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from accsim.errors import InputError
from accsim.network.catalogue import read_topology
from accsim.network.collectives import Collective, run_collective, run_together
from accsim.network.contention import Endpoint
from accsim.network.graph import Graph
from accsim.network.stepwise import Stepwise

B, ALPHA = 50e9, 1e-6
"""Of a link of TPU v4 and of a hop, the default of all topologies."""
LARGE = 2.0**30
"""Bytes whose time is far more than 100 latencies on the networks below."""


def graph(text: str) -> Graph:
    return read_topology(text).graph


def time_of(text: str, kind: str, size: float, algorithm: str = "auto", axes: tuple[int, ...] | None = None) -> float:
    return run_collective(Stepwise(graph(text)), Collective(kind, size, axes, algorithm)).time_s


@pytest.mark.parametrize("size", [1.0, 65536.0, LARGE])
@pytest.mark.parametrize("p", [2, 5, 8])
def test_counts_of_each_algorithm_on_a_ring(p: int, size: float) -> None:
    """Steps and bytes by hand: alpha for every step, and the bytes of the busiest link."""
    share = size / p / B
    ring, far = f"torus:{p}", p // 2
    # One way: p - 1 steps of one part. (Two links join a ring of two chips.)
    assert time_of(ring, "all_gather", size, "ring") == pytest.approx(
        (p - 1) * (ALPHA + (share if p > 2 else share / 2)), rel=1e-12
    )
    # Both ways: half as many steps, and every link carries half of the (p - 1)/p.
    both = far * ALPHA + (p - 1) / 2 * share
    for algorithm in ("two_way_ring", "torus_rings"):
        assert time_of(ring, "all_gather", size, algorithm) == pytest.approx(both, rel=1e-12)
        assert time_of(ring, "reduce_scatter", size, algorithm) == pytest.approx(both, rel=1e-12)
        assert time_of(ring, "all_reduce", size, algorithm) == pytest.approx(2 * both, rel=1e-12)
    # Direct: shortest ways, those to the chip opposite split; a link carries the parts of 1 + 2 + ... chips.
    carried = p * p / 8 if p % 2 == 0 else (p * p - 1) / 8
    assert time_of(ring, "all_gather", size, "direct") == pytest.approx(far * ALPHA + carried * share, rel=1e-12)
    assert time_of(ring, "all_to_all", size) == pytest.approx(far * ALPHA + carried * share, rel=1e-12)


@pytest.mark.parametrize("size", [1.0, LARGE])
def test_counts_of_recursive_halving_and_of_the_tree_without_contention(size: float) -> None:
    """On a hypercube partners are neighbours: log2 p steps, and (p - 1)/p of the buffer in all."""
    cube = "hypercube:4"
    assert time_of(cube, "all_gather", size, "halving_doubling") == pytest.approx(4 * ALPHA + 15 / 16 * size / B)
    assert time_of(cube, "all_reduce", size, "halving_doubling") == pytest.approx(2 * (4 * ALPHA + 15 / 16 * size / B))
    assert time_of(cube, "broadcast", size, "tree") == pytest.approx(4 * (ALPHA + size / B))
    assert time_of(cube, "all_reduce", size, "tree") == pytest.approx(8 * (ALPHA + size / B))


@pytest.mark.parametrize("d", [3, 4, 8])
def test_an_open_line_takes_twice_as_long(d: int) -> None:
    assert time_of(f"mesh:{d}", "all_gather", LARGE, "torus_rings") == pytest.approx(
        (d - 1) * (ALPHA + LARGE / d / B), rel=1e-12
    )


@pytest.mark.parametrize(("shape", "n"), [("4", 1), ("4x4", 2), ("4x4x4", 3), ("5x5x5", 3), ("8x8", 2)])
def test_closed_forms_of_tori(shape: str, n: int) -> None:
    """All axes at once, each with a piece in rotated order: (N - 1)/N V / (2 b n), twice for an all-reduce."""
    sides = [int(side) for side in shape.split("x")]
    chips = math.prod(sides)
    gather = (chips - 1) / chips * LARGE / (2 * B * n)
    for kind, times in (("all_gather", 1), ("reduce_scatter", 1), ("all_reduce", 2)):
        found = run_collective(Stepwise(graph(f"torus:{shape}")), Collective(kind, LARGE, None, "torus_rings"))
        assert found.steps == times * sum(side // 2 for side in sides)
        assert found.time_s == pytest.approx(times * gather + found.steps * ALPHA, rel=1e-9)
        assert found.time_s == pytest.approx(times * gather, rel=0.01)
        assert found.bound_by == "links"


def test_a_large_all_reduce_of_4096_chips() -> None:
    """Jouppi et al., ISCA 2023: 1.1 PB/s, which is N chips x 6 links x 50 GB/s x 0.90 of link efficiency."""
    chips, size = 4096, 2.0**34
    found = run_collective(Stepwise(graph("torus:16x16x16?link_efficiency=0.9")), Collective("all_reduce", size))
    assert found.algorithm == "torus_rings"
    moved = 2 * (chips - 1) / chips * size * chips / found.time_s
    assert moved == pytest.approx(chips * 6 * 50e9 * 0.9, rel=0.01)
    assert moved == pytest.approx(1.1e15, rel=0.01)


@pytest.mark.parametrize(("shape", "above"), [("4x4x8", 0.036), ("4x8x8", 0.011), ("2x4x8", 0.136), ("4x8", 0.077)])
def test_axes_of_unequal_length_are_shared_out(shape: str, above: float) -> None:
    """Pieces of every order of the axes, with shares by hand: better than rotations, near the bound of all links."""
    sides = [int(side) for side in shape.split("x")]
    n, chips = len(sides), math.prod(sides)

    def least(orders: Sequence[tuple[int, ...]]) -> float:
        """Of a buffer over 2 b: each phase is as long as its busiest axis, (1 - 1/d) of what the axes before leave."""
        rows = []
        for phase in range(n):
            for axis in range(n):
                before = [math.prod(sides[a] for a in order[:phase]) for order in orders]
                needs = [(1 - 1 / sides[axis]) / b * (o[phase] == axis) for o, b in zip(orders, before, strict=True)]
                rows.append([*needs, *(-1.0 * (other == phase) for other in range(n))])
        costs, whole = [0] * len(orders) + [1] * n, [[1] * len(orders) + [0] * n]
        return float(linprog(costs, A_ub=rows, b_ub=np.zeros(n * n), A_eq=whole, b_eq=[1]).fun)

    best, turned = least(list(permutations(range(n)))), least([(*range(j, n), *range(j)) for j in range(n)])
    bound = (chips - 1) / chips / n
    found = run_collective(Stepwise(graph(f"torus:{shape}")), Collective("all_gather", LARGE, None, "torus_rings"))
    taken = (found.time_s - found.latency_s) / (LARGE / (2 * B))
    assert taken == pytest.approx(best, rel=1e-6)
    assert bound * (1 - 1e-9) <= taken <= bound * (1 + above)
    assert n == 2 or taken < 0.99 * turned


def test_a_broadcast_around_a_ring_uses_both_directions() -> None:
    """Half of the buffer each way, V / 2b, and p - 1 hops; 2 % to fill the pipeline of chunks."""
    found = run_collective(Stepwise(graph("torus:8")), Collective("broadcast", LARGE))
    assert found.algorithm == "pipeline"
    assert LARGE / (2 * B) <= found.time_s <= 1.02 * LARGE / (2 * B)
    assert found.latency_s == pytest.approx(7 * ALPHA)


def test_a_permutation_goes_one_step_along_an_axis() -> None:
    """One link a chip along a ring; on islands the last chip of each crosses by its NIC, which is slower."""
    assert time_of("torus:4x4x4", "permute", LARGE, axes=(2,)) == pytest.approx(LARGE / B + ALPHA)
    islands = read_topology("islands:8x4")
    found = islands.collective("permute", LARGE)
    assert found.algorithm == "shift"
    assert found.time_s - found.latency_s == pytest.approx(LARGE / islands.link_bytes_per_s)
    alone = read_topology("star:8?link_bytes_per_s=450 GB/s").collective("permute", LARGE)
    assert alone.time_s - alone.latency_s == pytest.approx(LARGE / 450e9)


def test_along_some_axes_every_line_has_its_own() -> None:
    whole = graph("torus:4x4x4")
    one = run_collective(Stepwise(whole), Collective("all_reduce", LARGE, (2,)))
    assert one.time_s == pytest.approx(time_of("torus:4", "all_reduce", LARGE), rel=1e-9)
    assert one.link_bytes[whole.port // 2 == 2].min() > 0
    assert one.link_bytes[whole.port // 2 != 2].max() == 0
    two = run_collective(Stepwise(whole), Collective("all_gather", LARGE, (0, 1)))
    assert two.time_s == pytest.approx(time_of("torus:4x4", "all_gather", LARGE), rel=1e-9)


def test_collectives_together_share_links() -> None:
    chips = Stepwise(graph("torus:4x4x4"))
    model, data = Collective("all_gather", LARGE, (0,)), Collective("all_reduce", LARGE, (1, 2))
    apart = run_collective(chips, model), run_collective(chips, data)
    # Other axes: each its own time.
    assert [one.time_s for one in run_together(chips, [model, data])] == pytest.approx([one.time_s for one in apart])
    # The same axes: the sum of what is not latency.
    same = run_together(chips, [model, model])
    busy = apart[0].time_s - apart[0].latency_s
    assert 2 * busy <= same[1].time_s <= 2 * apart[0].time_s
    # A plane and a line in it: the line's links are shared.
    line = Collective("all_gather", LARGE / 8, (1,))
    ends = run_together(chips, [data, line])
    assert ends[1].time_s > run_collective(chips, line).time_s
    assert ends[0].time_s > apart[1].time_s
    assert ends[0].time_s <= apart[1].time_s + run_collective(chips, line).time_s


def test_limits_of_a_chip() -> None:
    """An all-reduce of 64 chips sends and receives 2 x 63/64 V, and adds up half of what it receives."""
    size, share = LARGE, 63 / 64 * LARGE
    limits = {
        "injection": (Stepwise(graph("torus:4x4x4"), Endpoint(injection_bytes_per_s=100e9)), 2 * share / 100e9),
        "ejection": (Stepwise(graph("torus:4x4x4"), Endpoint(ejection_bytes_per_s=80e9)), 2 * share / 80e9),
        "hbm": (Stepwise(graph("torus:4x4x4"), Endpoint(hbm_bytes_per_s=200e9)), 5 * share / 200e9),
    }
    for name, (chips, seconds) in limits.items():
        found = run_collective(chips, Collective("all_reduce", size, None, "torus_rings"))
        assert (found.bound_by, found.time_s - found.latency_s) == (name, pytest.approx(seconds, rel=1e-9))
    slow = run_collective(Stepwise(graph("torus:4x4x4"), adds_bytes_per_s=100e9), Collective("reduce_scatter", size))
    assert (slow.bound_by, slow.time_s - slow.latency_s) == ("adds", pytest.approx(share / 100e9, rel=1e-9))


@pytest.mark.parametrize(
    ("text", "kind", "algorithm", "parts"),
    [
        ("torus:4x4x4", "all_reduce", "torus_rings", (2 * 63 / 64, 2 * 63 / 64, 63 / 64)),
        ("torus:8", "reduce_scatter", "ring", (7 / 8, 7 / 8, 7 / 8)),
        ("torus:4x4", "all_gather", "torus_rings", (15 / 16, 15 / 16, 0)),
        ("torus:4x4", "all_to_all", "exchange", (15 / 16, 15 / 16, 0)),
    ],
)
def test_bytes_of_a_chip(text: str, kind: str, algorithm: str, parts: tuple[float, float, float]) -> None:
    """Sent, received and added, over those of the buffer: what every chip lacks or has too much of, once or twice."""
    found = run_collective(Stepwise(graph(text)), Collective(kind, LARGE, None, algorithm)).chip_bytes
    assert found == pytest.approx(
        dict(zip(("sends", "receives", "adds"), (LARGE * part for part in parts), strict=True))
    )


SHAPES = st.sampled_from(
    ("torus:4", "torus:2x3", "torus:3x3x2", "mesh:2x3", "twisted:2x2x4", "hypercube:3", "fully_connected:6")
)


@given(
    SHAPES,
    st.sampled_from(("all_gather", "reduce_scatter", "all_reduce", "broadcast", "all_to_all")),
    st.floats(1.0, 1e12),
)
@settings(max_examples=20)
def test_no_algorithm_beats_the_links_of_a_chip(text: str, kind: str, size: float) -> None:
    network = graph(text)
    found = run_collective(Stepwise(network), Collective(kind, size))
    least = network.rate[network.source == 0].sum()
    share = (network.chips - 1) / network.chips * size
    must = {
        "all_reduce": 2 * share,
        "broadcast": size,
        "all_to_all": share,
        "all_gather": share,
        "reduce_scatter": share,
    }
    assert found.time_s >= must[kind] / least * (1 - 1e-9)
    assert found.time_s == min(found.others.values())
    assert found.time_s >= found.latency_s > 0
    more = run_collective(Stepwise(network), Collective(kind, 2 * size))
    assert more.time_s >= found.time_s


@pytest.mark.parametrize(
    ("text", "arguments", "told"),
    [
        ("torus:4x4", {"kind": "allreduce"}, "unknown collective 'allreduce'"),
        ("torus:4x4", {"kind": "all_reduce", "algorithm": "rings"}, "Did you mean"),
        ("torus:4x4", {"kind": "all_reduce", "size": -1.0}, "read a buffer of -1.0 bytes"),
        ("torus:4x4", {"kind": "all_reduce", "axes": (0, 2)}, "allowed are 0 (x), 1 (y), each once"),
        ("hypercube:3", {"kind": "all_reduce", "axes": (0,)}, "needs a network that has them"),
        ("torus:3", {"kind": "all_reduce", "algorithm": "halving_doubling"}, "a power of two of ranks, there are 3"),
        ("torus:4", {"kind": "all_to_all", "algorithm": "ring"}, "does only all_gather, reduce_scatter, all_reduce"),
        ("twisted:4x4x8", {"kind": "all_reduce", "axes": (0,), "algorithm": "torus_rings"}, "the axes x are twisted"),
        ("twisted:4x4x8", {"kind": "broadcast", "axes": (0,), "algorithm": "disjoint_trees"}, "needs all axes of a tw"),
        ("star:4", {"kind": "broadcast", "algorithm": "disjoint_trees"}, "joined without switches"),
        ("torus:1024", {"kind": "broadcast", "algorithm": "disjoint_trees"}, "needs 2 to 512 ranks, there are 1024"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused(text: str, arguments: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told.replace("(", r"\(").replace(")", r"\)")):
        run_collective(Stepwise(graph(text)), Collective(**({"size": 1e6} | arguments)))  # type: ignore[arg-type]


def test_switches_that_add_move_the_buffer_once_each_way() -> None:
    """A chip sends V and gets V at the same time: V / b, and two hops of a star; a ring needs nearly 2 V / b."""
    star = read_topology("star:8")
    found = star.all_reduce(LARGE, algorithm="in_switch")
    assert found.time_s == pytest.approx(LARGE / B + 2 * ALPHA, rel=1e-9)
    assert star.all_reduce(LARGE).time_s == pytest.approx(2 * 7 / 8 * LARGE / B, rel=1e-3)
    # Two levels: four hops; the pieces of the centres share the links above, so that the chips' own still bind.
    tree = read_topology("fat_tree:4x4").all_reduce(LARGE, algorithm="in_switch")
    assert tree.time_s == pytest.approx(LARGE / B + 4 * ALPHA, rel=1e-9)
    # Above, links carry what four chips have summed, over four centres.
    assert sorted(set((tree.link_bytes / LARGE).round(6).tolist())) == [0.25, 1.0]
    with pytest.raises(InputError, match="in_switch needs switches"):
        read_topology("torus:4").all_reduce(LARGE, algorithm="in_switch")

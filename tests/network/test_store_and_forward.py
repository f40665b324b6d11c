"""Chunks stored and forwarded: closed forms, every chunk played in plain Python, agreement with the other levels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim.engine.program import TICKS_PER_CYCLE
from accsim.engine.run import run_program
from accsim.errors import InputError
from accsim.network import Endpoint
from accsim.network.graph import Graph
from accsim.network.paths import Path, take_apart
from accsim.network.routings import read_routing
from accsim.network.store_and_forward import CHUNKS, CLOCK_HZ, forward_program

B, ALPHA = 50e9, 1e-6
SINGLE = "dimension_order?ties=shortest"


def traffic(chips: int, *pairs: tuple[int, int, float]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    matrix = np.zeros((chips, chips))
    for source, goal, size in pairs:
        matrix[source, goal] = size
    return matrix


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_one_message_by_hand(hops: int) -> None:
    """The first chunk is stored at every hop, the others follow it."""
    found = accsim.Torus((8,)).link_loads(traffic(8, (0, hops, 64e6)), routing=SINGLE, contention="chunks")
    assert found.time_s == pytest.approx((CHUNKS - 1 + hops) * 1e6 / B + hops * ALPHA, rel=1e-6)
    assert found.link_bytes.sum() == pytest.approx(hops * 64e6)


def test_two_messages_share_a_link_by_hand() -> None:
    """0 to 2 and 1 to 2 meet on the last link: it carries both, from when the first chunk of the near one is there."""
    matrix = traffic(8, (0, 2, 64e6), (1, 2, 64e6))
    found = accsim.Torus((8,)).link_loads(matrix, routing=SINGLE, contention="chunks")
    assert (128e6 / B + ALPHA) * (1 - 1e-9) <= found.time_s <= 128e6 / B + 2 * ALPHA + 2 * 1e6 / B


def naive(graph: Graph, paths: list[Path], behind: int) -> float:
    """Rounds in which every path's hop h sends the chunk that its first one sent ``behind`` x h rounds before."""
    free = dict.fromkeys(range(len(graph.target)), 0.0)
    come: dict[tuple[int, int], float] = {}
    ends = 0.0
    for now in range(CHUNKS + behind * max(len(path.links) for path in paths)):
        for i, path in enumerate(paths):
            for hop, link in enumerate(path.links):
                chunk = now - behind * hop
                if 0 <= chunk < CHUNKS:
                    start = max(free[link], come.get((i, chunk), 0.0))
                    free[link] = start + path.size / CHUNKS / graph.rate[link]
                    come[i, chunk] = free[link] + graph.hop_s[link]
                    ends = max(ends, come[i, chunk])
    return ends


@given(st.sampled_from(((5,), (3, 4), (2, 2, 3))), st.data())
@settings(max_examples=25)
def test_the_engine_plays_every_chunk(shape: tuple[int, ...], data: st.DataObject) -> None:
    torus = accsim.Torus(shape)
    chip = st.integers(0, torus.chips - 1)
    pairs = data.draw(st.lists(st.tuples(chip, chip, st.floats(1e4, 1e8)), min_size=1, max_size=8))
    matrix = traffic(torus.chips, *((s, t, size) for s, t, size in pairs if s != t))
    source, goal = (index.astype(np.int32) for index in np.nonzero(matrix))
    if not len(source):
        return
    graph, rule = torus.graph, read_routing("dimension_order")
    paths = rule.paths(graph, source, goal, matrix[source, goal])
    program = forward_program(graph, paths, None, None)
    shifts = [stage.shift or 0 for stage in program.stages if stage.name.endswith(".1")]
    wanted = naive(graph, paths, shifts[0] if shifts else 1)
    assert run_program(program, attribution=False).total_ticks / TICKS_PER_CYCLE / CLOCK_HZ == pytest.approx(
        wanted, rel=1e-5
    )
    found = torus.link_loads(matrix, routing=rule, contention="chunks")
    links = torus.link_loads(matrix, routing=rule, contention="links")
    assert found.time_s == pytest.approx(max(wanted, found.latency_s), rel=1e-5)
    assert found.link_bytes == pytest.approx(links.link_bytes)
    # The bytes of the busiest link take their time, and its first chunk has come a hop at least.
    assert found.time_s >= (links.bounds_s["links"] + ALPHA) * (1 - 1e-6)


@pytest.mark.parametrize("shape", [(4,), (8,), (3, 3), (4, 4), (3, 3, 3)])
def test_uniform_traffic_takes_as_long_as_its_busiest_link(shape: tuple[int, ...]) -> None:
    torus = accsim.Torus(shape)
    chunks, links = (
        torus.all_to_all(1e7, routing="dimension_order", contention=level) for level in ("chunks", "links")
    )
    assert chunks.bound_by.startswith("link")
    assert chunks.time_s == pytest.approx(links.time_s, rel=0.03)


def test_ends_of_a_chip_are_links_too() -> None:
    size = 64e6
    slow = accsim.Torus((8,), endpoint=Endpoint(injection_bytes_per_s=20e9))
    found = slow.link_loads(traffic(8, (0, 1, size)), routing=SINGLE, contention="chunks")
    assert found.time_s == pytest.approx(size / 20e9 + ALPHA, rel=0.01)
    crowd = traffic(8, *((other, 0, size) for other in (1, 2, 6, 7)))
    wide = accsim.Torus((8,), endpoint=Endpoint(ejection_bytes_per_s=40e9))
    assert wide.link_loads(crowd, routing=SINGLE, contention="chunks").time_s >= 4 * size / 40e9


ROUTINGS = ("minimal", "dimension_order", "valiant", "optimal")


@given(
    st.sampled_from(("torus:5", "twisted:2x4", "torus:2x2x3", "mesh:3x3", "hypercube:3", "fat_tree:2x3?taper=2")),
    st.sampled_from(ROUTINGS),
    st.integers(0, 1000),
)
@settings(max_examples=40)
def test_every_routing_has_paths_that_carry_what_it_puts_on_links(text: str, name: str, seed: int) -> None:
    graph, rule = accsim.read_topology(text).graph, read_routing(name)
    if graph.lattice is None and name == "dimension_order":
        return
    rng = np.random.default_rng(seed)
    demand = rng.uniform(1.0, 9.0, (graph.chips, graph.chips)) * (rng.random((graph.chips, graph.chips)) < 0.3)
    np.fill_diagonal(demand, 0.0)
    source, goal = (index.astype(np.int32) for index in np.nonzero(demand))
    paths = rule.paths(graph, source, goal, demand[source, goal])
    load, brought = np.zeros(len(graph.target)), np.zeros_like(demand)
    for path in paths:
        ends = [path.source, *graph.target[list(path.links)].tolist()]
        assert ends[-1] == path.goal
        assert graph.source[list(path.links)].tolist() == ends[:-1]
        load += np.bincount(path.links, minlength=len(load)) * path.size
        brought[path.source, path.goal] += path.size
    assert brought == pytest.approx(demand, rel=1e-9)
    wanted = rule.loads(graph, demand).bytes
    if name == "optimal":  # circles, which a linear program may leave on links that have room, go nowhere
        assert (load <= wanted * (1 + 1e-6) + 1e-6).all()
    else:
        assert load == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("name", ROUTINGS)
def test_chunks_of_every_routing_take_as_long_as_the_busiest_link(name: str) -> None:
    """Of a shift on a torus: its links carry their bytes one chunk after the other, and wait for the first ones."""
    torus = accsim.Torus((3, 3))
    goal = [(chip + 4) % 9 for chip in range(9)]
    chunks, links = (torus.permute(goal, 64e6, routing=name, contention=level) for level in ("chunks", "links"))
    assert chunks.algorithm == f"{name}, chunks"
    assert chunks.link_bytes.max() == pytest.approx(links.link_bytes.max(), rel=1e-6)
    assert links.bounds_s["links"] + ALPHA <= chunks.time_s * (1 + 1e-6)
    assert chunks.time_s <= 1.1 * links.time_s


def test_circles_are_taken_out_of_a_flow() -> None:
    """On a ring of four, 3 bytes from 0 to 1 and a circle of 2 in the other direction: one path of one link is left."""
    graph = accsim.Torus((4,)).graph
    flow = np.where(graph.port == 1, 2.0, 0.0)
    flow[graph.link_at[0, 0]] = 3.0
    (path,) = take_apart(graph, flow, 0, {1: 3.0})
    assert (path.links, path.size) == ((graph.link_at[0, 0],), 3.0)
    (short,) = take_apart(graph, np.zeros_like(flow), 0, {1: 3.0})
    assert short == path, "what a flow has lost goes the shortest way"


def test_what_is_too_large_is_refused() -> None:
    with pytest.raises(InputError, match="hops in all, allowed are at most 8,192"):
        accsim.Torus((4, 4, 4)).all_to_all(1e6, routing="dimension_order", contention="chunks")
    with pytest.raises(InputError, match="by way of 64 chips, allowed are at most 65,536 ways"):
        accsim.Torus((4, 4, 4)).all_to_all(1e6, routing="valiant", contention="chunks")
    with pytest.raises(InputError, match="260,610 pairs of chips, allowed are at most 65,536"):
        accsim.Torus((511,)).all_to_all(1e6, contention="chunks")
    assert accsim.Torus((4,)).all_to_all(0.0, routing="dimension_order", contention="chunks").time_s == 0
    assert math.isfinite(accsim.Torus((4,)).all_to_all(1.0, routing="dimension_order", contention="chunks").time_s)

"""Levels of contention: rates against rounds of filling, levels against each other, limits of chips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accsim.errors import InputError
from accsim.network import Cable, DimensionOrder, Endpoint, FatTree, FullyConnected, Hypercube, Topology, Torus
from accsim.network.flows import FairShare
from accsim.network.routing import Routes
from tests.reference.network_naive import fair_rates


def routes_of(classes: list[dict[int, float]]) -> Routes:
    begin = np.cumsum([0, *map(len, classes)])
    link = np.array([link for one in classes for link in one], np.int32)
    share = np.array([share for one in classes for share in one.values()], np.float64)
    return Routes(begin, link, share, 0.0)


@st.composite
def shared(draw: st.DrawFn) -> tuple[list[float], list[dict[int, float]], list[float]]:
    links = draw(st.integers(1, 5))
    capacity = draw(st.lists(st.floats(0.5, 20.0), min_size=links, max_size=links))
    route = st.dictionaries(st.integers(0, links - 1), st.sampled_from([0.25, 0.5, 1.0]), min_size=1)
    classes = draw(st.lists(route, min_size=1, max_size=7))
    count = draw(st.lists(st.sampled_from([0.0, 1.0, 2.0, 5.0]), min_size=len(classes), max_size=len(classes)))
    return capacity, classes, count


@given(shared())
def test_fair_rates_equal_those_filled_round_by_round(
    drawn: tuple[list[float], list[dict[int, float]], list[float]],
) -> None:
    capacity, classes, count = drawn
    found = FairShare(np.array(capacity), routes_of(classes)).rates(np.array(count))
    assert found.tolist() == pytest.approx(fair_rates(capacity, classes, count), rel=1e-9)


@given(shared())
def test_fair_rates_are_max_min(drawn: tuple[list[float], list[dict[int, float]], list[float]]) -> None:
    """Every flow crosses a full link on which none is faster: the definition (Bertsekas and Gallager, 6.5.2)."""
    capacity, classes, count = drawn
    rate = FairShare(np.array(capacity), routes_of(classes)).rates(np.array(count))
    used = [sum(n * r * one.get(m, 0.0) for n, r, one in zip(count, rate, classes, strict=True)) for m in range(5)]
    full = [m for m, room in enumerate(capacity) if used[m] >= room * (1 - 1e-9)]
    assert all(used[m] <= room * (1 + 1e-9) for m, room in enumerate(capacity))
    for f, one in enumerate(classes):
        fastest = [max(rate[g] for g, other in enumerate(classes) if m in other) for m in full if m in one]
        assert count[f] == 0 or any(rate[f] >= top * (1 - 1e-9) for top in fastest)


def test_flows_speed_up_when_others_end() -> None:
    """Two flows share link 0 (10 B/s), one of them also link 1 (2 B/s)."""
    share = FairShare(np.array([10.0, 2.0]), routes_of([{0: 1.0}, {0: 1.0, 1: 1.0}]))
    assert share.rates(np.ones(2)).tolist() == [8.0, 2.0]
    assert share.ends(np.array([8.0, 10.0]))[0].tolist() == [1.0, 5.0]
    lone = FairShare(np.array([10.0]), routes_of([{0: 1.0}] * 2))
    ends, solves = lone.ends(np.array([10.0, 20.0]))
    assert ends.tolist() == [2.0, 3.0], "5 B/s each until 2 s, then 10 B/s"
    assert solves == 2


@settings(max_examples=30)
@given(shared(), st.integers(0, 100))
def test_no_time_lies_below_the_bound_of_a_link_and_merging_only_adds(
    drawn: tuple[list[float], list[dict[int, float]], list[float]], seed: int
) -> None:
    capacity, classes, count = drawn
    size = np.random.default_rng(seed).uniform(1.0, 9.0, len(classes))
    share = FairShare(np.array(capacity), routes_of(classes))
    ends, _ = share.ends(size, np.array(count), merged=0.0)
    bytes_on = [sum(n * b * one.get(m, 0.0) for n, b, one in zip(count, size, classes, strict=True)) for m in range(5)]
    bound = max(bytes_on[m] / room for m, room in enumerate(capacity))
    assert ends.max() >= bound * (1 - 1e-9)
    merged, _ = share.ends(size, np.array(count), merged=0.01)
    assert merged.max() >= ends.max() * (1 - 0.011)


@settings(max_examples=60)
@given(shared(), st.integers(0, 100), st.sampled_from((0.0, 1e-3, 0.3)))
def test_ends_equal_those_with_all_rates_solved_anew(
    drawn: tuple[list[float], list[dict[int, float]], list[float]], seed: int, merged: float
) -> None:
    """In plain Python, every rate after every end; the kernel keeps those that cannot have changed."""
    capacity, classes, count = drawn
    size = np.random.default_rng(seed).choice([1.0, 2.0, 2.5, 7.0], len(classes))
    left, active, ends, now, solves = size.tolist(), list(count), [0.0] * len(classes), 0.0, 0
    while any(active):
        rate = fair_rates(capacity, classes, active)
        solves += 1
        end = {f: now + left[f] / rate[f] for f in range(len(classes)) if active[f]}
        gone = [f for f in end if end[f] <= min(end.values()) * (1 + merged)]
        step = max(end[f] for f in gone) - now
        for f in end:
            left[f] -= rate[f] * step
        for f in gone:
            ends[f], active[f] = end[f], 0.0
        now += step
    found, counted = FairShare(np.array(capacity), routes_of(classes)).ends(size, np.array(count), merged)
    assert found.tolist() == pytest.approx(ends, rel=1e-9)
    assert merged == 0.0 or counted == solves, "without merging, rounding tells equal ends apart"


SYMMETRIC: list[Topology] = [
    Torus((4, 4)),
    Torus((2, 4), twisted=True),
    Torus((2, 3, 4)),
    Hypercube(3),
    FullyConnected(6),
]


@pytest.mark.parametrize("topology", SYMMETRIC, ids=str)
def test_levels_agree_on_uniform_traffic(topology: Topology) -> None:
    times = [topology.all_to_all(1e6, contention=level).time_s for level in ("folded", "links", "flows")]
    assert times == pytest.approx([times[0]] * 3)


def test_flows_take_as_long_as_links_where_one_link_is_shared_by_all() -> None:
    star = FatTree((5,))
    hotspot = np.zeros((5, 5))
    hotspot[1:, 0] = [1e6, 2e6, 3e6, 4e6]
    links, flows = (star.link_loads(hotspot, contention=level) for level in ("links", "flows"))
    assert links.time_s == pytest.approx(1e7 / 50e9 + 2e-6)
    assert flows.time_s == pytest.approx(links.time_s)
    assert flows.bound_by == links.bound_by == "link switch 0 -> chip 0"


@settings(max_examples=15)
@given(st.integers(0, 1000))
def test_flows_never_beat_the_busiest_link(seed: int) -> None:
    rng = np.random.default_rng(seed)
    torus = Torus((3, 4))
    demand = rng.random((12, 12)) * (rng.random((12, 12)) < 0.3) * 1e6
    for routing in ("minimal", DimensionOrder("shortest")):
        links, flows = (torus.link_loads(demand, routing=routing, contention=level) for level in ("links", "flows"))
        assert flows.link_bytes == pytest.approx(links.link_bytes)
        assert flows.time_s >= links.time_s * (1 - 1e-9)


def test_limits_of_chips() -> None:
    slow = Torus((4,), endpoint=Endpoint(injection_bytes_per_s=1e9, hbm_bytes_per_s=4e9, descriptor_s=1e-6))
    found = slow.all_to_all(8192.0)
    assert found.bounds_s["injection"] == pytest.approx(3 * 8192 / 1e9)
    assert found.bounds_s["hbm"] == pytest.approx(6 * 8192 / 4e9)
    assert found.bounds_s["dma"] == pytest.approx(3 * 2 * 1e-6)
    assert found.bound_by == "injection"
    assert found.time_s == pytest.approx(3 * 8192 / 1e9 + 2e-6)
    assert slow.all_to_all(8193.0).bounds_s["dma"] == pytest.approx(3 * 3 * 1e-6)
    flows = slow.all_to_all(8192.0, contention="flows")
    assert flows.time_s == pytest.approx(found.time_s)
    incast = Torus((4,), endpoint=Endpoint(ejection_bytes_per_s=1e9))
    to_one = np.zeros((4, 4))
    to_one[:, 0] = 1e6
    assert incast.link_loads(to_one).bound_by == "ejection"


def test_time_is_that_of_the_busiest_link_and_the_slowest_route() -> None:
    torus = Torus((4, 4, 8), link_efficiency=0.5, optical=Cable("optical", 100.0))
    found = torus.all_to_all(1e6)
    fibre = 100 * 1.468 / 299792458
    assert found.max_link_bytes == pytest.approx(128e6)
    assert found.latency_s == pytest.approx(8e-6 + 3 * fibre), "half of each ring, once out of a cube"
    assert torus.all_to_all(1e6, contention="links").latency_s == pytest.approx(found.latency_s)
    assert found.time_s == pytest.approx(128e6 / 25e9 + found.latency_s)
    assert found.bound_by == "link z+"
    assert torus.all_to_all(1.0).bound_by == "latency"


def test_nothing_to_send_takes_no_time() -> None:
    torus = Torus((3, 3))
    for level in ("folded", "links", "flows"):
        found = torus.all_to_all(0.0, contention=level)
        assert (found.time_s, found.max_link_bytes) == (0.0, 0.0)
        assert found.bound_by == "nothing"
    assert Torus((1,)).all_to_all(1.0).time_s == 0.0


def test_a_torus_of_65536_chips() -> None:
    endpoint = Endpoint(injection_bytes_per_s=1e9, descriptor_s=1e-9)
    found = Torus((32, 32, 64), endpoint=endpoint).all_to_all(1e3)
    assert found.max_link_bytes == pytest.approx(65536 * 64 / 8 * 1e3)
    assert found.bounds_s["injection"] == pytest.approx(65535 * 1e3 / 1e9)
    assert found.bounds_s["dma"] == pytest.approx(65535 * 1e-9)


def test_what_does_not_fit_is_told() -> None:
    torus, star = Torus((4, 4)), FatTree((4,))
    for attempt, told in (
        (lambda: torus.link_loads(np.ones((4, 4))), r"shape \(4, 4\), allowed are a number and the shape \(16, 16\)"),
        (lambda: torus.link_loads(-np.ones((16, 16))), "negative"),
        (lambda: torus.link_loads("much"), "'much', allowed are bytes"),
        (lambda: torus.link_loads(np.ones((16, 16)), contention="folded"), "same bytes for every pair"),
        (lambda: torus.all_to_all(1.0, contention="fold"), "Did you mean 'folded'"),
        (lambda: star.all_to_all(1.0, contention="folded"), "look the same"),
        (lambda: torus.all_to_all(1.0, routing="valiant", contention="flows"), "no fixed routes"),
        (lambda: Torus((33, 33)).all_to_all(1.0, contention="flows"), "1,184,832 pairs of chips, allowed are at most"),
        (lambda: Torus((32, 32, 32)).all_to_all(1.0, contention="links"), "32,768 chips, allowed are at most 16,384"),
        (lambda: Endpoint(injection_bytes_per_s=0, descriptor_bytes=0), "(?s)injection.*descriptor_bytes"),
    ):
        with pytest.raises(InputError, match=told):
            attempt()


def test_permutations_and_single_messages() -> None:
    """A shift by one along a ring uses every link upwards once; a message alone takes its bytes and its hops."""
    ring = Torus((8,))
    shift = ring.permute([(i + 1) % 8 for i in range(8)], 1e9)
    assert shift.time_s == pytest.approx(1e9 / 50e9 + 1e-6)
    assert sorted(shift.link_bytes.tolist()) == [0.0] * 8 + [1e9] * 8
    far = Torus((4, 4, 8)).send(0, 3, 1e9, routing="dimension_order")
    assert far.time_s == pytest.approx(1e9 / 50e9 + 3e-6)
    assert ring.permute(range(8), 1e9).time_s == 0
    with pytest.raises(InputError, match="read 8 goals, allowed is a permutation"):
        ring.permute([0] * 8, 1.0)
    with pytest.raises(InputError, match="read the chips 0 and 8, allowed are 0 to 7"):
        ring.send(0, 8, 1.0)

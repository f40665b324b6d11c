"""All-reduces of islands: chunks worked out by hand, limits, and the traffic of an exchange counted on the graph."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accsim.errors import InputError
from accsim.figures.tpuv4.infiniband import island_exchange
from accsim.network import FatTree, Islands, Torus
from accsim.network.hierarchical import CHUNKS, island_all_reduce

POD = Islands(Torus((2, 2, 2), wrap=False), 64)


def by_hand(total: float, across: float, spread: float, chunks: int) -> float:
    """The island's links take chunks in the order sum 0, 1, 2, spread 0, sum 3, spread 1, ...; NICs in theirs."""
    order = [("sum", i) for i in range(chunks)]
    for i in range(chunks):
        order.insert(min(len(order), 2 * i + min(3, chunks)), ("spread", i))
    links = nic = 0.0
    summed: dict[int, float] = {}
    crossed: dict[int, float] = {}
    for what, i in order:
        if what == "sum":
            links = summed[i] = links + total
            nic = crossed[i] = max(nic, summed[i]) + across
        else:
            links = max(links, crossed[i]) + spread
    return links


@given(st.floats(1e6, 1e10), st.integers(1, 12))
def test_chunks_by_hand(size: float, chunks: int) -> None:
    found = island_all_reduce(POD, size, chunks=chunks)
    assert found.time_s == pytest.approx(by_hand(found.sum_s, found.across_s, found.spread_s, chunks), rel=1e-6)


def test_parts_of_a_large_buffer() -> None:
    """Three links of 50 GB/s a chip inside, a NIC of 25 GB/s: 7/8 V / 150 GB/s, and 2 (63/64) V/8 / 25 GB/s."""
    size = 2.0**34
    found = island_all_reduce(POD, size, chunks=1)
    assert found.sum_s == found.spread_s == pytest.approx(7 / 8 * size / 150e9, rel=1e-3)
    assert found.across_s == pytest.approx(2 * 63 / 64 * size / 8 / 25e9, rel=1e-3)
    assert found.time_s == pytest.approx(found.sum_s + found.across_s + found.spread_s, rel=1e-9)
    best = island_all_reduce(POD, size)
    assert best.time_s <= min(island_all_reduce(POD, size, chunks=count).time_s for count in CHUNKS)
    # Both kinds of links are in use all the time but for the first sum and the last spread.
    assert 14 / 8 * size / 150e9 <= best.time_s <= 1.05 * 14 / 8 * size / 150e9


def test_islands_of_switches() -> None:
    boxes = Islands(FatTree((8,), link_bytes_per_s=450e9), 4)
    found = island_all_reduce(boxes, 2.0**30, chunks=1)
    assert found.sum_s == pytest.approx(7 / 8 * 2.0**30 / 450e9, rel=0.01)


def test_an_exchange_between_islands_is_what_the_graph_carries() -> None:
    small = Islands(Torus((2, 2, 2), wrap=False), 8)
    carried = small.all_to_all(1e9)
    assert carried.bound_by.startswith("link")
    assert carried.bounds_s["links"] == pytest.approx(island_exchange(small, 1e9), rel=1e-9)


def test_no_chunks_are_refused() -> None:
    with pytest.raises(InputError, match="read 0 chunks"):
        island_all_reduce(POD, 1e6, chunks=0)

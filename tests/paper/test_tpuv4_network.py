"""TPU v4's twisted tori against published and hand-derived numbers.

Jouppi et al., *TPU v4*, ISCA 2023, Figure 6 and section 2.8: all-to-all gains measured. Average distances of the
lattices FCC(k) and BCC(k), 7k/8 and 35k/32 for large k: Camarero, Martínez and Beivide, 2015. The sums of distances of
small k were counted by a breadth-first search over neighbours written out by hand.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from accsim.network import DimensionOrder, Optimal, Torus

SLICES = {
    # shape: diameters, sums of distances, largest loads, regular and twisted
    (4, 4, 8): ((8, 6), (512, 440), (128, 220 / 3)),
    (4, 8, 8): ((10, 6), (1280, 1104), (256, 184)),
    (8, 8, 16): ((16, 12), (8192, 7136), (2048, 7136 / 6)),
    (8, 16, 16): ((20, 12), (20480, 17856), (4096, 2976)),
    (12, 12, 24): ((24, 18), (41472, 36216), (10368, 6036)),
}
MEASURED = {(4, 4, 8): 1.63, (4, 8, 8): 1.31}


def loads(torus: Torus, routing: str = "minimal") -> np.ndarray:
    return torus.all_to_all(1.0, routing=routing).link_bytes


@pytest.mark.parametrize("shape", SLICES)
def test_distances_and_loads(shape: tuple[int, int, int]) -> None:
    diameters, sums, busiest = SLICES[shape]
    tori = Torus(shape), Torus(shape, twisted=True)
    assert tuple(torus.graph.diameter for torus in tori) == diameters
    assert tuple(torus.graph.distance_sum for torus in tori) == sums
    assert [loads(torus).max() for torus in tori] == pytest.approx(busiest, rel=1e-9)
    assert loads(tori[1]).tolist() == pytest.approx([sums[1] / 6] * len(tori[1].graph.target), rel=1e-9)
    split = loads(tori[1], "dimension_order")
    assert split.tolist() == pytest.approx([sums[1] / 6] * len(split), rel=1e-9)


@pytest.mark.parametrize(
    ("shape", "total"),
    [((16, 16, 32), 114560), ((12, 24, 24), 90576)],
)
def test_sums_of_distances_of_larger_lattices(shape: tuple[int, int, int], total: int) -> None:
    graph = Torus(shape, twisted=True).graph
    assert graph.distance_sum == total
    k = min(shape)
    limit = 7 / 8 if shape[1] == k else 35 / 32
    assert graph.distance_sum / graph.chips / k == pytest.approx(limit, rel=0.01)


@pytest.mark.parametrize(
    ("shape", "gain"),
    [((4, 4, 8), 1.745), ((4, 8, 8), 1.391), ((8, 8, 16), 1.722), ((8, 16, 16), 1.376), ((12, 12, 24), 1.718)],
)
def test_ideal_gains_to_three_decimals(shape: tuple[int, int, int], gain: float) -> None:
    found = loads(Torus(shape)).max() / loads(Torus(shape, twisted=True)).max()
    assert round(found, 3) == gain
    assert found >= MEASURED.get(shape, 0.0), "no routing was assumed that does worse than the machine"


@pytest.mark.parametrize(
    ("ties", "regular", "twisted"),
    [
        ("split", (128, 256), (220 / 3, 184)),
        ("axis_split", (128, 256), (226 / 3, 560 / 3)),
        ("shortest", (160, 320), (86, 226)),
        ("lexicographic", (160, 320), (108, 256)),
    ],
)
def test_every_tie_rule_has_its_own_load(ties: str, regular: tuple[float, float], twisted: tuple[float, float]) -> None:
    for shape, plain, twist in zip([(4, 4, 8), (4, 8, 8)], regular, twisted, strict=True):
        rule = f"dimension_order?ties={ties}"
        assert loads(Torus(shape), rule).max() == pytest.approx(plain)
        assert loads(Torus(shape, twisted=True), rule).max() == pytest.approx(twist)


@pytest.mark.parametrize("shape", [(4, 4, 8), (4, 8, 8), (8, 8, 16)])
def test_no_routing_does_better_than_an_even_split(shape: tuple[int, int, int]) -> None:
    regular, twisted = Torus(shape).graph, Torus(shape, twisted=True).graph
    row = np.ones(regular.chips)
    assert Optimal().folded(twisted, row).bytes.max() == pytest.approx(twisted.distance_sum / 6, rel=1e-9)
    halves = regular.chips * max(shape) / 8
    assert Optimal().folded(regular, row).bytes.max() == pytest.approx(halves, rel=1e-9), "the cut across the long axis"


@pytest.mark.parametrize(
    ("shape", "twist", "gain"),
    [
        ((4, 4, 8), ((0, 0, 4), (0, 0, 0), (0, 0, 0)), 1.52),
        ((4, 8, 8), ((0, 0, 4), (0, 0, 4), (0, 0, 0)), 0.98),
        ((4, 8, 8), ((0, 4, 0), (0, 0, 0), (0, 0, 0)), 1.00),
    ],
    ids=["x to z only", "x and y to z", "x to y only"],
)
def test_wrong_twists_have_poor_gains(
    shape: tuple[int, int, int], twist: tuple[tuple[int, ...], ...], gain: float
) -> None:
    found = loads(Torus(shape)).max() / loads(Torus(shape, twist=twist)).max()
    assert round(found, 2) == gain


@pytest.mark.parametrize(
    ("shape", "twisted", "gigabytes_per_s"),
    [
        ((4, 4, 4), False, 98.4),
        ((4, 4, 8), False, 49.6),
        ((4, 4, 8), True, 86.6),
        ((4, 4, 12), False, 33.2),
        ((4, 4, 16), False, 24.9),
        ((4, 8, 8), False, 49.8),
        ((4, 8, 8), True, 69.3),
        ((8, 8, 8), False, 49.9),
        ((8, 8, 16), True, 43.0),
        ((12, 12, 12), False, 33.3),
        ((8, 16, 16), True, 34.4),
        ((12, 16, 16), False, 25.0),
        ((16, 16, 16), False, 25.0),
    ],
)
def test_all_to_all_throughput_of_a_chip(shape: tuple[int, int, int], twisted: bool, gigabytes_per_s: float) -> None:
    torus = Torus(shape, twisted=twisted)
    size = 1e6
    found = torus.all_to_all(size)
    rate = (torus.chips - 1) * size / found.bounds_s["links"]
    assert round(rate / 1e9, 1) == gigabytes_per_s


def test_bisection_of_the_pod() -> None:
    """25.6 TB/s one way (Jouppi et al., IEEE Micro 2026, Table 1): cables between z = 7 and 8 and between 15 and 0."""
    graph = Torus((16, 16, 16)).graph
    z = np.arange(graph.nodes) % 16
    across = (z[graph.source] < 8) & (z[graph.target] >= 8)
    assert graph.rate[across].sum() == 25.6e12


def test_open_axes_double_the_load() -> None:
    """Of dimension order; an even split over all paths crowds the middle of a mesh more than its cut."""
    closed, opened = (loads(Torus((8, 8), wrap=wrap), "dimension_order").max() for wrap in (True, False))
    assert (closed, opened) == pytest.approx((64, 128))
    assert loads(Torus((8, 8), wrap=False)).max() > 128


def test_dimension_order_on_the_pod_takes_the_closed_form() -> None:
    row = np.ones(4096)
    found = DimensionOrder("split").folded(Torus((16, 16, 16)).graph, row).bytes
    assert found.tolist() == pytest.approx([math.prod((16, 16, 16)) * 16 / 8] * 6)

"""Optical switches: counts of the paper, circuits one to one, and chips wired through them into the torus asked for."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from accsim.errors import InputError
from accsim.network import Torus
from accsim.network.ocs import Circuits, Fabric, moved_circuits

FABRIC = Fabric()
Chip = tuple[int, tuple[int, ...]]


def cables(circuits: Circuits, cubes: list[int], side: int) -> list[tuple[Chip, Chip]]:
    """Pairs of (cube, place in it): copper inside cubes, and what the switches join."""
    found = []
    for cube, place, axis in product(cubes, product(range(side), repeat=3), range(3)):
        end = tuple(c + (a == axis) for a, c in enumerate(place))
        if end[axis] < side:
            found.append(((cube, place), (cube, end)))
    for switch, upper, lower in zip(*(column.tolist() for column in circuits), strict=True):
        axis, face = divmod(switch, side**2)
        p, q = divmod(face, side)
        inner = [p, q]
        inner.insert(axis, side - 1)
        outer = [p, q]
        outer.insert(axis, 0)
        found.append(((upper, tuple(inner)), (lower, tuple(outer))))
    return found


@pytest.mark.parametrize(
    ("shape", "twisted"),
    [
        ((4, 4, 4), False),
        ((4, 4, 8), False),
        ((4, 4, 8), True),
        ((4, 8, 8), True),
        ((8, 4, 4), True),
        ((8, 8, 16), True),
        ((4, 4, 12), False),
        ((8, 4, 12), False),
    ],
)
def test_wired_chips_are_the_torus(shape: tuple[int, int, int], twisted: bool) -> None:
    grid = tuple(n // 4 for n in shape)
    cubes = np.random.default_rng(5).permutation(64)[: math.prod(grid)].tolist()
    place = dict(zip(cubes, product(*map(range, grid)), strict=True))

    def node(chip: Chip) -> int:
        cube, inside = chip
        return int(np.ravel_multi_index([4 * a + b for a, b in zip(place[cube], inside, strict=True)], shape))

    circuits = FABRIC.slice_circuits(shape, cubes, twisted=twisted)
    wired = sorted((node(a), node(b)) for a, b in cables(circuits, cubes, 4))
    graph = Torus(shape, twisted=twisted).graph
    up = graph.port % 2 == 0
    assert wired == sorted(zip(graph.source[up].tolist(), graph.target[up].tolist(), strict=True))


def test_numbers_of_the_paper() -> None:
    assert (FABRIC.switches, FABRIC.spares, FABRIC.chips) == (48, 8, 4096)
    whole = FABRIC.slice_circuits((16, 16, 16), range(64))
    assert len(whole.switch) == 48 * 64, "6144 cables, two a circuit"
    assert FABRIC.power_w / (4096 * 200) == pytest.approx(0.0063, abs=1e-4), "the paper: below 3 % with optics"


def test_circuits_are_one_to_one() -> None:
    slices = [((4, 4, 8), [3, 60], True), ((4, 8, 8), [1, 2, 4, 8], True), ((8, 8, 8), list(range(16, 24)), False)]
    parts = [FABRIC.slice_circuits(shape, cubes, twisted=twisted) for shape, cubes, twisted in slices]
    circuits = Circuits(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    broken = [(0, 6), (0, 7), (0, 128), (47, 34)]
    for failed in ((), broken):
        out, into = FABRIC.port_pairs(circuits, failed)
        used = list(zip(np.tile(circuits.switch, 2).tolist(), np.concatenate([out, into]).tolist(), strict=True))
        assert len(set(used)) == len(used) == 2 * 48 * 14
        assert not set(failed) & set(used)
        assert all(0 <= port < 136 for _, port in used)


def test_a_twist_moves_circuits_only_where_an_axis_is_twisted() -> None:
    regular, twisted = (FABRIC.slice_circuits((4, 4, 8), [0, 1], twisted=t) for t in (False, True))
    assert moved_circuits(regular, twisted) == 2 * (2 * 16 * 2), "x and y of two cubes, broken and made"
    assert FABRIC.reconfiguration_s(regular, twisted) == pytest.approx(10.0012)
    assert FABRIC.reconfiguration_s(regular, regular) == 0


def test_what_cannot_be_is_told() -> None:
    slice_ = FABRIC.slice_circuits((4, 4, 4), [0])
    nine = [(5, port) for port in range(9)]
    for attempt, told in (
        (lambda: FABRIC.slice_circuits((4, 4, 6), [0]), "4x4x6, allowed are 3 axes of multiples of 4"),
        (lambda: FABRIC.slice_circuits((16, 16, 20), range(80)), "needs 80 cubes, the machine has 64"),
        (lambda: FABRIC.slice_circuits((4, 4, 8), [7, 7]), "1 different cubes of 2, the slice needs 2"),
        (lambda: FABRIC.slice_circuits((4, 4, 8), [64]), r"(?s)needs 2.*\[64\], allowed are 0 to 63"),
        (lambda: FABRIC.slice_circuits((4, 4, 12), range(3), twisted=True), "axes of k and 2k"),
        (lambda: FABRIC.port_pairs(slice_, nine), "switch 5 of axis x: 9 ports have failed and 8 spares are left"),
        (lambda: FABRIC.port_pairs(slice_, [(48, 0)]), "port 0 of switch 48, which does not exist"),
        (lambda: Fabric(ports=100, side=0), r"Fabric\.side"),
        (lambda: Fabric(ports=100), "64 cubes need 128"),
    ):
        with pytest.raises(InputError, match=told):
            attempt()

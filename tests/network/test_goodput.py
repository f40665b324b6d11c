"""Goodput: exact sums, the published anchors, and sampled machines against both."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from accsim.errors import InputError
from accsim.network.goodput import Machine, availability

BLOCKS = {
    64: (1, 1, 1),
    128: (1, 1, 2),
    256: (1, 2, 2),
    512: (2, 2, 2),
    1024: (2, 2, 4),
    2048: (2, 4, 4),
    3072: (3, 4, 4),
    4096: (4, 4, 4),
}
HOSTS = ("0.990", "0.995", "0.999")


WHOLE = 10**24


def exact_working(up: int, cubes: int = 64) -> list[int]:
    """Probability that k cubes work, times WHOLE^cubes, each working with up / WHOLE; built up cube by cube."""
    found = [1]
    for _ in range(cubes):
        found = [stay * (WHOLE - up) + more * up for stay, more in zip([*found, 0], [0, *found], strict=True)]
    return found


@pytest.mark.parametrize("host", HOSTS)
def test_closed_forms_equal_exact_sums_in_all_cells(host: str) -> None:
    machine, up = Machine(float(host)), Fraction(host) ** 16
    working = exact_working(round(up * WHOLE))
    total = sum(working)
    assert total == WHOLE**64
    for chips, shape in BLOCKS.items():
        size = chips // 64
        mean = Fraction(sum(chance * (k // size) for k, chance in enumerate(working)) * size, 64 * total)
        sure = max(n for n in range(64 // size + 1) if 10 * sum(working[n * size :]) >= 9 * total)
        fixed = (64 // size) * Fraction(size, 64) * up**size
        assert machine.switched(size) == pytest.approx(float(mean), abs=1e-9)
        assert machine.guaranteed(size) == sure * size / 64
        assert machine.fixed(shape) == pytest.approx(float(fixed), abs=1e-9)


PUBLISHED = {1024: 0.75, 2048: 0.50, 3072: 0.75}


@pytest.mark.parametrize("chips", PUBLISHED)
def test_published_anchors(chips: int) -> None:
    """Jouppi et al., ISCA 2023, Figure 4: with switches, hosts up 99.0 % and 99.5 % of the time."""
    for host in (0.990, 0.995):
        assert Machine(host).guaranteed(chips // 64) == PUBLISHED[chips]
        assert Machine(host).switched(chips // 64) == pytest.approx(PUBLISHED[chips], abs=0.009)
    assert Machine(0.995).fixed(BLOCKS[chips]) < 0.3 < Machine(0.999).fixed(BLOCKS[chips])


@pytest.mark.parametrize("shape", BLOCKS.values())
@pytest.mark.parametrize("host", [0.990, 0.999])
def test_samples_lie_within_four_standard_errors(shape: tuple[int, int, int], host: float) -> None:
    machine = Machine(host)
    switched, fixed = machine.sample(shape, samples=100_000, seed=math.prod(shape))
    for sampled, expected in ((switched, machine.switched(math.prod(shape))), (fixed, machine.fixed(shape))):
        floor = 1 / 100_000 / 64  # an event that was never seen has no spread
        assert abs(sampled.mean - expected) <= 4 * max(sampled.standard_error, floor)


@pytest.mark.parametrize(
    ("placement", "goodput"), [("partition", 0.348), ("orientations", 0.456), ("offsets", 0.562), ("wrap", 0.636)]
)
def test_more_places_make_fixed_wires_better(placement: str, goodput: float) -> None:
    """3072 chips, hosts up 99.9 % of the time."""
    machine = Machine(0.999)
    assert round(machine.fixed((3, 4, 4), placement), 3) == goodput
    _, sampled = machine.sample((3, 4, 4), placement, samples=100_000)
    assert abs(sampled.mean - machine.fixed((3, 4, 4), placement)) <= 4 * sampled.standard_error


def test_a_small_machine_counted_state_by_state() -> None:
    machine = Machine(0.9, hosts=2, grid=(2, 1, 3))
    up = 0.9**2
    anywhere = in_places = 0.0
    for state in product((0, 1), repeat=6):
        chance = math.prod(up if one else 1 - up for one in state)
        grid = np.array(state).reshape(2, 1, 3)
        anywhere += chance * (sum(state) // 4)
        in_places += chance * any(grid[:, :, z : z + 2].all() for z in (0, 1))
    assert machine.switched(4) == pytest.approx(anywhere * 4 / 6)
    assert machine.fixed((2, 1, 2), "offsets") == pytest.approx(in_places * 4 / 6)


def test_racks_cables_and_switches_take_what_hangs_on_them() -> None:
    machine = Machine(0.999, rack=0.99, cable=0.9999, switch=0.999)
    assert machine.cube_up == pytest.approx(0.999**16 * 0.99 * 0.9999**96)
    same = Machine(machine.cube_up ** (1 / 16))
    assert machine.fixed((2, 2, 2)) == pytest.approx(same.fixed((2, 2, 2)))
    assert machine.switched(8) == pytest.approx(0.999**48 * same.switched(8))
    assert machine.guaranteed(8, 0.9) <= same.guaranteed(8, 0.9)
    switched, fixed = machine.sample((2, 2, 2), samples=100_000)
    assert abs(switched.mean - machine.switched(8)) <= 4 * switched.standard_error
    assert abs(fixed.mean - machine.fixed((2, 2, 2))) <= 4 * fixed.standard_error


def test_certain_machines() -> None:
    whole, dead = Machine(1.0), Machine(0.0)
    for shape in BLOCKS.values():
        size = math.prod(shape)
        assert whole.switched(size) == whole.fixed(shape) == pytest.approx(64 // size * size / 64)
        assert dead.switched(size) == dead.fixed(shape) == 0
    for machine in (whole, dead):
        switched, fixed = machine.sample((2, 2, 2), samples=100)
        assert (switched.mean, fixed.mean) == (machine.switched(8), machine.fixed((2, 2, 2)))


def test_availability_of_a_part() -> None:
    assert availability(0.0, 3.0) == 1.0
    assert availability(0.5, 2.0) == 0.5


def test_what_cannot_be_is_told() -> None:
    machine = Machine()
    for attempt, told in (
        (lambda: Machine(1.5, rack=-1, grid=(8, 8, 8)), r"(?s)Machine\.host.*Machine\.rack.*Machine\.grid"),
        (lambda: machine.switched(65), "65 cubes, allowed are 1 to 64"),
        (lambda: machine.guaranteed(1, 0.0), "confidence"),
        (lambda: machine.fixed((5, 1, 1)), "what fits the machine"),
        (lambda: machine.fixed((1, 1, 1), "wrapped"), "Did you mean 'wrap'"),
        (lambda: machine.fixed((2, 2, 2), "wrap"), "no closed form"),
    ):
        with pytest.raises(InputError, match=told):
            attempt()

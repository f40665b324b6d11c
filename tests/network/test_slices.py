"""A mix of slices on a machine: closed forms of mixes of one size, a naive twin, laws."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from accsim.errors import InputError
from accsim.network.goodput import Machine
from accsim.network.slices import Slice, replay

SMALL = Slice((2, 4, 4), 3.0)
CUBE = Slice((4, 4, 4), 2.0)
LONG = Slice((4, 4, 8), 2.0, twisted=True)
BLOCK = Slice((8, 8, 16), 1.0)
PENCIL = Slice((4, 4, 32), 0.5)


@pytest.mark.parametrize("one", [CUBE, LONG, BLOCK, Slice((12, 16, 16), 1)])
def test_one_size_fills_what_the_closed_form_says(one: Slice) -> None:
    machine = Machine(0.99)
    switched = replay(machine, [one]).goodput
    aligned = replay(machine, [one], "partition").goodput
    assert abs(switched.mean - machine.switched(math.prod(one.cubes))) <= 4 * switched.standard_error
    assert abs(aligned.mean - machine.fixed(one.cubes)) <= 4 * aligned.standard_error


def test_small_slices_share_cubes_to_the_last_chip() -> None:
    small = [Slice(shape, 1.0) for shape in ((1, 1, 1), (1, 1, 2), (1, 2, 2), (2, 2, 2), (2, 2, 4), (2, 4, 4))]
    assert replay(Machine(1.0), small, passes=500, samples=5).goodput.mean == 1.0
    pairs = replay(Machine(0.99), [SMALL], samples=2000)
    assert abs(pairs.goodput.mean - 0.99**16) <= 4 * pairs.goodput.standard_error
    assert pairs.placed.tolist() == pytest.approx([pairs.goodput.mean * 128])


def naive(machine: Machine, mix: Sequence[Slice], wiring: str, passes: int, samples: int, seed: int) -> list[int]:
    """The same, with sets of cubes, in plain Python; draws in the same order."""
    rng = np.random.default_rng(seed)
    places = {
        one: [frozenset(c for c in range(64) if int(p) >> c & 1) for p in machine.places(one.cubes, wiring)]
        for one in mix
        if wiring != "switched"
    }
    share = np.cumsum([one.weight for one in mix]) / sum(one.weight for one in mix)
    found = []
    for _ in range(samples):
        free = {cube for cube in range(64) if rng.random() < machine.cube_up}
        rng.random()  # the fabric, which always works here
        halves: list[int] = []
        chips = waiting = 0
        while waiting <= passes:
            one = mix[int((share <= rng.random()).sum())]
            if one.chips < 64 and any(left >= one.chips for left in halves):
                at = next(i for i, left in enumerate(halves) if left >= one.chips)
                halves[at] -= one.chips
                chips += one.chips
                continue
            if wiring == "switched":
                need = math.prod(one.cubes)
                taken = set(sorted(free)[:need]) if need <= len(free) else None
            else:
                taken = next((set(place) for place in places[one] if place <= free), None)
            if taken is None:
                waiting += 1
                continue
            free -= taken
            chips += one.chips
            if one.chips < 64:
                halves.append(64 - one.chips)
        found.append(chips)
    return found


@pytest.mark.parametrize("wiring", ["switched", "partition", "wrap"])
@pytest.mark.parametrize("passes", [0, 3])
def test_it_is_the_naive_twin(wiring: str, passes: int) -> None:
    machine, mix = Machine(0.98), [SMALL, CUBE, LONG, BLOCK]
    found = replay(machine, mix, wiring, passes=passes, samples=40, seed=3)
    assert found.goodput.mean * 4096 == pytest.approx(np.mean(naive(machine, mix, wiring, passes, 40, 3)))
    chips = sum(n * one.chips for n, one in zip(found.placed, mix, strict=True))
    assert chips == pytest.approx(found.goodput.mean * 4096)


def test_what_wires_cannot_make_is_left_out_and_counted() -> None:
    machine = Machine(1.0)
    wired = replay(machine, [CUBE, PENCIL], "wrap", samples=10)
    assert wired.lost == pytest.approx(0.2)
    assert wired.placed[1] == 0
    switched = replay(machine, [CUBE, PENCIL], samples=200)
    assert switched.lost == 0
    assert switched.placed[1] > 0


def test_switches_fail_with_the_whole_fabric() -> None:
    found = replay(Machine(1.0, switch=0.999), [CUBE], samples=5000)
    assert abs(found.goodput.mean - 0.999**48) <= 4 * found.goodput.standard_error


def test_twistable_slices() -> None:
    can = {shape for shape in [(4, 4, 8), (4, 8, 8), (8, 16, 8), (12, 24, 24)] if Slice(shape, 1).twistable}
    cannot = [shape for shape in [(4, 4, 4), (2, 4, 4), (4, 8, 16), (4, 4, 16)] if Slice(shape, 1).twistable]
    assert len(can) == 4
    assert cannot == []


def test_what_cannot_be_is_told() -> None:
    for attempt, told in (
        (lambda: Slice((3, 4, 4), 1), "multiples of 4"),
        (lambda: Slice((4, 4, 4), -1), "weight"),
        (lambda: replay(Machine(), [CUBE], "wired"), "allowed are switched, partition"),
        (lambda: replay(Machine(), [Slice((16, 16, 20), 1)]), "5120 chips, allowed are at most 4096"),
        (lambda: replay(Machine(), [PENCIL], "wrap"), "no place for any slice"),
        (lambda: replay(Machine(), [CUBE], samples=0), "0 samples"),
    ):
        with pytest.raises(InputError, match=told):
            attempt()

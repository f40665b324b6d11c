"""Goodput of a mix of slices: closed forms where all jobs are alike, a machine told by hand, the published mix."""

from __future__ import annotations

import math

import pytest

from accsim.errors import InputError
from accsim.network.goodput import Machine
from accsim.network.slice_mix import PUBLISHED_MIX, Shape, mix_goodput


@pytest.mark.parametrize("chips", [(4, 4, 4), (4, 4, 8), (8, 8, 16), (8, 16, 16)])
def test_with_switches_jobs_that_are_all_alike_give_the_closed_form(chips: Shape) -> None:
    machine = Machine(0.99, switch=0.9995)
    found = mix_goodput(machine, {chips: 1.0}, samples=20_000)
    expected = machine.switched(math.prod(chips) // 64)
    assert abs(found.switched.mean - expected) <= 4 * found.switched.standard_error


@pytest.mark.parametrize("chips", [(4, 4, 4), (12, 16, 16), (16, 16, 16)])
def test_with_fixed_wires_so_do_those_of_which_one_fits_or_any_cube_does(chips: Shape) -> None:
    machine = Machine(0.999)
    found = mix_goodput(machine, {chips: 1.0}, samples=20_000)
    grid = (chips[0] // 4, chips[1] // 4, chips[2] // 4)
    expected = machine.fixed(grid, "partition" if grid == (1, 1, 1) else "offsets")
    assert abs(found.fixed.mean - expected) <= 4 * found.fixed.standard_error


def test_small_jobs_share_cubes_and_need_no_switches() -> None:
    machine = Machine(0.99, switch=0.0)
    for chips in ((2, 4, 4), (1, 1, 1)):
        found = mix_goodput(machine, {chips: 1.0}, samples=2_000)
        for sampled in found[:2]:
            assert abs(sampled.mean - 0.99**16) <= 4 * sampled.standard_error
    assert mix_goodput(machine, {(4, 4, 4): 1.0}, samples=10).switched.mean == 0.0
    two_and_a_rest = mix_goodput(Machine(1.0), {(3, 4, 2): 1.0}, samples=1)
    assert two_and_a_rest.switched.mean == pytest.approx(2 * 24 / 64)


def test_strict_order_stops_at_the_first_that_does_not_fit() -> None:
    """Of the whole machine one job fits; in a mix with single cubes the machine is full or the whole one waits."""
    whole, cube = (16, 16, 16), (4, 4, 4)
    machine = Machine(1.0)
    strict = mix_goodput(machine, {whole: 1.0, cube: 1.0}, waiting=1, samples=40_000)
    # First a job of all cubes: full. Else k single cubes before it, k from 1 to 64.
    expected = 0.5 + sum(0.5 ** (k + 1) * k / 64 for k in range(1, 64)) + 0.5**64
    assert abs(strict.switched.mean - expected) <= 4 * strict.switched.standard_error
    assert strict.fixed == strict.switched


def test_the_published_mix_adds_up_as_printed() -> None:
    assert sum(PUBLISHED_MIX.values()) == pytest.approx(97.5)
    groups = {
        29: (1, 63),
        14: (64, 64),
        18: (128, 192),
        12: (256, 384),
        13: (512, 768),
        4: (1024, 1536),
        8: (2048, 3072),
    }
    for printed, (low, high) in groups.items():
        total = sum(share for shape, share in PUBLISHED_MIX.items() if low <= math.prod(shape) <= high)
        assert abs(total - printed) <= 0.5


def test_switches_serve_the_published_mix_better() -> None:
    served = {
        (host, waiting): mix_goodput(Machine(host), waiting=waiting, samples=1_000)
        for host in (0.99, 0.999)
        for waiting in (1, 10)
    }
    for found in served.values():
        assert found.switched.mean > found.fixed.mean + 4 * found.fixed.standard_error
        assert found.unplaceable == pytest.approx((0.6 + 0.1 + 0.1 + 0.1 + 0.1 + 0.4) / 97.5)
    for kind in (0, 1):
        for host in (0.99, 0.999):
            assert served[host, 10][kind].mean > served[host, 1][kind].mean
        for waiting in (1, 10):
            assert served[0.999, waiting][kind].mean > served[0.99, waiting][kind].mean


def test_what_cannot_be_is_told() -> None:
    for mix, told in (
        ({}, "an empty mix"),
        ({(4, 4, 4): 0.0}, "an empty mix"),
        ({(4, 4, 6): 1.0}, "4x4x6, allowed are 3 axes of multiples of 4"),
        ({(16, 16, 20): 1.0}, "needs 80 cubes"),
    ):
        with pytest.raises(InputError, match=told):
            mix_goodput(Machine(), mix)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="read 0 waiting jobs"):
        mix_goodput(Machine(), waiting=0)

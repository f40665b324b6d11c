"""The search over slices: every shape and assignment is tried, times are those of the collectives."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

import accsim
from accsim.errors import InputError
from accsim.network.slice_search import MOST_CHIPS, Need, find_placements, find_slices, read_need, slice_shapes


@pytest.mark.parametrize("chips", [1, 2, 4, 8, 16, 32, 64, 192, 512, 1024, 3072, 4096])
def test_shapes_are_all_that_the_rule_allows(chips: int) -> None:
    """4i x 4j x 4k with i <= j <= k from a cube on; below, sides of 1, 2 and 4, none more than twice the next."""
    if chips < 64:
        sides = [s for s in product((1, 2, 4), repeat=3) if math.prod(s) == chips and list(s) == sorted(s)]
        assert slice_shapes(chips) == [
            s for s in sides if s in {(1, 1, 1), (1, 1, 2), (1, 2, 2), (2, 2, 2), (2, 2, 4), (2, 4, 4)}
        ]
        return
    cubes = range(1, MOST_CHIPS // 64 + 1)
    wanted = [
        (4 * i, 4 * j, 4 * k) for i in cubes for j in cubes if j >= i and 64 * i * j <= chips
        for k in cubes if k >= j and 64 * i * j * k == chips
    ]  # fmt: skip
    assert slice_shapes(chips) == sorted(wanted)


def test_every_published_slice_is_among_them() -> None:
    """Jouppi et al., ISCA 2023, Table 2."""
    table = [
        "1x1x1",
        "2x2x4",
        "2x4x4",
        "4x4x4",
        "4x4x12",
        "4x8x12",
        "8x8x12",
        "4x4x96",
        "8x8x24",
        "12x16x16",
        "4x4x192",
    ]
    for text in table:
        shape = tuple(map(int, text.split("x")))
        assert shape in slice_shapes(math.prod(shape))


def test_an_all_to_all_wants_a_twist() -> None:
    found = find_slices(128, [Need("all_to_all", 128e6)])
    assert [str(choice) for choice in found] == ["4x4x8 twisted", "4x4x8"]
    for choice, twisted in zip(found, (True, False), strict=True):
        assert choice.time_s == accsim.Torus((4, 4, 8), twisted=twisted).all_to_all(1e6).time_s


def test_an_all_reduce_wants_a_cube() -> None:
    found = find_slices(512, [Need("all_reduce", 1e9)])
    assert str(found[0]) == "8x8x8"
    assert found[0].time_s == accsim.Torus((8, 8, 8)).all_reduce(1e9).time_s
    assert {choice.torus.shape for choice in found} == set(slice_shapes(512))


def test_groups_get_whole_axes() -> None:
    model, data = Need("all_gather", 2e8, "model", 96), Need("all_reduce", 4e8, "data")
    found = find_slices(512, [model, data], {"model": 16, "data": 32})
    assert [str(choice) for choice in found] == ["4x4x32 (model: xy, data: z)", "4x8x16 (model: z, data: xy)"]
    for choice in found:
        torus = choice.torus
        assert {name: math.prod(torus.shape[a] for a in axes) for name, axes in choice.axes.items()} == {
            "model": 16,
            "data": 32,
        }
        alone = [
            torus.collective(n.kind, n.size, axes=choice.axes[n.group], algorithm="torus_rings") for n in (model, data)
        ]
        assert choice.parts_s == pytest.approx([96 * alone[0].time_s, alone[1].time_s])
        assert choice.time_s == pytest.approx(sum(choice.parts_s))
    # A group of a single chip has nothing to send; one of all chips may be twisted.
    whole = find_slices(
        128, [Need("all_reduce", 1e9, "data"), Need("all_gather", 1e9, "model")], {"model": 1, "data": 128}
    )
    assert {choice.torus.twisted for choice in whole} == {True, False}
    assert all(choice.parts_s[1] == 0 for choice in whole)


def test_a_matrix_of_rings_wants_its_ranks_along_the_axes() -> None:
    """Eight ranks in each of 16 rings: neighbours along the axis of 8 of 4x4x8, at one hop."""
    chips = 128
    ring = np.zeros((chips, chips))
    for rank in range(chips):
        ring[rank, rank // 8 * 8 + (rank + 1) % 8] = 1e6
    found = find_placements(chips, ring)
    assert found[0].axes["ranks"][-1] == 2
    assert found[0].time_s == pytest.approx(1e6 / 50e9 + 1e-6)
    assert not found[0].torus.twisted
    assert found[0].time_s < found[-1].time_s
    uniform = find_placements(chips, np.full((chips, chips), 1e6))
    assert uniform[0].torus.twisted
    assert uniform[0].time_s == pytest.approx(accsim.Torus((4, 4, 8), twisted=True).all_to_all(1e6).time_s)


def test_needs_are_spelled() -> None:
    assert read_need("all_gather:200MB:model:96") == Need("all_gather", 2e8, "model", 96.0)
    with pytest.raises(InputError, match=r"unknown collective 'all_gater'.*Did you mean 'all_gather'"):
        read_need("all_gater:1GB")


def test_what_cannot_be_is_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        find_slices(64, [Need("all_reduce", 1.0, "modl")], {"model": 8})
    assert len(caught.value.problems) == 2
    with pytest.raises(InputError, match="no slice of 512 chips has axes whose lengths multiply"):
        find_slices(512, [Need("all_reduce", 1.0, "model")], {"model": 2, "data": 256})

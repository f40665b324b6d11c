"""What is left where zeros are skipped: by enumeration, by loops over masks, against drawn masks, and laws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accsim.sparsity.base import Bools
from accsim.sparsity.masks import draw_mask
from accsim.sparsity.nm import NM, VNM
from accsim.sparsity.patterns import Block, Dense, Unstructured, WeightPattern
from accsim.sparsity.skipping import (
    Left,
    Lines,
    Packing,
    bitmap_bits,
    run_by_rows,
    skipped_by_lanes,
    skipped_by_outer_products,
)

A, B = ("m", "k"), ("k", "n")
MODES = ((1, 4), (2, 4))


def operand(pattern: WeightPattern | Bools, lines: int = 80, places: int = 400, axes: tuple[str, str] = A) -> Lines:
    if isinstance(pattern, np.ndarray):
        lines, places = pattern.shape
        pattern = Unstructured(mask=pattern if axes == A else pattern.T)
    return Lines(pattern, lines, places, axes)


def masks_of(lines: int, places: int, density: float) -> Iterator[tuple[Bools, float]]:
    """Every mask with its probability."""
    for bits in itertools.product((False, True), repeat=lines * places):
        kept = sum(bits)
        chance = density**kept * (1 - density) ** (lines * places - kept)
        yield np.array(bits).reshape(lines, places), chance


def naive_lanes(mask: Bools, lanes: int, window: int) -> float:
    time = 0
    for top in range(0, mask.shape[0], lanes):
        for left in range(0, mask.shape[1], window):
            time += max(int(line[left : left + window].sum()) for line in mask[top : top + lanes])
    return time / (math.ceil(mask.shape[0] / lanes) * mask.shape[1])


def naive_rows(mask: Bools, rows: int, window: int) -> float:
    shares = []
    for top in range(0, len(mask), rows):
        for left in range(0, mask.shape[1], window):
            block = mask[top : top + rows, left : left + window]
            most = max(int(line[at : at + 4].sum()) for line in block for at in range(0, block.shape[1], 4))
            shares.append(next(n for n in (1, 2, 4) if n >= most) / 4)
    return float(np.mean(shares))


def naive_outer(a: Bools, b: Bools, packing: Packing) -> tuple[float, float]:
    """The waiting and the mean time of one group of units that share no tile."""
    times = []
    for unit in range(packing.units):
        own_a = a[unit * packing.tile[0] : (unit + 1) * packing.tile[0]]
        own_b = b[unit * packing.tile[1] : (unit + 1) * packing.tile[1]]
        times.append(
            sum(
                math.ceil(own_a[:, k].sum() / packing.sides[0]) * math.ceil(own_b[:, k].sum() / packing.sides[1])
                for k in range(a.shape[1])
            )
        )
    dense = math.ceil(packing.tile[0] / packing.sides[0]) * math.ceil(packing.tile[1] / packing.sides[1]) * a.shape[1]
    return max(times) / dense, sum(times) / packing.units / dense


def test_means_over_all_masks() -> None:
    density = 0.3
    lanes = sum(chance * naive_lanes(mask, 3, 4) for mask, chance in masks_of(3, 4, density))
    assert skipped_by_lanes(operand(Unstructured(density)), 3, 4).time == pytest.approx(lanes)
    rows = sum(chance * naive_rows(mask, 2, 4) for mask, chance in masks_of(2, 4, density))
    assert run_by_rows(operand(Unstructured(density)), MODES, 2, 4).time == pytest.approx(rows)
    packing = Packing((2, 2), (1, 1), 1, 2)
    both = list(itertools.product(masks_of(4, 1, density), masks_of(4, 1, 0.6)))
    found = np.array([np.array(naive_outer(a, b, packing)) * pa * pb for (a, pa), (b, pb) in both]).sum(axis=0)
    left = skipped_by_outer_products(operand(Unstructured(density)), operand(Unstructured(0.6), axes=B), packing)
    assert left == pytest.approx(found)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 20), st.integers(1, 4), st.integers(1, 7), st.integers(0, 99))
def test_masks_are_counted(lines: int, places: int, lanes: int, window: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((lines, places)) < 0.4
    for axes in (A, B):
        left = skipped_by_lanes(operand(mask, axes=axes), lanes, window)
        assert left == pytest.approx((naive_lanes(mask, min(lanes, lines), min(window, places)), mask.mean()))
        by_rows = run_by_rows(operand(mask, axes=axes), MODES, 1, 4 * window)
        assert by_rows.time == pytest.approx(naive_rows(mask, 1, 4 * window))


def test_outer_products_of_masks_are_counted() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random((8, 12)) < 0.4, rng.random((8, 12)) < 0.6
    packing = Packing((4, 4), (2, 2), 12, 2)
    swapped = np.concatenate([b[4:], b[:4]])
    groups = [naive_outer(a, b, packing), naive_outer(a, swapped, packing)]
    left = skipped_by_outer_products(operand(a), operand(b, axes=B), packing)
    assert left == pytest.approx(np.mean(groups, axis=0))


CASES: dict[str, Callable[[Lines, Lines], Left]] = {
    "lanes": lambda a, _: skipped_by_lanes(a, 32, 64),
    "rows": lambda a, _: run_by_rows(a, MODES, 2, 32),
    "outer products": lambda a, b: skipped_by_outer_products(a, b, Packing((32, 32), (8, 16), 16, 4)),
    "outer products, B dense": lambda a, _: skipped_by_outer_products(
        a, Lines(Dense(), 256, 128, B), Packing((32, 32), (8, 16), 16, 4)
    ),
    "one mask": lambda a, _: skipped_by_outer_products(
        a, Lines(Unstructured(0.5), 256, 128, B), Packing((32, 32), (8, 16), 16, 4)
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("density", [0.05, 0.25, 0.6])
def test_drawn_masks_agree_with_the_closed_form(case: str, density: float) -> None:
    rng = np.random.default_rng(7)
    drawn = [
        CASES[case](operand(rng.random((256, 128)) < density), operand(rng.random((256, 128)) < 0.5, axes=B))
        for _ in range(12)
    ]
    closed = CASES[case](operand(Unstructured(density), 256, 128), operand(Unstructured(0.5), 256, 128, B))
    for found, want in zip(np.array(drawn).T, closed, strict=True):
        error = found.std(ddof=1) / math.sqrt(len(found))
        assert abs(found.mean() - want) <= 4 * error + 1e-4  # a drawn pattern keeps whole places: density to 1e-4


def test_waiting_vanishes_as_windows_grow() -> None:
    windows = (4, 16, 64, 256, 1024)
    sparse = operand(Unstructured(0.25), 512, 4096)
    lanes = [skipped_by_lanes(sparse, 32, window) for window in windows]
    units = [skipped_by_outer_products(sparse, sparse, Packing((32, 32), (8, 8), window, 8)) for window in windows]
    for found in (lanes, units):
        lost = [left.time / left.issued - 1 for left in found]
        assert lost == sorted(lost, reverse=True)
        assert 0 < lost[-1] < 0.15 < lost[0]
    for pattern in (NM(2, 8), VNM(64, 2, 8)):
        assert skipped_by_lanes(operand(pattern), 32, 16) == (0.25, 0.25)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.integers(1, 8), st.integers(1, 32))
def test_denser_is_never_faster_and_none_beats_its_work(one: float, two: float, units: int, window: int) -> None:
    low, high = sorted((round(one, 3), round(two, 3)))
    packing = Packing((16, 16), (4, 8), window, units)
    for case in (
        lambda a: skipped_by_lanes(a, units, window),
        lambda a: run_by_rows(a, MODES, units, 4 * window),
        lambda a: skipped_by_outer_products(a, operand(Unstructured(0.5), axes=B), packing),
    ):
        sparse, dense = case(operand(Unstructured(low))), case(operand(Unstructured(high)))
        assert sparse.time <= dense.time * (1 + 1e-9)
        assert sparse.issued <= sparse.time * (1 + 1e-9)
        assert dense.time <= 1 + 1e-9
    effectual = operand(Unstructured(low)).density * operand(Unstructured(0.5), axes=B).density
    assert case(operand(Unstructured(low))).issued >= effectual * (1 - 1e-9)


def test_blocks_are_empty_together() -> None:
    """Blocks as wide as the tile: a place takes all of its steps or none, and lanes of one block never wait."""
    blocks, plain = operand(Block(32, 8, 0.25), 64), operand(Unstructured(0.25))
    packing = Packing((32, 32), (8, 16), 8, 1)
    dense = operand(Dense(), axes=B)
    assert skipped_by_outer_products(blocks, dense, packing).time == pytest.approx(0.25)
    assert skipped_by_outer_products(plain, dense, packing).time > 0.3
    assert skipped_by_lanes(blocks, 32, 64).time == pytest.approx(0.25)


def test_a_bitmap_of_empty_tiles_is_one_bit() -> None:
    mask = np.zeros((64, 32), bool)
    mask[:32, :16] = True
    assert bitmap_bits(operand(mask), 32, 16) == 0.25 + 1 / 512
    assert bitmap_bits(operand(Unstructured(0.5)), 32, 16) == pytest.approx(1 + 1 / 512)
    drawn = draw_mask(Unstructured(0.001), (512, 512), seed=1, axes=A)
    closed = bitmap_bits(operand(Unstructured(0.001), 512, 512), 32, 16)
    assert bitmap_bits(operand(drawn), 32, 16) == pytest.approx(closed, abs=4 * math.sqrt(0.24 / 512))

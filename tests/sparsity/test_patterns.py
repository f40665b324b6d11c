"""Patterns: exact counts, masks that are drawn, masks that conform, by loops written from each rule."""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from accsim.errors import InputError
from accsim.sparsity.attention_masks import TopKeys, Window
from accsim.sparsity.base import Bools, Pattern
from accsim.sparsity.mask import Mask
from accsim.sparsity.masks import conforms, draw_mask
from accsim.sparsity.nm import NM, VNM
from accsim.sparsity.patterns import Block, Channel, Dense, Unstructured
from accsim.workload.ops import Attention

SHAPES = st.tuples(st.integers(1, 24), st.integers(1, 24))
AXES = st.sampled_from(("k", "n"))
SHARES = st.fractions(min_value=Fraction(1, 50), max_value=1, max_denominator=50)


@st.composite
def nm(draw: st.DrawFn) -> NM:
    m = draw(st.integers(1, 9))
    return NM(draw(st.integers(1, m)), m, draw(AXES))


@st.composite
def vnm(draw: st.DrawFn) -> VNM:
    return VNM(draw(st.integers(1, 6)), draw(st.integers(1, 4)), draw(st.integers(4, 12)), draw(AXES))


PATTERNS = st.one_of(
    st.just(Dense()),
    nm(),
    vnm(),
    st.builds(NM, st.integers(1, 3), st.integers(3, 4), transposable=st.just(True)),
    st.builds(Block, st.integers(1, 4), st.integers(1, 4), SHARES),
    st.builds(Channel, SHARES, AXES),
    st.builds(Unstructured, SHARES),
    st.builds(TopKeys, SHARES),
    st.builds(Window, st.integers(1, 30), st.booleans()),
)


def lines(mask: Bools, axis: str) -> list[list[bool]]:
    return [list(map(bool, line)) for line in (mask.T if axis == "k" else mask)]


def holds_nm(mask: Bools, n: int, m: int, axis: str) -> bool:
    return all(sum(line[at : at + m]) <= n for line in lines(mask, axis) for at in range(0, len(line), m))


def holds_vnm(mask: Bools, pattern: VNM) -> bool:
    rows = lines(mask, pattern.axis)
    for top in range(0, len(rows), pattern.v):
        block = rows[top : top + pattern.v]
        for at in range(0, len(rows[0]), pattern.m):
            used = {place for row in block for place in range(at, min(at + pattern.m, len(row))) if row[place]}
            if len(used) > 4:
                return False
    return holds_nm(mask, pattern.n, pattern.m, pattern.axis)


@given(PATTERNS, SHAPES, st.integers(0, 2**32))
def test_a_drawn_mask_has_exactly_the_places_that_are_promised_and_conforms(
    pattern: Pattern, shape: tuple[int, int], seed: int
) -> None:
    try:
        kept = pattern.kept(shape)
    except InputError:
        assume(False)
    mask = draw_mask(pattern, shape, seed)
    assert mask.shape == shape
    assert mask.dtype == np.bool_
    assert mask.sum() == kept
    assert conforms(mask, pattern)
    assert (mask == draw_mask(pattern, shape, seed)).all()
    assert pattern.density_in(shape) == Fraction(kept, math.prod(shape))
    fewer = mask & draw_mask(Unstructured(0.5), shape, seed)
    assert conforms(fewer, pattern)


@given(nm(), SHAPES, st.integers(0, 2**32), st.sampled_from((0.2, 0.5, 0.8)))
def test_nm_conforms_as_a_loop_over_runs_says(pattern: NM, shape: tuple[int, int], seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random(shape) < share
    assert conforms(mask, pattern) == holds_nm(mask, pattern.n, pattern.m, pattern.axis)


@given(vnm(), SHAPES, st.integers(0, 2**32), st.sampled_from((0.05, 0.2, 0.4)))
def test_vnm_conforms_as_a_loop_over_blocks_says(pattern: VNM, shape: tuple[int, int], seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random(shape) < share
    assert conforms(mask, pattern) == holds_vnm(mask, pattern)
    assert holds_vnm(draw_mask(pattern, shape, seed), pattern)


@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.integers(0, 9))
def test_a_transposable_mask_is_nm_both_ways(m: int, down: int, across: int, seed: int) -> None:
    for n in range(1, m + 1):
        mask = draw_mask(NM(n, m, transposable=True), (down * m, across * m), seed)
        for axis in ("k", "n"):
            assert {
                sum(line[at : at + m]) for line in lines(mask, axis) for at in range(0, len(line), m)
            } == {n}  # fmt: skip
    assert not conforms([[1, 1], [0, 0]], NM(1, 2, transposable=True))
    assert conforms([[1, 1], [0, 0]], NM(1, 2))


ALL = Fraction(1)
DENSE_ALIKE = st.one_of(
    st.integers(1, 9).map(lambda m: NM(m, m)),
    st.integers(1, 9).map(lambda m: NM(m, m, "n")),
    st.integers(1, 9).map(lambda v: VNM(v, 4, 4)),
    st.sampled_from((Block(1, 1, ALL), Channel(ALL), Unstructured(ALL), TopKeys(ALL), Window(99, causal=False))),
)


@given(DENSE_ALIKE, SHAPES)
def test_n_of_n_and_density_1_are_dense(pattern: Pattern, shape: tuple[int, int]) -> None:
    assert draw_mask(pattern, shape).all()
    assert conforms(np.ones(shape), pattern)


@pytest.mark.parametrize(
    ("pattern", "density"),
    [
        (NM(2, 4), Fraction(1, 2)), (NM(1, 32), Fraction(1, 32)), (VNM(64, 2, 10), Fraction(1, 5)),
        (Block(4, 4, 0.1), Fraction(1, 10)), (Channel("1/3"), Fraction(1, 3)), (Unstructured(0.3), Fraction(3, 10)),
        (Unstructured(mask=np.eye(3)), Fraction(1, 3)), (Dense(), Fraction(1)), (TopKeys(0.2), Fraction(1, 5)),
    ],
)  # fmt: skip
def test_density_is_what_was_written(pattern: NM, density: Fraction) -> None:
    assert pattern.density == density
    assert pickle.loads(pickle.dumps(pattern)) == pattern
    assert len({pattern, pickle.loads(pickle.dumps(pattern))}) == 1


@given(st.integers(1, 40), SHARES)
def test_kept_count_is_that_of_magnitude_pruning(places: int, share: Fraction) -> None:
    dropped = sum(1 for rank in range(1, places + 1) if rank <= (1 - share) * places)
    assert Unstructured(share).kept((places, 1)) == places - dropped


@pytest.mark.parametrize(
    "pattern",
    [NM(2, 4), NM(1, 8, "n"), NM(2, 4, transposable=True), VNM(2, 2, 8), Block(2, 4, 0.25), Channel(0.25),
     Unstructured(0.25), TopKeys(0.25)],
)  # fmt: skip
def test_every_place_is_kept_equally_often(pattern: Pattern) -> None:
    draws = 3000
    mean = sum(draw_mask(pattern, (8, 16), seed).astype(float) for seed in range(draws)) / draws
    density = float(pattern.density_in((8, 16)))
    error = math.sqrt(density * (1 - density) / draws)
    assert np.abs(mean - density).max() < 5 * error


@given(st.integers(1, 12), st.integers(0, 12), st.integers(1, 15), st.booleans())
def test_a_window_is_what_a_loop_over_scores_says(queries: int, past: int, width: int, causal: bool) -> None:
    keys = queries + past
    seen = {
        (i, j)
        for i, j in itertools.product(range(queries), range(keys))
        if (0 <= i + past - j < width if causal else abs(i + past - j) < width)
    }
    mask = draw_mask(Window(width, causal), (queries, keys))
    assert set(zip(*(at.tolist() for at in np.nonzero(mask)), strict=True)) == seen
    if causal:
        op = Attention(1, 1, queries, keys, 8, causal=True, window=width)
        assert mask.sum() == op.scores


def test_a_short_last_run_counts_as_filled_with_zeros() -> None:
    assert NM(2, 4).kept((5, 1)) == 3
    assert NM(2, 4).kept((7, 1)) == 4
    assert conforms([[1], [1], [0], [0], [1]], NM(2, 4))
    assert not conforms([[1], [1], [1], [0]], NM(2, 4))


def test_axes_have_names() -> None:
    by_outputs = np.array([[1, 1, 0, 0], [0, 0, 1, 1]])  # stored as (outputs, inputs)
    assert conforms(by_outputs, NM(2, 4), axes=("n", "k"))
    assert not conforms(by_outputs.T, NM(1, 2), axes=("k", "n"))
    mask = draw_mask(NM(1, 3, "m"), (9, 4), axes=("m", "k"))
    assert (mask.reshape(3, 3, 4).sum(axis=1) == 1).all()
    with pytest.raises(InputError, match="runs along 'm', but the axes of the array are k, n"):
        draw_mask(NM(1, 3, "m"), (9, 4))


REFUSED: list[tuple[Callable[[], object], tuple[str, ...]]] = [
    (lambda: NM(5, 4), ("NM.n", "at most m = 4")),
    (lambda: NM(0, -1), ("NM.n", "NM.m")),
    (lambda: NM(1, 2, axis="", transposable=1), ("NM.axis", "NM.transposable")),  # type: ignore[arg-type]
    (lambda: VNM(0, 5, 3), ("VNM.v", "VNM.n", "VNM.m")),
    (lambda: Block(0, 1.5, 2), ("Block.rows", "Block.cols", "Block.density")),  # type: ignore[arg-type]
    (lambda: Channel("half"), ("Channel.density", "such as 0.25 or 1/3")),  # type: ignore[arg-type]
    (lambda: Unstructured(0), ("Unstructured.density", "above 0")),
    (lambda: Unstructured(), ("Unstructured.density",)),
    (lambda: Unstructured("1/0"), ("Unstructured.density",)),  # type: ignore[arg-type]
    (lambda: Unstructured(0.5, mask=np.ones((2, 2))), ("beside a mask",)),  # type: ignore[arg-type]
    (lambda: Window(0, causal=3), ("Window.width", "Window.causal")),  # type: ignore[arg-type]
    (lambda: TopKeys(1.5), ("TopKeys.density",)),  # type: ignore[arg-type]
    (lambda: draw_mask(Block(4, 4, Fraction(1, 2)), (6, 8)), ("do not divide", "6 x 8")),
    (lambda: draw_mask(NM(2, 4, transposable=True), (8, 6)), ("transposable", "4 divides")),
    (lambda: draw_mask(Dense(), (4,)), ("axes k, n",)),
    (lambda: draw_mask(Dense(), (4, 0)), ("side of 1 or more",)),
    (lambda: draw_mask(TopKeys(Fraction(1, 2)), (4, 4, 4), axes=("b", "q", "kv")), ("of matrices",)),
    (lambda: draw_mask(Unstructured(mask=np.eye(3)), (4, 4)), ("has the shape (3, 3), not (4, 4)",)),
    (lambda: Mask.of([]), ("not empty",)),
    (lambda: Mask.of(["a"]), ("of numbers",)),
    (lambda: Mask.of(3), ("shape ()",)),
]


@pytest.mark.parametrize(("make", "parts"), REFUSED)
def test_refuses(make: Callable[[], object], parts: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        make()
    for part in parts:
        assert part in str(caught.value)


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=9))
def test_a_mask_is_a_value(rows: list[list[bool]]) -> None:
    mask = Mask.of(rows)
    assert mask.array.tolist() == rows
    assert mask.kept == sum(map(sum, rows))
    assert Mask.of(mask.array) == mask == pickle.loads(pickle.dumps(mask))
    assert hash(mask) == hash(Mask.of(rows))
    assert Mask.of(np.array(rows).T) != mask or len(rows) == 5
    assert conforms(mask, Unstructured(mask=mask))
    if not mask.array.all():
        assert not conforms(np.ones(mask.shape), Unstructured(mask=mask))

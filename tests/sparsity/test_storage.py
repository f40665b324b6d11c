"""Storage formats: sizes against the formulas and against what the encoders write; means by enumeration."""

from __future__ import annotations

import itertools
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from accsim.errors import InputError
from accsim.sparsity.formats import BITMASK, COO, CSC, CSR, Compressed, NMIndex, entropy_bound_bits
from accsim.sparsity.formats_uneven import BlockEllpack, RunLength
from accsim.sparsity.mask import Mask
from accsim.sparsity.masks import draw_mask
from accsim.sparsity.nm import NM
from accsim.sparsity.patterns import Block, Unstructured
from accsim.sparsity.storage import StorageFormat, crossover_density, encode, stored_bits

FORMATS: tuple[StorageFormat, ...] = (
    BITMASK, CSR, CSC, COO, Compressed(index_width=32, pointer_width=32), RunLength(1), RunLength(3), RunLength(8),
    BlockEllpack(1, 1), BlockEllpack(2, 3), BlockEllpack(4, 1), NMIndex(2, 4), NMIndex(1, 3, axis=1), NMIndex(3, 3),
)  # fmt: skip


@st.composite
def matrices(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """A matrix of value codes, empty, sparse or full, and the bits of a value."""
    bits = draw(st.integers(1, 64))
    shape = (draw(st.integers(1, 12)), draw(st.integers(1, 12)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    codes = rng.integers(1, 2**bits - 1, shape, dtype=np.uint64, endpoint=True)
    return codes * (rng.random(shape) < draw(st.sampled_from((0, 0.03, 0.2, 0.6, 1)))).astype(np.uint64), bits


@given(st.sampled_from(FORMATS), matrices())
def test_what_is_encoded_is_decoded_and_as_long_as_the_formula_says(
    form: StorageFormat, matrix: tuple[np.ndarray, int]
) -> None:
    codes, value_bits = matrix
    try:
        packed = encode(form, codes, value_bits)
    except InputError:
        assume(False)
    assert (packed.decode() == codes).all()
    assert packed.decode().dtype == np.uint64
    assert packed.bits == stored_bits(form, codes, value_bits) == stored_bits(form, Mask.of(codes), value_bits)
    assert len(packed.data) == math.ceil(packed.bits / 8)
    assert pickle.loads(pickle.dumps(packed)) == packed
    density = Fraction(int((codes != 0).sum()), codes.size)
    if form.linear:
        assert packed.bits == form.expected_bits(*codes.shape, density, value_bits)


# Bits an element by hand for 2:4 of 16 and of 8 bits and 1:8 of 16 bits, in a matrix of 1024 x 1024; pointers apart.
BY_HAND: dict[str, tuple[float, float, float]] = {
    "nm": (9.0, 5.0, 2.375), "bitmask": (9.0, 5.0, 3.0), "csr": (13.0, 9.0, 3.25), "coo": (18.0, 14.0, 4.5),
}  # fmt: skip


@pytest.mark.parametrize("kind", BY_HAND)
def test_bits_an_element(kind: str) -> None:
    side = 1024
    for (n, m, value_bits), want in zip(((2, 4, 16), (2, 4, 8), (1, 8, 16)), BY_HAND[kind], strict=True):
        form = {"nm": NMIndex(n, m), "bitmask": BITMASK, "csr": CSR, "coo": COO}[kind]
        pointers = (side + 1) * 21 if kind == "csr" else 0
        density = NM(n, m).density_in((side, side))
        assert form.expected_bits(side, side, density, value_bits) == want * side**2 + pointers
    assert stored_bits(form, draw_mask(NM(1, 8), (64, 8)), 16) == form.expected_bits(64, 8, Fraction(1, 8), 16)


def test_two_bits_a_kept_element_of_2_4() -> None:
    """Six patterns of a run of four need more than two bits a run; 16 bits go down to 56.25 %, 4 bits to 75 %."""
    for value_bits, share in ((16, Fraction(9, 16)), (8, Fraction(5, 8)), (4, Fraction(3, 4))):
        got = NMIndex(2, 4).expected_bits(4, 8, Fraction(1, 2), value_bits)
        assert Fraction(got) / (4 * 8 * value_bits) == share
    assert entropy_bound_bits(2, 4, 16) == 8 + math.log2(6) / 4
    assert entropy_bound_bits(1, 8, 16) == 2 + math.log2(8) / 8


@given(st.integers(1, 8), st.integers(1, 16), st.integers(1, 32))
def test_no_format_of_nm_beats_the_entropy_bound(n: int, m: int, value_bits: int) -> None:
    n = min(n, m)
    assert NMIndex(n, m).expected_bits(m, 1, Fraction(n, m), value_bits) >= m * entropy_bound_bits(n, m, value_bits)


@pytest.mark.parametrize("density", [Fraction(1, 10), Fraction(1, 2), Fraction(9, 10), Fraction(1)])
@pytest.mark.parametrize(
    "form", [RunLength(1), RunLength(2), BlockEllpack(1, 1), BlockEllpack(2, 2), BlockEllpack(1, 3)]
)
def test_the_mean_is_that_over_all_masks(form: StorageFormat, density: Fraction) -> None:
    rows, cols = 2, 6
    mean = Fraction(0)
    for places in itertools.product((0, 1), repeat=rows * cols):
        chance = density ** sum(places) * (1 - density) ** (rows * cols - sum(places))
        mean += chance * stored_bits(form, np.reshape(places, (rows, cols)), 8)
    assert form.expected_bits(rows, cols, density, 8) == pytest.approx(float(mean), rel=1e-12)


def test_run_length_by_hand() -> None:
    row = [0, 0, 5, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0]
    packed = encode(RunLength(2), [row], 4)  # (2, 5), (3, 0), (1, 7), (3, 0), and one zero more
    assert packed.bits == 4 * (2 + 4)
    assert "".join(f"{byte:08b}" for byte in packed.data) == "10110111" + "0101000001110000"


def test_csr_by_hand() -> None:
    packed = encode(CSR, [[0, 3], [0, 0]], 2)
    assert "".join(f"{byte:08b}" for byte in packed.data)[: packed.bits] == "000001001" + "1" + "11"


def test_block_ellpack_of_a_block_pattern() -> None:
    form, pattern = BlockEllpack(4, 8), Block(4, 8, Fraction(1, 4))
    draws = [stored_bits(form, draw_mask(pattern, (64, 128), seed), 16) for seed in range(400)]
    full = 16 * 16 * (4 * 8 * 16 + 5)  # 16 slots a row of 16 blocks, 17 indices
    assert form.block_bits(64, 128, 1, 16) == full
    error = np.std(draws) / math.sqrt(len(draws))
    # A fixed number of blocks varies less than independent ones, so the mean of the draws lies a little below.
    assert np.mean(draws) - 4 * error < form.block_bits(64, 128, Fraction(1, 4), 16) < 1.1 * np.mean(draws)


@pytest.mark.parametrize(("rows", "cols"), [(1024, 1024), (64, 4096), (1000, 33)])
@pytest.mark.parametrize("value_bits", [4, 8, 16])
def test_bitmask_and_coordinates_cross_where_both_are_as_long(rows: int, cols: int, value_bits: int) -> None:
    crossing = crossover_density(BITMASK, COO, rows, cols, value_bits)
    assert crossing == Fraction(1, math.ceil(math.log2(rows)) + math.ceil(math.log2(cols)))
    for density, longer in ((crossing / 2, BITMASK), (2 * crossing, COO)):
        shorter = COO if longer is BITMASK else BITMASK
        mask = draw_mask(Unstructured(density), (rows, cols))
        assert stored_bits(longer, mask, value_bits) > stored_bits(shorter, mask, value_bits)


def test_formats_that_do_not_cross() -> None:
    assert crossover_density(COO, COO, 8, 8, 8) is None
    assert crossover_density(NMIndex(1, 4), COO, 4, 1, 8) == Fraction(10, 40)
    assert crossover_density(Compressed(pointer_width=0), COO, 64, 64, 8) == 0
    with pytest.raises(InputError, match="linear"):
        crossover_density(RunLength(4), COO, 8, 8, 8)


@pytest.mark.parametrize(
    ("form", "codes", "value_bits", "part"),
    [
        (BITMASK, [1, 2], 8, "two axes"),
        (BITMASK, [[]], 8, "neither empty"),
        (BITMASK, [[1]], 65, "1 to 64 bits"),
        (BITMASK, [[256]], 8, r"from 0 to 2\^8 - 1"),
        (BITMASK, [[-1]], 8, r"from 0 to 2\^8 - 1"),
        (BITMASK, [[0.5]], 8, "whole numbers"),
        (NMIndex(1, 2), [[1], [1]], 8, "1 of 1 runs have more than 1 nonzeros in 2"),
        (BlockEllpack(2, 2), [[1, 1, 1], [0, 0, 0]], 8, "do not divide the shape 2 x 3"),
        (Compressed(index_width=1), [[0, 0, 1]], 8, "too narrow"),
        (Compressed(pointer_width=1), [[1, 1, 1]], 8, "too narrow"),
    ],
)
def test_refuses(form: StorageFormat, codes: list[list[int]], value_bits: int, part: str) -> None:
    with pytest.raises(InputError, match=part):
        encode(form, codes, value_bits)


def test_bad_formats_name_every_field() -> None:
    with pytest.raises(InputError) as caught:
        NMIndex(5, 4, axis=2)
    assert len(caught.value.problems) == 2
    with pytest.raises(InputError, match=r"RunLength\.run_bits"):
        RunLength(0)
    with pytest.raises(InputError, match=r"BlockEllpack\.rows"):
        BlockEllpack(0, 4)

"""Patterns as text and as mappings."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accsim.errors import AccsimError, InputError
from accsim.sparsity.attention_masks import TopKeys, Window
from accsim.sparsity.base import Pattern
from accsim.sparsity.nm import NM, VNM
from accsim.sparsity.patterns import Block, Channel, Dense, Unstructured
from accsim.sparsity.spelling import read_pattern

HALF, QUARTER = Fraction(1, 2), Fraction(1, 4)
SHARES = st.fractions(min_value=Fraction(1, 99), max_value=1, max_denominator=99)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)


@pytest.mark.parametrize(
    ("spelled", "pattern"),
    [
        ("2:4", NM(2, 4)), (" 2_4 ", NM(2, 4)), ("NM(2,4)", NM(2, 4)), ("nm_2,4", NM(2, 4)), ("N:M 2,4", NM(2, 4)),
        ("NByM(1, 8)", NM(1, 8)), ("nm(2, 4, axis=n)", NM(2, 4, "n")), ("nm(2, 4, n, true)", NM(2, 4, "n", True)),
        ("nm(2, 4, axis=in_features)", NM(2, 4, "in_features")), ("nm(m=4, n=1)", NM(1, 4)),
        ("64:2:8", VNM(64, 2, 8)), ("venom(64, 2, 8)", VNM(64, 2, 8)), ("V:N:M (16, 2, 20)", VNM(16, 2, 20)),
        ("block_16,16,0.25", Block(16, 16, QUARTER)), ("BSR(4, 8, 1/4)", Block(4, 8, QUARTER)),
        ("channel(0.5)", Channel(HALF)), ("structured(1/2, axis=k)", Channel(HALF, "k")),
        ("unstructured_0.5", Unstructured(HALF)), ("random(0.5)", Unstructured(HALF)), ("dense", Dense()),
        ("None", Dense()), ("sliding window(128)", Window(128)), ("window(9, causal=false)", Window(9, False)),
        ("sanger(0.25)", TopKeys(QUARTER)), ("ELSA 0.5", TopKeys(HALF)), (NM(1, 3), NM(1, 3)),
        ({"kind": "N:M", "n": 2, "m": 4}, NM(2, 4)), ({"kind": "block", "rows": 4, "cols": 4, "density": 0.25},
                                                       Block(4, 4, QUARTER)),
    ],
)  # fmt: skip
def test_spellings(spelled: object, pattern: Pattern) -> None:
    assert read_pattern(spelled) == pattern


@pytest.mark.parametrize(
    ("spelled", "parts"),
    [
        ("", ["read ''", "such as 2:4"]), (5, ["read 5"]), (None, ["nothing"]), ("2:", ["read '2:'"]),
        ("4:2", ["at most m = 2"]), ("nm(2)", ["also needs m"]), ("block(4)", ["also needs cols, density"]),
        ("chanel(0.5)", ["'chanel'", "allowed are dense, nm", "Did you mean 'channel'?"]),
        ("nm(2, 4, n, true, 5)", ["allowed in nm are n, m, axis, transposable"]),
        ("nm(2, 4, m=8)", ["allowed in nm"]), ("nm(axis=n, 2, 4)", ["read 'nm(axis=n, 2, 4)'"]),
        ("nm(2, 4, axs=n)", ["Did you mean 'axis'"]),
        ("unstructured(0.5, mask=3)", ["mask: unknown in unstructured"]), ("dense(1)", ["allowed in dense are none"]),
        ({"n": 2, "m": 4}, ["without a kind"]), ({"kind": "nm", "n": 2, 7: 4}, ["7: unknown", "also needs m"]),
        ("x" * 300, ["allowed is a pattern"]), ("channel(1.5)", ["above 0 and at most 1"]),
    ],
)  # fmt: skip
def test_refuses(spelled: object, parts: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        read_pattern(spelled)
    for part in parts:
        assert part in str(caught.value)


PATTERNS = st.one_of(
    st.just(Dense()),
    st.integers(1, 99).flatmap(lambda m: st.builds(NM, st.integers(1, m), st.just(m), NAMES, st.booleans())),
    st.builds(VNM, st.integers(1, 99), st.integers(1, 4), st.integers(4, 99), st.sampled_from(("k", "n"))),
    st.builds(Block, st.integers(1, 64), st.integers(1, 64), SHARES),
    st.builds(Channel, SHARES, NAMES),
    st.builds(Unstructured, SHARES),
    st.builds(Window, st.integers(1, 99), st.booleans()),
    st.builds(TopKeys, SHARES),
)


@given(PATTERNS)
def test_text_and_form_are_read_back(pattern: Pattern) -> None:
    assert read_pattern(str(pattern)) == pattern
    assert read_pattern(json.loads(json.dumps(pattern.form()))) == pattern


@given(st.text(max_size=30))
def test_any_text_is_a_pattern_or_an_error(text: str) -> None:
    try:
        assert isinstance(read_pattern(text), Pattern)
    except AccsimError as error:
        assert str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (NM(2, 4), "2:4"), (NM(2, 4, "n"), "nm(2, 4, axis=n)"),
        (NM(1, 2, transposable=True), "nm(1, 2, transposable=true)"),
        (VNM(64, 2, 8), "64:2:8"), (VNM(64, 2, 8, "n"), "vnm(64, 2, 8, axis=n)"),
        (Block(4, 8, QUARTER), "block(4, 8, 1/4)"),
        (Dense(), "dense"), (Window(8), "window(8)"),
    ],
)  # fmt: skip
def test_texts(pattern: Pattern, text: str) -> None:
    assert str(pattern) == text


def test_one_mask_is_told_by_its_digest() -> None:
    one, other = (str(Unstructured(mask=np.eye(3) + shift)) for shift in (0, np.eye(3, k=1)))
    assert one.startswith("unstructured(1/3, mask=3 x 3 ")
    assert one.rpartition(" ")[2] != other.rpartition(" ")[2]
    with pytest.raises(InputError):
        read_pattern(one)

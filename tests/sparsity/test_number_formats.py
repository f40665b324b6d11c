"""Number formats: tables of the specifications, ml_dtypes bit for bit, and a second implementation in fractions."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from accsim.errors import InputError
from accsim.sparsity.elements import FloatElement
from accsim.sparsity.masks import draw_mask
from accsim.sparsity.nm import NM
from accsim.sparsity.number_formats import NUMBER_FORMATS, WIDER, number_format
from accsim.sparsity.quantize import block_scales, quantize
from accsim.units import dtype_bits
from tests.reference import quantize_naive as naive

PEERS: dict[str, type] = {
    "bf16": ml_dtypes.bfloat16, "fp16": np.float16, "fp8_e4m3": ml_dtypes.float8_e4m3fn,
    "fp8_e5m2": ml_dtypes.float8_e5m2, "mxfp6_e3m2": ml_dtypes.float6_e3m2fn, "mxfp6_e2m3": ml_dtypes.float6_e2m3fn,
    "mxfp4": ml_dtypes.float4_e2m1fn, "int8": np.int8, "int4": ml_dtypes.int4,
}  # fmt: skip
FLOAT_PEERS = [name for name in PEERS if not name.startswith("int")]


def element_of(name: str) -> FloatElement:
    element = NUMBER_FORMATS[name].element
    assert isinstance(element, FloatElement)
    return element


def peer_values(name: str) -> np.ndarray:
    """The value of every code of the peer's type."""
    peer = np.dtype(PEERS[name])
    codes = np.arange(2 ** element_of(name).bits, dtype=f"u{peer.itemsize}").view(peer)
    with np.errstate(invalid="ignore"):
        return codes.astype(np.float64)


def same(got: np.ndarray, want: np.ndarray) -> bool:
    """Equal bit for bit, the sign of zero included; NaN equals NaN."""
    both = np.asarray(got, dtype=np.float64), np.asarray(want, dtype=np.float64)
    numbers = ~np.isnan(both[0])
    return bool((numbers == ~np.isnan(both[1])).all()) and (both[0][numbers].tobytes() == both[1][numbers].tobytes())


@pytest.mark.parametrize("name", FLOAT_PEERS)
def test_all_codes_have_the_values_of_ml_dtypes(name: str) -> None:
    element = element_of(name)
    values = peer_values(name)
    assert same(element.decode(np.arange(2**element.bits)), values)
    finite = values[np.isfinite(values)]
    assert same(element.round(finite), finite)
    assert element.largest == finite.max()
    assert float(ml_dtypes.finfo(PEERS[name]).max) == element.largest


@pytest.mark.parametrize("name", FLOAT_PEERS)
def test_rounding_between_all_codes_is_that_of_ml_dtypes(name: str) -> None:
    values = peer_values(name)
    values = np.unique(values[np.isfinite(values)])
    middle = ((values[:-1] + values[1:]) / 2).astype(np.float32)
    near = [middle, np.nextafter(middle, np.float32(np.inf)), np.nextafter(middle, np.float32(-np.inf))]
    tried = np.concatenate(near)
    assert same(element_of(name).round(tried.astype(np.float64)), tried.astype(PEERS[name]))


@pytest.mark.parametrize("name", FLOAT_PEERS)
def test_a_million_random_values_round_as_in_ml_dtypes(name: str) -> None:
    element = element_of(name)
    rng = np.random.default_rng(1)
    lowest = math.log2(element.smallest_normal) - element.mantissa_bits - 2
    sizes = np.exp2(rng.uniform(lowest, math.log2(element.largest), 1_000_000)).astype(np.float32)
    tried = np.minimum(sizes, np.float32(element.largest)) * rng.choice([-1, 1], sizes.size).astype(np.float32)
    assert same(element.round(tried.astype(np.float64)), tried.astype(PEERS[name]))


@pytest.mark.parametrize("name", ["int8", "int4"])
def test_whole_numbers_are_those_of_the_peer(name: str) -> None:
    element = NUMBER_FORMATS[name].element
    values = np.arange(-(2 ** (element.bits - 1)), 2 ** (element.bits - 1))
    assert (element.round(values.astype(np.float64)) == values.astype(PEERS[name]).astype(np.float64)).all()
    assert sorted(element.decode(np.arange(2**element.bits))) == values.tolist()
    tried = np.random.default_rng(2).uniform(-element.largest, element.largest, 1_000_000)
    assert (element.round(tried) == np.rint(tried).astype(PEERS[name]).astype(np.float64)).all()
    assert element.round(np.array([-1e9, 1e9])).tolist() == [values[0], values[-1]]


def test_fp32_and_tf32() -> None:
    rng = np.random.default_rng(3)
    tried = rng.standard_normal(1_000_000) * np.exp2(rng.uniform(-150, 127, 1_000_000))
    tried = tried[np.abs(tried) <= np.finfo(np.float32).max]
    assert same(quantize(tried, "fp32"), tried.astype(np.float32))
    single = tried.astype(np.float32)
    bits = single.view(np.uint32)  # tf32 drops 13 bits of the mantissa: add half of the last kept, less if it is even
    kept = (bits + np.uint32(0xFFF) + ((bits >> np.uint32(13)) & np.uint32(1))) & np.uint32(0xFFFF_E000)
    small = np.abs(single) < 3.4e38
    assert same(quantize(single, "tf32")[small], kept.view(np.float32)[small])


@pytest.mark.parametrize("name", [name for name, form in NUMBER_FORMATS.items() if form.scaling == "none"])
def test_overflow_saturates_where_ml_dtypes_makes_nan_or_infinity(name: str) -> None:
    element = element_of(name)
    huge = np.array([np.nextafter(element.largest, np.inf), 4 * element.largest, np.inf])
    assert quantize(np.concatenate((huge, -huge)), name).tolist() == [element.largest] * 3 + [-element.largest] * 3
    assert np.isnan(quantize(np.array([np.nan]), name)).all()
    if name in PEERS:
        with np.errstate(over="ignore"):
            assert not np.isfinite(huge[1:].astype(PEERS[name]).astype(np.float64)).any()


@pytest.mark.parametrize(
    ("name", "largest", "smallest_normal", "smallest"),
    [  # OFP8 v1.0; MX v1.0, section 5.3
        ("fp8_e4m3", 448, 2.0**-6, 2.0**-9), ("fp8_e5m2", 57344, 2.0**-14, 2.0**-16), ("mxfp6_e3m2", 28, 0.25, 0.0625),
        ("mxfp6_e2m3", 7.5, 1, 0.125), ("mxfp4", 6, 1, 0.5), ("fp16", 65504, 2.0**-14, 2.0**-24),
    ],
)  # fmt: skip
def test_limits_of_the_specifications(name: str, largest: float, smallest_normal: float, smallest: float) -> None:
    element = element_of(name)
    values = element.decode(np.arange(2**element.bits))
    assert element.largest == np.nanmax(values[np.isfinite(values)]) == largest
    assert element.smallest_normal == smallest_normal
    assert values[values > 0].min() == smallest


def test_tables_of_the_mx_specification() -> None:
    e2m1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    e2m3 = [*np.arange(0, 2, 0.125), *np.arange(2, 4, 0.25), *np.arange(4, 8, 0.5)]
    e3m2 = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224,
            256, 320, 384, 448]  # fmt: skip
    for name, want in (("mxfp4", e2m1), ("mxfp6_e2m3", e2m3), ("mxfp6_e3m2", [x / 16 for x in e3m2])):
        element = element_of(name)
        assert element.decode(np.arange(len(want))).tolist() == want
        assert element.decode(np.arange(len(want), 2 * len(want))).tolist() == [-x for x in want]
    for kind in naive.FLOATS:
        name = {"e4m3": "fp8_e4m3", "e5m2": "fp8_e5m2", "e2m1": "mxfp4"}.get(kind, f"mxfp6_{kind}")
        numbers = naive.NUMBERS[kind]
        assert element_of(name).decode(np.arange(len(numbers))).tolist() == [float(x) for x in numbers]
    assert NUMBER_FORMATS["mxint8"].element.decode([0, 1, 64, 127, 129, 255]).tolist() == [
        0, 1 / 64, 1, 127 / 64, -127 / 64, -1 / 64,
    ]  # fmt: skip


BITS = {
    "fp32": 32, "tf32": 32, "bf16": 16, "fp16": 16, "fp8_e4m3": 8, "fp8_e5m2": 8, "int8": 8, "int4": 4,
    "int4_g32": 4 + 32 / 32, "int4_g64": 4 + 32 / 64, "int4_g128": 4 + 32 / 128,
    "hbfp8": 8.125, "hbfp6": 6.125, "hbfp4": 4.125, "mxfp8_e4m3": 8.25, "mxfp8_e5m2": 8.25, "mxfp6_e3m2": 6.25,
    "mxfp6_e2m3": 6.25, "mxfp4": 4.25, "mxint8": 8.25, "nvfp4": 4.5,
}  # fmt: skip


def test_bits_a_value() -> None:
    assert {name: form.bits for name, form in NUMBER_FORMATS.items()} == BITS
    for name, form in NUMBER_FORMATS.items():
        assert form.bits == dtype_bits(form.dtype)
        assert form.element.bits == (19 if name == "tf32" else form.element_bits)
        blocks = {"hbfp": 64, "mx": 32, "nvfp4": 16, "group": int(name.partition("_g")[2] or 0)}
        assert form.block == blocks.get(form.scaling, 1)


FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
ORDINARY = st.floats(-1e4, 1e4, width=32) | st.sampled_from((0.0, -0.0, 1.0, 2.0, -4.0, 0.5, 3.0))
BLOCKS = st.lists(FLOAT32 | ORDINARY, min_size=1, max_size=40) | st.lists(ORDINARY, min_size=1, max_size=40)
NAIVE: dict[str, tuple[int, Callable[[list[float]], list[Fraction]]]] = {
    "mxfp8_e4m3": (32, lambda block: naive.mx(block, "e4m3")), "mxfp8_e5m2": (32, lambda b: naive.mx(b, "e5m2")),
    "mxfp6_e3m2": (32, lambda block: naive.mx(block, "e3m2")), "mxfp6_e2m3": (32, lambda b: naive.mx(b, "e2m3")),
    "mxfp4": (32, lambda block: naive.mx(block, "e2m1")), "mxint8": (32, lambda b: naive.mx(b, "int8")),
    "hbfp8": (64, lambda block: naive.hbfp(block, 8)), "hbfp6": (64, lambda b: naive.hbfp(b, 6)),
    "hbfp4": (64, lambda block: naive.hbfp(block, 4)),
}  # fmt: skip


@given(st.sampled_from(list(NAIVE)), BLOCKS, st.integers(1, 3))
def test_blocks_with_a_power_of_two_are_those_of_the_definition(name: str, values: list[float], repeats: int) -> None:
    block, quantized = NAIVE[name]
    line = values * repeats
    want = [float(x) for at in range(0, len(line), block) for x in quantized(line[at : at + block])]
    assert quantize(np.array(line), name).tolist() == want  # in float64, where every result is exact
    single = quantize(np.array(line, dtype=np.float32), name)
    assert single.dtype == np.float32
    assert single.tolist() == np.array(want).astype(np.float32).tolist()


@given(st.sampled_from((("int8", 8), ("int4", 4))), BLOCKS)
def test_rows_of_whole_numbers_are_those_of_the_definition(kind: tuple[str, int], values: list[float]) -> None:
    got = quantize(np.array(values), kind[0])
    assert got.tolist() == naive.row(values, kind[1], np.float32)


@given(st.sampled_from((32, 64, 128)), st.lists(ORDINARY, min_size=1, max_size=140), st.integers(1, 3))
def test_groups_are_those_of_the_definition(size: int, values: list[float], repeats: int) -> None:
    line = values * repeats
    groups = [line[at : at + size] for at in range(0, len(line), size)]
    want = [x for each in groups for x in naive.group(each, ml_dtypes.bfloat16)]
    assert quantize(np.array(line), f"int4_g{size}").tolist() == want


def test_a_group_reaches_from_its_least_to_its_largest_value() -> None:
    """Sixteen numbers in even steps, whatever the group's mean, so that 100 to 115 are exact where int4 is 15 apart."""
    values = np.arange(100.0, 116.0)
    assert quantize(values, "int4_g32").tolist() == values.tolist()
    assert np.abs(quantize(values, "int4") - values).max() > 5
    noise = np.random.default_rng(7).standard_normal((64, 1024))
    lost = {name: float(((quantize(noise, name) - noise) ** 2).mean()) for name in BITS if name.startswith("int4")}
    assert lost["int4_g32"] < lost["int4_g64"] < lost["int4_g128"] < lost["int4"]


@given(st.lists(ORDINARY | st.floats(-(2.0**-10), 2.0**-10, width=32), min_size=1, max_size=70))
def test_nvfp4_is_that_of_the_definition(values: list[float]) -> None:
    blocks = [values[at : at + 16] for at in range(0, len(values), 16)]
    want = [x for block in naive.nvfp4(blocks, np.float32) for x in block]
    assert quantize(np.array(values), "nvfp4").tolist() == want


@pytest.mark.parametrize("name", [name for name, form in NUMBER_FORMATS.items() if form.scaling == "mx"])
def test_mx_scales_are_e8m0(name: str) -> None:
    rng = np.random.default_rng(4)
    values = rng.standard_normal((200, 32)) * np.exp2(rng.uniform(-140, 124, (200, 1)))
    scales = block_scales(values, name)
    assert scales.shape == (200, 1)
    assert (scales == scales.astype(ml_dtypes.float8_e8m0fnu).astype(np.float64)).all()
    assert (np.abs(values / scales).max(axis=1) < 2 * 2.0 ** NUMBER_FORMATS[name].element.largest_exponent).all()


@pytest.mark.parametrize("name", [name for name, form in NUMBER_FORMATS.items() if form.scaling != "group"])
def test_laws(name: str) -> None:
    rng = np.random.default_rng(5)
    values = rng.standard_normal((6, 200)).astype(np.float32)
    values[2] = 0
    got = quantize(values, name)
    assert got.shape == values.shape
    assert (got[2] == 0).all()
    assert (np.sign(got) * np.sign(values) >= 0).all()
    assert same(quantize(-values, name) + 0.0, -got + 0.0)
    power_of_two = quantize(values * 16, name) if name not in ("fp16", "fp8_e4m3", "fp8_e5m2") else got * 16
    assert (power_of_two == got * 16).all()
    assert same(quantize(values.T, name, axis=0).T, got)
    assert same(quantize(values.reshape(2, 3, 200), name).reshape(6, 200), got)
    if NUMBER_FORMATS[name].scaling in ("none", "mx"):  # a maximum of HBFP that became a power of two saturates again
        assert same(quantize(got, name), got)


@pytest.mark.parametrize(
    "name", [name for name, form in NUMBER_FORMATS.items() if form.scaling not in ("none", "group")]
)
@pytest.mark.parametrize("pattern", [NM(2, 4), NM(1, 4), NM(1, 8)])
def test_what_pruning_first_costs_and_what_rounding_costs_do_not_overlap(name: str, pattern: NM) -> None:
    """x − q(s(x)) = (x − s(x)) + kept · (x − q(x)) where s keeps the largest magnitude of each block."""
    values = np.random.default_rng(6).standard_normal((8, 256))
    runs = np.abs(values).reshape(8, -1, pattern.m)
    kept = (runs >= np.sort(runs, axis=-1)[..., -pattern.n, None]).reshape(8, 256)
    pruned = np.where(kept, values, 0.0)
    left = values - quantize(pruned, name)
    right = (values - pruned) + kept * (values - quantize(values, name))
    assert (left == right).all()
    random = draw_mask(pattern, (8, 256), axes=("n", "k"))
    assert not (quantize(values * random, name) == random * quantize(values, name)).all()


@pytest.mark.parametrize(
    ("spelled", "name"),
    [*((name, name) for name in NUMBER_FORMATS), ("E4M3", "fp8_e4m3"), ("float8_e5m2", "fp8_e5m2"), ("fp8", "fp8_e4m3"),
     ("half", "fp16"), ("torch.bfloat16", "bf16"), ("MXFP6", "mxfp6_e2m3"), ("mx-fp4", "mxfp4"), ("bfp8", "hbfp8"),
     ("mxfp8", "mxfp8_e4m3"), ("TF32", "tf32"), (NUMBER_FORMATS["int4"], "int4")],
)  # fmt: skip
def test_spellings(spelled: str, name: str) -> None:
    assert number_format(spelled).name == name


@pytest.mark.parametrize(
    ("dtype", "out"),
    [
        (np.float16, np.float32),
        (ml_dtypes.bfloat16, np.float32),
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.int32, np.float64),
    ],
)
def test_types_and_shapes(dtype: type, out: type) -> None:
    for shape in ((), (0,), (3, 0), (1, 5)):
        for name in ("bf16", "mxfp4", "int8", "int4_g32", "nvfp4"):
            got = quantize(np.ones(shape, dtype=dtype), name)
            assert (got.dtype, got.shape) == (out, shape)
            assert np.allclose(got, 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: quantize([1.0], "fp9"), "unknown number format 'fp9', allowed are fp32, tf32"),
        (lambda: quantize([1.0], "mxfp5"), "Did you mean"),
        (lambda: quantize([1.0], "int32"), "unknown number format 'int32'"),
        (lambda: quantize([[1.0]], "mxfp4", axis=2), "the axis 2, allowed are -2 to 1"),
        (lambda: quantize([1.0, np.nan], "mxfp4"), r"share a scale \(mxfp4\) must be finite"),
        (lambda: quantize([np.inf], "int8"), "must be finite"),
        (lambda: quantize(["a"], "fp8"), "allowed is one of numbers"),
        (lambda: block_scales([1.0], "fp8"), "has no scales"),
    ],
)
def test_refuses(call: Callable[[], object], part: str) -> None:
    with pytest.raises(InputError, match=part):
        call()


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=6), elements=FLOAT32))
def test_a_rounded_value_is_at_most_half_a_step_away(values: np.ndarray) -> None:
    for name in ("hbfp8", "mxint8"):
        scale = np.broadcast_to(np.repeat(block_scales(values, name), values.shape[-1], axis=-1), values.shape)
        step = scale * 2.0 ** -(7 if name == "hbfp8" else 6)
        away = np.abs(quantize(values.astype(np.float64), name) - values)
        assert (away <= step).all()


def codes_of(name: str) -> np.ndarray:
    """The value of every code of a format that is a number and in use: a symmetric one has no use for its least."""
    form = NUMBER_FORMATS[name]
    values = form.element.decode(np.arange(2**form.element_bits))
    return values[np.isfinite(values) & (form.element.round(values) == values)]


@pytest.mark.parametrize("narrow", [name for name, form in NUMBER_FORMATS.items() if form.dtype in WIDER])
def test_wider_data_types_hold_every_value(narrow: str) -> None:
    """Codes times their scales are exact in a wider format: in one with scales too, under the same scale."""
    form = NUMBER_FORMATS[narrow]
    if form.element_bits > 16:
        values = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
        values = quantize(values, narrow).astype(np.float64)
    else:
        values = codes_of(narrow)
    for wide in (other for other in NUMBER_FORMATS.values() if other.dtype in WIDER[form.dtype]):
        held = values
        if wide != number_format(wide.dtype):  # fp8 and mxfp8 stand for their E4M3, mxfp6 for E2M3
            continue
        if wide.scaling == "none" and form.scaling in ("mx", "hbfp"):
            held = np.concatenate([values * 2.0**e for e in (-60, 0, 60)])
        if wide.scaling == "none" and form.scaling == "nvfp4":
            scales = codes_of("fp8_e4m3")
            held = np.outer(values, scales[scales > 0]).ravel()
        np.testing.assert_array_equal(wide.element.round(held), held, err_msg=wide.name)


def test_no_wider_data_type_is_left_out_among_those_without_scales() -> None:
    """A data type holds another if it holds all of its values; fp8 and fp16 do not hold each other's neighbours."""
    for narrow, wide in (("int8", "fp8_e4m3"), ("fp16", "bf16"), ("bf16", "fp16"), ("fp8_e5m2", "int8")):
        values = codes_of(narrow)
        assert NUMBER_FORMATS[wide].dtype not in WIDER[NUMBER_FORMATS[narrow].dtype]
        assert (NUMBER_FORMATS[wide].element.round(values) != values).any()

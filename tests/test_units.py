"""Quantities, data types and the error texts they end in."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accsim.errors import AccsimError, InputError, MappingError, Problem, nearest
from accsim.units import (
    DIMENSIONS,
    DTYPES,
    MAX_BYTES,
    UnitError,
    canonical_dtype,
    dtype_bits,
    format_quantity,
    parse_quantity,
    tensor_bits,
)

READ = [
    ("940 MHz", "frequency", 940e6),
    ("1.83 GHz", "frequency", 1.83e9),
    ("1e9 Hz", "frequency", 1e9),
    ("512 KiB", "bytes", 512 * 1024),
    ("50 MB", "bytes", 50_000_000),
    ("1 kB", "bytes", 1000),
    ("0.5 KiB", "bytes", 512),
    ("50 GiB/s", "bandwidth", 50 * 2**30),
    ("50 GB/s", "bandwidth", 50e9),
    ("1 TB/s", "bandwidth", 1e12),
    ("400 Gb/s", "bandwidth", 50e9),
    ("400 Gbit/s", "bandwidth", 50e9),
    ("8 Gib/s", "bandwidth", 2**30),
    ("50GiB / s", "bandwidth", 50 * 2**30),
    ("2 ns", "time", 2e-9),
    ("2.65 us", "time", 2.65e-6),
    ("2.65 µs", "time", 2.65e-6),
    ("10 pJ", "energy", 10e-12),
    ("10 pJ", "energy_pj", 10.0),
    ("1.3 nJ", "energy_pj", 1300.0),
    ("7 pJ/bit", "energy_per_bit", 7e-12),
    ("8 pJ/B", "energy_per_bit", 1e-12),
    ("7 pJ/bit", "energy_per_byte", 56e-12),
    ("0 W", "power", 0.0),
    ("600 mm2", "area", 600.0),
    (0.5, "number", 0.5),
]


@pytest.mark.parametrize(("text", "dimension", "value"), READ)
def test_reads(text: object, dimension: str, value: float) -> None:
    assert parse_quantity(text, dimension) == value


def test_bytes_are_ints() -> None:
    assert type(parse_quantity("32 MiB", "bytes")) is int


REFUSED = [
    ("940", "frequency", "without a unit"),
    (940, "frequency", "without a unit"),
    (9.4e8, "frequency", "without a unit"),
    (10**400, "frequency", "without a unit"),
    (True, "frequency", "read 'True'"),
    (None, "frequency", "read 'None'"),
    (["1 Hz"], "frequency", "allowed is a number with a unit"),
    ("940 GB", "frequency", "unit 'GB'"),
    ("50 GB", "bandwidth", "unit 'GB'"),
    ("2 GB/s", "bytes", "unit 'GB/s'"),
    ("2 Gb", "bytes", "unit 'Gb'"),
    ("-1 Hz", "frequency", "negative"),
    ("nan Hz", "frequency", "allowed is a number with a unit"),
    ("inf Hz", "frequency", "allowed is a number with a unit"),
    ("1e999 Hz", "frequency", "too large"),
    ("1e-999 s", "time", "too small"),
    ("1e99999999999 Hz", "frequency", "allowed is a number with a unit"),
    ("1.5 B", "bytes", "whole number of bytes"),
    ("1e30 GiB", "bytes", "too large"),
    ("", "bytes", "allowed is a number with a unit"),
    ("MiB", "bytes", "allowed is a number with a unit"),
    ("1,000 B", "bytes", "allowed is a number with a unit"),
    ("1 2 B", "bytes", "unit"),
    ("٣ B", "bytes", "allowed is a number with a unit"),
    ("9" * 200 + " B", "bytes", "allowed is a number with a unit"),
    ("1 GB", "number", "without a unit"),
    (math.nan, "number", "finite"),
    (math.inf, "number", "finite"),
    (-0.1, "number", "at least 0"),
    (True, "number", "without a unit"),
    (10**400, "number", "too large"),
]


@pytest.mark.parametrize(("text", "dimension", "part"), REFUSED)
def test_refuses(text: object, dimension: str, part: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_quantity(text, dimension)
    assert part in caught.value.message
    assert isinstance(caught.value, ValueError)
    assert caught.value.exit_code == 2
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "dimension", "near"),
    [
        ("1 mhz", "frequency", "MHz"),
        ("1 gib/s", "bandwidth", "GiB/s"),
        ("1 TB", "bandwidth", "TB/s"),
        ("1 NS", "time", "ns"),
    ],
)
def test_names_the_nearest_unit(text: str, dimension: str, near: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_quantity(text, dimension)
    assert caught.value.suggestion == near
    assert str(caught.value).endswith(f"Did you mean '{near}'?")


with_units = [name for name, dimension in DIMENSIONS.items() if dimension.units and not dimension.whole]


@given(st.sampled_from([*with_units, "number"]), st.floats(0, 1e300, allow_subnormal=False))
def test_round_trip(dimension: str, value: float) -> None:
    text = format_quantity(value, dimension)
    assert parse_quantity(float(text) if dimension == "number" else text, dimension) == value


@given(st.integers(0, MAX_BYTES))
def test_round_trip_of_bytes(count: int) -> None:
    assert parse_quantity(format_quantity(count, "bytes"), "bytes") == count


@given(st.integers(0, 10**9), st.sampled_from([(n, u) for n in with_units for u in DIMENSIONS[n].units]))
def test_every_unit_is_its_multiple(count: int, place: tuple[str, str]) -> None:
    dimension, unit = place
    assert parse_quantity(f"{count} {unit}", dimension) == float(count * DIMENSIONS[dimension].units[unit])


@given(st.text(max_size=40), st.sampled_from(list(DIMENSIONS)))
def test_any_text_is_a_quantity_or_an_error(text: str, dimension: str) -> None:
    try:
        value = parse_quantity(text, dimension)
    except UnitError as error:
        assert "read" in error.message  # noqa: PT017
    else:
        assert math.isfinite(value)
        assert value >= 0


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (50 * 2**30, "bandwidth", "50 GiB/s"),
        (1e12, "bandwidth", "1 TB/s"),
        (940e6, "frequency", "940 MHz"),
        (32 * 2**20, "bytes", "32 MiB"),
        (80e9, "bytes", "80 GB"),
        (0.0, "power", "0 W"),
        (2e-9, "time", "2 ns"),
    ],
)
def test_formats_short(value: float, dimension: str, text: str) -> None:
    assert format_quantity(value, dimension) == text


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        *((name, name) for name in DTYPES),
        ("BF16", "bf16"),
        ("bfloat16", "bf16"),
        ("BFloat_16", "bf16"),
        ("half", "fp16"),
        ("float16", "fp16"),
        ("float", "fp32"),
        ("FP-32", "fp32"),
        ("TF32", "tf32"),
        ("e4m3", "fp8"),
        ("float8_e4m3fn", "fp8"),
        ("torch.bfloat16", "bf16"),
        ("INT4 g128", "int4_g128"),
    ],
)
def test_data_type_spellings(spelled: str, name: str) -> None:
    assert canonical_dtype(spelled) == name


@pytest.mark.parametrize(
    ("spelled", "near"), [("bf17", "bf16"), ("flot16", "fp16"), ("int9", "int4"), ("quaternion", None)]
)
def test_unknown_data_type(spelled: str, near: str | None) -> None:
    with pytest.raises(
        UnitError, match="allowed are fp32, tf32, fp16, bf16, fp8, int8, int4, int4_g32, int4_g64, int4_g128, int32"
    ) as caught:
        canonical_dtype(spelled)
    if near is None:
        assert caught.value.suggestion is None
    else:
        assert dtype_bits(str(caught.value.suggestion)) == dtype_bits(near) or spelled == "int9"


def test_bits() -> None:
    assert {name: dtype_bits(name) for name in DTYPES} == {
        "fp32": 32, "tf32": 32, "fp16": 16, "bf16": 16, "fp8": 8, "int8": 8, "int4": 4, "int32": 32,
        "int4_g32": 5, "int4_g64": 4.5, "int4_g128": 4.25,
        "hbfp8": 8 + 8 / 64, "hbfp6": 6 + 8 / 64, "hbfp4": 4 + 8 / 64,
        "mxfp8": 8 + 8 / 32, "mxfp6": 6 + 8 / 32, "mxfp4": 4 + 8 / 32, "mxint8": 8 + 8 / 32, "nvfp4": 4 + 8 / 16,
    }  # fmt: skip


@given(st.sampled_from(DTYPES), st.integers(0, 2**70))
def test_bits_of_a_tensor_are_those_of_its_elements_and_its_scales(name: str, elements: int) -> None:
    scales = {"hbfp": 64, "mx": 32, "nv": 16}
    block = next((size for start, size in scales.items() if name.startswith(start)), None)
    plain, _, group = name.partition("_g")
    block, scale = (int(group), 32) if group else (block, 8)
    element = int("".join(c for c in plain if c.isdigit())) if name != "tf32" else 32
    scale_bits = 0 if block is None else scale * math.ceil(Fraction(elements, block))
    assert tensor_bits(elements, name) == elements * element + scale_bits


def test_problem_text() -> None:
    problem = Problem("file.yaml:3:5", "matrix_unit.rows", "read 'x', allowed is a positive integer", "y")
    wanted = "file.yaml:3:5: matrix_unit.rows: read 'x', allowed is a positive integer. Did you mean 'y'?"
    assert str(problem) == wanted
    assert str(Problem("", "", "no such thing")) == "no such thing"


def test_errors_list_everything_and_travel() -> None:
    both = InputError([Problem("a:1:1", "x", "bad"), Problem("a:2:1", "y", "worse")])
    assert str(both).splitlines() == ["a:1:1: x: bad", "a:2:1: y: worse"]
    rejected = MappingError("no tile fits", [f"tile {i}: too big" for i in range(20)])
    assert str(rejected).splitlines()[0] == "no tile fits"
    assert str(rejected).endswith("... and 8 more")
    unit = UnitError("read 'x'", "y")
    for error in (both, rejected, unit, InputError("plain")):
        assert isinstance(error, AccsimError)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert (InputError("x").exit_code, MappingError("x").exit_code) == (2, 3)


def test_nearest_ignores_case_and_separators() -> None:
    assert nearest("H100 SXM", ["h100_sxm", "tpu_v4"]) == "h100_sxm"
    assert nearest("", ["a"]) is None
    assert nearest("x" * 10_000, ["a"]) is None

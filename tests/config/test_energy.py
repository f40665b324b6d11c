"""Energy tables against the published numbers, and the interpolation of SRAM."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accsim.config.catalogue import data_folder, shipped_names
from accsim.config.energy import VECTOR_OPS, EnergyTable, Range, load_energy_table
from accsim.errors import InputError

KIB, MIB = 1024, 1024**2
H45, J7 = load_energy_table("horowitz_45nm"), load_energy_table("jouppi_7nm")
TEXT = (data_folder("hw_configs/energy") / "jouppi_7nm.yaml").read_text()


def test_published_accesses() -> None:
    """Horowitz 2014 and Jouppi 2021: pJ for 64 bits, so an eighth for each byte."""
    for table, published in ((H45, (10, 20, 100)), (J7, (7.5, 8.5, 14))):
        for capacity, pj in zip((8 * KIB, 32 * KIB, MIB), published, strict=True):
            assert table.memory_pj_per_byte("sram", capacity) == Range(pj / 8, pj / 8, pj / 8)
        assert table.memory_pj_per_byte("ddr", 1) == Range(162.5, 162.5, 162.5)
    for kind in ("hbm2", "hbm2e", "hbm3", "hbm3e"):
        assert (J7.memory_pj_per_byte(kind, 1).low * 8, J7.memory_pj_per_byte(kind, 1).high * 8) == (250, 450)
        assert (J7.memory_pj_per_byte(kind, 1).estimated or "").startswith("nominal" if kind == "hbm2" else "no HBM")
    assert (J7.memory_pj_per_byte("gddr6", 1).low * 8, J7.memory_pj_per_byte("gddr6", 1).high * 8) == (350, 480)


# dtype -> multiply, its own add, the accumulator's add; the columns of the two tables
PARTS = [
    (H45, "int8", 0.2, 0.03, 0.1),
    (H45, "fp16", 1.1, 0.4, 0.9),
    (H45, "int32", 3.1, 0.1, 0.1),
    (H45, "fp32", 3.7, 0.9, 0.9),
    (J7, "int8", 0.07, 0.007, 0.03),
    (J7, "bf16", 0.21, 0.11, 0.38),
    (J7, "fp16", 0.34, 0.16, 0.38),
    (J7, "int32", 1.48, 0.03, 0.03),
    (J7, "fp32", 1.31, 0.38, 0.38),
]


@pytest.mark.parametrize(("table", "dtype", "multiply", "narrow", "wide"), PARTS)
def test_a_mac_is_a_multiply_and_an_add(
    table: EnergyTable, dtype: str, multiply: float, narrow: float, wide: float
) -> None:
    read = table.mac_pj(dtype)
    assert (read.low, read.nominal, read.high) == pytest.approx((multiply + narrow, multiply + wide, multiply + wide))
    assert read.estimated is not None


def test_tf32_multiplies_as_long_significands_as_fp16() -> None:
    """10 bits of fraction in both; an fp16 multiply and an fp32 add, at most an fp32 multiply."""
    read = J7.mac_pj("tf32")
    assert (read.low, read.nominal, read.high) == pytest.approx((0.34 + 0.38, 0.34 + 0.38, 1.31 + 0.38))


def test_vector_operations_are_the_published_ones() -> None:
    """low in the narrow type, nominal in fp32, high the dearer: Horowitz 2014 at 45 nm, Jouppi 2021 at 7 nm."""
    published = {
        "add": ((0.4, 0.9, 0.9), (0.11, 0.38, 0.38)),
        "multiply": ((1.1, 3.7, 3.7), (0.21, 1.31, 1.31)),
        "max": ((0.03, 0.1, 0.9), (0.007, 0.03, 0.38)),
    }
    for op, values in published.items():
        for table, expected in zip((H45, J7), values, strict=True):
            read = table.vector_pj(op)
            assert (read.low, read.nominal, read.high) == expected


@pytest.mark.parametrize(("table", "narrow", "wide"), [(H45, 1.5, 4.6), (J7, 0.5, 1.69)])
@pytest.mark.parametrize(("op", "ratio"), [("exp", 94.6 / 17.16), ("divide", 36.3 / 17.16)])
def test_exp_and_divide_are_multiples_of_a_mac(
    table: EnergyTable, narrow: float, wide: float, op: str, ratio: float
) -> None:
    read = table.vector_pj(op)
    assert read.low == pytest.approx(narrow * ratio, rel=5e-3)
    assert read.nominal == pytest.approx(wide * ratio, rel=5e-3)
    assert read.high > read.nominal


@pytest.mark.parametrize("name", shipped_names("hw_configs/energy"))
def test_every_shipped_table(name: str) -> None:
    table = load_energy_table(name)
    assert table.name == name
    assert len(table.hash) == 12
    assert pickle.loads(pickle.dumps(table)) == table
    assert all(table.vector_pj(op).low <= table.vector_pj(op).nominal <= table.vector_pj(op).high for op in VECTOR_OPS)
    entries = [*table.mac.values(), *table.sram, *table.main.values()]
    assert all(entry.source for entry in entries)
    assert "mac.fp32" in table.estimated
    assert not any(path.startswith("sram") for path in table.estimated)


def test_fallbacks_of_the_vector_unit(tmp_path: Path) -> None:
    lines = [line for line in TEXT.splitlines() if "convert" not in line and "rounding and normalising" not in line]
    (tmp_path / "t.yaml").write_text("\n".join(lines))
    table = load_energy_table(tmp_path / "t.yaml")
    assert table.vector_pj("convert") == table.vector_pj("add")
    assert table.vector_pj("rescale") == table.vector_pj("multiply")
    assert J7.vector_pj("convert").low == 0.03


@given(st.integers(1, 2**50), st.sampled_from([H45, J7]))
def test_sram_grows_with_capacity(capacity_bytes: int, table: EnergyTable) -> None:
    here, next_up = (table.memory_pj_per_byte("sram", c) for c in (capacity_bytes, 2 * capacity_bytes))
    assert 0 < here.nominal < next_up.nominal
    exact = capacity_bytes in (8 * KIB, 32 * KIB, MIB)
    assert (here.estimated is None) == exact


def test_sram_between_and_beyond_the_entries() -> None:
    middle = H45.memory_pj_per_byte("sram", 16 * KIB)
    assert middle.nominal == pytest.approx(math.sqrt(10 * 20) / 8)
    assert middle.estimated == "interpolated between 8 KiB and 32 KiB"
    slope = math.log(100 / 20) / math.log(32)
    beyond = H45.memory_pj_per_byte("sram", 32 * MIB)
    assert beyond.nominal == pytest.approx(100 / 8 * 32**slope)
    assert beyond.estimated == "extrapolated from 32 KiB and 1 MiB"
    below = H45.memory_pj_per_byte("sram", 2 * KIB)
    assert below.nominal == pytest.approx(5 / 8)
    assert below.estimated == "extrapolated from 8 KiB and 32 KiB"


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: H45.mac_pj("fp8"), "'horowitz_45nm' has no mac for fp8, only for int8, int4, fp16, bf16, int32, fp32"),
        (lambda: H45.mac_pj("fp9"), "allowed are fp32"),
        (lambda: H45.vector_pj("sqrt"), "unknown vector operation 'sqrt', allowed are max, exp"),
        (lambda: H45.memory_pj_per_byte("hbm2", 1), "no memory of kind 'hbm2', allowed are sram, ddr"),
        (lambda: H45.memory_pj_per_byte("sram", 0), "allowed is at least 1"),
        (lambda: load_energy_table("horowitz"), "unknown energy table 'horowitz'"),
    ],
)
def test_what_a_table_does_not_have(call: Callable[[], object], part: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert part in str(caught.value)


BAD = [
    ("node_nm: 7", "node_nm: 0", "node_nm", "a number above 0 to 1000"),
    ("energy: 1.69 pJ", "energy: 1.69", "mac.fp32.energy", "without a unit"),
    (
        "energy: 1.69 pJ",
        "energy: 1.69 pJ, low: 1 pJ",
        "mac.fp32",
        "either 'energy' or all of 'low', 'nominal' and 'high'",
    ),
    ("energy: 1.69 pJ, ", "", "mac.fp32", "either 'energy' or all of"),
    ("low: 0.5 pJ, ", "", "mac.fp16", "either 'energy' or all of"),
    ("low: 0.5 pJ", "low: 0.9 pJ", "mac.fp16", "low <= nominal <= high"),
    ('source: "Jouppi 2021: SRAM 8 KB"', "", "sram[0].source", "missing, needed is text"),
    ("capacity: 32 KiB", "capacity: 8 KiB", "sram[1].capacity", "a capacity above the entry before"),
    ("bits: 64, energy: 7.5 pJ", "bits: 0, energy: 7.5 pJ", "sram[0].bits", "a whole number from 1 to 65536"),
    ("bits: 64, energy: 7.5 pJ", "energy: 7.5 pJ", "sram[0].bits", "missing, needed is a whole number"),
    ("energy: 7.5 pJ", "energy: 0 pJ", "sram[0]", "an energy above 0"),
    ("  hbm3:", "  hbm9:", "main.hbm9", "read 'hbm9', allowed is 'ddr'"),
    ("  fp16:", "  fp17:", "mac.fp17", "read data type 'fp17'"),
    ("  divide:", "  div:", "vector.div", "unknown key, allowed are add"),
    ("sram:  ", "sram: 3\nsrm:  ", "sram", "read 3, allowed is a list"),
]


@pytest.mark.parametrize(("old", "new", "path", "part"), BAD, ids=[case[2] + str(i) for i, case in enumerate(BAD)])
def test_bad_tables(tmp_path: Path, old: str, new: str, path: str, part: str) -> None:
    assert TEXT.count(old) == 1
    file = tmp_path / "t.yaml"
    file.write_text(TEXT.replace(old, new))
    with pytest.raises(InputError) as caught:
        load_energy_table(file)
    found = {p.path: p for p in caught.value.problems}
    assert part in found[path].message
    line, column = found[path].where.removeprefix(f"{file}:").split(":")
    assert int(line) >= 1 <= int(column)

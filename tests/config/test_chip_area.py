"""The area of a chip: by hand from published areas, laws, what else publishes or computes such areas, bad tables."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accsim.config.area import load_area_table
from accsim.config.catalogue import data_folder, load_accelerator, shipped_names
from accsim.config.chip_area import matrix_unit_mm2, part_areas, register_bits
from accsim.config.compute_units import SystolicArray
from accsim.config.energy import load_energy_table
from accsim.config.machine import Accelerator
from accsim.errors import InputError

KIB, MIB = 1024, 1024**2
H45, S7 = load_area_table("horowitz_45nm"), load_area_table("stillmaker_7nm")
TEXT = (data_folder("hw_configs/area") / "horowitz_45nm.yaml").read_text()
EDGE = (data_folder("hw_configs") / "flat_edge.yaml").read_text()

MULTIPLY = {"int8": 282, "int32": 3495, "fp16": 1640, "fp32": 7700}
ADD = {"int8": 36, "int32": 137, "fp16": 1360, "fp32": 4184}
"""um2 at 45 nm, as printed beside Horowitz's energies."""
SRAM_BIT = 0.346 / (23.6e6 * 0.0312e-6)
"""um2: Intel's cell at 45 nm over the share of cells in its SRAM at 10 nm."""


def edge(**fields: object) -> Accelerator:
    return load_accelerator("flat_edge", set={key.replace("__", "."): value for key, value in fields.items()})


def test_macs_are_a_multiply_and_an_add() -> None:
    wanted = {
        "int8": MULTIPLY["int8"] + ADD["int32"],
        "int4": MULTIPLY["int8"] / 4 + ADD["int32"],
        "fp16": MULTIPLY["fp16"] + ADD["fp32"],
        "bf16": MULTIPLY["fp16"] + ADD["fp32"],
        "int32": MULTIPLY["int32"] + ADD["int32"],
        "fp32": MULTIPLY["fp32"] + ADD["fp32"],
    }
    assert {dtype: H45.mac_mm2(dtype) * 1e6 for dtype in H45.mac} == pytest.approx(wanted)
    scaled = {dtype: area * 0.059 for dtype, area in wanted.items()}
    assert {dtype: S7.mac_mm2(dtype) * 1e6 for dtype in scaled} == pytest.approx(scaled, rel=1e-3)
    assert S7.mac_mm2("e4m3") * 1e6 == pytest.approx(0.059 * (MULTIPLY["int8"] + ADD["int8"] + ADD["fp32"]), rel=1e-3)


def test_tables_serve_the_data_types_of_the_energy_tables_beside_which_they_are_taken() -> None:
    for name in shipped_names("hw_configs/area"):
        beside = {"horowitz_45nm": "horowitz_45nm", "stillmaker_7nm": "jouppi_7nm"}[name]
        assert set(load_area_table(name).mac) >= set(load_energy_table(beside).mac)


def test_flat_edge_by_hand() -> None:
    """32 x 32 PEs with three operands of 16 bits and a sum of 32, 32 lanes, 512 KiB; off-chip memory has no area."""
    acc = load_accelerator("flat_edge")
    pe = MULTIPLY["fp16"] + ADD["fp32"] + 4.522 * (3 * 16 + 32)
    lane = ADD["int32"] + ADD["fp32"] + MULTIPLY["fp32"]
    lane += (MULTIPLY["fp16"] + ADD["fp16"]) + (2 * MULTIPLY["fp16"] + ADD["fp16"])
    wanted = {"matrix_unit": 1024 * pe, "vector_unit": 32 * lane, "sg": 8 * 512 * KIB * SRAM_BIT}
    found = {name: 1e6 * area for name, area in acc.area_breakdown_mm2.items()}
    assert found == pytest.approx(wanted, rel=1e-3)
    assert acc.area_mm2 == pytest.approx(sum(wanted.values()) / 1e6, rel=1e-3)


def test_tensor_cores_and_copies_by_hand() -> None:
    """A100 at 7 nm: 108 cores of 4 units of 256 MACs, registers and shared memory in each, one L2."""
    parts = part_areas(load_accelerator("a100_sxm"), S7)
    fastest = 0.059 * (MULTIPLY["fp16"] + ADD["fp32"])
    bit = 0.027 / 0.736
    assert parts["matrix_unit"] == pytest.approx(108 * 4 * 256 * fastest / 1e6, rel=1e-3)
    assert parts["matrix_unit.registers"] == pytest.approx(108 * 256 * KIB * 8 * bit / 1e6)
    assert parts["smem"] == pytest.approx(108 * 164 * KIB * 8 * bit / 1e6)
    assert parts["l2"] == pytest.approx(40e6 * 8 * bit / 1e6)
    assert "hbm" not in parts


def test_embedding_units_are_lanes_and_scratchpads() -> None:
    acc = load_accelerator("tpu_v4")
    assert part_areas(acc, S7)["sparse_core"] == acc.sparse_core.area_mm2 == 30  # type: ignore[union-attr]
    own = load_accelerator("tpu_v4", set={"sparse_core.area": None})
    units = own.sparse_core
    assert units is not None
    lanes = units.count * units.tiles * units.lanes * S7.vector.lane_mm2(own.vector_unit.cycles_per_element)
    assert part_areas(own, S7)["sparse_core"] == pytest.approx(lanes + units.count * S7.sram_mm2(units.spmem_bytes))


def test_registers_hold_operands_and_a_sum() -> None:
    def bits(**fields: Any) -> int:
        return register_bits(SystolicArray.model_validate({"kind": "systolic", "rows": 2, "cols": 2, **fields}))

    assert bits(rates={"int8": 1}) == 8 + 8 + 32
    assert bits(rates={"int8": 1}, fold_overlap="weights") == 8 + 8 + 8 + 32
    assert bits(rates={"int8": 1, "bf16": 1}, accumulators={"int8": {"bits": 64}}) == max(16 + 64, 32 + 32)


def test_data_types_share_hardware() -> None:
    """The one that needs most, its rate times its area: int8 twenty times as fast as bf16 needs more than bf16."""

    def area(**rates: float) -> float:
        unit = SystolicArray.model_validate({"kind": "systolic", "rows": 1, "cols": 1, "rates": rates})
        return matrix_unit_mm2(unit, H45) - register_bits(unit) * H45.register_bit.area_mm2

    assert area(bf16=1, int8=1) == area(bf16=1) == pytest.approx(5824e-6)
    assert area(bf16=1, int8=20) == pytest.approx(20 * 419e-6)


def test_a_slower_operation_takes_less_of_a_lane() -> None:
    fast, slow = edge(), edge(vector_unit__cycles_per_element__exp=4)
    saved = fast.area_breakdown_mm2["vector_unit"] - slow.area_breakdown_mm2["vector_unit"]
    assert saved == pytest.approx(32 * 3000e-6 * (1 - 1 / 4))


SIZES = st.integers(1, 256)


@given(SIZES, SIZES, SIZES, st.integers(1, 64), st.integers(1, 4))
def test_the_area_is_the_sum_of_parts_each_in_proportion_to_its_sizes(
    rows: int, cols: int, lanes: int, kib: int, cores: int
) -> None:
    sizes = {"matrix_unit.rows": rows, "matrix_unit.cols": cols, "vector_unit.lanes": lanes, "cores": cores}
    sizes["memories.sg.capacity"] = f"{kib} KiB"  # type: ignore[assignment]
    one, found = edge(), load_accelerator("flat_edge", set=sizes)
    ratios = {"matrix_unit": cores * rows * cols / 1024, "vector_unit": cores * lanes / 32, "sg": kib / 512}
    wanted = {name: ratio * one.area_breakdown_mm2[name] for name, ratio in ratios.items()}
    assert found.area_breakdown_mm2 == pytest.approx(wanted)
    assert found.area_mm2 == pytest.approx(math.fsum(wanted.values()))


@pytest.mark.parametrize(
    "field",
    [
        {"clock": "2 GHz"}, {"memories.sg.read_bandwidth": "9 TB/s"}, {"memories.dram.capacity": "64 GiB"},
        {"power.idle": "3 W"}, {"memories.sg.latency": "9 ns"}, {"memories.sg.banks": 4},
    ],
)  # fmt: skip
def test_what_the_area_does_not_depend_on(field: dict[str, object]) -> None:
    assert load_accelerator("flat_edge", set=field).area_mm2 == edge().area_mm2


def test_an_area_of_the_file_stays_and_wins() -> None:
    given = edge(matrix_unit__area="3 mm2", memories__sg__area="1 mm2", memories__dram__area="5 mm2")
    assert given.area_breakdown_mm2 | {"vector_unit": 0} == {"matrix_unit": 3, "vector_unit": 0, "sg": 1, "dram": 5}
    assert given.area_mm2 == pytest.approx(9 + edge().area_breakdown_mm2["vector_unit"])
    whole = edge(area="20 mm2")
    assert whole.area_mm2 == 20
    assert whole.area_breakdown_mm2 == edge().area_breakdown_mm2 | {"rest": pytest.approx(20 - (edge().area_mm2 or 0))}
    assert edge(area_table=None).area_mm2 is None
    assert edge(area_table=None).area_breakdown_mm2 == {}
    assert pickle.loads(pickle.dumps(whole)) == whole


def test_an_area_of_the_file_is_that_of_its_sizes(tmp_path: Path) -> None:
    """Where a size is replaced, the area of its part and that of the chip are modelled, or not known."""
    v4 = load_accelerator("tpu_v4")
    assert v4.area_mm2 == 600
    assert load_accelerator("tpu_v4", set={"clock": "1 GHz", "power.cap": "300 W"}).area_mm2 == 600
    for key, value in (("matrix_unit.rows", 64), ("memories.cmem.capacity", "64 MiB"), ("cores", 1)):
        changed = load_accelerator("tpu_v4", set={key: value})
        assert changed.area_mm2 is None
        assert changed.area_breakdown_mm2 == {"sparse_core": 30}
        assert load_accelerator("tpu_v4", set={key: value, "area": "500 mm2"}).area_mm2 == 500
        modelled = load_accelerator("tpu_v4", set={key: value, "area_table": "stillmaker_7nm"})
        assert modelled.area_mm2 == pytest.approx(sum(modelled.area_breakdown_mm2.values()))
    assert load_accelerator("tpu_v4", set={"sparse_core.lanes": 4}).area_breakdown_mm2 == {}
    path = tmp_path / "m.yaml"
    path.write_text(EDGE.replace("banks: 16", "banks: 16, area: 7 mm2").replace("rows: 32", "area: 9 mm2, rows: 32"))
    model = edge().area_breakdown_mm2
    for sizes, areas in (
        ({}, {"matrix_unit": 9, "sg": 7}),
        ({"memories.sg.capacity": "1 MiB"}, {"matrix_unit": 9, "sg": 2 * model["sg"]}),
        ({"matrix_unit.cols": 64}, {"matrix_unit": 2 * model["matrix_unit"], "sg": 7}),
        ({"matrix_unit.cols": 64, "matrix_unit.area": "8 mm2"}, {"matrix_unit": 8, "sg": 7}),
        ({"cores": 2}, {"matrix_unit": 18, "sg": 7, "vector_unit": 2 * model["vector_unit"]}),
    ):
        found = load_accelerator(path, set=sizes).area_breakdown_mm2  # type: ignore[arg-type]
        assert found == pytest.approx({"vector_unit": model["vector_unit"]} | areas)  # type: ignore[operator]


# KiB, banks, bytes read at once -> mm2 of CACTI (PyPI hwcomponents-cacti 1.0.40, built from its sources), 45 nm, one
# port for reads and writes, all other settings as in its default_cfg.cfg.
CACTI = [
    (8, 1, 8, 0.0262673), (8, 1, 64, 0.0492292), (32, 1, 8, 0.0948597), (32, 1, 64, 0.11548),
    (128, 1, 8, 0.429589), (128, 1, 64, 0.391346), (512, 1, 8, 1.64463), (512, 1, 64, 1.82824),
    (1024, 1, 8, 3.26283), (1024, 1, 64, 3.95301), (4096, 1, 8, 11.989), (4096, 1, 64, 14.2597),
    (16384, 1, 8, 47.4069), (16384, 1, 64, 56.052), (512, 16, 8, 1.61422), (512, 16, 64, 2.71024),
    (1024, 16, 8, 3.49892), (1024, 16, 64, 4.49819), (32768, 16, 8, 96.7201), (32768, 16, 64, 105.225),
]  # fmt: skip


def test_srams_against_cacti() -> None:
    """Within 40 %, of one bank of 32 KiB and more within a third; its cell is 0.296 um2, Intel's 0.346."""
    errors = {row[:3]: H45.sram_mm2(row[0] * KIB) / row[3] - 1 for row in CACTI}
    assert all(-0.4 < error < 0.4 for error in errors.values())
    assert all(-0.01 < error < 0.34 for (kib, banks, _), error in errors.items() if banks == 1 and kib >= 32)


# What else was published, um2 or mm2, and how far below it the model is.
BELOW = [
    ("NanGate's flip-flop against Aladdin's register, 40 nm", 5.98, H45.register_bit.area_mm2 * 1e6, 0.25),
    ("Horowitz's int32 adder against Aladdin's, 40 nm", 278, ADD["int32"], 0.51),
    ("Horowitz's int32 multiplier against Aladdin's, 40 nm", 6350, MULTIPLY["int32"], 0.45),
    ("Intel's test chip of 153 Mbit, 45 nm", 119, 153e6 * H45.sram.bit_mm2, 0.40),
    ("TPU v4i's CMEM, 28 % of a die below 400 mm2", 0.28 * 400, S7.sram_mm2(128 * MIB), 0.65),
    ("TPU v1's buffer, 29 % of a die of at most 331 mm2, 28 nm", 0.29 * 331, 24 * MIB * 8 * 0.127e-6 / 0.736, 0.64),
    ("TPU v1's array, 24 % of it", 0.24 * 331, 65536 * (419 + 56 * 4.522) * (28 / 45) ** 2 * 1e-6, 0.79),
]  # fmt: skip


@pytest.mark.parametrize(("what", "published", "modelled", "below"), BELOW)
def test_published_areas_are_larger(what: str, published: float, modelled: float, below: float) -> None:
    """Cells alone, without what placing and wiring them takes: docs/area.md prints these errors."""
    assert 1 - modelled / published == pytest.approx(below, abs=0.01), what


@pytest.mark.parametrize("name", ["tpu_v4i", "tpu_v4", "a100_sxm", "h100_sxm"])
def test_modelled_parts_fit_on_published_dies(name: str) -> None:
    acc = load_accelerator(name)
    parts = [area for area in part_areas(acc, S7).values() if area is not None]
    assert acc.die_mm2 is not None
    assert 0.05 < sum(parts) / acc.die_mm2 < 0.5


@pytest.mark.parametrize(
    ("old", "new", "at", "told"),
    [
        ("area: 419 um2", "area: -419 um2", "mac.int8.area", "read '-419 um2', which is negative"),
        ("area: 419 um2", "area: 0 um2", "mac.int8.area", "above 0"),
        ("area: 419 um2", "area: 419", "mac.int8.area", "without a unit"),
        ("area: 419 um2", "area: 419 um", "mac.int8.area", "unit 'um'"),
        ("{area: 419 um2, source", "{area: 419 um2, sourec", "mac.int8.sourec", "unknown key"),
        ("  int8:", "  int7:", "mac.int7", "read data type 'int7', allowed are"),
        ("share: 0.736", "share: 1.2", "sram.array_efficiency.share", "a number above 0 to 1"),
        ("  exp:", "  expo:", "vector.exp", "missing"),
        ("node_nm: 45", "node_nm: -45", "node_nm", "a number above 0 to 1000"),
        ("register_bit:", "register_bits:", "register_bit", "missing"),
    ],
)
def test_a_bad_table_is_an_error_at_its_place(tmp_path: Path, old: str, new: str, at: str, told: str) -> None:
    path = tmp_path / "mine.yaml"
    assert old in TEXT
    path.write_text(TEXT.replace(old, new, 1))
    (tmp_path / "m.yaml").write_text(f"area_table: mine.yaml\n{EDGE}")
    for load in (lambda: load_area_table(path), lambda: load_accelerator(tmp_path / "m.yaml")):
        with pytest.raises(InputError) as caught:
            load()
        found = {problem.path: problem for problem in caught.value.problems}
        assert told in found[at].message
        assert found[at].where.startswith(f"{path}:")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("horowitz_54nm", "unknown area table 'horowitz_54nm', allowed are horowitz_45nm, stillmaker_7nm"),
        (45, "read 45, allowed is the name of an area table or the path of one"),
        ("none.yaml", "none.yaml"),
    ],
)
def test_an_unknown_table_is_an_error(value: object, told: str) -> None:
    with pytest.raises(InputError, match="area_table") as caught:
        edge(area_table=value)
    assert told in str(caught.value)


def test_a_table_without_a_data_type_of_the_machine_is_an_error() -> None:
    with pytest.raises(InputError, match="the area table 'horowitz_45nm' has no mac for fp8, only for int8"):
        load_accelerator("h100_sxm", set={"area_table": "horowitz_45nm"})
    assert load_accelerator("h100_sxm", set={"area_table": "horowitz_45nm", "matrix_unit.area": "1 mm2"}).area_table


def test_entries_that_are_not_published_say_so() -> None:
    published = {"vector.add", "vector.multiply", "register_bit", "sram.cell"}
    assert not published & set(H45.estimated)
    assert set(S7.estimated) == {
        *(f"mac.{dtype}" for dtype in S7.mac), *(f"vector.{op}" for op in S7.vector.by_op), "register_bit",
        "sram.array_efficiency",
    }  # fmt: skip

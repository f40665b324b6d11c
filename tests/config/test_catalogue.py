"""Finding machines, and overriding their fields."""

from __future__ import annotations

from pathlib import Path

import pytest

from accsim.config.catalogue import data_folder, find_file, list_accelerators, load_accelerator, shipped_names
from accsim.config.machine import SystolicArray, TensorCore
from accsim.errors import InputError


def problem(name: object, overrides: dict[str, object] | None = None) -> tuple[str, str, str, str | None]:
    with pytest.raises(InputError) as caught:
        load_accelerator(name, set=overrides)  # type: ignore[arg-type]
    first = caught.value.problems[0]
    return first.where, first.path, first.message, first.suggestion


def test_what_ships() -> None:
    names = (
        "a100_pcie a100_sxm b200_sxm dstc_like flat_cloud flat_edge h100_pcie h100_sxm h200_sxm ipu_bow l40s s2ta_like"
    )
    names += " stc_flexible systolic_128 tpu7x tpu_v2 tpu_v3 tpu_v4 tpu_v4i tpu_v5e tpu_v5p tpu_v6e vegeta_like"
    assert list_accelerators() == tuple(names.split())
    assert shipped_names("hw_configs/energy") == ("horowitz_45nm", "jouppi_7nm")


@pytest.mark.parametrize("name", ["h100_sxm", "H100 SXM", "h100-sxm", "H100SXM"])
def test_any_spelling_of_a_name(name: str) -> None:
    assert load_accelerator(name).name == "h100_sxm"


def test_paths(tmp_path: Path) -> None:
    path = tmp_path / "copy.yaml"
    path.write_text((data_folder("hw_configs") / "tpu_v4.yaml").read_text())
    assert load_accelerator(path) == load_accelerator(str(path)) == load_accelerator("tpu_v4")
    assert find_file("hw_configs", "machine", "x.yaml", base=tmp_path) == tmp_path / "x.yaml"


@pytest.mark.parametrize(
    ("name", "part", "near"),
    [
        ("tpuv44", "unknown machine 'tpuv44', allowed are a100_pcie, a100_sxm", "tpu_v4"),
        ("", "unknown machine ''", None),
        ("flatedge2", "or the path of a .yaml file", "flat_edge"),
        ("x" * 5000, "unknown machine", None),
        ("absent.yaml", "cannot read the file", None),
        ("no/such", "cannot read the file", None),
        ("tpu_v4:4x4x8", "a slice of several chips, where one chip is asked for: allowed is 'tpu_v4'", None),
        (7, "read a int as a machine, allowed is a name or a path", None),
    ],
)
def test_unknown_names(name: object, part: str, near: str | None) -> None:
    _, _, message, suggestion = problem(name)
    assert part in message
    assert suggestion == near
    assert len(message) < 400


def test_missing_folder() -> None:
    with pytest.raises(InputError, match="'no_such' is missing: install accsim again"):
        data_folder("no_such")


@pytest.mark.parametrize("rows", [64, "64", " 64 ", "0x40"])
def test_overrides_are_read_as_in_the_file(rows: object) -> None:
    unit = load_accelerator("systolic_128", set={"matrix_unit.rows": rows}).matrix_unit
    assert isinstance(unit, SystolicArray)
    assert (unit.rows, unit.cols) == (64, 128)


def test_several_overrides() -> None:
    changed = load_accelerator(
        "flat_edge",
        set={
            "clock": "1 GHz",
            "memories.sg.capacity": "2 MiB",
            "matrix_unit.rates.fp32": "0.25",
            "overheads": {"op": {"time": "1 us", "source": "assumed"}},
            "memories.dram.shared_bandwidth": "false",
            "power.cap": "5 W",
            "energy": "jouppi_7nm",
        },
    )
    assert (changed.clock_hz, changed.memory("sg").capacity_bytes) == (1e9, 2**21)
    assert changed.matrix_unit.rates == {"bf16": 1, "int8": 1, "fp32": 0.25}
    assert (changed.overheads["op"].time_s, changed.power.cap_w) == (1e-6, 5)
    assert not changed.memory("dram").shared_bandwidth
    assert changed.energy.name == "jouppi_7nm"
    assert load_accelerator("flat_edge").clock_hz == 940e6


def test_a_whole_section_can_be_replaced() -> None:
    unit = {"kind": "tensor_core", "m": 8, "n": 8, "k": 4, "registers": "64 KiB", "rates": {"bf16": 1}}
    changed = load_accelerator("flat_edge", set={"matrix_unit": unit})
    assert isinstance(changed.matrix_unit, TensorCore)
    assert (changed.matrix_unit.macs_per_cycle, changed.matrix_unit.registers_bytes) == (256, 65536)


@pytest.mark.parametrize(
    ("overrides", "part", "near"),
    [
        ({"matrix_unit.rows": 0}, "read 0, allowed is a whole number from 1 to 65536", None),
        ({"matrix_unit.rows": "many"}, "read 'many', allowed is a whole number", None),
        ({"matrix_unit.rows": None}, "read nothing, allowed is a whole number", None),
        ({"matrix_unit.rws": 64}, "no field 'matrix_unit.rws', allowed are", "matrix_unit.rows"),
        ({"matrix_unit.rows.x": 64}, "'matrix_unit.rows' has no keys below it", None),
        ({"matrix.rows": 64}, "no field 'matrix', allowed are", "matrix_unit"),
        ({"clock": 940e6}, "without a unit, allowed is a number with a unit", None),
        ({"clock": "1 GB"}, "unit 'GB', allowed is", None),
        ({"memories.hbm.capacity": "1 GiB"}, "allowed are memories.sg, memories.dram", "memories.dram"),
        ({"memories.sg.name": "x"}, "no field 'memories.sg.name'", "memories.sg.area"),
        ({"matrix_unit.kind": "tensor"}, "'systolic' or 'tensor_core'", "tensor_core"),
        ({"matrix_unit.rates.fp8": 2}, "'horowitz_45nm' has no mac for fp8", None),
        ({"matrix_unit.rates.b16": 2}, "read data type 'b16', allowed are", "bf16"),
        ({"energy": "jupi_7nm"}, "unknown energy table 'jupi_7nm'", "jouppi_7nm"),
        ({"vector_unit.cycles_per_element.exq": 1}, "no field", "vector_unit.cycles_per_element.exp"),
        ({"power": [1]}, "read a list, allowed is a mapping with the keys idle, and if wanted cap, clocks", None),
        ({"": 1}, "malformed path", None),
        ({"a..b": 1}, "malformed path", None),
        ({3: 1}, "malformed path", None),
        ({"matrix_unit.rows": object()}, "allowed is a whole number", None),
    ],
)
def test_bad_overrides_name_themselves(overrides: dict[str, object], part: str, near: str | None) -> None:
    where, _, message, suggestion = problem("flat_edge", overrides)
    assert where == f"set:{next(iter(overrides))}"
    assert part in message
    assert suggestion == near


def test_bad_overrides_and_bad_names_all_at_once() -> None:
    with pytest.raises(InputError) as caught:
        load_accelerator("flat_edge", set={"clock": "1 W", "matrix_unit.rws": 1, "cores": 0})
    assert {p.where for p in caught.value.problems} == {"set:clock", "set:matrix_unit.rws", "set:cores"}


def test_a_file_of_that_name_is_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "edge64.yaml").write_text("name: edge64\n")
    monkeypatch.chdir(tmp_path)
    assert problem("edge64")[3] == "edge64.yaml"
    assert problem("edge65")[3] != "edge65.yaml"

"""The shipped machines against their published numbers, and the machine model's own behaviour."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pydantic
import pytest

from accsim.config.catalogue import data_folder, list_accelerators, load_accelerator
from accsim.config.machine import Accelerator, SystolicArray, TensorCore
from accsim.errors import InputError

SAMPLE = """\
# hw_configs/flat_edge.yaml: FLAT (ASPLOS 2023), Table 2, edge platform
name: flat_edge
clock: 940 MHz
cores: 1
matrix_unit: {kind: systolic, rows: 32, cols: 32, fold_overlap: full, rates: {bf16: 1, int8: 1}}
vector_unit: {lanes: 32, cycles_per_element: {max: 1, exp: 1, add: 1, multiply: 1, divide: 1}}
memories:                               # from the array outward; the last is main memory
  sg:   {capacity: 512 KiB, read_bandwidth: 1 TB/s, write_bandwidth: 1 TB/s, latency: 2 ns, banks: 16}
  dram: {capacity: 8 GiB, read_bandwidth: 50 GiB/s, write_bandwidth: 50 GiB/s, shared_bandwidth: true, latency: 100 ns}
energy: horowitz_45nm                   # hw_configs/energy/horowitz_45nm.yaml
power: {idle: 0 W}
source: "FLAT, ASPLOS 2023, Table 2; off-chip rate as in FuseMax's artifact"
estimated: {memories.sg.latency: not published, memories.sg.banks: not published}
"""
"""The contract: this text loads as it is."""


def machine(tmp_path: Path, text: str) -> Accelerator:
    path = tmp_path / "m.yaml"
    path.write_text(text)
    return load_accelerator(path)


def test_the_sample_of_the_design_loads_verbatim(tmp_path: Path) -> None:
    read = machine(tmp_path, SAMPLE)
    assert read == load_accelerator("flat_edge")
    assert (read.clock_hz, read.cores, read.trust, read.die_mm2) == (940e6, 1, "data_sheet", None)
    assert isinstance(read.matrix_unit, SystolicArray)
    assert (read.matrix_unit.rows, read.matrix_unit.cols, read.matrix_unit.fold_overlap) == (32, 32, "full")
    assert (read.matrix_unit.count, read.matrix_unit.dataflow) == (1, "output_stationary")
    assert read.matrix_unit.rates == {"bf16": 1, "int8": 1}
    sg, dram = read.memories
    assert (sg.name, sg.capacity_bytes, sg.read_bytes_per_s, sg.latency_s) == ("sg", 524288, 1e12, 2e-9)
    assert (sg.banks, sg.kind, sg.scope, sg.efficiency, sg.shared_bandwidth) == (16, "sram", "chip", 1.0, False)
    assert (sg.layout, sg.bank_width_bytes) == ("skewed", None)
    assert (dram.name, dram.kind, dram.shared_bandwidth, dram.banks) == ("dram", "ddr", True, 1)
    assert (dram.read_bytes_per_s, dram.write_bytes_per_s) == (50 * 2**30, 50 * 2**30)
    assert read.main_memory is dram
    assert read.memory("sg") is sg
    assert (read.power.idle_w, read.power.cap_w) == (0, None)
    assert read.estimated["memories.sg.banks"] == "not published"
    assert read.energy.name == "horowitz_45nm"
    assert read.area_table is not None
    assert read.area_table.name == "horowitz_45nm"


def test_ports_are_named_by_what_shares_them() -> None:
    ports = {
        (shared, double): load_accelerator(
            "flat_edge", set={"memories.sg.shared_bandwidth": shared, "memories.sg.double_buffered": double}
        )
        .memory("sg")
        .ports
        for shared in ("true", "false")
        for double in ("true", "false")
    }
    assert ports == {
        ("true", "false"): "1RW",
        ("false", "false"): "1R1W",
        ("true", "true"): "2 x 1RW",
        ("false", "true"): "2 x 1R1W",
    }


def test_banks_may_together_be_wider_than_the_port_but_not_narrower() -> None:
    wide = load_accelerator("flat_edge", set={"memories.sg.bank_width": "128 B", "memories.sg.layout": "linear"})
    assert (wide.memory("sg").bank_width_bytes, wide.memory("sg").layout) == (128, "linear")
    # 940 MHz x 16 x 65 B = 977.6 GB/s: printed bandwidths are rounded, so 2.5 % are let pass.
    assert load_accelerator("flat_edge", set={"memories.sg.bank_width": "65 B"}).memory("sg").bank_width_bytes == 65


# Published: FLAT (ASPLOS 2023) Table 2, clock of FuseMax's artifact; TPU v4 (ISCA 2023) Table 4; H100 data sheet.
PEAKS = [
    ("flat_edge", "bf16", 2 * 32 * 32 * 940e6),
    ("flat_cloud", "bf16", 123.2e12),
    ("tpu_v4", "bf16", 275.25e12),
    ("tpu_v4", "int8", 275.25e12),
    ("h100_sxm", "bf16", 989.4e12),
    ("h100_sxm", "fp16", 989.4e12),
    ("h100_sxm", "fp8", 1978.9e12),
    ("h100_sxm", "int8", 1978.9e12),
    ("systolic_128", "int8", 2 * 128 * 128 * 1e9),
]


@pytest.mark.parametrize(("name", "dtype", "peak_flop_per_s"), PEAKS)
def test_published_peaks(name: str, dtype: str, peak_flop_per_s: float) -> None:
    assert 2 * load_accelerator(name).peak_macs_per_s(dtype) == pytest.approx(peak_flop_per_s, rel=1e-3)


MEMORIES = [
    ("flat_cloud", "sg", 32 * 2**20, 8e12),
    ("flat_cloud", "dram", None, 400 * 2**30),
    ("tpu_v4", "vmem", 16 * 2**20, None),
    ("tpu_v4", "cmem", 128 * 2**20, None),
    ("tpu_v4", "hbm", 32 * 2**30, 1200e9),
    ("h100_sxm", "smem", 228 * 1024, 128 * 1.83e9),
    ("h100_sxm", "l2", 50e6, None),
    ("h100_sxm", "hbm", 80e9, 3.35e12),
    ("systolic_128", "sram", 3 * 10240 * 1024, 256 * 2 * 1e9),
]


@pytest.mark.parametrize(("name", "memory", "capacity_bytes", "read_bytes_per_s"), MEMORIES)
def test_published_memories(name: str, memory: str, capacity_bytes: int | None, read_bytes_per_s: float | None) -> None:
    read = load_accelerator(name)
    level = read.memory(memory)
    notes = set(read.estimated) | set(read.sources)
    if capacity_bytes is None:
        assert f"memories.{memory}.capacity" in notes
    else:
        assert level.capacity_bytes == capacity_bytes
    if read_bytes_per_s is None:
        assert f"memories.{memory}.read_bandwidth" in notes or memory == "cmem"
    else:
        assert level.read_bytes_per_s == read_bytes_per_s


def test_published_others() -> None:
    tpu, h100 = load_accelerator("tpu_v4"), load_accelerator("h100_sxm")
    assert (tpu.clock_hz, tpu.cores, tpu.power.idle_w, tpu.vector_unit.lanes) == (1050e6, 2, 90, 2048)
    assert isinstance(tpu.matrix_unit, SystolicArray)
    assert (tpu.matrix_unit.count, tpu.matrix_unit.dataflow) == (4, "weight_stationary")
    assert isinstance(h100.matrix_unit, TensorCore)
    assert h100.matrix_unit.count * h100.matrix_unit.macs_per_cycle == 2048
    assert h100.matrix_unit.registers_bytes == 65536 * 4
    assert (h100.cores, h100.power.cap_w, h100.overheads["op"].time_s) == (132, 700, 2.65e-6)
    exps_per_cycle = h100.vector_unit.lanes / h100.vector_unit.cycles_per_element["exp"]
    assert exps_per_cycle == 16
    overlaps = {
        "flat_cloud": "full",
        "flat_edge": "full",
        "h100_sxm": None,
        "systolic_128": "none",
        "tpu_v4": "weights",
    }
    assert overlaps == {name: getattr(load_accelerator(name).matrix_unit, "fold_overlap", None) for name in overlaps}


@pytest.mark.parametrize("name", list_accelerators())
def test_every_shipped_machine(name: str) -> None:
    read = load_accelerator(name)
    assert read.name == name
    assert (data_folder("hw_configs") / f"{name}.yaml").read_text().startswith("# ")
    again = pickle.loads(pickle.dumps(read))
    assert (again, again.hash, hash(again)) == (read, read.hash, hash(read))
    assert copy.deepcopy(read) == read
    capacities = [m.capacity_bytes * (read.cores if m.scope == "core" else 1) for m in read.memories]
    assert capacities == sorted(capacities)
    for dtype in read.matrix_unit.rates:
        assert 0 < read.energy.mac_pj(dtype).low <= read.energy.mac_pj(dtype).high
    energies = [read.energy.memory_pj_per_byte(m.kind, m.capacity_bytes).nominal for m in read.memories]
    assert energies == sorted(energies)


def test_read_only() -> None:
    read = load_accelerator("tpu_v4")
    with pytest.raises(pydantic.ValidationError):
        read.cores = 3
    for mapping in (read.estimated, read.sources, read.overheads, read.matrix_unit.rates):
        for change in ("clear", "popitem"):
            with pytest.raises(TypeError, match="read-only"):
                getattr(mapping, change)()


def test_defaults_of_a_memory(tmp_path: Path) -> None:
    short = "  sg:   {capacity: 512 KiB, read_bandwidth: 1 TB/s, latency: 0 s, efficiency: 0.5}"
    lines = [short if line.startswith("  sg:") else line for line in SAMPLE.splitlines()]
    sg = machine(tmp_path, "\n".join(lines).replace(", memories.sg.banks: not published", "")).memory("sg")
    assert (sg.write_bytes_per_s, sg.latency_s, sg.banks) == (1e12, 0.0, 1)
    assert (sg.usable_read_bytes_per_s, sg.usable_write_bytes_per_s) == (0.5e12, 0.5e12)


def test_defaults_of_the_vector_unit(tmp_path: Path) -> None:
    costs = machine(
        tmp_path, SAMPLE.replace("add: 1, multiply: 1", "add: 2, multiply: 3")
    ).vector_unit.cycles_per_element
    assert costs == {"max": 1, "exp": 1, "add": 2, "multiply": 3, "divide": 1, "rescale": 3, "convert": 2}
    costs = machine(tmp_path, SAMPLE.replace("add: 1", "add: 1, rescale: 5, convert: 6")).vector_unit.cycles_per_element
    assert (costs["rescale"], costs["convert"]) == (5, 6)


def test_data_types_in_any_spelling(tmp_path: Path) -> None:
    read = machine(tmp_path, SAMPLE.replace("bf16: 1, int8: 1", "BFloat16: 2, half: 4"))
    assert dict(read.matrix_unit.rates) == {"bf16": 2, "fp16": 4}
    assert read.peak_macs_per_s("BF16") == 2 * 1024 * 940e6
    with pytest.raises(InputError, match="does not support int8, only bf16, fp16"):
        read.peak_macs_per_s("int8")
    with pytest.raises(InputError, match="Did you mean 'bf16'"):
        read.peak_macs_per_s("bf17")


def test_unknown_memory() -> None:
    with pytest.raises(InputError, match="unknown memory 'hmb' of tpu_v4, allowed are vmem, cmem, hbm") as caught:
        load_accelerator("tpu_v4").memory("hmb")
    assert caught.value.problems[0].suggestion == "hbm"


def test_hash_depends_on_content_only(tmp_path: Path) -> None:
    base = machine(tmp_path, SAMPLE).hash
    assert len(base) == 12
    assert (
        machine(tmp_path, SAMPLE.replace("940 MHz", "0.94 GHz").replace("bf16: 1, int8: 1", "int8: 1.0, BF16: 1")).hash
        == base
    )
    assert machine(tmp_path, SAMPLE.replace("940 MHz", "941 MHz")).hash != base
    table = (data_folder("hw_configs/energy") / "horowitz_45nm.yaml").read_text()
    (tmp_path / "horowitz_45nm.yaml").write_text(table.replace("1300 pJ", "1301 pJ"))
    assert machine(tmp_path, SAMPLE.replace("energy: horowitz_45nm", "energy: ./horowitz_45nm.yaml")).hash != base


def test_hash_of_a_changed_copy() -> None:
    read = load_accelerator("tpu_v4")
    before = read.hash
    assert read.model_copy(update={"clock_hz": 1e9}).hash != before

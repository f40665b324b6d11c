"""DRAM standards: published figures, bad files, and machine files that name one."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from accsim.config.catalogue import data_folder, list_accelerators, load_accelerator
from accsim.config.dram import list_dram_standards, load_dram_standard
from accsim.config.schema import dram_schema
from accsim.config.yaml_marks import read_yaml
from accsim.errors import InputError
from tests.config.test_schema import breaches

FOLDER = data_folder("hw_configs/dram")
HBM2 = (FOLDER / "hbm2.yaml").read_text()
EDGE = (data_folder("hw_configs") / "flat_edge.yaml").read_text()

# Pseudo-channels or channels of a stack or module, and its published GB/s.
PUBLISHED = {
    "hbm2": (16, 256),  # JESD235: 1024 pins at 2.0 Gb/s
    "hbm2_2400": (16, 307.2),  # at 2.4 Gb/s
    "hbm2e": (16, 409.6),  # at 3.2 Gb/s
    "hbm3": (32, 665.6),  # JESD238: 1024 pins at 5.2 Gb/s
    "hbm3_6400": (32, 819.2),  # at 6.4 Gb/s
    "hbm3e": (32, 1024),  # at 8.0 Gb/s
    "ddr4_3200": (1, 25.6),
    "lpddr4_3200": (2, 12.8),  # a x32 package
    "lpddr5_6400": (4, 51.2),  # a x64 package
}


def test_every_shipped_standard_has_its_published_bandwidth() -> None:
    assert set(PUBLISHED) == set(list_dram_standards())
    for name, (channels, gb_per_s) in PUBLISHED.items():
        standard = load_dram_standard(name)
        assert standard.name == name
        assert channels * standard.peak_bytes_per_s == pytest.approx(gb_per_s * 1e9)
        assert standard.burst_bytes == (64 if name.startswith("ddr") else 32)
        assert pickle.loads(pickle.dumps(standard)) == standard
        assert len(standard.hash) == 12


@pytest.mark.parametrize("name", list_dram_standards())
def test_what_is_no_published_value_says_so(name: str) -> None:
    standard = load_dram_standard(name)
    assert standard.estimated["timing.tRTW" if not name.startswith("lpddr4") else "timing.tCWL"]
    if standard.kind.startswith("hbm"):
        core = ("tCL", "tRCDRD", "tRCDWR", "tRP", "tRAS", "tRC", "tWR", "tRTP", "tFAW")
        assert {f"timing.{key}" for key in core} <= set(standard.estimated)
    schema = dram_schema()
    assert breaches(schema, read_yaml(FOLDER / f"{name}.yaml").data, schema["$defs"]) == []


def test_nanoseconds_of_the_standards() -> None:
    """JESD235, JESD238, JESD79-4 and JESD209: refresh intervals; and tRC is tRAS + tRP."""
    for name in list_dram_standards():
        standard = load_dram_standard(name)
        interval_us = standard.timing.refi / standard.clock_hz * 1e6
        assert interval_us == pytest.approx(7.8 if name.startswith("ddr") else 3.9, rel=0.003)
        assert standard.timing.rc == standard.timing.ras + standard.timing.rp
        assert 40 < standard.timing.rc / standard.clock_hz * 1e9 < 65


def test_stream_efficiency_by_hand() -> None:
    """HBM2 at 1 GHz: a refresh of 260 ns with tRTP 5, tRP 14 and tRCD 14, less one read's 2, every 3900 ns."""
    assert load_dram_standard("hbm2").stream_efficiency == pytest.approx(1 - (260 + 5 + 14 + 14 - 2) / 3900)


def test_standards_are_no_machines() -> None:
    assert not set(list_dram_standards()) & set(list_accelerators())


BAD = [
    ("bank_groups: 4", "bank_groups: 3", "bank_groups", "read 3, allowed is a power of two"),
    ("data_rate: 2 Gb/s", "data_rate: 2.1 Gb/s", "data_rate", "1.90476 clocks"),
    ("data_rate: 2 Gb/s", "data_rate: 2 GHz", "data_rate", "with the unit 'GHz'"),
    ("row_size: 1 KiB", "row_size: 1000 B", "row_size", "31.25 bursts of 32 bytes, allowed is a power of two"),
    ("burst_length: 4", "burst_length: 0", "burst_length", "a whole number from 1"),
    ("tRC: 48", "tRC: 47", "timing.tRC", "read 47, allowed is at least tRAS + tRP = 48"),
    ("tRCDRD: 14", "tRCDRD: 60", "timing.tRCDRD", "allowed is at most tRC = 48"),
    ("tCCD_L: 4", "tCCD_L: 1", "timing.tCCD_L", "read 1, allowed is at least tCCD_S = 2"),
    ("tREFI: 3900", "tREFI: 300", "timing.tREFI", "read 300, allowed is at least"),
    ("tRFC: 260", "tRFX: 260", "timing.tRFX", "unknown key, allowed are"),
    ("tWR: 16", "tWR: 0", "timing.tWR", "a whole number from 1 to 1000000"),
    ("  tWR: 16\n", "", "timing.tWR", "missing"),
    ("kind: hbm2", "kind: hbm9", "kind", "read 'hbm9', allowed is 'ddr'"),
    ("command_bus: split", "command_bus: two", "command_bus", "'shared' or 'split'"),
    ("  timing.tCL:", "  timing.tCX:", "estimated.timing.tCX", "no field 'timing.tCX', allowed are name, kind"),
]


@pytest.mark.parametrize(("old", "new", "path", "part"), BAD, ids=[f"{case[2]}: {case[1]}" for case in BAD])
def test_bad_standards(tmp_path: Path, old: str, new: str, path: str, part: str) -> None:
    assert HBM2.count(old) == 1
    file = tmp_path / "d.yaml"
    file.write_text(HBM2.replace(old, new))
    with pytest.raises(InputError) as caught:
        load_dram_standard(file)
    found = {p.path: p for p in caught.value.problems}
    assert part in found[path].message
    line = int(found[path].where.removeprefix(f"{file}:").split(":")[0])
    shown = file.read_text().splitlines()[line - 1]
    assert new.strip() in shown or not new


BANDWIDTHS = "read_bandwidth: 50 GiB/s, write_bandwidth: 50 GiB/s"


def machine(tmp_path: Path, memory: str) -> Path:
    """flat_edge with another main memory."""
    assert EDGE.count(BANDWIDTHS) == 1
    file = tmp_path / "m.yaml"
    file.write_text(EDGE.replace(BANDWIDTHS, memory))
    return file


def test_a_machine_takes_kind_and_efficiency_from_its_standard(tmp_path: Path) -> None:
    lpddr5 = load_dram_standard("lpddr5_6400")
    main = load_accelerator(
        machine(tmp_path, "read_bandwidth: 51 GB/s, standard: LPDDR5-6400, channels: 4")
    ).main_memory
    assert (main.standard, main.channels, main.kind) == (lpddr5, 4, "lpddr")
    assert main.efficiency == lpddr5.stream_efficiency
    assert main.usable_read_bytes_per_s == pytest.approx(51e9 * lpddr5.stream_efficiency)
    file = machine(tmp_path, "read_bandwidth: 51 GB/s, standard: lpddr5_6400, channels: 4, efficiency: 0.5")
    assert load_accelerator(file).main_memory.efficiency == 0.5
    without = load_accelerator("flat_edge").main_memory
    assert (without.standard, without.channels, without.kind, without.efficiency) == (None, None, "ddr", 1.0)


def test_a_machine_finds_a_standard_beside_it_and_its_hash_depends_on_it(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text((FOLDER / "ddr4_3200.yaml").read_text())
    file = machine(tmp_path, "read_bandwidth: 51.2 GB/s, standard: ./own.yaml, channels: 2")
    before = load_accelerator(file).hash
    (tmp_path / "own.yaml").write_text((FOLDER / "ddr4_3200.yaml").read_text().replace("tRFC: 560", "tRFC: 561"))
    assert load_accelerator(file).hash != before


WRONG = [
    (f"{BANDWIDTHS}, standard: ddr4_3200, channels: 2", "read_bandwidth", "read 50 GiB/s, allowed is 51.2 GB/s within"),
    ("read_bandwidth: 51.2 GB/s, write_bandwidth: 40 GB/s, standard: ddr4_3200, channels: 2", "write_bandwidth", "40"),
    (f"{BANDWIDTHS}, channels: 2", "channels", "'channels' needs 'standard' beside it"),
    (f"{BANDWIDTHS}, standard: ddr5, channels: 2", "standard", "unknown DRAM standard 'ddr5', allowed are ddr4_3200"),
    (f"{BANDWIDTHS}, standard: 3, channels: 2", "standard", "allowed is the name of a DRAM standard"),
    ("read_bandwidth: 51.2 GB/s, kind: ddr, standard: lpddr5_6400, channels: 4", "kind", "allowed is 'lpddr'"),
    (f"{BANDWIDTHS}, standard: ddr4_3200, channels: 0", "channels", "a whole number from 1"),
]


@pytest.mark.parametrize(("memory", "key", "part"), WRONG, ids=[f"{case[1]}: {case[2]}" for case in WRONG])
def test_bad_memories(tmp_path: Path, memory: str, key: str, part: str) -> None:
    file = machine(tmp_path, memory)
    with pytest.raises(InputError) as caught:
        load_accelerator(file)
    (problem,) = caught.value.problems
    assert problem.path == f"memories.dram.{key}"
    assert part in problem.message
    line, column = (int(n) for n in problem.where.removeprefix(f"{file}:").split(":"))
    assert key in file.read_text().splitlines()[line - 1][: column + len(key)]


def test_a_problem_in_the_standard_keeps_its_place(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(HBM2.replace("tRC: 48", "tRC: 4"))
    with pytest.raises(InputError, match=r"own\.yaml:\d+:\d+: timing\.tRC: read 4"):
        load_accelerator(machine(tmp_path, f"{BANDWIDTHS}, standard: ./own.yaml, channels: 3"))


def test_a_bandwidth_that_is_set_replaces_the_channels() -> None:
    # tpu_v4 has 64 channels of HBM2 at 2.4 Gb/s a pin: what a stream reaches of a bandwidth stays that of the standard.
    acc = load_accelerator("tpu_v4", set={"memories.hbm.read_bandwidth": "3 TB/s"})
    hbm, whole = acc.memory("hbm"), load_accelerator("tpu_v4").memory("hbm")
    assert (hbm.read_bytes_per_s, hbm.channels) == (3e12, None)
    assert (hbm.kind, hbm.efficiency, hbm.standard) == (whole.kind, whole.efficiency, whole.standard)
    with pytest.raises(InputError, match=r"allowed is 614\.4 GB/s within 2\.5 %"):
        load_accelerator("tpu_v4", set={"memories.hbm.channels": 32})

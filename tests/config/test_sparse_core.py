"""Sections for embeddings of machine files: published numbers, what does not fit, what is derived."""

from __future__ import annotations

import pytest

from accsim.config.catalogue import list_accelerators, load_accelerator
from accsim.engine.energy import component, price_list
from accsim.errors import InputError

MIB = 2**20
PUBLISHED = {
    # Jouppi et al., ISCA 2023, section 3.5 and Table 4, IEEE Micro 2026, Table 1: units, scratchpad of the chip.
    "tpu_v2": (2, None, None, None),
    "tpu_v3": (2, None, None, 5 * MIB),
    "tpu_v4": (4, 16, 8, 10 * MIB),
    # JAX documentation, SparseCore kernel writing: units, tiles, lanes; jax/_src/pallas/mosaic/tpu_info.py: scratchpad.
    "tpu_v5p": (4, 16, 8, 64 * 512 * 1024),
    "tpu_v6e": (2, 16, 8, 32 * 256 * 1024),
    "tpu7x": (4, 16, 16, 64 * 512 * 1024),
}


def test_published_units() -> None:
    assert {n for n in list_accelerators() if load_accelerator(n).sparse_core} == set(PUBLISHED)
    for name, (units, tiles, lanes, spmem) in PUBLISHED.items():
        machine = load_accelerator(name)
        unit, notes = machine.sparse_core, machine.estimated
        assert unit is not None
        assert unit.count == units
        for key, published, found in (("tiles", tiles, unit.tiles), ("lanes", lanes, unit.lanes)):
            assert found == published if published else f"sparse_core.{key}" in notes
        assert unit.count * unit.spmem_bytes == spmem if spmem else "sparse_core.spmem" in notes


def test_each_tile_of_tpu_v4_has_a_channel() -> None:
    """Jouppi et al., ISCA 2023, section 3.5: about 5 % of the die and of the power."""
    machine = load_accelerator("tpu_v4")
    unit = machine.sparse_core
    assert unit is not None
    assert unit.all_tiles == machine.main_memory.channels == 64
    assert (unit.slice_bytes, unit.word_bytes) == (160 * 1024, 32)
    assert machine.area_mm2 is not None
    assert unit.area_mm2 == pytest.approx(0.05 * machine.area_mm2)
    assert unit.power_fraction == 0.05


def test_what_is_not_published_is_named() -> None:
    unpublished = ["outstanding", "sort_ids_per_cycle", "reduce_elements_per_cycle", "move_bytes_per_cycle"]
    for name in PUBLISHED:
        notes = load_accelerator(name).estimated
        for key in (*unpublished, "instruction_cycles", "stack_cycles"):
            assert f"sparse_core.{key}" in notes


def test_prices_of_memories_beside_the_cores() -> None:
    """Spmem by the bank of a tile, between 32 KiB and 1 MiB of the table; memory of processors as DDR."""
    machine = load_accelerator("tpu_v4")
    prices = price_list(machine)
    assert 8.5 / 8 < prices["read.spmem"].nominal < 14 / 8
    assert prices["write.spmem"] == prices["read.spmem"]
    assert prices["read.host"].nominal == prices["write.server"].nominal == 1300 / 8
    assert [component(a) for a in ("read.spmem", "write.host")] == ["spmem", "host"]
    assert not {"read.spmem", "read.host", "read.server"} & set(price_list(load_accelerator("h100_sxm")))


def problems(name: str, **given: object) -> list[tuple[str, str]]:
    with pytest.raises(InputError) as caught:
        load_accelerator(name, set={key.replace("__", "."): value for key, value in given.items()})
    return [(problem.path, problem.message) for problem in caught.value.problems]


UNIT = {
    "count": 2, "tiles": 16, "lanes": 8, "spmem": "1 MiB", "outstanding": 64, "sort_ids_per_cycle": 1,
    "reduce_elements_per_cycle": 1, "move_bytes_per_cycle": 1, "instruction_cycles": 0, "stack_cycles": 0,
}  # fmt: skip


def test_units_need_a_memory_whose_rows_can_be_read_at_random() -> None:
    assert problems("flat_edge", sparse_core=UNIT) == [
        ("sparse_core", "needs 'memories.dram.standard': rows at random reach what the DRAM lets them")
    ]
    (found,) = problems("tpu_v4", sparse_core__spmem="256 B")
    assert found == ("sparse_core.spmem", "read 256 B, allowed is at least 32 bytes for each of 16 tiles")


def test_wrong_numbers_come_all_at_once() -> None:
    bad = UNIT | {"tiles": 0, "power_fraction": 1.5, "sort_ids_per_cycle": 0, "lane": 8}
    found = dict(problems("tpu_v4", sparse_core=bad))
    assert set(found) == {
        "sparse_core.tiles", "sparse_core.power_fraction", "sparse_core.sort_ids_per_cycle", "sparse_core.lane",
    }  # fmt: skip
    assert "allowed is a number above 0 to 1000000" in found["sparse_core.sort_ids_per_cycle"]
    (host,) = problems("tpu_v4", host__random_efficiency=0)
    assert host[0] == "host.random_efficiency"

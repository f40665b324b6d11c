"""Accumulators narrower than fp32, and sums that the vector unit promotes: against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

import accsim
from accsim import Accelerator, Gemm, Report
from accsim.errors import InputError, MappingError

MEMORIES = ("smem", "l2", "hbm")


def machine(name: str, dtype: str, bits: int) -> Accelerator:
    return accsim.load_accelerator(name, set={"matrix_unit.accumulators": {dtype: {"bits": bits}}})


def run(op: Gemm, acc: Accelerator | str, dataflow: Any = None) -> Report:
    return accsim.simulate(op, acc, dataflow=dataflow, power_cap=False)


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_sums_that_leave_an_array_have_the_bits_of_its_accumulators(bits: int) -> None:
    """Of 512 places of k, 128 are in the array at a time: each sum leaves it and comes back three times."""
    tile = accsim.WeightStationary(512, 512, 512, "mn", False, 1, 1)
    found = run(Gemm(512, 512, 512), machine("systolic_128", "bf16", bits), tile)
    moved = {"loads": 2 * 512 * 512 * 2, "results": 512 * 512 * 2, "sums": 3 * 512 * 512 * bits / 8}
    assert found.traffic_bytes["sram"]["write"] == sum(moved.values())
    # A passes once for each of four columns of folds, B once
    assert found.traffic_bytes["sram"]["read"] == (4 + 1) * 512 * 512 * 2 + moved["results"] + moved["sums"]


@pytest.mark.parametrize("bits", [16, 32])
def test_sums_of_tiles_of_k_take_buffers_and_ports(bits: int) -> None:
    tile = accsim.OutputStationary(128, 128, 128, "mn", False, 1, 1)
    found = run(Gemm(256, 256, 512), machine("systolic_128", "bf16", bits), tile)
    (buffer,) = (one for one in found.ops[0].steps[0].program.buffers if one.name == "c")
    assert buffer.slot_bytes == 128 * 128 * bits / 8
    loads, written = 2 * 2 * 256 * 512 * 2, 4 * 256 * 256 * bits / 8
    assert found.traffic_bytes["sram"]["write"] == loads + written


@pytest.mark.parametrize("bits", [16, 32])
def test_split_sums_meet_in_the_l2_as_wide_as_they_are(bits: int) -> None:
    blocks = accsim.ThreadBlocks(128, 128, split_k=4)
    found = run(Gemm(512, 512, 4096), machine("h100_sxm", "bf16", bits), blocks)
    loaded, results = 4 * 2 * 512 * 4096 * 2, 512 * 512 * 2
    partials = 4 * 512 * 512 * bits / 8
    main = found.traffic_bytes["hbm"]["read"]
    assert found.traffic_bytes["l2"]["read"] == pytest.approx(loaded + partials + results)
    assert found.traffic_bytes["l2"]["write"] == pytest.approx(main + partials + results)


def test_accumulators_of_other_data_types_do_not_count() -> None:
    op, tile = Gemm(256, 256, 512), accsim.WeightStationary(256, 256, 512, "mn", False, 1, 1)
    plain, found = (run(op, acc, tile) for acc in ("systolic_128", machine("systolic_128", "int8", 16)))
    assert (found.total_cycles, found.actions) == (plain.total_cycles, plain.actions)


# Promotion


def endless(**more: Any) -> Accelerator:
    fast: dict[str, Any] = {f"memories.{name}.latency": "0 ns" for name in MEMORIES}
    fast |= {f"memories.{name}.{way}_bandwidth": "1000000 TB/s" for name in MEMORIES for way in ("read", "write")}
    return accsim.load_accelerator("h100_sxm", set=fast | more)


@pytest.mark.parametrize("every", [64, 128, 256, 512])
@pytest.mark.parametrize("lanes", [128, 32, 16])
def test_promotion_is_hidden_unless_the_lanes_are_slower(every: int, lanes: int) -> None:
    """A step of 128 places of fp8 takes 128 · 128 · 128 / 4096 cycles, and 128 · 128 sums each time over the lanes."""
    blocks = accsim.ThreadBlocks(128, 128, 1, promote_every=every)
    found = run(Gemm(128, 128, 4096, dtype="fp8"), endless(**{"vector_unit.lanes": lanes}), blocks)
    product, promotion = 128 * 128 * 128 / 4096, 128 * 128 / lanes * 128 / every
    rounding = 128 * 128 * 2 / lanes
    expected = product + 31 * max(product, promotion) + promotion + rounding
    assert found.ops[0].parts[0].counters.total_ticks / 4096 == pytest.approx(expected, rel=1e-6)
    assert found.actions["vector.add"] == pytest.approx(128 * 128 * 4096 / every)
    assert found.mapping["gemm"] == blocks


def test_promoted_sums_take_registers_twice() -> None:
    """128 x 256 in fp32 fill the half of the registers that sums may have; 128 x 128 leave room for as many again."""
    op = Gemm(4096, 4096, 4096, dtype="fp8")
    run(op, "h100_sxm", accsim.ThreadBlocks(128, 256, 1))
    with pytest.raises(MappingError, match=r"needs 256 KiB in matrix_unit\.registers, has 128 KiB"):
        run(op, "h100_sxm", accsim.ThreadBlocks(128, 256, 1, promote_every=128))
    searched = run(op, "h100_sxm", accsim.ThreadBlocks(promote_every=128)).mapping["gemm"]
    assert isinstance(searched, accsim.ThreadBlocks)
    assert (searched.tile_m or 0) * (searched.tile_n or 0) <= 128 * 128
    assert searched.promote_every == 128


def test_promotion_beside_a_split_sum_and_a_codec() -> None:
    op = Gemm(512, 512, 4096, dtype="fp8", sparsity="2:4", out_sparsity="4:8", out_dtype="bf16")
    codec = {"decompressor": {"values_per_cycle": 64}, "compressor": {"results_per_cycle": 8}}
    acc = endless(**{f"matrix_unit.sparse.{key}": value for key, value in codec.items()})
    found = run(op, acc, accsim.ThreadBlocks(64, 64, 4, promote_every=128))
    stages = [stage.name for stage in found.ops[0].steps[0].program.stages]
    assert stages == ["launch", "load", "decompress", "matmul", "promote", "epilogue", "compress", "reduce"]
    # a promotion for each step of each quarter of k, then the four quarters of every result
    assert found.actions["vector.add"] == pytest.approx(512 * 512 * (4096 / 128 + 4))
    assert found.actions["encode.fp8"] == pytest.approx(512 * 512)


def test_the_report_says_how_many_bits_are_kept() -> None:
    found = run(Gemm(256, 256, 256, dtype="fp8", out_dtype="bf16"), "h100_sxm")
    assert found.formats["gemm"] == "products are added up with 14 bits"
    assert not run(Gemm(256, 256, 256, dtype="int8"), "h100_sxm").formats


BAD = [
    ({"fp33": {"bits": 16}}, "accumulators.fp33"),
    ({"bf16": {"bits": 4}}, "accumulators.bf16.bits"),
    ({"bf16": {"aligned_bits": 1}}, "accumulators.bf16.aligned_bits"),
]


@pytest.mark.parametrize(("accumulators", "message"), BAD)
def test_bad_accumulators(accumulators: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        accsim.load_accelerator("h100_sxm", set={"matrix_unit.accumulators": accumulators})


def test_bad_intervals() -> None:
    with pytest.raises(InputError, match="promote_every"):
        accsim.ThreadBlocks(promote_every=0)

"""Products whose operands have data types of their own: against closed forms worked out by hand, and laws."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim import Accelerator, Conv2d, Elementwise, Gemm, LstmCell, Report
from accsim.errors import InputError, MappingError
from accsim.workload.ops import Op

CLOCK, LANES, SMS = 1.83e9, 128, 132
HBM = 3.35e12 * 0.855 / CLOCK  # bytes a cycle of h100_sxm
LATENCY = 440e-9 * CLOCK
FAST = "1000000 TB/s"
BITS = {"bf16": 16, "fp8": 8, "int8": 8, "int4": 4, "hbfp4": 4 + 8 / 64, "mxfp8": 8 + 8 / 32, "mxfp6": 6 + 8 / 32}
BITS |= {"int4_g32": 4 + 32 / 32, "int4_g64": 4 + 32 / 64, "int4_g128": 4 + 32 / 128}
BITS |= {"mxfp4": 4 + 8 / 32, "nvfp4": 4 + 8 / 16}
"""Bits of an element and its share of the scale of a block, as the specifications have them."""


def run(op: Op, acc: Accelerator | str, dataflow: Any = None) -> Report:
    return accsim.simulate(op, acc, dataflow=dataflow, power_cap=False)


def program_cycles(report: Report) -> float:
    """Cycles without the launch."""
    return report.ops[0].parts[0].counters.total_ticks / 4096


def endless(name: str, **more: Any) -> Accelerator:
    """A machine whose memories never make it wait."""
    memories = accsim.load_accelerator(name).memories
    changes: dict[str, Any] = {}
    for memory in memories:
        changes[f"memories.{memory.name}.latency"] = "0 ns"
        changes |= {f"memories.{memory.name}.{way}_bandwidth": FAST for way in ("read", "write")}
    return accsim.load_accelerator(name, set=changes | more)


# Closed forms


@pytest.mark.parametrize("weights", BITS)
@pytest.mark.parametrize("machine", ["h100_sxm", "tpu_v5e", "systolic_128"])
def test_a_decode_step_moves_the_bits_of_its_weights(machine: str, weights: str) -> None:
    found = run(Gemm(m=1, n=2048, k=4096, weight_dtype=weights), machine)
    main = found.accelerator.main_memory.name
    assert found.traffic_bytes[main] == {
        "read": pytest.approx(2048 * 4096 * BITS[weights] / 8 + 4096 * 2),
        "write": pytest.approx(2048 * 2),
    }
    assert found.memory["weights"] == 2048 * 4096 * BITS[weights] / 8


def test_groups_of_four_bits_have_the_size_that_torchao_prints() -> None:
    """Llama 3 8B in int4 groups of 64, 4.22 GB in its README: the products of the layers and the output product."""
    entries = accsim.load_workload("llama3_8b_decode?weight_dtype=int4_g64").entries
    products = [entry for entry in entries if isinstance(entry.op, Gemm)]
    sizes = (replace(entry.op, weight_dtype="int4_g64").weight_bytes * entry.weight_sets for entry in products)
    assert sum(sizes) / 1e9 == pytest.approx(4.22, abs=0.005)


@pytest.mark.parametrize("weights", ["int4", "mxfp4", "nvfp4", "fp8"])
def test_decode_on_a_gpu_is_bound_by_bytes(weights: str) -> None:
    # 132 thread blocks of 256 columns; 64 x 256 weights a step take 256 or 384 cycles to convert, and 691 on to arrive
    op = Gemm(m=8, n=SMS * 256, k=64 * 64, weight_dtype=weights)
    found = run(op, "h100_sxm", accsim.ThreadBlocks(8, 256, 1))
    converted = 64 * 256 * (2 + (weights in ("mxfp4", "nvfp4"))) / LANES
    arrives = 64 * 256 * BITS[weights] / 8 * SMS / HBM
    assert converted < arrives
    load = (op.n * op.k * BITS[weights] / 8 + op.m * op.k * 2) / HBM
    product, store = 256 * 8 * 64 / 2048, op.m * op.n * 2 / HBM
    assert program_cycles(found) == pytest.approx(load + LATENCY + converted + product + store, abs=1)
    assert found.bound_by.startswith("hbm")


@pytest.mark.parametrize(("weights", "operations"), [("int4", 2), ("fp8", 2), ("mxfp4", 3), ("int4_g64", 3)])
def test_few_lanes_leave_the_conversions(weights: str, operations: int) -> None:
    # a conversion is 2 cycles of a lane, a multiplication by the scale of a block one
    op = Gemm(m=8, n=SMS * 64, k=128 * 64, weight_dtype=weights)
    found = run(op, accsim.load_accelerator("h100_sxm", set={"vector_unit.lanes": 16}), accsim.ThreadBlocks(8, 64, 1))
    load = (op.n * op.k * BITS[weights] / 8 + op.m * op.k * 2) / 128 / HBM
    convert, product, store = 64 * 64 * operations / 16, 64 * 8 * 64 / 2048, op.m * op.n * 2 / HBM
    port = 8 * 64 * 2 / 128  # a product reads A before the next conversion may read its weights at the same port
    expected = load + LATENCY + 128 * convert + 127 * port + product + store
    assert program_cycles(found) == pytest.approx(expected, abs=1)
    assert found.bound_by.startswith("vector")


@pytest.mark.parametrize(("weights", "operations"), [("int4", 1), ("mxfp4", 2)])
def test_conversions_of_an_array_run_beside_loads_and_products(weights: str, operations: int) -> None:
    # 256 lanes against an array that takes 256 x 256 weights in 256 cycles: half or a quarter as fast
    op, lanes = Gemm(m=4, n=4096, k=4096, weight_dtype=weights), 64
    acc = accsim.load_accelerator("flat_cloud", set={"vector_unit.lanes": lanes})
    found = run(op, acc, accsim.OutputStationary(4, 512, 512, "mn", True, 1, 1))
    cycles = op.n * op.k * operations / lanes
    first_load, last_product = 512 * 512 * BITS[weights] / 8 / (400 * 2**30 / 0.94e9) + 94, 2 * 512 + 600
    # not hidden are the first load, the last product, and the port that loads share with what is converted
    port = 64 * (512 * 512 * (2 + BITS[weights] / 8)) / (8e12 / 0.94e9)
    assert cycles <= program_cycles(found) <= cycles + first_load + last_product + port


def test_every_tile_of_rows_converts_its_weights_again() -> None:
    op = Gemm(m=512, n=1024, k=768, weight_dtype="mxfp4")
    found = run(op, "h100_sxm", accsim.ThreadBlocks(128, 128, 1))
    assert found.actions["vector.multiply"] == 4 * op.n * op.k
    assert found.actions["vector.convert"] == 4 * op.n * op.k + op.m * op.n
    assert found.actions["mac.bf16"] == op.macs
    plain = run(replace(op, weight_dtype=None), "h100_sxm", accsim.ThreadBlocks(128, 128, 1))
    table = found.accelerator.energy
    more = 4 * op.n * op.k * (table.vector_pj("multiply").nominal + table.vector_pj("convert").nominal) * 1e-12
    assert found.energy_breakdown_j["vector"] - plain.energy_breakdown_j["vector"] == pytest.approx(more)


@pytest.mark.parametrize("machine", ["tpu_v4", "flat_edge"])
def test_each_core_converts_its_own_copy(machine: str) -> None:
    """Ragged halves: a core of two has 151 of 301 rows; both convert all of B."""
    cores = accsim.load_accelerator(machine).cores
    mapping = accsim.WeightStationary(64, 128, 128, "mn", False, cores, 1)
    op = Gemm(m=301, n=256, k=384, weight_dtype="int4")
    found = run(op, machine, mapping)
    tiles = ceil(ceil(301 / cores) / 64)
    assert found.actions["vector.convert"] == pytest.approx(cores * tiles * op.n * op.k)


def test_block_scales_of_results_are_found_on_the_vector_unit() -> None:
    op = Gemm(m=256, n=512, k=1024, out_dtype="mxfp8")
    for machine, mapping in (("h100_sxm", accsim.ThreadBlocks(128, 128, 1)), ("systolic_128", None)):
        found = run(op, machine, mapping)
        results = op.m * op.n
        expected = {"max": results, "multiply": results, "divide": results / 32, "convert": results * (1 + 1 / 32)}
        assert {name: found.actions[f"vector.{name}"] for name in expected} == expected
        assert found.traffic_bytes[found.accelerator.main_memory.name]["write"] == results * 8.25 / 8


def test_native_block_formats_cost_their_scales_alone() -> None:
    """As NVFP4 on a B200: no vector work but the results', four times the MACs of bf16 a cycle."""
    op = Gemm(m=4096, n=4096, k=4096, dtype="nvfp4", out_dtype="bf16")
    found = run(op, "b200_sxm", accsim.ThreadBlocks(128, 128, 1))
    assert not found.formats
    assert found.actions["vector.convert"] == op.m * op.n
    assert "vector.multiply" not in found.actions
    assert found.actions["mac.nvfp4"] == op.macs
    endless_b200 = endless("b200_sxm")
    slow = run(replace(op, dtype="bf16"), endless_b200, accsim.ThreadBlocks(128, 128, 1))
    fast = run(op, endless_b200, accsim.ThreadBlocks(128, 128, 1))
    # 4096 x 4096 x 4096 in tiles of 128 x 128, 1024 tiles on 148 SMs: 7 waves of 4096 x 128 x 128 / 4096 MACs a cycle
    assert slow.compute_cycles == 7 * 4096 * 128 * 128 / 4096
    assert fast.compute_cycles == slow.compute_cycles / 4


@pytest.mark.parametrize(
    ("machine", "dtype", "weights"),
    [("b200_sxm", "mxfp8", "mxfp4"), ("tpu_v4", "bf16", "int8"), ("tpu_v5e", "bf16", "fp8")],
)
def test_operands_that_are_multiplied_as_they_are(machine: str, dtype: str, weights: str) -> None:
    op = Gemm(m=64, n=1024, k=1024, dtype=dtype, weight_dtype=weights, out_dtype="bf16")
    found = run(op, machine)
    assert found.formats["gemm"] == f"A in {dtype} and B in {weights} are multiplied as they are"
    assert found.actions.get("vector.convert", 0) in (0, op.m * op.n)
    assert found.actions[f"mac.{dtype}"] == op.macs


# How it runs, and why


REASONS = [
    ("h100_sxm", "bf16", "int4", "bf16", "B in int4 is converted to bf16"),
    ("h100_sxm", "int8", "int4", "int8", "B in int4 is converted to int8"),
    ("h100_sxm", "fp8", "int4", "fp8", "B in int4 is converted to fp8"),
    ("h100_sxm", "fp8", "mxfp4", "bf16", "A in fp8 is converted to bf16, B in mxfp4 is converted to bf16"),
    ("h100_sxm", "mxfp8", "mxfp8", "bf16", "A in mxfp8 is converted to bf16, B in mxfp8 is converted to bf16, C is"),
    ("h100_sxm", "bf16", "fp16", "tf32", "A in bf16 is converted to tf32, B in fp16 is converted to tf32"),
    ("h100_sxm", "int4", "int4", "int8", "A in int4 is converted to int8, B in int4 is converted to int8"),
    ("a100_sxm", "fp8", "fp8", "fp16", "A in fp8 is converted to fp16, B in fp8 is converted to fp16"),
    ("a100_sxm", "int8", "bf16", "bf16", "A in int8 is converted to bf16"),
    ("flat_cloud", "bf16", "nvfp4", "bf16", "B in nvfp4 is converted to bf16"),
]


@pytest.mark.parametrize(("machine", "dtype", "weights", "multiplied", "reason"), REASONS)
def test_the_report_says_what_is_converted(
    machine: str, dtype: str, weights: str, multiplied: str, reason: str
) -> None:
    found = run(Gemm(256, 256, 256, dtype=dtype, weight_dtype=weights), machine)
    assert found.formats["gemm"].startswith(reason)
    assert found.to_dict()["formats"] == found.formats
    assert found.actions[f"mac.{multiplied}"] == 256**3
    assert 0 < found.overall_utilization <= found.array_utilization <= found.mapping_utilization <= 1 + 1e-9
    assert found.energy_breakdown_j["mac"] > 0


REFUSED = [
    (
        "h100_sxm",
        {"dtype": "fp32"},
        "does not support fp32, only bf16, fp16, tf32, fp8, int8, and none holds its values",
    ),
    ("tpu_v4", {"weight_dtype": "fp16"}, "does not support bf16 with weights of fp16, only bf16, int8, and none"),
    ("h100_sxm", {"weight_dtype": "int3"}, "weight_dtype: read data type 'int3', allowed are"),
    ("h100_sxm", {"out_dtype": "fp7"}, "out_dtype: read data type 'fp7'"),
]


@pytest.mark.parametrize(("machine", "fields", "message"), REFUSED)
def test_what_cannot_run_is_told(machine: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(Gemm(64, 64, 64, **fields), machine)


def test_converted_operands_take_registers() -> None:
    wide = accsim.ThreadBlocks(128, 256, 1)  # its sums fill the half of the registers that they may have
    run(Gemm(256, 256, 256), "h100_sxm", wide)
    with pytest.raises(MappingError, match=r"needs 192 KiB in matrix_unit\.registers, has 128 KiB"):
        run(Gemm(256, 256, 256, weight_dtype="int4"), "h100_sxm", wide)


def test_bad_mixtures() -> None:
    for mixed, message in (
        ({"bf17": ["int8"]}, "bf17"),
        ({"bf16": ["int9"]}, "int9"),
        ({"fp32": ["int8"]}, "has no rate"),
    ):
        with pytest.raises(InputError, match=message):
            accsim.load_accelerator("systolic_128", set={"matrix_unit.mixed": mixed})


def test_sparse_weights_are_stored_compressed_and_converted_as_kept() -> None:
    op = Gemm(m=64, n=512, k=1024, weight_dtype="int4", sparsity="2:4")
    found = run(op, "h100_sxm", accsim.ThreadBlocks(64, 128, 1))
    assert found.traffic_bytes["hbm"]["read"] == pytest.approx(512 * 1024 * (4 + 2) / 2 / 8 + 64 * 1024 * 2)
    assert found.memory["weights"] == 512 * 1024 * (4 + 2) / 2 / 8
    assert found.actions["vector.convert"] == pytest.approx(op.n * op.k / 2 + op.m * op.n)
    dense_on_this = run(replace(op, weight_dtype=None, sparsity="2:6"), "h100_sxm")
    assert dense_on_this.memory["weights"] == 512 * 1024 * 2


@pytest.mark.parametrize(("weights", "bits"), [("int4", 4), ("mxfp4", 4.25), ("fp8", 8)])
def test_a_model_with_narrow_weights(weights: str, bits: float) -> None:
    """Llama 3 8B: 32 layers of 218,103,808 weights (Table 3), and a head of 128,256 x 4096 that stays in bf16."""
    load = accsim.load_workload(f"llama3_8b_decode?weight_dtype={weights}")
    assert load.weight_bytes - 32 * 2 * 4096 * 2 - 4096 * 2 == 32 * 218_103_808 * bits / 8 + 128_256 * 4096 * 2


# Laws

ops = st.builds(
    Gemm, m=st.integers(1, 400), n=st.integers(1, 500), k=st.integers(1, 900), batch=st.integers(1, 2),
)  # fmt: skip
ARRAY = accsim.OutputStationary(64, 128, 128, "mn", False, 1, 1)
ONE_MAPPING = {"systolic_128": ARRAY, "tpu_v4": ARRAY, "h100_sxm": accsim.ThreadBlocks(64, 64, 1)}
machines = st.sampled_from(sorted(ONE_MAPPING))


@settings(max_examples=5, deadline=None)
@given(ops, machines, st.sampled_from(["bf16", "int8"]))
def test_the_same_data_types_change_nothing(op: Gemm, name: str, dtype: str) -> None:
    if dtype not in accsim.load_accelerator(name).matrix_unit.rates:
        dtype = "bf16"
    plain, named = replace(op, dtype=dtype), replace(op, dtype=dtype, weight_dtype=dtype.upper(), out_dtype=dtype)
    assert named == plain
    one, other = run(plain, name), run(named, name)
    assert (one.total_cycles, one.actions, one.energy_j) == (other.total_cycles, other.actions, other.energy_j)


@settings(max_examples=12, deadline=None)
@given(ops, machines)
def test_fewer_bits_never_move_more_bytes_in_one_mapping(op: Gemm, name: str) -> None:
    mapping = ONE_MAPPING[name]
    main = accsim.load_accelerator(name).main_memory.name
    dtypes = ["int4", "mxfp4", "nvfp4", "fp8", "mxfp8", "bf16"]
    moved = [run(replace(op, weight_dtype=dtype), name, mapping).traffic_bytes[main]["read"] for dtype in dtypes]
    assert all(few <= many * (1 + 1e-12) for few, many in pairwise(moved))


@settings(max_examples=12, deadline=None)
@given(ops, st.sampled_from(["systolic_128", "h100_sxm"]), st.sampled_from(["int4", "mxfp4", "nvfp4", "hbfp8"]))
def test_conversion_is_never_free(op: Gemm, name: str, weights: str) -> None:
    """Where no memory makes it wait, a product with narrow weights takes longer and more energy of the vector unit."""
    acc = endless(name)
    plain, found = (run(one, acc, ONE_MAPPING[name]) for one in (op, replace(op, weight_dtype=weights)))
    assert found.total_cycles > plain.total_cycles
    assert found.actions["vector.convert"] >= plain.actions.get("vector.convert", 0) + op.n * op.k
    assert found.energy_breakdown_j["vector"] > plain.energy_breakdown_j.get("vector", 0)


@settings(max_examples=10, deadline=None)
@given(ops, machines, st.sampled_from(sorted(BITS)), st.sampled_from(sorted(BITS)))
def test_bytes_macs_and_bounds_hold_for_any_data_types(op: Gemm, name: str, weights: str, results: str) -> None:
    op = replace(op, weight_dtype=weights, out_dtype=results)
    found, bound = run(op, name), accsim.simulate(op, name, fidelity="analytic", power_cap=False)
    main = found.accelerator.main_memory.name
    assert sum(count for action, count in found.actions.items() if action.startswith("mac.")) == pytest.approx(op.macs)
    least = (op.rows * op.k * 16 + op.k * op.n * BITS[weights]) / 8
    assert found.traffic_bytes[main]["read"] >= least * (1 - 1e-9)
    assert bound.total_cycles <= found.total_cycles


# Convolutions and LSTM cells


CONV = Conv2d(64, 128, 28, 3, padding=1, batch=2)
FILTERS, RESULTS, MAP = 128 * 64 * 9, 2 * 28 * 28 * 128, 2 * 28 * 28 * 64


@pytest.mark.parametrize("weights", [name for name in BITS if name != "bf16"])
def test_filters_move_in_their_own_bits_and_are_converted_for_each_tile_of_pixels(weights: str) -> None:
    op = replace(CONV, weight_dtype=weights)
    assert op.weight_bytes == ceil(FILTERS * BITS[weights] / 8)
    mapping = accsim.WeightStationary(28 * 28, 128, 576, "nm", True, 1, 1)  # the filters of a tile of columns stay
    plain, found = (run(one, endless("systolic_128"), mapping) for one in (CONV, op))
    main = found.accelerator.main_memory.name
    saved = plain.traffic_bytes[main]["read"] - found.traffic_bytes[main]["read"]
    assert saved == pytest.approx(FILTERS * (16 - BITS[weights]) / 8)
    assert found.traffic_bytes[main]["write"] == RESULTS * 2
    assert found.actions["vector.convert"] == 2 * FILTERS
    assert found.actions.get("vector.multiply", 0) == (2 * FILTERS if BITS[weights] % 4 or "_g" in weights else 0)
    assert found.formats == {"conv2d": f"B in {weights} is converted to bf16"}
    assert found.memory["weights"] == op.weight_bytes
    assert found.total_cycles >= plain.total_cycles


def test_a_feature_map_is_converted_pixel_by_pixel_and_not_tap_by_tap() -> None:
    op = replace(CONV, dtype="int4", weight_dtype="int4")
    mapping = accsim.OutputStationary(28 * 28, 128, 576, "mn", False, 1, 1)
    found = run(op, accsim.load_accelerator("systolic_128", set={"matrix_unit.rates": {"bf16": 1}}), mapping)
    assert found.formats == {"conv2d": "A in int4 is converted to bf16, B in int4 is converted to bf16"}
    assert found.actions["vector.convert"] == MAP + 2 * FILTERS
    assert found.actions["mac.bf16"] == op.macs


def test_results_of_a_convolution_have_scales() -> None:
    for machine in ("systolic_128", "h100_sxm"):
        found = run(replace(CONV, out_dtype="mxfp8"), machine)
        expected = {"max": RESULTS, "multiply": RESULTS, "divide": RESULTS / 32, "convert": RESULTS * (1 + 1 / 32)}
        assert {name: found.actions[f"vector.{name}"] for name in expected} == pytest.approx(expected)
        assert found.traffic_bytes[found.accelerator.main_memory.name]["write"] == pytest.approx(RESULTS * 8.25 / 8)
        assert found.formats == {"conv2d": "C is quantized to mxfp8"}


@pytest.mark.parametrize("machine", ["h100_sxm", "tpu_v4", "flat_edge"])
@pytest.mark.parametrize("weights", ["int4_g128", "hbfp4"])
def test_a_convolution_of_one_tap_is_the_product_that_it_is(machine: str, weights: str) -> None:
    """One by one filters: the rows of A are the pixels."""
    conv = Conv2d(256, 512, 16, 1, batch=2, weight_dtype=weights, out_dtype="fp16")
    gemm = Gemm(16 * 16 * 2, 512, 256, weight_dtype=weights, out_dtype="fp16")
    mapping = accsim.WeightStationary(128, 256, 128, "mn", False, 1, 1)
    one, other = run(conv, machine, mapping), run(gemm, machine, mapping)
    assert one.total_cycles == other.total_cycles
    assert one.traffic_bytes == other.traffic_bytes
    assert one.energy_j == pytest.approx(other.energy_j)
    assert list(one.formats.values()) == list(other.formats.values())


@pytest.mark.parametrize("weights", ["int8", "int4_g64"])
@pytest.mark.parametrize("machine", ["h100_sxm", "systolic_128"])
def test_an_lstm_cell_is_its_product_and_its_gates(machine: str, weights: str) -> None:
    op = LstmCell(20, 300, 500, weight_dtype=weights, out_dtype="mxfp8")
    assert op.weight_bytes == ceil(800 * 2000 * BITS[weights] / 8)
    assert op.output_bytes == ceil(2 * 20 * 500 / 32) * 33
    assert op.input_bytes == 20 * (300 + 2 * 500) * 2
    parts = Gemm(20, 2000, 800, weight_dtype=weights), Elementwise(20 * 500, "lstm_gates", out_dtype="mxfp8")
    whole, product, gates = (run(one, machine) for one in (op, *parts))
    assert whole.total_cycles == product.total_cycles + gates.total_cycles
    assert whole.energy_j == pytest.approx(product.energy_j + gates.energy_j)
    results = 2 * 20 * 500
    assert gates.actions["vector.convert"] == pytest.approx(results + ceil(results / 32))
    assert gates.actions["vector.max"] == pytest.approx(results)
    assert whole.formats == {"lstm_cell": f"B in {weights} is converted to bf16"}


def test_the_same_data_types_change_nothing_there() -> None:
    for op in (CONV, LstmCell(20, 300, 500)):
        assert replace(op, weight_dtype="BF16", out_dtype="bfloat16") == op
    with pytest.raises(InputError) as caught:
        replace(CONV, weight_dtype="int3", out_dtype="fp7")
    assert [problem.path for problem in caught.value.problems] == ["Conv2d.weight_dtype", "Conv2d.out_dtype"]
    query = "conv2d?in_channels=8&out_channels=8&height=9&kernel=3&weight_dtype=int4&out_dtype=fp8"
    read = accsim.load_workload(query).entries[0].op
    assert isinstance(read, Conv2d)
    assert read.operand_dtypes == ("bf16", "int4", "fp8")
    cell = accsim.load_workload("lstm_cell?batch=2&input_size=8&hidden_size=8&weight_dtype=int8").entries[0].op
    assert isinstance(cell, LstmCell)
    assert cell.operand_dtypes == ("bf16", "int8", "bf16")

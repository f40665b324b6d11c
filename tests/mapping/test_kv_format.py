"""Keys and values in a data type of their own: bytes, conversions and times by hand in every dataflow, and laws."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim import Accelerator, Attention, Report
from accsim.errors import InputError

BITS = {"bf16": 16.0, "fp8": 8.0, "int8": 8.0, "int4": 4.0, "mxfp4": 4 + 8 / 32}
BITS |= {"int4_g32": 4 + 32 / 32, "int4_g64": 4 + 32 / 64, "int4_g128": 4 + 32 / 128}
"""Bits of an element with its share of a scale and a zero point."""

SCALED = ("mxfp4", "int4_g32", "int4_g64", "int4_g128")
FAST = "1000000 TB/s"

OP = Attention(batch=2, heads=8, kv_heads=2, q_len=64, kv_len=256, head_dim=64)
GROUPS, ROWS = 4, 64 * 4
ELEMENTS = GROUPS * 256 * 128
"""Elements of all keys and values."""

BIG = {"memories.sg.capacity": "64 MiB"}
ONCE: dict[str, Any] = {
    "interleaved": accsim.Flash(ROWS, 64, False, "output_stationary"),
    "pipelined": accsim.Flash(ROWS, 64, True, "weight_stationary"),
    "one block": accsim.Flash(ROWS, 256, True, "output_stationary"),
    "ping_pong": accsim.Flash(ROWS, 64, None, "output_stationary", execution="ping_pong"),
    "two kernels": accsim.Flash(ROWS, 64, False, "output_stationary", split_kv=2),
    "flat, all stays": accsim.Flat("row", 32, 64, "qkvo", False, "output_stationary"),
    "flat, pipelined": accsim.Flat("row", ROWS, 64, "qo", True, "output_stationary"),
    "flat, two passes": accsim.Flat("row", ROWS, 64, "qo", True, "output_stationary", softmax="two_pass"),
    "flat, spilled": accsim.Flat("row", ROWS, 64, "qo", True, "output_stationary", spill=2),
    "flat, spilled and alone": accsim.Flat("row", ROWS, 64, "qkvo", False, "output_stationary", spill=2),
    "flat, a sequence": accsim.Flat("batch", None, 64, "qkvo", False, "output_stationary"),
    "flash1": accsim.Flash1(32, 64, "output_stationary"),
    "fusemax": accsim.FuseMax(ROWS, 2),
}
"""Mappings on one core in which every key and value comes from main memory once."""


def run(op: Attention, acc: Accelerator | str, dataflow: Any = None) -> Report:
    return accsim.simulate(op, acc, dataflow=dataflow, power_cap=False)


def main(report: Report) -> dict[str, float]:
    return report.traffic_bytes[report.accelerator.main_memory.name]


def more(kv: Report, plain: Report, action: str) -> float:
    return kv.actions.get(action, 0.0) - plain.actions.get(action, 0.0)


def endless(name: str, **changes: Any) -> Accelerator:
    """A machine whose memories never make it wait."""
    found: dict[str, Any] = {}
    for memory in accsim.load_accelerator(name).memories:
        found[f"memories.{memory.name}.latency"] = "0 ns"
        found |= {f"memories.{memory.name}.{way}_bandwidth": FAST for way in ("read", "write")}
    return accsim.load_accelerator(name, set=found | changes)


# Bytes and conversions


@pytest.mark.parametrize("kv_dtype", [name for name in BITS if name not in ("bf16", "fp8")])
@pytest.mark.parametrize("mapping", ONCE)
def test_keys_and_values_move_in_their_own_bits_and_are_converted_once(mapping: str, kv_dtype: str) -> None:
    acc = accsim.load_accelerator("flat_edge", set=BIG)
    plain, found = (run(op, acc, ONCE[mapping]) for op in (OP, replace(OP, kv_dtype=kv_dtype)))
    assert main(found)["write"] == main(plain)["write"]
    assert main(plain)["read"] - main(found)["read"] == pytest.approx(ELEMENTS * (16 - BITS[kv_dtype]) / 8)
    assert more(found, plain, "vector.convert") == pytest.approx(ELEMENTS)
    assert more(found, plain, "vector.multiply") == pytest.approx(ELEMENTS if kv_dtype in SCALED else 0)
    # at the local memory they arrive in their own bits, are read again, and written in bf16
    here = acc.memories[0].name
    bits = {way: more(found, plain, f"{way}.{here}") * 8 for way in ("read", "write")}
    assert bits["read"] == pytest.approx(ELEMENTS * BITS[kv_dtype])
    assert bits["write"] == pytest.approx(ELEMENTS * BITS[kv_dtype])
    assert found.memory["kv_cache"] == ELEMENTS * BITS[kv_dtype] / 8
    assert found.actions["mac.bf16"] == pytest.approx(plain.actions["mac.bf16"])
    assert found.formats == {"attention": f"keys and values in {kv_dtype} are converted to bf16"}


@pytest.mark.parametrize("kv_dtype", ["fp8", "int8", "int4", "int4_g64"])
@pytest.mark.parametrize("pipeline", [False, True])
@pytest.mark.parametrize("split", [1, 4])
def test_thread_blocks_convert_into_registers(kv_dtype: str, pipeline: bool, split: int) -> None:
    mapping = accsim.Flash(64, 64, pipeline, split_kv=split)  # 4 row tiles of each group: the L2 has the keys for 3
    plain, found = (run(op, "h100_sxm", mapping) for op in (OP, replace(OP, kv_dtype=kv_dtype)))
    tiles = ROWS // 64
    assert main(plain)["read"] - main(found)["read"] == pytest.approx(ELEMENTS * (16 - BITS[kv_dtype]) / 8)
    assert more(found, plain, "vector.convert") == pytest.approx(tiles * ELEMENTS)
    assert more(found, plain, "vector.multiply") == pytest.approx(tiles * ELEMENTS if kv_dtype in SCALED else 0)
    less = tiles * ELEMENTS * (16 - BITS[kv_dtype]) / 8
    assert more(plain, found, "write.smem") == pytest.approx(less)
    assert more(plain, found, "read.smem") == pytest.approx(less)
    assert more(plain, found, "read.l2") == pytest.approx(less)


@pytest.mark.parametrize("kv_dtype", ["int8", "mxfp4"])
@pytest.mark.parametrize("machine", ["flat_edge", "h100_sxm"])
def test_unfused_products_take_them_as_their_second_operand(machine: str, kv_dtype: str) -> None:
    plain, found = (run(op, machine, "unfused") for op in (OP, replace(OP, kv_dtype=kv_dtype)))
    logit, attend = found.ops[0].mapping.logit, found.ops[0].mapping.attend  # type: ignore[attr-defined]
    fixed = accsim.Unfused(logit, found.ops[0].mapping.softmax, attend)  # type: ignore[attr-defined]
    plain = run(OP, machine, fixed)
    again = (main(plain)["read"] - main(found)["read"]) * 8 / (16 - BITS[kv_dtype]) / ELEMENTS
    assert again >= 1 - 1e-9
    assert more(found, plain, "vector.convert") >= ELEMENTS * (1 - 1e-9)
    assert found.formats


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "mapping",
    [
        accsim.Flash(48, 40, True, "output_stationary"),
        accsim.Flash(48, 40, None, "output_stationary", execution="ping_pong"),
        accsim.Flat("row", 48, 40, "qo", False, "output_stationary"),
    ],
    ids=["flash2", "flash3", "flat"],
)
def test_every_row_tile_converts_the_blocks_that_it_sees(mapping: Any, causal: bool) -> None:
    """Ragged tiles of 48 rows, which are 12 positions, and blocks of 40 keys, whole ones under a mask."""
    op = replace(OP, causal=causal)
    found, plain = (run(one, "flat_edge", mapping) for one in (replace(op, kv_dtype="int8"), op))
    keys = 0
    for last in range(OP.q_len, 0, -12):  # from the last position of a tile on
        seen = OP.kv_len - OP.q_len + last if causal else OP.kv_len
        keys += ceil(seen / 40) * 40 if causal else seen
    assert more(found, plain, "vector.convert") == pytest.approx(GROUPS * keys * 128)


@pytest.mark.parametrize("machine", ["flat_edge", "h100_sxm", "tpu_v4"])
def test_sequences_of_different_lengths(machine: str) -> None:
    op = Attention(heads=8, kv_heads=2, head_dim=64, q_len=1, kv_lens=(1024, 320, 64))
    found, plain = (
        run(one, machine, accsim.Flash(block_kv=32, split_kv=1)) for one in (replace(op, kv_dtype="int4_g64"), op)
    )
    elements = 2 * (1024 + 320 + 64) * 128
    assert op.kv_bytes == 2 * elements
    assert found.memory["kv_cache"] == ceil(elements * 4.5 / 8)
    queries = 3 * 8 * 64 * 2
    assert main(found)["read"] == pytest.approx(queries + elements * 4.5 / 8)
    assert more(found, plain, "vector.multiply") >= elements


def test_keys_that_are_values_too() -> None:
    """Multi-query attention on a latent, as DeepSeek-V2 decodes: one tensor, converted once on an array."""
    op = Attention(batch=4, heads=16, q_len=1, kv_len=512, head_dim=576, kv_heads=1, v_dim=512, shared_kv=True)
    elements = 4 * 512 * 576
    for mapping in (accsim.Flash(16, 64, True, "output_stationary"), accsim.Flat("row", 16, 64, "qkvo", False)):
        acc = accsim.load_accelerator("flat_edge", set=BIG)
        plain, found = (run(one, acc, mapping) for one in (op, replace(op, kv_dtype="int8")))
        assert main(plain)["read"] - main(found)["read"] == pytest.approx(elements)
        assert more(found, plain, "vector.convert") == pytest.approx(elements)
    # a thread block takes fragments of them into registers for Logit and again, without the rest, for Attend
    mapping = accsim.Flash(16, 64, False, split_kv=1)
    plain, found = (run(one, "h100_sxm", mapping) for one in (op, replace(op, kv_dtype="int8")))
    assert more(found, plain, "vector.convert") == pytest.approx(4 * 512 * (576 + 512))


# Times


@pytest.mark.parametrize(("kv_dtype", "operations"), [("fp8", 2), ("int4", 2), ("int4_g64", 3)])
def test_conversions_of_a_thread_block_take_their_turn(kv_dtype: str, operations: int) -> None:
    """Few lanes, endless memories: a thread block's conversions, products and softmax follow one another."""
    acc = endless("h100_sxm", **{"vector_unit.lanes": 16})
    op = Attention(batch=acc.cores, heads=16, kv_heads=1, q_len=1, kv_len=32 * 128, head_dim=128, kv_dtype=kv_dtype)
    found = run(op, acc, accsim.Flash(16, 128, False, split_kv=1))
    convert = 128 * 128 * operations / 16
    softmax = (16 * 128 * (1 + 8 + 1) + 16 * 128) / 16  # max, exp, add; outputs rescaled
    product = 16 * 128 * 128 / 2048
    finish = 16 * 128 * (9 + 2) / 16
    whole = 32 * (2 * convert + softmax + product) + product + finish  # Attend runs beside the next conversion
    assert found.ops[0].parts[0].counters.total_ticks / 4096 == pytest.approx(whole, rel=1e-3)


@pytest.mark.parametrize(("kv_dtype", "operations"), [("int8", 1), ("int4_g64", 2)])
def test_conversions_of_an_array_run_beside_products(kv_dtype: str, operations: int) -> None:
    """The lanes' work bounds the time from below, and but for a start and an end from above."""
    acc = endless("flat_edge", **{"memories.sg.capacity": "64 MiB"})
    op = Attention(batch=1, heads=8, q_len=32, kv_len=64 * 64, head_dim=64, kv_dtype=kv_dtype)
    found = run(op, acc, accsim.Flash(32, 64, True, "output_stationary"))
    each = 64 * 128 * operations + 32 * 64 * 3 + 32 * 64  # a block of keys: conversions, softmax, rescaled outputs
    lanes = 8 * (64 * each + 32 * 64 * 2) / 32  # a divide and a conversion of each output at the end
    block = 2 * (2 * 2 * 64 + 3 * 32)  # Logit and Attend of four folds of 32 x 32, filled and drained
    assert lanes <= found.total_cycles <= lanes + 8 * (each / 32 + 4 * block)
    assert found.bound_by.startswith("vector")


@pytest.mark.parametrize("kv_dtype", ["bf16", "fp8", "int4_g64"])
def test_decoding_a_long_context_on_a_gpu_takes_the_time_of_its_bytes(kv_dtype: str) -> None:
    op = Attention(batch=64, heads=32, kv_heads=8, q_len=1, kv_len=16384, head_dim=128, kv_dtype=kv_dtype)
    found = run(op, "h100_sxm")
    acc = found.accelerator
    size = 64 * 8 * 16384 * 256 * BITS[kv_dtype] / 8
    assert main(found)["read"] == pytest.approx(size + 64 * 32 * 128 * 2, rel=1e-9)
    assert found.latency_s == pytest.approx(size / acc.main_memory.usable_read_bytes_per_s, rel=0.08)
    assert found.bound_by.startswith("hbm")


# Formats that the matrix unit takes


def test_mixtures_that_the_unit_takes_are_not_converted() -> None:
    op = replace(OP, kv_dtype="fp8")
    for mapping in (accsim.Flash(64, 64, True), accsim.Flat("row", 64, 64, "qkvo", False), accsim.FuseMax(256, 2)):
        plain, found = (run(one, "tpu_v5e", mapping) for one in (OP, op))
        assert more(found, plain, "vector.convert") == 0
        assert found.formats == {"attention": "keys and values in fp8 are multiplied with bf16 as they are"}
        assert found.actions["mac.bf16"] == plain.actions["mac.bf16"]
        here = found.accelerator.memories[0].name
        assert more(plain, found, f"write.{here}") > 0
        assert more(plain, found, f"read.{here}") > 0
        assert found.total_cycles <= plain.total_cycles
    assert run(replace(OP, kv_dtype="int8"), "tpu_v4", "flash").formats["attention"].endswith("bf16 as they are")


def test_narrower_queries_meet_narrower_keys() -> None:
    """int4 keys and values under int8 queries become int8, at its rate."""
    found = run(replace(OP, dtype="int8", kv_dtype="int4"), "h100_sxm", "flash")
    assert found.formats == {"attention": "keys and values in int4 are converted to int8"}
    assert found.actions["mac.int8"] > 0


@pytest.mark.parametrize(
    ("machine", "fields", "message"),
    [
        ("h100_sxm", {"kv_dtype": "fp7"}, "kv_dtype: read data type 'fp7', allowed are"),
        ("h100_sxm", {"dtype": "fp8", "kv_dtype": "bf16"}, "keys and values in bf16 neither with fp8 nor as fp8"),
        ("h100_sxm", {"dtype": "int8", "kv_dtype": "fp8"}, "'attention': h100_sxm multiplies keys and values in fp8"),
        ("tpu_v4", {"kv_dtype": "fp16"}, "none holds the values of both"),
        ("flat_edge", {"dtype": "fp32", "kv_dtype": "int8"}, "does not support fp32"),
    ],
)
@pytest.mark.parametrize("dataflow", ["flash", "flat", None])
def test_what_cannot_run_is_told(machine: str, fields: dict[str, Any], message: str, dataflow: Any) -> None:
    with pytest.raises(InputError, match=message):
        run(replace(OP, **fields), machine, dataflow)


# Laws


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(["interleaved", "pipelined", "ping_pong", "flat, all stays", "flash1", "fusemax"]),
    st.integers(1, 3), st.integers(1, 64), st.integers(16, 300), st.sampled_from([32, 64]),
)  # fmt: skip
def test_fewer_bits_move_fewer_bytes_and_conversions_cost_time(
    mapping: str, batch: int, q_len: int, kv_len: int, head_dim: int
) -> None:
    op = Attention(batch=batch, heads=4, q_len=q_len, kv_len=kv_len, head_dim=head_dim)
    try:
        same = run(replace(op, kv_dtype="bf16"), "flat_edge", ONCE[mapping])
    except accsim.errors.MappingError:
        return
    assert same.total_cycles == run(op, "flat_edge", ONCE[mapping]).total_cycles
    found = [run(replace(op, kv_dtype=name), "flat_edge", ONCE[mapping]) for name in ("int8", "int4_g64", "int4")]
    for wide, narrow in pairwise([same, *found]):
        assert main(narrow)["read"] < main(wide)["read"]
    assert all(more(one, same, "vector.convert") >= batch * 4 * kv_len * 2 * head_dim - 0.5 for one in found)
    quick = endless("flat_edge")
    assert (
        run(replace(op, kv_dtype="int8"), quick, ONCE[mapping]).total_cycles
        >= run(op, quick, ONCE[mapping]).total_cycles
    )


def test_searched_mappings_fit_and_the_two_fidelities_agree_on_order() -> None:
    for machine in ("flat_edge", "tpu_v4", "h100_sxm"):
        op = replace(OP, kv_dtype="int4_g128", causal=True, kv_len=64)
        tile = run(op, machine)
        analytic = accsim.simulate(op, machine, dataflow=tile.ops[0].mapping, fidelity="analytic", power_cap=False)
        assert analytic.total_cycles <= tile.total_cycles


# Workloads


@pytest.mark.parametrize(("kv_dtype", "bits"), [("bf16", 16), ("fp8", 8), ("int8", 8), ("int4_g64", 4.5)])
def test_a_decoder_keeps_its_cache_in_the_data_type_asked_for(kv_dtype: str, bits: float) -> None:
    found = accsim.simulate(f"llama3_8b_decode?kv_dtype={kv_dtype}", "h100_sxm")
    cache = 32 * 16 * 2048 * 2 * 8 * 128  # layers, sequences, positions; keys and values of 8 heads of 128
    assert found.memory["kv_cache"] == cache * bits / 8
    append = next(row for row in found.ops if "kv_append" in row.names).op
    assert append.input_bytes == 16 * 2 * 8 * 128 * 2
    assert append.output_bytes == ceil(16 * 2 * 8 * 128 * bits / 8)
    assert ("convert" in append.vector_ops) == (kv_dtype != "bf16")


@pytest.mark.parametrize("model", ["gpt3_175b_decode", "deepseek_v2_lite_decode", "deepseek_v2_lite_prefill"])
def test_other_decoders_do_too(model: str) -> None:
    if model not in accsim.list_workloads():
        model = next(name for name in accsim.list_workloads() if name.startswith(model.split("_")[0]))
    plain, found = (accsim.load_workload(f"{model}?kv_dtype={kv}") for kv in ("bf16", "fp8"))
    for one, other in zip(plain.entries, found.entries, strict=True):
        if isinstance(one.op, Attention) and isinstance(other.op, Attention):
            assert other.op.cached_bytes * 2 == one.op.cached_bytes
            made = one.op.latent_dim is not None  # keys and values made from the latent have the op's data type
            assert other.op.kv_bytes * (1 if made else 2) == one.op.kv_bytes
        elif one.op.name.endswith("kv_append"):
            assert other.op.output_bytes * 2 == one.op.output_bytes


def test_files_queries_and_tables_take_it(tmp_path: Any) -> None:
    query = "attention?heads=8&q_len=1&kv_len=512&head_dim=64&batch=2&kv_dtype=INT4_G64"
    op = accsim.load_workload(query).entries[0].op
    assert isinstance(op, Attention)
    assert (op.kv_dtype, op.key.to_dict()["kv_dtype"]) == ("int4_g64", "int4_g64")
    assert replace(op, kv_dtype="BF16").kv_dtype is None
    table = tmp_path / "trace.csv"
    table.write_text("op,batch,heads,q_len,kv_len,head_dim,kv_dtype\nattention,2,8,1,512,64,int4_g64\n")
    assert accsim.load_workload(str(table)).entries[0].op.key == op.key


def test_quantizing_the_new_keys_costs_what_quantizing_results_does() -> None:
    op = accsim.Elementwise(4096, "copy", out_dtype="int4_g64")
    assert (op.input_bytes, op.output_bytes) == (8192, 4096 * 4.5 / 8)
    # the least and the largest of each group, one scale of it, all codes
    assert dict(op.vector_ops) == {"max": 2 * 4096, "divide": 64, "multiply": 4096, "convert": 4096 + 64}
    assert dict(accsim.Elementwise(4096, "copy", out_dtype="fp8").vector_ops) == {"convert": 4096}
    assert dict(accsim.Elementwise(4096, "copy", out_dtype="mxfp8").vector_ops)["max"] == 4096

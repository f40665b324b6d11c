"""Layouts of the local memory in whole simulations: times by hand, and what a layout may and may not change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim.config.machine import Accelerator
from accsim.engine.program import Varying
from accsim.mapping.gemm import FORMS, Stationary
from accsim.workload.ops import Attention, Gemm, Op

TICKS = 4096


def banked(name: str, **fields: str) -> Accelerator:
    """A shipped machine with other fields of its first memory."""
    memory = accsim.load_accelerator(name).memories[0].name
    return accsim.load_accelerator(name, set={f"memories.{memory}.{key}": value for key, value in fields.items()})


def whole(form: str, op: Gemm) -> Stationary:
    """The mapping whose one tile is the whole GEMM."""
    return FORMS[form](op.rows, op.n, op.k, "mn", False, 1, 1)


def port_cycles(op: Op, acc: Accelerator, mapping: Any, stage: str, way: str) -> float:
    """How long the first firing of a stage holds a port of the local memory."""
    (step,) = mapping.steps(op, acc)
    amount = dict(step.program.stage(stage).rates)[f"{acc.memories[0].name}_{way}"]
    return (amount.values.flat[0] if isinstance(amount, Varying) else amount) / TICKS


# systolic_128 reads 512 bytes a cycle: 128 banks of 4 bytes. A row of 1024 bf16 is 512 words, so all rows begin in one
# bank; one of 1026 is 513, so 128 rows begin in all; one of 1040 is 520, 8 times an odd number, so they begin in 16.
ROWS = {1024: 128, 1026: 1, 1040: 8}


@pytest.mark.parametrize(("k", "slower"), ROWS.items())
def test_columns_of_a_row_after_row_tile_take_as_long_as_its_pitch_makes_them(k: int, slower: int) -> None:
    # Output stationary takes 128 rows of A at once, and B along its rows: A and B are 2 x 128 x k bytes each.
    op = Gemm(128, 128, k)
    mapping = whole("output_stationary", op)
    skewed, linear = banked("systolic_128", banks="128"), banked("systolic_128", banks="128", layout="linear")
    operand = 2 * 128 * k / 512
    assert port_cycles(op, skewed, mapping, "matmul", "read") == 2 * operand
    assert port_cycles(op, linear, mapping, "matmul", "read") == slower * operand + operand

    fast, slow = (accsim.simulate(op, acc, dataflow=mapping) for acc in (skewed, linear))
    array = k + 2 * 128 + 128 - 2
    held = max(0, (slower + 1) * operand - array)
    assert slow.total_cycles - fast.total_cycles == held
    assert slow.stalls["matrix"].get("held:sram_read", 0) == held
    assert slow.traffic_bytes == fast.traffic_bytes


# Without conflicts A and B take 64 cycles each of the read port, C 128 of the write port. Every row is 64 words long,
# so 128 rows begin in two banks: 64 cycles instead of one on the read port of 128 words, and instead of two on the
# write port of 64. Weight stationary takes all along the rows; output stationary A across; input stationary all three.
@pytest.mark.parametrize(
    ("form", "read", "write"),
    [
        ("weight_stationary", 64 + 64, 128),
        ("output_stationary", 64 * 64 + 64, 128),
        ("input_stationary", 64 * 64 + 64 * 64, 32 * 128),
    ],
)
def test_the_stationary_form_decides_which_operands_wait(form: str, read: int, write: int) -> None:
    op, linear = Gemm(128, 128, 128), banked("systolic_128", banks="128", layout="linear")
    assert port_cycles(op, linear, whole(form, op), "matmul", "read") == read
    assert port_cycles(op, linear, whole(form, op), "matmul", "write") == write


def edge_of_one_bank_a_column() -> Accelerator:
    """flat_edge with 32 banks of 4 bytes at 128 bytes a cycle: words of rows of 64 bf16 below each other meet."""
    return accsim.load_accelerator(
        "flat_edge",
        set={
            "clock": "1 GHz",
            "memories.sg.read_bandwidth": "128 GB/s",
            "memories.sg.write_bandwidth": "128 GB/s",
            "memories.sg.banks": "32",
            "memories.sg.layout": "linear",
        },
    )


def test_keys_lie_along_the_head_dimension() -> None:
    # Logit takes 32 rows of Q at once and 32 rows of K, which are 64 bf16 = 32 words long: all in one bank. Attend
    # takes rows of 64 scores, as long, but V along its rows.
    acc = edge_of_one_bank_a_column()
    op = Attention(batch=1, heads=1, q_len=32, kv_len=64, head_dim=64)
    mapping = accsim.Flat(rows=32, block_kv=64, staged="qo", pipelined=False, stationary="output_stationary", spill=0)
    q, k, scores, v = 2 * 32 * 64, 2 * 64 * 64, 2 * 32 * 64, 2 * 64 * 64
    assert port_cycles(op, acc, mapping, "logit", "read") == 32 * (2 * q + k) / 128
    assert port_cycles(op, acc, mapping, "attend", "read") == (32 * 2 * scores + v) / 128


def test_halves_of_a_tile_wait_as_whole_tiles_do() -> None:
    # A half has 32 rows. Those of Q, K and scores are 64 bf16 and meet in a bank; V and the fp32 sums come along rows.
    acc = edge_of_one_bank_a_column()
    op = Attention(batch=1, heads=1, q_len=64, kv_len=64, head_dim=64)
    mapping = accsim.Flash(64, 64, stationary="output_stationary", execution="ping_pong")
    q, k, scores, v, sums = 2 * 32 * 64, 2 * 64 * 64, 2 * 32 * 64, 2 * 64 * 64, 4 * 32 * 64
    for half in ("a", "b"):
        assert port_cycles(op, acc, mapping, f"logit_{half}", "read") == 32 * (2 * q + k) / 128
        assert port_cycles(op, acc, mapping, f"attend_{half}", "read") == (32 * 2 * scores + v + sums) / 128


def test_fusemax_takes_keys_queries_and_values_across_their_rows() -> None:
    # A tile is 32 keys and 32 queries. Rows of 64 bf16 meet in a bank; a partial output leaves along its column.
    acc = edge_of_one_bank_a_column()
    op = Attention(batch=1, heads=1, q_len=64, kv_len=64, head_dim=64)
    mapping, rows = accsim.FuseMax(64, 1), 2 * 32 * 64
    assert port_cycles(op, acc, mapping, "logit", "read") == 32 * (rows + rows) / 128
    assert port_cycles(op, acc, mapping, "attend", "read") == 32 * rows / 128
    assert port_cycles(op, acc, mapping, "attend", "write") == rows / 128


def test_a_block_of_a_tensor_core_takes_from_as_many_rows_as_it_has() -> None:
    # h100_sxm: 8 x 4 x 16 blocks, 32 banks of 4 bytes a cycle. Without swizzling, rows of 64 bf16 begin in one bank: 8
    # rows of A take 8 cycles, as 8 rows of 16 bytes do that lie 128 bytes apart, and 16 rows of B take 16.
    op = Gemm(64, 64, 64)
    linear = banked("h100_sxm", layout="linear")
    mapping = whole("output_stationary", op)
    operand = 2 * 64 * 64 / 128
    assert port_cycles(op, linear, mapping, "matmul", "read") == pytest.approx(8 * operand + 16 * operand, rel=1e-6)


def test_conflicts_are_hidden_behind_a_port_that_is_narrower_than_the_banks() -> None:
    # Rows of 16 words: 128 of them lie in 8 of 128 banks, 16 in each, and a port of 8 words takes 16 cycles anyhow.
    op = Gemm(128, 128, 32)
    mapping = whole("output_stationary", op)
    fields = {"banks": "128", "bank_width": "4 B", "read_bandwidth": "32 GB/s", "write_bandwidth": "32 GB/s"}
    skewed, linear = banked("systolic_128", **fields), banked("systolic_128", layout="linear", **fields)
    assert (
        accsim.simulate(op, linear, dataflow=mapping).total_cycles
        == accsim.simulate(op, skewed, dataflow=mapping).total_cycles
    )


def test_more_banks_of_the_same_width_never_make_it_slower() -> None:
    op = Gemm(256, 256, 256)
    fields = {"bank_width": "4 B", "read_bandwidth": "64 GB/s", "write_bandwidth": "64 GB/s", "layout": "linear"}
    for form in FORMS:
        cycles = [
            accsim.simulate(
                op, banked("systolic_128", banks=str(16 * 2**power), **fields), dataflow=whole(form, op)
            ).total_cycles
            for power in range(5)
        ]
        assert cycles == sorted(cycles, reverse=True)
        assert (cycles[0] > cycles[-1]) == (form != "weight_stationary")


MAPPINGS: list[tuple[str, Any]] = [
    *(("gemm", form) for form in FORMS.values()),
    *(("attention", dataflow) for dataflow in ("unfused", "flat", "flash1", "flash2", "flash3")),
]
OPS: dict[str, Op] = {
    "gemm": Gemm(96, 80, 160),
    "attention": Attention(batch=2, heads=2, q_len=1024, kv_len=512, head_dim=64),
}


@pytest.mark.parametrize("name", ["flat_edge", "systolic_128", "tpu_v4", "h100_sxm"])
@pytest.mark.parametrize(("kind", "dataflow"), MAPPINGS)
def test_a_linear_layout_moves_the_same_bytes_and_is_never_faster(name: str, kind: str, dataflow: Any) -> None:
    flow = dataflow if isinstance(dataflow, str) else dataflow()
    fast = accsim.simulate(OPS[kind], banked(name, banks="64"), dataflow=flow)
    linear = banked(name, banks="64", layout="linear")
    same, bound = (
        accsim.simulate(OPS[kind], linear, dataflow=fast.ops[0].mapping, fidelity=fidelity)
        for fidelity in ("tile", "analytic")
    )
    best = accsim.simulate(OPS[kind], linear, dataflow=flow)
    assert fast.total_cycles <= best.total_cycles <= same.total_cycles
    assert bound.total_cycles <= same.total_cycles
    assert same.traffic_bytes == fast.traffic_bytes


@given(
    m=st.integers(1, 200), n=st.integers(1, 200), k=st.integers(1, 200), form=st.sampled_from(sorted(FORMS)),
    banks=st.integers(1, 70), shared=st.booleans(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_no_product_is_faster_in_a_linear_layout(m: int, n: int, k: int, form: str, banks: int, shared: bool) -> None:
    op = Gemm(m, n, k)
    fields = {"banks": str(banks), "shared_bandwidth": str(shared).lower()}
    fast, slow = (
        accsim.simulate(op, banked("systolic_128", layout=layout, **fields), dataflow=whole(form, op))
        for layout in ("skewed", "linear")
    )
    assert fast.total_cycles <= slow.total_cycles
    assert slow.traffic_bytes == fast.traffic_bytes

"""Softmax, norms and element-wise ops: work, bytes and time by closed forms."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim.engine.run import run_program
from accsim.workload.ops import Elementwise, Embedding, EmbeddingBag, Norm, Op, Pool2d, Softmax

FAST = "1000000 TB/s"


@st.composite
def vector_ops(draw: st.DrawFn) -> Op:
    rows, cols = draw(st.integers(1, 300)), draw(st.integers(1, 500))
    kind = draw(
        st.sampled_from(("softmax", "layer", "rms", "gelu", "add", "copy", "lstm_gates", "pool", "embedding", "bag"))
    )
    if kind == "pool":
        return Pool2d(cols, draw(st.integers(3, 20)), 3, stride=2, padding=1, function="average")
    if kind == "embedding":
        return Embedding(rows, cols, vocab=1000)
    if kind == "bag":
        return EmbeddingBag(rows, rows * draw(st.integers(1, 9)), cols, vocab=1000)
    if kind == "softmax":
        return Softmax(rows, cols)
    if kind in ("layer", "rms"):
        return Norm(rows, cols, function=kind)
    return Elementwise(rows * cols, kind)


@given(op=vector_ops(), machine=st.sampled_from(accsim.list_accelerators()), chunk=st.none() | st.integers(1, 5000))
@settings(max_examples=40)
def test_work_and_bytes(op: Op, machine: str, chunk: int | None) -> None:
    rep = accsim.simulate(op, machine, dataflow=accsim.Streamed(chunk))
    done = {name.removeprefix("vector."): n for name, n in rep.actions.items() if name.startswith("vector.")}
    # A softmax whose rows come in blocks takes each score twice, and subtracts and exponentiates it both times.
    again = op.rows * op.cols if isinstance(op, Softmax) and chunk and chunk < op.cols else 0
    expected = {name: n for name, n in op.vector_ops.items() if n}
    if again:
        assert chunk is not None
        expected |= {"exp": 2 * again, "rescale": op.rows * ceil(op.cols / chunk)}
    assert done == pytest.approx(expected, rel=1e-9)
    main = rep.traffic_bytes[rep.accelerator.main_memory.name]
    assert main["write"] == pytest.approx(op.output_bytes, rel=1e-9)
    assert main["read"] == pytest.approx(op.input_bytes + op.weight_bytes + 2 * again, rel=1e-9)
    assert rep.macs == 0
    # Never free: at least as long as the lanes of all cores need.
    acc = rep.accelerator
    lane_cycles = sum(n * acc.vector_unit.cycles_per_element[name] for name, n in op.vector_ops.items())
    assert rep.total_cycles >= lane_cycles / (acc.vector_unit.lanes * acc.cores) * (1 - 1e-9)
    assert rep.latency_s >= (main["read"] + main["write"]) / (2 * acc.main_memory.read_bytes_per_s)


@given(rows=st.integers(1, 40), cols=st.integers(2, 300), chunk=st.integers(1, 299))
@settings(max_examples=30)
def test_rows_in_blocks_run_the_same_with_and_without_the_jump(rows: int, cols: int, chunk: int) -> None:
    acc = accsim.load_accelerator("tpu_v4")
    (step,) = accsim.Streamed(min(chunk, cols - 1)).steps(Softmax(rows, cols), acc)
    assert run_program(step.program) == run_program(step.program, jump=False)
    own = ceil(rows / 2)
    assert run_program(step.program).fires["reduce"] == own * ceil(cols / min(chunk, cols - 1))


def test_rows_in_blocks_take_five_operations_a_score() -> None:
    # Two blocks of 512 scores a row and memories that never wait: max, exp and sum of a block, and one rescale, on 32
    # lanes; then exp and divide. What shows beside is less than a cycle for each of the 64 rows.
    faster = {f"memories.{m}.{way}_bandwidth": FAST for m in ("sg", "dram") for way in ("read", "write")}
    acc = accsim.load_accelerator("flat_edge", set=faster | {"memories.dram.latency": "0 ns"})
    cycles = accsim.simulate(Softmax(64, 1024), acc, dataflow=accsim.Streamed(512)).total_cycles
    work = 64 * (5 * 1024 + 2) / 32
    assert work <= cycles <= work + 64


def test_a_row_that_does_not_fit_comes_in_blocks() -> None:
    # 2^20 scores of 2 bytes are four times the 512 KiB of flat_edge. Each comes twice and leaves once.
    rep = accsim.simulate(Softmax(4, 2**20), "flat_edge")
    assert rep.traffic_bytes["dram"] == {"read": 2 * 2 * 4 * 2**20, "write": 2 * 4 * 2**20}
    work = 5 * 4 * 2**20 / 32
    assert work <= rep.total_cycles <= 1.1 * work
    assert accsim.simulate(Softmax(4, 2**20), "flat_edge", fidelity="analytic").total_cycles <= rep.total_cycles
    fits = accsim.simulate(Softmax(4, 2**15), "flat_edge")
    assert fits.traffic_bytes["dram"]["read"] == 2 * 4 * 2**15


@pytest.mark.parametrize("rows", [1, 2**10, 2**26])
def test_a_row_that_fits_is_found_among_however_many(rows: int) -> None:
    # 65536 scores of 2 bytes, twice in and twice out, are the 512 KiB of the edge.
    rep = accsim.simulate(Softmax(rows, 2**16), "flat_edge")
    assert rep.ops[0].mapping == accsim.Streamed(2**16)


def test_a_single_row_is_tried_however_many_there_are() -> None:
    # Four rows of 64 KiB, two in and two out, fit the 512 KiB; of 2^30 rows a 2^23th part would be 128.
    rep = accsim.simulate(Softmax(2**30, 2**15), "flat_edge")
    assert rep.traffic_bytes["dram"]["read"] == 2 * 2**30 * 2**15
    (step,) = rep.ops[0].steps
    assert step.program.reserved_bytes("sg") == 4 * 2 * 2**15


def test_unfused_attention_of_a_million_keys_fits() -> None:
    op = accsim.Attention(batch=1, heads=1, q_len=64, kv_len=2**20, head_dim=64)
    rep = accsim.simulate(op, "flat_edge", dataflow="unfused")
    scores = 2 * 64 * 2**20
    assert rep.traffic_bytes["dram"]["write"] == 2 * scores + op.output_bytes
    assert rep.traffic_bytes["dram"]["read"] >= 3 * scores + op.input_bytes


@pytest.mark.parametrize(("rows", "cols"), [(64, 32), (1000, 96), (7, 513)])
def test_softmax_alone_takes_four_operations_a_score(rows: int, cols: int) -> None:
    # flat_edge with memories that never wait: 32 lanes, one cycle an operation; load and store add a few ticks.
    faster = {f"memories.{m}.{way}_bandwidth": FAST for m in ("sg", "dram") for way in ("read", "write")}
    acc = accsim.load_accelerator(
        "flat_edge", set=faster | {"memories.dram.latency": "0 ns", "memories.sg.capacity": "2 MiB"}
    )
    cycles = accsim.simulate(Softmax(rows, cols), acc, dataflow=accsim.Streamed(rows * cols)).total_cycles
    assert 0 <= cycles - 4 * rows * cols / 32 < 0.01


def test_cost_of_each_operation_is_the_machines() -> None:
    # h100_sxm: exp 8, divide 9, add 1 cycles on 128 lanes of each of 132 SMs; silu is one of each.
    op = Elementwise(132 * 128 * 64, "silu")
    (step,) = accsim.Streamed(128 * 64).steps(op, accsim.load_accelerator("h100_sxm"))
    assert step.copies == 132
    assert run_program(step.program).busy["vector"] == 4096 * 64 * (8 + 9 + 1)


def test_a_long_op_is_bound_by_memory() -> None:
    # A copy of 2^24 elements in bf16 over the one port of systolic_128's dram, 102.4 bytes a cycle; sram and the way
    # take no time.
    fast = {f"memories.sram.{way}_bandwidth": FAST for way in ("read", "write")} | {"memories.dram.latency": "0 ns"}
    rep = accsim.simulate(Elementwise(2**24, "copy"), accsim.load_accelerator("systolic_128", set=fast))
    assert rep.total_cycles == pytest.approx(2 * 2 * 2**24 / 102.4, rel=1e-4)
    assert rep.bound_by.startswith("dram/")


def test_a_row_that_does_not_fit() -> None:
    # A norm needs whole rows: 2^20 elements of 2 bytes in and 2 out, and 4 of scale and shift for 4 rows, in two slots.
    with pytest.raises(accsim.MappingError, match=r"streamed: nearest fit needs 10 MiB in sg, has 512 KiB"):
        accsim.simulate(Norm(4, 2**20), "flat_edge")


def test_a_single_row_needs_one_slot() -> None:
    # A layer norm of one row of 12,288 in bf16: 6 bytes of input, scale and shift and 2 of output an element, 96 KiB.
    # l40s has 100 KiB: room for the row, not for two. With two rows on a core it is 4 + 2 bytes, twice: 144 KiB.
    op = Norm(1, 12_288)
    memory = accsim.load_accelerator("l40s").memories[0]
    assert 96 * 1024 <= memory.capacity_bytes < 2 * 96 * 1024
    (step,) = accsim.Streamed(12_288).steps(op, accsim.load_accelerator("l40s"))
    assert sum(buffer.slots * buffer.slot_bytes for buffer in step.program.buffers) == 96 * 1024
    with pytest.raises(accsim.MappingError, match=r"streamed: nearest fit needs 144 KiB in smem, has 100 KiB"):
        accsim.simulate(Norm(2, 12_288), accsim.load_accelerator("l40s", set={"cores": 1}))

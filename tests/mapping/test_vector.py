"""Softmax, norms and element-wise ops: work, bytes and time by closed forms."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim.engine.run import run_program
from accsim.workload.ops import Elementwise, Embedding, Norm, Op, Pool2d, Softmax

FAST = "1000000 TB/s"


@st.composite
def vector_ops(draw: st.DrawFn) -> Op:
    rows, cols = draw(st.integers(1, 300)), draw(st.integers(1, 500))
    kind = draw(st.sampled_from(("softmax", "layer", "rms", "gelu", "add", "copy", "lstm_gates", "pool", "embedding")))
    if kind == "pool":
        return Pool2d(cols, draw(st.integers(3, 20)), 3, stride=2, padding=1, function="average")
    if kind == "embedding":
        return Embedding(rows, cols, vocab=1000)
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
    assert done == pytest.approx({name: n for name, n in op.vector_ops.items() if n}, rel=1e-9)
    main = rep.traffic_bytes[rep.accelerator.main_memory.name]
    assert main["write"] == pytest.approx(op.output_bytes, rel=1e-9)
    assert main["read"] == pytest.approx(op.input_bytes + op.weight_bytes, rel=1e-9)
    assert rep.macs == 0
    # Never free: at least as long as the lanes of all cores need.
    acc = rep.accelerator
    lane_cycles = sum(n * acc.vector_unit.cycles_per_element[name] for name, n in op.vector_ops.items())
    assert rep.total_cycles >= lane_cycles / (acc.vector_unit.lanes * acc.cores) * (1 - 1e-9)
    assert rep.latency_s >= (main["read"] + main["write"]) / (2 * acc.main_memory.read_bytes_per_s)


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
    # A softmax needs whole rows, twice in and twice out: 2^20 scores in bf16 are 2 MiB; sg has 512 KiB.
    with pytest.raises(accsim.MappingError, match=r"streamed: nearest fit needs 8 MiB in sg, has 512 KiB"):
        accsim.simulate(Softmax(4, 2**20), "flat_edge")


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

"""FuseMax: work and traffic by naive counts, what binds long loops, its limits, and what cannot be."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim.config.catalogue import load_accelerator
from accsim.engine.counters import Counters
from accsim.engine.run import run_program
from accsim.mapping.base import Step
from accsim.workload.ops import Attention


def run(
    mapping: accsim.FuseMax, op: Attention, machine: str = "flat_edge", *, jump: bool = True
) -> tuple[Step, Counters]:
    """The one program of a complete mapping and its run; flat_edge has 32 x 32 PEs."""
    acc = load_accelerator(machine, set={"memories.sg.capacity": "64 MiB"} if machine == "flat_edge" else {})
    (step,) = mapping.steps(op, acc)
    return step, run_program(step.program, attribution=False, jump=jump)


@settings(max_examples=40)
@given(
    op=st.builds(
        lambda batch, kv, shared, q, keys, dim, v_dim: Attention(batch, kv * shared, q, keys, dim, kv, v_dim=v_dim),
        st.integers(1, 3),
        st.integers(1, 3),
        st.integers(1, 3),
        st.integers(1, 130),
        st.integers(1, 200),
        st.sampled_from([8, 16, 24]),
        st.sampled_from([None, 8, 40]),
    ),
    rows=st.integers(1, 200),
    lag=st.integers(1, 4),
    macs=st.integers(1, 9),
)
def test_work_and_traffic(op: Attention, rows: int, lag: int, macs: int) -> None:
    all_rows, groups = op.q_len * op.heads // op.kv_heads, op.batch * op.kv_heads
    step, done = run(accsim.FuseMax(rows, lag, macs), op)
    assert step.copies == 1
    passes, blocks = ceil(all_rows / rows), ceil(op.kv_len / 32)
    corrections, scores = groups * all_rows * blocks, groups * all_rows * op.kv_len
    expected = {
        "mac.bf16": op.macs,
        "mac_exp.bf16": macs * scores,
        "read.dram": 2 * groups * (all_rows * op.head_dim + passes * op.kv_len * (op.head_dim + op.value_dim)),
        "write.dram": op.output_bytes,
        # A maximum and a sum along the keys on the array, and one of each a query and key block on the lanes.
        "vector.max": scores + corrections,
        "vector.add": 2 * scores + corrections * (1 + op.value_dim + 1),
        "vector.multiply": macs * corrections,
        "vector.rescale": corrections * (op.value_dim + 1),
        "vector.divide": groups * all_rows * op.value_dim,
    }
    assert {action: done.actions[action] for action in expected} == pytest.approx(expected, rel=1e-9)
    assert "vector.exp" not in done.actions
    assert run(accsim.FuseMax(rows, lag, macs), op, jump=False)[1] == done


@pytest.mark.parametrize("machine", ["tpu_v2", "tpu_v4", "flat_cloud"])
def test_every_core_counts(machine: str) -> None:
    op = Attention(batch=2, heads=5, q_len=520, kv_len=300, head_dim=16)
    step, done = run(accsim.FuseMax(256, 2), op, machine)
    assert done.actions["mac.bf16"] * step.copies == pytest.approx(op.macs, rel=1e-12)
    main = load_accelerator(machine).main_memory.name
    assert done.actions[f"write.{main}"] * step.copies == pytest.approx(op.output_bytes, rel=1e-9)


@pytest.mark.parametrize(("lanes", "steps"), [(32, 2 + 6 + 2 * (64 + 1) + 64 * 32 / 4096), (64, 2 * 64 + 6 + 3)])
def test_the_busier_of_array_and_lanes_binds(lanes: int, steps: float) -> None:
    # A tile of 32 x 32 scores. Lanes, for each of 32 queries: maximum and subtraction, 6 MACs, a factor for 64 outputs
    # and the sum, as many additions, and a division of the outputs once in 128 key blocks. Array: Logit and Attend with
    # 64 steps each, maximum, subtraction, 6 MACs, sum.
    acc = load_accelerator("flat_edge", set={"vector_unit.lanes": lanes})
    op = Attention(batch=1, heads=2, q_len=4096, kv_len=4096, head_dim=64)
    report = accsim.simulate(op, acc, dataflow="fusemax")
    assert report.total_cycles == pytest.approx(2 * 128 * 128 * steps, rel=0.005)
    assert report.total_cycles >= 2 * 128 * 128 * steps


def test_without_room_for_tiles_on_their_way_the_array_waits() -> None:
    # On 256 x 256 PEs a value takes 256 cycles along a column, about two tiles of d = 64 with their 138 cycles.
    op = Attention(batch=1, heads=1, q_len=16384, kv_len=16384, head_dim=64)
    one, two, three = (accsim.simulate(op, "flat_cloud", dataflow=accsim.FuseMax(16384, lag)) for lag in (1, 2, 3))
    assert one.total_cycles > 1.5 * two.total_cycles > 1.5 * three.total_cycles
    assert three.utilization["vector"] > 0.99


def test_what_stays_is_bounded_by_the_local_memory_but_the_keys_are_not() -> None:
    op = Attention(batch=1, heads=1, q_len=4096, kv_len=2**20, head_dim=64)
    with pytest.raises(accsim.MappingError, match=r"nearest fit needs .* in sg, has 512 KiB"):
        accsim.simulate(op, "flat_edge", dataflow=accsim.FuseMax(block_q=4096))
    assert accsim.simulate(op, "flat_edge", dataflow=accsim.FuseMax(block_q=1024)).total_cycles > 0


def test_what_cannot_be() -> None:
    for op in (Attention(1, 1, 64, 64, 16, causal=True), Attention(1, 1, 64, 64, 16, shared_kv=True)):
        with pytest.raises(
            accsim.MappingError, match="fusemax is written without a mask, and for keys and values apart"
        ):
            accsim.simulate(op, "flat_edge", dataflow="fusemax")
    with pytest.raises(accsim.MappingError, match="fusemax needs a systolic array, which h100_sxm does not have"):
        accsim.simulate(Attention(1, 1, 64, 64, 16), "h100_sxm", dataflow="fusemax")
    for keywords in ({"block_q": 0}, {"lag": 0}, {"exp_macs": 1.5}):
        with pytest.raises(accsim.InputError, match="allowed is a positive whole number"):
            accsim.FuseMax(**keywords)

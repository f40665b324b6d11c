"""Ping-pong (FlashAttention-3): the work of FlashAttention-2 in two halves, what overlaps, and what cannot be."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim.config.catalogue import load_accelerator
from accsim.config.machine import Accelerator
from accsim.engine.counters import Counters
from accsim.engine.run import run_program
from accsim.mapping.search import search
from accsim.workload.ops import Attention

MOVED = ("read.dram", "write.dram", "mac.bf16", "mac_padded.bf16")


def run(acc: Accelerator, op: Attention, rows: int, keys: int, execution: str, *, jump: bool = True) -> Counters:
    """The run of one tile size in output-stationary form."""
    mapping = accsim.Flash(rows, keys, None, "output_stationary", execution=execution)
    (step,) = mapping.steps(op, acc)
    return run_program(step.program, attribution=False, jump=jump)


@st.composite
def attentions(draw: st.DrawFn) -> Attention:
    """Ragged sizes, shared heads, masks, windows, values of another width or shared with the keys."""
    kv_heads, shared, dim = draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.sampled_from((8, 24)))
    q_len = draw(st.integers(1, 60))
    kv_len, causal = q_len + draw(st.integers(0, 40)), draw(st.booleans())
    return Attention(
        1, kv_heads * shared, q_len, kv_len, dim, kv_heads, causal,
        window=draw(st.none() | st.integers(1, 50)) if causal else None,
        v_dim=draw(st.sampled_from((None, 8))), shared_kv=draw(st.booleans()),
    )  # fmt: skip


@settings(max_examples=60)
@given(op=attentions(), rows=st.integers(1, 70), keys=st.integers(1, 70))
def test_work_and_traffic_are_those_of_the_whole_tile(op: Attention, rows: int, keys: int) -> None:
    acc = load_accelerator("flat_edge", set={"memories.sg.capacity": "64 MiB"})
    whole, halves = (run(acc, op, rows, keys, execution) for execution in ("interleaved", "ping_pong"))
    for action in whole.actions:
        if action in MOVED or action.startswith("vector."):
            assert halves.actions[action] == pytest.approx(whole.actions[action], rel=1e-12)
    assert run(acc, op, rows, keys, "ping_pong", jump=False) == halves


def test_each_half_has_its_share_of_the_local_memory() -> None:
    op = Attention(batch=1, heads=1, q_len=512, kv_len=512, head_dim=64)
    acc = load_accelerator("flat_cloud")
    used = {}
    for execution in ("pipelined", "ping_pong"):
        (step,) = accsim.Flash(512, 128, None, "output_stationary", execution=execution).steps(op, acc)
        used[execution] = sum(buffer.slots * buffer.slot_bytes for buffer in step.program.buffers)
    assert used["ping_pong"] == used["pipelined"]
    assert {"q_a", "q_b", "scores_a", "scores_b", "out_a", "out_b"} <= {b.name for b in step.program.buffers}


@pytest.mark.parametrize("lanes", [64, 192, 1024])
def test_array_or_lanes_are_full_in_long_loops(lanes: int) -> None:
    # Free memory. A block of 64 x 64 scores, d = 64, in halves: Logit and Attend are 2 + 2 folds of 64 steps on
    # 32 x 32 PEs each; the lanes do 3 operations a score and a rescale of each of 64 x 64 outputs.
    free: dict[str, object] = {
        f"memories.{m}.{w}_bandwidth": "1000000 TB/s" for m in ("sg", "dram") for w in ("read", "write")
    }
    acc = load_accelerator("flat_edge", set=free | {"vector_unit.lanes": lanes, "memories.dram.latency": "0 ns"})
    op = Attention(batch=1, heads=1, q_len=64, kv_len=2**16, head_dim=64)
    block = max(2 * 4 * 64, 4 * 64 * 64 / lanes)
    got = {x: run(acc, op, 64, 64, x).total_ticks / 4096 / 1024 for x in ("interleaved", "ping_pong")}
    once = 2 * 32 + 32 - 2
    assert got["interleaved"] == pytest.approx(2 * 4 * 64 + 4 * 64 * 64 / lanes + 2 * once, rel=0.01)
    assert got["ping_pong"] == pytest.approx(block, rel=0.01)


@pytest.mark.parametrize("machine", ["flat_edge", "flat_cloud"])
@pytest.mark.parametrize(("halves", "keys"), [(1, 1), (1, 2), (2, 1), (4, 2)])
def test_halves_of_whole_folds_are_faster_than_interleaving(machine: str, halves: int, keys: int) -> None:
    # No law: with nothing but ports to wait for it may be slower by some tenth of a percent, with part folds by more.
    acc = load_accelerator(machine, set={"memories.sg.capacity": "64 MiB"})
    side = load_accelerator(machine).matrix_unit.rows
    op = Attention(batch=1, heads=2, q_len=16 * side, kv_len=16 * side, head_dim=64)
    ticks = [
        run(acc, op, 2 * halves * side, keys * side, execution).total_ticks
        for execution in ("ping_pong", "interleaved")
    ]
    assert ticks[0] < ticks[1]


def test_the_preset() -> None:
    op = Attention(batch=1, heads=8, q_len=1024, kv_len=1024, head_dim=64)
    mapping = accsim.simulate(op, "flat_cloud", dataflow="flash3").ops[0].mapping
    assert isinstance(mapping, accsim.Flash)
    assert mapping.execution == "ping_pong"
    # On tensor cores the two warpgroups of a thread block are in the pipelined form.
    acc = load_accelerator("h100_sxm")
    assert search(accsim.Flash(execution="ping_pong"), op, acc) == search(accsim.Flash(pipeline=True), op, acc)


@pytest.mark.parametrize("execution", ["interleaved", "pipelined"])
def test_pipeline_is_short_for_an_execution(execution: str) -> None:
    op = Attention(batch=1, heads=1, q_len=128, kv_len=128, head_dim=16)
    acc = load_accelerator("flat_edge")
    assert accsim.Flash(64, 32, execution == "pipelined").steps(op, acc) == accsim.Flash(
        64, 32, execution=execution
    ).steps(op, acc)


def test_what_cannot_be() -> None:
    with pytest.raises(accsim.InputError, match="execution: pipeline is short for it; give one of the two"):
        accsim.Flash(pipeline=True, execution="ping_pong")
    with pytest.raises(accsim.InputError, match=r"allowed are interleaved, pipelined, ping_pong\. Did you mean"):
        accsim.Flash(execution="pingpong")

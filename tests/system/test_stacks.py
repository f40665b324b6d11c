"""Stacks that a step is cut into: nothing is lost, and each pays what it costs the unit to begin one."""

from __future__ import annotations

import pytest

from accsim.embedding.placement import Placement, Sharding, row_sharded
from accsim.embedding.step_work import step_work
from accsim.embedding.work import StepWork
from accsim.engine.program import TICKS_PER_CYCLE
from accsim.engine.run import run_program
from accsim.mapping.embedding_core import KERNELS
from accsim.mapping.sparse_core import place_of, unit_programs
from accsim.system import Slice, read_slice, train_step
from accsim.system.cut import cut
from accsim.system.halves import Leg, pipelined
from accsim.system.legs import EmbeddingLegs, embedding_legs, links_of
from accsim.workload.catalogue import load_workload

SLICE = "tpu_v4:4x4x4"
COUNTS = (1, 2, 5, 26)


def work_of(samples: int, chips: int = 64, tiles: int = 64, placement: Placement | None = None) -> StepWork:
    tables = load_workload("dlrm_v1").embeddings
    assert tables is not None
    return step_work(tables, samples, placement or row_sharded(tables, chips), dedup="owner", tiles=tiles)


def legs_of(on: Slice, work: StepWork, where: str, stacks: int) -> EmbeddingLegs:
    return embedding_legs(on, cut(work, stacks), where, links_of(on, work))


def unit(legs: EmbeddingLegs) -> tuple[Leg, Leg]:
    return next(leg for leg in legs.forward if leg.name == "lookup"), legs.backward[-1]


@pytest.mark.parametrize("stacks", [*COUNTS, 7, 100])
def test_work_that_is_cut_adds_up_to_the_whole(stacks: int) -> None:
    work = work_of(512)
    pieces = cut(work, stacks).stacks
    (whole,) = work.stacks
    assert len(pieces) == min(stacks, 26)
    assert sum(piece.features for piece in pieces) == 26
    for name in ("looked_up", "received", "joined"):
        assert sum(getattr(piece, name) for piece in pieces) == pytest.approx(getattr(whole, name))
    for name in ("asked", "served", "fetched", "combined", "sent", "updated"):
        for which in ("mean", "largest"):
            found = sum(getattr(getattr(piece, name), which) for piece in pieces)
            assert found == pytest.approx(getattr(getattr(whole, name), which)), name


def test_stacks_of_more_features_are_cut_first() -> None:
    tables = load_workload("dlrm_v1").embeddings
    assert tables is not None
    kinds = {
        table.name: Sharding("table" if i < 6 else "row", 1 if i < 6 else 64) for i, table in enumerate(tables.tables)
    }
    work = work_of(512, placement=Placement(64, kinds))
    assert [stack.features for stack in work.stacks] == [6, 20]
    assert [stack.features for stack in cut(work, 1).stacks] == [6, 20]
    assert [stack.features for stack in cut(work, 4).stacks] == [6, 7, 7, 6]
    assert [stack.features for stack in cut(work, 5).stacks] == [6, 5, 5, 5, 5]


@pytest.mark.parametrize("stacks", COUNTS)
def test_every_stack_costs_the_sequencer_its_cycles(stacks: int) -> None:
    """With free instructions, nothing else: `stack_cycles` of the unit's clock in each pass."""
    on = read_slice(SLICE, set={"sparse_core.instruction_cycles": 0})
    for leg in unit(legs_of(on, work_of(8), "sparse_core", stacks)):
        assert leg.busy_s["sparse_core.sequencer"] == pytest.approx(stacks * 1000 / 1.05e9)


@pytest.mark.parametrize("stacks", COUNTS)
def test_every_stack_is_launched_on_a_gpu_and_asked_for_of_a_host(stacks: int) -> None:
    h100 = read_slice("h100_sxm:8")
    launch_s = h100.chip.overheads["op"].time_s
    for leg in unit(legs_of(h100, work_of(64, 8, 1), "gpu", stacks)):
        assert leg.busy_s["gpu.launch"] == pytest.approx(stacks * KERNELS * launch_s)
    for leg in unit(legs_of(read_slice(SLICE), work_of(8, tiles=1), "host", stacks)):
        assert leg.busy_s["host.host_requests"] == pytest.approx(stacks * 10e-6)


@pytest.mark.parametrize("where", ["sparse_core", "tensor_core", "host"])
@pytest.mark.parametrize("stacks", COUNTS)
def test_stacks_one_behind_the_other_take_as_long_as_the_program_of_all(where: str, stacks: int) -> None:
    on = read_slice(SLICE)
    work = work_of(64, tiles=place_of(on.chip, where).tiles)
    legs = legs_of(on, work, where, stacks)
    programs = unit_programs(on.chip, cut(work, stacks), where)
    for leg, program in zip(unit(legs), (programs.forward, programs.backward), strict=True):
        whole = run_program(program).total_ticks / TICKS_PER_CYCLE / on.chip.clock_hz
        assert leg.alone_s == pytest.approx(whole)
        assert leg.latency_s >= 0
        assert pipelined((leg,), stacks).time_s == pytest.approx(whole, rel=1e-6)


def test_a_stack_alone_takes_its_part_and_the_fill_of_the_pipeline() -> None:
    on, work = read_slice(SLICE), work_of(64)
    halves = cut(work, 2)
    (half,) = set(halves.stacks)
    alone = run_program(unit_programs(on.chip, StepWork(64, 64, 64, "owner", (half,), work.exchange)).forward)
    lookup, _ = unit(embedding_legs(on, halves, "sparse_core", links_of(on, work)))
    wanted = alone.total_ticks / TICKS_PER_CYCLE / on.chip.clock_hz
    assert lookup.time_s / 2 + lookup.latency_s == pytest.approx(wanted)
    assert lookup.latency_s >= 2 * on.chip.main_memory.latency_s  # ids, then rows, come from main memory


def test_the_number_of_stacks_is_the_fastest_of_those_tried() -> None:
    step = train_step("dlrm_v1?batch=65536", SLICE, dedup="owner", schedule="serial")
    assert step.embedding.stacks == 1  # nothing runs beside, so that every other stack is a cost
    on, work = step.slice, step.work
    side_by_side = train_step("dlrm_dcnv2?batch=65536", SLICE, dedup="owner", schedule="pipelined")
    assert side_by_side.embedding.stacks > 1
    for stacks in (1, 2, 26):
        legs = legs_of(on, work, "sparse_core", stacks)
        assert sum(leg.alone_s for leg in (*legs.forward, *legs.backward)) >= step.embedding_s * (1 - 1e-9)

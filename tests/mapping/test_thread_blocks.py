"""GEMM as thread blocks against closed forms, every thread block simulated on an SM of its own, and laws."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim import After, Hold, ProgramBuilder, Span, Stage
from accsim.config.machine import Accelerator
from accsim.engine.program import END, START
from accsim.engine.run import run_program
from accsim.errors import InputError, MappingError
from accsim.mapping.search import search
from accsim.mapping.thread_blocks import ThreadBlocks
from accsim.workload.ops import Gemm

TICKS = 4096
FAST = "1000000 TB/s"
CLOCK = 1.83e9
LAUNCH_S = 2.65e-6  # an op of h100_sxm, as in its file
HBM, L2_READ, L2_WRITE, SMEM = (x / CLOCK for x in (3.35e12 * 0.855, 11e12, 3.9e12, 234.24e9))  # bytes a cycle
LATENCY = 440e-9 * CLOCK
LAST = 1e-3


def machine(cores: int = 132, **more: object) -> Accelerator:
    """h100_sxm with fewer SMs, each as fast as ever; the shared memories keep their rates."""
    return accsim.load_accelerator("h100_sxm", set={"cores": cores, **more})


def infinite_bandwidth(cores: int) -> Accelerator:
    """An H100 of so many SMs that waits for nothing but its tensor cores and conversions."""
    names = ("smem", "l2", "hbm")
    faster = {f"memories.{name}.{way}_bandwidth": FAST for name in names for way in ("read", "write")}
    return machine(cores, **faster, **{f"memories.{name}.latency": "0 ns" for name in names})


def cycles_of(mapping: ThreadBlocks, op: Gemm, acc: Accelerator) -> float:
    """Cycles of the grid, without the launch."""
    (step,) = mapping.steps(op, acc)
    return run_program(step.program, attribution=False).total_ticks / TICKS


def counted(mapping: ThreadBlocks, op: Gemm, acc: Accelerator) -> dict[str, float]:
    """Actions of all SMs."""
    (step,) = mapping.steps(op, acc)
    return {name: count * step.copies for name, count in run_program(step.program).actions.items()}


# Closed forms


@pytest.mark.parametrize(("rows", "cols"), [(4, 1), (5, 1), (3, 4), (1, 1), (4, 4)])
@pytest.mark.parametrize(("tile_m", "tile_n", "resident"), [(128, 256, 1), (128, 128, 2), (64, 64, 4)])
def test_infinite_bandwidth_leaves_waves_of_k_steps(
    rows: int, cols: int, tile_m: int, tile_n: int, resident: int
) -> None:
    # 4 SMs; 20 k steps of 64, each tile_m x tile_n x 64 / 2048 cycles. Converting the sums of a tile (2 cycles on one
    # of 128 lanes) hides behind the next tile where a second one fits the registers, and shows after every one if not.
    op = Gemm(rows * tile_m, cols * tile_n, 20 * 64)
    waves = ceil(rows * cols / 4)
    loop, convert = 20 * tile_m * tile_n * 64 / 2048, tile_m * tile_n * 2 / 128
    shown = waves if resident == 1 else 1
    expected = waves * loop + shown * convert
    assert cycles_of(ThreadBlocks(tile_m, tile_n, 1), op, infinite_bandwidth(4)) == pytest.approx(expected, abs=0.5)


def test_one_tile_is_a_fill_the_k_steps_and_a_store() -> None:
    # 128 x 128, 16 k steps, on an SM alone: the first operands come through shared memory's port; nothing else waits.
    op = Gemm(128, 128, 16 * 64)
    load = 256 * 128 / SMEM
    store = 128 * 128 * 2 / L2_WRITE
    convert = 128 * 128 * 2 / 128
    expected = load + LATENCY + 16 * 512 + max(store, convert)
    # Without room to load ahead far enough, the latency would show at every fourth step.
    assert load < 512
    assert LATENCY < 3 * 512
    assert cycles_of(ThreadBlocks(128, 128, 1), op, machine()) == pytest.approx(expected, abs=LAST)


def test_a_short_ring_waits_for_memory() -> None:
    # 32 x 32: 64 cycles to read a step's operands from shared memory, four slots; a slot comes back a load, a latency
    # and a read after it was taken.
    op = Gemm(32, 32, 400 * 64)
    load = read = 64 * 128 / SMEM
    each = (load + LATENCY + read) / 4
    assert cycles_of(ThreadBlocks(32, 32, 1), op, machine()) == pytest.approx(400 * each, rel=0.01)


@pytest.mark.parametrize("blocks", [132, 264])
def test_infinite_compute_leaves_bytes_over_bandwidth(blocks: int) -> None:
    # 8 rows, so that L2 delivers A once a thread block and HBM B once: bound by HBM.
    op = Gemm(8, blocks * 64, 128 * 64)
    acc = machine(**{"matrix_unit.rates": {"bf16": 1024}, "vector_unit.lanes": 2**20})
    total = cycles_of(ThreadBlocks(8, 64, 1), op, acc)
    moved = (op.weight_bytes + op.input_bytes + op.output_bytes) / HBM
    assert moved <= total <= moved + LATENCY + 8 * 64 * 2 * 132 / HBM + 1


def test_infinite_compute_and_main_memory_leave_the_l2() -> None:
    op = Gemm(16 * 128, 33 * 128, 64 * 64)
    fast = {"matrix_unit.rates": {"bf16": 1024}, "vector_unit.lanes": 2**20, "memories.hbm.read_bandwidth": FAST}
    wide = {f"memories.smem.{way}_bandwidth": FAST for way in ("read", "write")}
    total = cycles_of(ThreadBlocks(128, 128, 1), op, machine(**fast, **wide))
    loads = 4 * 64 * 132 * 256 * 128 / L2_READ  # 4 waves of 64 steps
    store = 132 * 128 * 128 * 2 / L2_WRITE
    assert loads + store <= total <= loads + store + LATENCY + 1


def test_one_tile_more_than_sms_adds_a_wave_with_the_rates_of_one() -> None:
    # 128 x 256 leaves one block on an SM: a wave begins when the last one has stored. Each of 132 blocks has a 132nd of
    # the L2; the one of the tail has all of it, and the limit is the port of its own shared memory.
    free = {"memories.hbm.read_bandwidth": FAST, "memories.hbm.latency": "0 ns", "vector_unit.lanes": 2**20}
    acc = machine(**free, **{"matrix_unit.rates": {"bf16": 1024}})
    full, more = (cycles_of(ThreadBlocks(128, 256, 1), Gemm(n * 128, 256, 64 * 64), acc) for n in (132, 133))
    load = read = 384 * 128 / SMEM  # the tensor core reads operands as fast as they come
    store = 128 * 256 * 2 / L2_WRITE
    assert more - full == pytest.approx(140e-9 * CLOCK + 64 * load + read + store, abs=LAST)
    assert full > 64 * 132 * 384 * 128 / L2_READ


def test_split_k_adds_one_pass_over_the_partial_sums() -> None:
    # One tile, 4 thread blocks of 8 steps of 128 cycles each; they store fp32 sums at L2's rate, which are then read
    # and rounded.
    op = Gemm(64, 64, 32 * 64)
    acc = machine(**{"vector_unit.lanes": 2**20, "memories.hbm.latency": "0 ns", "memories.l2.latency": "0 ns"})
    load = 128 * 128 / SMEM
    partial_bytes = 4 * 64 * 64 * 4
    expected = load + 8 * 128 + partial_bytes / L2_WRITE + partial_bytes / L2_READ
    assert cycles_of(ThreadBlocks(64, 64, 4), op, acc) == pytest.approx(expected, abs=LAST)
    moved = counted(ThreadBlocks(64, 64, 4), op, acc)
    assert moved["write.l2"] == pytest.approx(partial_bytes + 64 * 64 * 2 + moved["read.hbm"])
    assert moved["write.hbm"] == 64 * 64 * 2


def test_fixed_costs_of_the_machine_are_paid() -> None:
    # One block an SM, 3 waves of 4 SMs: the first load of each waits; the reduction waits once.
    op = Gemm(12 * 128, 256, 16 * 64)
    slow = {
        "overheads.wave": {"time": "1 us", "source": "made up"},
        "overheads.reduction": {"time": "2 us", "source": "made up"},
    }
    plain, costly = machine(4), machine(4, **slow)
    assert cycles_of(ThreadBlocks(128, 256, 1), op, costly) - cycles_of(ThreadBlocks(128, 256, 1), op, plain) == (
        pytest.approx(3 * 1830, abs=LAST)
    )
    assert cycles_of(ThreadBlocks(128, 256, 4), op, costly) - cycles_of(ThreadBlocks(128, 256, 4), op, plain) == (
        pytest.approx(12 * 1830 + 3660, abs=LAST)
    )


# Every thread block on an SM of its own


def explicit(op: Gemm, mapping: ThreadBlocks, cores: int, resident: int, slow: float) -> float:
    """Cycles of a grid (no split), every SM's stages written out; they share L2 and HBM, of 1/slow of their rates."""
    tile_m, tile_n, steps = mapping.tile_m or 0, mapping.tile_n or 0, op.k // 64
    blocks = (op.m // tile_m) * (op.n // tile_n)
    waves, size, result = ceil(blocks / cores), (tile_m + tile_n) * 128, tile_m * tile_n * 2
    fetched = (op.input_bytes + op.weight_bytes) / (blocks * steps * size)
    b = ProgramBuilder("every SM")
    b.level("wave", waves)
    b.level("k", steps)

    def ticks(amount: float) -> int:
        return ceil(round(amount * TICKS, 6))

    for name in ("hbm", "l2_read", "l2_write"):
        b.resource(name)
    for sm in range(cores):
        for name in ("dispatch", "dma", "matrix", "vector", "smem_read"):
            b.resource(f"{name}{sm}")
        slot = min(4 * resident, 228 * 1024 // size)
        b.buffer(f"ring{sm}", slot)
        b.buffer(f"sums{sm}", resident)
    ahead = min(slot - 1, (resident - 1) * steps)
    behind = max(s for s in (0, 1, 3, 7) if s <= ahead)
    spans = [{"wave": Span(0, None if sm < blocks - (waves - 1) * cores else -1)} for sm in range(cores)]
    for sm, span in enumerate(spans):
        b.stage(Stage(f"launch{sm}", f"dispatch{sm}", 0, spans=span | {"k": START}, acquires=(Hold(f"sums{sm}"),)))
    for sm, span in enumerate(spans):
        ports = (("hbm", ticks(slow * size * fetched / HBM)), ("l2_read", ticks(slow * size / L2_READ)))
        b.stage(
            Stage(
                f"load{sm}", f"dma{sm}", ticks(size / SMEM), ports, round(LATENCY * TICKS), spans=span,
                after=(After(f"launch{sm}"),), acquires=(Hold(f"ring{sm}"),), shift=0,
            )
        )  # fmt: skip
    for sm, span in enumerate(spans):
        ports = ((f"smem_read{sm}", ticks(size / SMEM)),)
        work = ticks(tile_m * tile_n * 64 / 2048)
        b.stage(
            Stage(
                f"matmul{sm}", f"matrix{sm}", work, ports, spans=span, after=(After(f"load{sm}"),),
                releases=(Hold(f"ring{sm}"),), shift=0,
            )
        )  # fmt: skip
    for sm, span in enumerate(spans):
        ports = (("hbm", ticks(slow * result / HBM)), ("l2_write", ticks(slow * result / L2_WRITE)))
        b.stage(
            Stage(
                f"epilogue{sm}", f"vector{sm}", ticks(tile_m * tile_n * 2 / 128), ports, spans=span | {"k": END},
                after=(After(f"matmul{sm}"),), releases=(Hold(f"sums{sm}"),), shift=behind, shift_level="k",
            )
        )  # fmt: skip
    return run_program(b.build(), attribution=False).total_ticks / TICKS


@pytest.mark.parametrize("cores", [2, 3, 4])
@pytest.mark.parametrize("tile", [(128, 256, 1), (128, 128, 2), (64, 64, 4)])
@pytest.mark.parametrize("slow", [1, 33])
def test_one_sm_stands_for_all(cores: int, tile: tuple[int, int, int], slow: int) -> None:
    tile_m, tile_n, resident = tile
    rates = {
        "memories.hbm.read_bandwidth": f"{3350 / slow} GB/s", "memories.l2.read_bandwidth": f"{11000 / slow} GB/s",
        "memories.l2.write_bandwidth": f"{3900 / slow} GB/s",
    }  # fmt: skip
    acc, mapping = machine(cores, **rates), ThreadBlocks(tile_m, tile_n, 1)
    for blocks in (1, cores, 2 * cores, 3 * cores + 1, 4 * cores - 1):
        op = Gemm(blocks * tile_m, tile_n, 12 * 64)
        waves, active = ceil(blocks / cores), min(blocks, cores)
        one, every = cycles_of(mapping, op, acc), explicit(op, mapping, cores, min(resident, waves), slow)
        # In a wave the first SM gets its turn at a shared port earlier than the last, by the others' loads or stores.
        load, result = (tile_m + tile_n) * 128, tile_m * tile_n * 2
        fetched = (op.input_bytes + op.weight_bytes) / (blocks * 12)
        turn = slow * max(fetched / HBM, load / L2_READ, result / HBM, result / L2_WRITE)
        assert abs(one - every) <= waves * (active - 1) * turn + LAST
        assert one == pytest.approx(every, rel=0.06)
        if resident > 1 and slow > 1 and waves > 3 and blocks % cores == 1:
            assert one == pytest.approx(every, rel=0.004)  # co-resident blocks close the gaps between waves


# Laws


@st.composite
def cases(draw: st.DrawFn) -> tuple[Gemm, ThreadBlocks, Accelerator]:
    """A small GEMM, a mapping that fits, and a machine of few SMs."""
    extent = st.integers(1, 700)
    op = Gemm(
        draw(extent), draw(extent), draw(st.integers(1, 2000)), draw(st.integers(1, 3)),
        dtype=draw(st.sampled_from(("bf16", "fp8"))), weights=draw(st.booleans()),
    )  # fmt: skip
    side = st.sampled_from((8, 16, 64, 96, 128))
    mapping = ThreadBlocks(draw(side), draw(side), draw(st.sampled_from((1, 2, 3, 7))))
    l2 = draw(st.sampled_from(("50 MB", "4 MB")))
    return op, mapping, machine(draw(st.sampled_from((1, 3, 16))), **{"memories.l2.capacity": l2})


@settings(max_examples=60, deadline=None)
@given(cases())
def test_work_and_bytes_are_conserved(case: tuple[Gemm, ThreadBlocks, Accelerator]) -> None:
    op, mapping, acc = case
    try:
        moved = counted(mapping, op, acc)
    except MappingError as error:
        assert "in l2" in str(error.rejected)  # noqa: PT017 (partial sums that do not fit)
        return
    tile_m, tile_n = mapping.tile_m or 0, mapping.tile_n or 0
    element, step = (2, 64) if op.dtype == "bf16" else (1, 128)
    down, across, steps = ceil(op.rows / tile_m), ceil(op.n / tile_n), ceil(op.k / step)
    own = ceil(steps / (mapping.split_k or 1))
    split = ceil(steps / own)
    blocks = op.products * down * across * split
    assert moved[f"mac.{op.dtype}"] == pytest.approx(op.macs)
    padded = blocks * own * tile_m * tile_n * step
    assert op.macs + moved.get(f"mac_padded.{op.dtype}", 0.0) == pytest.approx(padded)
    loads = op.products * op.k * (op.rows * across + op.n * down) * element
    results = op.output_bytes
    partials = op.products * op.rows * op.n * 4 * split if split > 1 else 0
    assert moved["write.smem"] == pytest.approx(loads + (partials or results))
    compulsory = op.input_bytes + op.weight_bytes
    assert compulsory * (1 - 1e-9) <= moved["read.hbm"] <= loads * (1 + 1e-9)
    if compulsory < 4e6:
        assert moved["read.hbm"] == pytest.approx(compulsory)
    assert moved["write.hbm"] == pytest.approx(results)
    assert moved["read.l2"] == pytest.approx(loads + partials + results)
    assert moved["write.l2"] == pytest.approx(moved["read.hbm"] + partials + results)
    assert moved["vector.convert"] == pytest.approx(op.products * op.rows * op.n)
    assert moved.get("vector.add", 0.0) == pytest.approx(partials / 4)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_no_time_is_below_what_work_and_bytes_need(case: tuple[Gemm, ThreadBlocks, Accelerator]) -> None:
    op, mapping, acc = case
    try:
        rep = accsim.simulate(op, acc, dataflow=mapping)
    except MappingError:
        return
    seconds = rep.latency_s - 2.65e-6
    hbm = sum(rep.traffic_bytes["hbm"].values())
    assert seconds >= op.macs / acc.peak_macs_per_s(op.dtype) * (1 - 1e-9)
    assert seconds >= hbm / acc.memory("hbm").usable_read_bytes_per_s * (1 - 1e-9)
    assert sum(rep.critical_path.values()) == pytest.approx(rep.total_cycles)
    assert accsim.simulate(op, acc, dataflow=mapping, fidelity="analytic").total_cycles <= rep.total_cycles


def test_what_the_l2_loses_is_read_again() -> None:
    # 16384 rows and columns, k 2048, tiles of 128 x 128: 128 x 128 tiles, 264 in flight (two an SM) cover 16.2 x 16.2
    # of them, so C takes 8 stripes. A and B have 64 MiB each, of which 50 MB are found again.
    op = Gemm(16384, 16384, 2048)
    size = 16384 * 2048 * 2
    again = (8 - 1) * (size - 50e6)
    moved = counted(ThreadBlocks(128, 128, 1), op, machine())
    assert moved["read.hbm"] == pytest.approx(2 * size + again)


# The search


@pytest.mark.parametrize("op", [Gemm(300, 500, 700), Gemm(16, 1024, 4096), Gemm(1000, 100, 256, 5, weights=False)])
def test_a_search_finds_the_least_time_of_its_space(op: Gemm) -> None:
    acc = machine(16)
    best = float("inf")
    tried = 0
    for points in ThreadBlocks().space(op, acc):
        for i in range(len(points.table)):
            tried += 1
            try:
                best = min(best, cycles_of(ThreadBlocks().complete(op, acc, points, i), op, acc))
            except MappingError:
                continue
    found = search(ThreadBlocks(), op, acc)
    assert found.points == tried
    assert (found.cost - LAUNCH_S) * CLOCK == pytest.approx(best, rel=1e-5)


def test_tensor_cores_get_thread_blocks_and_arrays_their_form() -> None:
    op = Gemm(512, 512, 512)
    assert isinstance(accsim.simulate(op, "h100_sxm").ops[0].mapping, accsim.ThreadBlocks)
    assert isinstance(accsim.simulate(op, "tpu_v4").ops[0].mapping, accsim.WeightStationary)
    with pytest.raises(MappingError, match="needs tensor cores, which tpu_v4 does not have"):
        accsim.simulate(op, "tpu_v4", dataflow="thread_blocks")


def test_few_rows_are_split_over_k_so_that_all_sms_work() -> None:
    mapping = search(ThreadBlocks(), Gemm(64, 128, 65536), machine()).mapping
    assert isinstance(mapping, ThreadBlocks)
    assert (mapping.split_k or 1) > 4


def test_what_does_not_fit_is_refused() -> None:
    op = Gemm(512, 512, 512)
    with pytest.raises(MappingError, match=r"needs 256 KiB in matrix_unit\.registers, has 128 KiB"):
        accsim.simulate(op, "h100_sxm", dataflow=ThreadBlocks(256, 256, 1))
    with pytest.raises(MappingError, match="in l2, has 50"):
        accsim.simulate(Gemm(8192, 8192, 8192), "h100_sxm", dataflow=ThreadBlocks(128, 128, 8))
    with pytest.raises(InputError, match="tile_m: read 0"):
        ThreadBlocks(0, 64, 1)


def test_a_machine_with_two_memories_reads_main_memory_for_every_tile() -> None:
    memories = {
        "smem": {"capacity": "228 KiB", "scope": "core", "read_bandwidth": "234 GB/s", "latency": "16 ns"},
        "hbm": {"capacity": "80 GB", "kind": "hbm3", "read_bandwidth": "3.35 TB/s", "latency": "300 ns"},
    }
    acc = machine(memories=memories, sources={}, estimated={})
    op = Gemm(256, 256, 4096)
    moved = counted(ThreadBlocks(128, 128, 1), op, acc)
    assert moved["read.hbm"] == 2 * (256 + 256) * 4096 * 2
    assert {points.table[:, 2].max() for points in ThreadBlocks().space(op, acc)} == {1}

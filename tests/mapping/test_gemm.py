"""GEMM mappings against closed forms, naive loops over tiles, and every point of their own search space."""

from __future__ import annotations

import itertools
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim.config.catalogue import load_accelerator
from accsim.config.machine import Accelerator
from accsim.engine.counters import Counters
from accsim.engine.energy import energy_of, price_list
from accsim.engine.run import run_program
from accsim.mapping.base import Dataflow, Step
from accsim.mapping.gemm import FORMS, Stationary
from accsim.mapping.search import search
from accsim.workload.ops import Gemm, Op

TICKS = 4096
MACHINES = accsim.list_accelerators()
SIZES = [(1, 1, 1), (128, 128, 128), (127, 129, 1), (256, 384, 512), (300, 130, 77), (1, 1000, 129), (513, 1, 64)]
FAST = "1000000 TB/s"


def one_step(mapping: Stationary, op: Gemm, acc: Accelerator) -> tuple[Step, Counters]:
    """The one program of a complete mapping and its run."""
    (step,) = mapping.steps(op, acc)
    return step, run_program(step.program, attribution=False)


def whole(form: str, op: Gemm) -> Stationary:
    """The mapping whose one tile is the whole GEMM."""
    return FORMS[form](op.rows, op.n, op.k, "mn", False, 1, 1)


def infinite_bandwidth(name: str) -> Accelerator:
    """A machine whose memories never make anything wait."""
    memories = [memory.name for memory in accsim.load_accelerator(name).memories]
    ways = ("read_bandwidth", "write_bandwidth")
    faster = {f"memories.{memory}.{way}": FAST for memory in memories for way in ways}
    return load_accelerator(name, set=faster | {f"memories.{memory}.latency": "0 ns" for memory in memories})


# Compute cycles


def scale_sim_cycles(form: str, op: Gemm, rows: int, cols: int) -> int:
    """SCALE-Sim's runtime: folds x (2 R + C + T - 2) with S_R, S_C, T of Samajdar et al., ISPASS 2020."""
    along_rows, along_cols, steps = {
        "output_stationary": (op.m, op.n, op.k),
        "weight_stationary": (op.k, op.n, op.m),
        "input_stationary": (op.k, op.m, op.n),
    }[form]
    return ceil(along_rows / rows) * ceil(along_cols / cols) * (2 * rows + cols + steps - 2)


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_one_tile_takes_what_scale_sim_counts(form: str, m: int, n: int, k: int) -> None:
    op = Gemm(m, n, k)
    rep = accsim.simulate(op, "systolic_128", dataflow=whole(form, op))
    assert rep.compute_cycles == scale_sim_cycles(form, op, 128, 128)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_compute_cycles_of_a_tall_array(form: str) -> None:
    acc = accsim.load_accelerator("systolic_128", set={"matrix_unit.rows": 16, "matrix_unit.cols": 48})
    op = Gemm(100, 70, 50)
    rep = accsim.simulate(op, acc, dataflow=whole(form, op))
    assert rep.compute_cycles == scale_sim_cycles(form, op, 16, 48)


def test_tiles_that_fit_the_array_lose_nothing_to_tiling() -> None:
    # Tiles of C as large as the array, all of k at once: as many folds as the whole GEMM has.
    op = Gemm(384, 300, 200)
    rep = accsim.simulate(op, "systolic_128", dataflow=accsim.OutputStationary(128, 128, 200))
    assert rep.compute_cycles == scale_sim_cycles("output_stationary", op, 128, 128)


def test_cutting_k_costs_fill_and_drain_again() -> None:
    # Two tiles of k = 100 instead of one of 200: one more 2 R + C - 2 for each of the nine folds.
    op = Gemm(384, 300, 200)
    rep = accsim.simulate(op, "systolic_128", dataflow=accsim.OutputStationary(128, 128, 100))
    assert rep.compute_cycles == scale_sim_cycles("output_stationary", op, 128, 128) + 9 * (2 * 128 + 128 - 2)


@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_full_overlap_pays_fill_and_drain_once(m: int, n: int, k: int) -> None:
    # flat_edge with room, 32 x 32, output stationary, full overlap: folds x k, and 2 R + C - 2 once.
    op = Gemm(m, n, k)
    acc = accsim.load_accelerator("flat_edge", set={"memories.sg.capacity": "8 MiB"})
    rep = accsim.simulate(op, acc, dataflow=whole("output_stationary", op))
    assert rep.compute_cycles == ceil(m / 32) * ceil(n / 32) * k + 2 * 32 + 32 - 2


def test_transfers_do_not_meet_the_array_in_a_double_buffered_memory() -> None:
    # systolic_128, four tiles along n of 4096 x 128 x 1024: the SRAM port is just as wide as the array needs, so
    # nothing may wait for it. Loads of A and the first B, folds, the last store: 2 bytes an element, 102.4 B a cycle.
    op = Gemm(4096, 512, 1024)
    mapping = FORMS["output_stationary"](4096, 128, 1024, "mn", True, 1, 1)
    _, run = one_step(mapping, op, load_accelerator("systolic_128"))
    folds = 4 * scale_sim_cycles("output_stationary", Gemm(4096, 128, 1024), 128, 128)
    loads = 2 * (4096 * 1024 + 1024 * 128) / 102.4 + 100
    store = 2 * 4096 * 128 / 102.4 + 100
    assert run.total_ticks / TICKS == pytest.approx(loads + folds + store, abs=0.01)
    one_port = load_accelerator("systolic_128", set={"memories.sram.double_buffered": "false"})
    _, blocked = one_step(mapping, op, one_port)
    assert blocked.total_ticks > run.total_ticks


@pytest.mark.parametrize(("m", "n", "k"), [(8, 4, 16), (64, 64, 64), (65, 63, 17), (1, 4, 300)])
def test_tensor_core_counts_blocks(m: int, n: int, k: int) -> None:
    # h100_sxm: four tensor cores an SM, each one 8 x 4 x 16 block of multiply-accumulates a cycle.
    op = Gemm(m, n, k)
    _, run = one_step(whole("output_stationary", op), op, accsim.load_accelerator("h100_sxm"))
    assert run.busy["matrix"] == TICKS * ceil(ceil(m / 8) * ceil(n / 4) / 4) * ceil(k / 16)


@pytest.mark.parametrize(
    ("op", "mapping", "needs", "share"),
    [
        (Gemm(256, 128, 64), accsim.OutputStationary(256, 128, 16, "mn", False, 1, 1), 256 * 128 * 4, 1),
        # Half of the registers hold sums of thread blocks.
        (Gemm(256, 128, 64), accsim.ThreadBlocks(64, 128, 1), 64 * 128 * 4, 0.5),
        # 64 rows: one block of scores, then 64 sums, the maximum and the denominator of a row, in 0.8 of the registers.
        (accsim.Attention(1, 1, 64, 64, 64), accsim.Flash(64, 32, False), 64 * 32 * 4 + 64 * (64 + 2) * 4, 0.8),
    ],
)
def test_sums_must_fit_the_registers_of_a_tensor_core(op: Op, mapping: Dataflow, needs: int, share: float) -> None:
    def machine(registers: int) -> Accelerator:
        return load_accelerator("h100_sxm", set={"matrix_unit.registers": f"{registers} B"})

    enough = round(needs / share)
    assert accsim.simulate(op, machine(enough), dataflow=mapping).total_cycles > 0
    with pytest.raises(accsim.MappingError, match=rf"needs .* in matrix_unit.registers, has {needs - 1} B"):
        accsim.simulate(op, machine(enough - 1), dataflow=mapping)


# Limits


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("tile", [None, 128])
def test_infinite_bandwidth_leaves_the_compute_cycles(form: str, tile: int | None) -> None:
    op = Gemm(512, 384, 640)
    acc = infinite_bandwidth("systolic_128")
    mapping = FORMS[form](tile, tile, tile) if tile else whole(form, op)
    rep = accsim.simulate(op, acc, dataflow=mapping)
    assert 0 <= rep.total_cycles - rep.compute_cycles < 1


@pytest.mark.parametrize(("m", "n", "k"), [(2048, 2048, 2048), (4096, 512, 1024), (1000, 3000, 700)])
def test_infinite_array_leaves_bytes_over_bandwidth(m: int, n: int, k: int) -> None:
    # An array a thousand times as fast, tiles that fit: time is A, B and C once through the one port of dram, and the
    # last tile's product, 2 R + C + T - 2 cycles a fold, between its load and its store.
    fast = {f"memories.sram.{way}_bandwidth": FAST for way in ("read", "write")} | {"memories.dram.latency": "0 ns"}
    acc = accsim.load_accelerator("systolic_128", set=fast | {"matrix_unit.rates.bf16": 1024})
    op = Gemm(m, n, k)
    rep = accsim.simulate(op, acc, dataflow=accsim.OutputStationary(tile_m=128, tile_n=n, order="nm", resident=True))
    cycles = 2 * (m * k + k * n + m * n) / acc.main_memory.read_bytes_per_s * acc.clock_hz
    assert rep.traffic_bytes["dram"] == {"read": 2 * (m * k + k * n), "write": 2 * m * n}
    assert 0 <= rep.total_cycles - cycles <= ceil(n / 128) * (382 + k) / 1024 + 1
    assert rep.bound_by.startswith("dram/")


# Counts


@st.composite
def mapped(draw: st.DrawFn) -> tuple[str, Gemm, Stationary]:
    """A machine, a small GEMM and a complete mapping of it."""
    machine = draw(st.sampled_from(MACHINES))
    extents = st.integers(1, 200)
    weights = draw(st.booleans())
    op = Gemm(draw(extents), draw(extents), draw(extents), draw(st.integers(1, 4)), weights=weights)
    forms = sorted(FORMS) if machine != "h100_sxm" else ["output_stationary"]
    cores = accsim.load_accelerator(machine).cores
    split_m = draw(st.integers(1, min(cores, 8)))
    mapping = FORMS[draw(st.sampled_from(forms))](
        draw(st.integers(16, 120)),
        draw(st.integers(16, 120)),
        draw(st.integers(16, 120)),
        draw(st.sampled_from(("mn", "nm"))),
        draw(st.booleans()),
        split_m,
        draw(st.integers(1, cores // split_m)),
    )
    return machine, op, mapping


@given(case=mapped())
@settings(max_examples=60)
def test_counts_of_any_mapping(case: tuple[str, Gemm, Stationary]) -> None:
    machine, op, mapping = case
    acc = accsim.load_accelerator(machine)
    step, run = one_step(mapping, op, acc)
    assert run.actions["mac.bf16"] * step.copies == pytest.approx(op.macs, rel=1e-12, abs=0)
    main = acc.main_memory.name
    read, write = (run.actions[f"{way}.{main}"] * step.copies for way in ("read", "write"))
    assert read >= (op.input_bytes + op.weight_bytes) * (1 - 1e-12)
    assert write == pytest.approx(op.output_bytes, rel=1e-12, abs=0)
    if len(acc.memories) == 3:
        middle = acc.memories[1].name
        into, out = (run.actions[f"{way}.{middle}"] * step.copies for way in ("write", "read"))
        assert into == pytest.approx(read + write, rel=1e-12, abs=0)
        assert out >= read + write - 1e-6
    # No program is faster than its resources allow, or than the bytes it moves.
    rate = acc.main_memory.usable_read_bytes_per_s / acc.clock_hz / TICKS
    assert run.total_ticks >= max(read, write) / rate * (1 - 1e-9)
    assert all(run.busy[name] <= run.total_ticks for name in run.busy)


@given(case=mapped())
@settings(max_examples=30)
def test_what_leaves_a_memory_enters_the_next(case: tuple[str, Gemm, Stationary]) -> None:
    machine, op, mapping = case
    acc = accsim.load_accelerator(machine)
    names = [memory.name for memory in acc.memories]
    (step,) = mapping.steps(op, acc)

    def moved(stage: accsim.Stage, action: str) -> list[float]:
        amount = stage.actions.get(action, 0.0)
        return [amount] if isinstance(amount, (int, float)) else [float(x) for x in amount.values.ravel()]

    for stage in step.program.stages:
        if stage.unit == "dma":
            for near, far in itertools.pairwise(names):
                source, target = (near, far) if stage.name == "store_c" else (far, near)
                sent, taken = moved(stage, f"read.{source}"), moved(stage, f"write.{target}")
                assert sum(sent) > 0
                assert sent == pytest.approx(taken, rel=1e-12)


@pytest.mark.parametrize("machine", MACHINES)
def test_one_tile_moves_every_operand_once(machine: str) -> None:
    op = Gemm(48, 40, 72)
    _, run = one_step(whole("output_stationary", op), op, accsim.load_accelerator(machine))
    main = accsim.load_accelerator(machine).main_memory.name
    assert run.actions[f"read.{main}"] == op.input_bytes + op.weight_bytes
    assert run.actions[f"write.{main}"] == op.output_bytes


def pieces(extent: int, tile: int) -> list[int]:
    """Sizes of the tiles of an extent."""
    return [min(tile, extent - at) for at in range(0, extent, tile)]


def loaded_elements(op: Gemm, mapping: Stationary) -> tuple[int, int]:
    """Elements of A and of B that two buffers without a cache fetch, loop by loop."""
    assert mapping.tile_m is not None
    assert mapping.tile_n is not None
    assert mapping.tile_k is not None
    tiles_m, tiles_n = pieces(op.rows, mapping.tile_m), pieces(op.n, mapping.tile_n)
    a = b = 0
    for _ in range(op.products):
        m_outside = mapping.order == "mn"
        for outer, inner in itertools.product(
            *(range(len(t)) for t in ((tiles_m, tiles_n)[:: 1 if m_outside else -1]))
        ):
            m, n = (tiles_m[outer], tiles_n[inner]) if m_outside else (tiles_m[inner], tiles_n[outer])
            for k in pieces(op.k, mapping.tile_k):
                if not (mapping.resident and m_outside and inner > 0):
                    a += m * k
                if not (mapping.resident and not m_outside and inner > 0):
                    b += k * n
    return a, b


@pytest.mark.parametrize(("order", "resident"), [("mn", False), ("mn", True), ("nm", False), ("nm", True)])
@pytest.mark.parametrize("tiles", [(32, 32, 32), (50, 17, 23), (100, 96, 72), (100, 40, 30)])
@pytest.mark.parametrize("batch", [1, 3])
def test_rereads_follow_the_loops(order: str, resident: bool, tiles: tuple[int, int, int], batch: int) -> None:
    op = Gemm(100, 96, 72, batch=batch, weights=False)
    acc = accsim.load_accelerator("flat_cloud")
    mapping = accsim.WeightStationary(*tiles, order, resident, 1, 1)
    step, run = one_step(mapping, op, acc)
    a, b = loaded_elements(op, mapping)
    assert step.copies == 1
    assert run.actions["read.dram"] == 2 * (a + b)
    loads = {s.name: run.fires[s.name] for s in step.program.stages if s.unit == "dma"}
    assert loads["store_c"] == batch * ceil(100 / tiles[0]) * ceil(96 / tiles[1])


def test_cores_share_what_they_fetch_at_the_same_time() -> None:
    # Two cores with half of the columns each, through cmem: A leaves hbm once, cmem twice; nothing is idle.
    op = Gemm(256, 512, 128)
    step, run = one_step(
        accsim.WeightStationary(256, 256, 128, "mn", False, 1, 2), op, accsim.load_accelerator("tpu_v4")
    )
    assert step.copies == 2
    assert 2 * run.actions["read.hbm"] == op.input_bytes + op.weight_bytes
    assert 2 * run.actions["write.vmem"] - 2 * 256 * 512 == 2 * op.input_bytes + op.weight_bytes


# Search


def cost_of(step: Step, run: Counters, acc: Accelerator, objective: str) -> float:
    """Seconds, joules, or their product."""
    seconds = run.total_ticks / TICKS / acc.clock_hz
    counts = {action: count * step.copies for action, count in run.actions.items()}
    joules = energy_of(counts, price_list(acc, "bf16"), acc.power.idle_w, seconds).total_j
    return {"latency": seconds, "energy": joules, "edp": seconds * joules}[objective]


@pytest.mark.parametrize(("machine", "form"), [("flat_edge", "weight_stationary"), ("tpu_v4", "input_stationary")])
def test_search_finds_the_best_of_its_space(machine: str, form: str) -> None:
    acc = accsim.load_accelerator(machine)
    op = Gemm(300, 70, 96)
    dataflow = FORMS[form]()
    everything = []
    for points in dataflow.space(op, acc):
        for i in range(len(points.table)):
            everything.append(one_step(dataflow.complete(op, acc, points, i), op, acc))
    for objective in ("latency", "energy", "edp"):
        found = search(dataflow, op, acc, objective)
        assert found.points == found.feasible == len(everything)
        costs = [cost_of(step, run, acc, objective) for step, run in everything]
        assert found.cost == pytest.approx(min(costs), rel=1e-9)
        step, run = one_step(found.mapping, op, acc)  # type: ignore[arg-type]
        assert cost_of(step, run, acc, objective) == pytest.approx(found.cost, rel=1e-9)


def test_search_leaves_what_is_given() -> None:
    acc = accsim.load_accelerator("flat_cloud")
    found = search(accsim.OutputStationary(tile_m=64, order="nm"), Gemm(512, 512, 512), acc)
    assert isinstance(found.mapping, accsim.OutputStationary)
    assert (found.mapping.tile_m, found.mapping.order) == (64, "nm")


def test_nothing_fits() -> None:
    # The smallest tiles need 2 x 32 x 32 of A, B and C each in bf16: 12 KiB and more.
    acc = accsim.load_accelerator("flat_edge", set={"memories.sg.capacity": "8 KiB"})
    with pytest.raises(accsim.MappingError, match=r"needs .* in sg, has 8 KiB"):
        accsim.simulate(Gemm(512, 512, 512), acc)

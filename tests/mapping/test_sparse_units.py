"""Units that gather, skip rows, skip zeros, or bound both operands: by formulas, against published designs, laws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim import Accelerator, Gemm, Report
from accsim.errors import InputError
from accsim.mapping.sparse_run import sparse_run

UNIT = "matrix_unit.sparse"
INSTANT = {f"memories.{name}.latency": "0 ns" for name in ("smem", "l2", "hbm")}


def machine(name: str, **sparse: Any) -> Accelerator:
    return accsim.load_accelerator(name, set={f"{UNIT}.{key}": value for key, value in sparse.items()})


def run(op: Gemm, acc: Accelerator | str, dataflow: Any = None) -> Report:
    return accsim.simulate(op, acc, dataflow=dataflow, power_cap=False)


def mask(shape: tuple[int, int], density: float, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random(shape) < density


def test_gathered_columns_of_venom() -> None:
    """64:2:10 of A: two slots of ten, of B four rows of ten for each 64 rows of A, an index of 4 bits for each."""
    op = Gemm(128, 128, 800, sparsity="64:2:10", sparse_operand="A")
    acc = machine("h100_sxm", gathered_rows=16)
    tile = accsim.ThreadBlocks(tile_m=64, tile_n=128, split_k=1)
    dense, found = run(Gemm(128, 128, 800), acc, tile), run(op, acc, tile)
    assert found.sparsity["gemm"].startswith("64:2:10 of A runs with gathered columns: runs: 4 columns of 10 gathered")
    assert found.compute_cycles / dense.compute_cycles == pytest.approx(800 * 0.2 / 832)  # 13 whole steps of 64 dense
    a = 128 * 800 * (2 / 10 * 2 + (2 / 10 * 2 + 4 / 10 * 4 / 64) / 8)
    b = 2 * 0.4 * 800 * 128 * 2  # by each of the two blocks
    assert found.actions["write.smem"] == pytest.approx(a + b + 128 * 128 * 2)
    wide = run(op, acc, accsim.ThreadBlocks(tile_m=128, tile_n=128, split_k=1))
    assert wide.actions["write.smem"] == pytest.approx(a + b + 128 * 128 * 2)  # both groups of 64 rows gather their own
    by_rows = run(Gemm(128, 128, 800, sparsity="8:2:8", sparse_operand="A"), acc)
    assert "in the mode 2:4: runs padded: row by row" in by_rows.sparsity["gemm"]


def test_rows_pack_into_the_array() -> None:
    """256 columns of B with one nonzero of each four, 256 dense ones: 256 / 4 + 256 columns in folds of 128."""
    places = np.ones((256, 512), bool)
    places[:, :256] = False
    places[::4, :256] = True
    modes = {"bf16": ["1:4", "2:4"]}
    acc = machine("systolic_128", modes=modes, row_wise={"window": 64})
    one_tile = accsim.WeightStationary(tile_m=100, tile_n=512, tile_k=256)
    op = Gemm(100, 512, 256, sparsity=accsim.Unstructured(mask=places))
    found = run(op, acc, one_tile)
    folds = math.ceil(256 / 128) * math.ceil((256 / 4 + 256) / 128)
    assert found.compute_cycles == folds * (2 * 128 + 128 + 100 - 2)  # SCALE-Sim's runtime of a fold (ISPASS 2020)
    assert found.actions["mac.bf16"] == op.macs_effectual
    assert found.actions["read.sram"] - run(Gemm(100, 512, 256), acc, one_tile).actions["read.sram"] == pytest.approx(
        -2 * 100 * 256  # A passes three times instead of four
        - 256 * 512 * 2 + 256 * 512 * (0.625 * 2 + (0.625 * 2 + 2 / 64) / 8)
    )  # fmt: skip
    banks = machine("systolic_128", modes=modes, row_wise={"window": 64}, accumulator_banks=8)
    limited = run(op, banks, one_tile)
    assert limited.compute_cycles == 100 * 512 * math.ceil(256 / 128) / 8


def test_lanes_wait_for_the_fullest() -> None:
    places = mask((512, 256), 0.3)
    op = Gemm(512, 256, 512, sparsity=accsim.Unstructured(mask=places))
    acc, tile = machine("h100_sxm", lane_skipping={"window": 64}), accsim.ThreadBlocks(tile_m=128, tile_n=128)
    dense, found = run(Gemm(512, 256, 512), acc, tile), run(op, acc, tile)
    counts = places.T.reshape(64, 4, 8, 64).sum(axis=-1)  # four columns of the unit, windows of 64 places
    assert found.compute_cycles / dense.compute_cycles == pytest.approx(counts.max(axis=1).mean() / 64, abs=1e-4)
    assert found.actions["mac.bf16"] == pytest.approx(op.macs_effectual)
    assert "0.3 of the multiplications, 4 lanes wait every 64 places" in found.sparsity["gemm"].replace("0.299", "0.3")
    closed = run(Gemm(512, 256, 512, sparsity="unstructured(0.3)"), acc, tile)
    assert closed.compute_cycles == pytest.approx(found.compute_cycles, rel=0.02)


def test_outer_products_and_their_accumulators() -> None:
    a, b = mask((512, 256), 0.5, 1), mask((256, 512), 0.25, 2)
    op = Gemm(
        512, 512, 256, dtype="fp16", sparsity=accsim.Unstructured(mask=a), sparse_operand="A",
        other_sparsity=accsim.Unstructured(mask=b),
    )  # fmt: skip
    tile = accsim.ThreadBlocks(tile_m=128, tile_n=128)
    acc = machine("dstc_like")
    dense, found = run(Gemm(512, 512, 256, dtype="fp16"), acc, tile), run(op, acc, tile)
    steps_a = -(-a.reshape(16, 32, 256).sum(axis=1) // 8)
    steps_b = -(-b.T.reshape(16, 32, 256).sum(axis=1) // 16)
    issued = (steps_a @ steps_b.T).sum() * 8 * 16
    matched = int((a.sum(axis=0) * b.sum(axis=1)).sum())
    assert op.macs_effectual == matched == int((a.astype(int) @ b.astype(int)).sum())
    assert found.actions["mac.fp16"] == pytest.approx(issued)
    waited = found.compute_cycles / dense.compute_cycles
    assert issued / op.macs < waited < issued / op.macs * 1.1
    few = run(op, machine("dstc_like", accumulator_banks=16), tile)
    tiles = few.compute_cycles / (128 * 128 * 64 * matched / op.macs / (16 * 4))  # each of 4 steps of 64 places
    assert tiles == pytest.approx(4, rel=1e-3)
    assert few.compute_cycles > found.compute_cycles


def test_sums_that_meet_in_a_bank() -> None:
    """Two sums in two banks take 1.5 cycles on average, one sum at a time a cycle; many are spread evenly."""
    op = Gemm(512, 512, 256, dtype="fp16", sparsity="unstructured(0.5)", sparse_operand="A")
    tile = accsim.ThreadBlocks(tile_m=128, tile_n=128)

    def cycles(**sparse: Any) -> float:
        return run(op, machine("dstc_like", **sparse), tile).compute_cycles

    spread = cycles(accumulator_banks=2)
    assert spread == pytest.approx(
        4 * 128 * 128 * 64 / 2 / (2 * 4)
    )  # 4 steps of 64 places, half of them with a nonzero
    assert cycles(accumulator_banks=2, accumulator_queue=2) == pytest.approx(1.5 * spread, rel=1e-6)
    assert cycles(accumulator_banks=2, accumulator_queue=1) == pytest.approx(2 * spread, rel=1e-6)
    longer = [cycles(accumulator_banks=2, accumulator_queue=queue) for queue in (1, 2, 8, 64, 4096)]
    assert longer == sorted(longer, reverse=True)
    assert longer[-1] == pytest.approx(spread, rel=0.02)


@pytest.mark.parametrize(("a", "b", "values"), [("1:8", "4:8", 4), ("1:8", None, 8), ("4:8", None, 8)])
def test_the_select_network_limits_a_bound_block(a: str, b: str | None, values: int) -> None:
    """32 columns take a block of B, of 4 or 8 bytes, at 128 bytes a cycle; a block of A takes a cycle a nonzero."""
    op = Gemm(256, 256, 512, dtype="int8", sparsity=a, sparse_operand="A", other_sparsity=b)
    found = run(op, "s2ta_like", accsim.OutputStationary(tile_m=256, tile_n=256, tile_k=512))
    folds, blocks = (256 // 64) * (256 // 32), 512 // 8
    a_block = max(int(a[0]), 32 * values / 128)
    assert found.compute_cycles == folds * blocks * a_block + 2 * 64 + 32 - 2  # the first fold's fill, the last's drain
    if b is not None:
        assert found.sparsity["gemm"].endswith("; 4:8 of B is held as 4:8")
        assert found.actions["mac.int8"] == op.macs_effectual == op.macs / 16
        assert found.actions["mac_gated.int8"] == op.macs / 16


SPARSELOOP = [("2:4", 2.00), ("2:6", 2.10), ("2:8", 2.21)]


@pytest.mark.parametrize(("pattern", "published"), SPARSELOOP)
def test_the_flexible_core_of_sparseloop(pattern: str, published: float) -> None:
    """Wu et al., MICRO 2022, artefact of figure 15: 128 x 1152 x 1024 with the study's tile, and no memory beyond."""
    fast = {"memories.dram.read_bandwidth": "90 TB/s", "memories.dram.write_bandwidth": "90 TB/s"}
    acc = accsim.load_accelerator("stc_flexible", set=fast)
    tile = accsim.OutputStationary(tile_m=64, tile_n=128, order="nm", resident=True)
    found = run(Gemm(128, 1024, 1152, dtype="int8", sparsity=pattern, sparse_operand="A"), acc, tile)
    assert 128 * 1024 * 1152 / 1024 / found.total_cycles == pytest.approx(published, rel=0.03)
    assert found.compute_cycles * int(pattern[2]) / int(pattern[0]) >= 128 * 1024 * 1152 / 1024


VEGETA = [("2:4", 2.20), ("1:4", 3.74), ("unstructured(0.05)", 3.28)]


@pytest.mark.parametrize(("pattern", "published"), VEGETA)
def test_speedups_of_vegeta(pattern: str, published: float) -> None:
    """Jeong et al., HPCA 2023, abstract: over another engine, which the dense one beats by 1.09."""
    sizes = {"m": 1024, "n": 1024, "k": 1024}
    dense, found = run(Gemm(**sizes), "vegeta_like"), run(Gemm(**sizes, sparsity=pattern), "vegeta_like")
    assert dense.total_cycles / found.total_cycles == pytest.approx(published / 1.09, rel=0.03)


DSTC = [(1, 0.4, 2500), (0.9, 1, 4160), (0.7, 0.4, 1820), (0.5, 1, 2690), (0.5, 0.4, 1480), (0.3, 1, 1930)]


@pytest.mark.parametrize(("a", "b", "published"), DSTC)
def test_latencies_of_the_dual_side_core(a: float, b: float, published: int) -> None:
    """Wang et al., ISCA 2021, figure 21, as Sparseloop's authors digitised it: of 4600 for dense operands."""
    sparse = {"sparsity": f"unstructured({a})", "other_sparsity": f"unstructured({b})"}
    left = sparse_run(Gemm(4096, 4096, 4096, dtype="fp16", sparse_operand="A", **sparse), machine("dstc_like"))
    assert left.issued == pytest.approx(published / 4600, rel=0.11)
    assert left.time == pytest.approx(published / 4600, rel=0.15)


UNITS = {
    "stc_flexible": {}, "vegeta_like": {}, "s2ta_like": {}, "dstc_like": {"gated_energy": 0.03},
    "h100_sxm": {"gathered_rows": 16, "gated_energy": 0.03},
    "systolic_128": {"lane_skipping": {"window": 32}},
}  # fmt: skip
PATTERNS = ["2:4", "1:8", "2:6", "64:2:8", "unstructured(0.04)", "unstructured(0.4)", "block(8, 8, 0.25)"]
ops = st.builds(Gemm, m=st.integers(1, 300), n=st.integers(1, 40).map(lambda n: 8 * n), k=st.integers(1, 6).map(
    lambda k: 128 * k), weights=st.booleans())  # fmt: skip
units = st.sampled_from(sorted(UNITS))


def sparse(op: Gemm, operand: str, pattern: str, other: str | None = None) -> Gemm:
    rows = -(-op.m // 8) * 8  # blocks divide them
    return Gemm(
        rows, op.n, op.k, weights=op.weights, sparsity=pattern, sparse_operand=operand, other_sparsity=other
    )  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(ops, units, st.sampled_from(PATTERNS), st.sampled_from([None, *PATTERNS]), st.sampled_from("AB"))
def test_skipping_never_beats_the_effectual_work(
    op: Gemm, name: str, pattern: str, other: str | None, operand: str
) -> None:
    acc, pruned = machine(name, **UNITS[name]), sparse(op, operand, pattern, other)
    found = run(pruned, acc)
    assert found.compute_cycles / acc.clock_hz * acc.peak_macs_per_s("bf16") >= pruned.macs_effectual * (1 - 1e-6)
    issued = sum(found.actions.get(f"{kind}.bf16", 0.0) for kind in ("mac", "mac_gated"))
    assert issued >= pruned.macs_effectual * (1 - 1e-6)
    if acc.matrix_unit.sparse.gated_energy < 1:
        assert found.actions["mac.bf16"] == pytest.approx(pruned.macs_effectual, rel=1e-6)
    assert 0 < found.overall_utilization <= found.array_utilization <= 1 + 1e-9


@settings(max_examples=12, deadline=None)
@given(ops, units, st.sampled_from(["4:4", "unstructured(1)", "8:8"]), st.sampled_from([None, "8:8"]))
def test_dense_bounds_are_the_dense_product(op: Gemm, name: str, pattern: str, other: str | None) -> None:
    acc, pruned = machine(name, **UNITS[name]), sparse(op, "B", pattern, other)
    found, dense = run(pruned, acc), run(Gemm(pruned.m, op.n, op.k, weights=op.weights), acc)
    assert (found.total_cycles, found.energy_j, found.traffic_bytes) == (
        dense.total_cycles, dense.energy_j, dense.traffic_bytes,
    )  # fmt: skip
    assert found.actions == dense.actions


@settings(max_examples=12, deadline=None)
@given(ops, units, st.sampled_from(PATTERNS), st.sampled_from([None, "4:8", "unstructured(0.5)"]))
def test_gating_never_changes_time(op: Gemm, name: str, pattern: str, other: str | None) -> None:
    pruned = sparse(op, "B", pattern, other)
    gates, plain = (machine(name, **(UNITS[name] | {"gated_energy": share})) for share in (0.03, 1.0))
    mapping = run(pruned, plain).mapping["gemm"]
    gated, found = run(pruned, gates, mapping), run(pruned, plain, mapping)
    assert (gated.total_cycles, gated.traffic_bytes) == (found.total_cycles, found.traffic_bytes)
    assert gated.energy_j <= found.energy_j * (1 + 1e-12)


@settings(max_examples=10, deadline=None)
@given(ops, st.sampled_from(["dstc_like", "systolic_128", "s2ta_like"]), st.integers(1, 7), st.integers(1, 7))
def test_denser_is_never_faster(op: Gemm, name: str, one: int, two: int) -> None:
    acc = machine(name, **UNITS[name])
    form = "{}:8" if name == "s2ta_like" else "unstructured({}/8)"
    low, high = (sparse(op, "B", form.format(n)) for n in sorted((one, two)))
    mapping = run(low, acc).mapping["gemm"]
    assert run(low, acc, mapping).total_cycles <= run(high, acc, mapping).total_cycles * (1 + 1e-9)


REASONS = [
    ("dstc_like", "unstructured(0.99)", None, "B runs dense, multiplications by its zeros gated: packed tiles of 32"),
    ("dstc_like", "unstructured(0.5)", "2:4", "B and 2:4 of A run as outer products of nonzeros: 0."),
    ("vegeta_like", "unstructured(0.05)", None, "B runs row by row: runs padded: each row at the n of 4 that fits 64"),
    ("vegeta_like", "2:4", "1:4", "A runs in the mode 1:4: runs: 1:4 of 1:4; 2:4 of B lies dense: the unit systolic"),
    ("vegeta_like", "channel(0.25)", "2:4", "A runs in the mode 2:4: runs: 2:4 of 2:4; channel(1/4) of B lies dense"),
    ("vegeta_like", "unstructured(0.05)", "2:6", "n of 4 that fits 64 places, 1.22 on average; 2:6 of A lies dense"),
    ("s2ta_like", "4:8", "6:8", "B runs in the mode 4:8: runs: 4:8 of 4:8; 6:8 of A lies dense: an aligned run"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "pattern", "other", "reason"), REASONS)
def test_the_report_says_why(name: str, pattern: str, other: str | None, reason: str) -> None:
    gates = {"gated_energy": 0.03} if name == "dstc_like" else {}
    found = run(Gemm(256, 256, 256, sparsity=pattern, other_sparsity=other), machine(name, **gates))
    assert reason in found.sparsity["gemm"]
    assert found.to_dict()["sparsity"] == found.sparsity


def test_every_n_below_m() -> None:
    assert machine("systolic_128", modes={"bf16": ["*:4"]}).matrix_unit.sparse.modes["bf16"] == ("1:4", "2:4", "3:4")


OUTER = {"tile_m": 8, "tile_n": 8, "window": 8}
BAD = [
    ({"lane_skipping": {"window": 8}, "outer_product": OUTER}, "beside outer_product"),
    ({"row_wise": {"window": 64}}, "allowed beside modes only"),
    ({"modes": {"bf16": ["1:4", "2:8"]}, "row_wise": {"window": 64}}, "modes of one m that divides its window, 64"),
    ({"modes": {"bf16": ["1:4"]}, "row_wise": {"window": 6}}, "modes of one m that divides its window, 6"),
    ({"lane_skipping": {}}, "window"),
    ({"modes": {"bf16": ["*:1"]}}, "allowed is n:m with n below m"),
    ({"operand_width": 42}, "operand_width"),
    ({"accumulator_banks": 0}, "accumulator_banks"),
    ({"accumulator_banks": 8, "accumulator_queue": 8}, "accumulator_queue: allowed beside accumulator_banks and outer"),
]  # fmt: skip


@pytest.mark.parametrize(("sparse_keys", "message"), BAD)
def test_what_does_not_fit_together_is_told(sparse_keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        accsim.load_accelerator("systolic_128", set={UNIT: sparse_keys})

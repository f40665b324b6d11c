"""Products with a sparse operand: against SCALE-Sim's formula, storage formats and data sheets, and laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim import Accelerator, Gemm, Report
from accsim.errors import InputError
from accsim.sparsity.formats import NMIndex
from accsim.sparsity.storage import stored_bits

FORMS = [("WeightStationary", "m", "kn"), ("OutputStationary", "k", "mn"), ("InputStationary", "n", "km")]


def machine(name: str, *modes: str, gated: float = 1.0, **changes: Any) -> Accelerator:
    given = {"matrix_unit.sparse.gated_energy": gated} | ({"matrix_unit.sparse.modes.bf16": [*modes]} if modes else {})
    return accsim.load_accelerator(name, set=given | {key.replace("__", "."): value for key, value in changes.items()})


def run(op: Gemm, acc: Accelerator | str, dataflow: Any = None) -> Report:
    return accsim.simulate(op, acc, dataflow=dataflow, power_cap=False)


def counters(report: Report) -> dict[str, Any]:
    plain = report.to_dict()
    return {key: plain[key] for key in ("total_cycles", "energy_j", "stalls", "traffic_bytes", "critical_path")} | {
        "actions": report.actions
    }


@pytest.mark.parametrize(("form", "steps", "folded"), FORMS)
def test_cycles_are_those_of_a_dense_product_with_half_of_k(form: str, steps: str, folded: str) -> None:
    """SCALE-Sim's runtime (ISPASS 2020) with k/2: ceil(rows/128) ceil(cols/128) (2 128 + 128 + T - 2)."""
    one_tile = getattr(accsim, form)(tile_m=500, tile_n=700, tile_k=600)
    found = run(Gemm(m=500, n=700, k=600, sparsity="2:4"), machine("systolic_128", "2:4"), one_tile)
    extents = {"m": 500, "n": 700, "k": 300}
    folds = np.prod([-(-extents[axis] // 128) for axis in folded])
    assert found.compute_cycles == folds * (2 * 128 + 128 + extents[steps] - 2)


@pytest.mark.parametrize("operand", ["A", "B"])
@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (2, 8)])
def test_main_memory_reads_what_the_format_stores(operand: str, n: int, m: int) -> None:
    op = Gemm(m=96, n=160, k=64, sparsity=f"{n}:{m}", sparse_operand=operand)
    found = run(op, machine("systolic_128", f"{n}:{m}"), accsim.OutputStationary(tile_m=96, tile_n=160, tile_k=64))
    shape, axis = ((96, 64), 1) if operand == "A" else ((64, 160), 0)
    pattern = accsim.NM(n, m)
    mask = accsim.draw_mask(pattern, shape, seed=0, axes=("m", "k") if operand == "A" else ("k", "n"))
    stored = stored_bits(NMIndex(n, m, axis), mask, value_bits=16) / 8
    dense = 2 * 64 * (160 if operand == "A" else 96)
    assert found.traffic_bytes["dram"]["read"] == stored + dense
    assert found.actions["mac.bf16"] == op.macs_effectual
    # the array reads the compressed operand once for each fold of the other, and decodes each value that it reads
    folds = -(-160 // 128) if operand == "A" else 1
    assert found.actions["decode.bf16"] == folds * mask.sum()


DATA_SHEETS = [
    ("a100_sxm", "bf16", 624), ("a100_sxm", "int8", 1248), ("a100_sxm", "tf32", 312),
    ("h100_sxm", "bf16", 1979), ("h100_sxm", "fp8", 3958), ("h200_sxm", "bf16", 1979),
]  # fmt: skip


@pytest.mark.parametrize(("name", "dtype", "tera"), DATA_SHEETS)
def test_sparse_peaks_of_the_data_sheets(name: str, dtype: str, tera: float) -> None:
    acc = accsim.load_accelerator(name)
    n, m = map(int, acc.matrix_unit.sparse.modes[dtype][0].split(":"))
    assert 2 * acc.peak_macs_per_s(dtype) * m / n == pytest.approx(tera * 1e12, rel=0.005)


ops = st.builds(
    Gemm, m=st.integers(1, 600), n=st.integers(1, 600), k=st.integers(1, 900), batch=st.integers(1, 2),
    weights=st.booleans(),
)  # fmt: skip
machines = st.sampled_from(["systolic_128", "h100_sxm"])
patterns = st.sampled_from(["2:4", "1:4", "2:8", "unstructured(0.3)", "channel(0.5)", "64:2:8"])


def sparse(op: Gemm, pattern: str, operand: str = "B") -> Gemm:
    return Gemm(op.m, op.n, op.k, op.batch, weights=op.weights, sparsity=pattern, sparse_operand=operand)


@settings(max_examples=15, deadline=None)
@given(ops, machines, st.sampled_from("AB"))
def test_a_pattern_that_prunes_nothing_changes_nothing(op: Gemm, name: str, operand: str) -> None:
    acc = machine(name, "2:4", "1:4", gated=0.03)
    assert counters(run(sparse(op, "4:4", operand), acc)) == counters(run(op, acc))


@settings(max_examples=15, deadline=None)
@given(ops, machines, st.sampled_from(["2:4", "unstructured(0.3)", "channel(0.5)"]))
def test_gating_never_changes_time_and_spares_the_pruned(op: Gemm, name: str, pattern: str) -> None:
    pruned = sparse(op, pattern)
    plain = accsim.load_accelerator(name, set={"matrix_unit.sparse": {}})
    gates = accsim.load_accelerator(name, set={"matrix_unit.sparse": {"gated_energy": 0.032}})
    mapping = run(op, plain).mapping["gemm"]
    dense, gated = run(op, plain, mapping), run(pruned, gates, mapping)
    assert gated.total_cycles == dense.total_cycles
    assert gated.traffic_bytes == dense.traffic_bytes
    assert gated.actions["mac.bf16"] == pytest.approx(pruned.macs_effectual)
    spared = (op.macs - pruned.macs_effectual) * (1 - 0.032) * plain.energy.mac_pj("bf16").nominal * 1e-12
    assert dense.energy_breakdown_j["mac"] - gated.energy_breakdown_j["mac"] == pytest.approx(spared, abs=1e-15)


@settings(max_examples=25, deadline=None)
@given(ops, machines, patterns, st.sampled_from("AB"))
def test_skipping_never_beats_the_effectual_work(op: Gemm, name: str, pattern: str, operand: str) -> None:
    if operand == "A" and pattern.startswith("channel"):
        pattern = "nm(2, 4)"
    acc = machine(name, "2:4", "1:4")
    pruned = sparse(op, pattern, operand)
    found = run(pruned, acc)
    assert found.compute_cycles / acc.clock_hz * acc.peak_macs_per_s("bf16") >= pruned.macs_effectual * (1 - 1e-9)
    assert 0 < found.overall_utilization <= found.array_utilization <= found.mapping_utilization <= 1 + 1e-9


def test_a_flexible_unit_is_bound_by_shared_memory() -> None:
    """256 x 128 x 64 takes 1024 cycles dense and 256 at 1:4, where its operands take the port of shared memory 293."""
    op, quarter = Gemm(m=8192, n=8192, k=8192), Gemm(m=8192, n=8192, k=8192, sparsity="1:4")
    fast = {
        f"memories__{path}": "900 TB/s" for path in ("l2__read_bandwidth", "l2__write_bandwidth", "hbm__read_bandwidth")
    }
    fast |= {f"memories__{path}": "0 ns" for path in ("smem__latency", "l2__latency", "hbm__latency")}
    acc = machine("h100_sxm", "1:4", **fast)
    tile = accsim.ThreadBlocks(tile_m=256, tile_n=128, split_k=1)
    dense, found = run(op, acc, tile), run(quarter, acc, tile)
    assert dense.compute_cycles == 4 * found.compute_cycles
    assert dense.bound_by.startswith("matrix")
    assert found.bound_by.startswith("smem")
    # the read port has 128 bytes a cycle: A whole (256 rows of 128 bytes), B a quarter with 2 bits a value
    port = (256 * 64 * 2 + 128 * 64 / 4 * (2 + 2 / 8)) / 128
    assert 1024 / port == pytest.approx(3.5, abs=0.01)
    assert dense.total_cycles / found.total_cycles == pytest.approx(1024 / port, rel=0.02)


REASONS = [
    ("2:4", "2:4 of B runs in the mode 2:4: runs: 2:4 of 2:4"),
    ("2:8", "2:8 of B runs in the mode 2:4: runs padded: 2:8 of 2:4"),
    ("2:6", "2:6 of B runs dense: needs re-pruning: an aligned run of a 2:6 mask can hold 4 of 4 (at most 2)"),
    ("nm(2, 4, axis=n)", "nm(2, 4, axis=n) of B runs dense: wrong axis: the pattern runs along n"),
    ("unstructured(0.1)", "unstructured(1/10) of B runs dense: no structure: zeros may lie anywhere"),
    ("channel(0.5)", "channel(1/2) of B runs dense: give the smaller product for its speed"),
]


@pytest.mark.parametrize(("pattern", "reason"), REASONS)
def test_the_report_says_how_it_ran_and_why(pattern: str, reason: str) -> None:
    op = Gemm(m=512, n=512, k=512)
    found = run(sparse(op, pattern), "h100_sxm")
    assert found.sparsity["gemm"].startswith(reason)
    assert found.to_dict()["sparsity"] == found.sparsity
    if "dense" in reason:
        assert counters(found) == counters(run(op, "h100_sxm"))


def test_masks_are_judged_by_themselves() -> None:
    legal = accsim.draw_mask(accsim.NM(2, 4), (256, 128), seed=1)
    crowded = legal.copy()
    crowded[:4, 0] = True
    fast, slow = (run(Gemm(512, 128, 256, sparsity=accsim.Unstructured(mask=m)), "h100_sxm") for m in (legal, crowded))
    assert "every run along k fits 2:4" in fast.sparsity["gemm"]
    assert "runs dense: needs re-pruning: runs along k that hold too many: 0.0122 % of 2:4" in slow.sparsity["gemm"]
    assert fast.compute_cycles < slow.compute_cycles


def test_cycle_fidelity_is_of_dense_products() -> None:
    with pytest.raises(InputError, match="fidelity cycle emulates dense products; 2:4 of B runs in the mode 2:4"):
        accsim.simulate(Gemm(8, 8, 8, sparsity="2:4"), machine("systolic_128", "2:4"), fidelity="cycle")


@pytest.mark.parametrize("modes", [["4:2"], ["2/4"], [], [124], "2:4"])
def test_bad_modes(modes: Any) -> None:
    with pytest.raises(InputError, match=r"matrix_unit\.sparse\.modes"):
        machine("systolic_128", matrix_unit__sparse__modes={"bf16": modes})

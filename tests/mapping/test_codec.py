"""Decompressors and compressors as units of their own: against closed forms and published speedups, and laws."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim import Accelerator, Gemm, Report
from accsim.errors import InputError

ARRAY = accsim.OutputStationary(64, 128, 128, "mn", False, 1, 1)
MAPPINGS = {"systolic_128": ARRAY, "h100_sxm": accsim.ThreadBlocks(64, 64, 1)}
ENDLESS: dict[str, Any] = {"values_per_cycle": 1e12}
TICK = 1 / 4096


def machine(name: str, **sparse: Any) -> Accelerator:
    return accsim.load_accelerator(name, set={f"matrix_unit.sparse.{key}": value for key, value in sparse.items()})


def run(op: Gemm, acc: Accelerator | str, dataflow: Any = None) -> Report:
    return accsim.simulate(op, acc, dataflow=dataflow, power_cap=False)


# Decompression


def test_a_slow_decompressor_is_what_a_product_waits_for() -> None:
    """Each of 4 column folds takes all of A, of which 2:4 stores a half: 4 · 512 · 512 / 2 values, two a cycle."""
    op = Gemm(512, 512, 512, sparsity="2:4", sparse_operand="A")
    tile = accsim.OutputStationary(512, 512, 128, "mn", False, 1, 1)
    acc = machine("systolic_128", modes={"bf16": ["2:4"]}, decompressor={"values_per_cycle": 2, "energy": "0.5 pJ"})
    found = run(op, acc, tile)
    values = 4 * 512 * 512 / 2
    assert found.actions["decode.bf16"] == values
    assert found.utilization["decompressor"] * found.total_cycles == values / 2
    assert found.bound_by == "decompressor/resource"
    # the first step's loads come before, the last step's product after
    alone = run(op, machine("systolic_128", modes={"bf16": ["2:4"]}), tile).total_cycles
    assert values / 2 < found.total_cycles < values / 2 + alone
    assert found.energy_breakdown_j["codec"] == pytest.approx(values * 0.5e-12)
    assert found.what_if({"decompressor": 2.0}).total_cycles < found.total_cycles


def test_steps_are_decompressed_while_the_one_before_is_multiplied() -> None:
    """Four steps of k on an SM, as many values as make both take 1024 cycles: five in a row, not eight."""
    fast = {
        f"memories.{name}.{way}_bandwidth": "1000000 TB/s"
        for name in ("smem", "l2", "hbm")
        for way in ("read", "write")
    }
    fast |= {f"memories.{name}.latency": "0 ns" for name in ("smem", "l2", "hbm")}
    values = 256 * 64 / 2  # A's of a step
    codec = {"matrix_unit.sparse.decompressor": {"values_per_cycle": values / 512}}
    acc = accsim.load_accelerator("h100_sxm", set=fast | codec)
    found = run(Gemm(256, 128, 256, sparsity="2:4", sparse_operand="A"), acc, accsim.ThreadBlocks(256, 128, 1))
    total = found.ops[0].parts[0].counters.total_ticks * TICK
    epilogue = 256 * 128 * 2 / 128
    assert found.utilization["matrix"] == found.utilization["decompressor"]
    assert total == pytest.approx(5 * 512 + epilogue, abs=1)


@pytest.mark.parametrize("name", sorted(MAPPINGS))
def test_an_expanded_operand_is_one_of_half_the_bits(name: str) -> None:
    """7/16 of 16 bits and a bit for each place are 8 bits: those of an int8 that is multiplied as it is."""
    acc = machine(name, decompressor=ENDLESS | {"expands": True})
    found = run(Gemm(500, 300, 512, sparsity="unstructured(7/16)"), acc, MAPPINGS[name])
    mixed = accsim.load_accelerator(name, set={"matrix_unit.mixed": {"bf16": ["int8"]}})
    peer = run(Gemm(500, 300, 512, weight_dtype="int8"), mixed, MAPPINGS[name])
    assert found.total_cycles == pytest.approx(peer.total_cycles, abs=0.01)
    assert found.traffic_bytes == peer.traffic_bytes
    assert found.memory["weights"] == peer.memory["weights"] == 300 * 512
    assert found.actions["mac.bf16"] == peer.actions["mac.bf16"] == 500 * 300 * 512
    assert "of B runs dense, B expanded from a bitmap: " in found.sparsity["gemm"]


DUAL = [
    ((128, 1152, 1024), 0.44, "2:4", 147456 / 73728), ((128, 1152, 1024), 0.44, "2:6", 147456 / 49153),
    ((128, 1152, 1024), 0.44, "2:8", 147456 / 42271), ((512, 256, 1024), 0.82, "2:4", 131072 / 65536),
    ((512, 256, 1024), 0.82, "2:6", 131072 / 64787), ((512, 256, 1024), 0.82, "2:8", 131072 / 56549),
]  # fmt: skip


@pytest.mark.parametrize(("sizes", "density", "pattern", "published"), DUAL)
def test_activations_compressed_beside_sparse_weights(
    sizes: tuple[int, int, int], density: float, pattern: str, published: float
) -> None:
    """Wu et al., MICRO 2022, artefact of figure 15, dualCompress: B as a bitmap in DRAM and SMEM, expanded for free."""
    fast = {"memories.dram.read_bandwidth": "90 TB/s", "memories.dram.write_bandwidth": "90 TB/s"}
    dual = {"decompressor": ENDLESS | {"expands": True}, "operand_width": None}
    acc = accsim.load_accelerator("stc_flexible", set=fast | {f"matrix_unit.sparse.{k}": v for k, v in dual.items()})
    tile = accsim.OutputStationary(tile_m=64, tile_n=128, order="nm", resident=True)
    m, k, n = sizes
    op = Gemm(m, n, k, dtype="int8", sparsity=pattern, sparse_operand="A", other_sparsity=f"unstructured({density})")
    # the study pads 256 places to 288 for 2:6, and the model to 258
    assert m * n * k / 1024 / run(op, acc, tile).total_cycles == pytest.approx(published, rel=0.08)


# Compression


@pytest.mark.parametrize("split_k", [1, 4])
@pytest.mark.parametrize("name", sorted(MAPPINGS))
def test_compressed_results_are_results_of_half_the_bits(name: str, split_k: int) -> None:
    mapping = accsim.ThreadBlocks(64, 64, split_k) if name == "h100_sxm" else ARRAY
    op = Gemm(500, 300, 512, out_sparsity="unstructured(7/16)")
    fast, slow = ({"results_per_cycle": rate, "energy": "2 pJ"} for rate in (1e12, 0.5))
    found, peer = (
        run(op, machine(name, compressor=fast), mapping),
        run(Gemm(500, 300, 512, out_dtype="int8"), name, mapping),
    )
    assert found.total_cycles == pytest.approx(peer.total_cycles, abs=0.01)
    assert found.traffic_bytes == peer.traffic_bytes
    assert found.actions["encode.bf16"] == pytest.approx(500 * 300)
    assert found.energy_breakdown_j["codec"] == pytest.approx(500 * 300 * 2e-12)
    waits = run(op, machine(name, compressor=slow), mapping)
    # a core's share: blocks of its own, or of all that are reduced at the end
    cores = 1 if name == "systolic_128" else 132 if split_k > 1 else 40
    assert waits.utilization["compressor"] * waits.total_cycles == pytest.approx(500 * 300 / cores / 0.5, rel=1e-3)
    assert waits.total_cycles > found.total_cycles


def test_blocks_of_a_bound_are_stored_as_the_next_product_reads_them() -> None:
    """4 of 8 with 3 bits each: what S2TA's next product takes for its A."""
    first = run(Gemm(256, 512, 256, dtype="int8", out_sparsity="4:8"), "s2ta_like")
    assert first.traffic_bytes["dram"]["write"] == 256 * 512 * (4 * (8 + 3) / 8) / 8
    after = Gemm(256, 256, 512, dtype="int8", sparsity="4:8", sparse_operand="A")
    tile = accsim.OutputStationary(256, 256, 512)
    assert (
        run(after, "s2ta_like", tile).traffic_bytes["dram"]["read"] == first.traffic_bytes["dram"]["write"] + 512 * 256
    )


TOLD = [
    ("s2ta_like", "4:8", "4:8 of C is stored compressed"),
    ("s2ta_like", "unstructured(0.99)", "of C is stored whole: no smaller compressed"),
    ("h100_sxm", "4:8", "4:8 of C is stored whole: the machine has no compressor"),
]


@pytest.mark.parametrize(("name", "pattern", "reason"), TOLD)
def test_the_report_says_how_results_are_stored(name: str, pattern: str, reason: str) -> None:
    found = run(Gemm(64, 64, 64, dtype="int8", out_sparsity=pattern), name)
    assert found.sparsity["gemm"].endswith(reason)


# Laws

ops = st.builds(Gemm, m=st.integers(1, 400), n=st.integers(1, 500), k=st.integers(1, 900), batch=st.integers(1, 2))
names = st.sampled_from(sorted(MAPPINGS))
MODES = {"modes": {"bf16": ["2:4", "1:4"]}}


def codec(rate: float) -> dict[str, Any]:
    """A decompressor that expands and a compressor of one rate."""
    return {"decompressor": {"values_per_cycle": rate, "expands": True}, "compressor": {"results_per_cycle": rate}}


@settings(max_examples=12, deadline=None)
@given(ops, names, st.sampled_from(["4:4", "2:4", "1:4", "unstructured(0.3)"]), st.sampled_from("AB"))
def test_a_decompressor_without_limit_changes_nothing(op: Gemm, name: str, pattern: str, operand: str) -> None:
    """But for ticks: times are whole ones, so that the values of a step take one."""
    pruned = Gemm(op.m, op.n, op.k, op.batch, sparsity=pattern, sparse_operand=operand)
    plain = run(pruned, machine(name, **MODES), MAPPINGS[name])
    found = run(pruned, machine(name, decompressor=ENDLESS, **MODES), MAPPINGS[name])
    assert (found.actions, found.traffic_bytes) == (plain.actions, plain.traffic_bytes)
    assert plain.total_cycles <= found.total_cycles <= plain.total_cycles * (1 + 1e-6)


@settings(max_examples=10, deadline=None)
@given(ops, names, st.sampled_from("AB"))
def test_a_pattern_that_prunes_nothing_is_not_compressed(op: Gemm, name: str, operand: str) -> None:
    pruned = Gemm(op.m, op.n, op.k, op.batch, sparsity="4:4", sparse_operand=operand, out_sparsity="8:8")
    found, dense = run(pruned, machine(name, **codec(1), **MODES), MAPPINGS[name]), run(op, name, MAPPINGS[name])
    assert (found.total_cycles, found.energy_j) == (dense.total_cycles, dense.energy_j)
    assert (found.actions, found.traffic_bytes) == (dense.actions, dense.traffic_bytes)


@settings(max_examples=10, deadline=None)
@given(ops, names, st.integers(1, 64), st.sampled_from(["2:4", "unstructured(0.3)"]))
def test_no_product_is_faster_than_its_codec(op: Gemm, name: str, rate: int, pattern: str) -> None:
    acc = machine(name, **codec(rate), **MODES)
    pruned = Gemm(op.m, op.n, op.k, op.batch, sparsity=pattern, out_sparsity=pattern)
    found, faster = (run(pruned, one, MAPPINGS[name]) for one in (acc, machine(name, **codec(2 * rate), **MODES)))
    bound = accsim.simulate(pruned, acc, dataflow=MAPPINGS[name], fidelity="analytic", power_cap=False)
    for kind in ("decode", "encode"):
        assert found.actions.get(f"{kind}.bf16", 0.0) / rate / acc.cores <= found.total_cycles
    assert faster.total_cycles <= found.total_cycles
    assert bound.total_cycles <= found.total_cycles


BAD = [
    ({"decompressor": {"values_per_cycle": 8}}, "expands: read false, allowed is true for a unit that reads nothing"),
    ({"decompressor": {"values_per_cycle": 0, "expands": True}}, "decompressor.values_per_cycle"),
    ({"compressor": {}}, "compressor.results_per_cycle"),
    ({"compressor": {"results_per_cycle": 8, "energy": "8 J"}}, "compressor.energy"),
]  # fmt: skip


@pytest.mark.parametrize(("sparse_keys", "message"), BAD)
def test_what_does_not_fit_together_is_told(sparse_keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        accsim.load_accelerator("systolic_128", set={"matrix_unit.sparse": sparse_keys})


def test_a_pattern_of_results_that_they_cannot_have_is_told() -> None:
    with pytest.raises(InputError, match="out_sparsity: read"):
        Gemm(64, 64, 64, out_sparsity="window(8)")
    with pytest.raises(InputError, match="out_sparsity"):
        Gemm(64, 60, 64, out_sparsity="block(8, 8, 0.5)")

"""Every shipped machine runs every shipped workload, and no time lies below a bound worked out here."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

import accsim
from accsim.config.machine import Accelerator
from accsim.workload.ops import Op
from tests.report.shipped import COVERING, EVERY_PAIR, EVERY_SMALL, report

ROOT = Path(__file__).resolve().parents[2]


def bounds_s(op: Op, acc: Accelerator) -> tuple[float, float]:
    """(compute, bandwidth): useful MACs at the peak rate; each operand once in, each result once out of main memory."""
    compute = op.macs / acc.peak_macs_per_s(op.dtype) if op.macs else 0.0
    memory = acc.main_memory
    read = (op.input_bytes + op.weight_bytes) / memory.read_bytes_per_s
    write = op.output_bytes / memory.write_bytes_per_s
    return compute, read + write if memory.shared_bandwidth else max(read, write)


def pairs() -> list[ParameterSet]:
    """All pairs; those beyond the covering ones are slow."""
    marks = {False: [pytest.mark.slow], True: []}
    return [pytest.param(*pair, marks=marks[pair in COVERING], id="-".join(pair)) for pair in EVERY_PAIR]


def test_quick_pairs_have_every_machine_and_workload() -> None:
    assert {machine for machine, _ in COVERING} == set(accsim.list_accelerators())
    assert {workload for _, workload in COVERING} == set(accsim.list_workloads())
    assert set(EVERY_PAIR) == set(product(accsim.list_accelerators(), accsim.list_workloads())) > COVERING


@pytest.mark.parametrize(("machine", "workload"), pairs())
def test_runs_within_its_bounds(machine: str, workload: str) -> None:
    rep = accsim.simulate(EVERY_SMALL[workload], machine)
    bounds = [(count, *bounds_s(op, rep.machine)) for op, count in rep.workload]
    assert rep.latency_s >= sum(count * compute for count, compute, _ in bounds) > 0
    assert rep.latency_s >= sum(count * bandwidth for count, _, bandwidth in bounds) > 0
    assert rep.latency_s >= sum(count * max(compute, bandwidth) for count, compute, bandwidth in bounds)
    idle = rep.machine.power.idle_w
    assert rep.power_w >= idle
    assert rep.clock_hz <= rep.machine.clock_hz
    for row in rep.ops:
        compute, bandwidth = bounds_s(row.op, rep.machine)
        assert row.energy.latency_s >= max(compute, bandwidth)
        assert row.power_w == pytest.approx(row.energy.total_j / row.energy.latency_s)
        assert row.power_w >= idle * (1 - 1e-12)


def test_what_does_not_fit_an_ipu_is_told() -> None:
    assert report("ipu_bow", "bert_base").memory["fits"]
    assert not report("ipu_bow", "llama3_8b_decode").memory["fits"]
    assert report("ipu_bow", "bert_base").traffic_bytes["sram"]["read"] > 0


def test_data_types_of_the_machines() -> None:
    op = accsim.Gemm(256, 256, 256, dtype="fp8")
    for name in ("h100_sxm", "l40s", "tpu7x", "b200_sxm"):
        assert accsim.simulate(op, name).energy_breakdown_j["mac"] == pytest.approx(256**3 * 0.52e-12)
    for name in ("a100_sxm", "tpu_v4", "ipu_bow"):
        assert "A in fp8 is converted to" in accsim.simulate(op, name).formats["gemm"]
    with pytest.raises(accsim.InputError, match="does not support fp32, only bf16, int8, and none holds its values"):
        accsim.simulate(accsim.Gemm(256, 256, 256, dtype="fp32"), "tpu_v4")
    assert accsim.simulate(accsim.Gemm(64, 64, 64, dtype="tf32"), "a100_sxm").macs == 64**3


def test_a_block_format_runs_at_its_rate_and_moves_its_scales(tmp_path: Path) -> None:
    table = (ROOT / "hw_configs" / "energy" / "jouppi_7nm.yaml").read_text(encoding="utf-8")
    mac = "mac:\n  HBFP4: {low: 0.1 pJ, nominal: 0.2 pJ, high: 0.3 pJ, source: made up}\n"
    (tmp_path / "mine.yaml").write_text(table.replace("mac:\n", mac, 1).replace("jouppi_7nm", "mine", 1))
    changes = {"energy": str(tmp_path / "mine.yaml"), "matrix_unit.rates.hb_fp4": 8}
    machine = accsim.load_accelerator("flat_cloud", set=changes)
    assert machine.matrix_unit.rate("hbfp4") == 8
    op = accsim.Gemm(64, 256, 256, dtype="hbfp4")
    report = accsim.simulate(op, machine)
    assert op.weight_bytes == 256 * 256 * (4 + 8 / 64) / 8
    assert report.traffic_bytes["dram"]["read"] == (64 * 256 + 256 * 256) * (4 + 8 / 64) / 8
    assert report.energy_breakdown_j["mac"] == pytest.approx(64 * 256 * 256 * 0.2e-12)

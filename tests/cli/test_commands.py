"""What the commands print, as tables and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

import accsim
from accsim.cli import app
from accsim.kernels import jit
from accsim.report.terminal import progress
from accsim.report.words import cycles, si

OP = "attention?batch=2&heads=2&q_len=128&kv_len=128&head_dim=64"
MODEL = "bert_base?seq=128"


def told(*arguments: str) -> str:
    """Return stdout of a command that must succeed, in at most 120 columns without colour."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.stderr
    assert "\x1b" not in result.stdout
    return result.stdout


def plain(*arguments: str) -> Any:
    """Return the JSON of a command that must succeed."""
    return json.loads(told(*arguments, "--json"))


def values(text: str, label: str) -> list[str]:
    """Return the first line that starts with a label, without it, split at two blanks."""
    line = next(line.strip() for line in text.splitlines() if line.strip().startswith(label))
    return [part.strip() for part in line[len(label) :].split("  ") if part.strip()]


def test_run_prints_what_the_report_holds() -> None:
    report = accsim.simulate(MODEL, "flat_edge")
    text = told("run", "flat_edge", MODEL)
    low, high = report.energy_range_j
    assert values(text, "total cycles") == [cycles(report.total_cycles)]
    assert values(text, "latency") == [si(report.latency_s, "s")]
    assert values(text, "energy") == [f"{si(report.energy_j, 'J')} ({si(low, 'J')} to {si(high, 'J')})"]
    assert values(text, "average power") == [si(report.power_w, "W")]
    assert report.bound_by in values(text, "bound by")[0]
    assert report.accelerator.energy.hash in text
    for word in ("bert_base (batch 1, dtype bf16, seq 128) on flat_edge", "fidelity tile", "data sheet only", "fits"):
        assert word in text
    for row in report.ops:
        assert row.names[0] in text
    assert max(map(len, text.splitlines())) <= 120


def test_run_takes_a_layout_of_banks() -> None:
    # 32 rows of A of 512 bytes each, 8 words of 66.5 bytes: they begin in 2 of 16 banks, 16 words each instead of 2.
    work = ("flat_edge", "gemm?m=256&n=256&k=256", "--dataflow", "output_stationary")
    skewed = plain("run", *work)
    linear = plain("run", *work, "--set", "memories.sg.layout=linear")
    assert linear["total_cycles"] > skewed["total_cycles"]
    assert plain("run", *work, "--set", "memories.sg.layout=skewed")["total_cycles"] == skewed["total_cycles"]


CAPPED = ("h100_sxm", "gemm?m=2048&n=2048&k=2048", "--set", "power.cap=150W")


def test_run_tells_what_the_power_cap_did() -> None:
    acc = accsim.load_accelerator("h100_sxm", set={"power.cap": "150 W"})
    report = accsim.simulate(accsim.Gemm(2048, 2048, 2048), acc)
    assert report.clock_hz < 1.83e9
    text = told("run", *CAPPED)
    assert values(text, "average power") == [f"{si(report.power_w, 'W')}; {report.cap}"]
    assert "the cap of 150 W lowers the clock from 1830 MHz" in text
    assert values(text, "latency") == [si(report.latency_s, "s")]
    assert si(report.ops[0].power_w, "W") in values(text.partition("Ops (")[2], "gemm ")
    free = plain("run", *CAPPED, "--no-power-cap")
    assert (free["clock_hz"], free["power_cap"]) == (1.83e9, None)
    assert free["power_w"] > 150 >= plain("run", *CAPPED)["power_w"]
    side_by_side = told("run", *CAPPED, "--compare", "output_stationary,weight_stationary")
    assert all(clock.endswith("MHz") for clock in values(side_by_side, "clock"))
    assert "clock" not in told("run", *CAPPED, "--compare", "output_stationary", "--no-power-cap")
    assert plain("describe", *CAPPED)["ops"]


def test_run_warns_where_no_clock_is_low_enough() -> None:
    text = told("run", "h100_sxm", CAPPED[1], "--set", "power.cap=71W", "--no-ops")
    assert "WARNING: above the cap of 71 W even at the lowest clock, 345 MHz of 1830 MHz" in text


def test_main_memory_in_sram_is_not_off_chip() -> None:
    moved = accsim.simulate(OP, "ipu_bow").traffic_bytes["sram"]
    text = told("run", "ipu_bow", OP)
    assert values(text, "sram traffic") == [f"{si(moved['read'], 'B')} read, {si(moved['write'], 'B')} written"]
    assert "off-chip" not in text
    assert "off-chip traffic" in told("run", "tpu_v4", OP)


def test_run_shows_every_memory_and_busy_resource() -> None:
    report = accsim.simulate(OP, "tpu_v4")
    text = told("run", "tpu_v4", OP)
    for name, moved in report.traffic_bytes.items():
        assert values(text.partition("Memories")[2], f"{name} ")[1:3] == [
            si(moved["read"], "B"),
            si(moved["write"], "B"),
        ]
    for name, share in report.utilization.items():
        if share:
            assert f"{100 * share:.1f} %" in values(text.partition("Resources")[2], f"{name} ")


def test_run_json_is_the_report() -> None:
    found = plain("run", "flat_edge", MODEL)
    assert found == json.loads(json.dumps(accsim.simulate(MODEL, "flat_edge").to_dict()))
    assert found["schema_version"] == 1


def test_no_ops() -> None:
    assert "Ops (" in told("run", "flat_edge", OP)
    assert "Ops (" not in told("run", "flat_edge", OP, "--no-ops")
    assert "ops" not in plain("run", "flat_edge", OP, "--no-ops")


def test_set_objective_fidelity_and_dataflow_reach_the_simulation() -> None:
    base = plain("run", "flat_edge", OP)
    slower = plain("run", "flat_edge", OP, "--set", "clock=94 MHz", "--set", "vector_unit.lanes=1")
    assert slower["latency_s"] > base["latency_s"]
    assert slower["machine"]["hash"] != base["machine"]["hash"]
    energy = plain("run", "flat_edge", OP, "--objective", "energy")
    assert (energy["objective"], energy["energy_j"] <= base["energy_j"]) == ("energy", True)
    bound = plain("run", "flat_edge", OP, "--fidelity", "analytic", "--dataflow", "flash")
    exact = plain("run", "flat_edge", OP, "--dataflow", "FLASH")
    assert bound["fidelity"] == "analytic"
    assert bound["total_cycles"] <= exact["total_cycles"]
    assert exact["ops"][0]["mapping"]["dataflow"] == "Flash"


def test_nested_mappings_keep_their_names_in_json() -> None:
    mapping = plain("run", "flat_edge", OP, "--dataflow", "unfused")["ops"][0]["mapping"]
    assert mapping["dataflow"] == "Unfused"
    assert mapping["softmax"]["dataflow"] == "Streamed"
    assert mapping["logit"]["dataflow"].endswith("Stationary")


def test_prefetch_weights() -> None:
    report = accsim.simulate(MODEL, "flat_cloud", prefetch_weights=True)
    assert report.ops_with_early_weights > 0
    text = told("run", "flat_cloud", MODEL, "--prefetch-weights")
    assert f"weights prefetched: the first weight tile of {report.ops_with_early_weights} of 149 ops was" in text
    assert values(text, "total cycles") == [cycles(report.total_cycles)]
    assert "weights early" in text.partition("Ops (")[2]
    found = plain("run", "flat_cloud", MODEL, "--prefetch-weights", "--compare", "flat")["runs"]["flat"]
    assert found["prefetch_weights"]
    assert "weights prefetched" not in told("run", "flat_cloud", MODEL)


def test_prefetch_weights_of_some_ops_alone() -> None:
    # The products that this dataflow maps; those whose weights were early have rows of their own.
    text = told("run", "systolic_128", MODEL, "--compare", "weight_stationary", "--prefetch-weights")
    assert "gemm only (73 of 149 ops)" in text
    assert "weights early" in text


NAMES = ["unfused", "flat", "flash"]


def test_compare_sets_dataflows_side_by_side() -> None:
    text = told("run", "flat_cloud", MODEL, "--compare", "unfused, flat,flash")
    whole, part = text.split("attention only")
    for table, reports in (
        (whole, [accsim.simulate(MODEL, "flat_cloud", dataflow=name) for name in NAMES]),
        (part, [attention_alone(name) for name in NAMES]),
    ):
        assert values(table, "latency") == [si(report.latency_s, "s") for report in reports]
        speedups = [f"{reports[0].latency_s / report.latency_s:.2f} x" for report in reports]
        assert values(table, "speedup") == speedups
        assert values(table, "energy") == [si(report.energy_j, "J") for report in reports]
        reads = [si(report.traffic_bytes["dram"]["read"], "B") for report in reports]
        assert values(table, "off-chip read") == reads
        assert [cause.split()[0] for cause in values(table, "bound by")] == [report.bound_by for report in reports]
    assert "(12 of 149 ops)" in part
    assert max(map(len, text.splitlines())) <= 120


def attention_alone(dataflow: str) -> accsim.Report:
    """The attention of a layer twelve times, as a workload of its own."""
    op = next(op for op, _ in accsim.load_workload(MODEL) if op.kind == "attention")
    entry = next(entry for entry in accsim.load_workload(MODEL).entries if entry.op == op)
    workload = accsim.Workload("part", (type(entry)(op, entry.repeat),))
    return accsim.simulate(workload, "flat_cloud", dataflow=dataflow)


def test_compare_json() -> None:
    found = plain("run", "flat_cloud", OP, "--compare", "unfused,flash", "--no-ops")
    assert list(found["runs"]) == ["unfused", "flash"]
    assert found["refused"] == {}
    alone = accsim.simulate(OP, "flat_cloud", dataflow="flash")
    assert found["runs"]["flash"]["total_cycles"] == alone.total_cycles


def test_compare_of_what_is_all_of_the_workload_has_one_table() -> None:
    text = told("run", "flat_edge", "gemm?m=64&n=64&k=64", "--compare", "weight_stationary,output_stationary")
    assert " only (" not in text
    assert "WS 64x" in text
    assert "OS 64x" in text


def test_machines() -> None:
    text = told("machines")
    for name in accsim.list_accelerators():
        assert name in text
    assert "1.925 TFLOP/s bf16" in text  # 32 x 32 MACs at 940 MHz, 2 FLOP each
    assert [machine["name"] for machine in plain("machines")] == list(accsim.list_accelerators())


def test_workloads() -> None:
    text = told("workloads")
    for name in accsim.list_workloads():
        assert name in text
    assert "batch 16" in text
    assert [work["name"] for work in plain("workloads")] == list(accsim.list_workloads())


def test_describe_machine_tells_units_sources_and_estimates() -> None:
    text = told("describe", "h100_sxm")
    assert values(text, "memories.hbm.capacity")[:1] == ["80 GB"]
    assert values(text, "clock")[:1] == ["1830 MHz"]
    assert values(text, "memories.hbm.banks") == ["1", "default"]
    assert "estimated: not published" in text
    assert "CUDA programming guide" in text
    assert "mac.bf16" in text
    found = plain("describe", "h100_sxm", "--set", "memories.hbm.capacity=96 GB")
    numbers = {row["path"]: row for row in found["numbers"]}
    assert numbers["memories.hbm.capacity"]["value"] == 96 * 10**9
    assert numbers["matrix_unit.m"]["estimated"]
    assert numbers["vector_unit.cycles_per_element.exp"]["source"].startswith("CUDA programming guide")
    assert numbers["memories.hbm.efficiency"]["default"] is False
    price = found["energy"]["prices_pj"]["mac.bf16"]
    assert price["low"] <= price["nominal"] <= price["high"]


def test_describe_machine_tells_the_area_of_every_part() -> None:
    found = plain("describe", "flat_edge", "--set", "matrix_unit.rows=64")["area"]
    acc = accsim.load_accelerator("flat_edge", set={"matrix_unit.rows": 64})
    assert (found["table"], found["area_mm2"]) == ("horowitz_45nm", pytest.approx(acc.area_mm2))
    assert found["parts_mm2"] == pytest.approx(acc.area_breakdown_mm2)
    assert found["estimated"]["vector.exp"].startswith("a table with linear interpolation")
    text = told("describe", "flat_edge").partition("Area in mm2 (table horowitz_45nm")[2]
    assert values(text, "sg") == ["1.972", "22.1 %"]
    assert values(text, "chip") == ["8.935", "100.0 %"]
    whole = told("describe", "tpu_v4").partition("Area in mm2")[2]
    assert (values(whole, "sparse_core"), values(whole, "rest")) == (["30", "5.0 %"], ["570", "95.0 %"])
    assert "Area in mm2" not in told("describe", "tpu_v5e")


def test_machines_tell_areas() -> None:
    text = told("machines")
    assert "8.94" in values(text, "flat_edge")
    assert "600" in values(text, "tpu_v4")


def test_describe_workload() -> None:
    text = told("describe", "xlm?seq=64")
    assert values(text, "seq")[0] == "64"
    assert "estimated: default of XLMConfig" in text
    assert "q_proj" in text
    assert plain("describe", "xlm?seq=64")["parameters"]["seq"]["value"] == 64


@pytest.mark.parametrize("name", accsim.list_dataflows())
def test_describe_dataflow(name: str) -> None:
    assert "searched" in told("describe", name)
    found = plain("describe", name)
    assert found["maps"]
    assert set(found["choices"].values()) <= {None, "row", "three_pass", 6, True}


@pytest.mark.parametrize("kind", ["gemm", "attention", "softmax", "norm", "elementwise"])
def test_describe_op_gives_a_spec_that_runs(kind: str) -> None:
    line = told("describe", kind).splitlines()[-1]
    spec = line.split('"')[1]
    assert plain("run", "flat_edge", spec)["total_cycles"] > 0
    assert set(plain("describe", kind)["keys"]) >= {"name", "dtype", "repeat"}


def test_describe_path_of_either_kind(tmp_path: Any) -> None:
    file = tmp_path / "w.yaml"
    file.write_text("name: mine\nops:\n  - {op: gemm, m: 4, n: 4, k: 4}\n")
    assert plain("describe", str(file))["macs"] == 64
    assert plain("describe", str(accsim_folder() / "flat_edge.yaml"))["name"] == "flat_edge"


def accsim_folder() -> Any:
    from accsim.config.data_files import data_folder

    return data_folder("hw_configs")


@pytest.mark.parametrize(
    ("dataflow", "spec", "lines"),
    [
        ("flat", OP.replace("128", "4096"), ["for head in", "for row in", "for key in", "softmax", "attend"]),
        ("flash2", OP, ["for head in", "softmax", "finish"]),
        ("output_stationary", "gemm?m=512&n=512&k=512", ["for product in [0:1)", "load_a", "matmul", "store_c"]),
    ],
)
def test_describe_program(dataflow: str, spec: str, lines: list[str]) -> None:
    text = told("describe", "flat_cloud", spec, "--program", "--dataflow", dataflow)
    for line in lines:
        assert line in text
    assert text == accsim.simulate(spec, "flat_cloud", dataflow=dataflow).program + "\n"
    assert max(map(len, text.splitlines())) <= 100


def test_describe_program_json() -> None:
    found = plain("describe", "flat_cloud", MODEL, "--program", "--op", "attention", "--dataflow", "flat")
    (op,) = found["ops"]
    (program,) = op["programs"]
    assert (op["count"], op["mapping"]["dataflow"]) == (12, "Flat")
    assert [level["name"] for level in program["levels"]] == ["head", "row", "key"]
    assert {"logit", "softmax", "attend"} <= {stage["name"] for stage in program["stages"]}


def test_describe_mapped_workload_without_programs() -> None:
    text = told("describe", "flat_edge", MODEL, "--op", "Q-proj")
    assert "q_proj" in text
    assert "ffn_up" not in text
    assert "programs" not in plain("describe", "flat_edge", MODEL, "--op", "q_proj")["ops"][0]


@pytest.mark.parametrize("kind", ["machine", "workload", "sweep", "energy", "area"])
def test_schema(kind: str) -> None:
    found = plain("schema", kind)
    assert found["$schema"].startswith("https://json-schema.org/")
    assert told("schema", kind) == told("schema", kind, "--json")


def test_names_of_a_file_are_not_markup(tmp_path: Any) -> None:
    file = tmp_path / "w.yaml"
    file.write_text("name: mine\nops:\n  - {op: gemm, name: '[bold]x[/] :smile:', m: 4, n: 4, k: 4}\n")
    assert "[bold]x[/] :smile:" in told("run", "flat_edge", str(file))
    assert "[bold]x[/] :smile:" in told("describe", str(file))


def test_compilation_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as advance:
        assert advance is None
        jit.announce("one")  # type: ignore[misc]
        jit.announce("two")  # type: ignore[misc]
    assert jit.announce is None
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"accsim: compiling the engine (once; kept in {jit.cache_folder()})\n"


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout.split()[0], result.stdout.count("\n")) == (0, "accsim", 1)
    assert result.stdout.split()[1][0].isdigit()

"""What every report must satisfy, on every shipped machine and workload, and a few reports worked out by hand."""

from __future__ import annotations

import json
import pickle

import pytest

import accsim
from accsim.engine.energy import price_list
from accsim.report.describe import describe_row
from accsim.report.result import SCHEMA_VERSION
from accsim.report.words import op_shape
from accsim.workload.models import ARCHITECTURES
from accsim.workload.ops import Attention, Gemm, Softmax
from accsim.workload.trace import Entry, Workload
from tests.report.shipped import KINDS, PAIRS, SMALL, report

pairs = pytest.mark.parametrize(("machine", "workload"), PAIRS, ids=lambda value: str(value))
TWO = Workload("two", (Entry(Gemm(300, 200, 100, name="first"), repeat=3), Entry(Softmax(64, 128, name="second"))))


def test_every_architecture_is_here() -> None:
    assert {accsim.load_workload(name).architecture for name in SMALL} == {"", *ARCHITECTURES}


# Laws


@pairs
def test_the_critical_path_sums_to_the_total(machine: str, workload: str) -> None:
    rep = report(machine, workload)
    assert sum(rep.critical_path.values()) == pytest.approx(rep.total_cycles, rel=1e-12)
    assert list(rep.critical_path.values()) == sorted(rep.critical_path.values(), reverse=True)
    assert rep.critical_path[rep.bound_by] == max(rep.critical_path.values())
    assert rep.latency_s == pytest.approx(rep.total_cycles / rep.accelerator.clock_hz)
    for row in rep.ops:
        assert sum(row.totals.critical_path.values()) == row.ticks


@pairs
def test_energy_is_the_sum_over_ops_and_components(machine: str, workload: str) -> None:
    rep = report(machine, workload)
    by_op = sum(row.count * row.energy.total_j for row in rep.ops)
    assert rep.energy_j == pytest.approx(sum(rep.energy_breakdown_j.values())) == pytest.approx(by_op)
    # Once more, from the actions of the whole trace.
    prices = price_list(rep.accelerator, "bf16")
    dynamic = sum(count * prices[name].nominal for name, count in rep.actions.items() if name in prices) * 1e-12
    assert rep.energy_j == pytest.approx(dynamic + rep.accelerator.power.idle_w * rep.latency_s)
    low, high = rep.energy_range_j
    assert low <= rep.energy_j <= high


@pairs
def test_traffic_is_what_the_actions_count(machine: str, workload: str) -> None:
    rep = report(machine, workload)
    assert list(rep.traffic_bytes) == [memory.name for memory in rep.accelerator.memories]
    for memory, ways in rep.traffic_bytes.items():
        for way, size in ways.items():
            assert size == rep.actions[f"{way}.{memory}"] > 0
    # Every operand of every op at least once; every result at least once.
    main = rep.traffic_bytes[rep.accelerator.main_memory.name]
    ops = rep.workload.distinct_ops()
    assert main["read"] >= sum(n * (op.input_bytes + op.weight_bytes) for op, n in ops) * (1 - 1e-9)
    assert main["write"] >= sum(n * op.output_bytes for op, n in ops) * (1 - 1e-9)


@pairs
def test_multiply_accumulates_are_those_of_the_workload(machine: str, workload: str) -> None:
    rep = report(machine, workload)
    assert rep.macs == rep.workload.macs
    assert sum(n for name, n in rep.actions.items() if name.startswith("mac.")) == pytest.approx(rep.macs, rel=1e-9)


@pairs
def test_utilizations(machine: str, workload: str) -> None:
    rep = report(machine, workload)
    assert all(0 <= used <= 1 for used in rep.utilization.values())
    # With fill and drain there is less of the array in use than without, and over the whole time still less.
    assert 0 < rep.overall_utilization <= rep.array_utilization * (1 + 1e-9)
    assert rep.array_utilization <= rep.mapping_utilization * (1 + 1e-9)
    assert rep.mapping_utilization <= 1
    peak = rep.accelerator.peak_macs_per_s("bf16")
    matrix_s = sum(row.count * row.ticks for row in rep.ops) / 4096 / rep.accelerator.clock_hz
    assert rep.overall_utilization == pytest.approx(rep.macs / peak / matrix_s)


@pairs
def test_no_time_below_what_bytes_and_arrays_need(machine: str, workload: str) -> None:
    rep = report(machine, workload)
    main = rep.accelerator.main_memory
    for row in rep.ops:
        seconds = row.ticks / 4096 / rep.accelerator.clock_hz
        read, write = row.actions[f"read.{main.name}"], row.actions[f"write.{main.name}"]
        needs = [read / main.usable_read_bytes_per_s, write / main.usable_write_bytes_per_s]
        least = sum(needs) if main.shared_bandwidth else max(needs)
        assert seconds >= least * (1 - 1e-9), row.op
        if row.op.macs:
            assert seconds >= row.op.macs / rep.accelerator.peak_macs_per_s(row.op.dtype) * (1 - 1e-9), row.op


@pairs
def test_analytic_is_never_above_tile(machine: str, workload: str) -> None:
    bound, rep = report(machine, workload, "analytic"), report(machine, workload)
    assert (bound.fidelity, rep.fidelity) == ("analytic", "tile")
    assert bound.total_cycles <= rep.total_cycles
    assert [row.mapping for row in bound.ops] == [row.mapping for row in rep.ops]
    for row, other in zip(bound.ops, rep.ops, strict=True):
        assert row.ticks <= other.ticks
        assert row.actions == pytest.approx(other.actions)
    assert sum(bound.critical_path.values()) == pytest.approx(bound.total_cycles)


@pairs
def test_busy_stalls_and_done_fill_the_time(machine: str, workload: str) -> None:
    rep = report(machine, workload)
    for row in rep.ops:
        for part in row.parts:
            run = part.counters
            for name, servers in run.servers.items():
                lost = sum(run.stalls[name].values()) + run.done[name]
                assert run.busy[name] + lost == run.total_ticks * servers
            for use in run.occupancy.values():
                assert use.peak > 0
                assert use.slot_ticks <= run.total_ticks * use.reserved * use.copies
    assert all(0 < use["average"] <= 1 for use in rep.occupancy.values())


# Plain data


@pairs
def test_plain_data(machine: str, workload: str) -> None:
    rep = report(machine, workload)
    data = json.loads(json.dumps(rep.to_dict(), allow_nan=False))
    assert data["schema_version"] == SCHEMA_VERSION
    assert data["machine"]["name"] == machine
    assert data["workload"]["macs"] == rep.macs
    assert data["total_cycles"] == rep.total_cycles
    assert sum(op["share_of_time"] for op in data["ops"]) == pytest.approx(1)
    assert sum(op["count"] * op["cycles"] for op in data["ops"]) == pytest.approx(rep.total_cycles)


def test_the_area_is_that_of_the_machine_whatever_runs_on_it() -> None:
    for machine in ("flat_edge", "tpu_v4"):
        rep = accsim.simulate("gemm?m=64&n=64&k=64", machine)
        assert rep.area_mm2 == accsim.load_accelerator(machine).area_mm2
        assert rep.area_mm2 == pytest.approx(sum(rep.area_breakdown_mm2.values()))
        assert rep.to_dict()["area_breakdown_mm2"] == rep.area_breakdown_mm2
    assert accsim.simulate("gemm?m=64&n=64&k=64", "tpu_v5e").area_mm2 is None


@pytest.mark.parametrize("machine", KINDS)
def test_pickle(machine: str) -> None:
    rep = report(machine, "attention_layer")
    again = pickle.loads(pickle.dumps(rep))
    assert again.to_dict() == rep.to_dict()
    assert again.critical_path == rep.critical_path
    assert again.what_if({"vector": 2.0}).total_cycles == rep.what_if({"vector": 2.0}).total_cycles


def test_frame() -> None:
    rep = report("tpu_v4", "bert_base")
    frame = rep.to_frame()
    assert len(frame) == len(rep.ops)
    columns = {"name", "kind", "count", "dtype", "macs", "cycles", "latency_s", "share_of_time", "energy_j", "bound_by"}
    assert columns | {"power_w", "read_bytes", "write_bytes", "searched", "mapping"} <= set(frame.columns)
    assert (frame["count"] * frame["macs"]).sum() == rep.macs
    assert (frame["count"] * frame["energy_j"]).sum() == pytest.approx(rep.energy_j)
    assert (frame["count"] * frame["read_bytes"]).sum() == pytest.approx(rep.traffic_bytes["hbm"]["read"])


# Worked out by hand


def test_a_trace_is_its_ops_one_after_the_other() -> None:
    rep = accsim.simulate(TWO, "flat_edge")
    first = accsim.simulate(Gemm(300, 200, 100), "flat_edge")
    second = accsim.simulate(Softmax(64, 128), "flat_edge")
    assert rep.total_cycles == 3 * first.total_cycles + second.total_cycles
    assert rep.energy_j == pytest.approx(3 * first.energy_j + second.energy_j)
    assert [(row.names, row.count) for row in rep.ops] == [(("first",), 3), (("second",), 1)]
    assert set(rep.mapping) == {"first", "second"}
    assert rep.compute_cycles == 3 * first.compute_cycles
    assert rep.traffic_bytes["dram"]["write"] == 3 * 2 * 300 * 200 + 2 * 64 * 128


def test_equal_ops_share_a_row() -> None:
    trace = Workload("same", (Entry(Gemm(64, 64, 64), 2, "a"), Entry(Softmax(4, 4)), Entry(Gemm(64, 64, 64), 5, "b")))
    rep = accsim.simulate(trace, "flat_edge")
    assert [(row.names, row.count) for row in rep.ops] == [(("a", "b"), 7), (("softmax",), 1)]


def test_every_op_pays_the_overhead() -> None:
    # h100_sxm: 2.65 us for each launch; un-fused attention is three of them.
    rep = accsim.simulate(TWO, "h100_sxm")
    assert rep.critical_path["overhead/op"] == pytest.approx(4 * 2.65e-6 * 1.83e9, rel=1e-6)
    op = Attention(1, 4, 128, 128, 64)
    assert accsim.simulate(op, "h100_sxm", dataflow="flash").critical_path["overhead/op"] == pytest.approx(
        4849.5, rel=1e-6
    )
    unfused = accsim.simulate(op, "h100_sxm", dataflow="unfused")
    assert unfused.critical_path["overhead/op"] == pytest.approx(3 * 4849.5, rel=1e-6)


def test_memory_by_hand() -> None:
    # llama3_8b at 4 sequences and 256 cached tokens: 32 layers x 8 KV heads x 128 x 2 x 256 tokens x 4 x 2 bytes. The
    # weights of the published model are 8.03e9 parameters; the embedding table, 128256 x 4096 of them, is looked up.
    memory = report("h100_sxm", "llama3_8b_decode").memory
    assert memory["kv_cache"] == pytest.approx(32 * 8 * 128 * 2 * 256 * 4 * 2, rel=0.01)
    assert memory["weights"] == pytest.approx(2 * (8.03e9 - 128256 * 4096), rel=0.001)
    assert memory["tables"] == 2 * 128256 * 4096  # untied: the output product has weights of its own
    assert memory["needed"] == sum(memory[name] for name in ("weights", "tables", "kv_cache", "activations"))
    assert memory["capacity"] == 80e9
    assert memory["fits"] is True
    assert report("flat_edge", "llama3_8b_decode").memory["fits"] is False


@pytest.mark.parametrize(
    ("workload", "tables"),
    [
        ("gpt2_xl_decode", 0),  # tied: the table is the output product's weight
        ("t5_small?seq=8&target_seq=8", 0),
        ("bert_base?seq=8", 2 * 30522 * 768),
        ("dlrm_dcnv2?batch=8", 4 * 204_184_588 * 128),  # MLPerf's 26 tables, fp32
        ("dlrm_dcnv2?batch=8&part=dense", 0),
        ("embedding?tokens=8&dim=4&vocab=100", 2 * 4 * 100),
        ("embedding?tokens=8&dim=4&vocab=100&tied=true", 0),
    ],
)
def test_tables_that_only_lookups_read(workload: str, tables: int) -> None:
    memory = accsim.simulate(workload, "flat_edge").memory
    assert memory["tables"] == tables
    assert memory["fits"] == (memory["needed"] <= memory["capacity"])


def test_a_report_is_printed_in_few_words() -> None:
    run = report("flat_edge", "llama3_8b_decode")
    assert repr(run).startswith("<Report of llama3_8b_decode on flat_edge: ")
    assert len(repr(run)) < 120
    lines = str(run).splitlines()
    assert any("DOES NOT FIT" in line for line in lines[:5])
    assert max(map(len, lines)) <= 120
    assert run._repr_html_() == f"<pre>{str(run).replace('&', '&amp;')}</pre>"


@pytest.mark.parametrize(
    ("q_len", "kv_len", "causal", "cached"),
    [
        (1, 100, False, True),
        (1, 100, True, True),
        (7, 100, False, True),
        (100, 7, False, True),
        (64, 64, True, True),
        (64, 64, False, False),
    ],
)
def test_keys_of_other_tokens_are_a_cache(q_len: int, kv_len: int, causal: bool, cached: bool) -> None:
    # 3 sequences, 8 query heads on 2 KV heads of 16, bf16: K and V, and beside them Q and the output.
    op = Attention(3, 8, q_len, kv_len, 16, kv_heads=2, causal=causal)
    memory = accsim.simulate(op, "flat_edge").memory
    keys, queries = 2 * 3 * 2 * kv_len * 16 * 2, 2 * 3 * 8 * q_len * 16 * 2
    assert (memory["kv_cache"], memory["activations"]) == ((keys, queries) if cached else (0, keys + queries))


def test_cross_attention_of_every_layer_is_cached() -> None:
    # t5_small: 6 decoder layers with 8 heads of 64; each keeps K and V of its own 24 tokens and of the encoder's 40.
    memory = accsim.simulate("t5_small?seq=40&target_seq=24", "flat_edge").memory
    assert memory["kv_cache"] == 6 * 2 * (24 + 40) * 8 * 64 * 2


def test_events_of_every_op() -> None:
    rep = accsim.simulate(Gemm(64, 64, 64), "flat_edge", dataflow=accsim.OutputStationary(64, 64, 64), events=True)
    events = rep.events["gemm"]
    assert [(e.stage, e.firing) for e in events] == [("load_a", 0), ("load_b", 0), ("matmul", 0), ("store_c", 0)]
    assert events[2].start == events[1].end + round(100e-9 * 940e6 * 4096)
    assert max(e.end for e in events) / 4096 == pytest.approx(rep.total_cycles, abs=100)
    assert accsim.simulate(Gemm(64, 64, 64), "flat_edge").events == {"gemm": ()}


def test_progress_is_told_of_each_distinct_op() -> None:
    told: list[tuple[str, int, int]] = []
    accsim.simulate(TWO, "flat_edge", progress=lambda name, done, of: told.append((name, done, of)))
    assert told == [("first", 0, 2), ("second", 1, 2), ("", 2, 2)]


@pytest.mark.parametrize("objective", ["latency", "energy", "edp"])
def test_each_objective_is_best_at_its_own(objective: str) -> None:
    op = Attention(1, 8, 512, 512, 64)
    reports = {name: accsim.simulate(op, "flat_edge", objective=name) for name in ("latency", "energy", "edp")}
    costs = {
        name: {"latency": rep.latency_s, "energy": rep.energy_j, "edp": rep.latency_s * rep.energy_j}[objective]
        for name, rep in reports.items()
    }
    assert costs[objective] <= min(costs.values()) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("keywords", "fragment"),
    [
        (
            {"objective": "latncy"},
            r"unknown objective 'latncy', allowed are latency, energy, edp, traffic, footprint. Did you mean 'latency'",
        ),
        ({"fidelity": "tiles"}, r"unknown fidelity 'tiles', allowed are analytic, tile, cycle. Did you mean 'tile'\?"),
        ({"dataflow": "flesh"}, r"unknown dataflow 'flesh', allowed are .*Did you mean 'flash'\?"),
    ],
)
def test_unknown_choices(keywords: dict[str, str], fragment: str) -> None:
    with pytest.raises(accsim.InputError, match=fragment):
        accsim.simulate(Gemm(8, 8, 8), "flat_edge", **keywords)


def test_a_machine_with_four_memories_is_refused_once() -> None:
    machine = accsim.load_accelerator("tpu_v4")
    vmem = machine.memories[0]
    four = machine.model_copy(update={"memories": (vmem, *machine.memories)})
    with pytest.raises(accsim.InputError, match=r"memories: tpu_v4 has 4 memories; allowed .* at most 3") as error:
        accsim.simulate("bert_base", four)
    assert len(error.value.problems) == 1


def test_without_a_mode_for_it_a_pattern_does_not_change_how_a_product_runs() -> None:
    dense = accsim.simulate(accsim.Gemm(96, 64, 128), "systolic_128")
    sparse = accsim.simulate(accsim.Gemm(96, 64, 128, sparsity=accsim.NM(2, 4)), "systolic_128")
    left, right = dense.to_dict(), sparse.to_dict()
    assert left.pop("ops") == right.pop("ops")
    assert left.pop("sparsity") == {}
    assert right.pop("sparsity")["gemm"].startswith("2:4 of B runs dense: no sparse unit")
    for share in ("mapping_utilization", "array_utilization", "overall_utilization"):
        assert right.pop(share) == left.pop(share) / 2
    assert left == right
    assert sparse.ops[0].op.macs_effectual == dense.macs // 2
    assert json.dumps(describe_row(sparse.ops[0])["op"]) == json.dumps(
        {"kind": "gemm", "m": 96, "n": 64, "k": 128, "batch": 1, "dtype": "bf16", "name": "gemm", "weights": True,
         "grouped": False, "sparsity": "2:4", "sparse_operand": "B", "other_sparsity": None, "weight_dtype": None,
         "out_dtype": None, "out_sparsity": None}
    )  # fmt: skip
    assert "sparsity 2:4" in op_shape(sparse.ops[0].op)

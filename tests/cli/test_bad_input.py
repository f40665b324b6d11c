"""Every bad command line gets an exit code, a place and a remedy on stderr, and nothing on stdout."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from accsim.cli import app

FLAT_EDGE = (Path(__file__).resolve().parents[2] / "hw_configs" / "flat_edge.yaml").read_text()
TINY = ("--set", "memories.sg.capacity=256 KiB")
LONG = "attention?batch=1&heads=1&q_len=1&kv_len=262144&head_dim=64"
WIDE = "attention?batch=1&heads=1&q_len=64&kv_len=64&head_dim=1000000"
RUN = ("run", "flat_edge")
BERT = ("run", "flat_edge", "bert_base")

BAD = [
    # names
    (("run", "flat_edg", "bert_base"), 2, ["unknown machine 'flat_edg'", "Did you mean 'flat_edge'?"]),
    ((*RUN, "bert_bse"), 2, ["unknown workload 'bert_bse'", "Did you mean 'bert_base'?"]),
    (("run", "", ""), 2, ["unknown machine ''", "unknown workload ''"]),
    (("run", "flat_edg", "bert_bse"), 2, ["'flat_edge'?", "'bert_base'?"]),
    (("describe", "tpu_v4:4x4x8"), 2, ["a slice of several chips", "allowed is 'tpu_v4'"]),
    (("run", "tpu_v4:4x4x8", "bert_base"), 2, ["'bert_base' has no embedding tables", "recommendation models"]),
    (("run", "tpu_v4:4x4x8", "dlrm_v1", "--dataflow", "flat"), 2, ["--dataflow: allowed for a single chip"]),
    (
        ("run", "tpu_v4", "dlrm_v1", "--schedule", "serial"),
        2,
        ["--schedule: allowed for a slice, such as tpu_v4:4x4x8"],
    ),
    (("run", "tpu_v4:4x4x8", "dlrm_v1", "--schedule", "pipeline"), 2, ["schedule", "Did you mean 'pipelined'"]),
    (("run", "tpu_v4:4x4x8", "dlrm_v1", "--where", "sparsecore"), 2, ["Did you mean 'sparse_core'"]),
    (("run", "h100_sxm:8", "dlrm_v1"), 2, ["read 'sparse_core', allowed on h100_sxm are gpu"]),
    (("run", "tpu_v4:4x4x8", "dlrm_v1", "--compare", "rows,bst"), 2, ["placement: rows, best", "Did you mean 'best'?"]),
    (("run", "tpu_v4:4x4x8", "dlrm_v1", "--compare", "none,none"), 2, ["--compare: 'none' is given twice"]),
    (
        ("run", "tpu_v4:4x4x8", "dlrm_v1", "--dedup", "owner", "--compare", "none,source"),
        2,
        ["--dedup and --compare none,source exclude each other"],
    ),
    (("run", "tpu_v4", "all_reduce?bytes=1 GiB"), 2, ["'tpu_v4' a single chip", "accsim network collective"]),
    (("run", "tpu_v4:4x4x8", "all_reduce"), 2, ["missing, needed are its bytes: all_reduce?bytes=1 MiB"]),
    (
        ("run", "tpu_v4:4x4x8", "all_reduce?bytes=1 MiB", "--dedup", "owner"),
        2,
        ["--dedup: allowed for training steps, not for a collective"],
    ),
    (("run", "tpu_v4", "dlrm_v1", "--trace-file", "t.npz"), 2, ["--trace-file: allowed for a slice"]),
    (("run", "tpu_v4:4x4x8", "dlrm_v1", "--trace-file", "none.npz"), 2, ["none.npz: cannot read the file"]),
    (("run", "none.yaml:4x4x8", "dlrm_v1"), 2, ["none.yaml"]),
    (
        ("run", "tpu_v4:twistd:4x4x8", "dlrm_v1?batch=-5&bath=3", "--dedup", "ownr", "--where", "sparsecore"),
        2,
        ["'tpu_v4:twisted:4x4x8'?", "query:batch", "read -5", "query:bath", "'batch'?", "'owner'?", "'sparse_core'?"],
    ),
    (("run", "tpu_v4:4x4x8", "dlrm_v1?batch=64"), 2, ["read a batch of 64 samples", "each of 128 chips"]),
    ((*BERT, "--dataflow", "flta"), 2, ["unknown dataflow 'flta'", "Did you mean 'flat'?"]),
    (
        (*BERT, "--objective", "latncy"),
        2,
        ["unknown objective 'latncy', allowed are latency, energy, edp, traffic, footprint. Did you mean 'latency'?"],
    ),
    (
        (*BERT, "--objective", "qqq"),
        2,
        ["unknown objective 'qqq', allowed are latency, energy, edp, traffic, footprint\n"],
    ),
    (
        (*BERT, "--constraint", "footprnt <= 1 MiB", "--constraint", "traffic <= 1", "--effort", "all"),
        2,
        ["Did you mean 'footprint'?", "traffic: read '1' without a unit", "unknown effort 'all'"],
    ),
    ((*BERT, "--constraint", "power <= 1 mW"), 3, ["Streamed: power <= 1 mW: the least power is"]),
    ((*BERT, "--fidelity", "til"), 2, ["unknown fidelity 'til'", "Did you mean 'tile'?"]),
    (("describe", "flat_edg"), 2, ["unknown name 'flat_edg'", "Did you mean 'flat_edge'?"]),
    (("describe", "sofmax"), 2, ["Did you mean 'softmax'?"]),
    (("describe", "flat_edge", "bert_base", "--op", "attenton"), 2, ["unknown op 'attenton'", "'attention'?"]),
    (("describe", "flat_edge", "bert_base", "--program", "--dataflow", "fla"), 2, ["Did you mean 'flat'?"]),
    (("schema", "machin"), 2, ["unknown kind of file 'machin'", "Did you mean 'machine'?"]),
    # parameters and sizes
    ((*RUN, "bert_base?sqe=1"), 2, ["query:sqe", "Did you mean 'seq'?"]),
    ((*RUN, "bert_base?seq=0"), 2, ["query:seq", "read 0", "from 1 to 2^40 - 1"]),
    ((*RUN, "bert_base?seq=-4"), 2, ["query:seq", "read -4"]),
    ((*RUN, "bert_base?seq=4k"), 2, ["read '4k'"]),
    ((*RUN, "bert_base?seq"), 2, ["allowed is name?parameter=value"]),
    ((*RUN, "bert_base?sqe=1&batch=0"), 2, ["query:sqe", "query:batch"]),
    ((*RUN, "attention_layer?seq=4"), 2, ["a trace of ops has no parameters"]),
    ((*RUN, "bert_base?batch=10000000"), 2, ["multiply to an op that is too large"]),
    ((*RUN, "gemm?m=0&n=1"), 2, ["query:m: m: read 0", "k: missing"]),
    ((*RUN, "gemm?m=1&n=1&k=1&kk=1"), 2, ["query:kk", "Did you mean 'k'?"]),
    ((*RUN, "gemm"), 2, ["m: missing", "n: missing", "k: missing"]),
    ((*RUN, "attention?batch=1&heads=4&kv_heads=3&q_len=1&kv_len=1&head_dim=1"), 2, ["a divisor of the 4 heads"]),
    ((*RUN, "elementwise?elements=4&function=gel"), 2, ["Did you mean 'gelu'?"]),
    # data types
    ((*RUN, "bert_base?dtype=bf17"), 2, ["read data type 'bf17'", "Did you mean 'bf16'?"]),
    (("run", "systolic_128", "gemm?m=4&n=4&k=4&dtype=fp32"), 2, ["does not support fp32", "bf16, fp16, int8"]),
    # --set
    ((*BERT, "--set", "memories.sg.capacity"), 2, ["--set: read 'memories.sg.capacity'", "KEY=VALUE"]),
    ((*BERT, "--set", "clock="), 2, ["KEY=VALUE"]),
    ((*BERT, "--set", "=1"), 2, ["KEY=VALUE"]),
    ((*BERT, "--set", "clock=1 GHz", "--set", "clock=2 GHz"), 2, ["clock: given twice, first as '1 GHz'"]),
    ((*BERT, "--set", "memories.sg.capcity=1MiB"), 2, ["Did you mean 'memories.sg.capacity'?"]),
    ((*BERT, "--set", "memories.sg.capacity=1MB/s"), 2, ["with the unit 'MB/s'", "Did you mean 'MB'?"]),
    ((*BERT, "--set", "memories.sg.layout=liner"), 2, ["memories.sg.layout: read 'liner'", "mean 'linear'?"]),
    ((*BERT, "--set", "memories.sg.bank_width=1 B"), 2, ["memories.sg.bank_width: read 1 B, allowed is what gives"]),
    ((*BERT, "--set", "memories.sg.capacity=1"), 2, ["read 1 without a unit"]),
    ((*BERT, "--set", "matrix_unit.rows=0", "--set", "cores=x"), 2, ["matrix_unit.rows: read 0", "cores: read 'x'"]),
    (("describe", "bert_base", "--set", "clock=1GHz"), 2, ["changes a machine, and 'bert_base' is a workload"]),
    # options that do not go together
    ((*BERT, "--compare", "flat", "--dataflow", "flat"), 2, ["exclude each other"]),
    ((*BERT, "--compare", "flat,,flsh,flat"), 2, ["an empty name", "Did you mean 'flash'?", "'flat' is given twice"]),
    ((*RUN, "gemm?m=4&n=4&k=4", "--dataflow", "flat"), 2, ["Flat maps attention", "its ops are gemm"]),
    ((*RUN, "gemm?m=4&n=4&k=4", "--compare", "flat,flash"), 2, ["maps attention", "its ops are gemm"]),
    (("describe", "bert_base", "--program"), 2, ["--program: needs a machine and a workload"]),
    (("describe", "bert_base", "--op", "q_proj", "--dataflow", "flat"), 2, ["--op: needs", "--dataflow: needs"]),
    # files
    (("run", "none/such.yaml", "bert_base"), 2, ["none/such.yaml", "cannot read the file"]),
    ((*RUN, "none/such.yaml"), 2, ["none/such.yaml", "cannot read the file"]),
    (("describe", "none/such.yaml"), 2, ["cannot read the file"]),
    # usage
    (("frobnicate",), 2, ["No such command 'frobnicate'"]),
    (("run", "flat_edge"), 2, ["Missing argument", "WORKLOAD"]),
    ((*BERT, "--frob"), 2, ["No such option", "--frob"]),
    # nothing fits
    (
        (*RUN, WIDE, *TINY, "--dataflow", "flash"),
        3,
        ["no mapping of 'attention' fits flat_edge", "in sg, has 256 KiB"],
    ),
    ((*BERT, "--set", "memories.sg.capacity=64 B"), 3, ["no mapping of", "in sg, has 64 B"]),
    ((*RUN, "norm?rows=1&cols=1000000000"), 3, ["no mapping of 'norm'", "nearest fit needs"]),
    # too long to be counted
    (
        (*RUN, "gemm?m=1000000000&n=1000000000&k=1000000000"),
        2,
        ["'gemm' has 1e+27 operations or bytes", "at least 3.29e+07 years on flat_edge", "at most 2^62 operations"],
    ),
    (
        (*BERT, "--set", "memories.dram.read_bandwidth=1 B/s"),
        2,
        ["'embedding_add' would take at least 27.3 days", "2^62 ticks", "940 MHz are 13.9 days", "or split it"],
    ),
]


def checked(arguments: tuple[str, ...], code: int, fragments: list[str]) -> None:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for fragment in fragments:
        assert fragment in result.stderr


def test_there_are_enough_cases() -> None:
    assert len({case[0] for case in BAD}) == len(BAD) >= 50


@pytest.mark.parametrize(("arguments", "code", "fragments"), BAD, ids=[" ".join(case[0]) for case in BAD])
def test_bad_command_line(arguments: tuple[str, ...], code: int, fragments: list[str]) -> None:
    checked(arguments, code, fragments)


@pytest.mark.parametrize("command", ["run", "describe"])
def test_json_does_not_change_errors(command: str) -> None:
    checked((command, "flat_edg", "bert_base", "--json"), 2, ["Did you mean 'flat_edge'?"])


MACHINE_FILES = [
    ("clock: 940 MHz", "clock: 940 GB", ["m.yaml:3:8: clock", "with the unit 'GB'"]),
    ("clock: 940 MHz", "clok: 940 MHz", ["Did you mean 'clock'?", "clock: missing"]),
    ("rows: 32", "rows: 1e1", ["matrix_unit.rows", "a whole number"]),
    ("kind: systolic", "kind: systolc", ["Did you mean 'systolic'?"]),
    ("clock: 940 MHz", "clock: [940 MHz", ["not valid YAML"]),
    ("{bf16: 1, int8: 1}", "{bf17: 1}", ["Did you mean 'bf16'?"]),
]


@pytest.mark.parametrize(("old", "new", "fragments"), MACHINE_FILES, ids=[case[1] for case in MACHINE_FILES])
def test_malformed_machine_file(tmp_path: Path, old: str, new: str, fragments: list[str]) -> None:
    assert old in FLAT_EDGE
    file = tmp_path / "m.yaml"
    file.write_text(FLAT_EDGE.replace(old, new, 1))
    checked(("run", str(file), "bert_base"), 2, fragments)
    checked(("describe", str(file)), 2, fragments)


WORKLOAD_FILES = [
    ("name: w\nops: []\n", ["an empty list", "at least one op"]),
    ("name: w\nops:\n  - {op: gem, m: 1, n: 1, k: 1}\n", ["w.yaml:3:10: ops[0].op", "Did you mean 'gemm'?"]),
    ("name: w\nops:\n  - {op: gemm, m: 1, n: 1}\n  - {op: gemm, m: 0, n: 1, k: 1}\n", ["ops[0].k", "ops[1].m"]),
    ("name: w\narchitecture: encodr\n", ["Did you mean 'encoder'?"]),
    ("name: w\n", ["missing the key architecture"]),
]


@pytest.mark.parametrize(("text", "fragments"), WORKLOAD_FILES)
def test_malformed_workload_file(tmp_path: Path, text: str, fragments: list[str]) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(text)
    checked(("run", "flat_edge", str(file)), 2, fragments)


def test_comparison_shows_what_fits_and_tells_what_does_not() -> None:
    result = CliRunner().invoke(app, ["run", "flat_edge", LONG, *TINY, "--compare", "flash1,flat"])
    assert result.exit_code == 3
    assert "spill" in result.stdout
    assert "accsim: flash1: no mapping of 'attention' fits flat_edge" in result.stderr
    assert "Traceback" not in result.stderr


def test_comparison_shows_what_is_short_enough() -> None:
    # At 0.25 B/s the 3 x 64 KiB that FLAT reads take 9.1 days; the 512 KiB of scores of un-fused attention, 24.3.
    op = "attention?batch=1&heads=1&q_len=512&kv_len=512&head_dim=64"
    slow = ["--set", "memories.dram.read_bandwidth=0.25 B/s"]
    result = CliRunner().invoke(app, ["run", "flat_edge", op, "--compare", "flat,unfused", *slow])
    assert result.exit_code == 2
    assert "flat" in result.stdout
    assert "accsim: unfused: 'softmax' would take at least 24.3 days on flat_edge" in result.stderr


def test_all_of_a_comparison_refused() -> None:
    checked(("run", "flat_edge", LONG, *TINY, "--compare", "flash1"), 3, ["flash1: no mapping of 'attention'"])

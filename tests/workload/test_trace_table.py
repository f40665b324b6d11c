"""Traces as tables: the same workload as in YAML, memory that does not grow with the rows, what is refused."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import accsim
from accsim.config.reader import parse_yaml
from accsim.errors import InputError
from accsim.sparsity.nm import NM
from accsim.sparsity.patterns import Block
from accsim.workload.catalogue import describe_workload, load_workload
from accsim.workload.ops import Attention, Conv2d, Elementwise, Gemm, LstmCell, Norm
from accsim.workload.trace import Entry, Workload
from accsim.workload.trace_file import read_trace
from accsim.workload.trace_table import COLUMNS, MOST_PROBLEMS

ROOT = Path(__file__).parents[2]

STEPS: list[dict[str, object]] = [
    {"op": "norm", "name": "input", "rows": 512, "cols": 768},
    {"op": "gemm", "name": "q_proj", "m": 512, "n": 768, "k": 768, "after": "input"},
    {"op": "gemm", "name": "k_proj", "m": 512, "n": 768, "k": 768, "after": "input"},
    {"op": "attention", "batch": 1, "heads": 12, "q_len": 512, "kv_len": 512, "head_dim": 64, "causal": True,
     "window": 128, "after": "q_proj; k_proj"},
    {"op": "elementwise", "elements": 393216, "function": "add", "repeat": 2},
    {"op": "gemm", "name": "up", "m": 4, "n": 8, "k": 8, "batch": 2, "weights": False, "dtype": "INT8"},
    {"op": "gemm", "name": "sparse", "m": 4, "n": 8, "k": 8, "sparsity": "2_4", "sparse_operand": "A"},
    {"op": "gemm", "name": "blocks", "m": 4, "n": 8, "k": 8, "sparsity": "block(4, 4, 0.5)"},
    {"op": "lstm_cell", "batch": 2, "input_size": 3, "hidden_size": 4, "repeat": 5, "shared_weights": True},
]  # fmt: skip
"""Rows of a table; `after` as a CSV file has it."""


def as_csv(rows: list[dict[str, object]], columns: list[str] | None = None) -> str:
    """Text of a CSV file; a truth value as YAML has it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns or list(dict.fromkeys(key for row in rows for key in row)))
    writer.writeheader()
    writer.writerows({k: str(v).lower() if isinstance(v, bool) else v for k, v in row.items()} for row in rows)
    return text.getvalue()


def as_yaml(rows: list[dict[str, object]], rounds: int) -> str:
    """Text of a trace that repeats the rows."""
    steps = [{k: v.split("; ") if k == "after" else v for k, v in row.items()} for row in rows]  # type: ignore[union-attr]
    return json.dumps({"name": "t", "ops": [{"repeat": rounds, "ops": steps}]})


def write(folder: Path, text: str, name: str = "t.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder / name


@pytest.fixture(params=["csv", "parquet"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Three rounds of the steps."""
    if request.param == "csv":
        return write(tmp_path, as_csv(STEPS * 3))
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist(STEPS * 3, _schema()), path, row_group_size=4)
    return path


def _schema() -> pa.Schema:
    keys = dict.fromkeys(key for row in STEPS for key in row)
    kinds = {key: next(type(row[key]) for row in STEPS if key in row) for key in keys}
    arrow = {int: pa.int64(), bool: pa.bool_(), str: pa.string()}
    return pa.schema([(key, arrow[kind]) for key, kind in kinds.items()])


def test_equal_ops_are_one_entry(table: Path) -> None:
    work = load_workload(table)
    assert work == Workload(
        "t",
        (
            Entry(Norm(512, 768, name="input"), 3),
            Entry(Gemm(512, 768, 768, name="q_proj"), 6),
            Entry(Attention(1, 12, 512, 512, 64, causal=True, window=128), 3),
            Entry(Elementwise(393216, "add"), 6),
            Entry(Gemm(4, 8, 8, 2, "int8", "up", False), 3),
            Entry(Gemm(4, 8, 8, name="sparse", sparsity=NM(2, 4), sparse_operand="A"), 3),
            Entry(Gemm(4, 8, 8, name="blocks", sparsity=Block(4, 4, Fraction(1, 2))), 3),
            Entry(LstmCell(2, 3, 4), 15, weight_sets=3),
        ),
        source=f"{table}, 27 rows",
    )


LATENT = Attention(
    heads=4, q_len=1, head_dim=24, kv_heads=1, causal=True, v_dim=16, shared_kv=True, kv_lens=(512, 512, 512, 40)
)  # fmt: skip


@pytest.mark.parametrize("lengths", ["512x3; 40", "40;512;512;512", "[512, 40, 512, 512]"])
def test_lengths_in_a_cell_and_in_a_trace(tmp_path: Path, lengths: str) -> None:
    row: dict[str, object] = {
        "op": "attention", "heads": 4, "q_len": 1, "head_dim": 24, "kv_heads": 1, "causal": True, "v_dim": 16,
        "shared_kv": True, "kv_lens": lengths,
    }  # fmt: skip
    for work in (load_workload(write(tmp_path, as_csv([row]))), read_trace(parse_yaml(as_yaml([row], 1), "t.yaml"))):
        assert work.entries[0].op == LATENT


def test_lengths_as_a_list_in_parquet_and_yaml(tmp_path: Path) -> None:
    row = {
        "op": "attention", "heads": 4, "q_len": 1, "head_dim": 24, "kv_heads": 1, "causal": True, "v_dim": 16,
        "shared_kv": True, "kv_lens": [512, 512, 40, 512],
    }  # fmt: skip
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist([row]), path)
    for work in (load_workload(path), read_trace(parse_yaml(as_yaml([row], 1), "t.yaml"))):
        assert work.entries[0].op == LATENT
    for wrong in ("512xa", "512;;3", "-3"):
        with pytest.raises(InputError, match="kv_lens"):
            load_workload(write(tmp_path, as_csv([{**row, "kv_lens": wrong}])))


def test_totals_are_those_of_the_trace_with_repeats(table: Path) -> None:
    work, trace = load_workload(str(table)), read_trace(parse_yaml(as_yaml(STEPS, 3), "t.yaml"))
    for count in ("macs", "weight_bytes", "op_count"):
        assert getattr(work, count) == getattr(trace, count)
    assert work.distinct_ops() == trace.distinct_ops()
    reports = [accsim.simulate(one, "flat_edge") for one in (table, trace)]
    assert reports[0].total_cycles == reports[1].total_cycles
    assert reports[0].energy_j == pytest.approx(reports[1].energy_j)
    assert reports[0].memory == reports[1].memory


MEASURE = """
import json, resource, sys
from pathlib import Path
from accsim.workload.catalogue import load_workload
load_workload(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
work = load_workload(Path(sys.argv[2]))
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps([grown, work.macs, work.weight_bytes, work.op_count, len(work)]))
"""


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_million_rows_take_the_memory_of_a_few(kind: str, tmp_path: Path) -> None:
    rows, rounds = [{k: v for k, v in row.items() if k != "after"} for row in STEPS[:5]], 200_000
    files = []
    for name, times in (("small", 10_000), ("large", rounds)):
        path = tmp_path / f"{name}.{kind}"
        if kind == "csv":
            header, _, body = as_csv(rows).partition("\r\n")
            path.write_text(header + "\r\n" + body * times, newline="")
        else:
            block = pa.Table.from_pylist(rows, _schema()).take(list(range(5)) * 10_000)
            with pq.ParquetWriter(path, block.schema) as writer:
                for _ in range(times // 10_000):
                    writer.write_table(block)
        files.append(path)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, files)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    grown_kib, *totals = json.loads(done.stdout)
    trace = read_trace(parse_yaml(as_yaml(rows, rounds), "t.yaml"))
    assert totals == [trace.macs, trace.weight_bytes, trace.op_count, 4]
    assert trace.op_count == 1_200_000
    # 20 times the rows of the first file; a million ops as objects would take hundreds of MiB.
    assert grown_kib < 24 * 1024


def test_rows_of_pandas(tmp_path: Path) -> None:
    # Whole numbers with gaps are floats there, and cells without a value are NaN.
    frame = pd.DataFrame([{"op": "gemm", "m": 4, "n": 5, "k": 6}, {"op": "softmax", "rows": 3, "cols": 4}])
    assert frame["m"].dtype == "float64"
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    works = [load_workload(tmp_path / name) for name in ("t.csv", "t.parquet")]
    assert [entry.op for entry in works[0].entries] == [entry.op for entry in works[1].entries]
    assert works[0].entries[0].op == Gemm(4, 5, 6)


def test_what_csv_files_have_around_their_rows(tmp_path: Path) -> None:
    text = '\ufeff# made by hand\n# , and more\nop, m ,n,k,name\n\n gemm ,1,2,3,"a, b"\r\ngemm,1,2,4, c \n\n'
    work = load_workload(write(tmp_path, text))
    assert [(e.name, e.op) for e in work.entries] == [
        ("a, b", Gemm(1, 2, 3, name="a, b")),
        ("c", Gemm(1, 2, 4, name="c")),
    ]


def test_the_documented_table_is_one(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "workloads.md").read_text(encoding="utf-8").partition("### Tables")[2]
    work = load_workload(write(tmp_path, page.partition("```text\n")[2].partition("```")[0]))
    assert [(entry.name, entry.repeat) for entry in work.entries] == [("input", 1), ("q_proj", 3)]


def test_lists_of_names_in_parquet(tmp_path: Path) -> None:
    rows = [{"op": "gemm", "m": 1, "n": 1, "k": 1, "name": "a", "after": []},
            {"op": "gemm", "m": 1, "n": 1, "k": 2, "name": "b", "after": ["a"]}]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert load_workload(tmp_path / "t.parquet").op_count == 2
    rows[1]["after"] = ["a", "c"]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t\.parquet:2:6: after: read 'c', allowed are names of earlier rows"):
        load_workload(tmp_path / "t.parquet")


def test_names_of_different_ops_are_kept_apart(tmp_path: Path) -> None:
    text = "op,m,n,k,name\ngemm,1,1,1,a\ngemm,1,1,2,a\ngemm,1,1,3,\ngemm,1,1,1,later\ngemm,1,1,3,named\n"
    work = load_workload(write(tmp_path, text))
    assert [(e.name, e.repeat) for e in work.entries] == [("a", 2), ("a_2", 1), ("named", 2)]


def test_every_key_of_an_op_is_a_column() -> None:
    assert {"op", "name", "m", "window", "kernel_w", "hidden_size", "vocab", "after", "repeat"} <= set(COLUMNS)


HEAD = "op,name,m,n,k,after,repeat,rows\n"
GOOD = "gemm,a,1,1,1,,,\n"
BAD: dict[str, tuple[str, str, str, str]] = {
    "misspelt kind": (HEAD + "gem,,1,1,1,,,\n", "2:1", "op", "Did you mean 'gemm'?"),
    "no kind": (HEAD + ",,1,1,1,,,\n", "2:1", "op", "read nothing, allowed are gemm"),
    "zero": (HEAD + GOOD + "gemm,,1,0,1,,,\n", "3:4", "n", "read 0, allowed is a whole number from 1 to 2^40 - 1"),
    "text for a number": (HEAD + "gemm,,x,1,1,,,\n", "2:3", "m", "read 'x'"),
    "part of a number": (HEAD + "gemm,,1.5,1,1,,,\n", "2:3", "m", "read 1.5"),
    "missing": (HEAD + "gemm,,1,,1,,,\n", "2:4", "n", "missing, needed is a whole number"),
    "key of another op": (HEAD + "gemm,,1,1,1,,,5\n", "2:8", "rows", "unknown key"),
    "later name": (HEAD + "gemm,a,1,1,1,b,,\n", "2:6", "after", "read 'b', allowed are names of earlier rows"),
    "its own name": (HEAD + "gemm,a,1,1,1,a,,\n", "2:6", "after", "allowed are names of earlier rows"),
    "long name": (HEAD + f"gemm,{'a' * 201},1,1,1,,,\n", "2:2", "name", "1 to 200 printable"),
    "repeat": (HEAD + "gemm,,1,1,1,,-1,\n", "2:7", "repeat", "read -1"),
    "short row": (HEAD + GOOD + "gemm,,1\n", "3", "", "read 3 cells, allowed are 8"),
    "long row": (HEAD + "gemm,,1,1,1,,,,,\n", "2", "", "read 10 cells, allowed are 8"),
    "row of two lines": (HEAD + 'gemm,"a\nb",1,1,1,,,\n' + GOOD, "2:2", "name", "printable"),
    "after a row of two lines": (HEAD + 'gemm,,1,"1\n",1,,,\n' + "gemm,,0,1,1,,,\n", "4:3", "m", "read 0"),
    "unknown column": ("op,m,n,k,btach\ngemm,1,1,1,1\n", "1:5", "", "Did you mean 'batch'?"),
    "column twice": ("op,m,n,k,m\ngemm,1,1,1,1\n", "1:5", "m", "given twice"),
    "no column op": ("m,n,k\n1,1,1\n", "", "op", "the column is missing"),
    "open quote": (HEAD + 'gemm,"a,1,1,1,,,\n', "2:1", "", "not a row of CSV"),
    "no rows": (HEAD, "", "", "needed is at least one op"),
    "empty": ("", "", "", "the file is empty"),
    "only a comment": ("# nothing\n", "", "", "the file is empty"),
}
"""Text, place behind the file's name, key at fault, remedy."""


@pytest.mark.parametrize("case", BAD)
def test_refused_with_place_and_remedy(case: str, tmp_path: Path) -> None:
    text, place, path, remedy = BAD[case]
    file = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_workload(file)
    (problem,) = caught.value.problems
    assert problem.where == (f"{file}:{place}" if place else str(file))
    assert problem.path == path
    assert remedy in str(problem)


def test_places_in_parquet(tmp_path: Path) -> None:
    rows = [{"op": "gemm", "m": 1, "n": 1, "k": 1}] * 5 + [{"op": "gemm", "m": 1, "n": 0, "k": -1}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    with pytest.raises(InputError) as caught:
        load_workload(tmp_path / "t.parquet")
    assert [(p.where.rpartition("t.parquet")[2], p.path) for p in caught.value.problems] == [
        (":6:3", "n"),
        (":6:4", "k"),
    ]


def test_the_first_problems_and_how_many_more(tmp_path: Path) -> None:
    file = write(tmp_path, HEAD + GOOD + "gemm,,0,1,-1,,,\n" * 1000)
    with pytest.raises(InputError) as caught:
        load_workload(file)
    *first, last = caught.value.problems
    assert [p.where for p in first] == [f"{file}:{3 + i // 2}:{(3, 5)[i % 2]}" for i in range(MOST_PROBLEMS)]
    assert str(last) == f"{file}: and 1,980 more problems"


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("op,name\ngemm,\xe9\n".encode("latin-1"))
    (tmp_path / "x.parquet").write_text("op\n")
    nested = pa.table({"op": ["gemm"], "m": pa.array([{"a": 1}])})
    pq.write_table(nested, tmp_path / "nested.parquet")
    for name, remedy in (
        ("missing.csv", "No such file"),
        ("missing.parquet", "No such file"),
        ("latin.csv", "not UTF-8"),
        ("x.parquet", "cannot read the file"),
        ("nested.parquet", "m: the column has parts"),
    ):
        with pytest.raises(InputError, match=remedy):
            load_workload(tmp_path / name)


def test_repeats_that_add_up_to_too_many(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="add up to 1099511627776, allowed are"):
        load_workload(write(tmp_path, HEAD + "gemm,,1,1,1,,549755813888,\n" * 2))


def test_nothing_to_set(table: Path) -> None:
    with pytest.raises(InputError, match="query:batch: a trace of ops has no parameters to set"):
        load_workload(f"{table}?batch=2")
    with pytest.raises(InputError, match="set:batch: a trace of ops has no parameters to set"):
        load_workload(table, set={"batch": 2})


def test_description_is_plain_data(table: Path) -> None:
    described = describe_workload(table)
    assert described["kind"] == "trace"
    assert described["op_count"] == 42
    assert json.loads(json.dumps(described)) == described


@given(st.lists(st.tuples(st.sampled_from([*COLUMNS, "x"]), st.text(max_size=8)), min_size=1, max_size=6))
def test_any_row_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([column for column, _ in cells])
    writer.writerow([cell for _, cell in cells])
    assert outcome(write(tmp_path_factory.mktemp("any"), text.getvalue()))


def outcome(file: Path) -> str:
    """Name of the workload, or what is wrong; no other error passes."""
    try:
        return load_workload(file).name
    except InputError as error:
        return str(error)


def test_convolutions_in_a_table(tmp_path: Path) -> None:
    text = "op,in_channels,out_channels,height,kernel,padding\nconv2d,3,8,16,3,1\nconv2d,8,8,16,1,0\n"
    work = load_workload(write(tmp_path, text))
    first, second = (entry.op for entry in work.entries)
    assert first == Conv2d(3, 8, 16, 3, padding=1)
    assert second == Conv2d(8, 8, 16, 1, name="conv2d_2")

"""Workloads made in Python: totals, grouping, and what is refused."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from accsim.errors import InputError
from accsim.workload.ops import Elementwise, Gemm, Softmax
from accsim.workload.trace import Entry, Workload

ROOT = Path(__file__).resolve().parents[2]
A = Gemm(2, 3, 4, name="a")
B = Gemm(2, 3, 4, name="b")
C = Softmax(5, 6, name="c")


def test_totals_count_repeats() -> None:
    work = Workload("w", (Entry(A, 3), Entry(B, after=("a",)), Entry(C, 2)))
    assert work.macs == 4 * 24
    assert work.flop == 2 * work.macs
    assert work.weight_bytes == 4 * A.weight_bytes
    assert work.op_count == 6
    assert len(work) == 3
    assert list(work) == [(A, 3), (B, 1), (C, 2)]


def test_ops_that_differ_in_name_alone_are_one() -> None:
    work = Workload("w", (Entry(A, 3), Entry(C, 2), Entry(B), Entry(C, 5, "again")))
    assert work.distinct_ops() == ((A.key, 4), (C.key, 7))
    assert A.key == B.key


def test_neighbours_with_one_repeat_are_rounds() -> None:
    # a c c', a c c', b', then c three times: b is a by another name.
    other = Softmax(5, 7)
    work = Workload("w", (Entry(A, 2), Entry(C, 2), Entry(other, 2), Entry(B), Entry(C, 3, "again")))
    order = [A.key, C.key, other.key, A.key, C.key, other.key, A.key, C.key, C.key, C.key]
    pairs = Counter(zip([None, *order], order, strict=False))
    assert {(before, op): times for before, op, times in work.successions()} == pairs


def test_successions_count_every_op_once() -> None:
    work = Workload("w", (Entry(A, 2**40 - 1), Entry(C)))
    assert work.successions() == ((None, A.key, 1), (A.key, A.key, 2**40 - 2), (A.key, C.key, 1))


def test_entry_takes_the_name_of_its_op() -> None:
    assert Entry(A).name == "a"
    assert Entry(A, name="x").name == "x"


def test_value_semantics() -> None:
    work = Workload("w", (Entry(A), Entry(C)), {"batch": 1}, "source", "encoder", {"layers": 2})
    again = pickle.loads(pickle.dumps(work))
    assert again == work
    assert hash(again) == hash(work)
    with pytest.raises(TypeError):
        work.parameters["batch"] = 2  # type: ignore[index]
    assert Workload("w", [Entry(A)]).entries == (Entry(A),)  # type: ignore[arg-type]


BAD: list[tuple[Callable[[], object], str, str]] = [
    (lambda: Entry("gemm"), "Entry.op", "allowed is an op: gemm"),  # type: ignore[arg-type]
    (lambda: Entry(A, 0), "Entry.repeat", "read 0"),
    (lambda: Entry(A, 1.0), "Entry.repeat", "read 1.0"),  # type: ignore[arg-type]
    (lambda: Entry(A, name=""), "Entry.name", "printable"),
    (lambda: Entry(A, after="b"), "Entry.after", "tuple of names"),  # type: ignore[arg-type]
    (lambda: Entry(A, after=(1,)), "Entry.after", "tuple of names"),  # type: ignore[arg-type]
    (lambda: Workload("", (Entry(A),)), "Workload.name", "printable"),
    (lambda: Workload("w", ()), "Workload.entries", "at least one"),
    (lambda: Workload("w", (A,)), "Workload.entries", "tuple of entries"),  # type: ignore[arg-type]
    (lambda: Workload("w", A), "Workload.entries", "tuple of entries"),  # type: ignore[arg-type]
    (lambda: Workload("w", (Entry(A), Entry(A))), "Workload.entries[1].name", "'a' is given twice"),
    (lambda: Workload("w", (Entry(A, after=("a",)),)), "Workload.entries[0].after[0]", "cannot wait for itself"),
    (lambda: Workload("w", (Entry(A, after=("b",)), Entry(B))), "Workload.entries[0].after[0]", "comes later"),
    (lambda: Workload("w", (Entry(A), Entry(B, after=("q",)))), "Workload.entries[1].after[0]", "read 'q'"),
    (lambda: Workload("w", (Entry(A), Entry(B, after=("a", "a")))), "Workload.entries[1].after[1]", "twice"),
    (lambda: Workload("w", (Entry(A),), {1: 2}), "Workload.parameters", "mapping of names"),  # type: ignore[dict-item]
    (lambda: Workload("w", (Entry(A),), 3), "Workload.parameters", "mapping of names"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "path", "text"), BAD)
def test_constructor_refuses(make: Callable[[], object], path: str, text: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    (problem,) = caught.value.problems
    assert problem.path == path
    assert text in str(problem)


def test_misspelt_name_is_suggested() -> None:
    with pytest.raises(InputError, match="Did you mean 'q_proj'"):
        Workload("w", (Entry(A, name="q_proj"), Entry(B, after=("q_porj",))))


def test_ops_and_traces_load_no_schema_library() -> None:
    code = "import sys, accsim.workload.trace; print('pydantic' in sys.modules, 'numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_long_chains_are_linear_in_time() -> None:
    entries = tuple(Entry(Elementwise(4, "copy"), name=f"e{i}") for i in range(20_000))
    assert Workload("long", entries).distinct_ops() == ((Elementwise(4, "copy"), 20_000),)

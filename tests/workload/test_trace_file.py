"""Trace files: what they mean, and what is refused where."""

from __future__ import annotations

import random
from copy import deepcopy
from dataclasses import MISSING, fields
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accsim.config.reader import parse_yaml
from accsim.errors import InputError
from accsim.sparsity.nm import NM
from accsim.sparsity.patterns import Block
from accsim.workload.catalogue import load_workload
from accsim.workload.op_form import FORMS
from accsim.workload.ops import OPS, Attention, Elementwise, Gemm, Norm, Softmax
from accsim.workload.trace import Entry, Workload
from accsim.workload.trace_file import read_trace

GOOD = """\
name: layer
source: a test
ops:
  - {op: gemm, name: q_proj, m: 512, n: 768, k: 768, repeat: 12}
  - repeat: 3
    ops:
      - {op: norm, rows: 4, cols: 8, function: rms}
      - {repeat: 2, ops: [{op: softmax, rows: 4, cols: 8, dtype: half, repeat: 5}]}
      - {op: norm, rows: 4, cols: 8, after: [norm, q_proj]}
  - {op: attention, batch: 1, heads: 4, q_len: 2, kv_len: 8, head_dim: 16, kv_heads: 2, causal: true}
  - {op: elementwise, elements: 9, function: add, inputs: 3}
  - {op: gemm, m: 2, n: 3, k: 4, batch: 5, weights: false, dtype: INT8}
  - {op: gemm, name: sparse, m: 2, n: 3, k: 4, sparsity: 2:4}
  - {op: gemm, name: block, m: 4, n: 4, k: 4, sparse_operand: A,
     sparsity: {kind: block, rows: 2, cols: 2, density: 1/4}}
"""


def read(text: str) -> Workload:
    return read_trace(parse_yaml(text, "t.yaml"))


def test_every_op_and_nested_groups() -> None:
    assert read(GOOD) == Workload(
        "layer",
        (
            Entry(Gemm(512, 768, 768, name="q_proj"), 12),
            Entry(Norm(4, 8, "rms", name="norm"), 3),
            Entry(Softmax(4, 8, "fp16"), 30),
            Entry(Norm(4, 8, name="norm_2"), 3, after=("norm", "q_proj")),
            Entry(Attention(1, 4, 2, 8, 16, 2, causal=True)),
            Entry(Elementwise(9, "add", 3)),
            Entry(Gemm(2, 3, 4, 5, "int8", weights=False)),
            Entry(Gemm(2, 3, 4, name="sparse", sparsity=NM(2, 4))),
            Entry(Gemm(4, 4, 4, name="block", sparsity=Block(2, 2, Fraction(1, 4)), sparse_operand="A")),
        ),
        source="a test",
    )


def test_unnamed_ops_avoid_given_names() -> None:
    text = "name: x\nops:\n- {op: softmax, rows: 1, cols: 1}\n- {op: softmax, name: softmax, rows: 1, cols: 1}\n"
    assert [entry.name for entry in read(text).entries] == ["softmax_2", "softmax"]


def test_the_documented_trace_is_one() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "workloads.md").read_text(encoding="utf-8")
    work = read(text.partition("```yaml\n")[2].partition("```")[0])
    assert [(entry.name, entry.repeat) for entry in work.entries] == [
        ("input", 12),
        ("q_proj", 12),
        ("attention", 12),
        ("elementwise", 2),
    ]


@pytest.mark.parametrize("kind", OPS)
def test_forms_have_the_fields_and_defaults_of_the_ops(kind: str) -> None:
    of_op = {f.name: f.default for f in fields(OPS[kind])}
    form = FORMS[kind].model_fields
    assert set(of_op) == set(form) - {"op", "repeat", "after", "shared_weights"}
    for name, default in of_op.items():
        if name != "name":
            # In Python these two have one since the batch before them may be left out.
            needed = default is MISSING or (kind == "attention" and name in ("heads", "head_dim"))
            assert form[name].is_required() == needed
            assert needed or form[name].default == default


def ops(*lines: str) -> str:
    return "name: t\nops:\n" + "".join(f"- {line}\n" for line in lines)


GEMM = "{op: gemm, name: a, m: 1, n: 1, k: 1}"
BAD: dict[str, tuple[str, str, str]] = {
    "misspelt kind": (ops("{op: §gem, m: 1}"), "ops[0].op", "Did you mean 'gemm'?"),
    "kind is no text": (ops("{op: §3, m: 1}"), "ops[0].op", "read 3, allowed are gemm, attention"),
    "kind is a list": (ops("{op: §[gemm], m: 1}"), "ops[0].op", "allowed are gemm, attention"),
    "no kind": (ops("§{m: 1}"), "ops[0]", "missing the key op"),
    "misspelt op": (ops("§{oop: gemm, m: 1}"), "ops[0]", "the key 'oop' is unknown"),
    "misspelt key": (ops("{op: gemm, m: 1, n: 1, k: 1, §btach: 2}"), "ops[0].btach", "Did you mean 'batch'?"),
    "key of another op": (ops("{op: gemm, m: 1, n: 1, k: 1, §rows: 2}"), "ops[0].rows", "unknown key"),
    "misspelt attention key": (
        ops("{op: attention, batch: 1, heads: 1, q_len: 1, kv_len: 1, head_dim: 1, §kv_head: 1}"),
        "ops[0].kv_head",
        "Did you mean 'kv_heads'?",
    ),
    "missing size": (ops("§{op: gemm, m: 1, n: 1}"), "ops[0].k", "missing, needed is a whole number from 1 to 2^40"),
    "zero": (ops("{op: gemm, m: §0, n: 1, k: 1}"), "ops[0].m", "read 0, allowed is a whole number from 1 to 2^40"),
    "negative": (ops("{op: softmax, rows: 1, cols: §-1}"), "ops[0].cols", "read -1"),
    "too large": (ops("{op: softmax, rows: 1, cols: §1099511627776}"), "ops[0].cols", "2^40 - 1"),
    "float": (ops("{op: gemm, m: §1e3, n: 1, k: 1}"), "ops[0].m", "read 1000.0"),
    "text for a number": (ops("{op: gemm, m: §'8', n: 1, k: 1}"), "ops[0].m", "read '8'"),
    "truth for a number": (ops("{op: gemm, m: §true, n: 1, k: 1}"), "ops[0].m", "read true"),
    "yaml 1.1 truth": (
        ops("{op: gemm, m: 1, n: 1, k: 1, weights: §no}"),
        "ops[0].weights",
        "read 'no', allowed is true or false",
    ),
    "dtype": (ops("{op: softmax, rows: 1, cols: 1, dtype: §flot16}"), "ops[0].dtype", "Did you mean 'fp16'?"),
    "function": (ops("{op: elementwise, elements: 1, function: §gello}"), "ops[0].function", "Did you mean 'gelu'?"),
    "norm function": (ops("{op: norm, rows: 1, cols: 1, function: §rns}"), "ops[0].function", "'rms'?"),
    "inputs": (
        ops("{op: elementwise, elements: 1, function: gelu, inputs: §2}"),
        "ops[0].inputs",
        "allowed for gelu is 1",
    ),
    "kv_heads": (
        ops("{op: attention, batch: 1, heads: 4, q_len: 1, kv_len: 1, head_dim: 1, kv_heads: §3}"),
        "ops[0].kv_heads",
        "a divisor of the 4 heads",
    ),
    "causal": (
        ops("{op: attention, batch: 1, heads: 4, q_len: §2, kv_len: 1, head_dim: 1, causal: true}"),
        "ops[0].q_len",
        "at most kv_len = 1",
    ),
    "name twice": (
        ops(GEMM, "{op: gemm, name: §a, m: 1, n: 1, k: 1}"),
        "ops[1].name",
        "'a' is given twice, first at t.yaml:3:3",
    ),
    "forward": (ops("{op: softmax, rows: 1, cols: 1, after: [§a]}", GEMM), "ops[0].after[0]", "'a' comes later"),
    "self": (ops("{op: gemm, name: b, m: 1, n: 1, k: 1, after: [§b]}"), "ops[0].after[0]", "itself"),
    "unknown after": (
        ops("{op: gemm, name: q_proj, m: 1, n: 1, k: 1}", "{op: softmax, rows: 1, cols: 1, after: [§q_prj]}"),
        "ops[1].after[0]",
        "Did you mean 'q_proj'?",
    ),
    "after twice": (
        ops(GEMM, "{op: softmax, rows: 1, cols: 1, after: [a, §a]}"),
        "ops[1].after[1]",
        "stands here twice",
    ),
    "after is no list": (ops(GEMM, "{op: softmax, rows: 1, cols: 1, after: §a}"), "ops[1].after", "list"),
    "empty name": (ops("{op: softmax, name: §'', rows: 1, cols: 1}"), "ops[0].name", "text that is not empty"),
    "unprintable": (ops('{op: softmax, name: §"a\\tb", rows: 1, cols: 1}'), "ops[0].name", "printable"),
    "repeat": (ops("{op: softmax, rows: 1, cols: 1, repeat: §0}"), "ops[0].repeat", "read 0"),
    "op is a text": (ops("§gemm"), "ops[0]", "read 'gemm', allowed is a mapping"),
    "no op": ("name: t\nops: §[]\n", "ops", "read an empty list"),
    "ops is no list": ("name: t\nops: §{op: gemm}\n", "ops", "allowed is a list of at least one op"),
    "group without repeat": (ops("§{ops: [{op: gemm, name: a, m: 1, n: 1, k: 1}]}"), "ops[0].repeat", "missing"),
    "empty group": (ops("{repeat: 2, ops: §[]}"), "ops[0].ops", "read an empty list"),
    "group repeat": (ops("{repeat: §-2, ops: [{op: gemm, name: a, m: 1, n: 1, k: 1}]}"), "ops[0].repeat", "read -2"),
    "group key": (
        ops("{repeat: 2, §nme: x, ops: [{op: gemm, name: a, m: 1, n: 1, k: 1}]}"),
        "ops[0].nme",
        "unknown key, allowed are ops, repeat",
    ),
    "deep op": (
        ops("{repeat: 2, ops: [{repeat: 2, ops: [{op: §sofmax}]}]}"),
        "ops[0].ops[0].ops[0].op",
        "Did you mean 'softmax'?",
    ),
    "repeats multiply": (
        ops("{repeat: 1048576, ops: [{repeat: §1048577, ops: [{op: gemm, name: a, m: 1, n: 1, k: 1}]}]}"),
        "ops[0].ops[0].repeat",
        "groups that repeat 1048576 times",
    ),
    "no file name": ("§ops:\n- {op: gemm, name: a, m: 1, n: 1, k: 1}\n", "name", "missing"),
    "top key": (
        "name: t\n§sorce: x\nops:\n- {op: gemm, name: a, m: 1, n: 1, k: 1}\n",
        "sorce",
        "Did you mean 'source'?",
    ),
    "bad name": ("name: §3\nops:\n- {op: gemm, name: a, m: 1, n: 1, k: 1}\n", "name", "read 3"),
}
"""Text with § before the fault, key at fault, remedy."""


def marked(text: str) -> tuple[str, str]:
    """Text without its mark, and line:column of the mark."""
    before, _, after = text.partition("§")
    return before + after, f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


@pytest.mark.parametrize("case", BAD)
def test_refused_with_place_and_remedy(case: str) -> None:
    marked_text, path, remedy = BAD[case]
    text, place = marked(marked_text)
    with pytest.raises(InputError) as caught:
        read(text)
    (problem,) = caught.value.problems
    assert problem.where == f"t.yaml:{place}"
    assert problem.path == path
    assert remedy in str(problem)


def test_all_problems_at_once_in_file_order() -> None:
    text = ops("{op: gem}", "{op: gemm, m: 0, n: 1, q: 2}", "{repeat: x, ops: [{op: softmax, rows: 1}]}") + "sorce: 1\n"
    with pytest.raises(InputError) as caught:
        read(text)
    assert [(p.where.split(":")[1], p.path) for p in caught.value.problems] == [
        ("3", "ops[0].op"),
        ("4", "ops[1].k"),
        ("4", "ops[1].m"),
        ("4", "ops[1].q"),
        ("5", "ops[2].repeat"),
        ("5", "ops[2].ops[0].cols"),
        ("6", "sorce"),
    ]


def test_neither_or_both_kinds_of_file(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    for text, place, remedy in (
        ("name: x\n", "1:1", "missing the key architecture (a model) or ops (a trace)"),
        ("name: x\narchitectur: encoder\n", "2:1", "Did you mean 'architecture'?"),
        ("name: x\nops: []\narchitecture: encoder\n", "3:1", "allowed is one of them"),
        ("name: x\narchitecture: encodr\n", "2:15", "Did you mean 'encoder'?"),
        ("name: x\narchitecture: 3\n", "2:15", "allowed are encoder, encoder_decoder, decoder"),
    ):
        file.write_text(text)
        with pytest.raises(InputError) as caught:
            load_workload(file)
        (problem,) = caught.value.problems
        assert problem.where == f"{file}:{place}"
        assert remedy in str(problem)


@given(st.integers(0, 2**32), st.sampled_from([0, 1, -1, 1.5, "gemm", "x", None, True, [], {}, [1], 2**70]))
def test_mutated_files_are_read_or_refused(seed: int, value: object) -> None:
    document = parse_yaml(GOOD, "t.yaml")
    path = random.Random(seed).choice([p for p in document.marks if p])
    data: dict[str, object] = {}
    inner = data["top"] = deepcopy(document.data)
    for step in path[:-1]:
        inner = inner[step]  # type: ignore[index]
    inner[path[-1]] = value  # type: ignore[index]
    mutated = type(document)(document.name, data["top"], document.marks)  # type: ignore[arg-type]
    try:
        read_trace(mutated)
    except InputError as error:
        problems = error.problems
    else:
        problems = ()
    assert all(p.where.startswith("t.yaml:") and p.message for p in problems)

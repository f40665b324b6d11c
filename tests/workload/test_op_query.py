"""A single op as a workload's spec."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accsim.errors import InputError
from accsim.sparsity.nm import NM
from accsim.workload.catalogue import describe_workload, load_workload
from accsim.workload.op_query import op_kind
from accsim.workload.ops import (
    OPS,
    Attention,
    Conv2d,
    Elementwise,
    Embedding,
    EmbeddingBag,
    Gemm,
    LstmCell,
    Norm,
    Pool2d,
    Softmax,
)

SPECS = [
    ("gemm?m=512&n=256&k=128", Gemm(512, 256, 128)),
    ("GEMM?m=5&n=6&k=7&batch=3&weights=false&dtype=half&name=mine", Gemm(5, 6, 7, 3, "fp16", "mine", False)),
    ("gemm?m=5&n=6&k=8&sparsity=2:4", Gemm(5, 6, 8, sparsity=NM(2, 4))),
    (
        "gemm?m=5&n=6&k=8&sparsity=nm(1, 4)&sparse_operand=A&other_sparsity=2:4",
        Gemm(5, 6, 8, sparsity=NM(1, 4), sparse_operand="A", other_sparsity=NM(2, 4)),
    ),
    (
        "attention?batch=1&heads=12&q_len=512&kv_len=512&head_dim=64",
        Attention(batch=1, heads=12, q_len=512, kv_len=512, head_dim=64),
    ),
    (
        "Attention?batch=2&heads=8&kv_heads=2&q_len=4&kv_len=9&head_dim=64&causal=true",
        Attention(batch=2, heads=8, kv_heads=2, q_len=4, kv_len=9, head_dim=64, causal=True),
    ),
    ("softmax?rows=3&cols=4", Softmax(3, 4)),
    ("norm?rows=3&cols=4&function=rms", Norm(3, 4, "rms")),
    ("elementwise?elements=10&function=add&inputs=3", Elementwise(10, "add", 3)),
    (
        "attention?heads=2&q_len=1&head_dim=64&kv_lens=512x2;9",
        Attention(heads=2, q_len=1, head_dim=64, kv_lens=(512, 512, 9)),
    ),
    (
        "attention?batch=1&heads=2&q_len=4&kv_len=9&head_dim=64&causal=true&window=3",
        Attention(1, 2, 4, 9, 64, causal=True, window=3),
    ),
    (
        "conv2d?in_channels=3&out_channels=64&height=224&kernel=7&stride=2&padding=3",
        Conv2d(3, 64, 224, 7, stride=2, padding=3),
    ),
    (
        "Conv2D?in_channels=8&out_channels=8&height=9&width=7&kernel=1&kernel_w=3&padding_w=1&groups=8&dilation=2",
        Conv2d(8, 8, 9, 1, 7, 3, padding_w=1, groups=8, dilation=2),
    ),
    ("pool2d?channels=64&height=7&kernel=7&function=average", Pool2d(64, 7, 7, function="average")),
    ("embedding?tokens=5&dim=8&vocab=100&dtype=int8", Embedding(5, 8, 100, "int8")),
    ("embedding_bag?bags=5&lookups=9&dim=8&vocab=100", EmbeddingBag(5, 9, 8, 100)),
    ("lstm_cell?batch=2&input_size=3&hidden_size=4", LstmCell(2, 3, 4)),
]


@pytest.mark.parametrize(("spec", "op"), SPECS)
def test_spec_is_the_op(spec: str, op: object) -> None:
    work = load_workload(spec)
    (entry,) = work.entries
    assert entry.op == op
    assert work.name == entry.op.kind
    described = describe_workload(spec)
    assert json.loads(json.dumps(described)) == described
    assert described["macs"] == work.macs


def test_repeat_and_parameters() -> None:
    work = load_workload("gemm?m=2&n=2&k=2&repeat=5")
    assert work.macs == 5 * 8
    assert work.parameters == {"m": 2, "n": 2, "k": 2, "repeat": 5}


def test_repeats_that_share_weights() -> None:
    work = load_workload("lstm_cell?batch=2&input_size=3&hidden_size=4&repeat=5&shared_weights=true")
    assert work.weight_bytes == 2 * 4 * 4 * 7
    assert work.macs == 5 * 2 * 4 * 4 * 7
    assert load_workload("lstm_cell?batch=2&input_size=3&hidden_size=4&repeat=5").weight_bytes == 5 * work.weight_bytes


BAD = [
    ("gemm", ["query", "query", "query"], "missing, needed is a whole number"),
    ("gemm?", ["query"], "nothing after '?'"),
    ("gemm?m=0&n=1&k=1", ["query:m"], "read 0"),
    ("gemm?m=1&n=1&k=99999999999999999999", ["query:k"], "2^40 - 1"),
    ("gemm?m=1&n=1&k=1&op=softmax", ["query:op"], "unknown key of gemm"),
    ("gemm?m=1&n=1&k=1&after=x", ["query:after"], "unknown key of gemm"),
    ("gemm?m=1&n=1&k=1&weight=no", ["query:weight"], "Did you mean 'weights'?"),
    ("gemm?m=1&n=1&k=1&weights=no", ["query:weights"], "read 'no'"),
    ("gemm?m=1&n=1&k=1&sparsity=chanel(1)", ["query:sparsity"], "Did you mean 'channel'?"),
    ("gemm?m=1&n=1&k=1&sparsity=4:2&sparse_operand=D", ["query:sparsity", "query:sparse_operand"], "at most m = 2"),
    ("gemm?m=1&n=1&k=1&sparse_operand=A", ["query:sparse_operand"], "allowed without sparsity is none"),
    ("gemm?m=1&n=1&k=1&dtype=bf17", ["query:dtype"], "Did you mean 'bf16'?"),
    ("attention?batch=1&heads=4&kv_heads=3&q_len=1&kv_len=1&head_dim=1", ["query:kv_heads"], "a divisor"),
    ("attention?batch=1&heads=1&q_len=2&kv_len=1&head_dim=1&causal=true", ["query:q_len"], "at most kv_len = 1"),
    ("attention?batch=1&heads=1&q_len=1&kv_len=4&head_dim=1&window=2", ["query:window"], "allowed without causal"),
    ("conv2d?in_channels=3&out_channels=4&height=9&kernal=3", ["query:kernal", "query"], "Did you mean 'kernel'?"),
    ("conv2d?in_channels=3&out_channels=4&height=9&kernel=3&padding=3", ["query:padding"], "less than the 3"),
    ("elementwise?elements=1&function=gel", ["query:function"], "Did you mean 'gelu'?"),
]


@pytest.mark.parametrize(("spec", "places", "remedy"), BAD)
def test_spec_refused(spec: str, places: list[str], remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        load_workload(spec)
    assert [problem.where for problem in caught.value.problems] == places
    assert remedy in str(caught.value)


def test_set_does_not_apply() -> None:
    with pytest.raises(InputError, match="set:m: a single op takes its sizes in the query"):
        load_workload("gemm?m=1&n=1&k=1", set={"m": 2})


def test_names_that_are_no_ops() -> None:
    assert [op_kind(name) for name in ("gem", "", "bert_base")] == [None] * 3
    assert [op_kind(kind.upper()) for kind in OPS] == list(OPS)


def outcome(spec: str) -> str:
    """Name of the workload, or what is wrong; no other error passes."""
    try:
        return load_workload(spec).name
    except InputError as error:
        return str(error)


@given(st.sampled_from(list(OPS)), st.lists(st.tuples(st.sampled_from(["m", "n", "k", "rows", "name"]), st.text())))
def test_any_query_is_a_workload_or_refused(kind: str, query: list[tuple[str, str]]) -> None:
    assert outcome(kind + "?" + "&".join(f"{key}={value}" for key, value in query))

"""Ops: what the constructors refuse, and counts against loops and closed forms."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, fields, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accsim.errors import InputError
from accsim.sparsity.attention_masks import Window
from accsim.sparsity.masks import draw_mask
from accsim.sparsity.nm import NM, VNM
from accsim.sparsity.patterns import Block, Channel, Dense, Unstructured, WeightPattern
from accsim.units import DTYPES, tensor_bits
from accsim.workload.ops import (
    OPS,
    VECTOR_OPERATIONS,
    Attention,
    Conv2d,
    Elementwise,
    Embedding,
    EmbeddingBag,
    Gemm,
    LstmCell,
    Norm,
    Op,
    Pool2d,
    Softmax,
    tensor_bytes,
)
from accsim.workload.vector_counts import ELEMENTWISE, NORMS, POOLS

EXAMPLES: tuple[Op, ...] = (
    Gemm(2, 3, 5, batch=7, name="a"),
    Gemm(2, 3, 5, batch=7, name="a", weights=False),
    Attention(2, 6, 3, 5, 8, kv_heads=2, causal=True, name="a"),
    Softmax(3, 4, name="a"),
    Norm(3, 4, "rms", name="a"),
    Elementwise(12, "add", name="a"),
    Conv2d(4, 6, 5, 3, batch=2, groups=2, name="a"),
    Pool2d(4, 5, 3, function="average", name="a"),
    Embedding(3, 4, 10, name="a"),
    EmbeddingBag(3, 5, 4, 10, name="a"),
    LstmCell(2, 3, 4, name="a"),
    Attention(1, 2, 3, 5, 8, causal=True, name="a", window=2),
    Attention(1, 2, 3, 5, 8, causal=True, name="a", v_dim=6, shared_kv=True),
    Attention(1, 2, 3, 5, 8, causal=True, name="a", latent_dim=4),
    Gemm(2, 3, 5, batch=7, name="a", grouped=True),
    Attention(heads=2, head_dim=8, causal=True, name="a", q_lens=(3, 1, 2), kv_lens=(5, 4, 9)),
)


BAD: list[tuple[Callable[[], object], str, str]] = [
    (lambda: Gemm(0, 1, 1), "Gemm.m", "read 0, allowed is a whole number from 1 to 2^40 - 1"),
    (lambda: Gemm(1, -3, 1), "Gemm.n", "read -3, allowed is a whole number"),
    (lambda: Gemm(1, 1, 2**40), "Gemm.k", "2^40 - 1"),
    (lambda: Gemm(1, 1, 1.0), "Gemm.k", "read 1.0"),  # type: ignore[arg-type]
    (lambda: Gemm(1, 1, "8"), "Gemm.k", "read '8'"),  # type: ignore[arg-type]
    (lambda: Gemm(True, 1, 1), "Gemm.m", "read True"),
    (lambda: Gemm(1, 1, 1, batch=0), "Gemm.batch", "read 0"),
    (lambda: Gemm(1, 1, None), "Gemm.k", "read nothing"),  # type: ignore[arg-type]
    (lambda: Gemm(1, 1, np.float64(2)), "Gemm.k", "whole number"),  # type: ignore[arg-type]
    (lambda: Gemm(1, 1, np.arange(3)), "Gemm.k", "whole number"),  # type: ignore[arg-type]
    (lambda: Gemm(1, 1, 10**300), "Gemm.k", "an integer of 997 bits"),
    (lambda: Gemm(1, 1, 1, dtype="bf17"), "Gemm.dtype", "Did you mean 'bf16'?"),
    (lambda: Gemm(1, 1, 1, dtype=16), "Gemm.dtype", "allowed are fp32"),  # type: ignore[arg-type]
    (lambda: Gemm(1, 1, 1, name=""), "Gemm.name", "read ''"),
    (lambda: Gemm(1, 1, 1, name="a\nb"), "Gemm.name", "printable"),
    (lambda: Gemm(1, 1, 1, name="a" * 201), "Gemm.name", "1 to 200"),
    (lambda: Gemm(1, 1, 1, name=3), "Gemm.name", "read 3"),  # type: ignore[arg-type]
    (lambda: Gemm(1, 1, 1, weights=1), "Gemm.weights", "allowed are True and False"),  # type: ignore[arg-type]
    (lambda: Gemm(1, 1, 1, batch=2, weights=False, grouped=True), "Gemm.grouped", "allowed without weights is False"),
    (lambda: Gemm(1, 1, 1, sparsity=5), "Gemm.sparsity", "read 5, allowed is a pattern"),  # type: ignore[arg-type]
    (lambda: Gemm(8, 8, 8, sparsity=NM(2, 4, "m")), "Gemm.sparsity", "the axes of the array are k, n"),
    (lambda: Gemm(8, 8, 8, sparsity=NM(2, 4, "n"), sparse_operand="A"), "Gemm.sparsity", "are m, k"),
    (lambda: Gemm(8, 8, 6, sparsity=NM(2, 4, transposable=True)), "Gemm.sparsity", "sides that 4 divides"),
    (lambda: Gemm(8, 8, 8, sparsity=Unstructured(mask=np.eye(4))), "Gemm.sparsity", "has the shape (4, 4), not (8, 8)"),
    (lambda: Gemm(8, 8, 8, sparsity=Window(4)), "Gemm.sparsity", "of attention scores"),  # type: ignore[arg-type]
    (lambda: Gemm(8, 8, 8, sparsity=NM(2, 4), sparse_operand="C"), "Gemm.sparse_operand", "allowed are A, B"),
    (lambda: Gemm(8, 8, 8, sparse_operand="A"), "Gemm.sparse_operand", "allowed without sparsity is none"),
    (lambda: Gemm(8, 8, 8, other_sparsity=NM(2, 4)), "Gemm.other_sparsity", "allowed without sparsity is none"),
    (lambda: Gemm(8, 8, 8, sparsity=NM(2, 4), other_sparsity=NM(2, 4, "n")), "Gemm.other_sparsity", "are m, k"),
    (lambda: Attention(0, 1, 1, 1, 1), "Attention.batch", "read 0"),
    (lambda: Attention(1, 12, 1, 1, 1, kv_heads=5), "Attention.kv_heads", "a divisor of the 12 heads"),
    (lambda: Attention(1, 2, 1, 1, 1, kv_heads=4), "Attention.kv_heads", "a divisor of the 2 heads"),
    (lambda: Attention(1, 2, 1, 1, 1, kv_heads=0), "Attention.kv_heads", "read 0"),
    (lambda: Attention(1, 1, 9, 8, 1, causal=True), "Attention.q_len", "at most kv_len = 8"),
    (lambda: Attention(1, 1, 1, 1, 1, causal="yes"), "Attention.causal", "read 'yes'"),  # type: ignore[arg-type]
    (lambda: Attention(1, 1, 1, -1, 1), "Attention.kv_len", "read -1"),
    (lambda: Attention(1, 1, 1, 1, 0), "Attention.head_dim", "read 0"),
    (lambda: Attention(1, 1, 4, 8, 1, causal=True, window=0), "Attention.window", "read 0"),
    (lambda: Attention(1, 1, 4, 8, 1, window=3), "Attention.window", "read 3, allowed without causal is none"),
    (lambda: Attention(heads=1, head_dim=1, q_len=1, kv_lens=()), "Attention.kv_lens", "a list of 1 to 65536 whole"),
    (lambda: Attention(heads=1, head_dim=1, q_len=1, kv_lens=(3, 0)), "Attention.kv_lens", "read (3, 0)"),
    (lambda: Attention(heads=1, head_dim=1, kv_lens=(3, 4)), "Attention.q_len", "read nothing"),
    (lambda: Attention(3, 1, 1, 4, 1, kv_lens=(3, 4)), "Attention.batch", "allowed is the number of lengths, 2"),
    (lambda: Attention(2, 1, 1, 5, 1, kv_lens=(3, 4)), "Attention.kv_len", "allowed is the longest, 4"),
    (lambda: Attention(heads=1, head_dim=1, q_lens=(1, 2), kv_lens=(3,)), "Attention.kv_lens", "the 2 of q_lens"),
    (
        lambda: Attention(heads=1, head_dim=1, q_lens=(1, 4), kv_lens=(3, 3), causal=True),
        "Attention.q_len",
        "kv_len = 3",
    ),
    (lambda: Attention(1, 1, 1, 1, 1, v_dim=0), "Attention.v_dim", "read 0"),
    (lambda: Attention(1, 1, 1, 1, 4, v_dim=5, shared_kv=True), "Attention.v_dim", "at most head_dim = 4"),
    (lambda: Attention(1, 1, 1, 1, 1, shared_kv=1), "Attention.shared_kv", "True and False"),  # type: ignore[arg-type]
    (lambda: Conv2d(3, 4, 5, 6), "Conv2d.kernel", "read 6, which spans 6 of the 5 elements of the padded height"),
    (lambda: Conv2d(3, 4, 7, 6, 3), "Conv2d.kernel_w", "read 6, which spans 6 of the 3 elements of the padded width"),
    (lambda: Conv2d(3, 4, 5, 3, padding_w=3), "Conv2d.padding_w", "less than the 3 elements that a window spans"),
    (lambda: Conv2d(3, 4, 5, 3, padding=-1), "Conv2d.padding", "read -1, allowed is a whole number from 0 to 2^40"),
    (lambda: Conv2d(3, 4, 5, 3, stride=0), "Conv2d.stride", "read 0"),
    (lambda: Conv2d(4, 6, 5, 3, groups=4), "Conv2d.groups", "a divisor of out_channels = 6"),
    (lambda: Conv2d(6, 4, 5, 3, groups=4), "Conv2d.groups", "a divisor of in_channels = 6"),
    (lambda: Pool2d(6, 4, 3, function="mean"), "Pool2d.function", "allowed are average, max"),
    (lambda: Embedding(1, 1, 0), "Embedding.vocab", "read 0"),
    (
        lambda: EmbeddingBag(5, 4, 1, 1),
        "EmbeddingBag.lookups",
        "read 4, allowed is at least one for each of the 5 bags",
    ),
    (lambda: LstmCell(1, 0, 1), "LstmCell.input_size", "read 0"),
    (lambda: Softmax(0, 1), "Softmax.rows", "read 0"),
    (lambda: Softmax(1, 1.5), "Softmax.cols", "read 1.5"),  # type: ignore[arg-type]
    (lambda: Norm(1, 0), "Norm.cols", "read 0"),
    (lambda: Norm(1, 1, "lyer"), "Norm.function", "Did you mean 'layer'?"),
    (lambda: Norm(1, 1, 3), "Norm.function", "allowed are layer, rms"),  # type: ignore[arg-type]
    (lambda: Elementwise(0, "add"), "Elementwise.elements", "read 0"),
    (lambda: Elementwise(1, "gelo"), "Elementwise.function", "Did you mean 'gelu'?"),
    (lambda: Elementwise(1, ["add"]), "Elementwise.function", "read ['add']"),  # type: ignore[arg-type]
    (lambda: Elementwise(1, "add", 0), "Elementwise.inputs", "read 0"),
    (lambda: Elementwise(1, "add", 65), "Elementwise.inputs", "from 1 to 64"),
    (lambda: Elementwise(1, "gelu", 2), "Elementwise.inputs", "allowed for gelu is 1"),
    (lambda: Elementwise(1, "swiglu", 1), "Elementwise.inputs", "allowed for swiglu is 2"),
]


@pytest.mark.parametrize(("make", "path", "text"), BAD)
def test_constructor_refuses(make: Callable[[], object], path: str, text: str) -> None:
    with pytest.raises(InputError) as caught:
        make()
    (problem,) = caught.value.problems
    assert problem.where == "argument"
    assert problem.path == path
    assert text in str(problem)


def test_all_problems_at_once() -> None:
    with pytest.raises(InputError) as caught:
        Attention(0, 1.5, 1, 1, 1, causal=2, dtype="x", name="")  # type: ignore[arg-type]
    names = [p.path.partition(".")[2] for p in caught.value.problems]
    assert names == ["batch", "heads", "causal", "dtype", "name"]


@pytest.mark.parametrize("op", EXAMPLES, ids=repr)
def test_value_semantics(op: Op) -> None:
    assert pickle.loads(pickle.dumps(op)) == op
    assert hash(pickle.loads(pickle.dumps(op))) == hash(op)
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        op.name = "b"  # type: ignore[misc]
    assert op.key != op
    assert op.key.key == op.key
    assert {f.name: getattr(op, f.name) for f in fields(op)} | {"name": op.kind} == {
        f.name: getattr(op.key, f.name) for f in fields(op)
    }


def test_kinds() -> None:
    assert {kind.replace("_", ""): kind for kind in OPS} == {op.__name__.lower(): op.kind for op in OPS.values()}
    assert {op.kind for op in EXAMPLES} == set(OPS)


def test_spellings_and_integer_types_are_equal() -> None:
    plain = Gemm(8, 8, 8)
    for dtype in ("BF16", "bfloat16", "torch.bfloat16"):
        assert Gemm(np.int64(8), np.uint8(8), 8, dtype=dtype) == plain  # type: ignore[arg-type]
    assert type(Gemm(np.int64(8), 8, 8).m) is int  # type: ignore[arg-type]
    assert Attention(1, 4, 2, 2, 8) == Attention(1, 4, 2, 2, 8, kv_heads=4)
    assert Elementwise(8, "add") == Elementwise(8, "add", inputs=2)
    assert Gemm(8, 8, 8) != Gemm(8, 8, 8, weights=False)


def brute_force_gemm(op: Gemm) -> dict[str, int]:
    """MACs and elements by looping over every index."""
    a, b, c = set(), set(), set()
    macs = 0
    for batch in range(op.batch):
        for i in range(op.m):
            for j in range(op.n):
                for k in range(op.k):
                    macs += 1
                    a.add((batch, i, k))
                    b.add((0 if op.weights else batch, k, j))
                    c.add((batch, i, j))
    return {"macs": macs, "a": len(a), "b": len(b), "c": len(c)}


@given(st.tuples(*[st.integers(1, 5)] * 4), st.booleans(), st.sampled_from(DTYPES))
def test_gemm_counts(shape: tuple[int, int, int, int], weights: bool, dtype: str) -> None:
    op = Gemm(*shape[:3], batch=shape[3], dtype=dtype, weights=weights)
    loop = brute_force_gemm(op)

    def size(elements: int) -> int:
        return -(-tensor_bits(elements, dtype) // 8)

    assert op.macs == loop["macs"]
    assert op.flop == 2 * loop["macs"]
    assert op.weight_bytes == (size(loop["b"]) if weights else 0)
    assert op.input_bytes == size(loop["a"] + (0 if weights else loop["b"]))
    assert op.output_bytes == size(loop["c"])
    assert op.vector_ops == {}
    assert op.products * op.rows * op.n * op.k == op.macs


@pytest.mark.parametrize("operand", ["A", "B"])
@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize(
    "pattern",
    [NM(2, 4), NM(1, 4, transposable=True), VNM(4, 2, 6), Block(4, 4, Fraction(1, 3)), Channel(Fraction(1, 2), "k"),
     Unstructured(Fraction(1, 7))],
)  # fmt: skip
def test_effectual_macs_are_those_of_a_mask(pattern: WeightPattern, weights: bool, operand: str) -> None:
    op = Gemm(4, 12, 8, batch=3, weights=weights, sparsity=pattern, sparse_operand=operand)
    count = 0
    for product in range(op.products):
        a, b = np.ones((op.rows, op.k), dtype=int), np.ones((op.k, op.n), dtype=int)
        if operand == "A":
            a = a * draw_mask(pattern, a.shape, product, axes=("m", "k"))
        else:
            b = b * draw_mask(pattern, b.shape, product)
        count += int((a @ b).sum())
    assert op.macs_effectual == count
    assert op.macs == 4 * 12 * 8 * 3
    assert (op.flop, op.weight_bytes) == (2 * op.macs, replace(op, sparsity=None, sparse_operand=None).weight_bytes)


@pytest.mark.parametrize("weights", [True, False])
def test_effectual_macs_of_two_masks_are_those_that_meet(weights: bool) -> None:
    rows = 12 if weights else 4
    a, b = (np.random.default_rng(seed).random(shape) < 0.4 for seed, shape in enumerate(((rows, 8), (8, 5))))
    one, two = Unstructured(mask=a), Unstructured(mask=b)
    op = Gemm(4, 5, 8, batch=3, weights=weights, sparsity=one, sparse_operand="A", other_sparsity=two)
    assert op.macs_effectual == op.products * int((a.astype(int) @ b.astype(int)).sum())
    assert op.macs_effectual == replace(op, sparsity=two, sparse_operand="B", other_sparsity=one).macs_effectual


def test_effectual_macs_of_two_patterns_are_those_of_drawn_masks_on_average() -> None:
    """The last runs are short: there 2:4 keeps two of two, and 2:8 two of six."""
    one, two = NM(2, 4), NM(2, 8)
    op = Gemm(40, 40, 14, sparsity=one, sparse_operand="A", other_sparsity=two)
    drawn = [
        (draw_mask(one, (40, 14), seed, axes=("m", "k")).astype(int) @ draw_mask(two, (14, 40), seed + 500)).sum()
        for seed in range(200)
    ]
    assert op.macs_effectual == round(1600 * (8 * (1 / 2) * (1 / 4) + 4 * (1 / 2) * (1 / 3) + 2 * 1 * (1 / 3)))
    assert abs(np.mean(drawn) - op.macs_effectual) < 4 * np.std(drawn) / 200**0.5


def test_a_dense_pattern_is_none() -> None:
    assert Gemm(4, 4, 4, sparsity=Dense(), other_sparsity=NM(2, 4)) == Gemm(
        4, 4, 4, sparsity=NM(2, 4), sparse_operand="A"
    )
    assert Gemm(4, 4, 4, sparsity=NM(2, 4), other_sparsity=Dense()) == Gemm(4, 4, 4, sparsity=NM(2, 4))
    assert Gemm(4, 4, 4, sparsity=Dense()) == Gemm(4, 4, 4)
    assert Gemm(4, 4, 4).macs_effectual == Gemm(4, 4, 4, sparsity=NM(4, 4)).macs_effectual == 64
    assert Gemm(4, 4, 4, sparsity=NM(2, 4)).sparse_operand == "B"
    assert Attention(1, 1, 4, 4, 8).macs_effectual == Attention(1, 1, 4, 4, 8).macs


def test_gemm_with_weights_is_one_tall_product() -> None:
    batched, tall = Gemm(4, 6, 8, batch=3), Gemm(12, 6, 8)
    for count in ("macs", "weight_bytes", "input_bytes", "output_bytes", "rows", "products"):
        assert getattr(batched, count) == getattr(tall, count)


def brute_force_attention(op: Attention) -> dict[str, int]:
    """Scores, MACs and elements of each operand by looping over every index."""
    group = op.heads // op.kv_heads
    q, kv = set(), set()
    scores = macs = 0
    for batch in range(op.batch):
        for head in range(op.heads):
            for i in range(op.q_len):
                q.add((batch, head, i))
                for j in range(op.kv_len):
                    own = op.kv_len - op.q_len + i
                    if op.causal and (j > own or (op.window is not None and j <= own - op.window)):
                        continue
                    scores += 1
                    value_dim = op.head_dim if op.v_dim is None else op.v_dim
                    macs += op.head_dim + value_dim
                    kv.update((batch, head // group, j, "key", column) for column in range(op.head_dim))
                    name = "key" if op.shared_kv else "value"
                    kv.update((batch, head // group, j, name, column) for column in range(value_dim))
    rows = {"q": len(q) * op.head_dim, "o": len(q) * (op.v_dim or op.head_dim)}
    return {"scores": scores, "macs": macs, "kv": len(kv), **rows}


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 7), st.integers(0, 5), st.integers(1, 4)),
    st.booleans(),
    st.none() | st.integers(1, 12),
    st.none() | st.integers(1, 6),
    st.booleans(),
)
def test_attention_counts(
    heads: tuple[int, int, int],
    lengths: tuple[int, int, int],
    causal: bool,
    window: int | None,
    v_dim: int | None,
    shared_kv: bool,
) -> None:
    batch, kv_heads, group = heads
    q_len, more, head_dim = lengths
    op = Attention(
        batch, kv_heads * group, q_len, q_len + more, head_dim, kv_heads, causal, window=window if causal else None,
        v_dim=min(v_dim, head_dim) if v_dim and shared_kv else v_dim, shared_kv=shared_kv,
    )  # fmt: skip
    loop = brute_force_attention(op)
    assert op.scores == loop["scores"]
    assert op.macs == loop["macs"]
    assert op.kv_bytes == 2 * loop["kv"]
    assert op.input_bytes == 2 * (loop["q"] + loop["kv"])
    assert op.output_bytes == 2 * loop["o"]
    assert op.weight_bytes == 0
    assert op.vector_ops == dict.fromkeys(("max", "exp", "add", "divide"), loop["scores"])


def test_attention_may_have_more_queries_than_keys_without_a_mask() -> None:
    op = Attention(1, 1, q_len=9, kv_len=4, head_dim=2)
    assert op.scores == brute_force_attention(op)["scores"] == 36


def test_a_grouped_product_is_products_with_weights_of_their_own() -> None:
    op, one = Gemm(4, 6, 8, batch=3, grouped=True), Gemm(4, 6, 8)
    for count in ("macs", "weight_bytes", "input_bytes", "output_bytes"):
        assert getattr(op, count) == 3 * getattr(one, count)
    assert (op.products, op.rows) == (3, 4)
    assert Gemm(4, 6, 8, grouped=True) == one


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=5),
    st.booleans(),
    st.none() | st.integers(1, 9),
    st.none() | st.integers(1, 5),
)
def test_sequences_of_lengths_of_their_own_count_as_each_alone(
    lengths: list[tuple[int, int]], causal: bool, window: int | None, latent: int | None
) -> None:
    more = {"head_dim": 4, "kv_heads": 2, "causal": causal, "window": window if causal else None, "latent_dim": latent}
    op = Attention(heads=6, q_lens=tuple(q for q, _ in lengths), kv_lens=tuple(q + past for q, past in lengths), **more)  # type: ignore[arg-type]
    alone = [Attention(1, 6, q, q + past, **more) for q, past in lengths]  # type: ignore[arg-type]
    for name in ("scores", "macs", "input_bytes", "output_bytes", "kv_bytes", "cached_bytes"):
        assert getattr(op, name) == sum(getattr(one, name) for one in alone)
    assert op.batch == len(lengths) == sum(run.batch for run in op.runs)
    order = Attention(heads=6, q_lens=[q for q, _ in lengths[::-1]], kv_lens=[q + k for q, k in lengths[::-1]], **more)  # type: ignore[arg-type]
    assert order == op


def test_equal_lengths_are_none() -> None:
    assert Attention(heads=6, head_dim=8, q_lens=(3, 3)) == Attention(2, 6, 3, 3, 8)
    assert Attention(heads=6, head_dim=8, q_len=2, kv_lens=(3, 3)) == Attention(2, 6, 2, 3, 8)
    packed = Attention(heads=6, head_dim=8, q_lens=(3, 7), causal=True)
    assert (packed.batch, packed.q_len, packed.kv_len, packed.kv_lens) == (2, 7, 7, (7, 3))


def test_values_as_wide_as_keys_need_no_width() -> None:
    assert Attention(1, 1, 4, 8, 16, v_dim=16) == Attention(1, 1, 4, 8, 16)
    assert Attention(1, 1, 4, 8, 16, v_dim=8).value_dim == 8


def test_the_latent_of_deepseek_v2_is_1152_bytes_a_token() -> None:
    # arXiv 2405.04434, section 2.1.2: a cache of d_c + d_h^R = 4 d_h + d_h / 2 = 512 + 64 elements a token and layer.
    latent = Attention(1, 16, 1, 1000, 576, kv_heads=1, causal=True, v_dim=512, shared_kv=True)
    assert latent.kv_bytes == 1000 * 2 * (512 + 64)
    assert latent.macs == 16 * 1000 * (576 + 512)


def test_a_window_of_all_keys_is_none() -> None:
    assert Attention(1, 1, 4, 8, 1, causal=True, window=8) == Attention(1, 1, 4, 8, 1, causal=True)
    assert Attention(1, 1, 4, 8, 1, causal=True, window=7).scores == Attention(1, 1, 4, 8, 1, causal=True).scores - 1


def test_flat_table_1_scores() -> None:
    """Scores of B = 64, H = 12, N = 4096 (FLAT, ASPLOS 2023, Table 1: the term B H N^2)."""
    assert Attention(64, 12, 4096, 4096, 64).scores == 64 * 12 * 4096**2


def test_softmax_counts() -> None:
    op = Softmax(3, 5, dtype="fp32")
    assert (op.macs, op.flop, op.weight_bytes, op.input_bytes, op.output_bytes) == (0, 0, 0, 60, 60)
    assert op.vector_ops == {"max": 15, "exp": 15, "add": 15, "divide": 15}


def taps_of(size: int, kernel: int, op: Conv2d | Pool2d, padding: int) -> list[list[int | None]]:
    """For every place of the window along one axis, the input element under each tap, None on padding."""
    found, first = [], -padding
    while first + (kernel - 1) * op.dilation < size + padding:
        taps = [first + tap * op.dilation for tap in range(kernel)]
        found.append([at if 0 <= at < size else None for at in taps])
        first += op.stride
    return found


@st.composite
def windows(draw: st.DrawFn) -> dict[str, int]:
    """Extents of a feature map and a window that fits it."""
    dilation = draw(st.integers(1, 2))
    kernel, kernel_w = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    spans = [(size - 1) * dilation + 1 for size in (kernel, kernel_w)]
    padding, padding_w = (draw(st.integers(0, span - 1)) for span in spans)
    sides = [draw(st.integers(max(1, s - 2 * p), 9)) for s, p in zip(spans, (padding, padding_w), strict=True)]
    return {
        "height": sides[0], "width": sides[1], "kernel": kernel, "kernel_w": kernel_w, "padding": padding,
        "padding_w": padding_w, "dilation": dilation,
        "stride": draw(st.integers(1, 4)), "batch": draw(st.integers(1, 2)),
    }  # fmt: skip


@given(windows(), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2))
def test_convolution_counts(window: dict[str, int], groups: int, inputs: int, outputs: int) -> None:
    op = Conv2d(groups * inputs, groups * outputs, groups=groups, **window)
    rows = taps_of(op.height, op.kernel, op, op.padding)
    cols = taps_of(op.width, op.kernel_w, op, op.padding_w)
    assert (op.out_h, op.out_w) == (len(rows), len(cols))
    taps = sum(len(row) * len(col) for row in rows for col in cols)
    assert op.macs == op.batch * taps * groups * inputs * outputs
    assert op.products * op.rows * op.n * op.k == op.macs
    assert op.weight_bytes == 2 * groups * outputs * inputs * op.kernel * op.kernel_w
    assert op.output_bytes == 2 * op.batch * groups * outputs * len(rows) * len(cols)
    touched = {(i, j) for row in rows for col in cols for i in row for j in col if i is not None and j is not None}
    per_image = op.input_bytes // (2 * op.batch * op.in_channels)
    assert 1 <= per_image <= op.height * op.width
    if (op.dilation == 1 and op.stride <= min(op.kernel, op.kernel_w)) or op.kernel == op.kernel_w == 1:
        assert per_image == len(touched)


@given(windows(), st.sampled_from(sorted(POOLS)))
def test_pooling_counts(window: dict[str, int], function: str) -> None:
    op = Pool2d(3, function=function, **window)
    same = Conv2d(3, 3, groups=3, **window)
    assert (op.output_bytes, op.input_bytes, op.weight_bytes) == (same.output_bytes, same.input_bytes, 0)
    joins = op.batch * 3 * op.out_h * op.out_w * (op.kernel * op.kernel_w - 1)
    assert op.vector_ops == ({"max": joins} if function == "max" else {"add": joins, "multiply": op.elements})


def test_embedding_counts() -> None:
    op = Embedding(tokens=5, dim=3, vocab=7, dtype="fp32")
    assert (op.input_bytes, op.output_bytes, op.weight_bytes, op.table_bytes) == (60 + 20, 60, 0, 84)
    assert (op.macs, op.vector_ops) == (0, {})


def test_bags_of_one_row_are_an_embedding() -> None:
    rows, bags = Embedding(tokens=5, dim=3, vocab=7, dtype="fp32"), EmbeddingBag(5, 5, 3, 7, "fp32")
    counts = ("input_bytes", "output_bytes", "weight_bytes", "table_bytes", "macs")
    assert [getattr(rows, count) for count in counts] == [getattr(bags, count) for count in counts]
    assert sum(bags.vector_ops.values()) == 0
    assert EmbeddingBag(5, 14, 3, 7, "fp32").vector_ops == {"add": (14 - 5) * 3}


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_lstm_cell_counts(batch: int, inputs: int, hidden: int) -> None:
    op = LstmCell(batch, inputs, hidden)
    gates = [Gemm(batch, hidden, inputs), Gemm(batch, hidden, hidden)] * 4
    assert op.macs == sum(gate.macs for gate in gates)
    assert op.weight_bytes == sum(gate.weight_bytes for gate in gates)
    assert op.input_bytes == 2 * batch * (inputs + hidden + hidden)
    assert op.output_bytes == 2 * batch * (hidden + hidden)
    assert op.vector_ops == Elementwise(batch * hidden, "lstm_gates").vector_ops


class Counter:
    """A number that counts the operations done with it, as the vector unit would do them."""

    def __init__(self, tally: dict[str, int]) -> None:
        self.tally = tally

    def did(self, op: str) -> Counter:
        self.tally[op] = self.tally.get(op, 0) + 1
        return self

    def __add__(self, other: object) -> Counter:
        return self.did("add")

    def __mul__(self, other: object) -> Counter:
        return self.did("multiply")

    def __neg__(self) -> Counter:
        return self

    __sub__ = __radd__ = __rsub__ = __add__
    __rmul__ = __mul__

    def __truediv__(self, other: object) -> Counter:
        return self.did("divide")

    __rtruediv__ = __truediv__

    def exp(self) -> Counter:
        return self.did("exp")

    def max0(self) -> Counter:
        return self.did("max")


def gelu(x: Counter) -> Counter:
    return x / (1 + (-(x * (0.8 + 0.04 * (x * x)))).exp())


def sigmoid(x: Counter) -> Counter:
    return 1 / (1 + (-x).exp())


def tanh(x: Counter) -> Counter:
    return 1 - 2 / (1 + (2 * x).exp())


def lstm_gates(x: Counter, c: Counter) -> Counter:
    new = sigmoid(x) * c + sigmoid(x) * tanh(x)
    return sigmoid(x) * tanh(new)


FORMULAS: Mapping[str, Callable[[Counter, Counter], Counter]] = {
    "lstm_gates": lstm_gates,
    "copy": lambda x, _: x,
    "add": lambda x, y: x + y,
    "multiply": lambda x, y: x * y,
    "multiply_add": lambda x, y: 0.5 * x + y,
    "relu": lambda x, _: x.max0(),
    "sigmoid": lambda x, _: sigmoid(x),
    "tanh": lambda x, _: tanh(x),
    "gelu": lambda x, _: gelu(x),
    "silu": lambda x, _: x / (1 + (-x).exp()),
    "swiglu": lambda x, y: x / (1 + (-x).exp()) * y,
    "geglu": lambda x, y: gelu(x) * y,
    "rope": lambda x, y: x * 0.5 + y * 0.5,
    "convert": lambda x, _: x.did("convert"),
}


@pytest.mark.parametrize("function", ELEMENTWISE)
def test_elementwise_counts_follow_the_formula(function: str) -> None:
    tally: dict[str, int] = {}
    FORMULAS[function](Counter(tally), Counter(tally))
    op = Elementwise(7, function)
    assert op.vector_ops == {name: 7 * count for name, count in tally.items()}
    assert op.input_bytes == 14 * op.inputs
    assert (op.output_bytes, op.weight_bytes, op.macs) == (28 if function == "lstm_gates" else 14, 0, 0)


def test_sums_and_products_of_several_tensors() -> None:
    assert Elementwise(5, "add", inputs=3).vector_ops == {"add": 10}
    assert Elementwise(5, "multiply", inputs=1).vector_ops == {"multiply": 5}
    assert Elementwise(5, "add", inputs=3).input_bytes == 30


def count_norm(rows: int, cols: int, function: str) -> dict[str, int]:
    """Operations of a norm written out row by row."""
    tally: dict[str, int] = {}
    number = Counter(tally)
    for _ in range(rows):
        row = [number] * cols
        if function == "layer":
            total: Counter | int = 0
            for x in row:
                total = total + x
            mean = total * (1 / cols)
            row = [x - mean for x in row]
        squares: Counter | int = 0
        for x in row:
            squares = squares + x * x
        scale = 1 / (squares * (1 / cols) + 1e-5)
        row = [x * scale * number for x in row]
        if function == "layer":
            row = [x + number for x in row]
    return tally


@pytest.mark.parametrize("function", NORMS)
def test_norm_counts_follow_the_formula(function: str) -> None:
    op = Norm(3, 5, function, dtype="fp32")
    assert op.vector_ops == count_norm(3, 5, function)
    assert op.weight_bytes == {"layer": 40, "rms": 20}[function]
    assert (op.input_bytes, op.output_bytes, op.macs) == (60, 60, 0)


@pytest.mark.parametrize("op", [*EXAMPLES, *(Elementwise(2, f) for f in ELEMENTWISE)], ids=repr)
def test_vector_operations_have_known_names(op: Op) -> None:
    assert set(op.vector_ops) <= set(VECTOR_OPERATIONS)


def test_vector_operations_are_those_of_the_energy_tables() -> None:
    from accsim.config.energy import VECTOR_OPS

    assert set(VECTOR_OPERATIONS) == set(VECTOR_OPS)


def test_odd_numbers_of_half_bytes_round_up() -> None:
    assert tensor_bytes(3, "int4") == 2
    assert Gemm(1, 3, 1, dtype="int4").weight_bytes == 2

"""Shipped models against published sizes and closed forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import accsim
from accsim.errors import InputError
from accsim.workload.catalogue import list_workloads, load_workload
from accsim.workload.files import workload_schema
from accsim.workload.models import ARCHITECTURES, parameter_count
from accsim.workload.models.decoder import DecoderHyperparameters
from accsim.workload.models.encoder import EncoderHyperparameters
from accsim.workload.ops import OPS, Attention, Gemm, Op
from accsim.workload.trace import Workload


def op(workload: Workload, name: str) -> Op:
    return next(entry.op for entry in workload.entries if entry.name == name)


def unread(work: Workload) -> int:
    """Parameters that no op reads: tables of embeddings, biases, and batch norms folded into filters."""
    h = {key: value for key, value in work.hyperparameters.items() if not isinstance(value, str)}
    d, layers = h.get("d_model", 0), h.get("layers", 0)
    transformer_biases = layers * (5 * d + h.get("d_ff", 0))
    if work.architecture == "encoder":
        return (h["vocab"] + h["positions"] + h["segments"]) * d + transformer_biases + h["pooler"] * d
    if work.architecture == "encoder_decoder":
        return 2 * h["position_buckets"] * h["heads"]
    if work.architecture == "gpt":  # the output product reads the table
        return h["positions"] * d + transformer_biases
    if work.architecture == "vision_transformer":
        return (h["positions"] + 2) * d + transformer_biases + h["classes"]
    if work.architecture == "resnet":
        widths = [h["width"] * 2**stage for stage in range(4)]
        blocks = [h[f"stage{stage}_blocks"] for stage in range(1, 5)]
        norms = h["width"] + sum(n * (w + w + 4 * w) + 4 * w for n, w in zip(blocks, widths, strict=True))
        return 2 * norms + h["classes"]
    if work.architecture == "lstm":
        return h["vocab"] * h["hidden"] + layers * 4 * h["hidden"] + h["vocab"]
    if work.embeddings is not None:
        widths = [int(n) for key in ("bottom_mlp", "top_mlp") for n in str(work.hyperparameters[key]).split("-")]
        cross = h.get("cross_layers", 0) * (h["sparse_features"] + 1) * h["embedding_dim"]
        return work.embeddings.parameter_count + sum(widths) + cross
    if work.architecture == "transformer_xl":
        inner = h["heads"] * h["head_dim"]
        return layers * (2 * inner + h["d_ff"] + d) + h["vocab"] + 3
    return h["vocab"] * d


@pytest.mark.parametrize("name", [name for name in list_workloads() if name != "attention_layer"])
def test_weights_read_are_the_parameters_less_what_no_op_reads(name: str) -> None:
    work = load_workload(name)
    assert work.weight_bytes == 2 * (parameter_count(work) - unread(work))


@given(st.integers(1, 64), st.integers(1, 4096))
def test_bert_macs(batch: int, seq: int) -> None:
    work = load_workload(f"bert_base?seq={seq}&batch={batch}")
    weights = 12 * (4 * 768**2 + 2 * 768 * 3072)
    assert work.macs == batch * seq * weights + 12 * batch * 2 * seq**2 * 768 + batch * 768**2


def test_xlm_attention_is_that_of_flat() -> None:
    """FLAT (ASPLOS 2023): width 2048, 16 heads of 128, feed-forward 8192, batch 64."""
    work = load_workload("xlm?batch=64&seq=4096")
    assert op(work, "attention") == Attention(64, 16, 4096, 4096, 128)
    assert op(work, "ffn_up") == Gemm(64 * 4096, 8192, 2048, name="ffn_up")
    assert not any(entry.name.startswith("pooler") for entry in work.entries)


@given(st.integers(1, 8), st.integers(1, 1024), st.integers(1, 1024))
def test_t5_macs(batch: int, seq: int, target: int) -> None:
    work = load_workload(f"t5_small?batch={batch}&seq={seq}&target_seq={target}")
    attention, feed_forward = 4 * 512 * 512, 2 * 512 * 2048
    encoder = 6 * seq * (attention + feed_forward) + 6 * 2 * seq * seq * 512
    decoder = 6 * (target * (attention + 2 * 512 * 512 + feed_forward) + seq * 2 * 512 * 512)
    scores = 6 * 2 * 512 * (target * (target + 1) // 2 + target * seq)
    assert work.macs == batch * (encoder + decoder + scores + target * 512 * 32128)


def test_t5_position_bias_as_an_op() -> None:
    fused, separate = load_workload("t5_small?batch=2"), load_workload("t5_small?batch=2&position_bias=separate")
    names = [entry.name for entry in separate.entries]
    assert [n for n in names if n not in {entry.name for entry in fused.entries}] == [
        "encoder.score_bias",
        "decoder.self_score_bias",
    ]
    adds = [entry for entry in separate.entries if entry.name.endswith("score_bias")]
    assert [dict(e.op.vector_ops) for e in adds] == [{"add": 2 * 8 * 512 * 512}, {"add": 2 * 8 * 512 * 513 // 2}]
    assert [e.repeat for e in adds] == [6, 6]
    assert separate.macs == fused.macs


@given(st.integers(1, 16), st.integers(1, 4096), st.integers(0, 4096))
def test_llama_prefill_macs(batch: int, seq: int, past: int) -> None:
    work = load_workload(f"llama3_8b_prefill?batch={batch}&seq={seq}&kv_len={seq + past}")
    layers = 8_030_261_248 - 2 * 128256 * 4096 - 65 * 4096
    visible = sum(past + i + 1 for i in range(seq))
    assert work.macs == batch * (seq * layers + 128256 * 4096 + 32 * 2 * visible * 4096)


@given(st.integers(1, 4), st.integers(1, 5000))
def test_mistral_sees_a_window(batch: int, seq: int) -> None:
    work = load_workload(f"mistral_7b_prefill?batch={batch}&seq={seq}")
    layers = 7_241_732_096 - 2 * 32000 * 4096 - 65 * 4096
    visible = sum(min(i + 1, 4096) for i in range(seq))
    assert work.macs == batch * (seq * layers + 32000 * 4096 + 32 * 2 * visible * 4096)


def test_mistral_keeps_no_more_keys_than_its_window() -> None:
    long, short = (op(load_workload(f"mistral_7b_decode?kv_len={n}"), "attention") for n in (100_000, 4096))
    assert long.input_bytes == short.input_bytes
    assert long.macs == short.macs


@given(st.integers(1, 8), st.integers(1, 2048))
def test_gpt_macs(batch: int, seq: int) -> None:
    work = load_workload(f"gpt2_xl_prefill?batch={batch}&seq={seq}")
    visible = seq * (seq + 1) // 2
    layers = 48 * 12 * 1600**2
    assert work.macs == batch * (seq * layers + 50257 * 1600 + 48 * 2 * visible * 1600)
    decode = load_workload(f"gpt2_xl_decode?batch={batch}&kv_len={seq}")
    assert decode.macs == batch * (layers + 50257 * 1600 + 48 * 2 * seq * 1600)


@given(st.integers(1, 4), st.integers(1, 512), st.integers(0, 512))
def test_transformer_xl_macs(batch: int, seq: int, memory: int) -> None:
    work = load_workload(f"transformer_xl_base?batch={batch}&seq={seq}&memory={memory}")
    keys, inner = seq + memory, 10 * 41
    q_and_out, kv, positions = 2 * batch * seq * 410 * inner, 2 * batch * keys * 410 * inner, keys * 410 * inner
    visible = sum(memory + i + 1 for i in range(seq))
    scores = batch * inner * (2 * visible + seq * keys)
    feed_forward = batch * seq * 2 * 410 * 2100
    output = batch * seq * (267735 + 3) * 410
    assert work.macs == 16 * (q_and_out + kv + positions + scores + feed_forward) + output


def test_transformer_xl_position_scores_as_an_op() -> None:
    fused, separate = (load_workload(f"transformer_xl_large?position_bias={how}") for how in ("fused", "separate"))
    extra = [entry for entry in separate.entries if entry.name not in {e.name for e in fused.entries}]
    assert [(e.name, e.repeat, dict(e.op.vector_ops)) for e in extra] == [
        ("score_bias", 18, {"add": 16 * sum(1600 + i + 1 for i in range(128))})
    ]
    assert separate.macs == fused.macs


@given(st.integers(1, 16), st.sampled_from([16, 224, 384]))
def test_vit_macs(batch: int, image: int) -> None:
    work = load_workload(f"vit_b16?batch={batch}&image={image}")
    patches = (image // 16) ** 2
    tokens = patches + 1
    layers = 12 * (tokens * 12 * 768**2 + 2 * tokens**2 * 768)
    assert work.macs == batch * (patches * 768 * 768 + layers + 768 * 1000)


def test_vit_refuses_parts_of_patches() -> None:
    with pytest.raises(InputError, match=r"query:image: parameters\.image: read 225, allowed is a multiple of"):
        load_workload("vit_b16?image=225")


RESNET_50 = [(3, 64, 56), (4, 128, 28), (6, 256, 14), (3, 512, 7)]
"""Blocks, channels inside and side of the map of each stage: He et al., arXiv 1512.03385, Table 1."""


def test_resnet_macs_block_by_block() -> None:
    macs, came = 112**2 * 49 * 3 * 64, 64
    for blocks, inside, side in RESNET_50:
        for number in range(blocks):
            outer = side if number or inside == 64 else 2 * side
            macs += outer**2 * came * inside + side**2 * (9 * inside * inside + inside * 4 * inside)
            if number == 0:
                macs += side**2 * came * 4 * inside
            came = 4 * inside
    work = load_workload("resnet50?batch=3")
    assert work.macs == 3 * (macs + 2048 * 1000)
    kinds = [entry.op.kind for entry in work.entries for _ in range(entry.repeat)]
    assert kinds.count("conv2d") == 53
    assert kinds.count("pool2d") == 2


@given(st.integers(1, 64), st.integers(1, 100))
def test_lstm_macs(batch: int, seq: int) -> None:
    work = load_workload(f"lstm_ptb_large?batch={batch}&seq={seq}")
    assert work.macs == batch * seq * (2 * 4 * 1500 * 3000 + 1500 * 10000)
    assert work.weight_bytes == load_workload("lstm_ptb_large").weight_bytes


@given(st.integers(1, 256), st.integers(1, 2**20))
def test_llama_decode_macs(batch: int, kv_len: int) -> None:
    work = load_workload(f"llama3_8b_decode?batch={batch}&kv_len={kv_len}")
    read = 8_030_261_248 - 128256 * 4096 - 65 * 4096
    assert work.macs == batch * (read + 32 * 2 * kv_len * 4096)


def test_llama_flop_is_near_two_a_parameter_and_token() -> None:
    decode = load_workload("llama3_8b_decode?batch=1&kv_len=1")
    assert decode.flop == pytest.approx(2 * (8.03e9 - 128256 * 4096), rel=0.001)


def test_llama_kv_cache() -> None:
    """128 KiB a token in bf16: 2 x 32 layers x 8 heads x 128 x 2 bytes."""
    work = load_workload("llama3_8b_decode?batch=1&kv_len=1")
    attention = op(work, "attention")
    assert isinstance(attention, Attention)
    assert 32 * attention.kv_bytes == 128 * 1024
    assert op(work, "kv_append").output_bytes == attention.kv_bytes


def test_deepseek_latent_cache() -> None:
    """1152 bytes a token and layer in bf16, in both forms: (512 + 64) x 2."""
    for name in ("deepseek_v2_lite_prefill?seq=100", "deepseek_v2_lite_decode?batch=1&kv_len=100"):
        work = load_workload(name)
        attention = op(work, "attention")
        assert isinstance(attention, Attention)
        assert attention.cached_bytes == 100 * 1152
        tokens = 100 if "prefill" in name else 1
        assert op(work, "kv_append").output_bytes == tokens * 1152
        assert accsim.simulate(work, "h100_sxm").memory["kv_cache"] == 27 * 100 * 1152


@given(st.integers(1, 4), st.integers(1, 300))
def test_deepseek_macs(batch: int, seq: int) -> None:
    # Each matrix of the model card's configuration by itself; 6 of 64 experts a token, each with as many rows.
    rows, visible = batch * seq, batch * seq * (seq + 1) // 2
    attention = 2048 * (16 * 192 + 576) + 512 * 16 * 256 + 16 * 128 * 2048
    used = min(64, 6 * rows)
    routed = used * -(-6 * rows // used) * 3 * 2048 * 1408
    dense, moe = rows * 3 * 2048 * 10944, rows * 2048 * (64 + 3 * 2 * 1408) + routed
    work = load_workload(f"deepseek_v2_lite_prefill?batch={batch}&seq={seq}")
    scores = 27 * 16 * visible * (192 + 128)
    assert work.macs == 27 * rows * attention + scores + dense + 26 * moe + batch * 102400 * 2048
    # Absorbed, one token: the products with the parts of kv_up are as large, each score costs 576 + 512.
    used = min(64, 6 * batch)
    routed = used * -(-6 * batch // used) * 3 * 2048 * 1408
    decode = load_workload(f"deepseek_v2_lite_decode?batch={batch}&kv_len={seq}")
    each = 27 * attention + 3 * 2048 * 10944 + 26 * 2048 * (64 + 3 * 2 * 1408) + 102400 * 2048
    assert decode.macs == batch * each + 26 * routed + 27 * batch * seq * 16 * (576 + 512)


def test_dtype_reaches_every_op() -> None:
    for name in ("bert_base", "t5_small", "llama3_8b_decode"):
        work = load_workload(f"{name}?dtype=float8")
        assert {entry.op.dtype for entry in work.entries} == {"fp8"}
        assert 2 * work.weight_bytes == load_workload(name).weight_bytes


def test_hyperparameters_have_a_count_of_their_own() -> None:
    tiny = EncoderHyperparameters(layers=1, d_model=2, heads=1, d_ff=3, vocab=5, positions=4, segments=0, pooler=False)
    # tables 18, norm 4; 4 x (4 + 2) attention, 6 + 3 + 6 + 2 feed-forward, two norms of 4
    assert parameter_count(tiny) == 18 + 4 + 24 + 17 + 8
    plain = DecoderHyperparameters(layers=1, d_model=4, heads=2, kv_heads=1, d_ff=3, vocab=5)
    # table 20; q and o 16 each, k and v 8 each, 3 x 12 feed-forward, two norms of 4; last norm 4
    assert parameter_count(plain.model_copy(update={"tied_embeddings": True})) == 20 + 32 + 16 + 36 + 8 + 4
    assert parameter_count(plain) == 20 + 116
    assert parameter_count(plain.model_copy(update={"head_dim": 4})) == 136 + 48


def test_a_trace_has_no_parameter_count() -> None:
    with pytest.raises(InputError, match="is a trace of ops"):
        parameter_count(load_workload("attention_layer"))


def test_trace_of_the_attention_layers_agrees_with_the_model() -> None:
    trace, model = load_workload("attention_layer"), load_workload("bert_base")
    for name in ("q_proj", "k_proj", "v_proj", "o_proj", "attention"):
        mine, theirs = (next(e for e in work.entries if e.name == name) for work in (trace, model))
        assert (mine.op, mine.repeat) == (theirs.op, theirs.repeat)


def test_schema_covers_every_architecture_and_the_trace() -> None:
    schema = workload_schema()
    kinds = {entry["$ref"].rpartition("/")[2] for entry in schema["anyOf"]}
    assert kinds == {"TraceFile", *(model.__name__ for model in ARCHITECTURES.values())}
    steps = schema["$defs"]["TraceFile"]["properties"]["ops"]["items"]["anyOf"]
    assert len(steps) == len(OPS) + 1
    assert schema["$defs"]["GemmForm"]["required"] == ["op", "m", "n", "k"]
    described = [
        body["properties"][key].get("description") for body in schema["$defs"].values() for key in body["properties"]
    ]
    assert all(described)

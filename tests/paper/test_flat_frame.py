"""flat-frame against the numbers printed in FLAT's sparse-attention figure, and operators worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accsim.published.flat_frame import (
    SPARSE_FIGURE,
    TPU_V3,
    FrameSystem,
    Operator,
    attention,
    attention_share_of_macs,
    compute_to_memory_ratio,
    layer_products,
)

# model, heads, head dimension, printed ratio un-fused and with FLAT, how far the replay may be off.
# Source: the authors' ASPLOS 2023 talk, slide 22, dense attention, one layer at batch 1 and 512 tokens.
PRINTED = [("XLM", 16, 128, 0.67, 2.01, 0.01), ("BERT", 12, 64, 0.38, 1.90, 0.06)]


@pytest.mark.parametrize(("model", "heads", "head_dim", "unfused", "flat", "tolerance"), PRINTED)
def test_ratios_of_the_sparse_figure(
    model: str, heads: int, head_dim: int, unfused: float, flat: float, tolerance: float
) -> None:
    del model
    for on_chip, printed in ((False, unfused), (True, flat)):
        got = compute_to_memory_ratio(attention(1, heads, 512, head_dim, flat=on_chip), SPARSE_FIGURE)
        assert got == pytest.approx(printed, rel=tolerance)


@pytest.mark.parametrize(("seq_len", "percent"), [(512, 12), (4096, 49), (16384, 79), (65536, 94)])
def test_share_of_attention(seq_len: int, percent: int) -> None:
    """Run-time shares of slide 7; those of the multiplications are within 3 points."""
    got = attention_share_of_macs(seq_len, 768, 4 * 768)
    assert 100 * got == pytest.approx(percent, abs=3)
    assert got == pytest.approx(seq_len / (6 * 768 + seq_len))


def test_xlm_by_hand() -> None:
    logit, attend = attention(1, 16, 512, 128, flat=False)
    assert logit.macs == attend.macs == 16 * 512 * 512 * 128
    assert logit.compute_s(TPU_V3) == pytest.approx(2 * 16 * 512 * 512 * 128 / 123.2e12)
    moved = 2 * 16 * (2 * 512 * 128 + 512 * 512)
    assert logit.memory_s(TPU_V3) == pytest.approx(moved / (900 * 2**30))
    assert attend.memory_s(TPU_V3) == pytest.approx(moved / (900 * 2**30))
    assert logit.latency_s(TPU_V3) == logit.memory_s(TPU_V3)


def test_scores_on_the_chip_take_the_time_of_the_chip() -> None:
    logit, _ = attention(1, 16, 512, 128, flat=True)
    off, on = 2 * 16 * 2 * 512 * 128 / (900 * 2**30), 2 * 16 * 512 * 512 / (9000 * 2**30)
    assert logit.memory_s(TPU_V3) == pytest.approx(off + on)
    assert logit.memory_s(SPARSE_FIGURE) == pytest.approx(off)


def test_partly_used_arrays() -> None:
    """3 products on 4 arrays, 200 of 2 x 128 rows, 150 of 2 x 128 columns; the shortest extent streams."""
    op = Operator(3, 200, 20, 150)
    used = (3 / 4) * (200 / 256) * (150 / 256)
    assert op.compute_s(TPU_V3) == pytest.approx(2 * 3 * 200 * 20 * 150 / 123.2e12 / used)


def test_weights_are_loaded_once() -> None:
    whole = replace(TPU_V3, word_bytes=1)
    products = layer_products(2, 8, 16, 64)
    assert sum(op.macs for op in products) == 2 * 8 * 12 * 16 * 16
    assert products[0].elements == {"input": 256, "other": 256, "output": 256}
    assert products[4].elements == {"input": 2 * 8 * 16, "other": 16 * 64, "output": 2 * 8 * 64}
    assert products[0].memory_s(whole) == pytest.approx(768 / (900 * 2**30))
    assert Operator(4, 8, 8, 8, shared=True).elements["other"] == 64


def test_latency_is_the_longer_time() -> None:
    slow = FrameSystem(1e3, 1e12, None, (1, 1, 1))
    op = Operator(1, 4, 4, 4)
    assert op.latency_s(slow) == op.compute_s(slow) == pytest.approx(2 * 64 / 1e3)

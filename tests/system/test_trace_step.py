"""Training steps of what a trace looks up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import accsim
from accsim.embedding import TraceBatch, draw_batches, write_batch
from accsim.errors import InputError
from accsim.system import train_step
from accsim.workload.catalogue import load_workload

SLICE, MODEL, SAMPLES = "tpu_v4:4x4x4", "dlrm_v1", 64 * 512


@pytest.fixture(scope="module")
def trace() -> TraceBatch:
    return drawn(MODEL, SAMPLES)


def drawn(model: str, samples: int) -> TraceBatch:
    tables = load_workload(model).embeddings
    assert tables is not None
    (batch,) = draw_batches(tables, samples, seed=1)
    return batch


@pytest.mark.parametrize("dedup", ["none", "source", "owner"])
def test_a_trace_of_the_models_own_laws_gives_the_step_of_statistics(dedup: str, trace: TraceBatch) -> None:
    counted = train_step(MODEL, SLICE, dedup=dedup, schedule="serial", trace=trace)
    expected = train_step(f"{MODEL}?batch={SAMPLES}", SLICE, dedup=dedup, schedule="serial")
    assert counted.samples == SAMPLES
    assert counted.step_s == pytest.approx(expected.step_s, rel=0.05)
    for name, seconds in expected.parts_s.items():
        assert counted.parts_s[name] == pytest.approx(seconds, rel=0.08), name
    # The dense half does not depend on what is looked up.
    assert counted.dense_s == expected.dense_s


def test_a_batch_of_one_row_takes_less_where_duplicates_are_dropped(trace: TraceBatch) -> None:
    same = replace(trace, indices=np.zeros_like(trace.indices))
    steps = {dedup: train_step(MODEL, SLICE, dedup=dedup, schedule="serial", trace=same) for dedup in ("none", "owner")}
    # An owner fetches each of 26 rows once, or 512 · 64 times.
    fetched = {dedup: sum(stack.fetched.mean for stack in step.work.stacks) for dedup, step in steps.items()}
    assert fetched["none"] == SAMPLES * fetched["owner"]


def test_a_file_is_the_same_step(trace: TraceBatch, tmp_path: Path) -> None:
    write_batch(trace, tmp_path / "t.npz")
    options = {"dedup": "owner", "schedule": "serial"}
    step = accsim.simulate(MODEL, SLICE, trace=tmp_path / "t.npz", **options)
    assert step.to_dict() == train_step(MODEL, SLICE, trace=trace, **options).to_dict()


def test_features_that_share_tables_read_them(tmp_path: Path) -> None:
    batch = drawn("dlrm_fig8_like", 64)  # 300 features of 150 tables
    write_batch(batch, tmp_path / "t.npz")
    step = train_step("dlrm_fig8_like", SLICE, dedup="owner", trace=str(tmp_path / "t.npz"))
    assert sum(stack.looked_up for stack in step.work.stacks) * 64 == len(batch.indices)


@pytest.mark.parametrize(
    ("model", "samples", "slice_", "message"),
    [
        (f"{MODEL}?batch=128", 64, SLICE, "batch: read 128, allowed with this trace are its 64 samples"),
        (MODEL, 96, SLICE, "trace: samples: read 96 samples, allowed is a multiple of the 64 chips"),
        (MODEL, 32, SLICE, "read a batch of 32 samples, allowed is at least one for each of 64 chips"),
        ("dlrm_fig8_like", 64, SLICE, "trace: features: read 26, allowed are the 300 of the model"),
        (MODEL, 64, "tpu_v4:4x4", "unknown dedup 'ownr'"),
    ],
)
def test_a_trace_of_another_size_is_refused(model: str, samples: int, slice_: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train_step(model, slice_, trace=drawn(MODEL, samples), dedup="ownr" if "dedup" in message else "owner")


def test_ids_of_no_row_are_told_by_feature_and_position(trace: TraceBatch, tmp_path: Path) -> None:
    wrong = replace(trace, indices=np.where(np.arange(len(trace.indices)) == 7, 10**9, trace.indices))
    with pytest.raises(InputError, match=r"of table 0, sample 7, position 0: read 1000000000, allowed are ids"):
        train_step(MODEL, SLICE, trace=wrong, dedup="owner")
    write_batch(wrong, tmp_path / "t.npz")
    with pytest.raises(InputError, match=r"of table 0, sample 7, position 0: read 1000000000, allowed are ids"):
        train_step(MODEL, SLICE, trace=tmp_path / "t.npz", dedup="owner")

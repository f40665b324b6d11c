"""Training steps on slices: laws of the schedules, and exchanges held against closed forms."""

from __future__ import annotations

import pickle

import pytest

import accsim
from accsim.embedding.placement import Placement, Sharding
from accsim.errors import InputError
from accsim.system import SCHEDULES, StepReport, read_slice, train_step
from accsim.workload.embeddings import EmbeddingSet, Feature, Table

SLICE, MODEL = "tpu_v4:4x4x8", "dlrm_v1"
SAMPLES, FEATURES, ROW_BYTES = 512, 26, 128 * 4
"""Of MLPerf's DLRM: a chip's share of 65,536 samples, features of one value each, bytes of a row."""


@pytest.fixture(scope="module")
def steps() -> dict[str, StepReport]:
    return {
        schedule: train_step(f"{MODEL}?batch=65536", SLICE, schedule=schedule, dedup="owner") for schedule in SCHEDULES
    }


def test_a_serial_step_is_the_sum_of_its_parts(steps: dict[str, StepReport]) -> None:
    step = steps["serial"]
    assert step.step_s == pytest.approx(sum(step.parts_s.values()))
    assert step.step_s == pytest.approx(step.embedding_s + step.dense_s + step.all_reduce.time_s)


def test_a_step_is_printed_in_few_words(steps: dict[str, StepReport]) -> None:
    step = steps["serial"]
    assert repr(step).startswith("<StepReport of a step of dlrm_v1 on tpu_v4:4x4x8: ")
    assert len(repr(step)) < 120
    assert "Parts, each alone" in str(step)
    assert max(map(len, str(step).splitlines())) <= 120
    assert step._repr_html_().startswith("<pre>")


def test_overlap_gains_and_never_beats_what_a_half_takes(steps: dict[str, StepReport]) -> None:
    serial, overlapped, pipelined = (steps[name].step_s for name in ("serial", "overlapped", "pipelined"))
    assert pipelined < overlapped < serial
    step = steps["pipelined"]
    links = step.all_reduce.time_s + sum(leg.time_s for leg in step.legs if leg.unit == "ici")
    lookups = sum(leg.time_s for leg in step.legs if leg.unit == "sparse_core")
    assert pipelined >= max(links, lookups, step.dense_s)


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_what_binds_adds_up_and_nothing_is_busier_than_always(steps: dict[str, StepReport], schedule: str) -> None:
    step = steps[schedule]
    assert sum(step.critical_path_s.values()) == pytest.approx(step.step_s)
    assert max(step.utilization.values()) <= 1 + 1e-9
    assert step.energy_j == pytest.approx(sum(step.energy_breakdown_j.values()))
    assert step.samples_per_s == pytest.approx(65536 / step.step_s)
    assert pickle.loads(pickle.dumps(step)).step_s == step.step_s


def test_vectors_take_what_the_fullest_link_of_the_torus_takes() -> None:
    # Every chip gets a vector of each feature for each of its samples, and many even rows make owners even. On 4x4x8
    # the links of the long axis carry 128 times what a pair of chips exchanges (docs/network.md), at 45 GB/s.
    tables = EmbeddingSet((Table("t", 12_800_000, 128, count=FEATURES),), (Feature("f", "t", count=FEATURES),))
    step = train_step(f"{MODEL}?batch=65536", SLICE, dedup="owner", embeddings=tables)
    a_pair = SAMPLES * FEATURES * ROW_BYTES / 128
    legs = {leg.name: leg for leg in step.legs}
    for name in ("vectors", "gradients"):
        assert legs[name].time_s == pytest.approx(128 * a_pair / 45e9, rel=0.05)
        assert legs[name].time_s >= 128 * a_pair / 45e9 * (1 - 1e-9)
        assert legs[name].latency_s == pytest.approx(8e-6)  # 2 + 2 + 4 hops of 1 us


def test_more_link_bandwidth_never_costs_time(steps: dict[str, StepReport]) -> None:
    faster = read_slice(SLICE, set={"interconnect.link_bandwidth": "100 GB/s"})
    for name, step in steps.items():
        assert train_step(f"{MODEL}?batch=65536", faster, schedule=name, dedup="owner").step_s <= step.step_s


def test_one_chip_exchanges_nothing() -> None:
    step = train_step("dlrm_fig8_like?batch=64", read_slice("tpu_v4:1x1x1", set={"memories.hbm.capacity": "256 GiB"}))
    assert {leg.name: leg.alone_s for leg in step.legs if leg.unit == "ici"} == {
        "ids": 0.0, "vectors": 0.0, "gradients": 0.0
    }  # fmt: skip
    assert step.all_reduce.time_s == 0.0


def test_simulate_takes_slices_by_name() -> None:
    step = accsim.simulate("dlrm_v1?batch=4096", "tpu_v4:4x4x4", schedule="serial")
    assert isinstance(step, StepReport)
    assert step.to_dict()["chips"] == 64


@pytest.mark.parametrize(
    ("model", "slice_", "message"),
    [
        ("dlrm_fig8_like?batch=64", "tpu_v4:1x1x1", "chip 0 would hold"),
        ("dlrm_v1", "tpu_v5e:4x4", "has no"),
        ("bert_base", "tpu_v4:4x4x4", "has no embedding tables"),
    ],
)
def test_what_cannot_be_run_says_why(model: str, slice_: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train_step(model, slice_)


def test_gradients_of_replicated_rows_are_summed_before_they_are_updated() -> None:
    tables = EmbeddingSet((Table("t", 20_000, 128, count=FEATURES),), (Feature("f", "t", count=FEATURES),))
    placed = Placement(128, {"t": Sharding("replicated")})
    step = train_step(f"{MODEL}?batch=65536", SLICE, placement=placed, dedup="owner", embeddings=tables)
    legs = [leg.name for leg in step.legs]
    assert legs.index("row_sums") == legs.index("table_update") - 1
    assert {leg.name: leg.alone_s for leg in step.legs if leg.name in ("ids", "vectors")} == {
        "ids": 0.0,
        "vectors": 0.0,
    }
    # Every chip's rows travel as a sum over all chips: the published bound of an all-reduce is 2 V / 6 b.
    size = FEATURES * 20_000 * ROW_BYTES
    assert step.parts_s["row_sums"] >= 2 * size * (127 / 128) / (6 * 45e9)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("dlrm_v1?phase=inference", {}, "phase: read 'inference'"),
        ("dlrm_v1?part=dense", {}, "part: read 'dense'"),
        ("dlrm_v1", {"placement": Placement(64, {})}, "a placement over 64 chips, allowed is one over the slice's 128"),
        ("dlrm_v1", {"dataflow": "flat"}, "unknown option of a step on a slice"),
    ],
)
def test_what_does_not_fit_a_slice_is_refused(model: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        accsim.simulate(model, SLICE, **options)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InputError) as error:
        train_step(
            "dlrm_dcnv2?batch=-5&bath=3&part=dense", "tpu_v4:twistd:4x4x8", dedup="ownr", placement="bset",
            where="sparsecore", schedule="serail",
        )  # fmt: skip
    text = str(error.value)
    suggested = ("tpu_v4:twisted:4x4x8", "batch", "owner", "best", "sparse_core", "serial")
    assert [name for name in suggested if f"Did you mean '{name}'?" not in text] == []
    assert "read -5, allowed is a whole number" in text
    assert "part: read 'dense'" in text
    assert len(error.value.problems) == 8


@pytest.mark.parametrize(
    ("slice_", "where", "message"),
    [
        ("h100_sxm:8", "sparse_core", "where: read 'sparse_core', allowed on h100_sxm are gpu"),
        ("tpu_v4:4x4x4", "gpu", "allowed on tpu_v4 are sparse_core, tensor_core, host, variable_server"),
    ],
)
def test_places_that_a_machine_has_are_named(slice_: str, where: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train_step("dlrm_v1", slice_, where=where)

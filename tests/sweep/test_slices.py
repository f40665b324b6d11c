"""Training steps on slices as points of a space: rows against steps of their own, what is refused, what runs again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import accsim
from accsim.errors import InputError
from accsim.sweep.designs import Design, run_designs
from accsim.sweep.executors.in_process import InProcess
from accsim.sweep.groups import Group, GroupHasher
from accsim.sweep.space import read_space
from accsim.system import read_slice, train_step

WriteSpace = Callable[..., Path]
STEPS = """
machines: [tpu_v4]
workloads: ["dlrm_v1?batch=4096"]
axes:
  interconnect.link_bandwidth: [50 GB/s]
  slice.shape: [4x4x4, "twisted:4x4x8"]
  step.dedup: [owner, source]
constraints: ["chips <= 64"]
"""
MODEL = """
name: small
architecture: dlrm
parameters: {{batch: 256, dtype: bf16}}
hyperparameters: {{dense_features: 13, bottom_mlp: 64-16, top_mlp: 64-1, sparse_features: 2, embedding_dim: 16,
  interaction: dot}}
tables: [{{name: t, rows: {rows}, width: 16, count: 2}}]
features: [{{name: f, table: t, count: 2}}]
source: made up
"""


def test_rows_are_what_steps_say_and_constraints_spare_those_that_break_them(write_space: WriteSpace) -> None:
    frame = accsim.sweep(write_space(STEPS))
    assert frame["chips"].tolist() == [64, 64, 128, 128]
    assert frame["feasible"].tolist() == [True, True, False, False]
    assert frame["error"].tolist()[2:] == ["does not keep chips <= 64"] * 2
    assert frame["latency_s"].notna().tolist() == [True, True, False, False]
    for row in frame[frame["feasible"]].to_dict("records"):
        step = train_step("dlrm_v1?batch=4096", "tpu_v4:4x4x4", dedup=row["step.dedup"])
        assert row["latency_s"] == step.step_s
        assert row["samples_per_s"] == 4096 / row["latency_s"]
        assert row["energy_j"] == pytest.approx(64 * step.energy_j)
        assert row["power_w"] == pytest.approx(row["energy_j"] / row["latency_s"])
        assert (row["bound_by"], row["mapping"]) == (step.bound_by, step.choices)
        assert row["memory_utilization"] == step.utilization["hbm"]


def test_a_slice_by_name_is_the_same_as_by_its_shape_and_takes_collectives_too(write_space: WriteSpace) -> None:
    text = STEPS.replace("tpu_v4", '"tpu_v4:4x4x4"').replace('"dlrm_v1?batch=4096"', '"all_reduce?bytes=64 MiB"')
    by_name = accsim.sweep(write_space(text.replace('  slice.shape: [4x4x4, "twisted:4x4x8"]\n', "").replace(
        "  step.dedup: [owner, source]\n", ""
    )))  # fmt: skip
    by_shape = accsim.sweep(
        write_space(text.replace('"tpu_v4:4x4x4"', "tpu_v4").replace("  step.dedup: [owner, source]\n", ""))
    )
    wanted = read_slice("tpu_v4:4x4x4").network.all_reduce(2**26).time_s
    assert by_name["latency_s"].tolist() == [wanted]
    assert by_shape["latency_s"].tolist()[0] == wanted
    assert by_shape["chips"].tolist() == [64, 128]


def test_steps_and_collectives_share_a_space_of_fields_that_both_take(write_space: WriteSpace) -> None:
    text = STEPS.replace("  step.dedup: [owner, source]\n", "").replace(', "twisted:4x4x8"', "")
    text = text.replace('"dlrm_v1?batch=4096"', '"dlrm_v1?batch=4096", "all-reduce?bytes=64 MiB"')
    step, collective = accsim.sweep(write_space(text)).to_dict("records")
    assert step["latency_s"] == train_step("dlrm_v1?batch=4096", "tpu_v4:4x4x4").step_s
    assert collective["latency_s"] == read_slice("tpu_v4:4x4x4").network.all_reduce(2**26).time_s
    assert np.isnan([collective["energy_j"], collective["samples_per_s"]]).all()


def test_what_a_point_cannot_run_is_its_row(write_space: WriteSpace) -> None:
    text = STEPS.replace("?batch=4096", "").replace("50 GB/s", "50 GB/s, 100 GB/s")
    text = text.replace("step.dedup: [owner, source]", "workload.batch: [32]").replace("constraints", "# ")
    frame = accsim.sweep(write_space(text))
    assert not frame["feasible"].any()
    assert frame["error"].str.contains("read a batch of 32 samples").all()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("twisted:4x4x8", "4x4xx8"), r"axes.slice.shape\[1\]: tpu_v4:4x4xx8: read '4x4xx8', allowed are chips"),
        (("slice.shape", "slice.shap"), "unknown field of a slice.*Did you mean 'slice.shape'"),
        (("[tpu_v4]", '["tpu_v4:4x4x4"]'), "'tpu_v4:4x4x4' has a shape, and slice.shape gives one"),
        (("owner, source", "onwer"), "unknown dedup 'onwer'.*Did you mean 'owner'"),
        (
            ("step.dedup: [owner, source]", "step.where: [sparse_core, gpu]"),
            r"where\[1\]: read 'gpu', allowed on tpu_v4 are sparse_core",
        ),
        (("dlrm_v1?batch=4096", "bert_base"), "has no embedding tables"),
        (("step.dedup: [owner, source]", "mapping.dataflow: [flash2]"), "'mapping.dataflow' is for work on a chip"),
        (("dlrm_v1?batch=4096", "all_reduce?bytes=1 MiB"), "'step.dedup' is for a training step on a slice"),
    ],
)
def test_what_is_refused(write_space: WriteSpace, change: tuple[str, str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_space(write_space(STEPS.replace(*change)))


def test_groups_run_again_when_chip_shape_or_tables_change(write_space: WriteSpace, tmp_path: Path) -> None:
    def digest(text: str, rows: int = 1000) -> str:
        (tmp_path / "small.yaml").write_text(MODEL.format(rows=rows))
        space = read_space(write_space(text))
        return GroupHasher(space)(Group(0, 0, space.size))

    text = STEPS.replace("dlrm_v1?batch=4096", "./small.yaml")
    first = digest(text)
    assert digest(text) == first
    others = [
        digest(text, rows=2000),
        digest(text.replace("tpu_v4", "tpu_v5p")),
        digest(text.replace("4x4x4", "4x4x12")),
        digest(text.replace("owner", "none")),
    ]
    assert len({first, *others}) == 5


def test_a_design_of_two_batches_has_the_rate_of_all_its_samples(write_space: WriteSpace) -> None:
    text = STEPS.replace('"dlrm_v1?batch=4096"', '"dlrm_v1?batch=4096", {workload: "dlrm_v1?batch=8192", weight: 3}')
    space = read_space(write_space(text))
    values = {"interconnect.link_bandwidth": 50e9, "slice.shape": "4x4x4", "step.dedup": "owner"}
    numbers = run_designs(space, [Design("tpu_v4", values)], InProcess())[0].numbers
    np.testing.assert_allclose(numbers["samples_per_s"], (4096 + 3 * 8192) / numbers["latency_s"])
    assert numbers["chips"] == 64

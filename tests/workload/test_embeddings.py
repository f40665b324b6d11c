"""Recommendation models: tables and features of files, what they add up to, and the dense network around them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import accsim
from accsim.errors import InputError
from accsim.workload.catalogue import load_workload
from accsim.workload.embeddings import EmbeddingSet, Feature, Popularity, Table, Valency
from accsim.workload.models import parameter_count
from accsim.workload.trace import Workload

MODELS = ("dlrm_v1", "dlrm_dcnv2", "dlrm_fig8_like", "dlrm0_like")


def tables_of(work: Workload) -> EmbeddingSet:
    """Its tables and features."""
    assert work.embeddings is not None
    return work.embeddings


def dense_parameters(name: str) -> int:
    """Parameters besides the tables."""
    work = load_workload(name)
    return parameter_count(work) - tables_of(work).parameter_count


def test_mlperf_dlrm_v1() -> None:
    # mlcommons/training, recommendation_v2/torchrec_dlrm/README.MD, first results: 26 tables, 128 wide, "91.10" GB.
    found = tables_of(load_workload("dlrm_v1"))
    assert (found.feature_count, found.lookups_per_sample) == (26, 26)
    assert found.weight_bytes == pytest.approx(91.10e9, rel=0.005)
    # SGD keeps nothing beside the weights.
    assert found.state_bytes == 0


def test_mlperf_dlrm_dcnv2() -> None:
    # The same page, "--multi_hot_sizes 3,2,1,...": 214 lookups of 512 bytes a sample; weights of 97.31 GiB in fp32 are
    # those of mlcommons/inference, recommendation/dlrm_v2/pytorch/README.md. Adagrad keeps as much again.
    work = load_workload("dlrm_dcnv2")
    found = tables_of(work)
    assert found.lookups_per_sample == 214
    assert found.lookups_per_sample * found.tables[0].row_bytes == pytest.approx(109.6e3, rel=0.005)
    assert 4 * parameter_count(work) == pytest.approx(97.31 * 2**30, rel=0.005)
    assert found.state_bytes == found.weight_bytes
    assert work.parameters["batch"] == 65536


def test_dense_parameters_layer_by_layer() -> None:
    # Layers of torchrec's DLRM and DLRM_DCN, weight and bias each; the cross layers have V, W and one bias.
    bottom = 13 * 512 + 512 + 512 * 256 + 256 + 256 * 128 + 128
    tail = 1024 * 1024 + 1024 + 1024 * 512 + 512 + 512 * 256 + 256 + 256 + 1
    dot = (128 + 27 * 26 // 2) * 1024 + 1024
    cross = 3 * (3456 * 512 + 512 * 3456 + 3456)
    assert dense_parameters("dlrm_v1") == bottom + dot + tail
    assert dense_parameters("dlrm_dcnv2") == bottom + cross + 3456 * 1024 + 1024 + tail


def test_dense_parameters_of_the_tpu_v4_paper() -> None:
    # Jouppi et al., ISCA 2023, section 3.6: "100 million", "137 million" (DLRM0).
    assert dense_parameters("dlrm_fig8_like") == pytest.approx(100e6, rel=0.005)
    assert dense_parameters("dlrm0_like") == pytest.approx(137e6, rel=0.005)
    # Section 7.9 says of MLPerf's DLRM v1 "fewer than 2M" weights: the published layers have 18 % more.
    assert dense_parameters("dlrm_v1") / 2e6 == pytest.approx(1.18, abs=0.005)


def test_published_totals_of_figure_8() -> None:
    # Section 3.6: some 150 tables, some 300 features whose valency is 1 to 100 on average.
    found = tables_of(load_workload("dlrm_fig8_like"))
    assert sum(table.count for table in found.tables) == 150
    assert found.feature_count == 300
    assert found.parameter_count == pytest.approx(20e9, rel=0.005)
    assert all(1 <= feature.valency.mean <= 100 for feature in found.features)


def test_tables_of_dlrm0_are_as_large_as_tables_get() -> None:
    # Section 3.2: from O(10 MiB) to O(100 GiB).
    sizes = [table.rows * table.row_bytes / 2**20 for table in tables_of(load_workload("dlrm0_like")).tables]
    assert 1 < min(sizes) < 100
    assert 10 * 2**10 < max(sizes) < 1000 * 2**10


@given(batch=st.integers(1, 10**6))
def test_macs_of_a_sample(batch: int) -> None:
    # Each weight meets a sample once; a dot interaction multiplies all pairs of its 27 vectors.
    biases = 2 * (512 + 256) + 128 + 2 * 1024 + 1
    v1, v2 = (load_workload(f"{name}?batch={batch}") for name in ("dlrm_v1", "dlrm_dcnv2"))
    assert v1.macs == batch * (dense_parameters("dlrm_v1") - biases + 27 * 27 * 128)
    assert v2.macs == batch * (dense_parameters("dlrm_dcnv2") - biases - 3 * 3456)


@pytest.mark.parametrize("name", MODELS)
def test_lookups_are_those_of_the_features(name: str) -> None:
    work = load_workload(f"{name}?batch=1000")
    found = tables_of(work)
    bags = [(entry.op, entry.repeat) for entry in work.entries if isinstance(entry.op, accsim.EmbeddingBag)]
    assert sum(op.lookups * times for op, times in bags) == pytest.approx(1000 * found.lookups_per_sample, rel=1e-3)
    assert sum(times for _, times in bags) == found.feature_count
    dense = load_workload(f"{name}?batch=1000&part=dense")
    assert [op for op, _ in dense] == [op for op, _ in work if not isinstance(op, accsim.EmbeddingBag)]
    assert sum(reading.times for table in found.tables for reading in found.readings(table) * table.count) == (
        found.feature_count
    )


def test_valencies() -> None:
    assert Valency(4).probabilities() == pytest.approx([0, 0.25, 0.25, 0.25, 0.25])
    assert Valency(7, 7).mean == 7
    drawn = np.random.default_rng(0).lognormal(np.log(10), 1.0, 10**6).round()
    kept = drawn[(drawn >= 1) & (drawn <= 100)]
    valency = Valency(100, median=10, sigma=1)
    assert valency.mean == pytest.approx(kept.mean(), abs=4 * kept.std() / 1000)
    assert valency.probabilities()[[1, 10, 100]] == pytest.approx(
        [(kept == size).mean() for size in (1, 10, 100)], abs=0.001
    )


def test_optimizer_state() -> None:
    kept = dict.fromkeys(("sgd", "rowwise_adagrad", "adagrad", "adam"), 0)
    for optimizer in kept:
        table = Table("t", 10, 16, "BF16", optimizer)
        kept[optimizer] = table.state_bytes
        assert (table.row_bytes, table.weight_bytes) == (32, 320)
    assert kept == {"sgd": 0, "rowwise_adagrad": 40, "adagrad": 640, "adam": 1280}


FILE = """\
name: small
architecture: dlrm
hyperparameters: {dense_features: 3, bottom_mlp: 8-4, top_mlp: 8-1, sparse_features: 3, embedding_dim: 4, \
interaction: dot}
tables:
- {name: a, rows: 10, width: 4, count: 2}
- {name: b, rows: 10, width: 4}
features:
- {name: x, table: a, count: 2}
- {name: y, table: b, valency: 3}
source: a test
"""

BAD = [
    ("rows: 10, width: 4}", "rows: 0, width: 4}", "tables[1].rows: read 0, allowed is a whole number from 1"),
    ("valency: 3", "valency: -3", "features[1].valency: read -3, allowed is"),
    ("valency: 3", "valency: {least: 4, most: 3}", "features[1].valency.least: read 4, allowed is at most most = 3"),
    ("valency: 3", "valency: {most: 3, sigma: 1}", "features[1].valency.sigma: median and sigma make a log-normal"),
    ("table: b", "table: bb", "features[1].table: read 'bb', allowed are the tables a, b. Did you mean 'b'?"),
    (
        "table: a, count: 2",
        "table: a, count: 3",
        "features[0].count: read 3, allowed are multiples of the 2",
    ),
    ("name: b, rows", "name: a, rows", "tables[1].name: the name 'a' is given twice"),
    ("name: y", "name: x", "features[1].name: the name 'x' is given twice"),
    ("count: 2}\n- {name: b", "count: 2, optimiser: sgd}\n- {name: b", "Did you mean 'optimizer'?"),
    ("count: 2}\n- {name: b", "count: 2, optimizer: adgrad}\n- {name: b", "Did you mean 'adagrad'?"),
    ("width: 4}\nf", "width: 5}\nf", "tables[1].width: read 5, allowed is embedding_dim = 4"),
    ("sparse_features: 3", "sparse_features: 4", "read 4, allowed is what features add up to, 3"),
    ("8-4", "8-5", "hyperparameters.bottom_mlp: read a last width of 5"),
    ("8-4", "8x4", "hyperparameters.bottom_mlp: read '8x4', allowed is widths of layers"),
    ("8-4", "0-4", "hyperparameters.bottom_mlp: read '0-4', allowed are widths from 1"),
    ("interaction: dot", "interaction: dcn", "hyperparameters.cross_rank: needed with interaction: dcn"),
    ("interaction: dot", "interaction: dot, cross_rank: 3", "cross_rank: allowed only with interaction: dcn"),
    ("source: a test", "source: a test\nestimated: {tables.row: guessed}", "Did you mean 'tables.rows'?"),
]


def test_the_small_file_is_good(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(FILE)
    work = load_workload(f"{tmp_path / 'm.yaml'}?batch=2")
    assert parameter_count(work) == 30 * 4 + (3 * 8 + 8 + 8 * 4 + 4) + ((4 + 6) * 8 + 8 + 8 + 1)
    assert accsim.simulate(work, "tpu_v4").latency_s > 0


@pytest.mark.parametrize(("good", "bad", "message"), BAD)
def test_bad_files(good: str, bad: str, message: str, tmp_path: Path) -> None:
    assert FILE.count(good) == 1
    path = tmp_path / "m.yaml"
    path.write_text(FILE.replace(good, bad))
    with pytest.raises(InputError) as error:
        load_workload(path)
    assert message in str(error.value)


def test_all_problems_of_a_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(FILE.replace("valency: 3", "valency: -3").replace("dense_features: 3", "dense_features: 0"))
    with pytest.raises(InputError) as error:
        load_workload(path)
    found = {problem.path for problem in error.value.problems}
    assert found == {"hyperparameters.dense_features", "features[1].valency"}


def test_all_problems_of_arguments_at_once() -> None:
    with pytest.raises(InputError) as error:
        Table("", 0, -1, "fp33", "adagrd", 3, 0)  # type: ignore[arg-type]
    fields: tuple[str, ...] = ("name", "rows", "width", "dtype", "optimizer", "popularity", "count")
    assert [problem.path for problem in error.value.problems] == [f"Table.{field}" for field in fields]
    with pytest.raises(InputError) as error:
        Feature("f", "t", 3, "max", 0)  # type: ignore[arg-type]
    fields = ("valency", "combiner", "count")
    assert [problem.path for problem in error.value.problems] == [f"Feature.{field}" for field in fields]
    for bad in ({"most": 0}, {"least": -1}, {"most": 4, "median": 5, "sigma": 1}, {"most": 4, "median": 2, "sigma": 0}):
        with pytest.raises(InputError, match=r"Valency\.(most|least|median|sigma): read"):
            Valency(**bad)
    with pytest.raises(InputError, match="at least one of the features"):
        EmbeddingSet((Table("t", 1, 1),), ())
    with pytest.raises(InputError, match=r"Popularity\.exponent: read -1"):
        Popularity(-1)


def test_tables_of_a_workload_are_checked() -> None:
    work = load_workload("gemm?m=1&n=1&k=1")
    with pytest.raises(InputError, match=r"Workload\.embeddings: read 'x', allowed is EmbeddingSet"):
        Workload("x", work.entries, embeddings="x")  # type: ignore[arg-type]


def test_features_alike_share_tables_alike() -> None:
    tables = (Table("t", rows=5, width=2, count=3),)
    found = EmbeddingSet(tables, (Feature("f", "t", count=6),))
    assert [(reading.feature.name, reading.times) for reading in found.readings(tables[0])] == [("f", 2)]
    assert found.table("t") is found.tables[0]
    with pytest.raises(KeyError):
        found.table("u")

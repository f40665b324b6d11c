"""The HTML page of a sweep: fronts, marginal effects and samples against plain twins; what is read and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

import accsim
from accsim.report.html.sweep_data import BINS, TOGETHER, Views, front, fronts, marginals, sample, views_of
from accsim.report.html.write import write_page
from tests.report.sweeps import SIZES, manifest, table
from tests.report.test_html import Parsed

ONE = {"bert_base?seq=4096": 1.0}
TWO = {"bert_base?seq=4096": 1.0, "xlm": 3.0}
AXES = ("matrix_unit.rows", "memories.sg.capacity", "mapping.dataflow")


def store(folder: Path, points: pd.DataFrame, workloads: dict[str, float], groups: int = 3) -> Path:
    """Write a sweep's folder as the store does: a Parquet file a group, texts as dictionaries, and a manifest."""
    (folder / "points").mkdir(parents=True)
    for part in np.array_split(np.arange(len(points)), groups):
        rows = pa.Table.from_pandas(points.iloc[part], preserve_index=False)
        for place, field in enumerate(rows.schema):
            if pa.types.is_string(field.type) or pa.types.is_null(field.type):
                texts = rows[field.name].cast(pa.string()).dictionary_encode()
                rows = rows.set_column(place, field.name, texts)
        name = f"{0 if len(part) == 0 else part[0]:012d}-0123456789abcdef.parquet"
        parquet.write_table(rows, folder / "points" / name)
    (folder / "manifest.json").write_text(json.dumps(manifest(len(points), workloads)))
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Parsed:
    """Return the page of a sweep over two workloads."""
    return Parsed(write_page(store(tmp_path_factory.mktemp("sweep") / "s1", table(TWO), TWO)))


# Fronts

coordinates = st.lists(
    st.tuples(*[st.sampled_from([0.0, 1.0, 2.0, 3.0, 1e9, np.nan]) | st.floats(0, 4)] * 2), max_size=30
)


@given(coordinates)
def test_a_front_has_what_nothing_dominates(points: list[tuple[float, float]]) -> None:
    x, y = np.array([a for a, _ in points]), np.array([b for _, b in points])
    found = front(x, y).tolist()

    def dominated(i: int) -> bool:
        better = [j for j, (a, b) in enumerate(points) if a <= x[i] and b <= y[i] and (a < x[i] or b < y[i])]
        return bool(better) or np.isnan(x[i] + y[i])

    assert {points[i] for i in found} == {points[i] for i in range(len(points)) if not dominated(i)}
    assert len({points[i] for i in found}) == len(found)
    assert sorted(x[found]) == list(x[found])


def test_fronts_are_of_each_view_and_pair() -> None:
    views = views_of(table(TWO), AXES)
    found = fronts(views)
    assert list(found) == views.names == [TOGETHER, *TWO]
    for name, pairs in found.items():
        assert set(pairs) == {
            "latency_s energy_j", "latency_s area_mm2", "latency_s power_w", "energy_j area_mm2", "energy_j power_w",
            "area_mm2 power_w",
        }  # fmt: skip
        for pair, rows in pairs.items():
            x, y = pair.split()
            of_view = views.rows(name)
            best = of_view.loc[rows]
            for a, b in zip(of_view[x], of_view[y], strict=True):
                assert np.isnan(a + b) or ((best[x] <= a) & (best[y] <= b)).any()


# Views


def test_workloads_together_are_weighted() -> None:
    points = table(TWO)
    views = views_of(points, AXES)
    together = views.rows(TOGETHER).set_index("design")
    expected = {}
    for design, rows in points.groupby("design"):
        if rows["feasible"].all():
            seconds = (rows["weight"] * rows["latency_s"]).sum()
            expected[design] = (seconds, (rows["weight"] * rows["energy_j"]).sum())
    assert set(together.index) == set(expected)
    assert len(expected) < points["design"].nunique(), "some lack a result for one of the workloads"
    for design, (seconds, joules) in expected.items():
        assert together.loc[design, "latency_s"] == pytest.approx(seconds)
        assert together.loc[design, "energy_j"] == pytest.approx(joules)
        assert together.loc[design, "power_w"] == pytest.approx(joules / seconds)


def test_what_breaks_a_constraint_or_has_no_result_is_left_out() -> None:
    points = table(ONE)
    views = views_of(points, AXES)
    assert views.names == list(ONE)
    assert len(views.frame) == int(points["feasible"].sum()) < len(points)
    assert views.frame["power_w"].max() <= 90
    assert views.axes == ("machine", *AXES)


# Marginal effects


def test_marginal_effects_against_a_plain_twin() -> None:
    views = views_of(table(ONE), AXES)
    found = marginals(views)["bert_base?seq=4096"]
    for axis in views.axes:
        for objective in views.objectives:
            effect = found[axis][objective]
            for i, value in enumerate(effect["values"]):
                mine = sorted(views.frame[objective][(views.frame[axis] == value) & views.frame[objective].notna()])
                assert effect["count"][i] == len(mine)
                for name, share in (("least", 0), ("lower", 0.25), ("median", 0.5), ("upper", 0.75)):
                    assert effect[name][i] == pytest.approx(np.quantile(mine, share), rel=1e-5)
    assert found["memories.sg.capacity"]["latency_s"]["values"] == list(SIZES)


def test_an_axis_of_many_values_is_cut_into_equal_parts() -> None:
    points = table(ONE, 2000)
    points["memories.sg.capacity"] = np.random.default_rng(1).permutation(2000) + 1
    effect = marginals(views_of(points, AXES))["bert_base?seq=4096"]["memories.sg.capacity"]["latency_s"]
    assert len(effect["values"]) == BINS
    assert sum(effect["count"]) == int(points["feasible"].sum())
    assert max(effect["count"]) - min(effect["count"]) <= 1
    assert effect["values"] == sorted(effect["values"])


# Samples


def many(points: int) -> Views:
    return views_of(table(ONE, points), AXES)


def test_a_sample_has_every_front_and_says_what_it_leaves_out() -> None:
    views = many(3000)
    found = fronts(views)
    shown = sample(views, found, most=500)
    assert len(shown) == len(set(shown)) == 500
    assert shown == sorted(shown) == sample(views, found, most=500)
    on_fronts = {row for pairs in found.values() for rows in pairs.values() for row in rows}
    assert on_fronts <= set(shown)
    others = views.frame.drop(index=list(on_fronts))
    drawn = views.frame.loc[sorted(set(shown) - on_fronts)]
    assert drawn["latency_s"].median() == pytest.approx(others["latency_s"].median(), rel=0.15), "drawn evenly"
    assert sample(views, found, most=10) == sorted(on_fronts), "a front is never cut"
    assert sample(views, found) == list(range(len(views.frame)))


# The page


def test_numbers_of_the_page(page: Parsed) -> None:
    points = table(TWO)
    data = page.data["data"]
    assert data["views"][TOGETHER] == len(views_of(points, AXES).rows(TOGETHER))
    kept = points[points["feasible"]]
    of_view = [i for i, view in enumerate(data["view"]["values"]) if data["view"]["names"][view] == "xlm"]
    column = data["columns"]["latency_s"]["values"]
    expected = kept[kept["workload"] == "xlm"]["latency_s"]
    assert [column[i] for i in of_view] == pytest.approx(list(expected), rel=1e-5)
    assert [data["point"][i] for i in of_view] == list(kept[kept["workload"] == "xlm"]["point"])
    assert data["columns"]["memories.sg.capacity"]["unit"] == "B"
    assert data["columns"]["machine"]["names"] == ["flat_edge", "flat_cloud"]
    text = " ".join(page.inside[""])
    for told in ("made_up", "power_w <= 90 W", "accsim sweep made_up.yaml --out s1", "matrix_unit.cols"):
        assert told in text


def test_failed_points_are_told(page: Parsed) -> None:
    failed = table(TWO)["error"].notna().sum()
    (row,) = page.data["tables"]["errors"]["rows"]
    assert row == ["no feasible mapping: q needs <64 KiB>", [failed, f"{failed:,}"]]


def test_the_file_of_the_space_is_text(page: Parsed) -> None:
    assert "b" not in [tag for tag, _ in page.tags]
    assert "# <b>not markup</b>" in " ".join(page.inside[""])


def test_a_sweep_without_a_feasible_point(tmp_path: Path) -> None:
    points = table(ONE)
    points["feasible"] = False
    parsed = Parsed(write_page(store(tmp_path / "s", points, ONE)))
    assert "No point has a result that keeps the constraints." in " ".join(parsed.inside[""])
    assert parsed.data["charts"] == {}


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    folder = store(tmp_path / "s", table(ONE), ONE)
    files = sorted((folder / "points").iterdir())
    files[1].write_bytes(files[1].read_bytes()[:100])
    with pytest.raises(accsim.InputError, match=r"points: cannot be read"):
        write_page(folder)
    for file in files:
        file.unlink()
    with pytest.raises(accsim.InputError, match="no points yet"):
        write_page(folder)
    assert not (folder / "report.html").exists()


def test_missing_columns_are_named(tmp_path: Path) -> None:
    folder = store(tmp_path / "s", table(ONE).drop(columns="energy_j"), ONE)
    with pytest.raises(accsim.InputError, match="energy_j"):
        write_page(folder)

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
from accsim.sweep.analysis import BINS, DIGITS
from accsim.sweep.html.digest import ViewDigest, combined, digest, shown
from accsim.sweep.html.explorer import effects_data
from accsim.sweep.html.sweep_page import OBJECTIVES
from accsim.sweep.html.write import write_page
from accsim.sweep.views import ALL_WORKLOADS, SweepTable
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

NAMES = ("latency_s", "energy_j", "area_mm2")
coordinates = st.lists(
    st.tuples(*[st.sampled_from([0.0, 1.0, 2.0, 3.0, 1e9, np.nan]) | st.floats(0, 4)] * 3), min_size=1, max_size=30
)


@given(coordinates, st.integers(1, 30))
def test_fronts_of_parts_are_those_of_all_points(points: list[tuple[float, ...]], size: int) -> None:
    rows = pd.DataFrame(points, columns=list(NAMES))
    view = ViewDigest(NAMES)
    for start in range(0, len(rows), size):
        view.add(rows.iloc[start : start + size])
    assert view.points == len(points)
    for chosen in ((0, 1), (1, 2), (0, 1, 2)):
        values = [tuple(point[k] for k in chosen) for point in points]
        found = view.front(tuple(NAMES[k] for k in chosen))

        def dominated(one: tuple[float, ...], others: list[tuple[float, ...]]) -> bool:
            lower = (all(a <= b for a, b in zip(other, one, strict=True)) and other != one for other in others)
            return bool(np.isnan(one).any()) or any(lower)

        assert {values[i] for i in found} == {one for one in values if not dominated(one, values)}
        assert len({values[i] for i in found}) == len(found), "of equal ones the first"
        assert all(values.index(values[i]) == i for i in found)
        assert [values[i] for i in found] == sorted(values[i] for i in found)


# Views


def views_of(folder: Path) -> dict[str, pd.DataFrame]:
    found: dict[str, list[pd.DataFrame]] = {}
    for name, rows in SweepTable(folder).views():
        found.setdefault(name, []).append(rows)
    return {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}


def test_workloads_together_are_weighted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of a workload end anywhere, and one of the second is missing."""
    monkeypatch.setattr("accsim.sweep.views.ROWS", 50)
    points = table(TWO)
    points = points.drop(index=points.index[330:350])
    views = views_of(store(tmp_path / "s", points, TWO, groups=7))
    assert list(views) == [ALL_WORKLOADS, *TWO]
    together = views[ALL_WORKLOADS].set_index("design")
    expected = {}
    for design, rows in points.groupby("design"):
        if rows["feasible"].all() and len(rows) == len(TWO):
            seconds = (rows["weight"] * rows["latency_s"]).sum()
            expected[design] = (seconds, (rows["weight"] * rows["energy_j"]).sum())
    assert list(together.index) == list(expected)
    assert len(expected) < points["design"].nunique(), "some lack a result for one of the workloads"
    for design, (seconds, joules) in expected.items():
        assert together.loc[design, "latency_s"] == pytest.approx(seconds)
        assert together.loc[design, "energy_j"] == pytest.approx(joules)
        assert together.loc[design, "power_w"] == pytest.approx(joules / seconds)


def test_what_breaks_a_constraint_or_has_no_result_is_left_out(tmp_path: Path) -> None:
    points = table(ONE)
    folder = store(tmp_path / "s", points, ONE)
    ((name, rows),) = views_of(folder).items()
    assert name == "bert_base?seq=4096"
    assert len(rows) == int(points["feasible"].sum()) < len(points)
    assert rows["power_w"].max() <= 90
    assert SweepTable(folder).axes == ("machine", *AXES)


# Marginal effects


def test_marginal_effects_against_a_plain_twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accsim.sweep.views.ROWS", 50)
    points = table(ONE)
    found = digest(SweepTable(store(tmp_path / "s", points, ONE)), tuple(OBJECTIVES))
    kept = points[points["feasible"]]
    effects = effects_data(found.effects, ("machine", *AXES), tuple(OBJECTIVES))["bert_base?seq=4096"]
    for axis, of_axis in effects.items():
        for objective, effect in of_axis.items():
            for i, value in enumerate(effect["values"]):
                mine = sorted(kept[objective][(kept[axis] == value) & kept[objective].notna()])
                assert effect["count"][i] == len(mine)
                assert effect["least"][i] == pytest.approx(mine[0], rel=1e-5)
                for name, share in (("lower", 0.25), ("median", 0.5), ("upper", 0.75)):
                    assert effect[name][i] == pytest.approx(np.quantile(mine, share), rel=2.0 ** (1 - DIGITS))
            rows = kept.dropna(subset=objective)
            means = rows.groupby(axis)[objective].transform("mean")
            share = means.var() / rows[objective].var()
            shares = found.effects["bert_base?seq=4096"].of(axis, objective)["variance_share"]
            assert shares.to_numpy() == pytest.approx(share, rel=1e-3)
    assert effects["memories.sg.capacity"]["latency_s"]["values"] == list(SIZES)


def test_an_axis_of_many_values_is_cut_into_equal_parts(tmp_path: Path) -> None:
    points = table(ONE, 2000)
    points["memories.sg.capacity"] = np.random.default_rng(1).permutation(2000) + 1
    folder = store(tmp_path / "s", points, ONE)
    about = json.loads((folder / "manifest.json").read_text())
    about["sweep"]["axes"]["memories.sg.capacity"] = {"values": None, "dimension": "bytes", "interval": "uniform"}
    (folder / "manifest.json").write_text(json.dumps(about))
    found = digest(SweepTable(folder), tuple(OBJECTIVES))
    effects = effects_data(found.effects, AXES, ["latency_s"])["bert_base?seq=4096"]
    effect = effects["memories.sg.capacity"]["latency_s"]
    assert len(effect["values"]) == BINS
    assert sum(effect["count"]) == int(points["feasible"].sum())
    assert max(effect["count"]) - min(effect["count"]) <= 1
    assert effect["values"] == sorted(effect["values"])


# Samples


def test_a_sample_has_every_front_and_is_drawn_evenly() -> None:
    points = table(ONE, 3000)
    rows = points[points["feasible"]]
    view = ViewDigest(tuple(OBJECTIVES), most=500)
    for part in np.array_split(np.arange(len(rows)), 4):
        view.add(rows.iloc[part])
    found = shown({"one": view}, most=500)
    on_fronts = {row for some in combined(tuple(OBJECTIVES)) for row in view.front(some)}
    assert len(found) == found["row"].nunique() == 500
    assert found["row"].is_monotonic_increasing
    assert on_fronts <= set(found["row"])
    others = rows.reset_index(drop=True).drop(index=sorted(on_fronts))
    drawn = found[~found["row"].isin(on_fronts)]
    assert drawn["latency_s"].median() == pytest.approx(others["latency_s"].median(), rel=0.15), "drawn evenly"
    assert set(shown({"one": view}, most=10)["row"]) == on_fronts, "a front is never cut"


def test_the_sample_of_few_points_is_all_of_them() -> None:
    points = table(ONE)
    view = ViewDigest(tuple(OBJECTIVES))
    view.add(points[points["feasible"]])
    assert shown({"one": view})["point"].tolist() == points[points["feasible"]]["point"].tolist()


# The page


def test_numbers_of_the_page(page: Parsed) -> None:
    points = table(TWO)
    data = page.data["data"]
    whole = points.groupby("design")["feasible"].all()
    assert data["views"] == {ALL_WORKLOADS: whole.sum(), **points[points["feasible"]]["workload"].value_counts()}
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

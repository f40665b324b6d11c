"""The HTML page of a search: its numbers against the table of trials, in a real browser, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accsim.errors import InputError
from accsim.sweep.html.write import write_page
from accsim.sweep.search import optimize
from tests.reference import pareto_naive as naive
from tests.report.browser import find_browser, open_tab
from tests.report.test_html import Parsed
from tests.report.test_html_browser import DESKTOP, PHONE, ROWS, check_calm, choose, filter_rows

SPACE = """
machines: [flat_edge, flat_cloud]
workloads: ["gemm?m=96&n=64&k=128"]
axes:
  vector_unit.lanes: [16, 32]
  memories.sg.capacity: {logspace: [4 KiB, 2 MiB, 10]}
  mapping.dataflow: [output_stationary, weight_stationary]
constraints: ["memories.sg.capacity <= 1 MiB"]
"""
GOALS = ["latency_s", "memories.sg.capacity", "energy_j"]
SAMPLERS = ("nsga2", "random")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a search with its page."""
    place = tmp_path_factory.mktemp("search")
    (place / "space.yaml").write_text(SPACE)
    optimize(place / "space.yaml", GOALS, trials=12, batch=6, out=place / "found", command="accsim optimize")
    write_page(place / "found")
    return place / "found"


def trials_of(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "trials.parquet")


def test_the_explorer_has_the_feasible_trials_and_their_fronts(folder: Path) -> None:
    data = Parsed(folder / "report.html").data["data"]
    feasible = trials_of(folder).query("feasible")
    assert data["views"] == {"all samplers": len(feasible), **feasible["sampler"].value_counts()[list(SAMPLERS)]}
    assert data["columns"]["memories.sg.capacity"]["unit"] == "B"
    points = feasible[GOALS].drop_duplicates().to_numpy()
    best = {tuple(point) for point in points[naive.front(points)]}
    rows = data["fronts"]["all samplers"][" ".join(GOALS)]
    shown = [[data["columns"][name]["values"][row] for name in GOALS] for row in rows]
    assert shown == [pytest.approx(point, rel=1e-5) for point in sorted(best)]


def test_hypervolume_of_each_sampler_is_that_of_its_trials(folder: Path) -> None:
    trials = trials_of(folder)
    known = np.log(trials.loc[trials["feasible"], GOALS])
    for line in Parsed(folder / "report.html").chart("growth")["data"]:
        mine = trials[trials["sampler"] == line["name"]]
        for count in (3, len(mine)):
            some = mine.head(count).query("feasible")
            inside = (np.log(some[GOALS]) - known.min()) / (known.max() - known.min())
            assert line["y"][count - 1] == pytest.approx(naive.hypervolume(inside.to_numpy(), np.ones(3)), abs=1e-6)


def test_tables(folder: Path) -> None:
    trials, tables = trials_of(folder), Parsed(folder / "report.html").data["tables"]
    assert len(tables["trials"]["rows"]) == len(trials)
    for objective, row in zip(GOALS, tables["best"]["rows"], strict=True):
        place = tables["best"]["columns"].index(objective)
        assert row[0] == objective
        assert row[place][0] == trials.query("feasible")[objective].min()
    reasons = [row[-1] for row in tables["trials"]["rows"]]
    assert reasons == [error if isinstance(error, str) else "" for error in trials["error"]]
    assert [bool(reason) for reason in reasons] == (~trials["feasible"]).tolist()


def test_a_search_goes_on_beside_its_page(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "found")
    space = tmp_path / "space.yaml"
    space.write_text(SPACE)
    optimize(space, GOALS, trials=14, batch=6, out=tmp_path / "found", resume=True)
    assert len(Parsed(write_page(tmp_path / "found")).data["tables"]["trials"]["rows"]) == 2 * 14


def test_a_search_of_one_objective_has_no_explorer(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    optimize(tmp_path / "space.yaml", ["latency_s"], trials=4, batch=2, out=tmp_path / "found", baseline=False)
    page = Parsed(write_page(tmp_path / "found"))
    assert list(page.data["charts"]) == ["growth"]
    assert [line["name"] for line in page.chart("growth")["data"]] == ["nsga2"]


def test_a_search_that_has_found_nothing_says_so(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(SPACE.replace("<= 1 MiB", "<= 1 KiB"))
    optimize(tmp_path / "space.yaml", GOALS, trials=4, batch=2, out=tmp_path / "found")
    text = " ".join(Parsed(write_page(tmp_path / "found")).inside[""])
    assert "No design is feasible. Most often: does not keep memories.sg.capacity <= 1 KiB" in text


def test_a_search_without_a_table_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text((folder / "manifest.json").read_text())
    with pytest.raises(InputError, match=r"trials.parquet: is not there yet.*--resume"):
        write_page(tmp_path)
    (tmp_path / "trials.parquet").write_bytes((folder / "trials.parquet").read_bytes()[:200])
    with pytest.raises(InputError, match=r"trials.parquet: cannot be read"):
        write_page(tmp_path)
    assert json.loads((tmp_path / "manifest.json").read_text())["search"]["objectives"] == GOALS


@pytest.mark.skipif(find_browser() is None, reason="no Chromium here: apt install chromium")
def test_in_a_browser(folder: Path) -> None:
    browser = find_browser()
    assert browser is not None
    page = folder / "report.html"
    data, trials = Parsed(page).data["data"], trials_of(folder)
    with open_tab(browser) as tab:
        tab.open(page, DESKTOP)
        rows = data["fronts"]["all samplers"]["latency_s memories.sg.capacity"]
        assert tab.value(ROWS.format("points", 0)) == [f"{data['point'][row]:,}" for row in rows]
        assert tab.value("$('colour').value") == "sampler"
        assert tab.value("$('growth')._fullData.map((line) => [line.name, line.x.length])") == [
            ["nsga2", 12],
            ["random", 12],
        ]
        assert tab.value("document.querySelectorAll('#growth .scatterlayer path.js-line').length") == len(SAMPLERS)
        drawn = "$('explorer')._fullData.filter((trace) => trace.customdata).map((trace) => trace.x.length)"
        assert sum(tab.value(drawn)) == data["views"]["all samplers"]
        choose(tab, "view", "random")
        assert sum(tab.value(drawn)) == data["views"]["random"]
        filter_rows(tab, "trials", "random flat_edge")
        mine = trials[(trials["sampler"] == "random") & (trials["machine"] == "flat_edge")]
        assert tab.value(ROWS.format("trials", 1)) == [str(number) for number in mine["trial"]]
        check_calm(tab, page)
        tab.open(page, PHONE)
        check_calm(tab, page)

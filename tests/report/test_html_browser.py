"""The HTML pages in a real browser: charts are drawn, tables sort and filter, nothing is asked of a network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from accsim.sweep.html.digest import MOST_POINTS
from accsim.sweep.html.write import write_page
from tests.report.browser import Tab, find_browser, open_tab
from tests.report.shipped import report
from tests.report.sweeps import table
from tests.report.test_html import Parsed
from tests.report.test_html_sweep import ONE, TWO, store

BROWSER = find_browser()
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt install chromium")

DESKTOP, PHONE = 1440, 390
ROWS = "[...document.querySelectorAll('#{} tbody tr')].map((row) => row.cells[{}].textContent)"


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    """Return a tab of a browser."""
    assert BROWSER is not None
    with open_tab(BROWSER) as opened:
        yield opened


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a run."""
    folder = report("tpu_v4", "llama3_8b_decode").save(tmp_path_factory.mktemp("browser") / "run")
    return write_page(folder)


def filter_rows(tab: Tab, table: str, words: str) -> None:
    tab.value(
        f"(() => {{ const input = document.querySelector('input[data-table={table}]');"
        f"input.value = '{words}'; input.dispatchEvent(new Event('input')); }})()"
    )


def check_calm(tab: Tab, page: Path) -> None:
    """Fail if anything went wrong, was asked for, or is wider than the window."""
    assert tab.problems() == []
    assert tab.requests() == [page.resolve().as_uri()]
    assert tab.value("document.documentElement.scrollWidth <= innerWidth")


def test_charts_are_drawn(tab: Tab, run: Path) -> None:
    tab.open(run, DESKTOP)
    charts = Parsed(run).data["charts"]
    for name, figure in charts.items():
        bars = sum(len(trace["x"]) for trace in figure["data"] if trace["type"] == "bar")
        assert tab.value(f"document.querySelectorAll('#{name} .bars .point').length") == bars
        points = sum(len(trace["x"]) for trace in figure["data"] if trace.get("mode") == "markers")
        assert tab.value(f"document.querySelectorAll('#{name} .scatterlayer .point').length") == points
        assert tab.value(f"document.querySelector('#{name} .main-svg').getBoundingClientRect().height") > 100
        notes = [note["text"] for note in figure["layout"].get("annotations", ())]
        drawn = f"[...document.querySelectorAll('#{name} .annotation-text')].map((note) => note.textContent)"
        assert tab.value(drawn) == notes
    assert len(tab.value("[...document.querySelectorAll('#buffers-0 .fills path')].map((p) => p.id)")) == len(
        [trace for trace in charts["buffers-0"]["data"] if "stackgroup" in trace]
    )
    check_calm(tab, run)


def test_tables_filter_and_sort(tab: Tab, run: Path) -> None:
    tab.open(run, DESKTOP)
    rows = Parsed(run).data["tables"]["ops"]["rows"]
    assert tab.value(ROWS.format("ops", 0)) == [row[0] for row in rows]
    filter_rows(tab, "ops", "GEMM hbm")
    kept = [row[0] for row in rows if row[1] == "gemm" and any("hbm" in cell for cell in row if isinstance(cell, str))]
    assert 0 < len(kept) < len(rows)
    assert tab.value(ROWS.format("ops", 0)) == kept
    told = "document.querySelector('input[data-table=ops]').closest('p').querySelector('output').textContent"
    assert tab.value(told) == f"{len(kept)} of {len(rows)} rows"
    filter_rows(tab, "ops", "")
    for clicks, ordered in (
        (1, sorted(rows, key=lambda row: -row[4][0])),
        (1, sorted(rows, key=lambda row: row[4][0])),
    ):
        for _ in range(clicks):
            tab.value("document.querySelectorAll('#ops th button')[4].click()")
        assert tab.value(ROWS.format("ops", 4)) == [row[4][1] for row in ordered]
    tab.value("document.querySelectorAll('#ops th button')[0].click()")
    assert tab.value(ROWS.format("ops", 0)) == sorted((row[0] for row in rows), key=str.lower)
    assert tab.value("document.querySelector('#ops th').getAttribute('aria-sort')") == "ascending"
    check_calm(tab, run)


def test_it_fits_a_phone(tab: Tab, run: Path) -> None:
    tab.open(run, PHONE)
    check_calm(tab, run)
    parts = "[...document.querySelectorAll('.chart svg, dd, h1, figcaption, p')]"
    assert tab.value(f"{parts}.filter((part) => part.getBoundingClientRect().right > innerWidth).length") == 0


def test_the_checks_see_what_is_wrong(tab: Tab, tmp_path: Path) -> None:
    page = tmp_path / "broken.html"
    page.write_text("<script>console.error('seen'); thrown()</script><img src='http://127.0.0.1:9/x.png'>")
    tab.open(page, DESKTOP)
    assert any("seen" in problem for problem in tab.problems())
    assert any("thrown" in problem for problem in tab.problems())
    assert "http://127.0.0.1:9/x.png" in tab.requests()


# Sweeps


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a sweep over two workloads."""
    return write_page(store(tmp_path_factory.mktemp("browser") / "s1", table(TWO), TWO))


def choose(tab: Tab, control: str, value: str) -> None:
    tab.value(f"(() => {{ $('{control}').value = '{value}'; $('{control}').dispatchEvent(new Event('change')); }})()")


def drawn_points(tab: Tab) -> int:
    """Points in the explorer, those of the front not counted twice."""
    counts = tab.value(
        "$('explorer')._fullData.map((trace, i) => ['front', 'marked'].includes(trace.name) ? 0 : "
        "document.querySelectorAll('#explorer .scatterlayer .trace')[i].querySelectorAll('.point').length)"
    )
    return sum(counts)


def test_the_explorer_shows_the_points_and_the_front(tab: Tab, sweep: Path) -> None:
    tab.open(sweep, DESKTOP)
    data = Parsed(sweep).data["data"]
    for view, count in data["views"].items():
        choose(tab, "view", view)
        assert drawn_points(tab) == count
        for x, y in (("latency_s", "energy_j"), ("power_w", "latency_s")):
            choose(tab, "x", x), choose(tab, "y", y)
            pairs = data["fronts"][view]
            rows = pairs.get(f"{x} {y}") or pairs[f"{y} {x}"]
            assert tab.value(ROWS.format("points", 0)) == [f"{data['point'][row]:,}" for row in rows]
            assert tab.value("$('listed').textContent") == f"The front: {len(rows)} points"
            told = (
                f"All {count:,} points that keep the constraints are shown. {len(rows)} are on the front of {x}, {y}."
            )
            assert tab.value("$('shown').textContent") == told
    charts = tab.value(
        "[...document.querySelectorAll('#marginals .chart')].map((c) => c.querySelectorAll('.point').length)"
    )
    values = [len(effect["latency_s"]["values"]) for effect in next(iter(data["marginals"].values())).values()]
    assert charts == [2 * count for count in values], "a point for each least and each median"
    check_calm(tab, sweep)


def test_a_brush_lists_what_is_in_it(tab: Tab, sweep: Path) -> None:
    tab.open(sweep, DESKTOP)
    data = Parsed(sweep).data["data"]
    tab.value("$('explorer').scrollIntoView()")
    left, top, width, height = tab.value(
        "(() => { const box = document.querySelector('#explorer .nsewdrag').getBoundingClientRect();"
        "return [box.x, box.y, box.width, box.height]; })()"
    )
    xs, ys = tab.value("['xaxis', 'yaxis'].map((name) => $('explorer')._fullLayout[name].range)")
    tab.drag((left + 0.2 * width, top + 0.3 * height), (left + 0.6 * width, top + 0.8 * height))
    tab.until("$('listed').textContent.startsWith('Brushed')")

    def inside(pixels: float) -> set[str]:
        """Points in the brushed box when it is made larger by some pixels on each side."""
        of_view = [row for row, view in enumerate(data["view"]["values"]) if view == 0]
        places = [
            [math.log10(data["columns"][name]["values"][row]) for row in of_view] for name in ("latency_s", "energy_j")
        ]
        across = [width * (x - xs[0]) / (xs[1] - xs[0]) - width * 0.4 for x in places[0]]
        down = [height * (ys[1] - y) / (ys[1] - ys[0]) - height * 0.55 for y in places[1]]
        return {
            f"{data['point'][row]:,}"
            for row, x, y in zip(of_view, across, down, strict=True)
            if abs(x) < width * 0.2 + pixels and abs(y) < height * 0.25 + pixels
        }

    listed = tab.value(ROWS.format("points", 0))
    assert 10 < len(listed) == len(set(listed))
    assert inside(-2) <= set(listed) <= inside(2)
    assert tab.value("$('listed').textContent") == f"Brushed: {len(listed)} points"
    filter_rows(tab, "points", "flat_edge flash2")
    kept = tab.value(ROWS.format("points", 1))
    assert set(kept) == {"flat_edge"}
    assert len(kept) < len(listed)
    check_calm(tab, sweep)


def test_a_front_of_three_objectives(tab: Tab, sweep: Path) -> None:
    tab.open(sweep, DESKTOP)
    data = Parsed(sweep).data["data"]
    choose(tab, "view", "xlm")
    choose(tab, "third", "area_mm2")
    assert tab.value("$('colour').value") == "area_mm2"
    rows = data["fronts"]["xlm"]["latency_s energy_j area_mm2"]
    assert len(rows) > len(data["fronts"]["xlm"]["latency_s energy_j"])
    assert tab.value(ROWS.format("points", 0)) == [f"{data['point'][row]:,}" for row in rows]
    front = "$('explorer')._fullData.find((trace) => trace.name === 'front')"
    assert tab.value(f"[{front}.mode, {front}.x.length]") == ["markers", len(rows)]
    check_calm(tab, sweep)


def test_a_row_that_is_clicked_is_marked_in_the_chart(tab: Tab, sweep: Path) -> None:
    tab.open(sweep, DESKTOP)
    data = Parsed(sweep).data["data"]
    first = data["view"]["names"][0]
    rows = data["fronts"][first]["latency_s energy_j"]
    click = "document.querySelectorAll('#points tbody tr')[2].cells[0].click()"
    mark = "(() => { const mark = $('explorer').data.at(-1); return [[...mark.x], [...mark.y]]; })()"
    tab.value(click)
    assert tab.value(mark) == [[data["columns"][name]["values"][rows[2]]] for name in ("latency_s", "energy_j")]
    tab.value(click)
    assert tab.value(mark) == [[], []]


def test_hovering_tells_the_values_of_a_point(tab: Tab, sweep: Path) -> None:
    tab.open(sweep, DESKTOP)
    choose(tab, "view", "xlm")
    tab.value("Plotly.Fx.hover('explorer', [{curveNumber: 0, pointNumber: 0}])")
    told = tab.value("document.querySelector('#explorer .hoverlayer').textContent")
    for name in ("machine", "matrix_unit.rows", "memories.sg.capacity", "latency_s", "energy_j", "bound_by"):
        assert f"{name}: " in told


def test_the_page_of_a_sweep_fits_a_phone(tab: Tab, sweep: Path) -> None:
    tab.open(sweep, PHONE)
    assert tab.value("$('drag').value") == ""
    check_calm(tab, sweep)


@pytest.mark.slow
def test_many_points_are_sampled_and_told(tab: Tab, tmp_path: Path) -> None:
    page = write_page(store(tmp_path / "s", table(ONE, 30_000), ONE))
    tab.open(page, DESKTOP)
    data = Parsed(page).data["data"]
    (every,) = data["views"].values()
    assert every > MOST_POINTS == len(data["point"])
    front = data["fronts"]["bert_base?seq=4096"]["latency_s energy_j"]
    assert tab.value("$('shown').textContent") == (
        f"{MOST_POINTS:,} of {every:,} points that keep the constraints are shown: all that are on a front of two "
        f"or three objectives, and a random sample of the others. {len(front)} are on the front of latency_s, energy_j."
    )
    drawn = "$('explorer')._fullData.filter((trace) => trace.customdata).map((trace) => trace.x.length)"
    assert sum(tab.value(drawn)) == MOST_POINTS
    check_calm(tab, page)

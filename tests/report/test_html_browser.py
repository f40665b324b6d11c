"""The HTML pages in a real browser: charts are drawn, tables sort and filter, nothing is asked of a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from accsim.report.html.write import write_page
from tests.report.browser import Tab, find_browser, open_tab
from tests.report.shipped import report
from tests.report.test_html import Parsed

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
    folder = report("flat_cloud", "bert_base").save(tmp_path_factory.mktemp("browser") / "run")
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
    assert len(tab.value("[...document.querySelectorAll('#buffers-0 .fills path')].map((p) => p.id)")) == len(
        [trace for trace in charts["buffers-0"]["data"] if "stackgroup" in trace]
    )
    check_calm(tab, run)


def test_tables_filter_and_sort(tab: Tab, run: Path) -> None:
    tab.open(run, DESKTOP)
    rows = Parsed(run).data["tables"]["ops"]["rows"]
    assert tab.value(ROWS.format("ops", 0)) == [row[0] for row in rows]
    filter_rows(tab, "ops", "GEMM dram")
    kept = [row[0] for row in rows if row[1] == "gemm" and any("dram" in cell for cell in row if isinstance(cell, str))]
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

"""The HTML page of a run: its numbers, that it is self-contained, and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import accsim
from accsim.cli import app
from accsim.report.html.page import plotly_script
from accsim.sweep.html.write import write_page
from accsim.workload.trace import Entry
from tests.report.shipped import report
from tests.report.test_trace_events import by_hand

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & 'quoted'"


class Parsed(HTMLParser):
    """What a page has: text, texts of its scripts and styles, tags with their attributes."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": [], "": []}
        self.open = ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open = tag if tag in self.inside else ""

    def handle_endtag(self, tag: str) -> None:
        self.open = "" if tag == self.open else self.open

    def handle_data(self, data: str) -> None:
        self.inside[self.open].append(data)

    @property
    def data(self) -> Any:
        """The numbers of the page."""
        return json.loads(self.inside["script"][0])

    def chart(self, name: str) -> dict[str, Any]:
        """Figure of a name."""
        figure: dict[str, Any] = self.data["charts"][name]
        return figure


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run with its page."""
    folder = report("flat_cloud", "bert_base").save(tmp_path_factory.mktemp("html") / "run")
    write_page(folder)
    return folder


@pytest.fixture(scope="module")
def page(saved: Path) -> Parsed:
    return Parsed(saved / "report.html")


def stack(figure: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Row of stacked bars -> name -> length."""
    found: dict[str, dict[str, float]] = {}
    for trace in figure["data"]:
        for row, length in zip(trace["y"], trace["x"], strict=True):
            found.setdefault(row, {})[trace["name"]] = length
    return found


# Numbers


def test_critical_path_bars_are_the_whole_time(page: Parsed) -> None:
    rep = report("flat_cloud", "bert_base")
    bars = stack(page.chart("critical-path"))
    assert sum(sum(row.values()) for row in bars.values()) == pytest.approx(1.0)
    for key, spent in rep.critical_path.items():
        resource, why = key.rsplit("/", 1)
        assert bars[resource][why] == pytest.approx(spent / rep.total_cycles)


def test_a_resource_is_busy_waits_or_has_nothing_to_do(page: Parsed) -> None:
    rep = report("flat_cloud", "bert_base")
    bars = stack(page.chart("utilization"))
    assert bars.keys() == rep.utilization.keys()
    for name, states in bars.items():
        assert sum(states.values()) == pytest.approx(1.0)
        assert states["busy"] == pytest.approx(rep.utilization[name])
        waits = sum(length for state, length in states.items() if state not in ("busy", "nothing to do"))
        assert waits == pytest.approx(sum(rep.stalls[name].values()) / rep.total_cycles)


def test_energy_bars_are_all_joules(page: Parsed) -> None:
    rep = report("flat_cloud", "bert_base")
    figure = page.chart("energy")
    unit = {"(J)": 1.0, "(mJ)": 1e-3, "(uJ)": 1e-6}[figure["layout"]["xaxis"]["title"]["text"].split()[-1]]
    spent: dict[str, float] = {}
    for row in stack(figure).values():
        for part, length in row.items():
            spent[part] = spent.get(part, 0.0) + length * unit
    assert spent == pytest.approx({part: joules for part, joules in rep.energy_breakdown_j.items() if joules})


def test_roofline_by_hand(tmp_path: Path) -> None:
    # FLAT's edge platform: 32 x 32 array and 32 lanes at 940 MHz, DRAM 50 GiB/s for reads and writes together.
    rep = accsim.simulate(accsim.Gemm(m=256, n=256, k=256), "flat_edge")
    figure = Parsed(write_page(rep.save(tmp_path / "run"))).chart("roofline")
    slope, matrix, vector, points = figure["data"]
    moved = rep.traffic_bytes["dram"]["read"] + rep.traffic_bytes["dram"]["write"]
    assert points["x"] == [pytest.approx(2 * 256**3 / moved)]
    assert points["y"] == [pytest.approx(2 * 256**3 / rep.latency_s)]
    assert slope["y"][0] / slope["x"][0] == slope["y"][1] / slope["x"][1] == pytest.approx(50 * 2**30)
    assert matrix["y"] == [pytest.approx(2 * 1024 * 940e6)] * 2
    assert vector["y"] == [pytest.approx(32 * 940e6)] * 2


def test_timeline_by_hand(tmp_path: Path) -> None:
    # At 1 MHz a cycle is a microsecond. Bars of a stage that touch are one: load at 0, 1 and 3, multiply from 1 to 7.
    timeline = Parsed(write_page(by_hand().save(tmp_path / "run"))).chart("timeline")
    spans = {
        (trace["name"], lane): (start, start + length)
        for trace in timeline["data"]
        for lane, start, length in zip(trace["y"], trace["base"], trace["x"], strict=True)
        if lane == "multiplier" or start > 2
    }
    assert spans == {
        ("multiply", "multiplier"): pytest.approx((1, 7)),
        ("load", "dma"): pytest.approx((3, 4)),
        ("load", "port"): pytest.approx((3, 3.5)),
    }
    assert timeline["layout"]["xaxis"]["range"] == pytest.approx([0, 7])


def test_buffers_never_exceed_what_is_reserved(page: Parsed) -> None:
    figure = page.chart("buffers-0")
    areas = [trace for trace in figure["data"] if "stackgroup" in trace]
    (reserved,) = (trace for trace in figure["data"] if trace["name"].startswith("reserved"))
    in_use = [sum(sizes) for sizes in zip(*(trace["y"] for trace in areas), strict=True)]
    assert 0 < max(in_use) <= reserved["y"][0]
    assert areas[0]["x"][-1] == pytest.approx(page.chart("timeline")["layout"]["xaxis"]["range"][1])


def test_ops_of_the_table(page: Parsed) -> None:
    rep = report("flat_cloud", "bert_base")
    table = page.data["tables"]["ops"]
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    assert [row["op"] for row in rows] == [row.names[0] for row in rep.ops]
    assert sum(row["latency"][0] for row in rows) == pytest.approx(rep.latency_s)
    assert sum(row["energy"][0] for row in rows) == pytest.approx(rep.energy_j)
    assert sum(row["share of time"][0] for row in rows) == pytest.approx(1.0)
    assert sum(row["read"][0] for row in rows) == pytest.approx(rep.traffic_bytes["dram"]["read"])


def test_every_number_of_the_machine_has_its_source(page: Parsed) -> None:
    text = " ".join(page.inside[""])
    acc = accsim.load_accelerator("flat_cloud")
    for name in (acc.source, acc.hash, "Devlin et al., 2019", "bert_base"):
        assert name in text
    numbers = {row[0]: row for row in page.data["tables"]["numbers"]["rows"]}
    assert numbers["clock"] == ["clock", "940 MHz", "the machine's source"]
    told = {origin for _, _, origin in numbers.values()}
    assert told >= {f"estimated: {why}" for path, why in acc.estimated.items() if path != "energy"}


@pytest.mark.parametrize(
    ("machine", "workload", "fidelity"),
    [
        ("h100_sxm", "llama3_8b_decode", "tile"),
        ("tpu_v4", "resnet50", "tile"),
        ("systolic_128", "lstm_ptb_large", "tile"),
        ("flat_edge", "bert_base", "analytic"),
    ],
)
def test_other_machines_and_a_lower_bound(tmp_path: Path, machine: str, workload: str, fidelity: str) -> None:
    rep = report(machine, workload, fidelity)
    data = Parsed(write_page(rep.save(tmp_path / "run"))).data
    assert ("timeline" in data["charts"]) == (fidelity != "analytic")
    assert {"critical-path", "utilization", "op-utilization", "roofline", "energy"} <= data["charts"].keys()
    assert len(data["tables"]["ops"]["rows"]) == len(rep.ops)


# Self-contained


def references(page: Parsed) -> Iterator[str]:
    """What a page's own markup and styles refer to."""
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster", "background"):
            if attributes.get(name):
                yield f"{tag}:{attributes[name]}"
    yield from re.findall(r"(?:url\(|@import)[^;]*", " ".join(page.inside["style"]))


def test_nothing_is_loaded(saved: Path, page: Parsed) -> None:
    targets = list(references(page))
    assert "a:trace.json" in targets
    for target in targets:
        kind, _, name = target.partition(":")
        assert kind == "a"
        assert name.startswith("#section-") or (saved / name).is_file()
    (policy,) = (a["content"] or "" for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_plotly_is_in_it_once(saved: Path, page: Parsed) -> None:
    script = plotly_script()
    assert page.inside["script"].count(script) == 1
    size = (saved / "report.html").stat().st_size
    assert len(script.encode()) < size < len(script.encode()) + 500_000


def test_names_are_not_markup(tmp_path: Path) -> None:
    work = accsim.Workload(HOSTILE, (Entry(accsim.Gemm(64, 64, 64), name=HOSTILE),))
    page = Parsed(write_page(accsim.simulate(work, "flat_edge").save(tmp_path / "run")))
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert len(page.inside["script"]) == 3
    assert page.data["tables"]["ops"]["rows"][0][0] == HOSTILE
    for figure in page.data["charts"].values():
        assert "<img" not in json.dumps(figure)


# What is written and refused


def test_the_manifest_lists_the_page(saved: Path, tmp_path: Path) -> None:
    content = (saved / "report.html").read_bytes()
    listed = json.loads((saved / "manifest.json").read_text())["files"]["report.html"]
    assert listed == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    folder = report("flat_edge", "attention_layer").save(tmp_path / "run")
    first = write_page(folder).read_bytes()
    assert write_page(folder).read_bytes() == first
    report("flat_edge", "attention_layer").save(folder)
    assert not (folder / "report.html").exists(), "a new run replaces the folder with the page of the old one"


def call(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_tells_the_size(saved: Path) -> None:
    result = call("report", saved)
    assert (result.exit_code, result.stdout) == (0, "")
    assert re.fullmatch(rf"accsim: wrote {saved}/report.html \(4\.\d\d\d MB\)\n", result.stderr)
    plain = json.loads(call("report", saved, "--json").stdout)
    assert plain == {"file": f"{saved}/report.html", "bytes": (saved / "report.html").stat().st_size}


def test_what_is_no_run_is_refused(tmp_path: Path, saved: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "manifest.json").write_text('{"written_by": "another tool", "files": {}}')
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "manifest.json").write_text('{"written')
    cases = {
        "no such folder": tmp_path / "absent",
        "is a file": saved / "ops.csv",
        "has no manifest.json": tmp_path / "empty",
        f"in it are {saved}": saved.parent,
        "was not written by accsim": other,
        "cannot be read": torn,
    }
    (tmp_path / "empty").mkdir()
    for told, folder in cases.items():
        result = call("report", folder)
        assert (result.exit_code, result.stdout) == (2, "")
        assert told in result.stderr
        assert str(folder) in result.stderr


def test_changed_and_missing_files_are_told_at_once(tmp_path: Path) -> None:
    folder = report("flat_edge", "attention_layer").save(tmp_path / "run")
    (folder / "summary.json").write_text("{}")
    (folder / "figures.json").unlink()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(accsim.InputError) as caught:
        write_page(folder)
    assert "summary.json: is not what manifest.json lists" in str(caught.value)
    assert "figures.json: cannot be read: No such file" in str(caught.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_without_plotly_the_extra_is_named(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    result = call("report", saved)
    assert result.exit_code == 2
    assert result.stderr == "accsim: HTML reports need plotly: pip install 'accsim[html]'\n"

"""What the network commands print, as tables and as JSON, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import accsim
from accsim.cli import app
from accsim.network.goodput import Machine
from accsim.network.job_replay import Stream, replay_jobs
from accsim.network.slice_mix import mix_goodput
from accsim.report.words import percent, si


def told(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["network", *arguments])
    assert result.exit_code == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 120
    return result.stdout


def plain(*arguments: str) -> Any:
    return json.loads(told(*arguments, "--json"))


def test_all_to_all_prints_what_the_library_finds() -> None:
    arguments = ("all_to_all", "--topology", "torus:4x4x8", "--twisted", "--bytes", "1 MB")
    found = accsim.Torus((4, 4, 8), twisted=True).all_to_all(1e6)
    text, data = told(*arguments), plain(*arguments)
    assert data["time_s"] == found.time_s
    assert data["max_link_bytes"] == pytest.approx(440e6 / 6)
    assert data["topology"]["shape"] == [4, 4, 8]
    assert data["topology"]["diameter"] == 6
    for part in ("torus 4x4x8, twisted", si(found.time_s, "s"), "73.33 MB", "link x+", "minimal, folded", "3.465 hops"):
        assert part in text


def test_routing_and_contention_reach_the_library() -> None:
    options = ("--routing", "dimension_order?ties=shortest", "--contention", "links", "--bytes", "1 MB")
    data = plain("all_to_all", "--topology", "twisted:4x4x8", *options)
    assert data["max_link_bytes"] == 86e6
    assert data["algorithm"] == "dimension_order, links"


def test_cost_and_power_are_printed_where_they_are_known() -> None:
    spec = "star:4?copper.cost_usd=25&copper.power_w=0.5"
    assert plain("all_to_all", "--topology", spec)["topology"]["cost_usd"] == 100
    text = told("all_to_all", "--topology", spec)
    assert si(100, "USD") in text
    assert si(2, "W") in text
    assert "USD" not in told("all_to_all", "--topology", "star:4")


def test_a_network_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_text("a,b\none,two\ntwo,three\n")
    assert plain("all_to_all", "--topology", f"file:{path}")["bound_by"] == "link one -> two"


def test_collective() -> None:
    arguments = ("collective", "all_reduce", "--topology", "torus:4x4x4", "--bytes", "1 GiB")
    found = accsim.Torus((4, 4, 4)).all_reduce(2**30)
    data = plain(*arguments)
    assert data["time_s"] == found.time_s
    assert data["others_s"] == dict(found.others)
    text = told(*arguments)
    for part in (si(found.time_s, "s"), found.algorithm, *(f"{name} instead" for name in list(found.others)[1:])):
        assert part in text
    assert plain(*arguments, "--algorithm", "ring")["algorithm"] == "ring"


def test_goodput_has_a_row_for_every_slice_and_host() -> None:
    data = plain("goodput")
    assert len(data["rows"]) == 24
    row = next(row for row in data["rows"] if row["chips"] == 1024 and row["host"] == 0.995)
    machine = Machine(0.995)
    assert (row["switched"], row["guaranteed"], row["fixed"]) == (
        machine.switched(16), machine.guaranteed(16), machine.fixed((2, 2, 4)),
    )  # fmt: skip
    assert f"1,024  8x8x16      99.5 %    {percent(row['switched'])}" in told("goodput")


def test_goodput_of_one_slice_from_samples() -> None:
    arguments = ("goodput", "--host", "0.999", "--slice", "8x8x8", "--placement", "wrap", "--samples", "2000")
    (row,) = plain(*arguments, "--rack", "0.99", "--switch", "0.9999")["rows"]
    assert abs(row["sampled_switched"] - row["switched"]) <= 4 * row["sampled_switched_standard_error"]
    assert row["fixed"] is None
    assert "fixed, wrap" in told(*arguments)


def test_channels_of_every_scheme() -> None:
    data = plain("channels", "--topology", "twisted:4x4x8")
    assert {row["scheme"]: row["per_link"] for row in data["schemes"]} == {
        "escape": 3, "hops": 6, "negative_hops": 4, "orthants": 12
    }  # fmt: skip
    assert all(row["deadlock_free"] for row in data["schemes"])
    text = told("channels", "--topology", "hypercube:4")
    assert "dimension order needs axes" in text
    assert "negative_hops                3  yes" in text


def test_jobs_by_wiring() -> None:
    arguments = ("jobs", "--load", "0.5", "--jobs", "200", "--mean", "3600 s", "--durations", "constant")
    rows = plain(*arguments)["rows"]
    assert [row["placement"] for row in rows] == [None, "partition", "orientations", "offsets", "wrap"]
    stream = Stream(0.5, 3600.0, "constant", 200)
    assert rows[0]["utilization"] == replay_jobs(Machine(1.0), stream).utilization
    assert rows[1]["mean_wait_s"] == replay_jobs(Machine(1.0), stream, placement="partition").mean_wait_s
    assert "load 50.0 %, constant of 1 h" in told(*arguments)


def test_goodput_of_the_published_mix() -> None:
    arguments = ("goodput", "--mix", "--host", "0.99", "--waiting", "1", "--samples", "500")
    found = mix_goodput(Machine(0.99), waiting=1, samples=500)
    (row,) = plain(*arguments)["rows"]
    assert (row["switched"], row["fixed"]) == (found.switched.mean, found.fixed.mean)
    text = told(*arguments)
    for part in ("1 jobs waiting", percent(found.switched.mean), percent(found.fixed.mean), "1.4 %"):
        assert part in text


def test_topologies_are_those_of_the_library() -> None:
    names = [row["name"] for row in plain("topologies")]
    assert "dragonfly" in names
    assert all(name in told("topologies") for name in names)


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("all_to_all", "--topology", "tours:4"), ["Did you mean 'torus'?"]),
        (("all_to_all", "--topology", "star:4", "--twisted"), ["query:twisted: unknown"]),
        (("all_to_all", "--topology", "torus:4x4x12", "--twisted"), ["axes of k and 2k chips"]),
        (("all_to_all", "--topology", "torus:4", "--bytes", "3"), ["read '3' without a unit"]),
        (("all_to_all", "--topology", "torus:4", "--routing", "minimum"), ["Did you mean 'minimal'?"]),
        (("all_to_all", "--topology", "torus:4", "--contention", "flow"), ["Did you mean 'flows'?"]),
        (("all_to_all",), ["Missing option '--topology'"]),
        (("collective", "all_reduc", "--topology", "star:4"), ["Did you mean 'all_reduce'?"]),
        (("goodput", "--host", "1.5"), ["Machine.host: read 1.5"]),
        (("goodput", "--slice", "4x4x6"), ["4x4x6, allowed are 3 axes of multiples of 4 chips"]),
        (("goodput", "--slice", "4xfour"), ["allowed are 3 axes"]),
        (("goodput", "--placement", "wrapped"), ["Did you mean 'wrap'?"]),
        (("goodput", "--placement", "wrap"), ["no closed form"]),
        (("goodput", "--confidence", "0"), ["read the confidence 0.0"]),
        (("jobs", "--load", "0", "--durations", "constan"), ["Stream.load: read 0.0", "Did you mean 'constant'"]),
    ],
    ids=lambda part: " ".join(part),
)
def test_bad_questions(arguments: tuple[str, ...], fragments: list[str]) -> None:
    result = CliRunner().invoke(app, ["network", *arguments])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    for fragment in fragments:
        assert fragment in result.stderr


def test_slices_are_ranked_by_what_a_model_sends() -> None:
    arguments = ("slices", "--chips", "512", "--need", "all_gather:200MB:model:96", "--need", "all_reduce:400MB:data")
    groups = ("--group", "model=16", "--group", "data=32")
    data = plain(*arguments, *groups)
    assert [one["time_s"] for one in data["slices"]] == sorted(one["time_s"] for one in data["slices"])
    assert data["slices"][0]["shape"] == [4, 4, 32]
    assert data["slices"][0]["axes"] == {"model": [0, 1], "data": [2]}
    text = told(*arguments, *groups)
    assert "4x4x32 (model: xy, data: z)" in text
    assert "all_gather model" in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("--chips", "100", "--need", "all_reduce:1GB"),
            "read 100 chips, allowed are 1, 2, 4, 8, 16, 32 and multiples",
        ),
        (("--chips", "64", "--need", "all_reduce"), "allowed is KIND:SIZE, KIND:SIZE:GROUP"),
        (("--chips", "64", "--need", "all_reduce:1GB", "--group", "model"), "allowed is NAME=CHIPS, such as model=16"),
        (
            ("--chips", "64", "--need", "all_reduce:1GB:modl", "--group", "model=8"),
            "read 'modl', allowed are all, model",
        ),
        (("--chips", "64", "--need", "all_reduce:1GB", "--group", "model=8"), "read groups of 8 chips"),
        (("--chips", "64", "--need", "all_reduce:1GB:all:x"), "read 'x' times"),
    ],
)
def test_slices_that_cannot_be(arguments: tuple[str, ...], expected: str) -> None:
    result = CliRunner().invoke(app, ["network", "slices", *arguments])
    assert (result.exit_code, expected in result.stderr) == (2, True), result.stderr

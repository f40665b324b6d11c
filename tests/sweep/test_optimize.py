"""Searches: against the front of a whole space, whoever runs them, after interrupts and kills, by several processes."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import accsim
from accsim.cli import app
from accsim.errors import InputError
from accsim.sweep.executors import Done, Work
from accsim.sweep.executors.in_process import InProcess
from accsim.sweep.executors.processes import Processes
from accsim.sweep.expressions import Expression
from accsim.sweep.groups import Group
from accsim.sweep.pareto import front_of, hypervolume
from accsim.sweep.search import optimize
from accsim.sweep.search_result import SearchResult, growth, scale
from accsim.sweep.space import read_space
from accsim.sweep.studies import SAMPLERS
from accsim.sweep.weighted import weighted

SPACE = """
machines: [flat_edge, flat_cloud]
workloads: ["gemm?m=96&n=64&k=128", {workload: "gemm?m=33&n=40&k=64", weight: 2}]
axes:
  matrix_unit.rows: [8, 16, 32]
  memories.sg.capacity: [4 KiB, 128 KiB, 2 MiB]
  mapping.dataflow: [output_stationary, weight_stationary]
linked: {matrix_unit.cols: matrix_unit.rows}
constraints: ["memories.sg.capacity <= 1 MiB"]
"""
WriteSpace = Callable[..., Path]


def same(one: SearchResult, other: SearchResult) -> None:
    pd.testing.assert_frame_equal(one.trials, other.trials)
    for sampler in one.samplers:
        assert (one.hypervolumes[sampler] == other.hypervolumes[sampler]).all()


@pytest.mark.parametrize("sampler", ["nsga2", "nsga3", "tpe"])
def test_search_finds_the_front_of_a_whole_space(write_space: WriteSpace, sampler: str) -> None:
    space = read_space(write_space(SPACE))
    every = weighted(accsim.sweep(space))
    objectives = ["latency_s", "energy_j"]
    found = optimize(space, objectives, trials=100 if sampler != "tpe" else 60, sampler=sampler, baseline=False)
    best = front_of(every, objectives)[objectives].drop_duplicates()
    got = found.front[objectives].drop_duplicates()
    np.testing.assert_allclose(got.to_numpy(), best.to_numpy(), rtol=1e-12)


def test_numbers_are_weighted_sums_of_single_simulations(write_space: WriteSpace) -> None:
    found = optimize(write_space(SPACE), ["latency_s * energy_j"], trials=4, batch=2, baseline=False).trials
    row = found[found["feasible"]].iloc[0]
    size = int(row["matrix_unit.rows"])
    fields = {
        "matrix_unit.rows": size, "matrix_unit.cols": size, "memories.sg.capacity": f"{row['memories.sg.capacity']} B",
    }  # fmt: skip
    acc = accsim.load_accelerator(row["machine"], set=fields)
    dataflow = (
        accsim.OutputStationary() if row["mapping.dataflow"] == "output_stationary" else accsim.WeightStationary()
    )
    one, two = (
        accsim.simulate(accsim.load_workload(op), acc, dataflow=dataflow)
        for op in ("gemm?m=96&n=64&k=128", "gemm?m=33&n=40&k=64")
    )
    latency, energy = one.latency_s + 2 * two.latency_s, one.energy_j + 2 * two.energy_j
    assert row["latency_s"] == pytest.approx(latency, rel=1e-12)
    assert row["energy_j"] == pytest.approx(energy, rel=1e-12)
    assert row["power_w"] == pytest.approx(energy / latency, rel=1e-12)
    assert row["latency_s * energy_j"] == pytest.approx(latency * energy, rel=1e-12)


def test_designs_that_break_constraints_are_on_no_front(write_space: WriteSpace) -> None:
    found = optimize(write_space(SPACE), trials=40, batch=10)
    large = found.trials[found.trials["memories.sg.capacity"] == 2 << 20]
    assert len(large)
    assert set(large["error"]) == {"does not keep memories.sg.capacity <= 1 MiB"}
    assert large["violation"].to_numpy() == pytest.approx(2 * 0.5)  # half too much, with each of two workloads
    assert (found.trials[found.trials["feasible"]]["violation"] == 0).all()
    assert (found.front["memories.sg.capacity"] <= 1 << 20).all()


@pytest.mark.parametrize(
    ("text", "excess"),
    [
        ("x <= 8", 0.0),
        ("x <= 6", 0.25),
        ("x > 10", 0.2),
        ("x <= 6 and x <= 4", 0.5),
        ("x <= 6 or x <= 4", 0.25),
        ("x == 7", 1.0),
        ("not x > 0", 1.0),
        ("name in ['b', 'c']", 1.0),
        ("missing <= 1", 1.0),
        ("x < 0", 1.0),
        ("-x > 0", 1.0),
    ],
)
def test_excess_by_hand(text: str, excess: float) -> None:
    assert Expression.parse(text).excess({"x": 8.0, "name": "a", "missing": math.nan}) == excess


def test_hypervolume_grows_to_that_of_all_designs(write_space: WriteSpace) -> None:
    found = optimize(write_space(SPACE), ["latency_s", "energy_j", "matrix_unit.rows"], trials=20, batch=10)
    scaled = scale(found.trials[list(found.objectives)].to_numpy(float), found.trials["feasible"].to_numpy())
    for sampler in found.samplers:
        curve = found.hypervolumes[sampler]
        assert (np.diff(curve) >= 0).all()
        own = scaled[(found.trials["sampler"] == sampler).to_numpy()]
        assert curve[-1] == pytest.approx(hypervolume(own, np.ones(3)))


def test_scale_and_growth_by_hand() -> None:
    values = np.array([[1.0, -1.0], [10.0, 0.0], [100.0, 3.0], [5.0, -9.0]])
    scaled = scale(values, np.array([True, True, True, False]))
    assert scaled[:3] == pytest.approx(np.array([[0, 0], [0.5, 0.25], [1, 1]]))
    assert np.isinf(scaled[3]).all()
    assert growth(scaled[[3, 2, 1, 0]]) == pytest.approx([0, 0, 0.5 * 0.75, 1])


def test_same_search_whoever_runs_it(write_space: WriteSpace) -> None:
    space = read_space(write_space(SPACE))
    alone = optimize(space, trials=24, batch=8)
    same(alone, optimize(space, trials=24, batch=8, executor=Processes(2)))


@pytest.mark.slow
def test_same_search_on_a_dask_cluster(write_space: WriteSpace) -> None:
    from accsim.sweep.executors.dask_cluster import DaskCluster

    space = read_space(write_space(SPACE))
    alone = optimize(space, trials=24, batch=8)
    same(alone, optimize(space, trials=24, batch=8, executor=DaskCluster("local", workers=2)))


@dataclass
class Ends:
    """Runs some groups here, and then what ends this process."""

    groups: int
    end: Callable[[], Any]

    def run(self, work: Work, groups: Iterable[Group]) -> Iterator[Done]:
        source = iter(groups)
        for done in InProcess().run(work, islice(source, self.groups)):
            self.groups -= 1
            yield done
        if next(source, None) is not None:
            self.end()


def interrupted() -> None:
    raise KeyboardInterrupt


def forked(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments, kwargs=named)
    process.start()
    return process


@pytest.mark.parametrize("how", ["interrupt", "kill"])
def test_search_that_was_ended_goes_on_as_if_it_never_was(write_space: WriteSpace, tmp_path: Path, how: str) -> None:
    space = read_space(write_space(SPACE))
    whole = optimize(space, trials=20, batch=5)
    out = tmp_path / "out"
    for groups, resume in ((7, False), (3, True)):
        if how == "interrupt":
            with pytest.raises(KeyboardInterrupt):
                optimize(space, trials=20, batch=5, out=out, resume=resume, executor=Ends(groups, interrupted))
        else:
            ends = Ends(groups, lambda: os._exit(9))
            killed = forked(optimize, space, trials=20, batch=5, out=out, resume=resume, executor=ends)
            killed.join()
            assert killed.exitcode == 9
    same(whole, optimize(space, trials=20, batch=5, out=out, resume=True))
    assert json.loads((out / "manifest.json").read_text())["status"] == "complete"
    same(whole, optimize(space, trials=20, batch=5, out=out, resume=True))  # nothing is left to do


def test_several_processes_share_the_trials(write_space: WriteSpace, tmp_path: Path) -> None:
    space = read_space(write_space(SPACE))
    out = tmp_path / "out"
    optimize(space, trials=4, batch=4, out=out)
    workers = [forked(optimize, space, trials=40, batch=4, out=out, resume=True) for _ in range(3)]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    rows = pd.read_parquet(out / "trials.parquet")
    for sampler in ("nsga2", "random"):
        assert rows[rows["sampler"] == sampler]["trial"].tolist() == list(range(40))
    written = pd.read_csv(out / "front.csv")
    assert written[["latency_s", "energy_j"]].to_numpy() == pytest.approx(
        optimize(space, trials=40, batch=4, out=out, resume=True).front[["latency_s", "energy_j"]].to_numpy()
    )


def test_command_line_writes_a_folder_and_json(write_space: WriteSpace, tmp_path: Path) -> None:
    arguments = ["optimize", str(write_space(SPACE)), "--trials", "10", "--batch", "5", "--out", str(tmp_path / "out")]
    arguments += ["--objective", "latency_s", "--objective", "-matrix_utilization", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    plain = json.loads(result.stdout)
    assert plain["trials"] == {"nsga2": 10, "random": 10}
    assert plain["objectives"] == ["latency_s", "-matrix_utilization"]
    assert (tmp_path / "out" / "search.png").read_bytes().startswith(b"\x89PNG")
    shown = CliRunner().invoke(app, [*arguments[:-1], "--resume"])
    assert "Pareto front" in shown.stdout


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"objectives": ["latency"]}, r"'latency' is no number of a design.*Did you mean 'latency_s'"),
        ({"objectives": ["machine"]}, "'machine' is no number of a design"),
        ({"objectives": ["latency_s +"]}, "allowed is an expression"),
        ({"objectives": ["latency_s", "latency_s"]}, "is given twice"),
        ({"objectives": []}, "read 0 objectives, allowed are 1 to 4"),
        ({"objectives": ["latency_s / 0"]}, "'latency_s / 0' divides by zero"),
        ({"objectives": ["log2(latency_s, 3)"]}, "has 2 arguments, allowed is one"),
        ({"objectives": ["latency_s < 3"]}, "is true or false, allowed is a number"),
        ({"sampler": "nsga_2"}, r"unknown sampler 'nsga_2', allowed are nsga2.*Did you mean 'nsga2'"),
        ({"trials": 1}, "--trials: read 1, allowed is at least 2"),
        ({"batch": 0}, "--batch: read 0, allowed is at least 2"),
    ],
)
def test_bad_arguments_are_refused(write_space: WriteSpace, named: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        optimize(write_space(SPACE), **named)


def test_all_bad_arguments_are_told_at_once(write_space: WriteSpace) -> None:
    with pytest.raises(InputError) as caught:
        optimize(write_space(SPACE.replace("flat_cloud", "flat_clod")), ["latency_s"], sampler="nsga_2", trials=0)
    told = str(caught.value)
    assert all(part in told for part in ("--trials: read 0", "unknown sampler 'nsga_2'", "unknown machine 'flat_clod'"))


def test_an_objective_that_is_not_finite_is_no_result(write_space: WriteSpace) -> None:
    space = write_space(SPACE)
    found = optimize(space, ["latency_s / (matrix_unit.rows - 16)"], trials=30, batch=10, baseline=False).trials
    divided = (found["matrix_unit.rows"] == 16) & (found["memories.sg.capacity"] == 128 << 10)
    assert set(found[divided]["error"]) == {"latency_s / (matrix_unit.rows - 16) is not finite"}
    assert (found[divided]["violation"] == 1).all()
    assert found["feasible"].any()
    assert not (found["feasible"] & divided).any()


def test_missing_packages_are_named(write_space: WriteSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "gp" in SAMPLERS
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match="needs torch"):
        optimize(write_space(SPACE), sampler="gp")
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"needs the extra 'search': pip install 'accsim\[search\]'"):
        optimize(write_space(SPACE))


def test_space_of_one_design_is_refused(write_space: WriteSpace) -> None:
    path = write_space("machines: [flat_edge]\nworkloads: ['gemm?m=8&n=8&k=8']\naxes: {vector_unit.lanes: [8]}\n")
    with pytest.raises(InputError, match="has one design"):
        optimize(path)


def test_folders_of_others_are_left_alone(write_space: WriteSpace, tmp_path: Path) -> None:
    space, out = write_space(SPACE), tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds what no search wrote there \(mine.txt\)"):
        optimize(space, trials=4, batch=2, out=out)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    (out / "mine.txt").unlink()
    optimize(space, trials=4, batch=2, out=out, baseline=False)
    with pytest.raises(InputError, match="holds a search; add --resume"):
        optimize(space, trials=4, batch=2, out=out)
    with pytest.raises(InputError, match="differs in objectives, seed"):
        optimize(space, ["area_mm2"], trials=4, batch=2, seed=1, out=out, resume=True)


def test_journal_that_was_cut_or_damaged(write_space: WriteSpace, tmp_path: Path) -> None:
    space, out = read_space(write_space(SPACE)), tmp_path / "out"
    whole = optimize(space, trials=6, batch=3, out=out, baseline=False)
    journal = out / "journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-2]) + lines[-2][:20])
    same(whole, optimize(space, trials=6, batch=3, out=out, baseline=False, resume=True))
    journal.write_bytes(b"".join([*lines[:4], b"{damaged\n", *lines[4:]]))
    with pytest.raises(InputError, match=r"journal.log: cannot be read \(.*; name another folder"):
        optimize(space, trials=6, batch=3, out=out, baseline=False, resume=True)


def test_no_feasible_design_is_said(write_space: WriteSpace) -> None:
    path = write_space(SPACE.replace("<= 1 MiB", "<= 1 KiB"))
    found = optimize(path, trials=6, batch=3)
    assert found.front.empty
    assert all((curve == 0).all() for curve in found.hypervolumes.values())
    result = CliRunner().invoke(app, ["optimize", str(path), "--trials", "6", "--batch", "3"])
    assert "no design is feasible: does not keep memories.sg.capacity <= 1 KiB" in result.stdout

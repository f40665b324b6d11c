"""Effects of axes, Sobol indices and crossovers, against closed forms and every value tried."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import accsim
from accsim.errors import InputError
from accsim.sweep.analysis import marginal_effects
from accsim.sweep.crossover import Side, crossover
from accsim.sweep.designs import Design
from accsim.sweep.sensitivity import sensitivity, sobol_indices
from accsim.sweep.space import read_space

Floats = npt.NDArray[np.float64]
WriteSpace = Callable[..., Path]


def test_variance_shares_of_a_sum_add_up_to_one() -> None:
    """x is 0, 3 or 6 and y is 0 or 8: variances 6 and 16 of 22 in all."""
    rows = pd.DataFrame([{"a": a, "b": b, "x": 3.0 * a + 8.0 * b} for a, b in product(range(3), range(2))])
    found = marginal_effects(rows, ["a", "b"], "x")
    assert found.groupby("axis")["variance_share"].first().to_dict() == pytest.approx({"a": 6 / 22, "b": 16 / 22})
    second = found[(found["axis"] == "b") & (found["value"] == 1)].iloc[0]
    expected = {"points": 3, "feasible_fraction": 1, "least": 8, "median": 11, "mean": 11, "most": 14}
    assert {name: second[name] for name in expected} == expected


def test_what_acts_only_together_has_no_share_of_its_own() -> None:
    rows = pd.DataFrame([{"a": a, "b": b, "x": float(a * b)} for a, b in product((-1, 1), (-1, 1))])
    assert (marginal_effects(rows, ["a", "b"], "x")["variance_share"] == 0).all()


def test_infeasible_rows_are_counted_and_left_out() -> None:
    rows = pd.DataFrame({"a": [1, 1, 2, 2], "x": [4.0, math.nan, 6.0, 8.0], "feasible": [True, False, True, True]})
    found = marginal_effects(rows, ["a"], "x")
    assert found["feasible_fraction"].tolist() == [0.5, 1.0]
    assert found["mean"].tolist() == [4.0, 7.0]
    with pytest.raises(InputError, match=r"aa: no column, allowed are a, x, feasible. Did you mean 'a'"):
        marginal_effects(rows, ["aa"], "x")


def test_sobol_indices_of_ishigamis_function() -> None:
    """Closed form: Saltelli et al., *Global Sensitivity Analysis*, 2008, section 4.6, with a = 7 and b = 0.1."""

    def ishigami(unit: Floats) -> Floats:
        x = np.pi * (2 * unit - 1)
        found: Floats = np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])
        return found

    found = sobol_indices(["a", "b", "c"], ishigami, 4096, 0)
    assert found["first_order"].to_numpy() == pytest.approx([0.3139, 0.4424, 0.0], abs=0.02)
    assert found["total"].to_numpy() == pytest.approx([0.5576, 0.4424, 0.2437], abs=0.02)


SUM = """
machines: [flat_edge]
workloads: ["gemm?m=8&n=8&k=8"]
axes:
  vector_unit.lanes: [10, 20, 30, 40]
  memories.sg.capacity: [131072 B, 131088 B]
"""


def test_sensitivity_of_a_sum_of_axes(write_space: WriteSpace) -> None:
    """Variances of the axes: 125 of four values 10 apart, and 64 of two values 16 apart."""
    found = sensitivity(write_space(SUM), "vector_unit.lanes + memories.sg.capacity", samples=256)
    assert found.designs == 8
    shares = [125 / 189, 64 / 189]
    assert found.indices["axis"].tolist() == ["vector_unit.lanes", "memories.sg.capacity"]
    assert found.indices["first_order"].to_numpy() == pytest.approx(shares, abs=0.03)
    assert found.indices["total"].to_numpy() == pytest.approx(shares, abs=0.03)


def test_sensitivity_refuses_what_it_cannot_tell(write_space: WriteSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="read 100, allowed is a power of two"):
        sensitivity(write_space(SUM), samples=100)
    with pytest.raises(InputError, match=r"4 of 8 designs are not feasible, the first because: does not keep"):
        sensitivity(write_space(SUM + "constraints: ['vector_unit.lanes <= 20']"), samples=16)
    with pytest.raises(InputError, match="has 2 machines and 2 axes"):
        sensitivity(write_space(SUM.replace("[flat_edge]", "[flat_edge, flat_cloud]")), samples=16)
    monkeypatch.setitem(sys.modules, "SALib.analyze", None)
    with pytest.raises(InputError, match="needs the extra 'search'"):
        sensitivity(write_space(SUM), samples=16)


CROSSING = """
machines: [flat_edge, flat_cloud]
workloads: ["gemm?m=256&n=256&k=256"]
axes:
  clock: {loguniform: [100 MHz, 8 GHz]}
  mapping.dataflow: [output_stationary, weight_stationary]
sample: {method: random, count: 4}
"""


def test_crossover_of_an_interval_in_closed_form(write_space: WriteSpace) -> None:
    """The second wins where its own clock is less than that of the first, 1 GHz."""
    space = read_space(write_space(CROSSING))
    one, two = Design("flat_edge", {"clock": 1e9}), Design("flat_cloud", {"clock": 2e9})
    found = crossover(space, one, two, "clock", objective="clock", tolerance=1e-6)
    assert found.before
    assert found.after
    low, high = float(found.before.value), float(found.after.value)
    assert low < 1e9 <= high < low * (1 + 2e-6)
    assert found.before.second_wins
    assert not found.after.second_wins
    assert str(found).startswith("clock: the second stops to win by clock between")


def test_winner_that_never_changes_is_said(write_space: WriteSpace) -> None:
    space = read_space(write_space(CROSSING))
    found = crossover(space, Design("flat_edge", {}), Design("flat_cloud", {}), "clock", both=True)
    assert found.before is found.after is None
    assert all(side.second_wins for side in found.looked)
    assert str(found) == "clock: the second has the better latency_s everywhere from 100 MHz to 8 GHz"


def test_where_neither_wins_no_winner_is_named(write_space: WriteSpace) -> None:
    ends = Design("flat_edge", {}), Design("flat_cloud", {})
    never = read_space(write_space(CROSSING + 'constraints: ["latency_s < 1 ns"]\n'))
    assert str(crossover(never, *ends, "clock", both=True)) == (
        "clock: neither of the two is feasible anywhere from 100 MHz to 8 GHz"
    )
    alike = crossover(read_space(write_space(CROSSING)), ends[0], ends[0], "clock", both=True)
    assert str(alike) == "clock: both have the same latency_s everywhere from 100 MHz to 8 GHz"


LISTED = """
machines: [flat_edge]
workloads: ["gemm?m=200&n=200&k=200"]
axes:
  matrix_unit.rows: {range: [4, 64, 4]}
  vector_unit.lanes: [16, 32]
linked: {matrix_unit.cols: matrix_unit.rows}
"""


def test_crossover_of_a_list_is_that_of_every_value_tried(write_space: WriteSpace) -> None:
    space = read_space(write_space(LISTED))
    every = accsim.sweep(space).query("`vector_unit.lanes` == 16").set_index("matrix_unit.rows")["latency_s"]
    first = Design("flat_edge", {"matrix_unit.rows": 28})
    wins = every[every < every[28]]
    found = crossover(space, first, Design("flat_edge", {}), "matrix_unit.rows")
    assert found.before
    assert found.after
    assert found.after.value == wins.index.min()
    assert found.before.value == wins.index.min() - 4
    assert (found.after.first, found.after.second) == (every[28], every[wins.index.min()])


def test_bad_crossovers_are_refused(write_space: WriteSpace) -> None:
    space = read_space(write_space(CROSSING))
    edge = Design("flat_edge", {})
    with pytest.raises(InputError, match=r"mapping.dataflow: no axis of numbers of space, allowed are clock"):
        crossover(space, edge, edge, "mapping.dataflow")
    with pytest.raises(InputError, match=r"flat_edg: no machine of space.*Did you mean 'flat_edge'"):
        crossover(space, edge, Design("flat_edg", {}), "clock")
    with pytest.raises(InputError, match="clocks: no axis of space"):
        crossover(space, edge, Design("flat_edge", {"clocks": 1}), "clock")


@pytest.mark.parametrize(
    ("first", "second", "better"),
    [(1, 2, "A"), (2, 1, "B"), (1, 1, "both"), (np.inf, np.inf, "neither"), (np.inf, 1, "B")],
)
def test_which_side_is_better(first: float, second: float, better: str) -> None:
    assert Side(0, first, second).better == better

"""Space files: what they hold, how points are numbered and drawn, and what is refused, where."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import accsim
from accsim.config.data_files import data_folder, shipped_names
from accsim.errors import InputError
from accsim.sweep.axes import read_axis
from accsim.sweep.evaluate import evaluate
from accsim.sweep.expressions import Expression, ExpressionError
from accsim.sweep.space import FOLDER, read_space

WriteSpace = Callable[[str], Path]


def problems(path: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_space(path)
    return [f"{p.where.removeprefix(str(path))}: {p.path}: {p.message}" for p in caught.value.problems]


@pytest.mark.parametrize("name", shipped_names(FOLDER))
def test_shipped_spaces_are_read(name: str) -> None:
    space = read_space(name)
    assert space.size > 0
    assert (data_folder(FOLDER) / f"{name}.yaml").read_text().startswith("# ")
    assert pickle.loads(pickle.dumps(space)) == space


def test_points_are_the_product_with_the_last_axis_fastest(write_space: WriteSpace) -> None:
    space = read_space(
        write_space(
            'machines: [flat_edge, flat_cloud]\nworkloads: ["gemm?m=8&n=8&k=8", "gemm?m=9&n=8&k=8"]\n'
            "axes: {vector_unit.lanes: [16, 32, 64], memories.sg.capacity: [1 MiB, 2 MiB]}\n"
            "linked: {matrix_unit.cols: vector_unit.lanes // 2}\n"
        )
    )
    wanted = [
        (machine, work, {"vector_unit.lanes": lanes, "memories.sg.capacity": size, "matrix_unit.cols": lanes // 2})
        for machine, work, lanes, size in itertools.product(
            space.machines, [item.workload for item in space.workloads], [16, 32, 64], [2**20, 2**21]
        )
    ]
    assert [tuple(point) for point in space.points()] == wanted
    assert (space.size, space.designs) == (24, 12)


def test_scales_include_both_ends_and_keep_whole_numbers_whole() -> None:
    assert read_axis("a", {"range": [16, 64, 16]}).values == (16, 32, 48, 64)
    assert read_axis("a", {"range": [0.1, 0.3, 0.1]}).values == pytest.approx((0.1, 0.2, 0.3))
    assert read_axis("a", {"logspace": ["32 KiB", "64 MiB", 12]}).values == tuple(2**i for i in range(15, 27))
    assert read_axis("a", {"linspace": [1, 3, 3]}).values == (1, 2, 3)
    assert read_axis("a", {"linspace": ["1 GHz", "2 GHz", 3]}).values == (1e9, 1.5e9, 2e9)


@pytest.mark.parametrize("method", ["random", "latin", "sobol"])
def test_samples_are_even_repeat_with_their_seed_and_need_not_start_at_the_first(
    write_space: WriteSpace, method: str
) -> None:
    text = (
        'machines: [flat_edge]\nworkloads: ["gemm?m=8&n=8&k=8"]\n'
        "axes: {vector_unit.lanes: [1, 2, 3, 4], memories.sg.capacity: {loguniform: [1 MiB, 4 MiB]}}\n"
        f"sample: {{method: {method}, count: 8192, seed: %d}}\n"
    )
    space = read_space(write_space(text % 7))
    whole = space.columns(0, 8192)
    part = space.columns(4000, 5000)
    for key, column in whole.items():
        np.testing.assert_array_equal(column[4000:5000], part[key])
    counts = np.bincount(whole["vector_unit.lanes"])[1:]
    octaves = np.log2(whole["memories.sg.capacity"] / 2**20) / 2
    assert stats.kstest(octaves, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(whole["vector_unit.lanes"], octaves)[0, 1]) < 0.05
    if method == "random":
        assert stats.chisquare(counts).pvalue > 1e-3
    else:  # a stratified sample has each of four values a quarter of the time
        assert counts.tolist() == [2048] * 4
    other = read_space(write_space(text % 8)).columns(0, 8192)
    assert (other["memories.sg.capacity"] != whole["memories.sg.capacity"]).mean() > 0.9


def test_every_problem_is_told_at_its_place(write_space: WriteSpace) -> None:
    path = write_space(
        "machines: [flat_edge, flat_clod]\n"
        'workloads: [bert_bas, "gemm?m=8&n=8&k=8"]\n'
        "axes:\n"
        "  matrix_unit.rowz: [16]\n"
        "  vector_unit.lanes: [16, -3]\n"
        "  mapping.dataflow: [unfused, flt]\n"
        "  mapping.block_q: [16]\n"
        "linked: {matrix_unit.cols: matrix_unit.row}\n"
        "constraints: [foo < 3]\n"
    )
    found = problems(path)
    starts = [item.partition(": ")[0] for item in found]
    assert {":1:23", ":2:13", ":4:3", ":6:31", ":7:3", ":8:28"} <= set(starts)
    with pytest.raises(InputError, match="Did you mean 'flat_cloud'"):
        read_space(path)


@pytest.mark.parametrize(
    ("axis", "at", "told"),
    [
        ("vector_unit.lanes: []", "[]", "empty list"),
        ("vector_unit.lanes: [16, -3]", "-3", "-3"),
        ("vector_unit.lanes: [16, 16]", "16]", "twice"),
        ("vector_unit.lanes: 16", "16", "allowed is a list of values"),
        ("vector_unit.lanes: {rnge: [1, 2, 1]}", "rnge", "unknown kind of axis"),
        ("vector_unit.lanes: {range: [1, 2]}", "[1, 2]", "[from, to, step]"),
        ("vector_unit.lanes: {range: [2, 1, 1]}", "1, 1]", "more than 2"),
        ("memories.sg.capacity: {logspace: [32 KiB, 64, 3]}", "32 KiB", "of one kind"),
        ("memories.sg.capacity: {logspace: [0 B, 64 B, 3]}", "0 B", "above 0"),
        ("memories.sg.capacity: {uniform: [1 B, 64 B]}", "{uniform", "sample: random, latin or sobol"),
        ("memories.sg.capacity: [1 MHz]", "1 MHz", "MHz"),
        ("memories.sq.capacity: [1 MiB]", "memories", "no field 'memories.sq'"),
        ("mapping.rows: [3]", "mapping", "needs the dataflow"),
        ("workload.seq: [3]", "workload", "unknown key of gemm"),
    ],
)
def test_a_bad_axis_is_an_error_at_its_line(write_space: WriteSpace, axis: str, at: str, told: str) -> None:
    path = write_space(f'machines: [flat_edge]\nworkloads: ["gemm?m=8&n=8&k=8"]\naxes:\n  {axis}\n')
    (found,) = problems(path)
    assert found.startswith(f":4:{axis.index(at) + 3}: ")
    assert told in found


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("constraints: [import os]", "allowed is an expression"),
        ("constraints: ['__import__(1) < 2']", "unknown function"),
        ("constraints: [lanes <= 10]", "no column, axis or field"),
        ("linked: {matrix_unit.cols: vector_unit.lanes}", "no axis"),
        ("constraints: [machine < 3]", "read machine, which is a text; allowed is a number"),
        ("constraints: [\"'abc' < 3\"]", "read 'abc', which is a text"),
        ("constraints: [\"latency_s < 'x'\"]", "read 'x', which is a text"),
        ("constraints: [\"matrix_unit.rows < 'x'\"]", "read 'x', which is a text"),
        (
            "constraints: [\"matrix_unit.rows in [32, 'x']\"]",
            "beside 'x', which is a text; allowed are two of one type",
        ),
        ("constraints: [machine == 3]", "beside 3, which is a number"),
        ("constraints: [log2(machine) > 1]", "read machine, which is a text"),
        ("constraints: [bound_by + 1 > 3]", "read bound_by, which is a text"),
        ("constraints: [-feasible < 1]", "read feasible, which is true or false"),
        ("constraints: [not latency_s]", "allowed is true or false"),
        ("constraints: ['log2(1, 2) < 3']", "'log2(1, 2)' has 2 arguments, allowed is one"),
        ("constraints: ['abs(1, 2) < 3']", "has 2 arguments"),
        ("constraints: [latency_s / 0 < 1]", "divides by zero"),
        ("constraints: [latency_s < 99999999999999999999]", "read a number of 20 digits"),
        ("constraints: [latency_s]", "is a number, allowed is a limit, such as 'latency_s <= 1 ms'"),
        (
            "axes: {mapping.dataflow: [flat]}\nlinked: {cores: mapping.dataflow * 2}",
            "read mapping.dataflow, which is a text",
        ),
        ("axes: {vector_unit.lanes: [8]}\nlinked: {cores: vector_unit.lanes + 'x'}", "read 'x', which is a text"),
        ("axes: {cores: {range: [1, 5, 0]}}", "read 0, allowed is a step above 0"),
        ("sample: {method: random, count: 3}", "no axes to draw from"),
        ("sample: {method: randm, count: 3}", "allowed is 'grid', 'random', 'latin' or 'sobol'"),
        ("fidelity: cycle", "allowed is 'tile' or 'analytic'"),
    ],
)
def test_what_else_is_refused(write_space: WriteSpace, more: str, told: str) -> None:
    found = problems(write_space(f'machines: [flat_edge]\nworkloads: ["gemm?m=8&n=8&k=8"]\n{more}\n'))
    assert any(told in item for item in found), found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "machines: [flat_edge, flat_cloud, FLAT-edge]\nworkloads: [bert_base]",
            ":1:35: machines[2]: 'FLAT-edge' is listed",
        ),
        (
            'machines: [flat_edge]\nworkloads: ["gemm?m=8&n=9&k=8", {workload: "gemm?n=9&m=8&k=8", weight: 5}]',
            ":2:33: workloads[1]: 'gemm?n=9&m=8&k=8' is listed twice, first as 'gemm?m=8&n=9&k=8'",
        ),
        (
            "machines: [flat_edge]\nworkloads: [{workload: bert_base, weight: -1}]",
            ":2:43: workloads[0].weight: read -1, allowed is a number above 0",
        ),
        (
            "machines: [flat_edge]\nworkloads: [bert_base]\naxes: {vector_unit.lanes: {range: [1, 3000000, 1]}}",
            ":3:27: axes.vector_unit.lanes: read 1095238, allowed is a whole number from 1 to 1048576; "
            "40 more of 64 values that were tried are refused too",
        ),
    ],
)
def test_one_line_tells_it(write_space: WriteSpace, text: str, told: str) -> None:
    (found,) = problems(write_space(text + "\n"))
    assert found.startswith(told)


@pytest.mark.parametrize(
    ("linked", "wanted"),
    [
        ("matrix_unit.rows: '16'", [16, 16, 16]),
        ("mapping.stationary: \"'output_stationary'\"", ["output_stationary"] * 3),
        ("matrix_unit.rows: 32 // vector_unit.lanes", [32, 16, 10]),
    ],
)
def test_linked_fields_may_be_constants(write_space: WriteSpace, linked: str, wanted: list[int | str]) -> None:
    text = (
        'machines: [flat_edge]\nworkloads: ["attention?batch=1&heads=1&q_len=8&kv_len=8&head_dim=8"]\n'
        f"axes: {{vector_unit.lanes: [1, 2, 3], mapping.dataflow: [flash2]}}\nlinked: {{{linked}}}\n"
    )
    frame = accsim.sweep(write_space(text))
    assert frame[linked.partition(":")[0]].tolist() == wanted
    assert frame["feasible"].all()


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ("linked: {matrix_unit.cols: 20 + 8 // (vector_unit.lanes - 100)}", "read -1, allowed is a whole number"),
        ("constraints: ['8 // (vector_unit.lanes - 100) > -9']", "does not keep 8 // (vector_unit.lanes - 100) > -9"),
        ("constraints: ['8 % (vector_unit.lanes - 100) > -9']", "does not keep 8 % (vector_unit.lanes - 100) > -9"),
        ("constraints: ['8 / (vector_unit.lanes - 100) < 9']", "does not keep 8 / (vector_unit.lanes - 100) < 9"),
    ],
)
def test_a_division_by_zero_is_a_row_with_its_error(write_space: WriteSpace, more: str, error: str) -> None:
    """Lanes 100 are not among the 64 values that are tried when the file is read."""
    text = 'machines: [flat_edge]\nworkloads: ["gemm?m=8&n=8&k=8"]\naxes: {vector_unit.lanes: {range: [1, 200, 1]}}\n'
    space = read_space(write_space(text + more + "\n"))
    points = list(space.points(98, 101))
    rows = evaluate(space, points)
    assert rows["feasible"].tolist() == [True, False, True]
    assert error in rows["error"][1]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a.b <= 2 MiB", [True, True, False]),
        ("1 MiB < a.b <= 2 MiB", [False, True, False]),
        ("a.b / 1 MiB == 4 or not c > 1.5", [True, False, True]),
        ("name == 'x 2 MiB'", [False, True, False]),
        ("name in ['x', 'y']", [True, False, True]),
        ("max(a.b, 3 MiB) > 3 MiB and abs(-c) >= 3", [False, False, True]),
        ("c ** 2 - 3 * c + 2 == 0", [True, True, False]),
        ("log2(a.b) == 20", [True, False, False]),
    ],
)
def test_expressions(text: str, wanted: list[bool]) -> None:
    columns = {"a.b": 2**20 * np.array([1, 2, 4]), "c": np.array([1.0, 2.0, 3.0])}
    names = np.array(["x", "x 2 MiB", "y"], object)
    assert Expression.parse(text).kept({**columns, "name": names}, 3).tolist() == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a +",
        "a.b()",
        "a[0] < 1",
        "lambda: 1",
        "(x for x in y)",
        "f'{a}'",
        "a is b",
        "a in b",
        "a if b else c",
        "x" * 501,
    ],
)
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(ExpressionError):
        Expression.parse(text)


def test_constraints_read_axes_fields_of_the_machine_and_results_together(write_space: WriteSpace) -> None:
    text = (
        'machines: [flat_edge]\nworkloads: ["gemm?m=64&n=64&k=64"]\n'
        "axes: {vector_unit.lanes: [8, 16, 32], clock: [470 MHz, 940 MHz]}\n"
        "constraints: ['vector_unit.lanes * matrix_unit.rows <= 512', 'total_cycles / clock <= 1 us',\n"
        "  'energy_j / cores > 0', \"bound_by != 'dram/nothing' and memories.sg.capacity == 512 KiB\"]\n"
    )
    frame = accsim.sweep(write_space(text))
    assert frame["error"][4:].tolist() == ["does not keep vector_unit.lanes * matrix_unit.rows <= 512"] * 2
    assert frame["latency_s"][4:].isna().all()  # not run
    slow = frame["total_cycles"][:4] / frame["clock"][:4] > 1e-6
    assert slow.any()
    assert frame["latency_s"][:4].notna().all()  # run, and kept though the constraint is not
    assert (frame["error"][:4][slow] == "does not keep total_cycles / clock <= 1 us").all()
    assert frame["feasible"][:4].tolist() == (~slow).tolist()

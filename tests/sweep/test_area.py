"""The area of each point of a space: that of its machine, in constraints, objectives and fronts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import accsim
from accsim.config.data_files import data_folder
from accsim.config.yaml_marks import parse_yaml
from accsim.errors import InputError
from accsim.sweep.kinds.chip_work import runs_in_blocks
from accsim.sweep.pareto import front_of
from accsim.sweep.search import optimize
from accsim.sweep.space import FOLDER, read_space

WriteSpace = Callable[[str], Path]

CONTRACT = """
machines: [flat_edge, flat_cloud]
workloads: [{workload: "bert_base?seq=4096&batch=64", weight: 1}]
axes:
  matrix_unit.rows: [16, 32, 64]
  memories.sg.capacity: {logspace: [32 KiB, 64 MiB, 12]}
  mapping.dataflow: [unfused, flat, flash2]
linked: {matrix_unit.cols: matrix_unit.rows}
constraints: ["area_mm2 <= 10"]
sample: grid
"""
"""The contract: this space runs as it is."""

SMALL = CONTRACT.replace("bert_base?seq=4096&batch=64", "gemm?m=32&n=32&k=32").replace(
    "[unfused, flat, flash2]", "[output_stationary]"
)


def test_the_space_that_ships_is_that_of_the_contract() -> None:
    text = (data_folder(FOLDER) / "flat_edge_cloud.yaml").read_text()
    assert parse_yaml(text, "shipped").data == parse_yaml(CONTRACT, "contract").data


def test_points_above_the_area_are_not_run(write_space: WriteSpace) -> None:
    """10 mm2 at 45 nm hold 16 x 16 PEs with 1 MiB, or 32 x 32 with 512 KiB; with 256 lanes only 16 x 16."""
    rows = accsim.sweep(write_space(SMALL))
    kept = rows[rows.feasible]
    most = kept.groupby(["machine", "matrix_unit.rows"], observed=True)["memories.sg.capacity"].max().to_dict()
    assert most == {("flat_edge", 16): 2**20, ("flat_edge", 32): 2**19, ("flat_cloud", 16): 2**19}
    assert (rows.feasible == (rows.area_mm2 <= 10)).all()
    assert rows.loc[~rows.feasible, "latency_s"].isna().all()
    assert set(rows.loc[~rows.feasible, "error"]) == {"does not keep area_mm2 <= 10"}


@pytest.mark.parametrize(
    "more",
    [
        "mapping.dataflow: [output_stationary]",
        "mapping.dataflow: [output_stationary]\n  mapping.order: [mn]\n  mapping.resident: [true]\n"
        "  mapping.tile_m: [8, 16]\n  mapping.tile_n: [8, 16]\n  mapping.tile_k: [32]",
    ],
    ids=["searched", "in blocks"],
)
def test_each_point_has_the_area_of_its_machine(write_space: WriteSpace, more: str) -> None:
    space = read_space(
        write_space(f"""
machines: [flat_edge, flat_cloud]
workloads: ["gemm?m=32&n=32&k=32"]
axes:
  matrix_unit.rows: [8, 16]
  memories.sg.capacity: [128 KiB, 256 KiB]
  clock: [500 MHz, 1 GHz]
  {more}
""")
    )
    assert runs_in_blocks(space) == ("tile_m" in more)
    for _, row in accsim.sweep(space).iterrows():
        sizes = {
            "matrix_unit.rows": row["matrix_unit.rows"],
            "memories.sg.capacity": f"{row['memories.sg.capacity']} B",
        }
        assert row.area_mm2 == accsim.load_accelerator(row.machine, set=sizes).area_mm2


def test_area_is_an_objective_and_makes_fronts(write_space: WriteSpace) -> None:
    path = write_space(SMALL)
    every = accsim.sweep(path)
    objectives = ["latency_s", "area_mm2"]
    front = front_of(every, objectives)
    assert (np.diff(front.sort_values("area_mm2").latency_s) < 0).all()
    found = optimize(path, objectives, trials=60, batch=20, seed=1)
    assert set(found.front.area_mm2) <= set(every.area_mm2)
    assert (found.trials.area_mm2 > 0).all()
    assert (found.trials[found.trials.area_mm2 > 10].violation > 0).all()


ROWS = "axes: {matrix_unit.rows: [64, 128]}"
UNKNOWN = [
    ("tpu_v5e", "axes: {clock: [1 GHz]}", "the area of tpu_v5e is not known: add the axis area_table"),
    ("tpu_v4", ROWS, "the area of tpu_v4 is not known where 'matrix_unit.rows' changes (an 'area' in its file is that"),
    ("tpu_v4", "axes: {memories.vmem.capacity: [8 MiB]}", "where 'memories.vmem.capacity' changes"),
]
MODELLED = [
    accsim.load_accelerator("tpu_v4", set={"matrix_unit.rows": rows, "area_table": "stillmaker_7nm"}).area_mm2
    for rows in (64, 128)
]
KNOWN = [
    ("tpu_v4", "axes: {clock: [1 GHz, 1.1 GHz]}", [600, 600]),
    ("tpu_v4", "axes: {matrix_unit.rows: [64, 128], area_table: [stillmaker_7nm]}", MODELLED),
    ("tpu_v4", f"{ROWS}\nlinked: {{area: 500 mm2 + matrix_unit.rows}}", [564, 628]),
    ("tpu_v4", "axes: {memories.vmem.capacity: [8 MiB]}\nlinked: {area: memories.vmem.capacity / 1 MiB}", [8]),
]


def lines(machine: str, more: str) -> str:
    return f'machines: [{machine}]\nworkloads: ["gemm?m=8&n=8&k=8"]\n{more}\n'


@pytest.mark.parametrize(("machine", "more", "told"), UNKNOWN)
def test_an_area_that_is_not_known_is_an_error(write_space: WriteSpace, machine: str, more: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        read_space(write_space(lines(machine, more) + "constraints: [area_mm2 <= 700]\n"))
    (problem,) = caught.value.problems
    assert problem.path == "constraints[0]"
    assert told in problem.message
    path = write_space(lines(machine, more))
    with pytest.raises(InputError) as caught:
        optimize(path, ["latency_s", "area_mm2"], trials=4, batch=2)
    assert told in str(caught.value)
    assert accsim.sweep(path).area_mm2.isna().all()


@pytest.mark.parametrize(("machine", "more", "areas"), KNOWN)
def test_an_area_that_is_known_can_be_limited(
    write_space: WriteSpace, machine: str, more: str, areas: list[float]
) -> None:
    rows = accsim.sweep(write_space(lines(machine, more) + "constraints: [area_mm2 <= 630]\n"))
    assert rows.feasible.all()
    assert list(rows.area_mm2) == pytest.approx(areas)

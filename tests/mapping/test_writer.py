"""Programs written with the machine's helpers: equal to those of the compiled dataflows, and short."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import accsim
from accsim.engine.counters import Counters
from accsim.engine.program import END, START, After, Hold, Stage
from accsim.engine.run import run_program
from accsim.errors import InputError, MappingError
from accsim.mapping.base import Step
from accsim.workload.ops import Elementwise, Gemm

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own_dataflow.md"
MACHINES = accsim.list_accelerators()


def same_run(written: Step, shipped: Step) -> Counters:
    """Both programs take the same ticks for the same reasons and count the same, on as many cores."""
    one, other = run_program(written.program), run_program(shipped.program)
    assert one.total_ticks == other.total_ticks
    assert {name: ticks for name, ticks in one.busy.items() if ticks} == {n: t for n, t in other.busy.items() if t}
    assert one.critical_path == other.critical_path
    counted = {action: count for action, count in other.actions.items() if count}
    assert {action: count for action, count in one.actions.items() if count} == pytest.approx(counted, rel=1e-12)
    assert (written.copies, written.useful) == (shipped.copies, shipped.useful)
    return one


@pytest.mark.parametrize("layout", ["skewed", "linear"])
@pytest.mark.parametrize("name", MACHINES)
def test_a_gemm_is_that_of_the_shipped_dataflow(name: str, layout: str) -> None:
    # One product a core, one tile of C, four of k; systolic arrays keep the sums of earlier tiles in the local memory.
    local = f"memories.{accsim.load_accelerator(name).memories[0].name}"
    acc = accsim.load_accelerator(name, set={f"{local}.banks": "64", f"{local}.layout": layout})
    op = Gemm(64, 48, 512, batch=acc.cores, weights=False)
    systolic = acc.matrix_unit.kind == "systolic"
    form = getattr(acc.matrix_unit, "dataflow", "output_stationary")
    whole: Any = {"weight_stationary": accsim.WeightStationary, "output_stationary": accsim.OutputStationary}[form]
    (shipped,) = whole(64, 48, 128, "mn", False, 1, 1).steps(op, acc)

    p = accsim.TileProgram("by hand", acc, "bf16", copies=acc.cores)
    p.level("k", 4)
    p.buffer("a", 2, p.bytes_of(64 * 128))
    p.buffer("b", 2, p.bytes_of(128 * 48))
    p.buffer("c", 2, 64 * 48 * (4 if systolic else 2))
    p.load("load_a", "a")
    p.load("load_b", "b")
    sums = {"read": 64 * 48 * 4 * 3 / 4, "write": 64 * 48 * 4} if systolic else {"write": 64 * 48 * 2 / 4}
    p.matmul("matmul", 64, 48, 128, fills=Hold("c", first=("k",)), empties=("a", "b"), **sums)
    p.store("store_c", "c", 64 * 48 * 2, spans={"k": END})
    same_run(p.step(), shipped)


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("function", ["add", "gelu"])
def test_vector_work_is_that_of_the_shipped_dataflow(name: str, function: str) -> None:
    acc = accsim.load_accelerator(name)
    op = Elementwise(elements=4 * 1024 * acc.cores, function=function)
    (shipped,) = accsim.Streamed(1024).steps(op, acc)
    share = 1024 / op.elements
    read, write = op.input_bytes * share, op.output_bytes * share

    p = accsim.TileProgram("by hand", acc, "bf16", copies=acc.cores)
    p.level("chunk", 4)
    p.buffer("in", 2, int(read))
    p.buffer("out", 2, int(write))
    p.load("load", "in")
    counts = {operation: count * share for operation, count in op.vector_ops.items()}
    p.vector("work", counts, read=read, write=write, fills="out", empties="in")
    p.store("store", "out")
    same_run(p.step(), shipped)


def example() -> tuple[str, Any]:
    """The text of the page's dataflow, and its class."""
    text = re.search(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert text is not None
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(text[1], str(PAGE), "exec", dont_inherit=True), names)
    return text[1], names["PinnedB"]


def test_the_example_is_short_and_as_fast_as_the_shipped_mapping_that_keeps_b() -> None:
    text, pinned = example()
    assert len(text.splitlines()) <= 30
    op, acc = Gemm(4096, 1024, 1024), accsim.load_accelerator("flat_cloud")
    (shipped,) = accsim.OutputStationary(256, 1024, 1024, "nm", True, 1, 1).steps(op, acc)
    (step,) = pinned(256).steps(op, acc)
    assert run_program(step.program).total_ticks == run_program(shipped.program).total_ticks


def tile_program(slots: int = 2, **store: Any) -> accsim.TileProgram:
    p = accsim.TileProgram("small", accsim.load_accelerator("flat_edge"), "bf16")
    p.level("i", 3)
    p.buffer("in", 2, 1000)
    p.buffer("out", slots, 500)
    p.load("load", "in")
    p.matmul("work", 8, 8, 8, fills="out", empties="in")
    p.store("store", "out", **store)
    return p


def test_defaults() -> None:
    program = tile_program().step().program
    stages = {stage.name: stage for stage in program.stages}
    assert [(s.shift, [a.stage for a in s.after]) for s in stages.values()] == [(0, []), (0, ["load"]), (1, ["work"])]
    assert stages["load"].actions == {"read.dram": 1000, "write.sg": 1000}
    assert stages["store"].actions == {"write.dram": 500, "read.sg": 500}
    assert {buffer.memory for buffer in program.buffers} == {"sg"}
    assert program.capacities == {"sg": 512 * 1024}


def test_what_is_given_is_taken() -> None:
    assert tile_program(slots=1).step().program.stage("store").shift == 0
    given = tile_program(size=20, shift=0, after=["load", After("work")]).step(useful=0.5)
    store = given.program.stage("store")
    assert (store.shift, [a.stage for a in store.after], store.actions["write.dram"]) == (0, ["load", "work"], 20)
    assert given.useful == 0.5
    p = tile_program()
    p.stage(Stage("other", "vector", 7, (("dram", 9), ("link", 3)), spans={"i": END}))
    names = [resource.name for resource in p.step().program.resources]
    assert names == ["dma", "dram", "sg_write", "matrix", "sg_read", "vector", "link"]


def test_a_shift_of_a_named_level_is_left_to_the_builder() -> None:
    p = accsim.TileProgram("named", accsim.load_accelerator("flat_edge"), "bf16")
    p.level("row", 3)
    p.level("i", 2)
    p.buffer("in", 3, 8)
    p.buffer("out", 2, 8)
    p.load("load", "in", spans={"i": START}, shift=1, shift_level="row")
    p.matmul("work", 4, 4, 4, empties="in", fills="out", spans={"i": START}, shift=1, shift_level="row")
    p.store("store", "out", spans={"i": START})
    store = p.step().program.stage("store")
    assert (store.shift, store.shift_level) == (1, "row")


def test_bytes_of_elements_are_whole() -> None:
    acc = accsim.load_accelerator("h100_sxm")
    assert accsim.TileProgram("x", acc, "bf16").bytes_of(3) == 6
    assert accsim.TileProgram("x", acc, "fp8").bytes_of(2.5) == 3


def test_bad_names_and_sizes() -> None:
    acc = accsim.load_accelerator("h100_sxm")
    with pytest.raises(InputError, match="does not support int4"):
        accsim.TileProgram("x", acc, "int4")
    p = accsim.TileProgram("x", acc, "bf16")
    with pytest.raises(InputError, match=r"unknown form 'weight_stationry', .* Did you mean 'weight_stationary'\?"):
        p.matmul("m", 1, 1, 1, form="weight_stationry")
    with pytest.raises(InputError, match=r"unknown vector operation 'exq', .* Did you mean 'exp'\?"):
        p.vector("v", {"exq": 1})
    p.buffer("sums", 1, 256 * 1024 + 1, "matrix_unit.registers")
    p.matmul("m", 1, 1, 1, fills="sums")
    with pytest.raises(MappingError, match=r"needs 262145 B in matrix_unit.registers, has 262144 B"):
        p.step()

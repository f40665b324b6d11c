"""Convolutions as products: what is loaded, by counting pixels one by one; what they share with GEMMs."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim.engine.run import run_program
from accsim.mapping.conv import feature_map, operand_elements
from accsim.mapping.gemm import default_form
from accsim.workload.ops import Conv2d, Gemm

ROOM = {"memories.sg.capacity": "64 MiB"}
MACHINES = accsim.list_accelerators()


def patch(op: Conv2d, first: int, rows: int, channels: int) -> int:
    """Elements of the feature map between the outermost pixels under some rows of A, whole lines of each image."""
    found = 0
    lines: dict[int, set[int]] = {}
    cols: set[int] = set()
    for row in range(first, first + rows):
        image, place = divmod(row, op.out_h * op.out_w)
        i, j = divmod(place, op.out_w)
        for tap in range(op.span_h):
            at = i * op.stride + tap - op.padding
            lines.setdefault(image, set()).update({at} if 0 <= at < op.height else ())
        for tap in range(op.span_w):
            at = j * op.stride + tap - op.padding_w
            cols.update({at} if 0 <= at < op.width else ())
    for image in lines:
        high = max(lines[image]) - min(lines[image]) + 1
        found += high * (max(cols) - min(cols) + 1) * channels
    return found


SQUARE = Conv2d(4, 8, 12, 3, stride=1, batch=2)
SHAPES = [
    SQUARE,
    Conv2d(4, 8, 11, 3, 9, stride=2, batch=2),
    Conv2d(4, 8, 12, 1, 10, 3),
    Conv2d(4, 8, 12, 3, dilation=2),
    Conv2d(6, 6, 12, 3, groups=6),
]


@pytest.mark.parametrize("op", SHAPES, ids=repr)
def test_a_tile_of_whole_lines_is_loaded_from_its_patch(op: Conv2d) -> None:
    # Without padding every patch of so many lines is alike, and so is every channel.
    source = feature_map(op)
    for lines in range(1, op.out_h + 1):
        rows = lines * op.out_w
        for channels in (1, 2):
            assert operand_elements(source, rows, channels * op.taps) == patch(op, 0, rows, channels)
    image = op.out_h * op.out_w
    if op.batch == 2:
        assert operand_elements(source, 2 * image, op.taps) == patch(op, 0, 2 * image, 1)
        assert operand_elements(source, image + op.out_w, op.taps) == patch(op, 0, image + op.out_w, 1)


def test_a_tile_within_a_line_is_loaded_from_its_columns() -> None:
    for rows in range(1, SQUARE.out_w):
        assert operand_elements(feature_map(SQUARE), rows, 9) == min(patch(SQUARE, 0, rows, 1), 9 * rows)


def test_no_more_is_loaded_than_a_has_elements() -> None:
    strided = Conv2d(8, 4, 12, 1, stride=2)
    assert operand_elements(feature_map(strided), strided.rows, strided.k) == strided.rows * 8
    assert operand_elements(feature_map(Gemm(3, 4, 5)), 3, 5) == 15


@pytest.mark.parametrize("op", SHAPES, ids=repr)
@pytest.mark.parametrize(("order", "resident"), list(product(("mn", "nm"), (False, True))))
def test_traffic_of_main_memory_is_of_patches(op: Conv2d, order: str, resident: bool) -> None:
    # Tiles of three lines and one channel: A once for every tile of columns unless it is the one that stays.
    lines = 3
    shape = (lines * op.out_w, 3, op.taps)
    mapping = accsim.OutputStationary(*shape, order, resident, 1, 1)
    acc = accsim.load_accelerator("flat_edge", set=ROOM)
    (step,) = mapping.steps(op, acc)
    done = run_program(step.program, attribution=False)
    source = feature_map(op)
    starts = range(0, op.rows, shape[0])
    a_once = sum(operand_elements(source, min(shape[0], op.rows - at), op.taps) for at in starts) * op.in_channels
    row_tiles, col_tiles = len(starts), -(-op.n // shape[1])
    a_times = 1 if resident and order == "mn" else col_tiles
    b_times = 1 if resident and order == "nm" else row_tiles
    assert done.actions["read.dram"] == 2 * a_once * a_times + b_times * op.weight_bytes
    assert done.actions["write.dram"] == op.output_bytes
    assert done.actions["mac.bf16"] == op.macs


@pytest.mark.parametrize("machine", MACHINES)
def test_one_by_one_filters_make_a_gemm(machine: str) -> None:
    conv = Conv2d(96, 72, 14, 1, batch=3)
    gemm = Gemm(3 * 14 * 14, 72, 96)
    acc = accsim.load_accelerator(machine)
    reports = [accsim.simulate(op, acc, dataflow=default_form(acc)) for op in (conv, gemm)]
    assert reports[0].total_cycles == reports[1].total_cycles
    assert reports[0].traffic_bytes == reports[1].traffic_bytes
    assert reports[0].ops[0].mapping == reports[1].ops[0].mapping


@pytest.mark.parametrize("machine", MACHINES)
def test_groups_are_a_batch_of_products(machine: str) -> None:
    conv = Conv2d(32, 64, 14, 1, groups=4)
    batch = Gemm(14 * 14, 16, 8, batch=4, weights=False)
    acc = accsim.load_accelerator(machine)
    one, other = (accsim.simulate(op, acc, dataflow=default_form(acc)) for op in (conv, batch))
    assert one.total_cycles == other.total_cycles


def test_the_array_works_as_on_the_im2col_matrix_and_memory_reads_the_map() -> None:
    conv = Conv2d(64, 64, 28, 3, padding=1)
    im2col = Gemm(conv.rows, conv.n, conv.k)
    mapping = accsim.OutputStationary(conv.rows, conv.n, conv.k, "mn", False, 1, 1)
    acc = accsim.load_accelerator("flat_edge", set=ROOM)
    direct, made = (run_program(mapping.steps(op, acc)[0].program) for op in (conv, im2col))
    assert direct.busy["matrix"] == made.busy["matrix"]
    assert direct.actions["read.sg"] == made.actions["read.sg"]
    assert direct.actions["read.dram"] == conv.input_bytes + conv.weight_bytes
    assert made.actions["read.dram"] == 9 * conv.input_bytes + conv.weight_bytes


@st.composite
def convolutions(draw: st.DrawFn) -> Conv2d:
    kernel = draw(st.integers(1, 4))
    groups = draw(st.sampled_from((1, 2, 4)))
    return Conv2d(
        groups * draw(st.integers(1, 40)),
        groups * draw(st.integers(1, 40)),
        draw(st.integers(4, 20)),
        kernel,
        draw(st.integers(4, 20)),
        batch=draw(st.integers(1, 3)),
        stride=draw(st.integers(1, 4)),
        padding=draw(st.integers(0, kernel - 1)),
        groups=groups,
    )


@given(op=convolutions(), machine=st.sampled_from(MACHINES))
@settings(max_examples=40)
def test_every_tensor_moves_at_least_once(op: Conv2d, machine: str) -> None:
    acc = accsim.load_accelerator(machine)
    rep = accsim.simulate(op, acc, dataflow=default_form(acc))
    main = rep.traffic_bytes[rep.accelerator.main_memory.name]
    assert rep.actions["mac.bf16"] == pytest.approx(op.macs)
    assert main["write"] == pytest.approx(op.output_bytes)
    assert main["read"] >= (op.input_bytes + op.weight_bytes) * (1 - 1e-9)
    # Never more time than with the matrix stored, whose every tile is at least as large.
    stored = Gemm(op.rows, op.n, op.k, batch=op.groups, weights=False)
    assert rep.total_cycles <= accsim.simulate(stored, acc, dataflow=default_form(acc)).total_cycles * (1 + 1e-5)


def test_fidelity_cycle_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(accsim.InputError, match="emulates GEMMs, not the conv2d 'conv2d'; allowed for it is tile"):
        accsim.simulate(replace(SQUARE, batch=1), "systolic_128", fidelity="cycle")

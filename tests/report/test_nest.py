"""The printed nest says what the engine does: read back, its loops give the engine's own order of firings."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import accsim
from accsim.engine.program import TICKS_PER_CYCLE, After, Hold, Program, Span, Stage, vary
from accsim.engine.run import run_program
from accsim.report.nest import print_op, print_program
from tests.report.shipped import KINDS

STAGE = re.compile(r"^( *)(s\d+) +u\d+ +\d+(?:  at ([^;]*))?")
LOOP = re.compile(r"^( *)for (\w+) in \[(\d+):(\d+)\)$")


def firings(text: str, trips: dict[str, int]) -> list[str]:
    """Play a printed nest of stages without shifts: names of stages in the order in which they fire."""
    lines = [line for line in text.splitlines() if STAGE.match(line) or LOOP.match(line)]
    return list(play(lines, trips, {}))


def play(lines: list[str], trips: dict[str, int], index: dict[str, int]) -> Iterator[str]:
    """Play lines of one indent and what lies below them."""
    while lines:
        head, *lines = lines
        loop, stage = LOOP.match(head), STAGE.match(head)
        depth = len(head) - len(head.lstrip())
        below = next((i for i, line in enumerate(lines) if len(line) - len(line.lstrip()) <= depth), len(lines))
        inside, lines = lines[:below], lines[below:]
        if loop:
            for i in range(int(loop[3]), int(loop[4])):
                yield from play(inside, trips, {**index, loop[2]: i})
        elif stage and fires(stage[3] or "", trips, index):
            yield stage[2]


def fires(when: str, trips: dict[str, int], index: dict[str, int]) -> bool:
    """Whether all the conditions on loops around a stage hold; one on another level says at which step it fires."""
    for level, condition in re.findall(r"(\w+) (first|last|\d+|in \[\d+:\d+\))", when):
        if level not in index:
            continue
        if condition.startswith("in"):
            lo, hi = map(int, re.findall(r"\d+", condition))
        else:
            lo = {"first": 0, "last": trips[level] - 1}.get(condition, int(condition) if condition.isdigit() else 0)
            hi = lo + 1
        if not lo <= index[level] < hi:
            return False
    return True


@st.composite
def nests(draw: st.DrawFn) -> tuple[Program, dict[str, int]]:
    """Draw programs of stages on their own units, without dependences, that fire in any ranges."""
    trips = {f"l{i}": draw(st.integers(1, 4)) for i in range(draw(st.integers(1, 4)))}
    builder = accsim.ProgramBuilder("drawn")
    for name, count in trips.items():
        builder.level(name, count)
    for s in range(draw(st.integers(1, 6))):
        spans = {}
        for name, count in trips.items():
            lo = draw(st.integers(0, count - 1))
            hi = draw(st.integers(lo + 1, count))
            chosen = [Span(), Span(lo, hi), Span(lo, hi), Span(0, 1), Span(-1, None)]
            spans[name] = draw(st.sampled_from(chosen))
        builder.resource(f"u{s}")
        builder.stage(Stage(f"s{s}", f"u{s}", TICKS_PER_CYCLE, spans=spans))
    return builder.build(), trips


@settings(max_examples=200)
@given(nests())
def test_printed_order_is_the_engines(drawn: tuple[Program, dict[str, int]]) -> None:
    program, trips = drawn
    played = [event.stage for event in run_program(program, most_events=10_000).events]
    assert firings(print_program(program), trips) == played


FLAT = """\
attention (x 2): batch 1, heads 2, q_len 512, kv_len 512, head_dim 64, kv_heads 2, bf16
mapping: Flat rows 256, block_kv 128, qkvo, OS
"""


def flat_row() -> accsim.Report:
    op = accsim.Attention(batch=1, heads=2, q_len=512, kv_len=512, head_dim=64)
    mapping = accsim.Flat(rows=256, block_kv=128, staged="qkvo", pipelined=False, stationary="output_stationary")
    entry = accsim.load_workload(op).entries[0]
    workload = accsim.Workload("twice", (type(entry)(op, repeat=2),))
    return accsim.simulate(workload, "flat_cloud", dataflow=mapping)


def test_flat_is_two_loops_with_the_softmax_between() -> None:
    report = flat_row()
    text = print_op(report.ops[0])
    assert text.startswith(FLAT)
    order = re.findall(r"^ *(for \w+ in \[\d+:\d+\)|load_\w|logit|softmax|attend|store_o)", text, re.MULTILINE)
    assert order == [
        "for head in [0:2)",
        "for row in [0:2)",
        "load_q",
        "for key in [0:4)",
        "load_k",
        "logit",
        "softmax",
        "for key in [4:8)",
        "load_v",
        "attend",
        "store_o",
    ]
    assert report.program == text


def test_numbers_of_flat() -> None:
    lines = print_op(flat_row().ops[0]).splitlines()
    softmax = next(line for line in lines if line.strip().startswith("softmax"))
    # 256 x 512 scores, 4 vector operations each of one cycle, 256 lanes
    assert re.search(r"softmax +vector +2,048  at key 3;", softmax)
    assert "  buffer scores  1 slot x 256 KiB in sg" in lines  # 256 x 512 scores of 2 bytes
    assert "  buffer q       2 slots x 32 KiB in sg" in lines  # 256 x 64 of 2 bytes
    assert all(len(line) <= 100 for line in lines)


def two_stages(slots: int = 2) -> accsim.ProgramBuilder:
    builder = accsim.ProgramBuilder("two")
    builder.level("outer", 3, runs=[2, 1])
    builder.level("inner", 10)
    builder.resource("dma")
    builder.resource("port")
    builder.resource("mxu")
    builder.memory("sram", 4096)
    builder.buffer("tile", slots, 1024, "sram")
    return builder


def test_every_part_of_a_stage_is_told() -> None:
    builder = two_stages()
    cycle = TICKS_PER_CYCLE
    ticks = vary("outer", [100 * cycle, 40 * cycle])
    builder.stage(Stage("load", "dma", 0, (("port", ticks),), latency=7 * cycle, acquires=(Hold("tile"),)))
    builder.stage(Stage("work", "mxu", 64 * cycle, after=(After("load"),), releases=(Hold("tile"),)))
    assert print_program(builder.build(), copies=3.5).splitlines() == [
        "two",
        "  buffer tile  2 slots x 1 KiB in sram",
        "  memory sram: 2 KiB of 4 KiB used",
        "for core in [0:4)  (spatial, the work of 3.5 full ones)",
        "  for outer in [0:3)",
        "    for inner in [0:10)",
        "      load  dma  40..100  port 40..100; latency 7; takes tile",
        "      work  mxu       64  1 inner iteration behind; after load @inner; gives back tile",
    ]


def test_classes_that_never_occur_do_not_count() -> None:
    builder = accsim.ProgramBuilder("ragged")
    builder.level("m", 2, runs=[2, 1])
    builder.resource("mxu")
    builder.stage(Stage("work", "mxu", vary("m", [8 * TICKS_PER_CYCLE, 3 * TICKS_PER_CYCLE])))
    assert print_program(builder.build()).splitlines()[-1] == "  work  mxu  8"


def test_causal_rows_have_varying_ranges() -> None:
    op = accsim.Attention(batch=1, heads=1, q_len=512, kv_len=512, head_dim=64, causal=True)
    text = accsim.simulate(op, "flat_edge", dataflow=accsim.Flash(block_q=128, block_kv=128)).program
    assert "for key in [0 : 1..4)  (varies with row)" in text
    assert "causal" in text


@pytest.mark.parametrize("machine", KINDS)
@pytest.mark.parametrize("workload", ["bert_base?seq=96", "llama3_8b_decode?kv_len=200&batch=2"])
def test_every_program_fits_the_width_and_names_all_stages(machine: str, workload: str) -> None:
    report = accsim.simulate(workload, machine)
    assert max(map(len, report.program.splitlines())) <= 100
    for row in report.ops:
        text = print_op(row)
        for step in row.steps:
            for stage in step.program.stages:
                assert len(re.findall(rf"^ *{stage.name} +{stage.unit} ", text, re.MULTILINE)) >= 1

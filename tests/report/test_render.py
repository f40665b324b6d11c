"""Words and tables of the printed reports."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import accsim
from accsim.report.describe import describe_machine
from accsim.report.render import only, print_comparison, print_run
from accsim.report.render_describe import print_machine, print_machines, print_workload, print_workloads
from accsim.report.sheet import Sheet, put
from accsim.report.words import binary, cycles, mapping_short, op_shape, parameters, percent, si
from accsim.units import parse_quantity
from accsim.workload.catalogue import describe_workload

PREFIX = {"p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}


@given(st.floats(1e-11, 1e20))
def test_si_reads_back_to_four_digits(value: float) -> None:
    number, unit = si(value, "J").split()
    assert 1 <= float(number) < 1000
    assert float(number) * PREFIX.get(unit[:-1], 1.0) == pytest.approx(value, rel=6e-4)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999.96, "1.000 k"), (999.94, "999.9"), (1e-15, "0.001000 p"), (5e21, "5000. E")],
)
def test_si_at_its_edges(value: float, text: str) -> None:
    assert si(value, "") == text


def test_long_times_and_single_bytes_read_as_people_say_them() -> None:
    assert [si(value, "s") for value in (999.0, 1812.3, 4.2e6)] == ["999.0 s", "1,812 s", "4,200,000 s"]
    assert [si(value, "B") for value in (2, 2.5, 1000)] == ["2 B", "2.500 B", "1.000 kB"]


@given(st.integers(1, 2**62))
def test_binary_reads_back(size: int) -> None:
    assert float(parse_or_number(binary(size))) == pytest.approx(size, rel=6e-4)


def parse_or_number(text: str) -> float:
    """Bytes of a text that need not be whole."""
    number, unit = text.split()
    return float(number) * parse_quantity(f"1 {unit}", "bytes")


@given(st.floats(0, 1e18))
def test_cycles_read_back(number: float) -> None:
    assert float(cycles(number).replace(",", "")) == pytest.approx(number, abs=(0.5 if number >= 1000 else 0.05) + 1e-9)


def test_words() -> None:
    unfused = accsim.Unfused(logit=accsim.WeightStationary(8, 8, 8), softmax=accsim.Streamed(64))
    assert mapping_short(unfused) == "Unfused logit WS 8x8x8, softmax Streamed 64"
    assert mapping_short(accsim.InputStationary()) == "IS ?x?x?"
    assert op_shape(accsim.Norm(4, 8, "rms")) == "norm rows 4, cols 8, rms, bf16"
    assert parameters({}) == ""


def shown(width: int, *, terminal: bool = False) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=width, highlight=False, force_terminal=terminal), file


@pytest.fixture(scope="module")
def reports() -> dict[str, accsim.Report]:
    return {name: accsim.simulate("bert_base?seq=128", "flat_cloud", dataflow=name) for name in ("unfused", "flat")}


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_tables_keep_to_the_width(reports: dict[str, accsim.Report], width: int) -> None:
    console, file = shown(width)
    print_run(console, reports["flat"], ops=True)
    print_comparison(console, reports, ["attention"], ops=True)
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert not any("…" in line or line != line.rstrip() for line in lines)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_descriptions_keep_to_the_width_and_leave_words_whole(width: int) -> None:
    console, file = shown(width)
    machines = [accsim.load_accelerator(name) for name in accsim.list_accelerators()]
    workloads = [describe_workload(name) for name in accsim.list_workloads()]
    print_machines(console, machines)
    print_workloads(console, workloads)
    for acc in machines:
        print_machine(console, describe_machine(acc))
    for work in workloads:
        print_workload(console, work)
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert not any("…" in line or line != line.rstrip() for line in text.splitlines())
    words = set(text.split())
    for source in [acc.source for acc in machines] + [work["source"] for work in workloads]:
        assert set(source.split()) <= words


def sheet(width: int) -> list[str]:
    found = Sheet(("name", "size", "why"), words=(0, 2), wrap=(2,))
    found.add("a", "10", "one two three four five six seven")
    found.add("bb", "9", "")
    console, file = shown(width)
    put(console, found, 2)
    return file.getvalue().splitlines()


def test_a_sheet_in_ever_less_room() -> None:
    assert sheet(60) == [
        "  name  size  why",
        "  ─────────────────────────────────────────────",
        "  a       10  one two three four five six seven",
        "  bb       9",
    ]
    assert sheet(38) == [
        "  name  size  why",
        "  ────────────────────────────────────",
        "  a       10  one two three four five",
        "              six seven",
        "  bb       9",
    ]
    assert sheet(37) == [
        "  name  size",
        "  ──────────",
        "  a       10",
        "      why: one two three four five",
        "      six seven",
        "  bb       9",
    ]
    assert all(len(line) <= 11 for line in sheet(11))


def test_shares_keep_significant_digits() -> None:
    assert [percent(share) for share in (1.0, 0.00123, 0.001, 0.00099, 1.23e-7)] == [
        "100.0 %",
        "0.1 %",
        "0.1 %",
        "0.099 %",
        "1.2e-05 %",
    ]


def test_colour_only_on_a_terminal(reports: dict[str, accsim.Report]) -> None:
    for terminal in (False, True):
        console, file = shown(100, terminal=terminal)
        print_run(console, reports["flat"], ops=False)
        assert ("\x1b" in file.getvalue()) == terminal


def test_part_of_a_report_adds_up_with_the_rest(reports: dict[str, accsim.Report]) -> None:
    whole = reports["unfused"]
    part = only(whole, ["attention"])
    rest = only(whole, {op.kind for op, _ in whole.workload} - {"attention"})
    assert part is not None
    assert rest is not None
    assert part.total_cycles + rest.total_cycles == pytest.approx(whole.total_cycles)
    assert part.energy_j + rest.energy_j == pytest.approx(whole.energy_j)
    assert part.macs + rest.macs == whole.macs
    assert only(part, ["attention"]) is None
    assert only(part, ["gemm"]) is None


def test_a_main_memory_that_overflows_is_said() -> None:
    acc = accsim.load_accelerator("flat_edge", set={"memories.dram.capacity": "1 MiB"})
    console, file = shown(100)
    print_run(console, accsim.simulate("bert_base?seq=128", acc), ops=False)
    assert "DOES NOT FIT" in file.getvalue()


def test_long_names_are_cut_in_tables() -> None:
    op = accsim.Gemm(4, 4, 4, name="x" * 200)
    console, file = shown(100)
    print_run(console, accsim.simulate(op, "flat_edge"), ops=True)
    assert "x" * 25 + "..." in file.getvalue()

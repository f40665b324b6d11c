"""Bad machine files: each problem with its place, its path and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accsim.config.catalogue import data_folder, load_accelerator
from accsim.config.machine import Accelerator
from accsim.errors import InputError

EDGE = (data_folder("hw_configs") / "flat_edge.yaml").read_text()
H100 = (data_folder("hw_configs") / "h100_sxm.yaml").read_text()


def problems_of(tmp_path: Path, text: str) -> list[tuple[str, str, str, str | None]]:
    path = tmp_path / "m.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_accelerator(path)
    return [(p.where.removeprefix(f"{path}:"), p.path, p.message, p.suggestion) for p in caught.value.problems]


def place(text: str, part: str) -> str:
    """Line and column, from 1, of a part that occurs once in the text; this is the second source for the marks."""
    assert text.count(part) == 1
    before = text[: text.index(part)]
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


# what stands in flat_edge.yaml, what takes its place, where the problem is, path, part of the message, suggestion
CASES = [
    ("clock: 940 MHz", "clock: 940", "940", "clock", "read 940 without a unit, allowed is", None),
    ("clock: 940 MHz", "clock: 940 GB", "940 GB", "clock", "unit 'GB', allowed is", None),
    ("clock: 940 MHz", "clock: 940 mhz", "940 mhz", "clock", "such as '940 MHz'", "MHz"),
    ("clock: 940 MHz", "clock: 0 Hz", "0 Hz", "clock", "above 0 to 1 THz", None),
    ("clock: 940 MHz", "clock: -3 Hz", "-3 Hz", "clock", "negative", None),
    ("clock: 940 MHz", "clock: 2000 THz", "2000 THz", "clock", "above 0 to 1 THz", None),
    ("clock: 940 MHz", "clock: nan Hz", "nan Hz", "clock", "allowed is a number with a unit", None),
    ("clock: 940 MHz", "clock: .inf", ".inf", "clock", "without a unit", None),
    ("clock: 940 MHz", "clock: 1e999 Hz", "1e999", "clock", "too large", None),
    ("clock: 940 MHz", "clock: [1 Hz]", "[1 Hz]", "clock", "allowed is a number with a unit", None),
    ("clock: 940 MHz", "clock:", "\ncores", "clock", "read 'None', allowed is", None),
    ("clock: 940 MHz", "clok: 940 MHz", "clok", "clok", "unknown key, allowed are", "clock"),
    ("cores: 1", "cores: 0", "0\n", "cores", "read 0, allowed is a whole number from 1 to 65536", None),
    ("cores: 1", "cores: -1", "-1", "cores", "whole number from 1 to 65536", None),
    ("cores: 1", "cores: 70000", "70000", "cores", "whole number from 1 to 65536", None),
    ("cores: 1", "cores: 1.5", "1.5", "cores", "read 1.5, allowed is a whole number", None),
    ("cores: 1", "cores: '1'", "'1'", "cores", "read '1', allowed is a whole number", None),
    ("cores: 1", "cores: true", "true\nm", "cores", "read true, allowed is a whole number", None),
    ("cores: 1", "cores: " + "9" * 90, "9" * 90, "cores", "allowed is a whole number", None),
    ("name: flat_edge", "name: 3", "3\n", "name", "read 3, allowed is a name of at most 64", None),
    ("name: flat_edge", "name: ''", "''", "name", "allowed is a name of at most 64", None),
    ("name: flat_edge", "name: a/b", "a/b", "name", "allowed is a name of at most 64", None),
    ("kind: systolic", "kind: systolik", "systolik", "matrix_unit.kind", "'systolic' or 'tensor_core'", "systolic"),
    ("kind: systolic", "kind: 3", "3, ", "matrix_unit.kind", "read 3, allowed is 'systolic'", None),
    ("kind: systolic, ", "", "{rows", "matrix_unit.kind", "missing, needed is the kind", None),
    ("rows: 32", "rows: 0", "0, c", "matrix_unit.rows", "whole number from 1 to 65536", None),
    ("rows: 32", "rows: 1e2", "1e2", "matrix_unit.rows", "read 100.0, allowed is a whole number", None),
    ("rows: 32", "rows: 65537", "65537", "matrix_unit.rows", "whole number from 1 to 65536", None),
    ("rows: 32, ", "", "{kind", "matrix_unit.rows", "missing, needed is a whole number from 1", None),
    (
        "rows: 32",
        "rows: 32, registers: 1 KiB",
        "registers",
        "matrix_unit.registers",
        "belongs to the kind tensor_core",
        None,
    ),
    ("rows: 32", "rows: 32, m: 8", "m: 8", "matrix_unit.m", "'m' belongs to the kind tensor_core", None),
    ("rows: 32", "rows: 32, row: 8", "row: 8", "matrix_unit.row", "unknown key, allowed are", "rows"),
    ("overlap: full", "overlap: half", "half", "matrix_unit.fold_overlap", "'none', 'weights' or 'full'", None),
    ("overlap: full", "overlap: weight", "weight,", "matrix_unit.fold_overlap", "'none', 'weights'", "weights"),
    ("rows: 32", "rows: 32, dataflow: os", "os,", "matrix_unit.dataflow", "'output_stationary'", None),
    ("rows: 32", "rows: 32, count: 0", "0, c", "matrix_unit.count", "whole number from 1 to 65536", None),
    ("{bf16: 1, int8: 1}", "{}", "{}", "matrix_unit.rates", "empty mapping, allowed is at least one", None),
    ("{bf16: 1, int8: 1}", "[bf16]", "[bf16]", "matrix_unit.rates", "read a list, allowed is a mapping", None),
    ("{bf16: 1, int8: 1}", "{bf17: 1}", "bf17", "matrix_unit.rates.bf17", "allowed are fp32, tf32", "bf16"),
    ("bf16: 1", "bf16: 1, BF16: 2", "BF16: 2", "matrix_unit.rates.BF16", "data type bf16, as is 'bf16'", None),
    ("bf16: 1", "bf16: 0", "0, int8", "matrix_unit.rates.bf16", "read 0, allowed is a number above 0", None),
    ("bf16: 1", "bf16: .nan", ".nan", "matrix_unit.rates.bf16", "read nan, allowed is a number above 0", None),
    ("bf16: 1", "bf16: 1, tf32: 1", "tf32", "matrix_unit.rates.tf32", "'horowitz_45nm' has no mac for tf32", None),
    ("lanes: 32", "lanes: 0", "0, cyc", "vector_unit.lanes", "a whole number from 1 to 1048576", None),
    ("max: 1, exp", "exp", "{exp", "vector_unit.cycles_per_element.max", "missing, needed is a number", None),
    ("exp: 1", "exp: -1", "-1", "vector_unit.cycles_per_element.exp", "read -1, allowed is a number above 0", None),
    ("exp: 1", "exp: 1, sqrt: 1", "sqrt", "vector_unit.cycles_per_element.sqrt", "unknown key, allowed are add", None),
    ("exp: 1", "exp: fast", "fast", "vector_unit.cycles_per_element.exp", "read 'fast', allowed is a number", None),
    ("capacity: 512 KiB", "capacity: 1.5 B", "1.5 B", "memories.sg.capacity", "not a whole number of bytes", None),
    ("capacity: 512 KiB", "capacity: 512", "512,", "memories.sg.capacity", "read 512 without a unit", None),
    ("capacity: 512 KiB", "capacity: 512 KB/s", "512 KB/s", "memories.sg.capacity", "unit 'KB/s'", "kB"),
    ("capacity: 512 KiB", "capacity: 0 B", "0 B", "memories.sg.capacity", "above 0", None),
    ("capacity: 512 KiB", "capacity: 1e30 GB", "1e30", "memories.sg.capacity", "at most 2^62 bytes", None),
    (
        "capacity: 512 KiB",
        "capacity: 9 GiB",
        "8 GiB",
        "memories.dram.capacity",
        "holds 8 GiB in all, less than sg",
        None,
    ),
    ("read_bandwidth: 1 TB/s", "read_bandwidth: 1 TB", "1 TB,", "memories.sg.read_bandwidth", "unit 'TB'", "TB/s"),
    ("read_bandwidth: 1 TB/s, ", "", "{capacity: 512", "memories.sg.read_bandwidth", "missing, needed", None),
    ("latency: 2 ns", "latency: 2 Hz", "2 Hz", "memories.sg.latency", "unit 'Hz', allowed is", None),
    ("latency: 2 ns", "latency: 2 s", "2 s,", "memories.sg.latency", "from 0 to 1 s", None),
    ("banks: 16", "banks: 0", "0}\n  d", "memories.sg.banks", "a whole number from 1 to 65536", None),
    ("banks: 16", "banks: 16, scope: die", "die", "memories.sg.scope", "allowed is 'core' or 'chip'", None),
    ("banks: 16", "banks: 16, kind: ddr4", "ddr4", "memories.sg.kind", "'hbm2'", "ddr"),
    ("banks: 16", "banks: 16, kind: hbm2", "hbm2", "memories.sg.kind", "no memory of kind 'hbm2'", None),
    ("banks: 16", "banks: 16, efficiency: 1.1", "1.1", "memories.sg.efficiency", "a number above 0 to 1", None),
    ("banks: 16", "banks: 16, layout: liner", "liner", "memories.sg.layout", "'skewed' or 'linear'", "linear"),
    ("banks: 16", "banks: 16, bank_width: 0 B", "0 B", "memories.sg.bank_width", "above 0", None),
    # 16 x 32 B x 940 MHz; 1 TB/s are promised.
    ("banks: 16", "banks: 16, bank_width: 32 B", "32 B", "memories.sg.bank_width", "1 TB/s: with 16 banks", None),
    ("shared_bandwidth: true", "layout: linear", "linear", "memories.dram.layout", "'skewed': only sg, from", None),
    ("shared_bandwidth: true", "bank_width: 4 B", "bank_width", "memories.dram.bank_width", "none: only sg", None),
    ("banks: 16", "banks: 16, name: x", "name: x", "memories.sg.name", "a memory's name is its key", None),
    ("banks: 16", "banks: 16, area: 2 cm", "2 cm", "memories.sg.area", "unit 'cm', allowed is", "cm2"),
    ("shared_bandwidth: true", "shared_bandwidth: yes", "yes", "memories.dram.shared_bandwidth", "true or false", None),
    ("shared_bandwidth: true", "scope: core", "core,", "memories.dram.scope", "allowed is 'chip' for the main", None),
    (
        "shared_bandwidth: true",
        "kind: hbm4",
        "hbm4,",
        "memories.dram.kind",
        "allowed is 'sram', 'ddr', 'lpddr', 'hbm2'",
        "hbm3",
    ),
    ("energy: horowitz_45nm ", "energy: horowitz ", "horowitz ", "energy", "unknown energy table", "horowitz_45nm"),
    ("energy: horowitz_45nm ", "energy: 45 ", "45 ", "energy", "read 45, allowed is the name of an energy", None),
    ("power: {idle: 0 W}", "power: {idle: 0 J}", "0 J", "power.idle", "unit 'J', allowed is", None),
    ("power: {idle: 0 W}", "power: {idle: 9 W, cap: 5 W}", "5 W", "power.cap", "above the idle power, 9 W", None),
    (
        "power: {idle: 0 W}",
        "power: 0 W",
        "0 W",
        "power",
        "a mapping with the keys idle, and if wanted cap, clocks",
        None,
    ),
    *(
        ("power: {idle: 0 W}", f"power: {{idle: 0 W, clocks: {clocks}}}", at, f"power.clocks{path}", part, near)
        for clocks, at, path, part, near in (
            ("3", "3}", "", "read 3, allowed is a list of ascending clocks, or a mapping with the keys from, to", None),
            ("[]", "[]", "", "read 0 clocks, allowed are 1 to 4096", None),
            ("[1 GHz, 1 GHz]", "1 GHz]", "[1]", "read '1 GHz', allowed is a clock above the one before", None),
            ("[1 GHz, 2]", "2]", "[1]", "read 2 without a unit", None),
            ("[1 GHz, 2 Ghz]", "2 Ghz", "[1]", "unit 'Ghz'", "GHz"),
            ("{from: 1 GHz, to: 2 GHz}", "{from", ".step", "missing, needed is a frequency", None),
            ("{form: 1 GHz, to: 2 GHz, step: 1 GHz}", "form", ".form", "unknown key, allowed are from, to", "from"),
            ("{from: 3 GHz, to: 2 GHz, step: 1 GHz}", "2 GHz", ".to", "allowed is a clock not below 'from'", None),
            ("{from: 1 GHz, to: 2 GHz, step: 300 MHz}", "300 MHz", ".step", "allowed is a whole part of 1 GHz", None),
            ("{from: 1 GHz, to: 2 GHz, step: 0 Hz}", "0 Hz", ".step", "allowed is", None),
            ("{from: 1 GHz, to: 2 GHz, step: 100 kHz}", "100 kHz", ".step", "gives 10001 clocks, allowed are at", None),
        )
    ),
    ("power: {idle: 0 W}", "power: {idel: 0 W, idle: 0 W}", "idel", "power.idel", "unknown key", "idle"),
    ("source: ", "trust: guess\nsource: ", "guess", "trust", "'calibrated', 'transferred' or 'data_sheet'", None),
    ("source: ", "overheads: {op: {time: 1 us}}\nsource: ", "{time", "overheads.op.source", "missing, needed", None),
    ("source: ", "overheads: {op: 1 us}\nsource: ", "1 us", "overheads.op", "with the keys source, time", None),
    ("source: ", "area: 3\nsource: ", "3\ns", "area", "read 3 without a unit", None),
    ("source: ", "sources: {power.idel: x}\nsource: ", "power.idel", "sources.power.idel", "no field", "power.idle"),
    (
        "sg.latency: not",
        "sg.latncy: not",
        "memories.sg.latncy",
        "estimated.memories.sg.latncy",
        "no field 'memories.sg.latncy'",
        "memories.sg.latency",
    ),
    ("sg.banks: not published", "sg.banks: ''", "''", "estimated.memories.sg.banks", "text that is not empty", None),
    ("  sg:  ", "  S g:  ", "S g", "memories.S g", "a name of at most 32 small letters", None),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{c[1][:24]}" for c in CASES])
def test_place_path_and_remedy(tmp_path: Path, case: tuple[str, str, str, str, str, str | None]) -> None:
    old, new, at, path, part, suggestion = case
    assert EDGE.count(old) == 1
    text = EDGE.replace(old, new)
    found = {p[1]: p for p in problems_of(tmp_path, text)}
    assert path in found
    where, _, message, near = found[path]
    start = text.index(new if new else at)
    offset = text.index(at, start if new and at in text[start:] else 0)
    before = text[:offset]
    assert where == f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
    assert part in message
    assert near == suggestion


def test_enough_distinct_cases() -> None:
    assert len({(old, new) for old, new, *_ in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize(
    ("old", "new", "path", "part"),
    [
        ("m: 8, n", "rows: 8, n", "matrix_unit.rows", "'rows' belongs to the kind systolic"),
        ("m: 8, n", "n", "matrix_unit.m", "missing, needed is a whole number from 1 to 65536"),
        ("registers: 256 KiB,", "", "matrix_unit.registers", "missing, needed is a number with a unit"),
        ("registers: 256 KiB", "registers: 0 KiB", "matrix_unit.registers", "read '0 KiB', allowed is"),
        ("m: 8, n", "m: 8, fold_overlap: none, n", "matrix_unit.fold_overlap", "belongs to the kind systolic"),
        ("l2:   {", "l2:   {scope: core, ", "memories.l2.capacity", None),
        ("scope: core, read", "read", "memories.smem.capacity", None),
        ("energy: jouppi_7nm", "energy: horowitz_45nm", "memories.hbm.kind", "has no memory of kind 'hbm3'"),
    ],
)
def test_tensor_core_machine(tmp_path: Path, old: str, new: str, path: str, part: str | None) -> None:
    assert H100.count(old) == 1
    text = H100.replace(old, new)
    if part is None:
        (tmp_path / "m.yaml").write_text(text)
        assert load_accelerator(tmp_path / "m.yaml").memories[1].name == "l2"
    else:
        assert any(p[1] == path and part in p[2] for p in problems_of(tmp_path, text))


def test_core_memory_outside_a_chip_memory(tmp_path: Path) -> None:
    text = H100.replace("228 KiB, scope: core", "228 KiB").replace("{capacity: 50 MB", "{scope: core, capacity: 50 MB")
    ((where, path, message, _),) = problems_of(tmp_path, text)
    assert (where, path) == (place(text, "core, capacity"), "memories.l2.scope")
    assert "allowed is 'chip' outside of smem" in message


@pytest.mark.parametrize(
    "memories", ["{}", "{dram: {capacity: 1 GiB, read_bandwidth: 1 GB/s, latency: 1 ns}}", "[1, 2]", "3"]
)
def test_too_few_memories(tmp_path: Path, memories: str) -> None:
    head, tail = EDGE.split("memories: ")[0], EDGE[EDGE.index("energy: ") :].split("estimated")[0]
    text = f"{head}memories: {memories}\n{tail}"
    ((where, path, message, _),) = problems_of(tmp_path, text)
    assert (where, path) == (place(text, memories + "\nenergy"), "memories")
    assert "allowed" in message


def test_all_problems_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = EDGE.replace("940 MHz", "940").replace("rows: 32", "rows: 0").replace("16}", "0}").replace("0 W", "0 V")
    found = problems_of(tmp_path, text.replace("sg.latency: not", "sg.lat: not"))
    paths = ["clock", "matrix_unit.rows", "memories.sg.banks", "power.idle", "estimated.memories.sg.lat"]
    assert [p[1] for p in found] == paths
    assert [int(p[0].split(":")[0]) for p in found] == sorted(int(p[0].split(":")[0]) for p in found)


def test_error_text_of_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(EDGE.replace("rows: 32", "rows: 0"))
    with pytest.raises(InputError) as caught:
        load_accelerator(path)
    assert str(caught.value) == f"{path}:5:37: matrix_unit.rows: read 0, allowed is a whole number from 1 to 65536"


def test_problems_of_the_energy_table_keep_their_own_place(tmp_path: Path) -> None:
    table = (data_folder("hw_configs/energy") / "horowitz_45nm.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(table.replace("energy: 4.6 pJ", "energy: 4.6 pF"))
    (tmp_path / "m.yaml").write_text(
        EDGE.replace("energy: horowitz_45nm", "energy: mine.yaml").replace("rows: 32", "rows: 0")
    )
    with pytest.raises(InputError) as caught:
        load_accelerator(tmp_path / "m.yaml")
    places = {p.path: p.where for p in caught.value.problems}
    assert places["mac.fp32.energy"].startswith(f"{tmp_path / 'mine.yaml'}:")
    assert places["matrix_unit.rows"].startswith(f"{tmp_path / 'm.yaml'}:")


TOKENS = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\n",
    "  ",
    "-",
    "0",
    "9",
    "x",
    "'",
    '"',
    "#",
    "&a",
    "*a",
    "!",
    "1e400",
    "~",
    "é",
]
edits = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True), st.integers(0, 12), st.one_of(st.sampled_from(TOKENS), st.text(max_size=3))
    ),
    min_size=1,
    max_size=4,
)


@given(st.sampled_from([EDGE, H100]), edits)
def test_mutated_files_give_a_machine_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, text: str, changes: list[tuple[float, int, str]]
) -> None:
    for at, drop, insert in changes:
        start = int(at * len(text))
        text = text[:start] + insert + text[start + drop :]
    path = tmp_path_factory.getbasetemp() / "mutated.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        machine = load_accelerator(path)
    except InputError as error:
        assert error.problems  # noqa: PT017
        assert all(p.where.startswith(str(path)) and p.message for p in error.problems)  # noqa: PT017
    else:
        assert isinstance(machine, Accelerator)


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
PATHS = """clock cores name trust area energy power matrix_unit matrix_unit.rows matrix_unit.rates
matrix_unit.rates.fp16 vector_unit memories memories.sg memories.sg.capacity overheads overheads.op
power.clocks power.cap estimated"""
paths = st.sampled_from(PATHS.split())


@given(st.dictionaries(st.one_of(paths, st.text(max_size=12)), values, max_size=3))
def test_any_override_gives_a_machine_or_an_error(overrides: dict[str, object]) -> None:
    try:
        machine = load_accelerator("flat_edge", set=overrides)
    except InputError as error:
        assert error.problems  # noqa: PT017
    else:
        assert isinstance(machine, Accelerator)

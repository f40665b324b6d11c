"""The YAML reader: YAML 1.2 scalars, marks, and everything it refuses."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accsim.config.yaml_marks import MAX_FILE_BYTES, parse_scalar, parse_yaml, read_yaml
from accsim.errors import InputError

SCALARS = [
    ("2:4", "2:4"),
    ("12:30:45", "12:30:45"),
    ("no", "no"),
    ("Yes", "Yes"),
    ("on", "on"),
    ("n", "n"),
    ("1e9", 1e9),
    ("1E-3", 1e-3),
    ("1.", 1.0),
    (".5", 0.5),
    ("+1.5", 1.5),
    ("1_000", "1_000"),
    ("007", 7),
    ("0o17", 15),
    ("0x1F", 31),
    ("0b1", "0b1"),
    ("-12", -12),
    ("true", True),
    ("False", False),
    ("TRUE", True),
    ("tRUE", "tRUE"),
    ("null", None),
    ("~", None),
    (".inf", math.inf),
    ("-.Inf", -math.inf),
    ("inf", "inf"),
    ("2026-01-02", "2026-01-02"),
    ("<<", "<<"),
    ("940 MHz", "940 MHz"),
    ("50 GiB/s", "50 GiB/s"),
    ("1e", "1e"),
    ("=", "="),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_scalars_of_yaml_1_2(text: str, value: object) -> None:
    read = parse_yaml(f"a: {text}", "x").data["a"]
    assert read == value
    assert type(read) is type(value)
    assert parse_scalar(text) == value


def test_nan_and_quotes() -> None:
    data = parse_yaml("a: .nan\nb: '1e9'\nc: \"no\"\nd:\n", "x").data
    assert math.isnan(data["a"])
    assert (data["b"], data["c"], data["d"]) == ("1e9", "no", None)


def test_keys_are_texts() -> None:
    assert parse_yaml("no: 1\n2: 2\nnull: 3\n", "x").data == {"no": 1, "2": 2, "null": 3}


def test_marks_of_keys_and_values() -> None:
    document = parse_yaml("a: 1\nb:\n  c: [10, {d: x}]\n", "f.yaml")
    assert document.data == {"a": 1, "b": {"c": [10, {"d": "x"}]}}
    assert document.where(("a",)) == "f.yaml:1:4"
    assert document.where(("a",), key=True) == "f.yaml:1:1"
    assert document.where(("b", "c"), key=True) == "f.yaml:3:3"
    assert document.where(("b", "c", 0)) == "f.yaml:3:7"
    assert document.where(("b", "c", 1, "d")) == "f.yaml:3:15"
    assert document.where(("b", "nothing", "below")) == "f.yaml:3:3"


def test_columns_count_characters_not_bytes() -> None:
    assert parse_yaml("{ü: é, b: 1}", "f").where(("b",)) == "f:1:11"


def test_overrides_leave_the_original_alone() -> None:
    document = parse_yaml("a: {b: 1}\n", "f")
    changed = document.with_value(("a", "b"), 2, "set:a.b").with_value(("c", "d"), 3, "set:c.d")
    assert changed.data == {"a": {"b": 2}, "c": {"d": 3}}
    assert document.data == {"a": {"b": 1}}
    assert (changed.where(("a", "b")), changed.where(("a",))) == ("set:a.b", "f:1:4")
    assert changed.where(("c", "e")) == "set:c.d"


def test_aliases_repeat_values() -> None:
    assert parse_yaml("a: &x {m: 1}\nb: *x\n", "f").data == {"a": {"m": 1}, "b": {"m": 1}}


def laughs(levels: int, width: int) -> str:
    lines = ["l0: &l0 [lol]"]
    lines += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * width)}]" for i in range(1, levels)]
    return "\n".join(lines)


BAD = [
    ("", "f:1:1", "the file is empty"),
    ("# only a remark\n", "f:1:1", "the file is empty"),
    ("null", "f:1:1", "the file is empty"),
    ("- a\n- b\n", "f:1:1", "read a list at the top, allowed is a mapping"),
    ("just text", "f:1:1", "read a single value at the top"),
    ("a: 1\na: 2\n", "f:2:1", "given twice, first on line 1"),
    ("a: {b: 1, c: 2, b: 3}", "f:1:17", "given twice, first on line 1"),
    ("'1': a\n1: b\n", "f:2:1", "given twice"),
    ("a: [1, 2", "f:1:9", "not valid YAML"),
    ("a: {b: 1", "f:1:9", "not valid YAML"),
    ("a: 1\n b: 2\n", "f:2:3", "not valid YAML"),
    ("a:\n\t b: 2\n", "f:2:1", "read a tab, allowed are blanks"),
    ("a: 'open\n", "f:2:1", "not valid YAML"),
    ("a: @x\n", "f:1:4", "not valid YAML"),
    ("a: *nowhere\n", "f:1:4", "not valid YAML"),
    ("a: 1\n---\nb: 2\n", "f:2:1", "not valid YAML"),
    ("a: !!python/object/apply:os.system [ls]\n", "f:1:4", "read the tag '!!python/object/apply:os.system'"),
    ("a: !mine {b: 1}\n", "f:1:4", "read the tag '!mine'"),
    ("a: !!binary aGk=\n", "f:1:4", "read the tag '!!binary'"),
    ("a: !!set {b: null}\n", "f:1:4", "read the tag '!!set'"),
    ("a: !!int x\n", "f:1:4", "which does not fit"),
    ("a: &x [*x]\n", "f:1:4", "an alias that contains itself"),
    ("a: &x {b: {c: *x}}\n", "f:1:4", "an alias that contains itself"),
    ("? [a, b]\n: 1\n", "f:1:3", "a list or mapping as a key"),
    ("a: " + "1" * 101, "f:1:4", "a number of 101 characters"),
    ("a: \x07\n", "f:1:4", "the character U+0007"),
    ("a: 1\nbc: \x00\n", "f:2:5", "the character U+0000"),
    ('a: "\\ud800"\n', "f:1:4", "a lone surrogate"),
    ('"\\udc00": 1\n', "f:1:1", "a lone surrogate"),
    ('a: "\\UFFFFFFFF"\n', "f:1:7", "not valid YAML"),
    ("a: " + "[" * 70 + "]" * 70, "f:1:67", "nested deeper than 64"),
    ("{" * 3000, "f:1:65", "nested deeper than 64"),
    ("%YAML 3.0\n---\na: 1\n", "f:1:1", "not valid YAML"),
    (laughs(9, 9), "f:5:1", "aliases repeat more than 10000 values"),
]


@pytest.mark.parametrize(("text", "where", "part"), BAD, ids=range(len(BAD)))
def test_refuses_with_place(text: str, where: str, part: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_yaml(text, "f")
    problem = caught.value.problems[0]
    assert problem.where == where
    assert part in problem.message


def test_all_structure_problems_at_once() -> None:
    with pytest.raises(InputError) as caught:
        parse_yaml("a: 1\na: 2\nb: !x 1\nc: {d: 1, d: 2}\n", "f")
    assert [p.where for p in caught.value.problems] == ["f:2:1", "f:3:4", "f:4:11"]


FILES = [
    (b"\xef\xbb\xbfa: 1\n", None),
    (b"a: 1\r\nb: 2\r\n", None),
    (b"a: \xff\n", "byte 0xff, allowed is UTF-8"),
    (b"ok: 1\nabc: \x80\n", "byte 0x80, allowed is UTF-8"),
    ("a: 1".encode("utf-16"), "byte 0xff, allowed is UTF-8"),
    (b"# " + b"x" * MAX_FILE_BYTES, "larger than 5 MB"),
]


@pytest.mark.parametrize(("raw", "part"), FILES, ids=range(len(FILES)))
def test_files(tmp_path: Path, raw: bytes, part: str | None) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(raw)
    if part is None:
        assert read_yaml(path).data["a"] == 1
        assert read_yaml(path).where(("a",)) == f"{path}:1:4"
    else:
        with pytest.raises(InputError, match=part):
            read_yaml(path)


def test_place_of_a_bad_byte(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"ok: 1\nabc: \x80\n")
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    assert caught.value.problems[0].where == f"{path}:2:6"


@pytest.mark.parametrize("name", ["absent.yaml", ".", "a\0b"])
def test_unreadable(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot read the file"):
        read_yaml(f"{tmp_path}/{name}")


@given(st.text(alphabet=st.sampled_from("ab:{}[],&*!|>'\"#%@`?-~ \n\t01.eé\ud800\x85"), max_size=60))
def test_any_text_is_a_document_or_an_error(text: str) -> None:
    try:
        document = parse_yaml(text, "f")
    except InputError as error:
        assert all(p.where.startswith("f:") for p in error.problems)  # noqa: PT017
    else:
        assert isinstance(document.data, dict)

"""The cache of compiled kernels: never stale, safe with parallel writers, and made anew where it is damaged."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest

from accsim.kernels.jit import cache_folder, fingerprint, kernel
from accsim.kernels.turns import LOCKS

ROOT = Path(__file__).parents[2]

CALLER = """
from accsim.kernels.jit import kernel
from inner import SCALE, twice

@kernel
def outer(x):
    return twice(x) + SCALE
"""
INNER = """
from accsim.kernels.jit import kernel

SCALE = 100

@kernel
def twice(x):
    return 2 * x
"""
MAIN = """
import sys
from accsim.kernels import jit
jit.announce = lambda name: print("compiled", name)
import caller
print("result", caller.outer(int(sys.argv[1])))
"""
PARTS = """
import caller, inner
assert caller.outer(3) == 106
assert [len(called.overloads) for called in (inner.twice.entry, inner.twice.part)] == [0, 1]
print("result", inner.twice(3))  # Python may call it as well
"""
CONSTANTS = """
from accsim.kernels.jit import kernel
from inner import twice

@kernel
def several(x):
    return twice(1) + twice(2) + twice(x)

assert several(3) == 12
assert len(twice.part.overloads) == 1
print("result", several(4))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Two modules with a kernel each, and a script that calls the outer one."""
    for name, text in (("caller", CALLER), ("inner", INNER), ("main", MAIN)):
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def start(package: Path, argument: int = 3) -> subprocess.Popen[str]:
    """The script in a new process."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    settings = {"ACCSIM_CACHE_DIR": str(package / "cache"), "PYTHONPATH": os.pathsep.join((str(ROOT), str(package)))}
    return subprocess.Popen(
        [sys.executable, "-B", str(package / "main.py"), str(argument)],
        env=inherited | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[set[str], int]:
    """(names of the kernels it compiled, its result)."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    words = [line.split() for line in out.splitlines()]
    return {name for word, name in words if word == "compiled"}, int(words[-1][1])


def run(package: Path, argument: int = 3) -> tuple[set[str], int]:
    """The script run to its end."""
    return finish(start(package, argument))


def kernels(package: Path) -> list[Path]:
    """The files of the cache beside that of the locks."""
    return sorted(path for path in (package / "cache").iterdir() if path.name != LOCKS)


def test_a_changed_callee_in_another_file_is_noticed(package: Path) -> None:
    assert run(package) == ({"outer", "twice"}, 106)
    assert run(package) == (set(), 106)
    text = (package / "inner.py").read_text()
    stamps = (package / "caller.py").stat().st_mtime_ns
    (package / "inner.py").write_text(text.replace("2 * x", "20 * x"))
    assert run(package) == ({"outer", "twice"}, 160)
    (package / "inner.py").write_text(text.replace("SCALE = 100", "SCALE = 200"))
    assert run(package) == ({"outer"}, 206)  # twice is as it was at first
    (package / "inner.py").write_text(text)
    assert run(package) == (set(), 106)
    assert (package / "caller.py").stat().st_mtime_ns == stamps


def test_kernels_compiled_in_another_way_are_left_alone(package: Path) -> None:
    run(package)
    (package / "main.py").write_text("from accsim.kernels import jit\njit._recipe = lambda: 'another'\n" + MAIN)
    assert run(package) == ({"outer", "twice"}, 106)
    assert len(kernels(package)) == 4


def test_parallel_writers(package: Path) -> None:
    processes = [start(package, argument) for argument in range(4)]
    assert [finish(process)[1] for process in processes] == [100, 102, 104, 106]
    assert [path.suffix for path in kernels(package)] == [".kernel", ".kernel"]
    assert run(package) == (set(), 106)


@pytest.mark.parametrize(
    "damage",
    [lambda _: b"", lambda data: data[: len(data) // 2], lambda _: b"\x80\x05garbage.", lambda _: pickle.dumps(3)],
)
def test_a_damaged_file_is_replaced(package: Path, damage: Callable[[bytes], bytes]) -> None:
    run(package)
    whole = {path: path.read_bytes() for path in kernels(package)}
    for path, data in whole.items():
        path.write_bytes(damage(data))
    assert run(package) == ({"outer", "twice"}, 106)
    assert kernels(package) == sorted(whole)
    assert run(package) == (set(), 106)


def test_a_kernel_of_other_kernels_is_machine_code_only_inside_them(package: Path) -> None:
    (package / "main.py").write_text(PARTS)
    assert run(package) == (set(), 6)


def test_a_constant_does_not_compile_a_kernel_once_more(package: Path) -> None:
    (package / "main.py").write_text(CONSTANTS)
    assert run(package) == (set(), 14)


# The fingerprint


def function(text: str, **names: Any) -> FunctionType:
    """The function f that the text defines, in a module with these names."""
    namespace = dict(names)
    exec(text, namespace)
    found = namespace["f"]
    assert isinstance(found, FunctionType)
    return found


def test_fingerprint_is_of_the_code() -> None:
    assert fingerprint(function("def f(x):\n    return x + 1")) == fingerprint(
        function("\n\ndef f(x):  # c\n    return x + 1")
    )
    texts = ["x + 1", "x + 2", "x - 1", "x + 1.0", "y + 1", "(lambda: x + 1)()", "(lambda: x + 2)()"]
    prints = [fingerprint(function(f"def f(x, y=0):\n    return {text}")) for text in texts]
    assert len(set(prints)) == len(texts)


def test_fingerprint_is_of_everything_called() -> None:
    def deep(number: int) -> str:
        lowest = kernel(function(f"def f(x):\n    return x * {number}"))
        middle = kernel(function("def f(x):\n    return lowest(x)", lowest=lowest))
        return fingerprint(function("def f(x):\n    return middle(x)", middle=middle))

    assert deep(3) == deep(3)
    assert deep(3) != deep(4)


def test_fingerprint_of_a_callee_knows_how_it_is_inlined() -> None:
    def caller(inline: str) -> str:
        callee = kernel(function("def f(x):\n    return x"), inline=inline)
        return fingerprint(function("def f(x):\n    return callee(x)", callee=callee))

    assert caller("always") != caller("never")


def test_fingerprint_is_of_what_is_read_through_a_module() -> None:
    def caller(number: int) -> str:
        module = ModuleType("helper")
        module.callee = kernel(function(f"def f(x):\n    return x * {number}"))  # type: ignore[attr-defined]
        module.CONSTANT = 7  # type: ignore[attr-defined]
        return fingerprint(function("def f(x):\n    return helper.callee(x) + helper.CONSTANT", helper=module))

    assert caller(1) == caller(1)
    assert caller(1) != caller(2)


def test_fingerprint_is_of_the_arrays_read() -> None:
    prints = [
        fingerprint(function("def f(i):\n    return TABLE[i]", TABLE=np.array(values, kind)))
        for values, kind in (([1, 2], "i8"), ([1, 3], "i8"), ([1, 2], "f8"))
    ]
    assert len(set(prints)) == 3


@pytest.mark.parametrize(("one", "other"), [(1, 2), (1.0, 2.0), ("a", "b"), ((1, 2), (1, 3)), (True, False)])
def test_fingerprint_is_of_the_constants_read(one: object, other: object) -> None:
    text = "def f():\n    return CONSTANT"
    assert fingerprint(function(text, CONSTANT=one)) == fingerprint(function(text, CONSTANT=one))
    assert fingerprint(function(text, CONSTANT=one)) != fingerprint(function(text, CONSTANT=other))


def test_fingerprint_is_of_the_fields_of_a_named_tuple() -> None:
    from typing import NamedTuple

    text = "def f():\n    return Point(1, 2)"
    ab, ba = NamedTuple("Point", [("a", int), ("b", int)]), NamedTuple("Point", [("b", int), ("a", int)])
    assert fingerprint(function(text, Point=ab)) != fingerprint(function(text, Point=ba))


def test_fingerprint_is_of_what_a_closure_holds() -> None:
    def make(number: int) -> FunctionType:
        def f(x: int) -> int:
            return x + number

        assert isinstance(f, FunctionType)
        return f

    assert fingerprint(make(1)) == fingerprint(make(1))
    assert fingerprint(make(1)) != fingerprint(make(2))


def test_recursion_has_a_fingerprint() -> None:
    namespace: dict[str, Any] = {}
    exec("def f(x):\n    return 1 if x < 1 else f(x - 1)", namespace)
    namespace["f"] = kernel(namespace["f"])
    assert len(fingerprint(namespace["f"].py_func)) == 64


# The folder


def test_folder_by_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ACCSIM_CACHE_DIR", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert cache_folder() == tmp_path / "home" / ".cache" / "accsim"
    for name, folder in (("XDG_CACHE_HOME", "x/accsim"), ("NUMBA_CACHE_DIR", "n"), ("ACCSIM_CACHE_DIR", "a")):
        monkeypatch.setenv(name, str(tmp_path / folder.partition("/")[0]))
        assert cache_folder() == tmp_path / folder
        assert (tmp_path / folder).is_dir()


def test_a_named_folder_that_cannot_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ACCSIM_CACHE_DIR", str(tmp_path / "file" / "below"))
    with pytest.raises(OSError, match=r"the kernel cache folder .* cannot be made"):
        cache_folder()


def test_a_home_that_cannot_be_written_gives_a_private_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ACCSIM_CACHE_DIR", "NUMBA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = cache_folder()
    assert folder.parent == tmp_path
    assert folder.name.startswith("accsim-kernels-")
    assert cache_folder() == folder  # one a process, not one a kernel

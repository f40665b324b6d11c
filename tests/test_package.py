"""What a user installs: the wheel holds everything, runs outside the checkout, and `import accsim` stays light."""

from __future__ import annotations

import email
import email.message
import json
import os
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"accsim": "accsim", "hw_configs": "accsim/hw_configs", "workloads": "accsim/workloads"}
"""Folder of the checkout to folder of the wheel."""

EXTRAS = {"cluster", "compress", "dev", "docs", "energy", "html", "onnx", "search", "train", "validate"}
HEAVY = {"matplotlib", "numba", "pandas", "pyarrow", "pydantic", "scipy"}


def run(*command: str | Path, cwd: Path) -> str:
    """Return what the command prints; it must succeed, with nothing of the checkout on its path."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def shipped(folder: str, *suffixes: str) -> set[str]:
    """Return the checkout's files of these suffixes, as the wheel names them."""
    files = (p for p in (ROOT / folder).rglob("*") if p.suffix in suffixes or p.name in suffixes)
    return {f"{FOLDERS[folder]}/{p.relative_to(ROOT / folder).as_posix()}" for p in files}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources alone, without the network."""
    source = tmp_path_factory.mktemp("source")
    for name in ("LICENSE", "README.md", "pyproject.toml", "setup.cfg"):
        shutil.copy(ROOT / name, source)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation")
    run(*pip, "--wheel-dir", target, source, cwd=target)
    (built,) = target.iterdir()
    return built


@pytest.fixture(scope="session")
def metadata(wheel: Path) -> email.message.Message:
    """Return the wheel's metadata."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return email.message_from_string(archive.read(name).decode())


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel in an empty environment that borrows the dependencies of this one; return its bin folder.

    The folder that is borrowed from comes last on the path, and as a bare folder, so an editable install in it does
    not count.
    """
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=home)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(python, "-c", code, cwd=home).strip())
    (packages / "borrowed.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return home / "bin"


def test_wheel_holds_the_sources_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {n for n in archive.namelist() if ".dist-info/" not in n}
    sources = shipped("accsim", ".py", ".csv", ".npz", ".css", ".js", "py.typed")
    data = shipped("hw_configs", ".yaml") | shipped("workloads", ".yaml")
    assert {"accsim/__init__.py", "accsim/py.typed", "accsim/cli/run.py", "accsim/figures/flat/speedup.csv"} <= sources
    assert {"accsim/hw_configs/flat_edge.yaml", "accsim/workloads/bert_base.yaml"} <= data
    assert any(n.startswith("accsim/hw_configs/energy/") for n in data)
    assert held == sources | data


def test_metadata(wheel: Path, metadata: email.message.Message) -> None:
    assert metadata["Name"] == "accsim"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra", ())) == EXTRAS
    assert metadata.get_payload(), "the README is the long description"
    with zipfile.ZipFile(wheel) as archive:
        assert any(n.endswith("LICENSE") for n in archive.namelist())


def test_core_dependencies_are_those_of_the_design(metadata: email.message.Message) -> None:
    needs = [r for r in metadata.get_all("Requires-Dist", ()) if "extra ==" not in r]
    names = {r.split(">")[0].strip().lower() for r in needs}
    core = {"numpy", "scipy", "numba", "pandas", "pyyaml", "matplotlib", "pydantic", "typer", "rich", "pyarrow"}
    assert names == core


def test_installed_package_finds_its_machines_and_workloads(installed: Path, tmp_path: Path) -> None:
    code = """
import json, accsim
machines, workloads = list(accsim.list_accelerators()), list(accsim.list_workloads())
for name in machines:
    accsim.load_accelerator(name)
for name in workloads:
    accsim.load_workload(name)
print(json.dumps([accsim.__file__, machines, workloads]))
"""
    file, machines, workloads = json.loads(run(installed / "python", "-c", code, cwd=tmp_path))
    assert Path(file).is_relative_to(installed.parent)
    assert set(machines) == {p.stem for p in (ROOT / "hw_configs").glob("*.yaml")}
    assert set(workloads) == {p.stem for p in (ROOT / "workloads").glob("*.yaml")}


def test_installed_command_lists_machines(installed: Path, tmp_path: Path) -> None:
    assert "flat_edge" in run(installed / "accsim", "machines", cwd=tmp_path)
    printed = run(installed / "accsim", "machines", "--json", cwd=tmp_path)
    assert "flat_edge" in json.dumps(json.loads(printed))


def test_installed_command_runs_a_model(installed: Path, tmp_path: Path) -> None:
    printed = run(installed / "accsim", "run", "flat_edge", "bert_base?seq=128&batch=1", "--json", cwd=tmp_path)
    assert '"total_cycles"' in json.dumps(json.loads(printed))
    assert not list(tmp_path.iterdir()), "no file is written unless asked"


def test_import_is_light() -> None:
    code = "import sys, accsim; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    loaded = set(run(sys.executable, "-c", code, cwd=ROOT).split())
    assert "accsim" in loaded
    assert not loaded & HEAVY

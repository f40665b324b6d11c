"""What README.md and docs/ show is run: Python blocks, commands, links, the notebook, and the list of public names."""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import accsim
from accsim.mapping import base

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
# Files that a page's Python opens are that page's own YAML.
FILES = {"machines.md": "my_machine.yaml", "workloads.md": "my_trace.yaml"}
LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT), "COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb", "PYTHONIOENCODING": "utf-8",
}  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, text, and line."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [Block(m[1], m[2], text.count("\n", 0, m.start()) + 1) for m in FENCE.finditer(text)]


def commands(page: Path) -> list[tuple[str, str]]:
    """(command, output shown) of every line that begins with ``$`` in the console blocks of a page."""
    found: list[tuple[str, str]] = []
    for block in blocks(page):
        if block.language == "console":
            for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                found.append((command, output))
    return found


def assert_shown(shown: str, got: str, where: str) -> None:
    """Output equals what a page shows; ``...`` there stands for anything, and white space may differ."""
    if not doctest.OutputChecker().check_output(shown, got, LOOSE):
        pytest.fail(f"{where} shows\n{shown}\nand running it gives\n{got}")


def with_blocks(language: str) -> list[Path]:
    return [page for page in PAGES if any(block.language == language for block in blocks(page))]


@pytest.mark.parametrize("page", with_blocks("python"), ids=lambda page: page.name)
def test_python_blocks_run_and_print_what_the_page_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))
    parts = blocks(page)
    if page.name in FILES:
        text = next(block.text for block in parts if block.language == "yaml")
        Path(FILES[page.name]).write_text(text, encoding="utf-8")
    names: dict[str, object] = {"__name__": page.stem}
    for block, after in zip(parts, [*parts[1:], Block("", "", 0)], strict=True):
        if block.language != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * block.line + block.text, str(page), "exec", dont_inherit=True), names)
        if after.language == "text":
            assert_shown(after.text, printed.getvalue(), f"{page.name}:{after.line}")


RUN = [(page.name, *pair) for page in PAGES for pair in commands(page) if pair[0].startswith("accsim ")]


@pytest.mark.parametrize(("page", "command", "shown"), RUN, ids=[f"{page}: {command}" for page, command, _ in RUN])
def test_commands_run_and_print_what_the_page_shows(page: str, command: str, shown: str, tmp_path: Path) -> None:
    call = [sys.executable, "-c", "from accsim.cli import main; main()", *shlex.split(command, comments=True)[1:]]
    run = subprocess.run(call, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, encoding="utf-8")
    assert run.returncode == 0, run.stderr
    if shown.strip():
        assert_shown(shown, run.stdout, f"{page}: {command}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert missing == []


def test_make_targets_that_are_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"(?:^\$ |`)make ([a-z]+)", text, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_the_index_lists_every_page() -> None:
    listed = set(LINK.findall((ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    assert {page.name for page in ROOT.glob("docs/*.md")} - {"index.md"} <= listed


def test_every_public_name_is_documented() -> None:
    documented = set(re.findall(r"`(\w+)", (ROOT / "docs" / "api.md").read_text(encoding="utf-8")))
    assert set(accsim.__all__) <= documented


def test_the_report_page_names_every_property_of_a_report() -> None:
    public = {name for name in vars(accsim.Report) if not name.startswith("_")}
    documented = set(re.findall(r"`(\w+)", (ROOT / "docs" / "api.md").read_text(encoding="utf-8")))
    assert public <= documented


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    assert any(cell.outputs for cell in cells)

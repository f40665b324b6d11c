"""What README.md and docs/ show is run: Python blocks, commands, links, the notebook, and the list of public names.

``python tests/test_docs.py`` writes what is printed now into the pages (a block that ends in ``...`` keeps its length).
"""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import accsim
from accsim.mapping import base

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
TESTS = re.compile(r"`(tests/[\w/.]+)`")
FIGURE = re.compile(r"(?<=^<!-- figure: )(\w+) (\w+) -->\n(.*?)(?=^<!-- end of figure -->$)", re.MULTILINE | re.DOTALL)
# A page's YAML becomes the file that its Python and its commands open: its first block, until a later one replaces it.
FILES = {
    "machines.md": "my_machine.yaml",
    "own_machine.md": "my_chip.yaml",
    "workloads.md": "my_trace.yaml",
    "embeddings.md": "my_model.yaml",
    "sweeps.md": "my_space.yaml",
    "optimize.md": "my_space.yaml",
}
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


def run_python(page: Path) -> Iterator[tuple[str, str]]:
    """Runs a page's Python in the current folder: (what the text block behind it shows, what it prints)."""
    parts = blocks(page)
    names: dict[str, object] = {"__name__": page.stem}
    for block, after in pairwise([*[part for part in parts if part.language == "yaml"][:1], *parts, Block("", "", 0)]):
        if block.language == "yaml":
            Path(FILES[page.name]).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * block.line + block.text, str(page), "exec", dont_inherit=True), names)
            if after.language == "text":
                yield after.text, printed.getvalue()


def run_command(page: Path, command: str, folder: Path) -> str:
    """What a command of accsim prints, run in a folder that has the page's last YAML."""
    for block in blocks(page):
        if block.language == "yaml":
            (folder / FILES[page.name]).write_text(block.text, encoding="utf-8")
    call = [sys.executable, "-c", "from accsim.cli import main; main()", *shlex.split(command, comments=True)[1:]]
    run = subprocess.run(call, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, encoding="utf-8")
    assert run.returncode == 0, run.stderr
    return run.stdout


def assert_shown(shown: str, got: str) -> None:
    """Output equals what a page shows; ``...`` there stands for anything, and white space may differ."""
    if not doctest.OutputChecker().check_output(shown, got, LOOSE):
        pytest.fail(f"the page shows\n{shown}\nand running it gives\n{got}")


def with_python() -> list[Path]:
    """The pages that have Python to run."""
    return [page for page in PAGES if any(block.language == "python" for block in blocks(page))]


COMMANDS = [(page, *pair) for page in PAGES for pair in commands(page) if pair[0].startswith("accsim ")]


@pytest.mark.parametrize("page", with_python(), ids=lambda page: page.name)
def test_python_blocks_run_and_print_what_the_page_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))
    for shown, got in run_python(page):
        assert_shown(shown, got)


@pytest.mark.parametrize(("page", "command", "shown"), COMMANDS, ids=[f"{c[0].name}: {c[1]}" for c in COMMANDS])
def test_commands_run_and_print_what_the_page_shows(page: Path, command: str, shown: str, tmp_path: Path) -> None:
    got = run_command(page, command, tmp_path)
    assert got.strip(), f"{page.name}: {command} prints nothing"
    if shown.strip():
        assert_shown(shown, got)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    missing += [path for path in TESTS.findall(text) if not (ROOT / path).exists()]
    assert missing == []


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"(?:^\$ |`)make ([a-z-]+)", text, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_the_table_of_contents_has_every_page_once() -> None:
    conf = runpy.run_path(str(ROOT / "docs" / "conf.py"))
    sections = conf["sections"]((ROOT / "docs" / "index.md").read_text(encoding="utf-8"))
    listed = [page for pages in sections.values() for page in pages]
    assert all(sections.values())
    assert sorted(listed) == sorted(page.stem for page in ROOT.glob("docs/*.md") if page.stem != "index")


def test_every_public_name_is_documented() -> None:
    documented = set(re.findall(r"`(\w+)", (ROOT / "docs" / "api.md").read_text(encoding="utf-8")))
    report = {name for name in vars(accsim.Report) if not name.startswith("_")}
    assert set(accsim.__all__) | report <= documented
    reference = re.findall(
        r"^\.\. auto\w+:: accsim\.(\w+)$", (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE
    )
    assert sorted(reference) == sorted(accsim.__all__)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in cells)
    figures = [cell for cell in cells if "plot" in cell.source]
    assert all("image/png" in cell.outputs[-1].get("data", {}) for cell in figures)


def figures_shown(page: Path) -> list[tuple[str, str, str]]:
    """(paper, figure, what is shown of it) of every figure whose values stand in a page."""
    return [(m[1], m[2], m[3]) for m in FIGURE.finditer(page.read_text(encoding="utf-8"))]


WITH_FIGURES = [(page, *figure) for page in PAGES for figure in figures_shown(page)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "paper", "name", "shown"), WITH_FIGURES, ids=[f"{f[0].name}: {f[1]} {f[2]}" for f in WITH_FIGURES]
)
def test_values_of_figures_in_pages_are_those_made_now(
    page: Path, paper: str, name: str, shown: str, tmp_path: Path
) -> None:
    assert_shown(shown, figure_text(page, paper, name, tmp_path))


def figure_text(page: Path, paper: str, name: str, folder: Path) -> str:
    """Published values of a figure beside the simulated ones, in the first mode and in all others, and its notes."""
    made = json.loads(run_command(page, f"accsim figure {paper} {name} --json", folder))
    lines = ["", "| case | published | simulated | error | in other modes |", "|---|---|---|---|---|"]
    cases: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in made["rows"]:
        if row["published"] is not None:
            cases.setdefault((row["case"], row["quantity"]), []).append(row)
    for (case, quantity), (first, *others) in cases.items():
        unit = f" {first['unit']}" if first["unit"] not in ("", "x") else ""
        found, error = ("not simulated", "") if first["simulated"] is None else _compared(first)
        spread = " to ".join(
            dict.fromkeys(f"{end(row['simulated'] for row in others):.4g}" for end in (min, max) if others)
        )
        lines.append(f"| {case}: {quantity} | {first['published']:.4g}{unit} | {found} | {error} | {spread} |")
    return "\n".join([*lines, "", *(f"- {note}" for note in made["notes"]), ""]) + "\n"


def _compared(row: dict[str, Any]) -> tuple[str, str]:
    return f"{row['simulated']:.4g}", f"{100 * row['relative_error']:+.0f} %"


def refreshed(shown: str, got: str) -> str:
    """What a page should show: all of the output, or as many lines as before if it ends in ``...``."""
    lines = [line.rstrip() for line in got.strip("\n").splitlines()]
    if shown.endswith("\n...\n"):
        lines = [*lines[: shown.count("\n") - 1], "..."]
    return "\n".join(lines) + "\n"


def refresh() -> None:
    """Write what is printed now into all pages."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for page in PAGES:
            text = written_over(page.read_text(encoding="utf-8"), run_python(page))
            commands = [(c, shown) for at, c, shown in COMMANDS if at == page]
            text = written_over(text, ((shown, run_command(page, c, Path(folder))) for c, shown in commands))
            for paper, name, shown in figures_shown(page):
                head = f"<!-- figure: {paper} {name} -->\n"
                text = text.replace(head + shown, head + figure_text(page, paper, name, Path(folder)))
            page.write_text(text, encoding="utf-8")


def written_over(text: str, pairs: Iterable[tuple[str, str]]) -> str:
    """A page with what it shows replaced by what is printed, pairs in the order of the page."""
    at = 0
    for shown, got in pairs:
        if not shown.strip():
            continue
        at = text.index(shown, at)
        new = shown if "..." in shown.removesuffix("\n...\n") else refreshed(shown, got)
        text = text[:at] + new + text[at + len(shown) :]
        at += len(new)
    return text


if __name__ == "__main__":
    refresh()

"""Sphinx builds the pages of this folder with this file: ``make docs``. They read as well without it, on GitHub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SETUP = (HERE.parent / "setup.cfg").read_text(encoding="utf-8")

project = "accsim"
author = "The accsim developers"
copyright = f"{author}, Apache License 2.0"  # noqa: A001 (Sphinx asks for this name)
release = version = re.findall(r"^version = (.+)$", SETUP, re.MULTILINE)[0]

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
default_role = "literal"
highlight_language = "text"
myst_heading_anchors = 3
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = False
numpydoc_show_class_members = False
toc_object_entries = False
html_title = f"accsim {release}"
html_theme = "alabaster"
html_theme_options = {
    "description": "Latency, energy, utilization, and why",
    "page_width": "1240px",
    "sidebar_width": "220px",
    "body_max_width": "auto",
    "code_font_size": "0.8em",
}


def sections(index: str) -> dict[str, list[str]]:
    """Headings of index.md, each with the pages that its table links to: the table of contents, in its order."""
    found: dict[str, list[str]] = {}
    for part in re.split(r"^## ", index, flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        found[heading] = re.findall(r"^\| \[[^]]*\]\((\w+)\.md\)", text, re.MULTILINE)
    return found


def add_toctrees(_: Any, docname: str, source: list[str]) -> None:
    """Sphinx learns the order of the pages from the links of index.md."""
    if docname == "index":
        for heading, pages in sections(source[0]).items():
            source[0] += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {heading}", "", *pages, "```", ""])


FIELD = re.compile(r"^([\w*]+(?:, [\w*]+)*) : (.*)$")


def meaning_below(*event: Any) -> None:
    """Our docstrings have ``field : meaning``; numpydoc takes what stands there for a type, and a meaning below it."""
    lines: list[str] = event[-1]
    below: list[str] = []
    for line in lines:
        field = FIELD.match(line)
        below += [field[1], f"    {field[2]}"] if field else [line]
    lines[:] = below


def setup(app: Any) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("source-read", add_toctrees)
    app.connect("autodoc-process-docstring", meaning_below, priority=100)
    return {"parallel_read_safe": True}

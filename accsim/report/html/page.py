"""One self-contained HTML page of sections with charts and tables: nothing is loaded, all of it lies in the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from typing import Any

from accsim.errors import InputError

PAGE = "report.html"
"""The name of a page in its folder."""

Cell = str | tuple[float | None, str]
"""Text, or a number to sort by with its text."""


@dataclass(frozen=True)
class Chart:
    """A figure of plotly.js: ``{"data": [...], "layout": {...}}``; ``name`` is its id in the page."""

    name: str
    figure: Mapping[str, Any]
    caption: str = ""

    def html(self) -> Iterator[str]:
        """The place where it is drawn."""
        height = self.figure["layout"]["height"]
        yield f'<figure><div class="chart" id="{escape(self.name)}" style="height:{height}px"></div>'
        if self.caption:
            yield f"<figcaption>{escape(self.caption)}</figcaption>"
        yield "</figure>"


@dataclass(frozen=True)
class Table:
    """A table that is sorted by a click on a column's name and, with ``filtered``, filtered by words."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    filtered: bool = False

    def html(self) -> Iterator[str]:
        """The place where it is filled in."""
        if self.filtered:
            yield (
                f'<p class="filter"><label>Filter <input type="search" data-table="{escape(self.name)}" '
                'placeholder="words that a row has" autocomplete="off"></label> <output></output></p>'
            )
        yield f'<div class="wide"><table id="{escape(self.name)}"></table></div>'


@dataclass(frozen=True)
class Facts:
    """Names with what they are."""

    pairs: Sequence[tuple[str, str]]
    cards: bool = False

    def html(self) -> Iterator[str]:
        """A list of definitions."""
        yield f'<dl class="{"cards" if self.cards else "facts"}">'
        for name, text in self.pairs:
            yield f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>"
        yield "</dl>"


@dataclass(frozen=True)
class Note:
    """A paragraph; ``links`` follow it, each a file beside the page with its text."""

    text: str
    links: Mapping[str, str] = field(default_factory=dict)

    def html(self) -> Iterator[str]:
        """A paragraph."""
        links = " · ".join(f'<a href="{escape(name)}">{escape(text)}</a>' for name, text in self.links.items())
        yield f"<p>{escape(self.text)} {links}</p>"


@dataclass(frozen=True)
class Raw:
    """Markup of our own."""

    markup: str

    def html(self) -> Iterator[str]:
        """The markup as it is."""
        yield self.markup


Part = Chart | Table | Facts | Note | Raw


@dataclass(frozen=True)
class Section:
    """A heading with what is below it."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Page:
    """A page: its title with a line below it, its sections.

    Attributes
    ----------
    data : what scripts of its own read, as ``page.data``.
    scripts : texts of these scripts.
    """

    title: str
    line: str
    sections: Sequence[Section]
    data: Mapping[str, Any] = field(default_factory=dict)
    scripts: Sequence[str] = ()

    def html(self) -> str:
        """The whole file.

        Raises
        ------
        InputError
            Without plotly, which is in the extra ``html``.
        """
        parts = [part for section in self.sections for part in section.parts]
        data = {
            "charts": {part.name: part.figure for part in parts if isinstance(part, Chart)},
            "tables": {
                part.name: {"columns": part.columns, "rows": part.rows} for part in parts if isinstance(part, Table)
            },
            "data": self.data,
        }
        return "\n".join(
            [
                "<!doctype html>",
                '<html lang="en"><head><meta charset="utf-8">',
                f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                f"<title>{escape(self.title)}</title>",
                f"<style>{_asset('page.css')}</style></head><body>",
                f"<header><h1>{escape(self.title)}</h1><p>{escape(self.line)}</p></header>",
                "<noscript><p>The charts and tables of this page are drawn by a script.</p></noscript>",
                *self._body(),
                f'<script type="application/json" id="data">{_json(data)}</script>',
                f"<script>{plotly_script()}</script>",
                *(f"<script>{script}</script>" for script in (_asset("page.js"), *self.scripts)),
                "</body></html>\n",
            ]
        )

    def _body(self) -> Iterator[str]:
        places = {f"section-{number}": section for number, section in enumerate(self.sections)}
        yield "<nav>"
        for place, section in places.items():
            yield f'<a href="#{place}">{escape(section.title)}</a>'
        yield "</nav><main>"
        for place, section in places.items():
            yield f'<section id="{place}"><h2>{escape(section.title)}</h2>'
            for part in section.parts:
                yield from part.html()
            yield "</section>"
        yield "</main>"


_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; form-action 'none'; base-uri 'none'"
)
"""What the browser lets the page do: nothing that needs a network. Plotly.js compiles what draws many points."""


def plotly_script() -> str:
    """The text of plotly.js.

    Raises
    ------
    InputError
        Without plotly.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise InputError("HTML reports need plotly: pip install 'accsim[html]'") from error
    script: str = get_plotlyjs()
    return script


def _asset(name: str) -> str:
    return (files("accsim.report.html") / name).read_text(encoding="utf-8")


def _json(plain: object) -> str:
    """JSON that cannot end the element of a page that it lies in."""
    return json.dumps(plain, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")

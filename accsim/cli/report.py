"""The page of a saved run, sweep or search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accsim.cli.options import Json
from accsim.report.terminal import say, write_json


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of 'run --out', 'sweep' or 'optimize'.")],
    as_json: Json = False,
) -> None:
    """Write DIR/report.html: charts, tables, configuration and sources in one file that needs no network."""
    from accsim.report.words import si
    from accsim.sweep.html.write import write_page

    page = write_page(folder)
    size = page.stat().st_size
    if as_json:
        write_json({"file": str(page), "bytes": size})
    else:
        say(f"wrote {page} ({si(size, 'B')})")

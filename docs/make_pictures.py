"""Draws the pictures of fused_attention.md: ``make pictures``.

The page is the table of pictures: each ``show("NAME", dataflow, ...)`` in its Python becomes ``images/fused/NAME.png``.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from pathlib import Path

from PIL import Image, PngImagePlugin

import accsim

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "fused_attention.md"
PICTURES = DOCS / "images" / "fused"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ALL = 1_000
"""Firings: more than any of the programs has."""
DPI = 140
PALETTE = 128


def reports(page: Path = PAGE) -> dict[str, accsim.Report]:
    """What the Python of the page leaves in ``reports``."""
    names: dict[str, dict[str, accsim.Report]] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            exec(compile(block, str(page), "exec", dont_inherit=True), names)
    return names["reports"]


def told(report: accsim.Report) -> str:
    """What a picture shows, which its file says too: a file that says something else is stale."""
    return f"{report.accelerator.name}\n{report.program}"


def draw(report: accsim.Report, path: Path) -> None:
    """Timeline by stage, buffers below, as a PNG of few colours."""
    drawn = io.BytesIO()
    report.plot_timeline(most_firings=ALL, by="stage", buffers=True).savefig(drawn, format="png", dpi=DPI)
    about = PngImagePlugin.PngInfo()
    about.add_text("Description", told(report))
    Image.open(drawn).convert("RGB").quantize(PALETTE).save(path, optimize=True, pnginfo=about)


def main(folder: Path = PICTURES) -> None:
    """Draw all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, report in reports().items():
        draw(report, folder / f"{name}.png")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))

"""The pictures of docs/fused_attention.md: that they can be made, are shown, and show what the page prints now."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 60_000


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """Return the names of the script."""
    return runpy.run_path(str(ROOT / "docs" / "make_pictures.py"))


@pytest.fixture(scope="module")
def told(script: dict[str, Any]) -> dict[str, str]:
    """Return what each picture has to show."""
    return {name: script["told"](report) for name, report in script["reports"]().items()}


def descriptions(folder: Path) -> dict[str, str]:
    """What the pictures of a folder say that they show."""
    found = {}
    for path in folder.iterdir():
        assert path.stat().st_size < MOST_BYTES, path
        with Image.open(path) as image:
            assert image.format == "PNG"
            found[path.stem] = image.info["Description"]
    return found


def test_the_script_makes_them(script: dict[str, Any], told: dict[str, str], tmp_path: Path) -> None:
    script["main"](tmp_path / "new")
    assert descriptions(tmp_path / "new") == told


def test_those_of_the_page_are_up_to_date(told: dict[str, str]) -> None:
    assert descriptions(ROOT / "docs" / "images" / "fused") == told, "run `make pictures`"


def test_the_page_shows_each_once(told: dict[str, str]) -> None:
    page = (ROOT / "docs" / "fused_attention.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^!\[[^]]+\]\(images/fused/(\w+)\.png\)$", page, re.MULTILINE)) == sorted(told)

"""JSON Schema of a space file, for editors."""

from __future__ import annotations

from typing import Any

from accsim.config.schema import DIALECT
from accsim.sweep.space_file import SpaceFile


def space_schema() -> dict[str, Any]:
    """JSON Schema of a space file."""
    return {"$schema": DIALECT, **SpaceFile.model_json_schema(), "title": "accsim sweep"}

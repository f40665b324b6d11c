"""What pages of sweeps and searches say of their space: facts, units of its fields, its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from accsim.report.html.page import Note, Part, Raw

Plain = Mapping[str, Any]

UNITS = {"frequency": "Hz", "bytes": "B", "bandwidth": "B/s", "time": "s", "power": "W", "area": "mm²", "energy": "J"}
"""Dimension of a field -> unit of its values."""


def units_of(space: Plain) -> dict[str, str]:
    """Units of all fields that are set, nothing for one that is no quantity; a linked field has that of its axis."""
    axes = space["axes"]
    about = {**axes, **{key: axes.get(text, {}) for key, text in space["linked"].items()}}
    return {name: UNITS.get(of.get("dimension") or "", "") for name, of in about.items()}


def begun(manifest: Plain) -> Iterator[tuple[str, str]]:
    """The command, and when it began with what."""
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    yield "command", manifest["command"]
    yield "begun", f"{manifest['started_at']} with {versions}"


def facts_of(space: Plain) -> Iterator[tuple[str, str]]:
    """What a space is made of, without its axes."""
    yield "machines", ", ".join(f"{name} (hash {digest})" for name, digest in space["machines"].items())
    yield "workloads", ", ".join(f"{name} (weight {weight:g})" for name, weight in space["workloads"].items())
    yield "linked fields", ", ".join(f"{name} = {text}" for name, text in space["linked"].items()) or "none"
    yield "constraints", ", ".join(space["constraints"]) or "none"
    yield "hash of the space", space["hash"]


def file_of(space: Plain) -> Iterator[Part]:
    """The file of a space."""
    yield Note("The file of the space:")
    yield Raw(f"<pre>{escape(space['file'])}</pre>")

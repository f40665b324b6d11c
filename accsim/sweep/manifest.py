"""The manifest of a sweep: the space, what its rows follow from, who wrote them with what, and how far it is."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from accsim.report.folder import WRITTEN_BY
from accsim.report.manifest import versions
from accsim.sweep.columns import RESULTS
from accsim.sweep.groups import count_groups
from accsim.sweep.settings import machine_of
from accsim.sweep.space import Space

PACKAGES = ("accsim", "numpy", "numba", "pandas", "pyarrow")
SCHEMA_VERSION = 1
RUNNING, COMPLETE, INTERRUPTED, STOPPED = "running", "complete", "interrupted", "stopped"


def new_manifest(space: Space, shard: str, command: str) -> dict[str, Any]:
    """The manifest of a sweep that begins."""
    return {
        "schema_version": SCHEMA_VERSION,
        "written_by": WRITTEN_BY,
        "command": command,
        "versions": versions(PACKAGES),
        "sweep": about_space(space),
        "shard": shard,
        "started_at": now(),
        "status": RUNNING,
    }


def now() -> str:
    """The time, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def space_hash(space: Space) -> str:
    """First 16 hex digits of the sha256 of a space's fields; where its file lies and how it is spaced do not count."""
    return hashlib.sha256(repr(replace(space, folder="", text="")).encode()).hexdigest()[:16]


def about_space(space: Space) -> dict[str, Any]:
    """A space as plain data."""
    return {
        "name": space.name,
        "hash": space_hash(space),
        "points": space.size,
        "designs": space.designs,
        "groups": count_groups(space),
        "machines": {name: machine_of(name, space.folder).hash for name in space.machines},
        "workloads": {item.workload: item.weight for item in space.workloads},
        "axes": {
            axis.key: {"values": axis.size or None, "dimension": axis.dimension, "interval": axis.interval}
            for axis in space.axes
        },
        "linked": {link.key: link.expression.text for link in space.linked},
        "constraints": [constraint.text for constraint in space.constraints],
        "sample": space.sample.model_dump(),
        "fidelity": space.fidelity,
        "objective": space.objective,
        "effort": space.effort,
        "columns": [*space.keys, *RESULTS],
        "file": space.text,
    }

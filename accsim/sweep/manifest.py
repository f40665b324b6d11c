"""The manifest of a sweep: the space, what its rows follow from, who wrote them with what, and how far it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from accsim.errors import InputError, Problem
from accsim.report.folder import MANIFEST, WRITTEN_BY
from accsim.report.manifest import versions
from accsim.sweep.columns import RESULTS
from accsim.sweep.groups import content_of, count_groups, network_hashes
from accsim.sweep.settings import machine_of
from accsim.sweep.space import Space
from accsim.sweep.store import Store

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
    """First 16 hex digits of the sha256 of a space's fields; its name, its folder and its text do not count."""
    return hashlib.sha256(repr(replace(space, name="", folder="", text="")).encode()).hexdigest()[:16]


def check_goes_on(store: Store, about: Mapping[str, Any], shard: str) -> None:
    """Refuse to go on with another sweep than the one that a folder holds, whose files would be of no use.

    Parameters
    ----------
    about : the space that is to be swept, as :func:`about_space` says it.

    Raises
    ------
    InputError
        With what differs beside the contents of machines, workloads and networks, and what to do.
    """
    held = store.manifest()
    message = ""
    if held is None:
        if store.files():
            message = f"holds files of points, but no {MANIFEST} that says of what sweep; name another folder"
    elif held["sweep"].get("hash") != about["hash"]:
        differ = ", ".join(_differing(held["sweep"], about)) or "values of axes"
        message = f"holds a sweep of another space ({differ} differ); sweep that one, or name another folder"
    elif held["shard"] != shard:
        message = f"holds shard {held['shard']}, not {shard}; name a folder for each, and merge them when all are done"
    if message:
        raise InputError(Problem(str(store.folder), "", message))


def _differing(held: Mapping[str, Any], about: Mapping[str, Any]) -> list[str]:
    """The keys of a space file that differ; of machines their names count."""
    plain = json.loads(json.dumps(about))
    keys = ("workloads", "axes", "linked", "constraints", "sample", "fidelity", "objective", "effort")
    machines = ["machines"] if list(held["machines"]) != list(plain["machines"]) else []
    return machines + [key for key in keys if held.get(key) != plain[key]]


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
        "contents": {
            "accsim": versions(["accsim"])["accsim"],
            "workloads": {item.workload: content_of(item.workload, space.folder) for item in space.workloads},
            "networks": network_hashes(space),
        },
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

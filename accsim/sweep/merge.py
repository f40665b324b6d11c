"""The shards of a sweep put together: their files in one folder, each group once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accsim.errors import InputError, Problem
from accsim.sweep.manifest import COMPLETE, INTERRUPTED, now
from accsim.sweep.store import Store, opened


def merge(folders: Sequence[str | Path], out: str | Path, command: str = "") -> str:
    """Copy the files of several sweeps of one space into a folder, and check that no group is missing or twofold.

    Returns
    -------
    str
        The objective of the sweep.

    Raises
    ------
    InputError
        For folders without a sweep, sweeps of other spaces, and rows that differ between two folders; with every one.
    """
    stores = [Store(Path(folder)) for folder in folders]
    manifests = _same_space(stores)
    files = _each_once(stores)
    with opened(out, resume=False) as target:
        rows = 0
        for file in files:
            target.put(target.folder / "points" / file.name, file.read_bytes())
            rows += target.rows(target.folder / "points" / file.name)
        about: dict[str, Any] = manifests[0]
        whole = rows == about["sweep"]["points"]
        target.write_manifest(
            about
            | {
                "command": command,
                "shard": "1/1",
                "status": COMPLETE if whole else INTERRUPTED,
                "ended_at": now(),
                "seconds": sum(item.get("seconds", 0.0) for item in manifests),
                "points_done": rows,
                "points_kept": 0,
                "points_failed": sum(item.get("points_failed", 0) for item in manifests),
                "merged": [{key: item.get(key) for key in ("shard", "status", "command")} for item in manifests],
            }
        )
    if not whole:
        missing = about["sweep"]["points"] - rows
        message = f"{missing:,} of {about['sweep']['points']:,} points are missing: sweep the other shards too"
        raise InputError(Problem(str(out), "", f"{message}, or go on here with 'accsim sweep SPACE --resume'"))
    return str(about["sweep"]["objective"])


def _same_space(stores: Sequence[Store]) -> list[dict[str, Any]]:
    """The manifests of sweeps of one space."""
    found: list[dict[str, Any]] = []
    problems = []
    for store in stores:
        manifest = store.manifest()
        if manifest is None:
            problems.append(Problem(str(store.folder), "", "holds no sweep"))
        elif found and manifest["sweep"] != found[0]["sweep"]:
            message = f"holds a sweep of another space than {stores[0].folder}, or of machines, workloads, networks or "
            message += "an accsim that were changed since: sweep it again with --resume"
            problems.append(Problem(str(store.folder), "", message))
        else:
            found.append(manifest)
    if problems:
        raise InputError(problems)
    return found


def _each_once(stores: Sequence[Store]) -> list[Path]:
    """The files of all groups, by the number of their first point."""
    found: dict[str, Path] = {}
    problems = []
    for store in stores:
        for file in store.files():
            first = file.name.partition("-")[0]
            if store.rows(file) < 0:
                problems.append(Problem(str(file), "", "cannot be read; sweep its shard again with --resume"))
            elif first in found and found[first].name != file.name:
                problems.append(Problem(str(file), "", f"has other rows than {found[first]} for the same points"))
            else:
                found.setdefault(first, file)
    if problems:
        raise InputError(problems)
    return [found[first] for first in sorted(found)]

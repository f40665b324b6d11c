"""The manifest of a saved report: what wrote it, from what, and its files with their checksums."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from accsim.report.folder import WRITTEN_BY
from accsim.report.result import SCHEMA_VERSION, Report
from accsim.workload.ops_base import Counted
from accsim.workload.trace import Workload

PACKAGES = ("accsim", "numpy", "numba")
_DIGITS = 12


def manifest(report: Report, folder: Path, command: str) -> dict[str, Any]:
    """Plain data about a report and the files that lie in a folder."""
    return manifest_of(report.to_dict()["machine"], report.workload, folder, command)


def manifest_of(machine: object, workload: Workload, folder: Path, command: str) -> dict[str, Any]:
    """Plain data about what ran on what, and the files that lie in a folder."""
    return {
        "schema_version": SCHEMA_VERSION,
        "written_by": WRITTEN_BY,
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "versions": versions(PACKAGES),
        "machine": machine,
        "workload": {"name": workload.name, "hash": workload_hash(workload)},
        "files": {path.name: _file(path) for path in sorted(folder.iterdir())},
    }


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of Python and of packages, ``"not installed"`` of one that is missing."""
    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def workload_hash(workload: Workload) -> str:
    """First 12 hex digits of the sha256 of a workload's entries: ops, repeats, names and order; not of its own name."""
    digest = hashlib.sha256()
    for entry in workload.entries:
        plain = {field.name: _plain(getattr(entry, field.name)) for field in fields(entry)}
        digest.update(json.dumps(plain, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()[:_DIGITS]


def _plain(value: object) -> object:
    """JSON's form of a field: ops as plain data, tuples as lists."""
    if isinstance(value, Counted):
        return {key: _plain(item) for key, item in value.to_dict().items()}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _file(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

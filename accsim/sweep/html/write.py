"""Writing the page of a folder: which kind it is of is read from its manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accsim.errors import InputError, Problem
from accsim.report.folder import MANIFEST, WRITTEN_BY, write_files
from accsim.report.html.page import PAGE
from accsim.report.html.run_folder import read_run_folder
from accsim.report.html.run_page import run_page
from accsim.sweep.html.search_page import search_page
from accsim.sweep.html.sweep_page import sweep_page
from accsim.sweep.search_folder import KEY, read_search
from accsim.sweep.views import SweepTable

_ALLOWED = "allowed is a folder that 'accsim run', 'accsim sweep' or 'accsim optimize' wrote"


def write_page(folder: Path) -> Path:
    """Write ``report.html`` into the folder of a run, a sweep or a search; the path of the page.

    Raises
    ------
    InputError
        When the folder is none that accsim wrote, a file of it is missing or was changed, it cannot be written, or
        plotly (extra ``html``) is not installed.
    """
    manifest = read_manifest(folder)
    if "sweep" in manifest:
        write_files(folder, {PAGE: sweep_page(SweepTable(folder)).html().encode()})
    elif KEY in manifest:
        write_files(folder, {PAGE: search_page(read_search(folder, manifest)).html().encode()})
    else:
        page = run_page(read_run_folder(folder, manifest)).html().encode()
        write_files(folder, {MANIFEST: _with_page(manifest, page), PAGE: page})
    return folder / PAGE


def _with_page(manifest: Mapping[str, Any], page: bytes) -> bytes:
    """A run's manifest that lists the page too, so that a later run may replace the folder."""
    about = {"bytes": len(page), "sha256": hashlib.sha256(page).hexdigest()}
    files = dict(sorted({**manifest["files"], PAGE: about}.items()))
    return (json.dumps({**manifest, "files": files}, indent=2) + "\n").encode()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder that accsim wrote.

    Raises
    ------
    InputError
        When there is none, or it is not one of accsim's.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise InputError(Problem(str(folder), "", f"{what}; {_ALLOWED}"))
    path = folder / MANIFEST
    if not path.is_file():
        inside = sorted(str(found.parent) for found in folder.glob(f"*/{MANIFEST}"))
        hint = f"; in it are {', '.join(inside)}" if inside else ""
        raise InputError(Problem(str(folder), "", f"has no {MANIFEST}; {_ALLOWED}{hint}"))
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(Problem(str(path), "", f"cannot be read: {error}")) from error
    ours = isinstance(plain, Mapping) and plain.get("written_by") == WRITTEN_BY
    if not ours or not any(isinstance(plain.get(kind), Mapping) for kind in ("sweep", KEY, "files")):
        raise InputError(Problem(str(path), "", f"was not written by accsim; {_ALLOWED}"))
    return dict(plain)

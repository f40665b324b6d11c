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

_ALLOWED = "allowed is a folder that 'accsim run --out' wrote"


def write_page(folder: Path) -> Path:
    """Write ``report.html`` into the folder of a run, and list it in the manifest; the path of the page.

    Raises
    ------
    InputError
        When the folder is none that accsim wrote, a file of it is missing or was changed, it cannot be written, or
        plotly (extra ``html``) is not installed.
    """
    manifest = read_manifest(folder)
    content = run_page(read_run_folder(folder, manifest)).html().encode()
    about = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    listed = {**manifest, "files": dict(sorted({**manifest["files"], PAGE: about}.items()))}
    text = json.dumps(listed, indent=2) + "\n"
    write_files(folder, {MANIFEST: text.encode(), PAGE: content})
    return folder / PAGE


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
    if not ours or not isinstance(plain.get("files"), Mapping):
        raise InputError(Problem(str(path), "", f"was not written by accsim; {_ALLOWED}"))
    return dict(plain)

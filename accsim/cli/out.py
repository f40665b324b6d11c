"""The folder of `--out`, before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accsim.errors import InputError, Problem


def check_out(out: Path | None, names: Sequence[str] | None) -> None:
    """Refuse a folder that must not be replaced before any work is done; of a comparison, each case's own."""
    if out is None:
        return
    from accsim.report.folder import MANIFEST, check_target

    for name in names or [""]:
        check_target(out / name)
    if names is not None and (out / MANIFEST).exists():
        raise InputError(Problem(str(out), "", "holds a single run; a comparison needs a folder of its own"))

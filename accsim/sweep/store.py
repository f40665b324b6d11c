"""The folder of a sweep: a Parquet file for each group, and a manifest. Whoever is killed leaves only whole files.

A file of rows is written under another name, synchronized with the disk and renamed. Its name has the number of its
first point and the hash of all that its rows follow from, so that a later sweep knows which of them it can keep.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accsim.errors import InputError, Problem
from accsim.report.folder import MANIFEST, WRITTEN_BY, cannot_write
from accsim.report.html.page import PAGE

if TYPE_CHECKING:
    import pyarrow.dataset as ds

POINTS = "points"
"""Folder of the rows, one Parquet file a group."""
LOCK = ".lock"
PARTIAL = ".partial"


@dataclass(frozen=True)
class Store:
    """A folder that a sweep writes into."""

    folder: Path

    def file_of(self, start: int, digest: str) -> Path:
        """The file of a group."""
        return self.folder / POINTS / f"{start:012d}-{digest}.parquet"

    def files(self) -> list[Path]:
        """All files of rows, by the number of their first point."""
        return sorted((self.folder / POINTS).glob("[0-9]*-*.parquet"))

    def put(self, file: Path, content: bytes) -> None:
        """Write a file whole or not at all.

        Raises
        ------
        InputError
            When the system refuses, as on a full disk; what was written before stays.
        """
        temporary = file.with_name(f".{file.name}{PARTIAL}")
        try:
            with temporary.open("wb") as sink:
                sink.write(content)
                sink.flush()
                os.fsync(sink.fileno())
            temporary.replace(file)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise cannot_write(file, error) from error

    def rows(self, file: Path) -> int:
        """Rows of a file; -1 of one that is not there or cannot be read."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return int(pq.read_metadata(file).num_rows)
        except (OSError, pa.ArrowException):
            return -1

    def remove_partial(self) -> None:
        """Remove what killed processes left."""
        for path in (self.folder / POINTS).glob(f".*{PARTIAL}"):
            path.unlink(missing_ok=True)

    def keep_only(self, files: Collection[Path]) -> int:
        """Remove files of rows that are not among these, and say how many."""
        stale = [file for file in self.files() if file not in files]
        for file in stale:
            file.unlink()
        return len(stale)

    def manifest(self) -> dict[str, Any] | None:
        """The manifest; None where there is none that can be read."""
        try:
            plain = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        ours = isinstance(plain, dict) and plain.get("written_by") == WRITTEN_BY and "sweep" in plain
        return plain if ours else None

    def write_manifest(self, content: dict[str, Any]) -> None:
        """Replace the manifest in one step."""
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        self.put(self.folder / MANIFEST, text.encode())


@contextmanager
def opened(folder: str | Path, *, resume: bool) -> Iterator[Store]:
    """The store in a folder that is missing, empty, or (with ``resume``) of an earlier sweep; nobody else writes it.

    Raises
    ------
    InputError
        For a folder with anything else, one that another process sweeps into, and one that cannot be written.
    """
    store = Store(Path(folder))
    _check(store, resume)
    try:
        (store.folder / POINTS).mkdir(parents=True, exist_ok=True)
        lock = os.open(store.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = "another sweep writes into it; wait for it, end it, or name another folder"
            raise InputError(Problem(str(folder), "", message)) from error
        _check(store, resume)
        store.remove_partial()
        yield store
    finally:
        os.close(lock)


def _check(store: Store, resume: bool) -> None:
    folder = store.folder
    if folder.exists() and not folder.is_dir():
        raise InputError(Problem(str(folder), "", "is a file; allowed is a folder"))
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    foreign = [name for name in held if name not in (MANIFEST, POINTS, LOCK, PAGE) and not name.endswith(PARTIAL)]
    if foreign or (MANIFEST in held and store.manifest() is None):
        names = ", ".join((foreign or [MANIFEST])[:5])
        allowed = "allowed is a folder that is missing, empty, or that of a sweep"
        raise InputError(Problem(str(folder), "", f"holds what no sweep wrote there ({names}); {allowed}"))
    if not resume and (store.manifest() is not None or store.files()):
        message = f"holds a sweep with {len(store.files())} files of points; add --resume, or name another folder"
        raise InputError(Problem(str(folder), "", message))


def read_sweep(folder: str | Path) -> ds.Dataset:
    """The rows of a sweep as an Arrow dataset, which reads only what is asked for.

    Raises
    ------
    InputError
        For a folder without a sweep.
    """
    import pyarrow.dataset as ds

    store = Store(Path(folder))
    if store.manifest() is None:
        raise InputError(Problem(str(folder), "", f"holds no sweep: it has no {MANIFEST} of one"))
    return ds.dataset([str(file) for file in store.files()], format="parquet")

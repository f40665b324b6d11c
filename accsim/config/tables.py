"""Tables that machine files name, read once for each version of their file."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from accsim.config.reader import FileModel, read_yaml, validate

T = TypeVar("T", bound=FileModel)


def read_table(model: type[T], path: Path) -> T:
    """The table of a file: a sweep asks for the same one with every machine.

    Raises
    ------
    InputError
        If the file cannot be read or has problems.
    """
    with suppress(OSError):  # which reading it tells better
        status = path.stat()
        found: T = _read(model, path, (status.st_ino, status.st_mtime_ns, status.st_size))
        return found
    return validate(model, read_yaml(path))


@lru_cache(maxsize=64)
def _read(model: type[T], path: Path, version: tuple[int, int, int]) -> Any:
    del version
    return validate(model, read_yaml(path))

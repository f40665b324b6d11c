"""Processes that need the same kernel at the same time: one compiles it, the others wait for its file.

Whoever compiles holds a record lock, which the system takes back from a process that ends in whatever way.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # where there are no such locks, every process compiles for itself
    fcntl = None  # type: ignore[assignment]

LOCKS = "compiling.lock"
"""A file beside the kernels; each kernel has one byte of it to lock."""
PATIENCE_S = 60.0
"""What is awaited at most: another process may be halted. Then the kernel is compiled here too."""
POLL_S = 0.02

_taken: list[Path] = []


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Alone among all processes that compile for a file, or after another that did.

    A kernel that is compiled for one that is being compiled takes no turn of its own: nobody waits while others wait
    for it.
    """
    if _taken or fcntl is None or path.exists():
        yield
        return
    try:
        locks = os.open(path.parent / LOCKS, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:  # the folder cannot be written, so that nobody's file will come
        yield
        return
    _taken.append(path)
    try:
        _wait(locks, zlib.crc32(path.name.encode()))
        yield
    finally:
        _taken.remove(path)
        os.close(locks)


def _wait(locks: int, place: int) -> None:
    """Lock a byte, or give up after a while."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            fcntl.lockf(locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):
            time.sleep(POLL_S)
        except OSError:  # a file system without locks
            return
        else:
            return

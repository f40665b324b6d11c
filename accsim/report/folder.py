"""Writing a folder, or files into one, all at once: a reader sees the old or the new content, never a part of either.

The files are written into a folder beside the target, ``.NAME.accsim-XXXXXXXX``, which takes the target's name at the
end. A process that is killed before leaves that folder and nothing else; the next one that writes the same target
removes it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from accsim.errors import InputError, Problem

MANIFEST = "manifest.json"
"""The file that makes a folder one of ours: it lists the others."""

WRITTEN_BY = "accsim"
_MOST_NAMED = 5
_MOST_LETTERS = 100
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def check_target(directory: str | Path) -> Path:
    """The full path of a folder that may be written: missing, empty, or an earlier output of ours.

    An earlier output has a manifest, and no file beside those the manifest lists.

    Raises
    ------
    InputError
        For anything else, and for the current folder.
    """
    target = Path(directory).resolve()
    allowed = "allowed is a folder that is missing, empty, or an earlier output of accsim"
    if Path.cwd().is_relative_to(target):
        raise InputError(Problem(str(directory), "", "is the current folder, or around it; name another one"))
    above = next(path for path in target.parents if path.exists())
    if not above.is_dir():
        raise InputError(Problem(str(directory), "", f"{above} is a file; {allowed}"))
    try:
        if not target.exists():
            return target
        if not target.is_dir():
            raise InputError(Problem(str(directory), "", f"is a file; {allowed}"))
        held = sorted(path.name for path in target.iterdir())
        listed = _listed(target / MANIFEST) if MANIFEST in held else None
    except OSError as error:
        raise cannot_write(directory, error) from error
    foreign = [name for name in held if listed is None or name not in listed]
    if foreign:
        names = ", ".join(foreign[:_MOST_NAMED]) + (", ..." if len(foreign) > _MOST_NAMED else "")
        raise InputError(Problem(str(directory), "", f"holds what accsim did not write there ({names}); {allowed}"))
    return target


def cannot_write(directory: str | Path, error: OSError) -> InputError:
    """The error of a folder that the system does not let be written: a full disk, a missing right."""
    return InputError(Problem(str(directory), "", f"cannot be written: {error.strerror or error}"))


def _listed(manifest: Path) -> set[str] | None:
    """Names that a manifest lists, its own included; None if it is none of ours."""
    try:
        plain = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError:
        return None
    if not isinstance(plain, dict) or plain.get("written_by") != WRITTEN_BY or not isinstance(plain.get("files"), dict):
        return None
    return {MANIFEST, *plain["files"]}


@contextmanager
def replacing(directory: str | Path) -> Iterator[Path]:
    """A temporary folder that takes the place of ``directory`` when the block ends, and vanishes when it fails.

    Raises
    ------
    InputError
        When ``directory`` may not be replaced (:func:`check_target`) or the system refuses.
    """
    target = check_target(directory)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary, lock = _new_folder(target)
    except OSError as error:
        raise cannot_write(directory, error) from error
    try:
        yield temporary
        _move(temporary, target)
    except OSError as error:
        raise cannot_write(directory, error) from error
    finally:
        os.close(lock)
        shutil.rmtree(temporary, ignore_errors=True)
    _remove_leftovers(target)


def check_folder(directory: str | Path) -> Path:
    """A folder that files may be written into: it is one, or nothing is in its way.

    Raises
    ------
    InputError
        If it, or what is above it, is a file.
    """
    folder = Path(directory)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InputError(Problem(str(directory), "", f"{there} is a file; allowed is a folder"))
    return folder


def write_files(directory: str | Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write files into a folder that may hold others; each has its old content or the new one, never a part.

    Files of these names are replaced. All are written beside their targets before the first takes its name.

    Raises
    ------
    InputError
        When a file is in the way (:func:`check_folder`), or the system refuses.
    """
    folder = check_folder(directory)
    written: list[tuple[Path, Path]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            target = folder / name
            temporary = folder / (_prefix(target) + secrets.token_hex(4))
            written.append((temporary, target))
            temporary.write_bytes(content)
        for temporary, target in written:
            temporary.replace(target)
    except OSError as error:
        raise cannot_write(directory, error) from error
    finally:
        for temporary, _ in written:
            temporary.unlink(missing_ok=True)
    return [target for _, target in written]


def _prefix(target: Path) -> str:
    return f".{target.name[:_MOST_LETTERS]}.accsim-"


def _new_folder(target: Path) -> tuple[Path, int]:
    """A new folder beside the target, and a lock on it that lasts as long as this process."""
    while True:
        folder = target.parent / (_prefix(target) + secrets.token_hex(4))
        folder.mkdir()
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY)
            _try_lock(lock)
            if folder.exists():
                return folder, lock
            os.close(lock)


def _try_lock(descriptor: int) -> bool:
    """Whether the lock of a folder is taken now; where the file system has no locks, it is not."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _move(temporary: Path, target: Path) -> None:
    """Give the temporary folder the target's name in one step, and the target's content the temporary name."""
    try:
        temporary.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        check_target(target)
        if not _exchange(temporary, target):
            aside = temporary.with_name(_prefix(target) + secrets.token_hex(4))
            target.rename(aside)
            temporary.rename(target)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the system cannot."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    done: int = call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return done == 0


def _remove_leftovers(target: Path) -> None:
    """Remove temporary folders of this target that no living process holds."""
    for folder in target.parent.glob(_prefix(target).replace("[", "[[]") + "*"):
        with contextlib.suppress(OSError):
            lock = os.open(folder, os.O_RDONLY)
            try:
                if _try_lock(lock):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)

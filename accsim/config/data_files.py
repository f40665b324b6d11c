"""Where the shipped data files are, and how a name or path finds one."""

from __future__ import annotations

from pathlib import Path

from accsim.errors import InputError, Problem, nearest, plain_name

_SUFFIXES = (".yaml", ".yml")
TABLE_SUFFIXES = (".csv", ".parquet")
"""Suffixes of the tables that are read as traces."""


def data_folder(kind: str) -> Path:
    """Folder of shipped files: ``"hw_configs"``, ``"hw_configs/energy"`` or ``"workloads"``.

    Installed, it lies inside the package; in a source checkout, beside it.

    Raises
    ------
    InputError
        If neither place has it (a broken installation).
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / kind, package.parent / kind):
        if folder.is_dir():
            return folder
    raise InputError(f"the shipped folder '{kind}' is missing: install accsim again")


def shipped_names(kind: str) -> tuple[str, ...]:
    """Names of the shipped files of a folder, without suffix, in alphabetical order."""
    return tuple(sorted(path.stem for path in data_folder(kind).iterdir() if path.suffix in _SUFFIXES))


def is_path(name: str | Path) -> bool:
    """True if the user means a file: a Path, a suffix of YAML or a table, or a text with a folder in it.

    Examples
    --------
    >>> is_path("my.yaml"), is_path("runs/my"), is_path("tpu_v4"), is_path("H100 SXM")
    (True, True, False, False)
    """
    return isinstance(name, Path) or name.endswith((*_SUFFIXES, *TABLE_SUFFIXES)) or "/" in name or "\\" in name


def slice_parts(name: str | Path) -> tuple[str, str] | None:
    """The machine and the shape of a slice's name, None of any other: ``MACHINE:SHAPE``, the machine a name or path.

    Examples
    --------
    >>> slice_parts("tpu_v4:4x4x8"), slice_parts("runs/my.yaml:twisted:4x4x8")
    (('tpu_v4', '4x4x8'), ('runs/my.yaml', 'twisted:4x4x8'))
    >>> slice_parts("tpu_v4"), slice_parts("C:/runs/my.yaml")
    (None, None)
    """
    if isinstance(name, Path) or name.endswith(_SUFFIXES):
        return None
    start = 1 + max(name.rfind("/"), name.rfind("\\"))
    machine, colon, shape = name[start:].partition(":")
    return (name[:start] + machine, shape) if colon else None


def is_slice(name: object) -> bool:
    """True if a name is that of several chips and not that of one.

    Examples
    --------
    >>> is_slice("tpu_v4:4x4x8"), is_slice("tpu_v4"), is_slice("c:/my.yaml")
    (True, False, False)
    """
    return isinstance(name, str) and slice_parts(name) is not None


def is_table(name: str | Path) -> bool:
    """True if the name is that of a table of ops: a file of CSV or Parquet.

    Examples
    --------
    >>> is_table("runs/ops.csv"), is_table("my.yaml"), is_table("tpu_v4")
    (True, False, False)
    """
    return str(name).endswith(TABLE_SUFFIXES)


def find_file(kind: str, what: str, name: str | Path, *, base: Path | None = None) -> Path:
    """File of a shipped name (any case and separators) or of a path.

    Parameters
    ----------
    kind
        Folder of shipped files.
    what
        What such a file is called in messages: ``"machine"``.
    name
        Shipped name or path.
    base
        Folder that a relative path starts from; default: the working directory.

    Raises
    ------
    InputError
        If the name is not shipped; names the nearest and all. A path is not checked here.
    """
    if is_path(name):
        return Path(name) if base is None else base / name
    names = shipped_names(kind)
    for known in names:
        if plain_name(known) == plain_name(str(name)):
            return data_folder(kind) / f"{known}.yaml"
    message = f"unknown {what} '{str(name)[:60]}', allowed are {', '.join(names)}, or the path of a .yaml file"
    beside = f"{name}.yaml"
    folder = Path() if base is None else base
    near = beside if any(path.name == beside for path in folder.glob("*.yaml")) else nearest(str(name), names)
    raise InputError(Problem("", "", message, near))

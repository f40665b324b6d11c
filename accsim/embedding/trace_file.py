"""Index traces as files: a batch in an ``.npz``, Parquet or PyTorch file, in the layout of the public traces.

``.npz``: the arrays ``indices`` (int, lookups), ``offsets`` (int, features · samples + 1; may be left out) and
``lengths`` (int, features x samples), as in facebookresearch/dlrm_datasets. Parquet: a row a bag, with the columns
``feature`` (int), ``sample`` (int) and ``indices`` (a list of int), sorted by feature and sample. ``.pt`` and
``.pt.gz``, as those traces are published: a tuple of the tensors indices, offsets and lengths; PyTorch is not needed.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accsim.embedding.torch_file import read_tensors
from accsim.embedding.trace import IntArray, TraceBatch
from accsim.errors import InputError, Problem

MOST_PROBLEMS = 20
"""Problems of a file that are listed; the rest are counted."""


def read_batches(
    paths: Iterable[str | Path], *, rows: Sequence[int] | None = None, empty_bags: bool = False
) -> Iterator[TraceBatch]:
    """Read files one after the other, each a batch; no more than one is held.

    Parameters
    ----------
    paths
        ``.npz``, ``.parquet``, ``.pt`` or ``.pt.gz`` files.
    rows
        Rows of the table of each feature. Default: one more than the largest id of the feature in the file.
    empty_bags
        True: a bag may have no rows, as in the public traces. False: that is an error.

    Raises
    ------
    InputError
        With what is wrong with a file: what cannot be read, arrays that do not fit together, and the first bags that
        are empty or have an id outside their table, by feature and sample.
    """
    for path in paths:
        yield read_batch(path, rows=rows, empty_bags=empty_bags)


def read_batch(path: str | Path, *, rows: Sequence[int] | None = None, empty_bags: bool = False) -> TraceBatch:
    """Read one file; see `read_batches`."""
    name = str(path)
    read = next((one for suffix, one in _READERS.items() if name.endswith(suffix)), None)
    if read is None:
        raise InputError(Problem(name, "", f"read a name of another kind, allowed are {', '.join(_READERS)}"))
    try:
        indices, lengths = read(Path(path))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(Problem(name, "", f"cannot read the file: {reason[:200]}")) from error
    batch = _batch(name, indices, lengths, rows)
    _check(name, batch, empty_bags=empty_bags)
    return batch


def write_batch(batch: TraceBatch, path: str | Path) -> None:
    """Write a batch as an ``.npz`` file that `read_batch` reads."""
    np.savez_compressed(path, indices=batch.indices, offsets=batch.offsets, lengths=batch.lengths)


def _npz(path: Path) -> tuple[IntArray, IntArray]:
    """(ids, lengths by feature and sample)."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in ("indices", "offsets", "lengths") if name in file.files}
    wrong = [name for name, array in arrays.items() if array.dtype.kind not in "iu"]
    if wrong:
        raise ValueError(f"{wrong[0]} are of the type {arrays[wrong[0]].dtype}, allowed are whole numbers")
    if "indices" not in arrays or "lengths" not in arrays:
        raise ValueError(
            f"it has {', '.join(arrays) or 'no known array'}, needed are indices, lengths and, better, offsets"
        )
    return _fitting(arrays)


def _fitting(arrays: Mapping[str, NDArray[Any]]) -> tuple[IntArray, IntArray]:
    """(ids, lengths), if these and the offsets fit together."""
    lengths = arrays["lengths"].astype(np.int64)
    if lengths.ndim != 2 or arrays["indices"].ndim != 1:
        raise ValueError(
            f"lengths have the shape {lengths.shape}, allowed is features x samples; indices have one axis"
        )
    if "offsets" in arrays and not np.array_equal(arrays["offsets"], _offsets(lengths)):
        raise ValueError("offsets are not those of the lengths, each the sum of the lengths before it")
    return arrays["indices"].astype(np.int64), lengths


def _parquet(path: Path) -> tuple[IntArray, IntArray]:
    """(ids, lengths by feature and sample)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=["feature", "sample", "indices"])
    column = table["indices"].combine_chunks()
    if not (pa.types.is_list(column.type) and pa.types.is_integer(column.type.value_type)):
        raise ValueError(f"indices are of the type {column.type}, allowed are lists of whole numbers")
    lengths = np.diff(column.offsets.to_numpy()).astype(np.int64)
    features, samples = (table[key].to_numpy().astype(np.int64) for key in ("feature", "sample"))
    if not len(features):
        raise ValueError("it has no bag")
    shape = int(features.max()) + 1, int(samples.max()) + 1
    if not np.array_equal(features * shape[1] + samples, np.arange(shape[0] * shape[1])):
        raise ValueError("bags are missing, given twice or not sorted by feature and sample")
    return column.flatten().to_numpy().astype(np.int64), lengths.reshape(shape)


def _torch(path: Path) -> tuple[IntArray, IntArray]:
    """(ids, lengths by feature and sample)."""
    tensors = read_tensors(path)
    if len(tensors) != 3:
        raise ValueError(f"it holds {len(tensors)} tensors, allowed are indices, offsets and lengths")
    return _fitting(dict(zip(("indices", "offsets", "lengths"), tensors, strict=True)))


_READERS = {".npz": _npz, ".parquet": _parquet, ".pt": _torch, ".pt.gz": _torch}


def _offsets(lengths: IntArray) -> IntArray:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths.ravel(), dtype=np.int64)])


def _batch(name: str, indices: IntArray, lengths: IntArray, rows: Sequence[int] | None) -> TraceBatch:
    features, samples = lengths.shape
    offsets = _offsets(lengths)
    problems = []
    if samples == 0 or features == 0:
        problems.append(
            Problem(name, "lengths", f"read {features} features of {samples} samples, allowed is at least one")
        )
    elif (lengths < 0).any():
        feature, sample = np.argwhere(lengths < 0)[0]
        message = (
            f"read {lengths[feature, sample]} of feature {feature}, sample {sample}, allowed are no negative lengths"
        )
        problems.append(Problem(name, "lengths", message))
    elif offsets[-1] != len(indices):
        message = f"read {len(indices)}, the lengths add up to {offsets[-1]}: the trace is cut off or has too much"
        problems.append(Problem(name, "indices", message))
    if rows is not None and len(rows) != features:
        problems.append(Problem(name, "", f"it has {features} features, the rows of {len(rows)} tables are given"))
    elif rows is not None and min(rows) < 1:
        table = next(i for i, count in enumerate(rows) if count < 1)
        problems.append(Problem("argument", f"rows[{table}]", f"read {rows[table]}, allowed is at least one row"))
    if problems:
        raise InputError(problems)
    known = np.array(rows, np.int64) if rows is not None else _largest(indices, offsets, samples) + 1
    names = tuple(f"feature_{i}" for i in range(features))
    return TraceBatch(samples, indices, offsets, np.arange(features), known, names)


def _largest(indices: IntArray, offsets: IntArray, samples: int) -> IntArray:
    """Largest id of each feature, 0 of one without any."""
    return np.array([indices[a:b].max(initial=0) for a, b in pairwise(offsets[::samples])], np.int64)


def _check(name: str, batch: TraceBatch, *, empty_bags: bool) -> None:
    """Refuse ids outside their tables and, unless they are allowed, empty bags."""
    problems: list[Problem] = []
    found = 0
    for feature, table in enumerate(batch.tables):
        ids = batch.of_feature(feature)
        rows = int(batch.rows[table])
        start = batch.offsets[feature * batch.samples]
        bags = batch.offsets[feature * batch.samples : (feature + 1) * batch.samples + 1] - start
        wrong = np.flatnonzero((ids < 0) | (ids >= rows))
        empty = np.flatnonzero(np.diff(bags) == 0) if not empty_bags else np.empty(0, np.int64)
        found += len(wrong) + len(empty)
        for at in wrong[: MOST_PROBLEMS - len(problems)]:
            problems.append(Problem(name, "indices", batch.id_text(feature, int(at))))
        for sample in empty[: MOST_PROBLEMS - len(problems)]:
            message = f"{batch.names[feature]}, sample {sample}: the bag is empty, allowed with empty_bags=True"
            problems.append(Problem(name, "lengths", message))
    if found > len(problems):
        problems.append(Problem(name, "", f"and {found - len(problems):,} more problems"))
    if problems:
        raise InputError(problems)

"""Index traces as files: a batch in an ``.npz``, Parquet or PyTorch file, in the layout of the public traces.

``.npz``: the arrays ``indices`` (int, lookups), ``offsets`` (int, features · samples + 1; may be left out) and
``lengths`` (int, features x samples), as in facebookresearch/dlrm_datasets. Parquet: a row a bag, with the columns
``feature`` (int), ``sample`` (int) and ``indices`` (a list of int), sorted by feature and sample. ``.pt`` and
``.pt.gz``, as those traces are published: a tuple of the tensors indices, offsets and lengths; PyTorch is not needed.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accsim.config.checks import MAX_SIZE
from accsim.embedding.torch_file import read_tensors
from accsim.embedding.trace import MOST_ROWS, IntArray, TraceBatch
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
        arrays = read(Path(path))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(Problem(name, "", f"cannot read the file: {reason[:200]}")) from error
    batch = _batch(name, arrays, rows)
    _check(name, batch, empty_bags=empty_bags)
    return batch


def write_batch(batch: TraceBatch, path: str | Path) -> None:
    """Write a batch as an ``.npz`` file that `read_batch` reads."""
    np.savez_compressed(path, indices=batch.indices, offsets=batch.offsets, lengths=batch.lengths)


class Arrays(NamedTuple):
    """What a file holds, of any type of whole numbers.

    Attributes
    ----------
    indices, lengths, offsets
        As in a ``.npz`` file.
    """

    indices: NDArray[Any]
    lengths: NDArray[Any]
    offsets: NDArray[Any] | None = None


def _npz(path: Path) -> Arrays:
    with np.load(path) as file:
        arrays = {name: file[name] for name in ("indices", "offsets", "lengths") if name in file.files}
    wrong = [name for name, array in arrays.items() if array.dtype.kind not in "iu"]
    if wrong:
        raise ValueError(f"{wrong[0]} are of the type {arrays[wrong[0]].dtype}, allowed are whole numbers")
    if "indices" not in arrays or "lengths" not in arrays:
        raise ValueError(
            f"it has {', '.join(arrays) or 'no known array'}, needed are indices, lengths and, better, offsets"
        )
    return Arrays(**arrays)


def _parquet(path: Path) -> Arrays:
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
    due = np.divmod(np.arange(len(features)), shape[1])
    unlike = np.flatnonzero((features != due[0]) | (samples != due[1]))
    if len(unlike) or len(features) != shape[0] * shape[1]:
        row = int(unlike[0]) if len(unlike) else len(features)
        read = f"feature {features[row]}, sample {samples[row]}" if len(unlike) else "no more"
        allowed = "feature {}, sample {}".format(*divmod(row, shape[1]))
        raise ValueError(
            f"bags are missing, given twice or not sorted by feature and sample: row {row}: read {read}, "
            f"allowed is {allowed}"
        )
    return Arrays(column.flatten().to_numpy(), lengths.reshape(shape))


def _torch(path: Path) -> Arrays:
    tensors = read_tensors(path)
    if len(tensors) != 3:
        raise ValueError(f"it holds {len(tensors)} tensors, allowed are indices, offsets and lengths")
    indices, offsets, lengths = tensors
    return Arrays(indices, lengths, offsets)


_READERS = {".npz": _npz, ".parquet": _parquet, ".pt": _torch, ".pt.gz": _torch}


def _offsets(lengths: IntArray) -> IntArray:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths.ravel(), dtype=np.int64)])


def _batch(name: str, arrays: Arrays, rows: Sequence[int] | None) -> TraceBatch:
    """The batch of arrays that fit together."""
    features, samples = _shape(name, arrays)
    problems = [Problem(name, what, message) for what, message in _wrong_lengths(arrays)]
    if rows is not None and len(rows) != features:
        problems.append(Problem(name, "", f"it has {features} features, the rows of {len(rows)} tables are given"))
    elif rows is not None and min(rows) < 1:
        table = next(i for i, count in enumerate(rows) if count < 1)
        problems.append(Problem("argument", f"rows[{table}]", f"read {rows[table]}, allowed is at least one row"))
    if problems:
        raise InputError(problems)
    offsets = _offsets(arrays.lengths)
    most = MOST_ROWS if rows is None else np.iinfo(np.int64).max
    over = np.flatnonzero(arrays.indices > most - 1)
    if len(over):
        feature, sample, position = _place(offsets, samples, int(over[0]))
        allowed = "below 2^35, as one row more than the largest is taken" if rows is None else f"below {rows[feature]}"
        place = f"feature_{feature} of table {feature}, sample {sample}, position {position}"
        message = f"{place}: read {arrays.indices[over[0]]}, allowed are ids {allowed}"
        raise InputError(Problem(name, "indices", message))
    indices = arrays.indices.astype(np.int64)
    known = np.array(rows, np.int64) if rows is not None else _largest(indices, offsets, samples) + 1
    names = tuple(f"feature_{i}" for i in range(features))
    return TraceBatch(samples, indices, offsets, np.arange(features), known, names)


def _shape(name: str, arrays: Arrays) -> tuple[int, int]:
    """Features and samples."""
    shape = arrays.lengths.shape
    problems = []
    if len(shape) != 2:
        problems.append(Problem(name, "lengths", f"read the shape {shape}, allowed is features x samples"))
    elif 0 in shape:
        message = f"read {shape[0]} features of {shape[1]} samples, allowed is at least one"
        problems.append(Problem(name, "lengths", message))
    for what, array in (("indices", arrays.indices), ("offsets", arrays.offsets)):
        if array is not None and array.ndim != 1:
            problems.append(Problem(name, what, f"read the shape {array.shape}, allowed is one axis"))
    if problems:
        raise InputError(problems)
    return int(shape[0]), int(shape[1])


def _wrong_lengths(arrays: Arrays) -> Iterator[tuple[str, str]]:
    """(array, what is wrong) of lengths, and of what does not fit them."""
    lengths, ids = arrays.lengths, len(arrays.indices)
    features, samples = lengths.shape
    wrong = np.argwhere((lengths < 0) | (lengths > MAX_SIZE))
    if len(wrong):
        feature, sample = wrong[0]
        read = f"{lengths[feature, sample]} of feature {feature}, sample {sample}"
        yield "lengths", f"read {read}, allowed are 0 to 2^40 - 1"
        return
    wanted = _offsets(lengths)
    if wanted[-1] != ids:
        end = f"; it ends in {_told(_place(wanted, samples, ids))}" if ids < wanted[-1] else ""
        message = f"read {ids}, the lengths add up to {wanted[-1]}: the trace is cut off or has too much{end}"
        yield "indices", message
    if arrays.offsets is None:
        return
    if len(arrays.offsets) != len(wanted):
        due = f"{features} features of {samples} samples and the end"
        yield "offsets", f"read {len(arrays.offsets)}, allowed is one for each bag of {due}: {len(wanted)}"
        return
    unlike = np.flatnonzero(arrays.offsets != wanted)
    if len(unlike):
        at = int(unlike[0])
        bag = "the end" if at == len(wanted) - 1 else "feature {}, sample {}".format(*divmod(at, samples))
        yield "offsets", f"{bag}: read {arrays.offsets[at]}, allowed is {wanted[at]}, the sum of the lengths before it"


def _place(offsets: IntArray, samples: int, at: int) -> tuple[int, int, int]:
    """Feature, sample and position in its bag of an index."""
    bag = int(np.searchsorted(offsets, at, side="right")) - 1
    return *divmod(bag, samples), at - int(offsets[bag])


def _told(place: tuple[int, int, int]) -> str:
    return "feature {}, sample {}, position {}".format(*place)


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
            message = f"{batch.source(feature)}, sample {sample}: the bag is empty, allowed with empty_bags=True"
            problems.append(Problem(name, "lengths", message))
    if found > len(problems):
        problems.append(Problem(name, "", f"and {found - len(problems):,} more problems"))
    if problems:
        raise InputError(problems)

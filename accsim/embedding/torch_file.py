"""Tensors of a file that PyTorch has saved, read without PyTorch, and without running what else it may hold.

Such a file is a zip archive: ``data.pkl`` is a pickle of tensors whose numbers lie in ``data/<key>``, one after the
other in the order of ``byteorder``. Source: PyTorch documentation, "Serialization semantics", section "Serialized file
format for torch.save".
"""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

DTYPES: Final = {
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
}
"""Kinds of whole numbers, by the name of the storage that holds them."""


def read_tensors(path: Path) -> tuple[NDArray[np.int64], ...]:
    """The tensors of whole numbers that a ``.pt`` file holds, or a ``.pt.gz``.

    Raises
    ------
    OSError, ValueError, EOFError, zipfile.BadZipFile
        If the file cannot be read, or holds anything but a tuple or list of such tensors.
    """
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(gzip.decompress(data) if path.suffix == ".gz" else data)) as archive:
        pickled = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickled) != 1:
            raise ValueError("it is no archive of PyTorch 1.6 or later")
        try:
            found = _Tensors(archive, pickled[0].removesuffix("data.pkl")).load()
        except (pickle.UnpicklingError, AttributeError, IndexError, TypeError) as error:
            raise ValueError(f"its pickle is damaged: {error}") from error
    if not isinstance(found, (tuple, list)) or not all(isinstance(one, np.ndarray) for one in found):
        raise ValueError("it holds something else than a tuple of tensors")
    return tuple(one.astype(np.int64) for one in found)


class _Tensors(pickle.Unpickler):
    """Reads tensors of whole numbers and refuses all else."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}data.pkl")))
        self._archive, self._folder = archive, folder
        named = f"{folder}byteorder"
        big = named in archive.namelist() and archive.read(named) == b"big"
        self._order = ">" if big else "<"

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the pickle stands for."""
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in DTYPES:
            return np.dtype(self._order + DTYPES[name])
        raise ValueError(f"it holds {module}.{name}, allowed are tensors of whole numbers")

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        """The numbers of a storage."""
        _, dtype, key, _, _ = pid
        return np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), dtype)


def _tensor(
    storage: NDArray[Any], first: int, shape: Sequence[int], strides: Sequence[int], *_: object
) -> NDArray[Any]:
    """A tensor of numbers of a storage."""
    last = first + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if (min(shape, default=1) > 0 and not 0 <= first <= last < len(storage)) or min(strides, default=0) < 0:
        raise ValueError("a tensor has more numbers than are stored: the file is cut off")
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[first:], tuple(shape), steps, writeable=False)

"""Files as PyTorch writes them: archives made here by its documented format, with stand-ins for its classes."""

from __future__ import annotations

import gzip
import io
import pickle
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from accsim.embedding import read_batch
from accsim.errors import InputError


def saved(value: object, order: str = "little", cut: int = 0) -> bytes:
    """What ``torch.save`` makes of arrays in tuples, the storages cut off by some bytes."""
    storages: list[bytes] = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: object) -> object:
            if not isinstance(obj, Storage):
                return None
            storages.append(obj.array.astype(obj.array.dtype.newbyteorder(order)).tobytes())
            return "storage", getattr(sys.modules["torch"], obj.kind), str(len(storages) - 1), "cpu", obj.array.size

        def reducer_override(self, obj: object) -> object:
            if not isinstance(obj, np.ndarray):
                return NotImplemented
            strides = tuple(stride // obj.itemsize for stride in obj.strides)
            arguments = (Storage(obj.ravel("K")), 0, obj.shape, strides, False, OrderedDict())
            return sys.modules["torch._utils"]._rebuild_tensor_v2, arguments

    pickled, found = io.BytesIO(), io.BytesIO()
    Pickler(pickled, protocol=2).dump(value)
    with zipfile.ZipFile(found, "w") as archive:
        archive.writestr("trace/data.pkl", pickled.getvalue())
        archive.writestr("trace/byteorder", order)
        for key, numbers in enumerate(storages):
            archive.writestr(f"trace/data/{key}", numbers[: len(numbers) - cut])
    return found.getvalue()


class Storage:
    """Stands for ``torch.LongStorage`` and the like in a pickle."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.kind = {"i": {8: "LongStorage", 4: "IntStorage"}, "f": {4: "FloatStorage"}}[array.dtype.kind][
            array.itemsize
        ]


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    for kind in ("LongStorage", "IntStorage", "FloatStorage"):
        setattr(torch, kind, type(kind, (), {"__module__": "torch"}))

    def rebuild(*_: object) -> None:
        raise AssertionError("PyTorch is not asked")

    rebuild.__module__, rebuild.__qualname__, rebuild.__name__ = "torch._utils", *["_rebuild_tensor_v2"] * 2
    utils._rebuild_tensor_v2 = rebuild  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


INDICES, LENGTHS = np.array([4, 0, 2, 9, 9, 1, 7]), np.array([[1, 1, 1], [2, 1, 1]])
OFFSETS = np.array([0, 1, 2, 3, 5, 6, 7])


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("suffix", [".pt", ".pt.gz"])
def test_a_trace_is_read(suffix: str, order: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    data = saved((INDICES, OFFSETS, LENGTHS.astype(np.int32)), order)
    path.write_bytes(gzip.compress(data) if suffix == ".pt.gz" else data)
    batch = read_batch(path, rows=[5, 10])
    assert np.array_equal(batch.indices, INDICES)
    assert np.array_equal(batch.offsets, OFFSETS)
    assert np.array_equal(batch.lengths, LENGTHS)


def test_strides_are_kept(tmp_path: Path) -> None:
    (tmp_path / "t.pt").write_bytes(saved((INDICES, OFFSETS, np.asfortranarray(LENGTHS))))
    assert np.array_equal(read_batch(tmp_path / "t.pt").lengths, LENGTHS)


@pytest.mark.parametrize(
    ("value", "cut", "message"),
    [
        ((INDICES, OFFSETS, LENGTHS), 8, "more numbers than are stored: the file is cut off"),
        ((INDICES, OFFSETS), 0, "it holds 2 tensors, allowed are indices, offsets and lengths"),
        ((INDICES, OFFSETS, 3), 0, "something else than a tuple of tensors"),
        ((INDICES.astype(np.float32), OFFSETS, LENGTHS), 0, "torch.FloatStorage, allowed are tensors of whole numbers"),
        ((INDICES, OFFSETS + 1, LENGTHS), 0, "feature 0, sample 0: read 1, allowed is 0, the sum of the lengths"),
        ((print, OFFSETS, LENGTHS), 0, "print, allowed are tensors of whole numbers"),
    ],
)
def test_what_is_no_trace_is_refused(value: object, cut: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.pt").write_bytes(saved(value, cut=cut))
    with pytest.raises(InputError) as error:
        read_batch(tmp_path / "t.pt")
    assert message in str(error.value)


@pytest.mark.parametrize("data", [b"", b"no archive", saved.__doc__.encode() * 100])  # type: ignore[union-attr]
def test_what_is_no_file_of_pytorch_is_refused(data: bytes, tmp_path: Path) -> None:
    for name in ("t.pt", "t.pt.gz"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="cannot read the file"):
            read_batch(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "t.pt", "w") as archive:
        archive.writestr("other", "")
    with pytest.raises(InputError, match="no archive of PyTorch"):
        read_batch(tmp_path / "t.pt")
    with zipfile.ZipFile(tmp_path / "t.pt", "w") as archive:
        archive.writestr("trace/data.pkl", b"\x80\x02]q")
    with pytest.raises(InputError, match="cannot read the file"):
        read_batch(tmp_path / "t.pt")

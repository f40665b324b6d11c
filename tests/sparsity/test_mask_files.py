"""Masks read from files."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from accsim.errors import InputError
from accsim.sparsity import masks
from accsim.sparsity.mask import Mask
from accsim.sparsity.masks import load_masks

WEIGHTS = np.array([[0.5, 0.0, -0.25], [0.0, 0.0, 3.0]], dtype=np.float32)


def write_safetensors(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """A file by the format's description: length of the header, JSON header, data."""
    header: dict[str, object] = {}
    at = 0
    for name, array in arrays.items():
        kind = {"float32": "F32", "uint8": "U8", "uint16": "BF16", "int8": "F8_E4M3", "int16": "X"}[array.dtype.name]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(array.tobytes() for array in arrays.values()))


def test_numpy_files(tmp_path: Path) -> None:
    np.save(tmp_path / "layer.npy", WEIGHTS)
    np.savez(tmp_path / "model.npz", a=WEIGHTS, b=WEIGHTS != 0)
    assert load_masks(tmp_path / "layer.npy") == {"layer": Mask.of(WEIGHTS)}
    assert load_masks(str(tmp_path / "model.npz")) == {"a": Mask.of(WEIGHTS), "b": Mask.of(WEIGHTS)}


def test_safetensors(tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="of the extra 'compress'")
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"a": WEIGHTS, "mask": (WEIGHTS != 0).astype(np.uint8)})
    assert load_masks(path) == {"a": Mask.of(WEIGHTS), "mask": Mask.of(WEIGHTS)}
    # Of these types, which NumPy lacks, the bits: 1, 0, -0, the smallest.
    write_safetensors(path, {"bf16": np.array([0x3F80, 0, 0x8000, 1], dtype=np.uint16),
                             "fp8": np.array([0x38, 0, -0x80, 1], dtype=np.int8)})  # fmt: skip
    assert load_masks(path) == {"bf16": Mask.of([1, 0, 0, 1]), "fp8": Mask.of([1, 0, 0, 1])}
    write_safetensors(path, {"strange": np.ones(2, dtype=np.int16)})
    with pytest.raises(InputError):
        load_masks(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"model\.safetensors: cannot be read"):
        load_masks(path)


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(masks, "import_module", nothing)
    with pytest.raises(InputError, match=r"needs the package safetensors: pip install 'accsim\[compress\]'"):
        load_masks(tmp_path / "model.safetensors")


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("no array")
    np.savez(tmp_path / "mixed.npz", good=WEIGHTS, empty=np.zeros(0), text=np.array(["x"]))
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    for name, part in (("missing.npy", "missing.npy: cannot be read"), ("text.npy", "cannot be read"),
                       ("objects.npy", "cannot be read"), ("model.npx", "Did you mean '.npz'")):  # fmt: skip
        with pytest.raises(InputError, match=part):
            load_masks(tmp_path / name)
    with pytest.raises(InputError) as caught:
        load_masks(tmp_path / "mixed.npz")
    assert [problem.path for problem in caught.value.problems] == ["empty", "text"]

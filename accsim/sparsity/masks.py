"""Masks drawn from a pattern, checked against one, and read from files."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accsim.errors import InputError, Problem, nearest
from accsim.sparsity.attention_masks import TopKeys, Window
from accsim.sparsity.base import SCORE_AXES, WEIGHT_AXES, Axes, Bools, Pattern, Shape
from accsim.sparsity.mask import Mask, as_mask

_NUMPY_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1", "U64": "<u8",
    "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "?",
}  # fmt: skip
_WITHOUT_SIGN = {"BF16": ("<u2", 0x7FFF), "F8_E4M3": ("<u1", 0x7F), "F8_E5M2": ("<u1", 0x7F)}

FILES = (".npy", ".npz", ".safetensors")
"""Kinds of files that `load_masks` reads."""


def draw_mask(pattern: Pattern, shape: Shape, seed: int = 0, axes: Axes | None = None) -> Bools:
    """A mask of a pattern, uniform among those that have as many places as the pattern keeps.

    Parameters
    ----------
    pattern
        A pattern of weights or of scores.
    shape
        Of the mask; every side at least 1.
    seed
        Equal seeds draw equal masks.
    axes
        Name of each axis; default: ``("k", "n")``, of the patterns of scores ``("q", "kv")``.

    Raises
    ------
    InputError
        If the pattern does not fit the shape or has an axis that is not among `axes`.

    Examples
    --------
    >>> from accsim.sparsity.nm import NM
    >>> draw_mask(NM(2, 4), (8, 3)).sum(axis=0)
    array([4, 4, 4])
    """
    return pattern.draw(tuple(shape), _axes(pattern, tuple(shape), axes), np.random.default_rng(seed))


def conforms(mask: ArrayLike | Mask, pattern: Pattern, axes: Axes | None = None) -> bool:
    """True if a mask keeps no place that a pattern forbids; fewer places than the pattern keeps are allowed.

    Parameters
    ----------
    mask
        A `Mask`, or an array whose nonzero places are kept.
    pattern, axes
        As for `draw_mask`.

    Raises
    ------
    InputError
        As for `draw_mask`.
    """
    places = mask.array if isinstance(mask, Mask) else as_mask(mask)
    return pattern.allows(places, _axes(pattern, places.shape, axes))


def _axes(pattern: Pattern, shape: Shape, axes: Axes | None) -> Axes:
    if axes is None:
        axes = SCORE_AXES if isinstance(pattern, (Window, TopKeys)) else WEIGHT_AXES
    if len(axes) != len(shape) or any(side < 1 for side in shape):
        raise InputError(f"read the shape {shape} with the axes {', '.join(axes)}; allowed is a side of 1 or more each")
    return axes


def load_masks(path: str | Path) -> Mapping[str, Mask]:
    """Masks of the arrays in a file: their nonzero places.

    Parameters
    ----------
    path
        A ``.npy`` file (one array, named as the file), ``.npz``, or ``.safetensors`` (needs the extra `compress`).

    Raises
    ------
    InputError
        If the file cannot be read, is of another kind, or an array is empty or not of numbers; if the extra is missing.
    """
    path = Path(path)
    if path.suffix not in FILES:
        near = nearest(path.suffix, FILES)
        raise InputError(Problem(str(path), "", f"read a file '{path.suffix}', allowed are {', '.join(FILES)}", near))
    try:
        arrays = _safetensors(path) if path.suffix == ".safetensors" else _numpy(path)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(Problem(str(path), "", f"cannot be read: {error}")) from error
    masks: dict[str, Mask] = {}
    problems: list[Problem] = []
    for name, array in arrays.items():
        try:
            masks[name] = Mask.of(array)
        except InputError as error:
            problems += [Problem(str(path), name, problem.message) for problem in error.problems]
    if problems:
        raise InputError(problems)
    return masks


def _numpy(path: Path) -> dict[str, Any]:
    loaded = np.load(path, allow_pickle=False)
    return dict(loaded) if path.suffix == ".npz" else {path.stem: loaded}


def _safetensors(path: Path) -> dict[str, Any]:
    try:
        library = import_module("safetensors")
    except ImportError as error:
        message = "needs the package safetensors: pip install 'accsim[compress]'"
        raise InputError(Problem(str(path), "", message)) from error
    try:
        tensors = library.deserialize(path.read_bytes())
    except library.SafetensorError as error:
        raise ValueError(str(error)) from error
    return {name: _tensor(path, name, **tensor) for name, tensor in tensors}


def _tensor(path: Path, name: str, *, dtype: str, shape: Shape, data: bytes) -> NDArray[Any]:
    """A tensor; of a float that NumPy lacks, its bits without the sign, which are 0 where it is."""
    if dtype in _WITHOUT_SIGN:
        kind, magnitude = _WITHOUT_SIGN[dtype]
        return (np.frombuffer(data, dtype=kind) & magnitude).reshape(shape)
    if dtype not in _NUMPY_TYPES:
        known = ", ".join((*_NUMPY_TYPES, *_WITHOUT_SIGN))
        raise InputError(Problem(str(path), name, f"read the type {dtype}, allowed are {known}"))
    return np.frombuffer(data, dtype=_NUMPY_TYPES[dtype]).reshape(shape)

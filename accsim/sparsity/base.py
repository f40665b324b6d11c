"""What all sparsity patterns have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import MISSING, Field, fields
from fractions import Fraction
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from accsim.errors import InputError, nearest

Bools: TypeAlias = NDArray[np.bool_]
Shape: TypeAlias = tuple[int, ...]
Axes: TypeAlias = tuple[str, ...]

MAX_GROUP = 65536
"""Largest run of N:M, and largest side of a block."""

WEIGHT_AXES: Axes = ("k", "n")
"""Axes of B in C[m,n] = A[m,k] B[k,n]; of a weight stored as (outputs, inputs) they are ``("n", "k")``."""

SCORE_AXES: Axes = ("q", "kv")
"""Axes of the scores of attention: queries, keys."""


class Pattern(ABC):
    """A rule that says where a tensor may have nonzero values.

    Its methods take a shape and names of the axes, first axis first. `draw_mask` and `conforms` in
    `accsim.sparsity.masks` check both and are what users call.
    """

    __slots__ = ()
    kind: ClassVar[str]

    @abstractmethod
    def kept(self, shape: Shape, axes: Axes = WEIGHT_AXES) -> int:
        """Nonzero places of a drawn mask, exactly; no mask that conforms has more."""

    @abstractmethod
    def draw(self, shape: Shape, axes: Axes, rng: np.random.Generator) -> Bools:
        """A mask with exactly `kept` places, drawn uniformly where the rule leaves a choice."""

    @abstractmethod
    def allows(self, mask: Bools, axes: Axes) -> bool:
        """True if the mask keeps no place that the rule forbids."""

    def form(self) -> dict[str, Any]:
        """The pattern as a mapping for YAML or JSON: its kind, and the fields that are not their default.

        Of a pattern of one mask the mask is given by its digest, which cannot be read back.
        """
        found: dict[str, Any] = {"kind": self.kind}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value is not None and value != field.default:
                found[field.name] = value if isinstance(value, (int, str)) else str(value)
        return found

    def __str__(self) -> str:
        """The pattern as a text, which `read_pattern` reads back unless it is of one mask."""
        needed = {field.name for field in fields(self) if is_needed(field)}  # type: ignore[arg-type]
        form = self.form()
        kind = form.pop("kind")
        words = {
            name: str(value).lower() if value is True or value is False else str(value) for name, value in form.items()
        }
        parts = [word if name in needed else f"{name}={word}" for name, word in words.items()]
        return f"{kind}({', '.join(parts)})" if parts else kind

    def density_in(self, shape: Shape, axes: Axes = WEIGHT_AXES) -> Fraction:
        """Kept fraction of a drawn mask, exactly."""
        return Fraction(self.kept(shape, axes), math.prod(shape))


def is_needed(field: Field[Any]) -> bool:
    """True if a pattern's text must give the field."""
    return field.default in (MISSING, None) and field.name != "mask"


def axis_index(axis: str, axes: Axes) -> int:
    """Place of an axis among the axes of an array.

    Raises
    ------
    InputError
        If the array has no such axis.
    """
    if axis not in axes:
        near = nearest(axis, axes)
        hint = f". Did you mean '{near}'?" if near else ""
        raise InputError(f"the pattern runs along '{axis}', but the axes of the array are {', '.join(axes)}{hint}")
    return axes.index(axis)


def kept_of(total: int, density: Fraction) -> int:
    """Places kept of `total`: all but floor((1 − density) · total), as magnitude pruning counts.

    Examples
    --------
    >>> kept_of(10, Fraction(1, 2)), kept_of(3, Fraction(1, 2))
    (5, 2)
    """
    return total - math.floor((1 - density) * total)


def groups(mask: Bools, axis: int, size: int) -> Bools:
    """The mask cut into runs of `size` along one axis, which comes last; the end is filled up with False.

    Returns
    -------
    array of shape (..., ceil(length / size), size)
    """
    last = np.moveaxis(mask, axis, -1)
    short = -last.shape[-1] % size
    padded = np.pad(last, [(0, 0)] * (last.ndim - 1) + [(0, short)])
    return padded.reshape(*last.shape[:-1], -1, size)


def ungroup(cut: Bools, shape: Shape, axis: int) -> Bools:
    """The mask that `groups` cut, without what it filled up."""
    joined = cut.reshape(*cut.shape[:-2], -1)[..., : shape[axis]]
    return np.ascontiguousarray(np.moveaxis(joined, -1, axis))


def smallest(keys: NDArray[np.float64], count: int) -> Bools:
    """True at the `count` smallest keys of each run along the last axis."""
    chosen = np.zeros(keys.shape, dtype=np.bool_)
    if count:
        best = np.argpartition(keys, count - 1, axis=-1)[..., :count]
        np.put_along_axis(chosen, best, True, axis=-1)
    return chosen


def sides(kind: str, shape: Shape) -> tuple[int, int]:
    """Rows and columns of a matrix.

    Raises
    ------
    InputError
        If the shape is of another number of axes; `kind` tells which pattern needs a matrix.
    """
    if len(shape) != 2:
        raise InputError(f"the pattern {kind} is of matrices; read the shape {shape}")
    return shape[0], shape[1]

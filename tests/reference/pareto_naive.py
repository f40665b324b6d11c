"""Pareto fronts by the definition: every pair is compared; volumes by inclusion and exclusion of boxes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]


def dominates(a: Points, b: Points) -> bool:
    """Greater in no objective, smaller in one."""
    return bool((a <= b).all() and (a < b).any())


def front(points: Points) -> npt.NDArray[np.bool_]:
    """Whether no other point dominates each."""
    return np.array([not any(dominates(a, b) for a in points) for b in points], bool)


def layers(points: Points) -> npt.NDArray[np.int64]:
    """Front after front is taken away."""
    found = np.full(len(points), -1)
    layer = 0
    while (found < 0).any():
        rest = np.flatnonzero(found < 0)
        found[rest[front(points[rest])]] = layer
        layer += 1
    return found


def hypervolume(points: Points, reference: Points) -> float:
    """Volume of a union of boxes, each from a point to the reference: the sums over all subsets, signs alternating."""
    total = 0.0
    for size in range(1, len(points) + 1):
        for chosen in combinations(points, size):
            total -= (-1.0) ** size * float(np.maximum(reference - np.max(chosen, axis=0), 0.0).prod())
    return total

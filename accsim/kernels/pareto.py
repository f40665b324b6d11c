"""Which of many points are dominated, layer after layer, and what volume a front dominates; objectives are minimized.

Points come distinct and sorted by their first objective, then the second, and so on. One is dominated then only by
an earlier one that is not greater in any objective: the first need not be looked at again. For three objectives a
Fenwick tree over the second keeps the least third one; for four, halves of the sorted points are merged, each time with
such a tree (Kung, Luccio and Preparata, *On finding the maxima of a set of vectors*, JACM 22, 1975). Layers are found
by binary search for the first that takes a point (Zhang et al., *An efficient approach to nondominated sorting*, IEEE
Trans. Evolutionary Computation 19, 2015). ``tests/reference/pareto_naive.py`` compares every pair.
"""

from __future__ import annotations

import numpy as np

from accsim.kernels.jit import kernel

BLOCK = 64
"""Points that are compared pair by pair before halves are merged."""
STRONG = 32
"""Points that all others are compared with before any are sorted."""


@kernel
def below(points, i, j):
    """Whether point i is less than point j in every objective, whatever their order."""
    for k in range(points.shape[1]):  # noqa: SIM110 Numba compiles no generator
        if not points[i, k] < points[j, k]:
            return False
    return True


@kernel(allocates=True)
def candidates(points, front):
    """Mark the points that may be on a front: free of nan, and in no objective as good as beaten by a few strong ones.

    Of many points nearly all go here, in one pass. The strong ones are the first that none of them beats; one that
    beats another moves a place forward, and one that is beaten by a newcomer gives its place to it.

    Parameters
    ----------
    points : float64[n, d].
    front : bool[n], result.
    """
    strong = np.empty(STRONG, np.int64)
    size = 0
    for j in range(len(points)):
        front[j] = not np.isnan(points[j]).any()
        at = 0
        while front[j] and at < size:
            if below(points, strong[at], j):
                front[j] = False
                if at > 0:
                    strong[at - 1], strong[at] = strong[at], strong[at - 1]
            elif below(points, j, strong[at]):
                break
            at += 1
        if front[j] and at < STRONG:
            strong[at] = j
            size = max(size, at + 1)


@kernel
def dominates(points, i, j):
    """Whether an earlier point i dominates a later one j."""
    for k in range(1, points.shape[1]):  # noqa: SIM110 Numba compiles no generator
        if points[i, k] > points[j, k]:
            return False
    return True


@kernel
def least_before(tree, place):
    """Least value put at places 0 to ``place``."""
    least = np.inf
    at = place + 1
    while at > 0:
        least = min(least, tree[at])
        at -= at & -at
    return least


@kernel
def put(tree, size, place, value):
    """Put a value at a place of a tree over ``size`` places."""
    at = place + 1
    while at <= size:
        tree[at] = min(tree[at], value)
        at += at & -at


@kernel
def sweep_front(last, place, tree, front):
    """Mark the points of a front of two or three objectives.

    Parameters
    ----------
    last : float64[n], the last objective.
    place : int64[n], rank of the one before it, equal ones alike; zeros for two objectives.
    tree : float64[n + 1] of inf, scratch.
    front : bool[n], result.
    """
    n = len(last)
    for j in range(n):
        front[j] = least_before(tree, place[j]) > last[j]
        if front[j]:
            put(tree, n, place[j], last[j])


@kernel
def block_front(points, start, stop, front):
    """Clear the marks of points that one of the same block dominates."""
    for j in range(start, stop):
        for i in range(start, j):
            if front[i] and dominates(points, i, j):
                front[j] = False
                break


@kernel
def cross_pairs(points, left, right, front):
    """Clear the marks of points in ``right`` that one in ``left`` dominates."""
    for j in right:
        for i in left:
            if dominates(points, i, j):
                front[j] = False
                break


@kernel(allocates=True)
def cross_sweep(points, left, right, front):
    """The same for four objectives; both sides are sorted by the second."""
    thirds = np.sort(points[left, 2])
    tree = np.full(len(thirds) + 1, np.inf)
    at = 0
    for j in right:
        while at < len(left) and points[left[at], 1] <= points[j, 1]:
            put(tree, len(thirds), np.searchsorted(thirds, points[left[at], 2]), points[left[at], 3])
            at += 1
        place = np.searchsorted(thirds, points[j, 2], side="right") - 1
        front[j] = place < 0 or least_before(tree, place) > points[j, 3]


@kernel(allocates=True)
def kept_of(order, start, stop, front):
    """Those of ``order[start:stop]`` that are still marked."""
    found = np.empty(stop - start, np.int64)
    n = 0
    for at in range(start, stop):
        if front[order[at]]:
            found[n] = order[at]
            n += 1
    return found[:n]


@kernel
def merge_by_second(points, left, right, order, start):
    """Write both sides, each sorted by the second objective, into ``order`` as one."""
    i = j = 0
    for at in range(start, start + len(left) + len(right)):
        if j == len(right) or (i < len(left) and points[left[i], 1] <= points[right[j], 1]):
            order[at] = left[i]
            i += 1
        else:
            order[at] = right[j]
            j += 1


@kernel(allocates=True)
def merged_front(points, front):
    """Mark the points of a front of any number of objectives.

    Parameters
    ----------
    points : float64[n, d].
    front : bool[n] of True; the result.
    """
    n = len(points)
    blocks = (n + BLOCK - 1) // BLOCK
    order = np.empty(n, np.int64)
    kept = np.empty(blocks, np.int64)
    for block in range(blocks):
        start, stop = block * BLOCK, min(n, (block + 1) * BLOCK)
        block_front(points, start, stop, front)
        chosen = np.arange(start, stop)[front[start:stop]]
        kept[block] = len(chosen)
        order[start : start + len(chosen)] = chosen[np.argsort(points[chosen, 1], kind="mergesort")]
    width = 1
    while width < blocks:
        for block in range(0, blocks - width, 2 * width):
            start, middle = block * BLOCK, (block + width) * BLOCK
            left = order[start : start + kept[block]].copy()
            right = order[middle : middle + kept[block + width]].copy()
            if points.shape[1] == 4:
                cross_sweep(points, left, right, front)
            else:
                cross_pairs(points, left, right, front)
            right = kept_of(right, 0, len(right), front)
            merge_by_second(points, left, right, order, start)
            kept[block] = len(left) + len(right)
        width *= 2


@kernel(allocates=True)
def layers(points, layer):
    """Write the layer of each point: 0 for the front, 1 for the front of the rest, and so on.

    Parameters
    ----------
    points : float64[n, d].
    layer : int64[n], result.
    """
    n, d = points.shape
    last = np.full(n, -1, np.int64)
    before = np.empty(n, np.int64)
    count = 0
    for j in range(n):
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            i = last[middle]
            # Of two objectives the second falls along a layer, so that its last point tells for all.
            while i >= 0 and not dominates(points, i, j):
                i = before[i] if d > 2 else -1
            if i >= 0:
                low = middle + 1
            else:
                high = middle
        layer[j] = low
        before[j] = last[low]
        last[low] = j
        count = max(count, low + 1)


@kernel
def area(points, reference):
    """Area that points of two objectives dominate, up to a reference point; sorted, and all of them before it."""
    found = 0.0
    height = reference[1]
    for i in range(len(points)):
        if points[i, 1] < height:
            found += (reference[0] - points[i, 0]) * (height - points[i, 1])
            height = points[i, 1]
    return found


@kernel(allocates=True)
def volume(points, reference):
    """Volume that points of three objectives dominate, up to a reference point; sorted, and all of them before it.

    Slices between neighbouring values of the first objective, each the area of a staircase that takes one more point.
    """
    n = len(points)
    x, y = np.empty(n + 1), np.empty(n + 1)  # the staircase: x rises, y falls
    size = 0
    found = covered = 0.0
    for i in range(n):
        second, third = points[i, 1], points[i, 2]
        low = np.searchsorted(x[:size], second)  # steps before it have a smaller x
        height = reference[2] if low == 0 else y[low - 1]
        if third < height and not (low < size and x[low] == second and y[low] <= third):
            high, at = low, second
            while high < size and y[high] >= third:  # steps that it covers
                covered += (x[high] - at) * (height - third)
                at, height = x[high], y[high]
                high += 1
            end = x[high] if high < size else reference[1]
            covered += (end - at) * (height - third)
            shift = low + 1 - high
            if shift == 1:
                for k in range(size, high, -1):
                    x[k], y[k] = x[k - 1], y[k - 1]
            else:
                for k in range(high, size):
                    x[k + shift], y[k + shift] = x[k], y[k]
            x[low], y[low] = second, third
            size += shift
        following = points[i + 1, 0] if i + 1 < n else reference[0]
        found += covered * (following - points[i, 0])
    return found

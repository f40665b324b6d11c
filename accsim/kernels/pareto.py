"""Which of many points are dominated, layer after layer, and what volume a front dominates; objectives are minimized.

Points come distinct and sorted by their first objective, then the second, and so on. One is dominated then only by
an earlier one that is not greater in any objective: the first need not be looked at again. For three objectives a
Fenwick tree over the second keeps the least third one; for four, halves of the sorted points are merged, each time with
a staircase or such a tree (Kung, Luccio and Preparata, *On finding the maxima of a set of vectors*, JACM 22, 1975).
Layers are found by binary search for the first that takes a point (Zhang et al., *An efficient approach to nondominated
sorting*, IEEE Trans. Evolutionary Computation 19, 2015). ``tests/reference/pareto_naive.py`` compares every pair.
"""

from __future__ import annotations

import numpy as np

from accsim.kernels.jit import kernel

BLOCK = 64
"""Points that are compared pair by pair before halves are merged."""
STEPS = 1024
"""Steps of a staircase at most; it is searched in a few looks, and moved as a whole."""
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
def dominates(one, i, other, j, first):
    """Whether point i is greater than point j in no objective from the ``first`` on; before it the order tells."""
    for k in range(first, one.shape[1]):  # noqa: SIM110 Numba compiles no generator
        if one[i, k] > other[j, k]:
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
            if front[i] and dominates(points, i, points, j, 1):
                front[j] = False
                break


@kernel
def cross_pairs(left, right, kept):
    """Clear the marks of points in ``right`` that one in ``left`` dominates.

    Parameters
    ----------
    left, right : float64[n, d - 1], all objectives but the first, sorted by the second.
    kept : bool[n] of True, result.
    """
    for j in range(len(right)):
        for i in range(len(left)):
            if dominates(left, i, right, j, 0):
                kept[j] = False
                break


@kernel(allocates=True)
def cross_stairs(left, right, kept):
    """The same for four objectives. False where it has given up.

    Of those on the left so far only a staircase counts: as the third objective rises, the least fourth one falls. It
    has few steps as a rule; one with many is left to `cross_sweep`.
    """
    x, y = np.empty(STEPS), np.empty(STEPS)
    size = at = 0
    for j in range(len(right)):
        while at < len(left) and left[at, 0] <= right[j, 0]:
            size = add_step(x, y, size, left[at, 1], left[at, 2])
            at += 1
            if size == STEPS:
                return False
        low = steps_up_to(x, size, right[j, 1])
        kept[j] = low == 0 or y[low - 1] > right[j, 2]
    return True


@kernel
def steps_up_to(x, size, value):
    """How many of the first values of a rising array are not above a value."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if x[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def add_step(x, y, size, third, fourth):
    """Put a point into a staircase of some steps, of which x rises and y falls; how many it has then."""
    low = steps_up_to(x, size, third)
    if low > 0 and y[low - 1] <= fourth:
        return size
    if low > 0 and x[low - 1] == third:
        low -= 1
    high = low
    while high < size and y[high] >= fourth:  # steps that it covers
        high += 1
    shift = low + 1 - high
    if shift > 0:
        for k in range(size, high, -1):
            x[k], y[k] = x[k - 1], y[k - 1]
    elif shift < 0:
        for k in range(high, size):
            x[k + shift], y[k + shift] = x[k], y[k]
    x[low], y[low] = third, fourth
    return size + shift


@kernel(allocates=True)
def cross_sweep(left, right, kept):
    """The same as `cross_stairs`, with a tree over the third objective in place of the staircase."""
    thirds = np.sort(left[:, 1])
    tree = np.full(len(thirds) + 1, np.inf)
    at = 0
    for j in range(len(right)):
        while at < len(left) and left[at, 0] <= right[j, 0]:
            put(tree, len(thirds), np.searchsorted(thirds, left[at, 1]), left[at, 2])
            at += 1
        place = np.searchsorted(thirds, right[j, 1], side="right") - 1
        kept[j] = place < 0 or least_before(tree, place) > right[j, 2]


@kernel(allocates=True)
def merge(rows, order, start, middle, left, right):
    """Merge two neighbouring parts that are sorted by the second objective; how many points are left of both.

    Parameters
    ----------
    rows : float64[n, d - 1], all objectives but the first; read and written from ``start`` on.
    order : int64[n], which points these are.
    start, middle : where the parts begin.
    left, right : how many points they have.
    """
    one, one_order = rows[start : start + left].copy(), order[start : start + left].copy()
    two, two_order = rows[middle : middle + right].copy(), order[middle : middle + right].copy()
    kept = np.ones(right, np.bool_)
    if rows.shape[1] != 3:
        cross_pairs(one, two, kept)
    elif not cross_stairs(one, two, kept):
        cross_sweep(one, two, kept)
    i = j = 0
    at = start
    while i < left or j < right:
        if j == right or (i < left and one[i, 0] <= two[j, 0]):
            rows[at], order[at] = one[i], one_order[i]
            i += 1
            at += 1
        else:
            if kept[j]:
                rows[at], order[at] = two[j], two_order[j]
                at += 1
            j += 1
    return at - start


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
    rows = np.empty((n, points.shape[1] - 1))
    order = np.empty(n, np.int64)
    sizes = np.empty(blocks, np.int64)
    for block in range(blocks):
        start, stop = block * BLOCK, min(n, (block + 1) * BLOCK)
        block_front(points, start, stop, front)
        chosen = np.arange(start, stop)[front[start:stop]]
        chosen = chosen[np.argsort(points[chosen, 1], kind="mergesort")]
        sizes[block] = len(chosen)
        order[start : start + len(chosen)] = chosen
        rows[start : start + len(chosen)] = points[chosen, 1:]
    width = 1
    while width < blocks:
        for block in range(0, blocks - width, 2 * width):
            middle = (block + width) * BLOCK
            sizes[block] = merge(rows, order, block * BLOCK, middle, sizes[block], sizes[block + width])
        width *= 2
    front[:] = False
    front[order[: sizes[0]]] = True


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
            while i >= 0 and not dominates(points, i, points, j, 1):
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

"""Candidate tile sizes and splits over cores: the axes of the mapping spaces."""

from __future__ import annotations

MOST_SIZES = 9


def tile_sizes(extent: int, base: int, most: int = MOST_SIZES) -> list[int]:
    """Tile sizes worth trying for an extent: ``base`` times powers of two below it, and the extent itself.

    Examples
    --------
    >>> tile_sizes(768, 128)
    [128, 256, 512, 768]
    >>> tile_sizes(5, 128)
    [5]
    """
    sizes = [extent]
    size = base
    while size < extent:
        sizes.append(size)
        size *= 2
    return sorted(sizes)[-most:] if extent <= base * 2**most else sorted(sizes)[:most]


def fine_sizes(extent: int, step: int, most: int) -> set[int]:
    """Every multiple of ``step`` below an extent, and the extent itself.

    Where they are more than ``most``, only the smallest that makes each number of tiles.

    Examples
    --------
    >>> sorted(fine_sizes(100, 16, 9))
    [16, 32, 48, 64, 80, 96, 100]
    >>> sorted(fine_sizes(100, 16, 6))
    [16, 32, 48, 64, 100]
    """
    multiples = {*range(step, extent, step), extent}
    if len(multiples) <= most:
        return multiples
    counts = {-(-extent // size) for size in multiples}
    return {min(extent, -(-extent // (count * step)) * step) for count in counts}


def splits(
    rows: int, cols: int, products: int, cores: int, split_m: int | None, split_n: int | None
) -> list[tuple[int, int, int]]:
    """(cores along m, along n, over products) that use the cores well, products first.

    Raises nothing: a given split is taken as it is, up to the number of cores.

    Examples
    --------
    >>> splits(1024, 1024, 1, 2, None, None)
    [(1, 2, 1), (2, 1, 1)]
    """
    found = set()
    for along_p in sorted({1, min(products, cores)}):
        left = max(1, cores // along_p)
        options = [split_m] if split_m else [m for m in range(1, min(left, rows) + 1) if m <= 4 or left % m == 0]
        for m in options:
            n = split_n or max(1, min(cols, left // m))
            if m * n <= cores:
                found.add((m, n, min(products, max(1, cores // (m * n)))))
    return sorted(found)

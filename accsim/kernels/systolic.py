"""Closed forms of the systolic matrix unit: folds of a GEMM and the cycles they cost.

What the emulation in ``accsim.kernels.systolic_pe`` counts PE by PE, these give at once; the tests hold both equal to
the cycle. Tile programs use these. R = ``rows``, C = ``cols``, T = steps streamed in a fold; ``docs/systolic.md`` has
the conventions. A fold always sweeps the whole array: unused rows and columns hold zeros and cost the same cycles.
"""

from typing import Final

from accsim.kernels.jit import kernel

WEIGHT_STATIONARY: Final = 0
OUTPUT_STATIONARY: Final = 1
INPUT_STATIONARY: Final = 2

OVERLAP_NONE: Final = 0
OVERLAP_WEIGHTS: Final = 1
OVERLAP_FULL: Final = 2


@kernel
def array_view(m: int, n: int, k: int, stationary: int) -> tuple[int, int, int]:
    """GEMM C[m,n] = A[m,k] B[k,n] as the array sees it: extents along rows, along columns, and in time (steps).

    Weight stationary (k, n, m), output stationary (m, n, k), input stationary (k, m, n).

    Source: Samajdar et al., ISPASS 2020, the table that gives S_R, S_C and T for each dataflow.
    """
    if stationary == OUTPUT_STATIONARY:
        return m, n, k
    if stationary == WEIGHT_STATIONARY:
        return k, n, m
    return k, m, n


@kernel
def fold_cycles(rows: int, cols: int, steps: int) -> int:
    """Cycles of one fold alone, in every stationary form: 2 R + C + T - 2.

    Source: Samajdar et al., "A Systematic Methodology for Characterizing Scalability of DNN Accelerators using
    SCALE-Sim", ISPASS 2020, analytical runtime of a fold; proved here by the emulation.
    """
    return 2 * rows + cols + steps - 2


@kernel
def gemm_fold_timing(
    m: int, n: int, k: int, rows: int, cols: int, stationary: int, overlap: int
) -> tuple[int, int, int, int]:
    """Folds of a GEMM, steady cycles a fold, overhead cycles a fold, and overhead cycles once for the whole GEMM.

    ``total_cycles = folds * (steady + overhead) + once``, exactly what ``emulate_gemm`` counts.

    Parameters
    ----------
    m, n, k : int
        Extents of C[m,n] = A[m,k] B[k,n], at least 1.
    rows, cols : int
        PEs along each side of the array, at least 1.
    stationary, overlap : int
        WEIGHT_STATIONARY, OUTPUT_STATIONARY or INPUT_STATIONARY; OVERLAP_NONE, OVERLAP_WEIGHTS or OVERLAP_FULL.

    Returns
    -------
    tuple of int
        ``(folds, steady_cycles, overhead_cycles, once_cycles)``.

    Notes
    -----
    none: a fold costs 2R + C + T - 2, nothing once. weights: a fold costs T + R + C - 2, once the first preload R;
    output stationary has no preload to hide and is as with none. full: a fold costs max(T, R), or T if output
    stationary; once 2R + C - 2 (preload or drain R, and the way through the array R + C - 2), less max(0, R - T) if not
    output stationary, since nothing is preloaded behind the last fold.

    Source: the cost of a lone fold as in ``fold_cycles``; the overlaps are this project's, proved by the emulation.

    Examples
    --------
    Two folds of 512 steps along k on a 128 x 128 array, each with 128 + 128 + 128 - 2 cycles of fill:

    >>> gemm_fold_timing(512, 128, 256, 128, 128, WEIGHT_STATIONARY, OVERLAP_NONE)
    (2, 512, 382, 0)
    >>> gemm_fold_timing(512, 128, 256, 128, 128, WEIGHT_STATIONARY, OVERLAP_FULL)
    (2, 512, 0, 382)
    """
    along_rows, along_cols, steps = array_view(m, n, k, stationary)
    folds = -(-along_rows // rows) * -(-along_cols // cols)
    preloads = stationary != OUTPUT_STATIONARY
    if overlap == OVERLAP_FULL:
        wait = max(0, rows - steps) if preloads else 0
        return folds, steps, wait, 2 * rows + cols - 2 - wait
    if overlap == OVERLAP_WEIGHTS and preloads:
        return folds, steps, rows + cols - 2, rows
    return folds, steps, 2 * rows + cols - 2, 0

"""Matrix products added up as a matrix unit does that keeps few bits of aligned products."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from accsim.errors import InputError
from accsim.sparsity.elements import Floats

MOST_BITS = 44
"""Aligned products of this many bits, and a few hundred of them added up, are exact in double precision."""


def truncated_matmul(
    a: ArrayLike, b: ArrayLike, aligned_bits: int, *, step: int = 32, promote_every: int | None = None
) -> Floats:
    """A B, of whose products and sums only the leading bits of the largest one's position are kept.

    Parameters
    ----------
    a, b
        Arrays (m, k) and (k, n), of values whose products double precision holds: any number format of 8 or 16 bits.
    aligned_bits
        Significant bits kept, from 2 to 44: 14 of fp8 products on Hopper.
    step
        Places along k that are added up at once: those of an instruction, 32 in fp8.
    promote_every
        Places along k, a multiple of ``step``, after which the sum is added to one in fp32 and starts anew, or None.

    Returns
    -------
    array (m, n) of float64

    Raises
    ------
    InputError
        If shapes do not fit together, a value is not finite, or a number is out of range.

    Notes
    -----
    Products are exact. Those of a step and the sum so far are shifted right until they have the exponent of the largest
    of them, bits beyond ``aligned_bits`` are cut off towards zero, and the rest is added up exactly; what the sum has
    beyond ``aligned_bits`` is cut off again.

    Source: DeepSeek-V3 (arXiv 2412.19437), sections 3.3.2 and 3.5.2: 14 bits on H800, promotion every 128; the rule as
    measured on earlier tensor cores, towards zero: Fasi et al., PeerJ Computer Science 7, 2021.

    Examples
    --------
    >>> truncated_matmul([[1.0, 1.0, 1.0]], [[1.0], [2.0**-13], [2.0**-14]], aligned_bits=14).item()
    1.0001220703125
    """
    left, right = (np.asarray(operand, np.float64) for operand in (a, b))
    _check(left, right, aligned_bits, step, promote_every)
    total = np.zeros((left.shape[0], right.shape[1]))
    promoted = np.zeros_like(total, dtype=np.float32)
    for at in range(0, left.shape[1], step):
        products = left[:, at : at + step, None] * right[None, at : at + step, :]
        largest = np.maximum(np.abs(products).max(axis=1), np.abs(total))
        kept = _cut(products, largest[:, None, :], aligned_bits).sum(axis=1) + _cut(total, largest, aligned_bits)
        total = _cut(kept, np.abs(kept), aligned_bits)
        if promote_every is not None and (at + step) % promote_every == 0:
            promoted += total.astype(np.float32)
            total = np.zeros_like(total)
    if promote_every is None:
        return total
    return (promoted + total.astype(np.float32)).astype(np.float64)


def _cut(values: Floats, largest: Floats, bits: int) -> Floats:
    """Values without what lies beyond so many bits from the leading one of the largest, towards zero."""
    quantum = np.ldexp(1.0, np.frexp(largest)[1] - bits)
    cut: Floats = np.trunc(values / quantum) * quantum
    return cut


def _check(a: Floats, b: Floats, bits: int, step: int, promote_every: int | None) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise InputError(f"read arrays of {a.shape} and {b.shape}, allowed are (m, k) and (k, n)")
    if not np.isfinite(a).all() or not np.isfinite(b).all():
        raise InputError("read a value that is not finite, allowed are finite ones")
    if not 2 <= bits <= MOST_BITS:
        raise InputError(f"aligned_bits: read {bits}, allowed is 2 to {MOST_BITS}")
    if not 1 <= step <= 256:
        raise InputError(f"step: read {step}, allowed is 1 to 256")
    if promote_every is not None and (promote_every < step or promote_every % step):
        raise InputError(f"promote_every: read {promote_every}, allowed is a multiple of step, {step}")

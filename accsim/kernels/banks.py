"""Conflicts of banks in the local memory: how long its ports wait while several words of an access lie in one bank.

``docs/memories.md`` has the model. Words lie over the banks in turn, and an operand lies row after row, each row from a
word's beginning. The array takes a word of each of several rows at once, or words of one row, which never meet.
"""

from __future__ import annotations

import math

from accsim.kernels.jit import kernel
from accsim.kernels.matrix import ceil_div
from accsim.kernels.systolic import INPUT_STATIONARY, WEIGHT_STATIONARY


@kernel
def busiest_bank(words, stride, banks):
    """Words that the busiest of ``banks`` has of ``words`` words which lie ``stride`` apart, at least 1.

    Notes
    -----
    ceil(L / (B / gcd(s, B))): multiples of s visit B / gcd(s, B) banks in turn.

    Source: strided accesses of shared memory in the CUDA C++ Programming Guide; of every layout, the lines that meet in
    a bank are counted one by one in SCALE-Sim v3 (Raj et al., ISPASS 2025).

    Examples
    --------
    >>> busiest_bank(32, 32, 32), busiest_bank(32, 4, 32), busiest_bank(32, 33, 32)
    (32, 4, 1)
    """
    return ceil_div(words, banks // math.gcd(stride, banks))


@kernel
def conflict_factor(rows, row_bytes, port_words, machine):
    """Times as long as without conflicts that a port takes for an access of a word of each of ``rows`` rows.

    ``port_words`` is what the port moves in a cycle when no words meet; at least 1.
    """
    stride = math.ceil(row_bytes / machine.local_bank_bytes)
    return max(1.0, busiest_bank(rows, stride, machine.local_banks) / math.ceil(rows / port_words))


@kernel
def rows_of_a(tile, form, machine):
    """Rows of A that the array takes from at once: one where it takes A along k."""
    if machine.systolic == 1 and form == WEIGHT_STATIONARY:
        return 1
    side = machine.cols if machine.systolic == 1 and form == INPUT_STATIONARY else machine.rows
    return min(side, tile.m)


@kernel
def rows_of_b(tile, form, machine):
    """Rows of B, as it lies, that the array takes from at once."""
    if machine.systolic == 1 and (form == INPUT_STATIONARY) == (tile.b_along_k == 1):
        return 1
    if tile.b_along_k == 1:
        return min(machine.cols, tile.n)
    return min(machine.rows if machine.systolic == 1 else machine.depth, tile.k)


@kernel
def rows_of_c(tile, form, machine):
    """Rows of C that leave the array at once."""
    return min(machine.cols, tile.m) if machine.systolic == 1 and form == INPUT_STATIONARY else 1


@kernel(inline="late")
def waiting_bytes(tile, work, form, read, write, machine):
    """Bytes that the read and the write port could have moved while a tile's accesses wait for banks.

    ``read`` are bytes of earlier tiles' sums, which are as wide as those of its own folds; ``write`` of its results.
    """
    if machine.local_banks == 1:
        return 0.0, 0.0
    row_a, row_b = tile.k * machine.bytes_a, (tile.k if tile.b_along_k else tile.n) * machine.bytes_b
    row_sums, rows_c = tile.n * machine.sum_bytes, rows_of_c(tile, form, machine)
    sums_read, sums_written = read + work.sum_reads * machine.sum_bytes, work.sum_writes * machine.sum_bytes
    reads, writes = machine.local_read_words, machine.local_write_words
    return (
        work.reads_a * machine.bytes_a * (conflict_factor(rows_of_a(tile, form, machine), row_a, reads, machine) - 1)
        + work.reads_b * machine.bytes_b * (conflict_factor(rows_of_b(tile, form, machine), row_b, reads, machine) - 1)
        + sums_read * (conflict_factor(rows_c, row_sums, reads, machine) - 1),
        sums_written * (conflict_factor(rows_c, row_sums, writes, machine) - 1)
        + write * (conflict_factor(rows_c, write / tile.m, writes, machine) - 1),
    )

"""Where the bytes of an access pattern lie: from addresses to the bursts of one channel.

An address is a number in mixed radix: the byte in its burst, the burst in its interleave block, then the digits
channel, bank group, bank, row and column in the order that the mapping gives. All patterns are lists of runs.
"""

from typing import Final, NamedTuple

import numpy as np

from accsim.kernels.jit import kernel

CHANNEL: Final = 0
GROUP: Final = 1
BANK: Final = 2
ROW: Final = 3
COLUMN: Final = 4
DIGITS: Final = 5

LISTED: Final = 0
STRIDED: Final = 1
RANDOM: Final = 2


class Layout(NamedTuple):
    """An address mapping; ``digit`` and ``radix`` begin with the digit that changes first."""

    burst_bytes: int
    block_bursts: int
    """Bursts of an interleave block, which lie one after the other in one row."""
    digit: np.ndarray
    radix: np.ndarray
    """How many values each digit has, in the order of ``digit``."""
    bits: np.ndarray
    """The logarithm of ``radix`` to the base 2; negative where it is not whole."""
    count: np.ndarray
    """How many values each digit has, by CHANNEL … COLUMN."""
    hashed: int
    """1 to exchange banks by the row's low bits, and to turn channels by a hash of the other digits."""


class Runs(NamedTuple):
    """Runs of bytes, by ``kind`` LISTED (at ``starts``), STRIDED (every ``stride``) or RANDOM (rows of a table)."""

    kind: int
    starts: np.ndarray
    run_bytes: int
    count: int
    stride: int
    table_rows: int
    seed: int


class Found(NamedTuple):
    """Room for the bursts of one channel: bank over all groups, row, and 1 for a write."""

    bank: np.ndarray
    row: np.ndarray
    write: np.ndarray


@kernel
def mixed(value):
    """A hash of 32 bits: two rounds of shift, xor and multiply, so that neighbours differ in half of their bits."""
    x = value & 0xFFFFFFFF
    x = ((x ^ (x >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    x = ((x ^ (x >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    return x ^ (x >> 16)


@kernel
def locate(layout, block, only_channel):
    """Channel, bank over all groups, and row of an interleave block; addresses beyond the capacity wrap around.

    With ``only_channel`` bank and row mean nothing.
    """
    rest = block
    channel = group = bank = row = column = 0
    for k in range(DIGITS):
        radix, bits = layout.radix[k], layout.bits[k]
        if bits >= 0:
            value = rest & (radix - 1)
            rest >>= bits
        else:
            value = rest % radix
            rest //= radix
        digit = layout.digit[k]
        if digit == CHANNEL:
            channel = value
            if only_channel and not layout.hashed:
                break
        elif digit == GROUP:
            group = value
        elif digit == BANK:
            bank = value
        elif digit == ROW:
            row = value
        else:
            column = value
    groups, banks = layout.count[GROUP], layout.count[BANK]
    if layout.hashed:
        group ^= row & (groups - 1)
        bank ^= (row // groups) & (banks - 1)
        others = ((row * banks + bank) * groups + group) * layout.count[COLUMN] + column
        channel = (channel + mixed(others)) % layout.count[CHANNEL]
    return channel, group * banks + bank, row


@kernel
def run_start(runs, i):
    """First byte of run ``i``; a random row is a hash of the seed and ``i``, the same on every machine."""
    if runs.kind == LISTED:
        return runs.starts[i]
    if runs.kind == STRIDED:
        return i * runs.stride
    high = mixed(i + mixed(runs.seed))
    low = mixed((i ^ 0x5BD1E995) + mixed(runs.seed + 1))
    return ((high << 30) ^ low) % runs.table_rows * runs.run_bytes


@kernel
def count_bursts(layout, runs, most_blocks, bursts):
    """Runs walked, at most so many that ``most_blocks`` blocks are touched; bursts of each channel into ``bursts``."""
    blocks = 0
    for i in range(runs.count):
        if blocks >= most_blocks:
            return i
        start = run_start(runs, i)
        first = start // layout.burst_bytes
        last = (start + runs.run_bytes - 1) // layout.burst_bytes
        while first <= last:
            if blocks >= most_blocks:
                return i
            block = first // layout.block_bursts
            end = min(last + 1, (block + 1) * layout.block_bursts)
            channel, _, _ = locate(layout, block, True)
            bursts[channel] += end - first
            blocks += 1
            first = end
    return runs.count


@kernel
def collect_bursts(layout, runs, channel, most_blocks, writes, found):
    """Bursts of one channel in order, until there is no room or ``most_blocks`` blocks are touched; how many.

    Of 65536 bursts ``writes`` are writes, spread evenly.
    """
    n = blocks = 0
    for i in range(runs.count):
        start = run_start(runs, i)
        first = start // layout.burst_bytes
        last = (start + runs.run_bytes - 1) // layout.burst_bytes
        while first <= last:
            if blocks >= most_blocks or n == len(found.bank):
                return n
            block = first // layout.block_bursts
            end = min(last + 1, (block + 1) * layout.block_bursts)
            here, _, _ = locate(layout, block, True)
            if here == channel:
                _, bank, row = locate(layout, block, False)
                for _ in range(min(end - first, len(found.bank) - n)):
                    found.bank[n] = bank
                    found.row[n] = row
                    found.write[n] = ((n + 1) * writes >> 16) - (n * writes >> 16)
                    n += 1
            blocks += 1
            first = end
    return n

"""Access patterns on DRAM: effective bandwidth, row hits and activations of streams, strided tiles and random rows.

The busiest channel of the pattern is simulated command by command (``accsim.kernels.dram``). A long pattern is not
played to its end: its rate between two refreshes far apart is carried on. ``docs/dram.md`` says what that leaves out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from accsim.config.dram import DramStandard, load_dram_standard
from accsim.errors import InputError, Problem
from accsim.kernels import dram as k
from accsim.kernels import dram_address as a

IntArray = NDArray[np.int64]

SAMPLE: Final = 8192
"""Most bursts of one channel that are simulated."""
PERIODS: Final = 4
"""Refreshes behind which a long pattern is steady: its rate is that between the first and the last."""
MOST_BLOCKS: Final = 2**16
"""Interleave blocks of a long pattern that are looked at."""
MOST_BYTES: Final = 2**50
WRITES: Final = 1 << 16
DIGITS: Final = {"ch": a.CHANNEL, "bg": a.GROUP, "ba": a.BANK, "ro": a.ROW, "co": a.COLUMN}


@dataclass(frozen=True)
class Stream:
    """``bytes`` at consecutive addresses; ``write_fraction`` of its bursts are writes, spread evenly."""

    bytes: int
    write_fraction: float = 0.0


@dataclass(frozen=True)
class Strided:
    """``runs`` runs of ``run_bytes``, one every ``stride_bytes``: the rows of a tile of a matrix."""

    run_bytes: int
    stride_bytes: int
    runs: int
    write_fraction: float = 0.0


@dataclass(frozen=True)
class RandomRows:
    """``count`` rows of ``row_bytes``, uniformly from a table of ``table_bytes`` (default: all of the memory)."""

    row_bytes: int
    count: int
    seed: int = 0
    table_bytes: int | None = None
    write_fraction: float = 0.0


@dataclass(frozen=True)
class Addresses:
    """``run_bytes`` at each address, in order; any sequence or array of whole numbers is kept as a tuple."""

    addresses: Sequence[int] | IntArray
    run_bytes: int
    write_fraction: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "addresses", tuple(np.asarray(self.addresses).tolist()))


Pattern = Stream | Strided | RandomRows | Addresses


@dataclass(frozen=True)
class Controller:
    """How addresses are spread, and which request goes first.

    Attributes
    ----------
    mapping : the digits of an address from the most to the least significant, joined by ``_``: ``ro`` row, ``ba`` bank,
        ``bg`` bank group, ``co`` column, ``ch`` channel.
    interleave_bytes : consecutive bytes that lie in one row of one channel before the digits begin to change.
    hashed : exchange banks by the low bits of the row (exclusive or) and turn the channels by a hash of the other
        digits, as GPUs do, so that strides of a power of two do not meet a few channels and banks only.
    page : ``open`` keeps a row open until another is wanted, ``closed`` closes it behind its last request in sight.
    window : requests of a channel in sight; 1 serves them in order.
    """

    mapping: str = "ro_ba_co_bg_ch"
    interleave_bytes: int = 256
    hashed: bool = True
    page: Literal["open", "closed"] = "open"
    window: int = 64


@dataclass(frozen=True)
class DramAccess:
    """What an access pattern costs. Counts are those of the busiest channel times its share of the bursts.

    Attributes
    ----------
    bytes, moved_bytes : bytes asked for; bytes of whole bursts.
    total_cycles : clocks of the DRAM until the busiest channel is done.
    time_s, bandwidth_bytes_per_s : the same in seconds; bytes asked for a second.
    efficiency : bandwidth divided by the peak of all channels.
    bursts, read_bytes, write_bytes : bursts, and the bytes moved in each direction.
    row_hits, row_misses, row_conflicts : bursts that found their row open, their bank closed, another row open.
    activates, precharges, refreshes : commands, for the energy.
    busiest_share : the busiest channel's bursts divided by those of an even spread.
    simulated_bursts : bursts that were played; fewer than the busiest channel has if the rest was carried on.
    """

    bytes: int
    moved_bytes: int
    total_cycles: int
    time_s: float
    bandwidth_bytes_per_s: float
    efficiency: float
    bursts: int
    read_bytes: int
    write_bytes: int
    row_hits: float
    row_misses: float
    row_conflicts: float
    activates: float
    precharges: float
    refreshes: int
    busiest_share: float
    simulated_bursts: int


def dram_access(
    pattern: Pattern, standard: str | DramStandard, channels: int = 1, controller: Controller | None = None
) -> DramAccess:
    """What an access pattern costs on ``channels`` channels (of HBM, pseudo-channels) of a standard.

    Raises
    ------
    InputError
        With every number of the pattern or the controller that cannot be.

    Examples
    --------
    >>> dram_access(Stream(2**30), "hbm3", 160).efficiency > 0.89
    True
    >>> dram_access(RandomRows(32, 100_000), "hbm3", 160).efficiency < 0.4
    True
    """
    standard = load_dram_standard(standard) if isinstance(standard, str) else standard
    return _access(pattern, standard, channels, controller or Controller())


@lru_cache(maxsize=4096)
def efficiency_of_runs(
    standard: str | DramStandard, channels: int, run_bytes: int, controller: Controller | None = None
) -> float:
    """Share of the peak that reads of contiguous runs of ``run_bytes`` at random places reach, in the long run.

    Raises
    ------
    InputError
        As `dram_access`.

    Examples
    --------
    >>> short, long = (efficiency_of_runs("hbm3", 160, run_bytes) for run_bytes in (64, 4096))
    >>> short < long < 1
    True
    """
    return dram_access(RandomRows(run_bytes, 2**40 // max(run_bytes, 1)), standard, channels, controller).efficiency


@lru_cache(maxsize=1024)
def _access(pattern: Pattern, standard: DramStandard, channels: int, controller: Controller) -> DramAccess:
    problems = [*_wrong_pattern(pattern), *_wrong_controller(controller, standard, channels)]
    if problems:
        raise InputError(problems)
    layout = _layout(standard, channels, controller)
    runs = _runs(pattern, standard.capacity_bytes * channels)
    bursts = np.zeros(channels, np.int64)
    looked_at = k.ALL if runs.kind == a.LISTED else MOST_BLOCKS
    whole = a.count_bursts(layout, runs, looked_at, bursts) == runs.count
    channel = int(bursts.argmax())
    if whole:
        total, busiest = int(bursts.sum()), float(bursts[channel])
    else:
        total = round(_bursts_of_a_run(runs, standard.burst_bytes) * runs.count)
        even = 1 / np.count_nonzero(bursts)
        share = even if runs.kind == a.RANDOM else float(bursts[channel] / bursts.sum())
        busiest = total * share
    found = a.Found(*np.zeros((3, SAMPLE), np.int64))
    writes = round(pattern.write_fraction * WRITES)
    n = a.collect_bursts(layout, runs, channel, looked_at, writes, found)
    state, finished = _serve(standard, controller, found, n, math.ceil(busiest))
    played = _carried_on(state, finished, busiest)
    return _result(runs, standard, channels, total, busiest, played, pattern.write_fraction, state)


def _serve(standard: DramStandard, controller: Controller, found: a.Found, n: int, wanted: int) -> tuple[k.State, bool]:
    """A channel that has served its bursts, and whether those were all; a short sample of many is repeated."""
    whole = wanted <= n
    room = n if whole else SAMPLE
    requests = k.Requests(*(np.resize(column[:n], room) for column in found))
    state = k.new_state(standard.bank_groups, standard.banks_per_group, controller.window, room)
    policy = k.Policy(
        standard.banks_per_group,
        controller.window,
        int(controller.page == "closed"),
        int(standard.command_bus == "shared"),
    )
    k.serve(timing_of(standard), policy, requests, state, k.ALL if whole else PERIODS)
    return state, whole


def _carried_on(state: k.State, finished: bool, wanted: float) -> list[float]:
    """Counters of ``wanted`` bursts: as counted, or with the rate between the first and the last refresh carried on."""
    count: list[int] = state.count.tolist()
    if finished:
        return [float(n) for n in count]
    if count[k.REFRESHES] < 2:
        return [n * wanted / count[k.SERVED] for n in count]
    first, last = state.first_refresh.tolist(), state.last_refresh.tolist()
    periods = (wanted - last[k.SERVED]) / (last[k.SERVED] - first[k.SERVED])
    return [late + (late - early) * periods for early, late in zip(first, last, strict=True)]


def _result(
    runs: a.Runs,
    standard: DramStandard,
    channels: int,
    total: int,
    busiest: float,
    played: list[float],
    write_fraction: float,
    state: k.State,
) -> DramAccess:
    cycles = math.ceil(played[k.TIME])
    time_s = cycles / standard.clock_hz
    asked = runs.run_bytes * runs.count
    moved = total * standard.burst_bytes
    scale = total / busiest
    misses, conflicts = played[k.MISSES] * scale, played[k.CONFLICTS] * scale
    written = round(total * write_fraction) * standard.burst_bytes
    return DramAccess(
        bytes=asked,
        moved_bytes=moved,
        total_cycles=cycles,
        time_s=time_s,
        bandwidth_bytes_per_s=asked / time_s,
        efficiency=asked / time_s / (channels * standard.peak_bytes_per_s),
        bursts=total,
        read_bytes=moved - written,
        write_bytes=written,
        row_hits=total - misses - conflicts,
        row_misses=misses,
        row_conflicts=conflicts,
        activates=played[k.ACTIVATES] * scale,
        precharges=played[k.PRECHARGES] * scale,
        refreshes=cycles // standard.timing.refi * channels,
        busiest_share=busiest * channels / total,
        simulated_bursts=int(state.count[k.SERVED]),
    )


def timing_of(standard: DramStandard) -> k.Timing:
    """The timing rules of a standard as the kernel takes them."""
    return k.Timing(burst=standard.burst_clocks, **standard.timing.model_dump())


def _layout(standard: DramStandard, channels: int, controller: Controller) -> a.Layout:
    block = max(controller.interleave_bytes // standard.burst_bytes, 1)
    count = np.zeros(a.DIGITS, np.int64)
    count[a.CHANNEL], count[a.ROW], count[a.COLUMN] = channels, standard.rows, standard.columns // block
    count[a.GROUP], count[a.BANK] = standard.bank_groups, standard.banks_per_group
    digit = np.array([DIGITS[name] for name in reversed(controller.mapping.split("_"))])
    radix = count[digit]
    bits = np.array([r.bit_length() - 1 if r & (r - 1) == 0 else -1 for r in radix.tolist()])
    return a.Layout(standard.burst_bytes, block, digit, radix, bits, count, int(controller.hashed))


def _runs(pattern: Pattern, capacity_bytes: int) -> a.Runs:
    none = np.zeros(0, np.int64)
    if isinstance(pattern, Stream):
        return a.Runs(a.STRIDED, none, pattern.bytes, 1, 0, 1, 0)
    if isinstance(pattern, Strided):
        return a.Runs(a.STRIDED, none, pattern.run_bytes, pattern.runs, pattern.stride_bytes, 1, 0)
    if isinstance(pattern, RandomRows):
        rows = max((pattern.table_bytes or capacity_bytes) // pattern.row_bytes, 1)
        return a.Runs(a.RANDOM, none, pattern.row_bytes, pattern.count, 0, rows, pattern.seed)
    starts = np.array(pattern.addresses, np.int64)
    return a.Runs(a.LISTED, starts, pattern.run_bytes, len(starts), 0, 1, 0)


def _bursts_of_a_run(runs: a.Runs, burst_bytes: int) -> Fraction:
    """Bursts that a run touches, on average over where in a burst it may begin.

    Starts are multiples of the stride (or of the row), so their places in a burst are the multiples of g = gcd(stride,
    burst), all as often: (⌈run / g⌉ · g - g) / burst + 1.
    """
    apart = runs.run_bytes if runs.kind == a.RANDOM else runs.stride
    g = math.gcd(apart, burst_bytes)
    return Fraction(-(-runs.run_bytes // g) * g - g, burst_bytes) + 1


def _wrong_pattern(pattern: Pattern) -> Iterator[Problem]:
    for name, value in vars(pattern).items():
        if name == "write_fraction":
            if not 0 <= value <= 1:
                yield Problem("", name, f"read {value}, allowed is 0 to 1")
        elif name == "addresses":
            if not value or not all(_whole(address, 0) for address in value):
                yield Problem("", name, f"allowed is at least one address, each a whole number from 0 to {MOST_BYTES}")
        elif value is not None:
            least = 0 if name in ("seed", "stride_bytes") else 1
            if not _whole(value, least):
                yield Problem("", name, f"read {value}, allowed is a whole number from {least} to {MOST_BYTES}")
    if isinstance(pattern, Strided) and pattern.stride_bytes * pattern.runs > MOST_BYTES:
        yield Problem("", "runs", f"runs times stride_bytes exceed {MOST_BYTES} bytes")


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= MOST_BYTES


def _wrong_controller(controller: Controller, standard: DramStandard, channels: int) -> Iterator[Problem]:
    if sorted(controller.mapping.split("_")) != sorted(DIGITS):
        message = f"read '{controller.mapping}', allowed is any order of {', '.join(DIGITS)}, joined by '_'"
        yield Problem("", "mapping", message)
    block = controller.interleave_bytes
    if not 1 <= block <= standard.row_bytes or block & (block - 1):
        yield Problem("", "interleave_bytes", f"read {block}, allowed is a power of two to {standard.row_bytes}")
    if controller.page not in ("open", "closed"):
        yield Problem("", "page", f"read '{controller.page}', allowed is 'open' or 'closed'")
    if not 1 <= controller.window <= SAMPLE:
        yield Problem("", "window", f"read {controller.window}, allowed is 1 to {SAMPLE}")
    if not 1 <= channels <= 65536:
        yield Problem("", "channels", f"read {channels}, allowed is 1 to 65536")

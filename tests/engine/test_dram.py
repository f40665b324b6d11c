"""Access patterns: where addresses lie, what is carried on, closed forms of whole standards, bad arguments."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accsim.config.dram import DramStandard, list_dram_standards, load_dram_standard
from accsim.engine import dram
from accsim.engine.dram import Addresses, Controller, RandomRows, Stream, Strided, dram_access, efficiency_of_runs
from accsim.errors import InputError
from accsim.kernels import dram as k
from accsim.kernels import dram_address as a

HBM2 = load_dram_standard("hbm2")
CHANNELS = {"ddr4_3200": 2, "lpddr4_3200": 4, "lpddr5_6400": 4, "hbm2": 16}
SIZES = {"ch": 3, "bg": 4, "ba": 4, "ro": 32768, "co": 4}  # hbm2 on three channels, blocks of 256 bytes


def located(mapping: str, address: int) -> dict[str, int]:
    """The digits of an address of `SIZES`, by division, from the least significant."""
    rest = address // 256
    found = {}
    for name in reversed(mapping.split("_")):
        rest, found[name] = divmod(rest, SIZES[name])
    return found


@given(st.integers(0, 2**30), st.permutations(list(SIZES)))
def test_addresses_are_numbers_in_mixed_radix(address: int, order: list[str]) -> None:
    mapping = "_".join(order)
    layout = dram._layout(HBM2, 3, Controller(mapping=mapping, hashed=False))
    digits = located(mapping, address)
    expected = (digits["ch"], digits["bg"] * 4 + digits["ba"], digits["ro"])
    assert a.locate(layout, address // 256, False) == expected
    assert a.locate(layout, address // 256, True)[0] == digits["ch"]


def test_a_hash_moves_blocks_but_no_two_to_one_place() -> None:
    small = HBM2.model_copy(update={"rows": 8})
    for order in list(permutations(SIZES))[::17]:
        plain, hashed = (dram._layout(small, 3, Controller("_".join(order), hashed=h)) for h in (False, True))
        blocks = small.capacity_bytes * 3 // 256
        places = [Counter(a.locate(layout, b, False) for b in range(blocks)) for layout in (plain, hashed)]
        assert places[0] == places[1]
        assert set(places[1].values()) == {4}
    assert any(a.locate(plain, b, False) != a.locate(hashed, b, False) for b in range(blocks))


def test_random_rows_are_uniform_and_depend_on_the_seed() -> None:
    def rows(seed: int) -> list[int]:
        runs = a.Runs(a.RANDOM, np.zeros(0, np.int64), 96, 8000, 0, 100, seed)
        return [a.run_start(runs, i) // 96 for i in range(8000)]

    counts = np.bincount(rows(0), minlength=100)
    assert ((counts - 80) ** 2 / 80).sum() < 149  # chi-square, 99 degrees of freedom, 0.1 %
    followers = Counter(zip(rows(0)[::2], rows(0)[1::2], strict=True))
    assert max(followers.values()) <= 6
    assert rows(0) != rows(1)


@pytest.mark.parametrize(("hashed", "within"), [(False, 0.005), (True, 0.01)])
@pytest.mark.parametrize("name", list_dram_standards())
def test_a_stream_reaches_its_closed_form(name: str, hashed: bool, within: float) -> None:
    """Hashed, the bank that follows is at times the one before, and its row cycle shows."""
    standard = load_dram_standard(name)
    got = dram_access(Stream(2**30), standard, 4, Controller(hashed=hashed))
    assert got.efficiency == pytest.approx(standard.stream_efficiency, abs=within)
    assert got.row_misses + got.row_conflicts <= 1.01 * got.activates
    assert got.bursts == 2**30 // standard.burst_bytes
    per_row = standard.row_bytes // standard.burst_bytes
    opened = got.bursts / per_row
    again = got.refreshes * standard.bank_groups * standard.banks_per_group  # at most every bank, behind a refresh
    assert 0.95 * opened <= got.activates <= opened + again


@pytest.mark.parametrize("name", ["hbm3", "hbm2"])
def test_single_bursts_at_random_stay_below_the_activation_limit(name: str) -> None:
    standard = load_dram_standard(name)
    t = standard.timing
    limit = standard.burst_clocks / max(t.rrd_s, t.faw / 4) * (1 - t.rfc / t.refi)
    efficiency = efficiency_of_runs(standard, 8, 32)
    assert 0.9 * limit < efficiency <= limit


def test_random_bursts_of_one_bank_take_a_row_cycle_each() -> None:
    """The addresses of one bank lie a bank's row apart: row is the first digit of this mapping."""
    apart = HBM2.capacity_bytes // HBM2.rows
    got = dram_access(Addresses([apart * n for n in range(60)], 32), HBM2, 1, Controller(hashed=False))
    t = HBM2.timing
    assert got.total_cycles == 59 * t.rc + t.rcd_rd + t.cl + HBM2.burst_clocks
    assert (got.row_misses, got.row_conflicts, got.activates, got.precharges) == (1, 59, 60, 59)


def played_whole(standard: DramStandard, pattern: dram.Pattern, controller: Controller, room: int) -> k.State:
    """One channel, the whole pattern played without carrying anything on."""
    layout = dram._layout(standard, 1, controller)
    found = a.Found(*np.zeros((3, room), np.int64))
    n = a.collect_bursts(layout, dram._runs(pattern, standard.capacity_bytes), 0, k.ALL, 0, found)
    assert n < room
    state = k.new_state(standard.bank_groups, standard.banks_per_group, controller.window, n)
    policy = k.Policy(standard.banks_per_group, controller.window, int(controller.page == "closed"), 0)
    k.serve(dram.timing_of(standard), policy, k.Requests(*(column[:n] for column in found)), state, k.ALL)
    return state


@pytest.mark.parametrize("page", ["open", "closed"])
@pytest.mark.parametrize("pattern", [Stream(2**21), Strided(128, 4096, 20_000), Strided(2048, 5120, 1500)], ids=str)
def test_carrying_on_comes_close_to_playing_to_the_end(pattern: dram.Pattern, page: str) -> None:
    controller = Controller(page=page)  # type: ignore[arg-type]
    got = dram_access(pattern, HBM2, 1, controller)
    whole = played_whole(HBM2, pattern, controller, 200_000)
    assert got.simulated_bursts < whole.count[k.SERVED] == got.bursts
    assert got.total_cycles == pytest.approx(whole.count[k.TIME], rel=0.03)
    # At either end of the steady part some of the sixteen banks have been opened for what lies outside of it.
    assert got.activates == pytest.approx(whole.count[k.ACTIVATES], rel=0.05)


@pytest.mark.parametrize("row_bytes", [32, 64, 256])
def test_carrying_random_rows_on_is_right_on_average(row_bytes: int) -> None:
    """A sample of random rows is some percent off either way; the mean of many is not."""
    ratios = []
    for seed in range(12):
        pattern = RandomRows(row_bytes, 60_000 * 32 // row_bytes, seed)
        got, whole = dram_access(pattern, HBM2), played_whole(HBM2, pattern, Controller(), 200_000)
        assert got.activates == pytest.approx(whole.count[k.ACTIVATES], rel=0.02)
        ratios.append(got.total_cycles / int(whole.count[k.TIME]))
    assert np.mean(ratios) == pytest.approx(1, abs=0.015)
    assert np.abs(np.array(ratios) - 1).max() < 0.08


def test_a_short_pattern_is_played_to_its_end() -> None:
    controller = Controller()
    for pattern in (Stream(100_000), Strided(96, 1000, 300), RandomRows(256, 500, seed=3)):
        got = dram_access(pattern, HBM2, 1, controller)
        whole = played_whole(HBM2, pattern, controller, 10_000)
        assert got.simulated_bursts == got.bursts == whole.count[k.SERVED]
        assert (got.total_cycles, got.activates) == (whole.count[k.TIME], whole.count[k.ACTIVATES])


@settings(max_examples=40)
@given(
    st.sampled_from(sorted(CHANNELS)),
    st.integers(1, 5000),
    st.integers(0, 20_000),
    st.integers(1, 3000),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.booleans(),
)
def test_no_pattern_beats_the_data_pins(
    name: str, run: int, stride: int, runs: int, writes: float, hashed: bool
) -> None:
    standard, channels = load_dram_standard(name), CHANNELS[name]
    for pattern in (Strided(run, stride, runs, writes), RandomRows(run, runs, 1, None, writes)):
        got = dram_access(pattern, standard, channels, Controller(hashed=hashed))
        busiest = got.bursts * got.busiest_share / channels
        assert got.total_cycles >= math.floor(busiest) * standard.burst_clocks
        assert got.bytes == run * runs
        assert got.read_bytes + got.write_bytes == got.moved_bytes == got.bursts * standard.burst_bytes
        assert got.row_hits + got.row_misses + got.row_conflicts == pytest.approx(got.bursts)
        assert got.busiest_share >= 1 - 1e-9
        if stride >= run + standard.burst_bytes:
            assert got.moved_bytes >= got.bytes


@given(st.integers(1, 700), st.integers(0, 3000), st.integers(1, 40))
def test_bursts_of_a_run_on_average(run: int, stride: int, burst: int) -> None:
    runs = a.Runs(a.STRIDED, np.zeros(0, np.int64), run, 1, stride, 1, 0)
    starts = [stride * i for i in range(burst)]
    touched = [(start + run - 1) // burst - start // burst + 1 for start in starts]
    assert dram._bursts_of_a_run(runs, burst) * burst == sum(touched)


def test_strides_that_meet_one_channel_are_slow_and_a_hash_helps() -> None:
    column = Strided(32, 16 * 256, 4000)  # sixteen channels: every run on the first
    camped = dram_access(column, HBM2, 16, Controller(hashed=False))
    spread = dram_access(column, HBM2, 16)
    assert camped.busiest_share == 16
    assert spread.busiest_share < 2
    assert spread.time_s < camped.time_s / 4


def test_mixed_reads_and_writes_pay_for_the_turnaround() -> None:
    ends = [dram_access(Stream(2**28, w), HBM2, 2).efficiency for w in (0.0, 0.5, 1.0)]
    wide, narrow = (
        dram_access(Stream(2**28, 0.5), HBM2, 2, Controller(window=window)).efficiency for window in (128, 8)
    )
    assert narrow < ends[1] < min(ends[0], ends[2])
    assert narrow < wide
    t = HBM2.timing
    turn = t.rtw + t.cwl + HBM2.burst_clocks + t.wtr_s
    # At most 8 of a kind follow each other: 4 in the window, 4 that come in sight before the other kind is oldest.
    assert narrow <= 2 * 8 * HBM2.burst_clocks / (2 * 7 * HBM2.burst_clocks + turn)


def test_longer_runs_are_never_much_worse() -> None:
    reached = [efficiency_of_runs("hbm3", 160, r) for r in (32, 64, 128, 256)]
    assert reached == sorted(reached)
    assert efficiency_of_runs("hbm3", 160, 2**20) == pytest.approx(
        load_dram_standard("hbm3").stream_efficiency, rel=0.06
    )


def test_same_arguments_give_the_same_result() -> None:
    pattern = RandomRows(64, 50_000, seed=5)
    first = dram_access(pattern, "hbm2", 4)
    dram._access.cache_clear()
    assert dram_access(replace(pattern), "HBM2", 4) == first
    assert dram_access(replace(pattern, seed=6), "hbm2", 4) != first


BAD = [
    (Stream(0), {}, 1, "bytes: read 0, allowed is a whole number from 1"),
    (Stream(2.5), {}, 1, "bytes: read 2.5, allowed is a whole number"),  # type: ignore[arg-type]
    (Stream(64, 1.5), {}, 1, "write_fraction: read 1.5, allowed is 0 to 1"),
    (Strided(0, -1, 0), {}, 1, "stride_bytes: read -1, allowed is a whole number from 0"),
    (Strided(1, 2**40, 2**40), {}, 1, "runs: runs times stride_bytes exceed"),
    (RandomRows(32, 10, table_bytes=0), {}, 1, "table_bytes: read 0"),
    (Addresses([], 32), {}, 1, "addresses: allowed is at least one address"),
    (Addresses([3, -1], 32), {}, 1, "addresses: allowed is at least one address"),
    (Stream(64), {"mapping": "ro_ba_co_ch"}, 1, "mapping: read 'ro_ba_co_ch', allowed is any order of ch, bg"),
    (Stream(64), {"interleave_bytes": 96}, 1, "interleave_bytes: read 96, allowed is a power of two to 1024"),
    (Stream(64), {"page": "close"}, 1, "page: read 'close', allowed is 'open' or 'closed'"),
    (Stream(64), {"window": 0}, 1, "window: read 0, allowed is 1 to 8192"),
    (Stream(64), {}, 0, "channels: read 0, allowed is 1 to 65536"),
]


@pytest.mark.parametrize(("pattern", "options", "channels", "part"), BAD, ids=[case[3] for case in BAD])
def test_bad_arguments(pattern: dram.Pattern, options: dict[str, object], channels: int, part: str) -> None:
    with pytest.raises(InputError) as caught:
        dram_access(pattern, HBM2, channels, Controller(**options))  # type: ignore[arg-type]
    assert part in str(caught.value)


def test_all_problems_at_once_and_an_unknown_standard() -> None:
    with pytest.raises(InputError) as caught:
        dram_access(Strided(0, 0, 0), HBM2, 0, Controller(window=0))
    assert [p.path for p in caught.value.problems] == ["run_bytes", "runs", "window", "channels"]
    with pytest.raises(InputError, match=r"unknown DRAM standard 'hbm33'.*Did you mean 'hbm3'"):
        dram_access(Stream(64), "hbm33")

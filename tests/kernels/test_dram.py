"""The DRAM channel against its naive twin, closed forms, and every timing rule at the first clock it allows."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accsim.kernels import dram as k
from tests.reference.dram_naive import Channel, Command, Request, allowed

NAMES = ("RD", "WR", "ACT", "PRE", "PREA", "REF")
NEVER = 1 << 40
ONES = dict.fromkeys(k.Timing._fields, 1) | {"refi": NEVER}


def played(
    t: dict[str, int],
    requests: Sequence[Request],
    groups: int,
    banks_per_group: int,
    window: int = 16,
    closed: bool = False,
    shared: bool = False,
) -> tuple[k.State, list[Command]]:
    """A channel after all requests, and the log of its commands."""
    state = k.new_state(groups, banks_per_group, window, len(requests), 40 * len(requests) + 100)
    columns = k.Requests(
        np.array([r.bank for r in requests]),
        np.array([r.row for r in requests]),
        np.array([int(r.write) for r in requests]),
    )
    k.serve(k.Timing(**t), k.Policy(banks_per_group, window, int(closed), int(shared)), columns, state, k.ALL)
    logged = state.log[: state.scalar[k.LOGGED]].tolist()
    assert len(logged) < len(state.log)
    return state, [Command(at, NAMES[name], bank, row) for at, name, bank, row in logged]


@dataclass(frozen=True)
class Case:
    """Timings that differ from 1, requests, and two commands of the log that lie ``apart`` clocks from each other."""

    rule: str
    t: dict[str, int]
    requests: tuple[Request, ...]
    first: tuple[str, int]
    second: tuple[str, int]
    apart: int


def rd(bank: int, row: int = 0) -> Request:
    return Request(bank, row)


def wr(bank: int, row: int = 0) -> Request:
    return Request(bank, row, write=True)


# Two groups of four banks: 0 to 3 and 4 to 7. A command is named with its place among those of its name.
CASES = [
    Case("tRCDRD", {"rcd_rd": 7}, (rd(0),), ("ACT", 0), ("RD", 0), 7),
    Case("tRCDWR", {"rcd_wr": 8}, (wr(0),), ("ACT", 0), ("WR", 0), 8),
    Case("tRAS", {"ras": 9, "rc": 10}, (rd(0), rd(0, 1)), ("ACT", 0), ("PRE", 0), 9),
    Case("tRP", {"rp": 6}, (rd(0), rd(0, 1)), ("PRE", 0), ("ACT", 1), 6),
    Case("tRC", {"rc": 12}, (rd(0), rd(0, 1)), ("ACT", 0), ("ACT", 1), 12),
    Case("tRRD_S", {"rrd_s": 5, "rrd_l": 8}, (rd(0), rd(4)), ("ACT", 0), ("ACT", 1), 5),
    Case("tRRD_L", {"rrd_s": 5, "rrd_l": 8}, (rd(0), rd(1)), ("ACT", 0), ("ACT", 1), 8),
    Case("tFAW", {"faw": 30}, (rd(0), rd(4), rd(1), rd(5), rd(2)), ("ACT", 0), ("ACT", 4), 30),
    Case("tCCD_S reads", {"ccd_s": 5, "ccd_l": 9}, (rd(0), rd(4)), ("RD", 0), ("RD", 1), 5),
    Case("tCCD_L reads", {"ccd_s": 5, "ccd_l": 9}, (rd(0), rd(0)), ("RD", 0), ("RD", 1), 9),
    Case("tCCD_L of two banks", {"ccd_s": 5, "ccd_l": 9}, (rd(0), rd(1)), ("RD", 0), ("RD", 1), 9),
    Case("tCCD_S writes", {"ccd_s": 5, "ccd_l": 9}, (wr(0), wr(4)), ("WR", 0), ("WR", 1), 5),
    Case("tCCD_L writes", {"ccd_s": 5, "ccd_l": 9}, (wr(0), wr(0)), ("WR", 0), ("WR", 1), 9),
    Case("data bus of reads", {"burst": 6}, (rd(0), rd(4)), ("RD", 0), ("RD", 1), 6),
    Case("data bus of writes", {"burst": 6}, (wr(0), wr(4)), ("WR", 0), ("WR", 1), 6),
    Case("tRTW", {"rtw": 11}, (rd(0), wr(0)), ("RD", 0), ("WR", 0), 11),
    Case("tWTR_S", {"cwl": 3, "burst": 2, "wtr_s": 7, "wtr_l": 9}, (wr(0), rd(4)), ("WR", 0), ("RD", 0), 12),
    Case("tWTR_L", {"cwl": 3, "burst": 2, "wtr_s": 7, "wtr_l": 9}, (wr(0), rd(0)), ("WR", 0), ("RD", 0), 14),
    Case("tRTP", {"rtp": 8}, (rd(0), rd(0, 1)), ("RD", 0), ("PRE", 0), 8),
    Case("tWR", {"cwl": 3, "burst": 2, "wr": 10}, (wr(0), rd(0, 1)), ("WR", 0), ("PRE", 0), 15),
    Case("tRFC", {"refi": 40, "rfc": 33, "rc": 60}, (rd(0), rd(0, 1)), ("REF", 0), ("ACT", 1), 33),
    Case("tRP of all banks", {"refi": 40, "rp": 6, "ccd_l": 60}, (rd(0), rd(0)), ("PREA", 0), ("REF", 0), 6),
    Case("tRAS of all banks", {"refi": 40, "ras": 45, "ccd_l": 60}, (rd(0), rd(0)), ("ACT", 0), ("PREA", 0), 45),
    Case("tRP of one bank", {"refi": 20, "rp": 5, "ras": 18, "rc": 23}, (rd(0), rd(0, 1)), ("PRE", 0), ("REF", 0), 5),
]


def nth(log: Sequence[Command], name: str, n: int) -> Command:
    return [command for command in log if command.name == name][n]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_ready_at_t_and_not_at_t_minus_1(case: Case) -> None:
    t = ONES | case.t
    _, log = played(t, case.requests, 2, 4)
    first, second = nth(log, *case.first), nth(log, *case.second)
    assert second.at - first.at == case.apart
    before = [command for command in log if command.at < second.at]
    assert allowed(before, second, t, 4)
    assert not allowed(before, Command(second.at - 1, second.name, second.bank, second.row), t, 4)


def test_a_refresh_is_due_at_its_interval_and_nothing_else_issues_from_then_on() -> None:
    _, log = played(ONES | {"refi": 40, "rc": 60, "rfc": 5}, [rd(0), rd(0, 1)], 2, 4)
    assert [c.at for c in log if c.name == "REF"] == [40]
    reached, log = played(ONES | {"refi": 10, "rfc": 2}, [rd(b, r) for r in range(9) for b in (0, 1)], 2, 4, window=1)
    for due in range(10, int(reached.count[k.TIME]) - 10, 10):
        refresh = next(c.at for c in log if c.name == "REF" and c.at >= due)
        assert {c.name for c in log if due <= c.at < refresh} <= {"PREA"}


@pytest.mark.parametrize(("request_", "end"), [(rd(0), 4 + 9 + 3), (wr(0), 4 + 5 + 3)])
def test_data_follow_their_command_by_the_latency(request_: Request, end: int) -> None:
    state, _ = played(ONES | {"rcd_rd": 4, "rcd_wr": 4, "cl": 9, "cwl": 5, "burst": 3}, [request_], 1, 1)
    assert state.count[k.TIME] == end


@pytest.mark.parametrize(("shared", "row_at"), [(False, 1), (True, 2)])
def test_a_shared_bus_takes_one_command_a_clock(shared: bool, row_at: int) -> None:
    _, log = played(ONES, [rd(0), rd(4)], 2, 4, shared=shared)
    assert [c.at for c in log if c.name == "ACT"] == [0, row_at]
    assert nth(log, "RD", 0).at == 1


def test_a_closed_page_is_precharged_by_itself() -> None:
    t = ONES | {"ras": 9, "rp": 4, "rc": 13}
    state, log = played(t, [rd(0), rd(0, 1)], 2, 4, closed=True)
    assert [c.name for c in log] == ["ACT", "RD", "ACT", "RD"]
    assert nth(log, "ACT", 1).at == 13
    assert (state.count[k.PRECHARGES], state.count[k.CONFLICTS]) == (2, 0)
    same_row, _ = played(t, [rd(0), rd(0)], 2, 4, closed=True)
    assert (same_row.count[k.ACTIVATES], same_row.count[k.PRECHARGES]) == (1, 1)
    out_of_sight, _ = played(t, [rd(0), rd(4), rd(0)], 2, 4, window=1, closed=True)
    assert (out_of_sight.count[k.ACTIVATES], out_of_sight.count[k.PRECHARGES]) == (3, 3)


def test_the_window_lets_hits_pass_a_conflict_but_not_for_ever() -> None:
    requests = [rd(0), rd(0, 1), *[rd(0)] * 6]
    _, log = played(ONES, requests, 1, 1, window=4)
    assert [c.row for c in log if c.name == "RD"] == [0, 0, 0, 0, 1, 0, 0, 0]
    _, in_order = played(ONES, requests, 1, 1, window=1)
    assert [c.row for c in in_order if c.name == "RD"] == [r.row for r in requests]


timings = st.fixed_dictionaries(
    {
        "burst": st.integers(1, 4),
        "cl": st.integers(1, 8),
        "cwl": st.integers(1, 6),
        "rcd_rd": st.integers(1, 8),
        "rcd_wr": st.integers(1, 8),
        "rp": st.integers(1, 8),
        "ras": st.integers(4, 14),
        "rc": st.integers(5, 25),
        "ccd_s": st.integers(1, 4),
        "ccd_l": st.integers(1, 7),
        "rrd_s": st.integers(1, 5),
        "rrd_l": st.integers(1, 7),
        "faw": st.integers(1, 30),
        "wtr_s": st.integers(1, 6),
        "wtr_l": st.integers(1, 9),
        "rtw": st.integers(1, 12),
        "wr": st.integers(1, 8),
        "rtp": st.integers(1, 6),
        "refi": st.integers(90, 200),
        "rfc": st.integers(1, 25),
    }
)


@settings(max_examples=150)
@given(data=st.data(), t=timings)
def test_equals_the_naive_twin(data: st.DataObject, t: dict[str, int]) -> None:
    groups, banks = data.draw(st.sampled_from([(1, 1), (1, 4), (2, 2), (4, 1), (4, 4)]))
    one = st.builds(Request, st.integers(0, groups * banks - 1), st.integers(0, 2), st.booleans())
    requests = data.draw(st.lists(one, min_size=1, max_size=18))
    window, closed, shared = data.draw(st.tuples(st.sampled_from([1, 2, 5, 32]), st.booleans(), st.booleans()))
    twin = Channel(t, banks, window, closed, shared, list(enumerate(requests)))
    end = twin.run()
    state, log = played(t, requests, groups, banks, window, closed, shared)
    assert log == twin.log
    assert state.count[k.TIME] == end
    assert state.count[k.SERVED] == len(requests)
    assert state.count[k.MISSES] == twin.served.count("miss")
    assert state.count[k.CONFLICTS] == twin.served.count("conflict")
    assert state.count[k.ACTIVATES] == sum(c.name == "ACT" for c in log)
    assert state.count[k.REFRESHES] == sum(c.name == "REF" for c in log)
    assert state.count[k.PRECHARGES] == state.count[k.ACTIVATES] - np.count_nonzero(state.open_row != k.CLOSED)


HBM = ONES | {"burst": 2, "cl": 14, "cwl": 5, "rcd_rd": 14, "rcd_wr": 12, "rp": 14, "ras": 34, "rc": 48, "ccd_s": 2}
HBM |= {
    "ccd_l": 4,
    "rrd_s": 4,
    "rrd_l": 4,
    "faw": 15,
    "wtr_s": 6,
    "wtr_l": 8,
    "rtw": 13,
    "wr": 16,
    "rtp": 5,
    "rfc": 260,
}


def reads(log: Sequence[Command]) -> list[int]:
    return [c.at for c in log if c.name in ("RD", "WR")]


@pytest.mark.parametrize("changed", [{}, {"rc": 70}, {"rtp": 40}, {"rcd_rd": 33}], ids=str)
def test_random_rows_of_one_bank_are_bound_by_the_row_cycle(changed: dict[str, int]) -> None:
    """One burst a row: a row lasts max(tRC, tRCD + tRTP + tRP)."""
    t = HBM | changed
    _, log = played(t, [rd(0, row) for row in range(50)], 4, 4)
    cycle = max(t["rc"], t["rcd_rd"] + t["rtp"] + t["rp"])
    assert set(np.diff(reads(log))) == {cycle}


@pytest.mark.parametrize("changed", [{}, {"faw": 24}, {"rrd_s": 7, "rrd_l": 7}, {"burst": 9, "ccd_l": 9}], ids=str)
def test_random_rows_of_all_banks_are_bound_by_activations_or_the_bus(changed: dict[str, int]) -> None:
    """One burst a row, banks in turn: a burst takes max(tRRD, tFAW / 4, tCCD, burst) on average."""
    t = HBM | changed
    order = [4 * (n % 4) + n // 4 % 4 for n in range(16)]
    _, log = played(t, [rd(order[n % 16], n) for n in range(400)], 4, 4, window=64, closed=True)
    at = reads(log)
    assert at[-1] - at[-161] == 160 * max(t["rrd_s"], t["faw"] / 4, t["ccd_s"], t["burst"])


@pytest.mark.parametrize("run", [1, 2, 7, 8, 32])
def test_runs_in_rows_of_one_bank(run: int) -> None:
    """A run of r bursts takes max(tRC, tRCD + (r - 1) tCCD_L + tRTP + tRP)."""
    _, log = played(HBM, [rd(0, n // run) for n in range(20 * run)], 4, 4)
    period = max(48, 14 + (run - 1) * 4 + 5 + 14)
    assert set(np.diff(reads(log)[::run])) == {period}


@pytest.mark.parametrize(("write", "lost"), [(False, 5 + 14 + 260 + 14 - 4), (True, 5 + 2 + 16 + 14 + 260 + 12 - 4)])
def test_an_endless_stream_loses_the_refresh_and_what_is_around_it(write: bool, lost: int) -> None:
    """Between the last column command before a refresh and the first after it: recovery, tRP, tRFC, tRCD."""
    t = HBM | {"refi": 3900}
    _, log = played(t, [Request(0, 0, write)] * 6000, 1, 4)
    at = np.array(reads(log))
    gaps = np.diff(at)
    refreshes = [c.at for c in log if c.name == "REF"]
    assert set(gaps[gaps != 4]) <= set(range(lost + 4, lost + 8))
    assert np.count_nonzero(gaps != 4) == len(refreshes) == 6
    served = np.searchsorted(at, refreshes)
    per_interval = (served[-1] - served[0]) / (len(refreshes) - 1)
    assert per_interval * 4 == pytest.approx(3900 - lost, abs=4)


SUBSET = """
import numpy as np
from accsim.kernels import dram as k
from accsim.kernels import dram_address as a
t = k.Timing(2, 14, 5, 14, 12, 14, 34, 48, 2, 4, 4, 4, 15, 6, 8, 13, 16, 5, 900, 60)
digit, count = np.array([0, 1, 4, 2, 3]), np.array([3, 4, 4, 64, 4])
bits = np.array([-1, 2, 2, 2, 6])
runs = a.Runs(a.RANDOM, np.zeros(0, np.int64), 96, 4000, 0, 5000, 3)
for hashed in (0, 1):
    layout = a.Layout(32, 8, digit, count[digit], bits, count, hashed)
    bursts = np.zeros(3, np.int64)
    print(a.count_bursts(layout, runs, 10**6, bursts), *bursts)
    found = a.Found(*np.zeros((3, 300), np.int64))
    n = a.collect_bursts(layout, runs, 1, 10**6, 20000, found)
    for closed in (0, 1):
        s = k.new_state(4, 4, 16, n, 50)
        k.serve(t, k.Policy(4, 16, closed, closed), k.Requests(*found), s, 2)
        print(*s.count, *s.first_refresh, *s.log.sum(axis=0))
"""


@pytest.mark.parametrize("setting", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_uncompiled_and_bounds_checked_kernels_give_the_same(setting: str, tmp_path: Path) -> None:
    here = io.StringIO()
    with contextlib.redirect_stdout(here):
        exec(SUBSET, {})
    clean: dict[str, Any] = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    own = {"ACCSIM_CACHE_DIR": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path), setting: "1"}
    command = [sys.executable, "-c", SUBSET]
    done = subprocess.run(command, env=clean | own, capture_output=True, text=True, check=True)
    assert done.stdout == here.getvalue() != ""

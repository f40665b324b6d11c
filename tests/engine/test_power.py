"""The power cap's search against trying every clock, and the machine at another clock."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import accsim
from accsim.config.machine import Accelerator
from accsim.engine.power import PowerCap, at_clock, within_cap

H100 = accsim.load_accelerator("h100_sxm")


@dataclass(frozen=True)
class Job:
    """A run of known cycles and dynamic energy."""

    clock_hz: float
    total_cycles: float
    dynamic_j: float
    idle_w: float

    @property
    def latency_s(self) -> float:
        return self.total_cycles / self.clock_hz

    @property
    def energy_j(self) -> float:
        return self.dynamic_j + self.idle_w * self.latency_s

    @property
    def power_w(self) -> float:
        return self.energy_j / self.latency_s


def machine(clocks_hz: list[float], idle_w: float, cap_w: float, clock_hz: float | None = None) -> Accelerator:
    limits = H100.power.model_copy(update={"idle_w": idle_w, "cap_w": cap_w, "clocks_hz": tuple(clocks_hz)})
    return H100.model_copy(update={"power": limits, "clock_hz": clock_hz or clocks_hz[-1]})


def test_by_hand() -> None:
    # 1000 cycles of work and 1 us of waiting, 10 uJ, idle 1 W. At 1 GHz 2 us, 5 + 1 W. A cap of 4 W asks for
    # 10 uJ / 3 W = 3.333 us, so 2.333 us of work: 428.6 MHz, and the step below it is 400 MHz: 3.5 us, 3.857 W.
    acc = machine([1e8 * step for step in range(1, 11)], 1.0, 4.0)
    tried = []

    def run_at(at: Accelerator) -> Job:
        tried.append(at.clock_hz)
        return Job(at.clock_hz, 1000 + 1e-6 * at.clock_hz, 10e-6, 1.0)

    run, cap = within_cap(acc, run_at(acc), run_at)
    assert (run.clock_hz, run.latency_s) == (4e8, pytest.approx(3.5e-6))
    assert cap == PowerCap(acc, 4e8, pytest.approx(6.0), pytest.approx(10 / 3.5 + 1))
    assert (cap.bound, cap.met, cap.cap_w) == (True, True, 4.0)
    # 2000 cycles at 1 GHz allow 600 MHz at most, 1600 cycles there 480 MHz, 1400 cycles there 420 MHz.
    assert tried == [1e9, 6e8, 4e8]


@st.composite
def jobs(draw: st.DrawFn) -> tuple[Accelerator, dict[float, Job]]:
    """A machine and a run at each clock; cycles never fall with the clock, but power may rise and fall."""
    clocks = sorted(draw(st.sets(st.integers(1, 40), min_size=1, max_size=12)))
    cycles = sorted(draw(st.lists(st.integers(1, 400), min_size=len(clocks), max_size=len(clocks))))
    idle_w = draw(st.sampled_from([0.0, 1.0, 3.5]))
    cap_w = idle_w + draw(st.floats(0.01, 50))
    dynamic_j = draw(st.floats(0, 200))
    acc = machine([float(clock) for clock in clocks], idle_w, cap_w)
    return acc, {float(f): Job(float(f), float(c), dynamic_j, idle_w) for f, c in zip(clocks, cycles, strict=True)}


@given(jobs())
def test_the_search_finds_what_trying_all_finds(case: tuple[Accelerator, dict[float, Job]]) -> None:
    acc, runs = case
    tried: list[float] = []

    def run_at(at: Accelerator) -> Job:
        tried.append(at.clock_hz)
        return runs[at.clock_hz]

    run, cap = within_cap(acc, runs[acc.clock_hz], run_at)
    assert cap is not None
    holding = [clock for clock, job in runs.items() if job.power_w <= cap.cap_w]
    assert run.clock_hz == max(holding, default=min(runs))
    assert cap.met == bool(holding)
    assert cap.bound == (run.clock_hz < acc.clock_hz)
    assert tried == sorted(set(tried), reverse=True)


def test_power_need_not_fall_with_the_clock() -> None:
    """Time 4 s at 3 Hz, 3 s at 2 Hz: the lower clock draws more, so that halving an interval would go wrong."""
    acc = machine([1.0, 2.0, 3.0, 4.0], 0.0, 2.6)
    runs = {4.0: Job(4.0, 12, 10, 0), 3.0: Job(3.0, 12, 10, 0), 2.0: Job(2.0, 6, 10, 0), 1.0: Job(1.0, 6, 10, 0)}
    assert runs[2.0].power_w > runs[3.0].power_w
    run, _ = within_cap(acc, runs[4.0], lambda at: runs[at.clock_hz])
    assert run.clock_hz == 3.0


def test_steps_above_the_clock_are_not_used() -> None:
    acc = machine([1.0, 2.0, 3.0, 4.0], 0.0, 5.0, clock_hz=2.5)
    run, cap = within_cap(acc, Job(2.5, 10, 100, 0), lambda at: Job(at.clock_hz, 10, 100, 0))
    assert run.clock_hz == 1.0
    assert cap is not None
    assert not cap.met


def test_without_a_cap() -> None:
    acc = H100.model_copy(update={"power": H100.power.model_copy(update={"cap_w": None})})
    job = Job(1.0, 1, 1e9, 0)
    assert within_cap(acc, job, lambda _: job) == (job, None)


def test_what_is_in_the_domain_of_the_clock() -> None:
    """On-chip memories keep their bytes and latency in cycles, HBM keeps both in seconds, as does the host's launch."""
    half = at_clock(H100, H100.clock_hz / 2)
    assert half.clock_hz == 915e6
    for name in ("smem", "l2"):
        fast, slow = H100.memory(name), half.memory(name)
        assert slow.read_bytes_per_s == fast.read_bytes_per_s / 2
        assert slow.write_bytes_per_s == fast.write_bytes_per_s / 2
        assert slow.latency_s == fast.latency_s * 2
        assert slow.capacity_bytes == fast.capacity_bytes
    assert half.main_memory == H100.main_memory
    assert half.overheads == H100.overheads
    assert half.peak_macs_per_s("bf16") == H100.peak_macs_per_s("bf16") / 2
    assert at_clock(H100, H100.clock_hz) is H100
    assert at_clock(accsim.load_accelerator("ipu_bow"), 925e6).main_memory.read_bytes_per_s == 10.9e12 / 2


OPS = [
    accsim.Gemm(2048, 2048, 2048),
    accsim.Gemm(1, 4096, 4096),
    accsim.Attention(1, 8, 512, 512, 64, causal=True),
    accsim.Softmax(rows=1000, cols=512),
]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.kind)
@pytest.mark.parametrize("name", ["h100_sxm", "a100_pcie", "tpu_v4", "ipu_bow"])
def test_cycles_do_not_grow_and_energy_stays_when_the_clock_falls(name: str, op: accsim.Attention) -> None:
    """The two facts that the search leans on, for mappings of real machines."""
    acc = accsim.load_accelerator(name)
    full = accsim.simulate(op, acc, power_cap=False)
    (mapping,) = full.mapping.values()
    idle_w = acc.power.idle_w
    before = full
    for share in (0.93, 0.8, 0.5, 0.31, 0.1):
        run = accsim.simulate(op, at_clock(acc, share * acc.clock_hz), dataflow=mapping, power_cap=False)
        assert run.total_cycles <= before.total_cycles * (1 + 1e-4)
        assert run.latency_s >= before.latency_s * (1 - 1e-4)
        assert run.energy_j - idle_w * run.latency_s == pytest.approx(full.energy_j - idle_w * full.latency_s)
        before = run


def test_what_it_says() -> None:
    acc = machine([1e9, 2e9], 1.0, 4.0)
    cap = PowerCap(acc, 1e9, 6.0, 3.5)
    assert str(cap) == "the cap of 4 W lowers the clock from 2 GHz (6 W) to 1 GHz"
    assert str(replace(cap, clock_hz=2e9, full_power_w=3.0, power_w=3.0)) == "cap 4 W, not reached at 2 GHz"
    assert str(replace(cap, power_w=5.0)) == "WARNING: above the cap of 4 W even at the lowest clock, 1 GHz of 2 GHz"
    bare = replace(cap, machine=accsim.load_accelerator("ipu_bow"), clock_hz=1.85e9, power_w=301.0)
    assert str(bare) == "WARNING: above the cap of 300 W; the machine has no list of clocks to lower"

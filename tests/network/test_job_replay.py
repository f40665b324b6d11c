"""Jobs that come and end: queues with closed forms, what is in use added up, both kinds of wiring beside each other."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accsim.errors import InputError
from accsim.network.goodput import Machine
from accsim.network.job_replay import Replay, Stream, replay_jobs
from accsim.network.slice_mix import Shape

CUBE = {(4, 4, 4): 1.0}


def repeated(machine: Machine, stream: Stream, mix: dict[Shape, float], runs: int = 8) -> list[Replay]:
    return [replay_jobs(machine, stream, mix, seed=seed) for seed in range(runs)]


def meets(values: list[float], expected: float) -> bool:
    """Whether the mean of independent runs lies within four standard errors."""
    return abs(np.mean(values) - expected) <= 4 * np.std(values, ddof=1) / math.sqrt(len(values))


@pytest.mark.parametrize(("durations", "square"), [("exponential", 2.0), ("constant", 1.0), ("lognormal", math.e)])
def test_one_cube_is_a_queue_with_one_server(durations: str, square: float) -> None:
    """Pollaczek and Khinchine: load x E[S^2] / (2 E[S] (1 - load))."""
    stream = Stream(load=0.6, mean_s=10.0, durations=durations, jobs=1_500)
    found = repeated(Machine(1.0, grid=(1, 1, 1)), stream, CUBE)
    assert meets([one.mean_wait_s for one in found], 0.6 * square * 10.0 / (2 * 0.4))
    assert meets([one.utilization for one in found], 0.6)
    assert meets([one.waited for one in found], 0.6)


def test_cubes_of_their_own_are_a_queue_with_as_many_servers() -> None:
    """Erlang C; with fixed wires a cube is as good as any other, so that the very same jobs wait as long."""
    servers, load = 8, 0.8
    offered = servers * load
    last = offered**servers / math.factorial(servers) / (1 - load)
    waits = last / (sum(offered**k / math.factorial(k) for k in range(servers)) + last)
    machine, stream = Machine(1.0, grid=(2, 2, 2)), Stream(load=load, mean_s=10.0, jobs=1_500)
    found = repeated(machine, stream, CUBE)
    assert meets([one.waited for one in found], waits)
    assert meets([one.mean_wait_s for one in found], waits * 10.0 / (servers * (1 - load)))
    fixed = replay_jobs(machine, stream, CUBE, placement="partition", seed=0)
    assert fixed.mean_wait_s == pytest.approx(found[0].mean_wait_s, rel=1e-12)


@pytest.mark.parametrize("placement", [None, "partition", "offsets"])
def test_every_job_has_its_chips_for_as_long_as_it_runs(placement: str | None) -> None:
    stream = Stream(load=0.7, mean_s=10.0, durations="constant", jobs=600)
    mix = {(1, 1, 1): 1.0, (2, 2, 4): 2.0, (4, 4, 8): 1.0, (8, 8, 8): 1.0}
    found = replay_jobs(Machine(1.0), stream, mix, placement=placement)
    assert found.used.max() <= 1 + 1e-9
    assert found.used[-1] == pytest.approx(0.0, abs=1e-9)
    kinds = np.random.default_rng(0).choice(4, 600, p=np.array([1, 2, 1, 1]) / 5)
    chips = np.array([1, 16, 128, 512])[kinds].sum()
    assert found.used[:-1] @ np.diff(found.times_s) == pytest.approx(chips / 4096 * 10.0)
    assert found.refused == 0


def test_the_whole_machine_is_one_server_however_it_is_wired() -> None:
    stream = Stream(load=0.5, mean_s=10.0, durations="constant", jobs=1_500)
    found = repeated(Machine(1.0), stream, {(16, 16, 16): 1.0})
    assert meets([one.mean_wait_s for one in found], 0.5 * 10.0 / (2 * 0.5))
    fixed = replay_jobs(Machine(1.0), stream, {(16, 16, 16): 1.0}, placement="partition", seed=3)
    assert (fixed.mean_wait_s, fixed.utilization) == (found[3].mean_wait_s, found[3].utilization)


def test_the_published_mix_waits_longer_with_fixed_wires() -> None:
    machine, stream = Machine(1.0), Stream(load=0.7, jobs=1_500)
    switched, offsets, partition = (
        replay_jobs(machine, stream, placement=place) for place in (None, "offsets", "partition")
    )
    assert switched.mean_wait_s < offsets.mean_wait_s < partition.mean_wait_s
    assert switched.utilization > offsets.utilization
    assert (switched.refused, offsets.refused) == (0.0, pytest.approx(1.4 / 97.5, abs=0.01))
    strict = replay_jobs(machine, Stream(load=0.7, jobs=1_500, waiting=1))
    assert strict.mean_wait_s > switched.mean_wait_s


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(InputError, match="read the placement 'anywhere', allowed are None and partition"):
        replay_jobs(Machine(1.0), placement="anywhere")
    with pytest.raises(InputError, match=r"(?s)load.*jobs"):
        Stream(load=0.0, jobs=3)
    with pytest.raises(InputError, match="Did you mean 'constant'"):
        Stream(durations="constan")
    with pytest.raises(InputError, match="an empty mix"):
        replay_jobs(Machine(1.0), mix={})

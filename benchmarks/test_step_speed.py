"""Training steps of MLPerf's DLRM-DCNv2 on 128 chips: with the dense half and the sums known, and all anew."""

from __future__ import annotations

from pytest_benchmark.fixture import BenchmarkFixture

from accsim.system import StepReport, dense, sums, train_step


def step() -> StepReport:
    return train_step("dlrm_dcnv2", "tpu_v4:4x4x8")


def test_a_step_like_one_before(benchmark: BenchmarkFixture) -> None:
    step()
    benchmark(step)


def test_a_first_step(benchmark: BenchmarkFixture) -> None:
    def anew() -> StepReport:
        dense._simulated.cache_clear()
        sums._fastest.cache_clear()
        return step()

    benchmark(anew)

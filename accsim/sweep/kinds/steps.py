"""Training steps of recommendation models on slices: ``dlrm_dcnv2`` on ``tpu_v4:4x4x8``, or on ``slice.shape``."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from accsim.errors import InputError
from accsim.mapping.sparse_core import place_of
from accsim.sweep.kinds.base import Block, Ready, Work
from accsim.sweep.kinds.on_slice import names_slice, slice_at
from accsim.sweep.outcome import IntArray, Outcome
from accsim.sweep.roles import utilizations
from accsim.sweep.searched import reason
from accsim.sweep.settings import SLICE, STEP, WORKLOAD, Settings, resolved, workload_of
from accsim.system.choices import DEFAULT_PLACE, check_choices
from accsim.system.dense import model_tables
from accsim.system.recommend import train_step
from accsim.system.slices import Slice
from accsim.system.step import StepReport
from accsim.workload.trace import Workload


class Steps:
    """Whatever runs on a slice and is no collective."""

    what = "a training step on a slice"
    takes = ("", WORKLOAD, SLICE, STEP)

    def serves(self, work: Work) -> bool:
        """Whatever the workload."""
        return names_slice(work)

    def load(self, work: Work, setting: Settings) -> Workload:
        """The model."""
        found = workload_of(work.workload, work.folder, setting.workload)
        model_tables(found, None)
        return found

    def place(self, work: Work, setting: Settings) -> Slice:
        """The slice, on which the step's choices are possible."""
        on, chosen = slice_at(work, setting), dict(setting.step)
        try:
            check_choices(chosen)
            place_of(on.chip, str(chosen.get("where", DEFAULT_PLACE)))
        except InputError as error:
            raise InputError([replace(problem, path=STEP + problem.path) for problem in error.problems]) from error
        return on

    def ready(self, block: Block) -> Ready:
        """The slice, built."""
        work, setting = block.work, block.setting
        on = self.place(work, setting)
        self.load(work, setting)
        step = partial(train_step, resolved(work.workload, work.folder), on, set=dict(setting.workload))
        return Ready(on.chip, on.chips, partial(_run, partial(step, **dict(setting.step))))


def _run(step: partial[StepReport], outcome: Outcome, at: IntArray) -> None:
    """Simulate a step and write it to all of its points."""
    if not len(at):
        return
    try:
        report = step()
    except Exception as error:  # noqa: BLE001 the row of the point says so
        outcome.fail(at, reason(error))
        return
    outcome.set_numbers(at, _numbers(report))
    outcome.set_text("mapping", at, report.choices)
    outcome.set_text("bound_by", at, report.bound_by)


def _numbers(step: StepReport) -> dict[str, Any]:
    """The numbers of a step that a row has; time of all chips, energy and power of their sum."""
    chip = step.slice.chip
    return {
        "total_cycles": step.step_s * chip.clock_hz,
        "latency_s": step.step_s,
        "energy_j": step.energy_j * step.slice.chips,
        "power_w": step.power_w * step.slice.chips,
        "samples_per_s": step.samples_per_s,
        "clock_hz": chip.clock_hz,
        **utilizations(chip, step.utilization),
    }

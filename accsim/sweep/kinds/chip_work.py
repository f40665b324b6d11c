"""Work on a chip: complete mappings run as a block of points, others are searched one by one."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from accsim.config.machine import Accelerator
from accsim.errors import AccsimError
from accsim.mapping.compiled import CompiledDataflow
from accsim.sweep.axes import Column
from accsim.sweep.direct import Job, run_direct
from accsim.sweep.kinds.base import Block, Ready, Work
from accsim.sweep.kinds.on_slice import names_slice
from accsim.sweep.outcome import IntArray, Outcome
from accsim.sweep.part import Part, settings_of
from accsim.sweep.searched import run_searched
from accsim.sweep.settings import (
    MAPPING,
    WORKLOAD,
    Setting,
    Settings,
    dataflow_of,
    machine_of,
    split,
    workload_of,
)
from accsim.sweep.space import Space, plain
from accsim.workload.trace import Workload


class ChipWork:
    """Any workload on a single chip."""

    what = "work on a chip"
    takes = ("", WORKLOAD, MAPPING)

    def serves(self, work: Work) -> bool:
        """Whatever the workload."""
        return not names_slice(work)

    def load(self, work: Work, setting: Settings) -> Workload:
        """The workload."""
        return workload_of(work.workload, work.folder, setting.workload)

    def place(self, work: Work, setting: Settings) -> Accelerator:
        """The chip."""
        return machine_of(work.machine, work.folder, setting.machine)

    def ready(self, block: Block) -> Ready:
        """Chip and workload, loaded."""
        acc, work = self.place(block.work, block.setting), self.load(block.work, block.setting)
        return Ready(acc, 1, partial(_run, block, acc, work))


def _run(block: Block, acc: Accelerator, work: Workload, outcome: Outcome, at: IntArray) -> None:
    """Run as many points as a block as can be, and the others one by one."""
    part, mapping = block.part, block.setting.mapping
    if mapping and len(at) > 1:
        at = _directly(block, acc, work, outcome, at)
    for chosen, numbers in settings_of({key: part.columns[key] for key in part.counted}, at):
        _one_by_one(block.space, acc, work, (*mapping, *split(numbers, {}).mapping), outcome, chosen)


def _directly(block: Block, acc: Accelerator, work: Workload, outcome: Outcome, at: IntArray) -> IntArray:
    """Run those of some points as a block that can be; the others are returned, all of them after an error."""
    varied, constant = _varied(block.part, at)
    if not varied:
        return at
    valid = np.all([column > 0 for column in varied.values()], axis=0)
    chosen = at[valid]
    try:
        dataflow = dataflow_of(split({**block.values, **constant}, block.space.dimensions).mapping)
        if not isinstance(dataflow, CompiledDataflow):
            return at
        own = {key: column[valid] for key, column in varied.items()}
        rest = run_direct(Job(block.space, acc, work, dataflow, own, len(chosen)), outcome, chosen)
    except Exception:  # noqa: BLE001 each point then says itself what is wrong with it
        return at
    return np.concatenate([chosen[rest], at[~valid]])


def _varied(part: Part, at: IntArray) -> tuple[dict[str, Column], dict[str, Any]]:
    """(choice of mappings -> its whole numbers at some points, fields in which they do not differ -> their value)."""
    counted = part.counted
    varied: dict[str, Column] = {}
    constant: dict[str, Any] = {}
    for key, whole in part.columns.items():
        column = whole[at]
        if key in counted and len(column) and column.min() != column.max():
            varied[key.removeprefix(MAPPING)] = column
        else:
            constant[key] = plain(column[0])
    return varied, constant


def _one_by_one(
    space: Space, acc: Accelerator, work: Workload, mapping: Setting, outcome: Outcome, at: IntArray
) -> None:
    try:
        dataflow = dataflow_of(mapping) if mapping else None
    except AccsimError as error:
        outcome.fail(at, str(error))
        return
    run_searched(space, acc, work, dataflow, outcome, at)


def runs_in_blocks(space: Space) -> bool:
    """Whether the mappings of a space are complete, as far as the first of its points tell."""
    columns = {axis.key: axis.ends for axis in space.axes}
    part = Part(0, 0, 0, space.with_linked(columns, 2), 2)
    varied, first = _varied(part, np.arange(2))
    if not varied:
        return False
    setting = split(first, space.dimensions)
    try:
        dataflow = dataflow_of(setting.mapping)
        acc = machine_of(space.machines[0], space.folder, setting.machine)
        work = workload_of(space.workloads[0].workload, space.folder, setting.workload)
        return isinstance(dataflow, CompiledDataflow) and bool(Job(space, acc, work, dataflow, varied, 2).ready().any())
    except AccsimError:
        return False

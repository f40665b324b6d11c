"""The main job for chips and slices alike: a workload and what it runs on in, a report out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, overload

from accsim.config.data_files import is_slice
from accsim.config.machine import Accelerator
from accsim.embedding.model_trace import Trace
from accsim.embedding.placement import Placement
from accsim.errors import InputError, check_choice
from accsim.mapping.base import Dataflow
from accsim.mapping.goal import Constraint
from accsim.report.result import Report
from accsim.report.simulate import simulate as simulate_chip
from accsim.system.recommend import train_step
from accsim.system.slices import Slice
from accsim.system.step import StepReport
from accsim.workload.ops import Op
from accsim.workload.trace import Workload


@overload
def simulate(
    workload: Workload | Op | str | Path, accelerator: Accelerator | str | Path, *,
    dataflow: Dataflow | str | None = None, objective: str = "latency", constraints: Sequence[Constraint | str] = (),
    effort: str = "standard", fidelity: str = "tile", events: bool = False, power_cap: bool = True,
    prefetch_weights: bool = False, progress: Callable[[str, int, int], None] | None = None,
) -> Report: ...  # fmt: skip


@overload
def simulate(
    workload: str, accelerator: Slice, *, placement: Placement | str = "rows", dedup: str = "best",
    schedule: str = "overlapped", where: str = "sparse_core", trace: Trace | None = None,
    power_cap: bool = True,
) -> StepReport: ...  # fmt: skip


def simulate(workload: Any, accelerator: Any, **options: Any) -> Any:
    """Simulate a workload on a machine, or a training step on a slice of machines.

    Parameters
    ----------
    workload
        An op, a workload, a shipped name with parameters (``"bert_base?seq=4096"``), or a path; on a slice, the name of
        a recommendation model.
    accelerator
        A machine, a shipped name, or a path; or a slice or its name, ``"tpu_v4:4x4x8"``.
    options
        Of a machine, those of `accsim.report.simulate.simulate`: dataflow, objective, constraints, fidelity, events,
        ...; of a slice, those of `accsim.system.train_step`.

    Returns
    -------
    Report, or of a slice `accsim.system.StepReport`; the name of a slice gives one too.

    Raises
    ------
    InputError, MappingError, TooLongError
        As the functions named above.
    """
    if isinstance(accelerator, Slice) or is_slice(accelerator):
        if not isinstance(workload, str):
            kind = type(workload).__name__
            raise InputError(f"read a {kind}, allowed on a slice is the name of a recommendation model")
        allowed = [name for name in signature(train_step).parameters if name not in ("model", "slice")]
        for name in options:
            check_choice("option of a step on a slice", name, allowed)
        return train_step(workload, accelerator, **options)
    return simulate_chip(workload, accelerator, **options)

"""Training steps on slices, for the command `run`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from accsim.errors import InputError
from accsim.report.terminal import console, progress, write_json


class StepOptions(TypedDict, total=False):
    """Options of `accsim.system.train_step`."""

    schedule: str
    dedup: str
    placement: str
    where: str
    trace: str


def run_step(machine: str, model: str, changed: Mapping[str, object], options: StepOptions, as_json: bool) -> None:
    """Simulate a training step on a slice, and print it.

    Parameters
    ----------
    changed
        Settings of the machine.
    """
    from accsim.system import train_step
    from accsim.system.render import print_step

    with progress():
        step = train_step(model, machine, machine_set=changed, **options)
    if as_json:
        write_json(step.to_dict())
    else:
        print_step(console(), step)


def refuse(given: Mapping[str, object], of: str) -> None:
    """Refuse options that have no meaning here.

    Raises
    ------
    InputError
        With each that is set.
    """
    named = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if named:
        raise InputError(f"{', '.join(named)}: {of}")

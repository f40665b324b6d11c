"""Slices, for the command `run`: training steps, several side by side, and collectives."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from accsim.cli.out import check_out
from accsim.errors import AccsimError, InputError
from accsim.report.terminal import console, progress, say, write_json

if TYPE_CHECKING:
    from accsim.system.choices import StepOptions
    from accsim.system.slices import Slice
    from accsim.system.step import StepReport


def run_on_slice(
    machine: str, workload: str, changed: Mapping[str, object], options: StepOptions, compare: str | None,
    out: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Simulate a workload on a slice: a collective, or a training step of a model.

    Parameters
    ----------
    changed
        Settings of the machine.

    Raises
    ------
    InputError
        For a collective on a single chip, options that a collective has not, and as `accsim.system.train_step`.
    """
    from accsim.config.data_files import is_slice
    from accsim.network.named_collectives import collective_kind
    from accsim.system.slices import read_slice

    if collective_kind(workload) is None:
        if compare is None:
            run_step(machine, workload, changed, options, out, as_json)
        else:
            run_steps(machine, workload, changed, options, compare, out, as_json)
        return
    if not is_slice(machine):
        several = "name a slice, such as tpu_v4:4x4x8 or h100_sxm:8, or a topology with 'accsim network collective'"
        raise InputError(f"'{workload}' is a collective, and '{machine}' a single chip: {several}")
    refuse({**options, "compare": compare, "out": out}, "allowed for training steps, not for a collective")
    run_collective(read_slice(machine, set=changed), workload, as_json)


def run_step(
    machine: str, model: str, changed: Mapping[str, object], options: StepOptions, out: Path | None, as_json: bool
) -> None:
    """Simulate a training step on a slice, print it, and write its files if there is a folder for them.

    Parameters
    ----------
    changed
        Settings of the machine.
    """
    from accsim.system.files import summary_of
    from accsim.system.render import print_step

    check_out(out, None)
    with progress():
        step = _step(machine, model, changed, options)
    _save(step, out)
    if as_json:
        write_json(summary_of(step))
    else:
        print_step(console(), step)


def run_steps(
    machine: str, model: str, changed: Mapping[str, object], options: StepOptions, compare: str,
    out: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Simulate steps that differ in one choice, or in the slice's shape, and print them side by side.

    Parameters
    ----------
    compare
        Values of one choice, or shapes, joined by commas.
    """
    from accsim.system.compare import read_compared
    from accsim.system.files import summary_of
    from accsim.system.render_comparison import print_steps

    cases = read_compared(compare, machine, options)
    check_out(out, list(cases))
    steps: dict[str, StepReport] = {}
    refused: dict[str, AccsimError] = {}
    with progress():
        for name, (slice_name, chosen) in cases.items():
            try:
                steps[name] = _step(slice_name, model, changed, chosen)
            except AccsimError as error:
                refused[name] = error
    for name, step in steps.items():
        _save(step, None if out is None else out / name)
    if as_json:
        runs = {name: summary_of(step) for name, step in steps.items()}
        write_json({"schema_version": 1, "runs": runs, "refused": {n: str(e) for n, e in refused.items()}})
    elif steps:
        print_steps(console(), steps)
    for name, reason in refused.items():
        say(f"{name}: {reason}")
    if refused:
        raise typer.Exit(max(reason.exit_code for reason in refused.values()))


def _step(slice_name: str, model: str, changed: Mapping[str, object], options: StepOptions) -> StepReport:
    from accsim.system import train_step

    return train_step(model, slice_name, machine_set=changed, **options)


def _save(step: StepReport, out: Path | None) -> None:
    if out is None:
        return
    from accsim.system.files import save_step

    say(f"wrote the step to {save_step(step, out, ['accsim', *sys.argv[1:]])}")


def run_collective(on: Slice, workload: str, as_json: bool) -> None:
    """Time a collective on a slice, and print it."""
    from accsim.network.named_collectives import collective_bytes, collective_kind
    from accsim.report.network import collective_dict, print_collective

    kind, size = collective_kind(workload), collective_bytes(workload)
    assert kind is not None
    with progress():
        plain = collective_dict(on.network, kind, size, on.network.collective(kind, size))
    if as_json:
        write_json(plain)
    else:
        print_collective(console(), plain)


def refuse(given: Mapping[str, Any], of: str) -> None:
    """Refuse options that have no meaning here.

    Raises
    ------
    InputError
        With each that is set.
    """
    named = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if named:
        raise InputError(f"{', '.join(named)}: {of}")

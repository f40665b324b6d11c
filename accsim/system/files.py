"""The files of a saved step: its numbers, its parts, and a manifest."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accsim.report.folder import MANIFEST, replacing
from accsim.report.manifest import manifest_of
from accsim.report.saved import SUMMARY
from accsim.system.step import StepReport

PARTS = "parts.csv"


def save_step(step: StepReport, directory: str | Path, command: Sequence[str]) -> Path:
    """Write a step's files into a folder, all at once.

    ``summary.json`` holds what `accsim run --json` prints and what `accsim diff` reads; ``parts.csv`` a row for each
    part of the step.

    Raises
    ------
    InputError
        When the folder holds anything else, or cannot be written.
    """
    with replacing(directory) as folder:
        _write_json(summary_of(step), folder / SUMMARY)
        _write_parts(step, folder / PARTS)
        chip, work = step.slice.chip, step.workload
        about = {"name": step.slice.name, "chips": step.slice.chips, "chip": chip.name, "hash": chip.hash}
        _write_json(manifest_of(about, work, folder, shlex.join(command)), folder / MANIFEST)
    return Path(directory)


def summary_of(step: StepReport) -> dict[str, Any]:
    """A step as plain data, with what a difference of two is made of: what runs at once, as if it were an op."""
    clock_hz = step.slice.chip.clock_hz
    return {
        **step.to_dict(),
        "clock_hz": clock_hz,
        "total_cycles": step.step_s * clock_hz,
        "critical_path": _cycles(step.critical_path_s, clock_hz),
        "ops": [
            {"name": name, "count": 1, "cycles": time_s * clock_hz, "critical_path": _cycles(path_s, clock_hz)}
            for name, time_s, path_s in _in_turn(step)
        ],
    }


def _in_turn(step: StepReport) -> list[tuple[str, float, Mapping[str, float]]]:
    """What the step's time is made of: what runs one after the other, or the next step's ids if these take longer."""
    spans = [(", beside ".join(run.name for run in span.runs), span.time_s, span.path_s) for span in step.spans]
    if sum(time_s for _, time_s, _ in spans) >= step.input.time_s:
        return [*spans]
    return [(step.input.name, step.input.time_s, step.input.path_s)]


def _cycles(seconds: Mapping[str, float], clock_hz: float) -> dict[str, float]:
    return {cause: time * clock_hz for cause, time in seconds.items()}


def _write_parts(step: StepReport, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("part", "time_s"))
        writer.writerows(step.parts_s.items())


def _write_json(plain: object, path: Path) -> None:
    path.write_text(json.dumps(plain, indent=2, allow_nan=False) + "\n", encoding="utf-8")

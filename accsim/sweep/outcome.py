"""What is found of many points: an array for each column of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from accsim.report.result import Report
from accsim.sweep.columns import NUMBERS
from accsim.sweep.roles import utilizations

Numbers = npt.NDArray[np.float64]
Texts = npt.NDArray[np.object_]
IntArray = npt.NDArray[np.int64]


@dataclass
class Outcome:
    """Results of ``points`` points, filled in piece by piece; nan and empty texts until then.

    Attributes
    ----------
    numbers : column -> float64[points].
    codes : column of text -> int32[points], places in ``texts``; -1 where there is none.
    texts : column of text -> the texts.
    feasible : bool[points].
    """

    points: int
    numbers: dict[str, Numbers] = field(init=False)
    codes: dict[str, npt.NDArray[np.int32]] = field(init=False)
    texts: dict[str, list[str]] = field(init=False)
    feasible: npt.NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.numbers = {name: np.full(self.points, np.nan) for name in NUMBERS}
        self.codes = {name: np.full(self.points, -1, np.int32) for name in ("mapping", "bound_by", "error")}
        self.texts = {name: [] for name in self.codes}
        self.feasible = np.zeros(self.points, bool)

    def set_numbers(self, at: IntArray | slice | int, values: Mapping[str, Any]) -> None:
        """Numbers of some points, which are feasible."""
        for name, value in values.items():
            self.numbers[name][at] = value
        self.feasible[at] = True
        self.codes["error"][at] = -1

    def set_text(self, column: str, at: IntArray | slice | int, text: str) -> None:
        """The same text for some points."""
        texts = self.texts[column]
        if text not in texts:
            texts.append(text)
        self.codes[column][at] = texts.index(text)

    def set_texts(self, column: str, at: IntArray, codes: IntArray, texts: Sequence[str]) -> None:
        """A text for each of some points, as a place in a list of texts."""
        known = self.texts[column]
        known += [text for text in dict.fromkeys(texts) if text not in known]
        places = np.array([known.index(text) for text in texts], np.int32)
        self.codes[column][at] = places[codes]

    def text(self, column: str) -> Texts:
        """A column of texts; empty where there is none."""
        return np.asarray(np.array([*self.texts[column], ""], object)[self.codes[column]])

    def fail(self, at: IntArray | slice | int, why: str) -> None:
        """Some points are not feasible, for one reason; what is known of them stays."""
        self.feasible[at] = False
        self.set_text("error", at, why)


def numbers_of(report: Report) -> dict[str, float]:
    """The numbers of a report that a row has."""
    traffic = report.traffic_bytes[report.accelerator.main_memory.name]
    return {
        "total_cycles": report.total_cycles,
        "latency_s": report.latency_s,
        "energy_j": report.energy_j,
        "power_w": report.power_w,
        "clock_hz": report.clock_hz,
        "main_read_bytes": traffic["read"],
        "main_write_bytes": traffic["write"],
        **utilizations(report.accelerator, report.utilization),
    }

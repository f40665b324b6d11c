"""Kind ``stc``: a model of Sparseloop's tensor-core study (MICRO 2022, figure 15) against rows of its artefact.

Of a row the shape, densities, formats, bandwidths and the mapping are read; access counts, cycles and energy are
computed anew and held against those listed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accsim.config.checks import shown
from accsim.errors import InputError, Problem, nearest, plain_name
from accsim.published.sparseloop_nest import read_nest
from accsim.published.sparseloop_stc import (
    DESIGNS,
    DUAL_SIDE,
    ENERGY_TABLES,
    Bandwidths,
    Estimate,
    Run,
    evaluate,
    stored,
)
from accsim.sparsity.nm import NM
from accsim.sparsity.patterns import Dense, Unstructured
from accsim.sparsity.spelling import read_pattern
from accsim.validate.kind import Prediction, Quantity
from accsim.validate.table import Column, Rows, choice, count, fraction, positive, text

TOLERANCE = 1e-3
DUAL_TOLERANCE = 0.07
"""Of the dual-side design, whose vectors of nonzeros are a mean over random places."""

_REASON = "a mean over random places; metadata of empty vectors and of ends of fibres are left out"
_ROUNDING = 1e-3
"""What is left of a density that is written with few digits."""

_COUNTS = {
    "lrf_A_rd": "lrf_a_read", "lrf_A_fill": "lrf_a_fill", "rf_Z_rd": "rf_z_read", "rf_Z_fill": "rf_z_fill",
    "rf_Z_upd": "rf_z_update", "smem_A_rd": "smem_a_read", "smem_A_fill": "smem_a_fill", "smem_B_rd": "smem_b_read",
    "smem_B_fill": "smem_b_fill", "dram_A_rd": "smem_a_fill", "dram_B_rd": "smem_b_fill", "dram_Z_upd": "dram_z_update",
    "mac_ops_executed": "mac",
}  # fmt: skip
"""Column of a count to what the model calls it; what DRAM is read for, the shared memory takes."""

_RESULTS = (
    "cycles", "energy_uJ", "cycles_mac", "cycles_smem", "cycles_dram", "e_mac_pJ", "e_lrf_pJ", "e_rf_pJ", "e_smem_pJ",
    "e_dram_pJ", *_COUNTS,
)  # fmt: skip


@dataclass(frozen=True)
class StcRows:
    """Rows with the columns of ``sparseloop_stc.csv``."""

    name: str = "stc"
    summary: str = "a model of Sparseloop's sparse tensor cores against rows of Sparseloop's artefact"
    columns: tuple[Column, ...] = (
        text("layer"),
        count("M"),
        count("K"),
        count("N"),
        count("K_padded", needed=False),
        fraction("activation_density"),
        fraction("weight_density"),
        choice("design", *DESIGNS),
        text("weight_pattern_executed"),
        choice("A_format", "none", "CP", "RLE", "bitmask"),
        count("A_metadata_bits", least=0),
        choice("B_format", "none", "bitmask"),
        count("n_mac"),
        positive("smem_bw_words_per_cycle"),
        positive("dram_read_bw_words_per_cycle"),
        positive("dram_write_bw_words_per_cycle"),
        choice("ert", *ENERGY_TABLES),
        text("mapping"),
        *(positive(column, needed=column in ("cycles", "energy_uJ")) for column in _RESULTS),
    )
    quantities: tuple[Quantity, ...] = tuple(Quantity(column, column, TOLERANCE) for column in _RESULTS)

    def check(self, rows: Rows) -> list[Problem]:
        """Texts that cannot be read, and mappings of another product or of too many multipliers."""
        nests, problems = _read_each(rows, "mapping", read_nest)
        densities, unread = _read_each(rows, "weight_pattern_executed", executed_density)
        problems += unread
        problems += rows.wrong(rows["activation_density"] == 0, "activation_density", "above 0")
        for dim, column in (("M", "M"), ("N", "N"), ("K", "K_padded" if "K_padded" in rows else "K")):
            extents = np.array([nest.extent(dim) if nest else 0 for nest in nests])
            bad = (extents > 0) & (extents < rows[column])
            problems += rows.wrong(bad, column, f"at most that of the loops over {dim} in the mapping")
        used = [n.macs / n.steps * float(d) if n and d else 0.0 for n, d in zip(nests, densities, strict=True)]
        several = rows["design"] != DUAL_SIDE
        too_many = several & (np.array(used) > rows["n_mac"] * (1 + _ROUNDING))
        return problems + rows.wrong(too_many, "n_mac", "at least the multiplications of a step of the mapping")

    def select(self, rows: Rows, machine: str | None) -> NDArray[np.bool_]:
        """All rows, or those of a design."""
        if machine is None:
            return np.ones(len(rows), dtype=bool)
        known = {plain_name(name): name for name in DESIGNS}
        design = known.get(plain_name(machine))
        if design is None:
            message = f"read machine '{machine[:60]}', allowed are {', '.join(DESIGNS)}"
            raise InputError(Problem("", "", message, nearest(machine, DESIGNS)))
        return np.asarray(rows["design"] == design)

    def predict(self, rows: Rows, machine: str | None) -> Prediction:
        """Counts, cycles and energy of each row."""
        del machine
        runs = [_run(rows, i) for i in range(len(rows))]
        found = [_results(evaluate(run)) for run in runs]
        values = {name: np.array([one[name] for one in found]) for name in _RESULTS}
        bound = np.array([f"{evaluate(run).cycles.slowest}-bound" for run in runs])
        dual = rows["design"] == DUAL_SIDE
        labels = [
            f"{layer} {design} {density:g}"
            for layer, design, density in zip(rows["layer"], rows["design"], rows["weight_density"], strict=True)
        ]
        executed = np.array([run.nest.macs * run.a.density * (run.b.density if run.dual else 1.0) for run in runs])
        return Prediction(
            values,
            {"design": rows["design"], "bound": bound},
            labels,
            {"multipliers always busy": executed / rows["n_mac"]},
            tolerances=dict.fromkeys(_RESULTS, np.where(dual, DUAL_TOLERANCE, TOLERANCE)),
            reasons=np.where(dual, _REASON, "").tolist(),
        )


def executed_density(pattern: str) -> Fraction:
    """Share of the products by A that a design executes: ``dense``, ``2:4``, or ``unstructured 0.5``.

    Raises
    ------
    InputError
        If the text is no such pattern.
    """
    found = read_pattern(pattern)
    if not isinstance(found, (Dense, NM, Unstructured)) or not found.density:
        raise InputError("allowed are dense, N:M, or unstructured with a density above 0")
    return found.density


def _read_each(rows: Rows, column: str, read: Callable[[str], Any]) -> tuple[list[Any], list[Problem]]:
    """What the texts of a column stand for, None for one that cannot be read, and problems of those."""
    cache: dict[str, Any] = {}
    found, problems = [], []
    for i, words in enumerate(rows[column].tolist()):
        try:
            if words not in cache:
                cache[words] = read(words)
            found.append(cache[words])
        except InputError as error:
            found.append(None)
            told = error.problems[0]
            problems.append(Problem(rows.place(i, column), column, f"read {shown(words)}: {told.message}"))
    return found, problems


def _run(rows: Rows, i: int) -> Run:
    dual = rows["design"][i] == DUAL_SIDE
    weights = float(executed_density(str(rows["weight_pattern_executed"][i])))
    activations = float(rows["activation_density"][i])
    speeds = ("smem_bw_words_per_cycle", "dram_read_bw_words_per_cycle", "dram_write_bw_words_per_cycle")
    return Run(
        read_nest(str(rows["mapping"][i])),
        stored(str(rows["A_format"][i]), int(rows["A_metadata_bits"][i]), weights),
        stored(str(rows["B_format"][i]), 0, activations),
        bool(dual),
        Bandwidths(*(float(rows[speed][i]) for speed in speeds)),
        ENERGY_TABLES[str(rows["ert"][i])],
    )


def _results(estimate: Estimate) -> Mapping[str, float]:
    """The model's numbers by column of the rows, whose cycles of a memory are never below the multipliers'."""
    cycles, energies = estimate.cycles, estimate.energies
    return {
        "cycles": max(cycles),
        "energy_uJ": sum(energies) * 1e-6,
        "cycles_mac": cycles.mac,
        "cycles_smem": max(cycles.mac, cycles.smem),
        "cycles_dram": max(cycles.mac, cycles.dram),
        **{f"e_{name}_pJ": energy for name, energy in energies._asdict().items()},
        **{column: getattr(estimate.counts, name) for column, name in _COUNTS.items()},
    }

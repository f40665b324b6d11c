"""Kind ``flat``: ``flat-corrected`` against rows of FLAT's corrected simulator, as FuseMax (MICRO 2024) published them.

Each row lists an operator, a mapping and results. They are computed anew with the listed mapping; and the lowest
latency of the whole space is held against the listed one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accsim.config.catalogue import load_accelerator
from accsim.errors import InputError, Problem, nearest, plain_name
from accsim.published.flat_corrected import WORD_BYTES, FlatMapping, Platform, Shape, evaluate, platform_of
from accsim.published.flat_search import search
from accsim.validate.kind import Prediction, Quantity
from accsim.validate.table import Column, Rows, choice, count, flag, fraction, positive, text

PLATFORMS = {"edge": "flat_edge", "cloud": "flat_cloud"}
"""Name of a platform in the rows to the machine that ships."""

TOLERANCE = 1e-3
EXACT = 1e-12
"""What is left of an exact fraction when it is written as a decimal and read again."""


@dataclass(frozen=True)
class FlatRows:
    """Rows with the columns of FuseMax's ``flat_validation.csv``."""

    name: str = "flat"
    summary: str = "flat-corrected, a model of the paper FLAT, against rows of the paper's corrected simulator"
    columns: tuple[Column, ...] = (
        choice("platform", *PLATFORMS),
        text("model"),
        count("seq_len"),
        count("batch"),
        count("heads"),
        count("d_model", needed=False),
        count("d_head"),
        flag("fused", needed=False),
        choice("granularity", "H", "R"),
        count("R"),
        choice("stat_L", "OS", "WS"),
        choice("stat_A", "OS", "WS"),
        flag("stage_Q"),
        flag("stage_K"),
        flag("stage_L"),
        flag("stage_S"),
        flag("stage_V"),
        flag("stage_O"),
        fraction("buffered_fraction", needed=False),
        fraction("spill_fraction"),
        positive("traffic_bytes"),
        positive("ideal_latency_s", needed=False),
        positive("latency_s"),
        positive("utilisation", needed=False),
        positive("energy_pJ", needed=False),
    )
    quantities: tuple[Quantity, ...] = (
        Quantity("latency", "latency_s", TOLERANCE),
        Quantity("searched_latency", "latency_s", TOLERANCE),
        Quantity("traffic", "traffic_bytes", TOLERANCE),
        Quantity("spill_fraction", "spill_fraction", EXACT, relative=False),
        Quantity("buffered_fraction", "buffered_fraction", EXACT, relative=False),
        Quantity("energy", "energy_pJ", TOLERANCE),
        Quantity("ideal_latency", "ideal_latency_s", TOLERANCE),
        Quantity("utilization", "utilisation", TOLERANCE),
    )

    def check(self, rows: Rows) -> list[Problem]:
        """Sizes and flags that contradict each other."""
        rows_of_tile, length = rows["R"], rows["seq_len"]
        whole = rows["granularity"] == "H"
        problems = [
            *rows.wrong(whole & (rows_of_tile != length), "R", "the seq_len at granularity H"),
            *rows.wrong(~whole & (rows_of_tile > length), "R", "at most the seq_len"),
            *rows.wrong(rows["stage_S"] != rows["stage_L"], "stage_S", "the same as stage_L"),
        ]
        if "fused" in rows:
            problems += rows.wrong(rows["fused"] != rows["stage_L"], "fused", "the same as stage_L")
        if "d_model" in rows:
            wrong = rows["d_model"] != rows["heads"] * rows["d_head"]
            problems += rows.wrong(wrong, "d_model", "heads times d_head")
        return problems

    def select(self, rows: Rows, machine: str | None) -> NDArray[np.bool_]:
        """All rows, or those of the platform that is a machine."""
        if machine is None:
            return np.ones(len(rows), dtype=bool)
        known = {plain_name(name): platform for platform, name in PLATFORMS.items()}
        platform = known.get(plain_name(machine))
        if platform is None:
            names = tuple(PLATFORMS.values())
            message = f"read machine '{machine[:60]}', allowed are {', '.join(names)}"
            raise InputError(Problem("", "", message, nearest(machine, names)))
        return np.asarray(rows["platform"] == platform)

    def predict(self, rows: Rows, machine: str | None) -> Prediction:
        """Results with the listed mappings, and the lowest latencies of the space."""
        del machine
        shape = Shape(rows["batch"], rows["heads"], rows["seq_len"], rows["d_head"])
        platform = platforms(rows)
        given = evaluate(shape, platform, mappings(rows))
        _, best = search(shape, platform)
        values = {
            "latency": given.latency_s,
            "searched_latency": best.latency_s,
            "traffic": given.traffic_bytes,
            "spill_fraction": given.spill_fraction,
            "buffered_fraction": 1.0 - given.spill_fraction,
            "energy": given.energy_pj,
            "ideal_latency": given.ideal_latency_s,
            "utilization": given.utilization,
        }
        names = [f"{one} {model}" for one, model in zip(rows["platform"], rows["model"], strict=True)]
        labels = [f"{name} {length}" for name, length in zip(names, rows["seq_len"], strict=True)]
        bound = np.array([f"{name}-bound" for name in given.bound_by])
        roofline = {"roofline": np.maximum(given.ideal_latency_s, _least_memory_s(rows, platform))}
        return Prediction(values, {"platform and model": np.array(names), "bound": bound}, labels, roofline)


def mappings(rows: Rows) -> FlatMapping:
    """The listed mappings."""
    stationary = (rows["stat_L"] == "WS", rows["stat_A"] == "WS")
    return FlatMapping(rows["R"], *stationary, *(rows[f"stage_{tensor}"] for tensor in ("Q", "K", "L", "V", "O")))


def platforms(rows: Rows) -> Platform:
    """The platform of each row, from the machine that ships."""
    known = {name: platform_of(load_accelerator(machine)) for name, machine in PLATFORMS.items()}
    each = [known[name] for name in rows["platform"].tolist()]
    return Platform(*(np.array(column) for column in zip(*each, strict=True)))


def _least_memory_s(rows: Rows, platform: Platform) -> NDArray[np.float64]:
    """Time of moving Q, K, V and O once."""
    sizes = (np.asarray(rows[name], dtype=np.float64) for name in ("batch", "heads", "seq_len", "d_head"))
    tensor = np.prod(list(sizes), axis=0) * WORD_BYTES
    return np.asarray(4 * tensor / platform.bandwidth_bytes_per_s)

"""``flat-corrected``: the corrected analytical model of FLAT (ASPLOS 2023), as a model of that paper.

FLAT's simulator is not public. FuseMax (MICRO 2024, github.com/FPSG-UIUC/micro24-fusemax-artifact) published mappings
and results of its corrected version; these closed forms reproduce them. They cover Logit and Attend of one attention
operator on a square array with one buffer, two bytes a word, perfect double buffering, and a free softmax unless lanes
for it are given. ``docs/flat_published.md`` has the formulas, how closely they meet the rows, and what they leave out;
the product is the tile engine (``docs/attention.md``), not this.

Everything is vectorized: each field of a `Shape`, a `Platform` and a `FlatMapping` is a number or an array, and they
broadcast together. Formulas use

p = array side, w = word bytes, R = rows of a tile, d = head dimension, N = sequence length,
T = ceil(N / p), E = ceil(d / p), s = N / d, n = ceil(N / R) stages a head, U = batch heads N d w bytes (one tensor).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from accsim.config.compute_units import SystolicArray
from accsim.config.machine import Accelerator
from accsim.errors import InputError

Numbers = float | NDArray[Any]
"""A number, or an array of numbers (truth values are 0 and 1)."""

Floats = NDArray[np.float64]

WORD_BYTES = 2
"""Bytes of an element: the published rows have two, for scores and sums too."""

OFF_CHIP_PJ_PER_BYTE = 32.0
"""The only energy charged: every published row has 32 pJ for each byte of its traffic (4 pJ/bit), compute is free."""

STAGE_CYCLES_OUTPUT_STATIONARY = 3
STAGE_CYCLES_WEIGHT_STATIONARY = 4
"""What it costs an operator to begin a stage; the two integers of the model that were fitted to the rows."""

SOFTMAX_PASSES = 4
"""Vector operations a score: maximum, subtract and exponential, sum, divide (FuseMax, MICRO 2024)."""


class Shape(NamedTuple):
    """Attention operators with as many keys as queries, and no grouped heads."""

    batch: Numbers
    heads: Numbers
    seq_len: Numbers
    head_dim: Numbers


class Platform(NamedTuple):
    """What the model knows of a machine."""

    side: Numbers
    """PEs of a row and of a column of the array."""
    capacity_bytes: Numbers
    bandwidth_bytes_per_s: Numbers
    """Off-chip; on-chip bandwidth is nowhere in the model."""
    clock_hz: Numbers


class FlatMapping(NamedTuple):
    """Mappings of Logit and Attend; all but ``rows`` are truth values."""

    rows: Numbers
    """Query rows of a tile, R; the sequence length at head granularity."""
    logit_weight_stationary: Numbers
    """Else output-stationary."""
    attend_weight_stationary: Numbers
    stage_q: Numbers
    """The tile of Q is kept in the buffer, else it is streamed; likewise below."""
    stage_k: Numbers
    stage_scores: Numbers
    """Logits and weights both stay on the chip: Logit and Attend are fused."""
    stage_v: Numbers
    stage_o: Numbers


@dataclass(frozen=True)
class Estimate:
    """What the model says of mappings; arrays of one shape."""

    traffic_bytes: Floats
    """Off-chip, of the whole batch."""
    footprint_bytes: Floats
    spill_fraction: Floats
    """Share of the footprint that the buffer lacks room for."""
    compute_s: Floats
    """The matrix array's."""
    memory_s: Floats
    softmax_s: Floats
    """0 where the softmax is free."""
    latency_s: Floats
    ideal_latency_s: Floats
    """All multiplications at the array's peak: 2 batch heads N^2 d / p^2 cycles."""
    energy_pj: Floats

    @property
    def utilization(self) -> Floats:
        """Ideal over actual latency."""
        return self.ideal_latency_s / self.latency_s

    @property
    def bound_by(self) -> NDArray[np.str_]:
        """``compute``, ``memory`` or ``softmax``: whichever takes longest."""
        times = np.stack([self.compute_s, self.memory_s, self.softmax_s])
        return np.asarray(np.take(("compute", "memory", "softmax"), times.argmax(axis=0)))


_Inputs = TypeVar("_Inputs", Shape, Platform, FlatMapping)


class _Counts(NamedTuple):
    """T, E, s, n and U of the module's docstring."""

    row_tiles: Floats
    col_tiles: Floats
    scores: Floats
    stages: Floats
    tensor_bytes: Floats


class _Tiles(NamedTuple):
    """Words of the tiles that the buffer holds, each once."""

    q: Floats
    k: Floats
    logits: Floats
    weights: Floats
    v: Floats
    o: Floats


def platform_of(acc: Accelerator) -> Platform:
    """The platform of a machine with one square systolic array and one buffer.

    Raises
    ------
    InputError
        If the machine is another one.
    """
    unit = acc.matrix_unit
    whole = acc.cores == 1 and unit.count == 1 and len(acc.memories) == 2
    if not (isinstance(unit, SystolicArray) and unit.rows == unit.cols and whole):
        raise InputError(f"'{acc.name}': flat-corrected is of machines with one square systolic array and one buffer")
    main = acc.main_memory
    return Platform(unit.rows, acc.memories[0].capacity_bytes, main.read_bytes_per_s, acc.clock_hz)


def evaluate(shape: Shape, platform: Platform, mapping: FlatMapping, softmax_lanes: float | None = None) -> Estimate:
    """What the model says of mappings of attention operators on platforms.

    Parameters
    ----------
    shape, platform, mapping
        Numbers and arrays that broadcast together.
    softmax_lanes
        Lanes that the softmax is charged to (``flat-corrected + softmax``); None: it is free, as FLAT has it.

    Notes
    -----
    latency = max(compute, traffic / bandwidth, softmax) + switching + start / bandwidth

    - switching: 3 (output-stationary) or 4 (weight-stationary) cycles an operator and stage, batch heads n stages.
    - start: bytes of the first operand tiles and the last result tile, w (tQ + tK + tV + tO), tO twice where O is not
      staged; they count as traffic too.
    - softmax: 4 batch heads N^2 / lanes cycles; scores that are off the chip are read and written once more for it,
      2 s U of traffic; and what spills is counted as in `softmax_spill_units`.

    Source: latency and start reconstructed from FuseMax's published rows of the corrected simulator; the softmax from
    FuseMax's artifact (MICRO 2024). One maximum over the whole operator: no stage of its own ever stalls.
    """
    shape, platform, mapping = _floats(shape), _floats(platform), _floats(mapping)
    counts = _counts(shape, platform, mapping)
    tiles = tile_words(shape, platform, mapping)
    footprint = footprint_bytes(shape, platform, mapping)
    spill = np.maximum(0.0, 1.0 - platform.capacity_bytes / footprint)
    if softmax_lanes is None:
        spilled = spill_units(shape, platform, mapping)
        units = traffic_units(shape, platform, mapping) + spill * spilled
    else:
        spilled = softmax_spill_units(shape, platform, mapping)
        passed = np.where(mapping.stage_scores, 0.0, 2 * counts.scores)
        units = traffic_units(shape, platform, mapping) + spill * spilled + passed
    result = np.where(mapping.stage_o, tiles.o, 2 * tiles.o)
    start = WORD_BYTES * (tiles.q + tiles.k + tiles.v + result)
    traffic = counts.tensor_bytes * units + start

    compute = compute_cycles(shape, platform, mapping) / platform.clock_hz
    memory = traffic / platform.bandwidth_bytes_per_s
    scores = shape.batch * shape.heads * shape.seq_len**2
    softmax = 0.0 if softmax_lanes is None else SOFTMAX_PASSES * scores / softmax_lanes / platform.clock_hz
    switching = _switching_cycles(shape, mapping, counts) / platform.clock_hz
    latency = np.maximum(np.maximum(compute, memory), softmax) + switching + start / platform.bandwidth_bytes_per_s
    ideal = 2 * scores * shape.head_dim / (platform.side**2 * platform.clock_hz)
    energy = OFF_CHIP_PJ_PER_BYTE * traffic
    parts = (traffic, footprint, spill, compute, memory, softmax, latency, ideal, energy)
    return Estimate(*(np.array(part) for part in np.broadcast_arrays(*parts)))


def traffic_units(shape: Shape, platform: Platform, mapping: FlatMapping) -> Floats:
    """Off-chip traffic without spill, in U.

    Notes
    -----
    Q: 1 if staged, else T. K and V: 1 if staged, else T under an output-stationary operator whatever R is, n under a
    weight-stationary one. Scores: none if staged, else s written and s E read. O: 1; its partial sums are not charged.

    Source: reconstructed from FuseMax's published rows.
    """
    t, e, s, n, _ = _counts(shape, platform, mapping)
    q = np.where(mapping.stage_q, 1.0, t)
    k = np.where(mapping.stage_k, 1.0, np.where(mapping.logit_weight_stationary, n, t))
    v = np.where(mapping.stage_v, 1.0, np.where(mapping.attend_weight_stationary, n, t))
    scores = np.where(mapping.stage_scores, 0.0, s + s * e)
    return q + k + v + scores + 1.0


def spill_units(shape: Shape, platform: Platform, mapping: FlatMapping) -> Floats:
    """Traffic that a wholly spilled footprint would add, in U; the spilled fraction of it is charged.

    Notes
    -----
    T (Q) + s E (weights) + Logit's part + Attend's part, where

    - Logit: s, and T more if K is staged (output-stationary); 2 E s (weight-stationary);
    - Attend: 1 if O is staged, and T if V is (output-stationary); 2 T (weight-stationary).

    Source: reconstructed from FuseMax's published rows; no row exercises the T of a staged K.
    """
    t, e, s, _, _ = _counts(shape, platform, mapping)
    logit = np.where(mapping.logit_weight_stationary, 2 * e * s, s + np.where(mapping.stage_k, t, 0.0))
    staged = np.where(mapping.stage_o, 1.0, 0.0) + np.where(mapping.stage_v, t, 0.0)
    return t + s * e + logit + np.where(mapping.attend_weight_stationary, 2 * t, staged)


def softmax_spill_units(shape: Shape, platform: Platform, mapping: FlatMapping) -> Floats:
    """The same where the softmax is charged: what spills moves as often as if it were not staged.

    Notes
    -----
    Q, K, V: one less than streamed, where staged. Staged scores: (6 + E) s, since the logits are written, read for
    the maximum, read and written for the exponential, read and written for the division, and read for Attend.

    Source: reconstructed from the rows of FLAT that FuseMax published with a charged softmax; they exercise Q, V and
    the scores, under output-stationary operators and with E = 1.
    """
    counts = _counts(shape, platform, mapping)
    streamed = traffic_units(shape, platform, mapping._replace(stage_q=0.0, stage_k=0.0, stage_v=0.0))
    again = streamed - traffic_units(shape, platform, mapping)
    return again + np.where(mapping.stage_scores, (6 + counts.col_tiles) * counts.scores, 0.0)


def tile_words(shape: Shape, platform: Platform, mapping: FlatMapping) -> _Tiles:
    """Words of the tiles in the buffer, each once; a streamed operand has a small tile of its own.

    Notes
    -----
    ======  ========  =============================  =============================
    tile    staged    else, output-stationary        else, weight-stationary
    ======  ========  =============================  =============================
    q       R d       p d                            R p
    k, v    N d       p d                            p^2
    o       R d       p d                            R p
    logits  0         p^2                            R p
    weights 0         p^2                            p^2
    ======  ========  =============================  =============================

    Source: reconstructed from FuseMax's published rows; no row exercises a streamed Q under a weight-stationary
    Logit, a staged K or V under a weight-stationary operator, or streamed logits under an output-stationary one.
    """
    d, n, r, p = shape.head_dim, shape.seq_len, mapping.rows, platform.side
    logit_ws, attend_ws = mapping.logit_weight_stationary, mapping.attend_weight_stationary
    return _Tiles(
        q=np.where(mapping.stage_q, r * d, np.where(logit_ws, r * p, p * d)),
        k=np.where(mapping.stage_k, n * d, np.where(logit_ws, p * p, p * d)),
        logits=np.where(mapping.stage_scores, 0.0, np.where(logit_ws, r * p, p * p)),
        weights=np.where(mapping.stage_scores, 0.0, p * p),
        v=np.where(mapping.stage_v, n * d, np.where(attend_ws, p * p, p * d)),
        o=np.where(mapping.stage_o, r * d, np.where(attend_ws, r * p, p * d)),
    )


def footprint_bytes(shape: Shape, platform: Platform, mapping: FlatMapping) -> Floats:
    """Bytes that a mapping wants of the buffer: two of each tile, and one R N of scores where they are staged.

    Notes
    -----
    2 w (tQ + tK + tV + tO + tL + tA) + w R N. Source: FLAT, Table 1, for the doubling; reconstructed for the tiles.
    """
    words = sum(tile_words(shape, platform, mapping), np.asarray(0.0))
    scores = np.where(mapping.stage_scores, np.asarray(mapping.rows) * shape.seq_len, 0.0)
    return np.asarray(2 * WORD_BYTES * words + WORD_BYTES * scores)


def compute_cycles(shape: Shape, platform: Platform, mapping: FlatMapping) -> Floats:
    """Cycles of the matrix array.

    Notes
    -----
    Logit: batch heads T T d (output-stationary) or batch heads E T N (weight-stationary). Attend: batch heads T E N.
    A head dimension below p leaves columns idle: d = 64 on 256 columns makes 2.5 times the ideal.

    Source: reconstructed from FuseMax's published rows.
    """
    t, e, _, _, _ = _counts(shape, platform, mapping)
    attend = t * e * shape.seq_len
    logit = np.where(mapping.logit_weight_stationary, attend, t * t * shape.head_dim)
    return np.asarray(shape.batch * shape.heads * (logit + attend))


def _switching_cycles(shape: Shape, mapping: FlatMapping, counts: _Counts) -> Floats:
    """Cycles of beginning every stage of both operators."""
    each = sum(
        np.where(ws, STAGE_CYCLES_WEIGHT_STATIONARY, STAGE_CYCLES_OUTPUT_STATIONARY)
        for ws in (mapping.logit_weight_stationary, mapping.attend_weight_stationary)
    )
    return np.asarray(shape.batch * shape.heads * counts.stages * each)


def _counts(shape: Shape, platform: Platform, mapping: FlatMapping) -> _Counts:
    n, d = np.asarray(shape.seq_len, dtype=np.float64), np.asarray(shape.head_dim, dtype=np.float64)
    tensor = shape.batch * shape.heads * n * d * WORD_BYTES
    return _Counts(np.ceil(n / platform.side), np.ceil(d / platform.side), n / d, np.ceil(n / mapping.rows), tensor)


def _floats(numbers: _Inputs) -> _Inputs:
    """The same as float64, which holds the products of long sequences that overflow an integer."""
    return type(numbers)(*(np.asarray(number, dtype=np.float64) for number in numbers))

"""Sparse tensor cores of Sparseloop's case study (Wu et al., MICRO 2022, figure 15), as a model of that paper.

A closed form of one product Z[M,N] = A[M,K] B[K,N] of words of 8 bits on multipliers with a DRAM, a shared memory
(SMEM), accumulators (RF) and operand registers (LRF). Access counts follow from the mapping; the slowest memory, or
the multipliers, take the time; levels overlap perfectly, with no fill or drain. ``docs/sparseloop.md`` has the
formulas, how closely they meet the published rows, and what they leave out; the product is the tile engine, not this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import binom

from accsim.published.sparseloop_nest import Nest
from accsim.sparsity.bitstream import index_bits

WORD_BITS = 8

DESIGNS = ("TC", "STC", "STC_flexible", "STC_flexible_RLE", "STC_flexible_RLE_dualCompress", "DSTC")
"""Dense; 2:4; 2:4, 2:6 and 2:8; the same with other metadata; and with B compressed; outer product of bitmasks."""

DUAL_SIDE = "DSTC"
"""The design that skips zeros of both operands; the others skip those of A alone."""


class Access(NamedTuple):
    """Energy of an access: its width, and pJ of a read and of a write."""

    bits: int
    read_pj: float
    write_pj: float

    def energy_pj(self, read_bits: float, written_bits: float) -> float:
        """Energy of moving so many bits."""
        return (read_bits * self.read_pj + written_bits * self.write_pj) / self.bits


class EnergyTable(NamedTuple):
    """Energy of a design's components; metadata of the accumulators and of DRAM is not charged."""

    mac_pj: float
    lrf: Access
    lrf_metadata: Access
    rf: Access
    smem: Access
    smem_metadata: Access
    dram: Access = Access(64, 512.0, 512.0)


_RF_45NM, _SMEM_45NM = Access(8, 1.65889, 1.67589), Access(512, 285.71464, 316.96744)
_METADATA_45NM = Access(64, 25.8695, 19.6486)

ENERGY_TABLES: Mapping[str, EnergyTable] = {
    "stc_45nm": EnergyTable(
        0.5608, Access(8, 0.072, 0.072), Access(8, 0.072, 0.072), _RF_45NM, _SMEM_45NM, _METADATA_45NM
    ),
    "dstc_45nm": EnergyTable(
        0.5608, Access(16, 0.49218, 0.49218), Access(4, 0.18108, 0.18108), _RF_45NM, _SMEM_45NM, _METADATA_45NM
    ),
    "tc_65nm": EnergyTable(
        0.44688,
        Access(8, 0.02435, 0.02435),
        Access(8, 0.02435, 0.02435),
        Access(8, 3.1647, 3.20183),
        Access(512, 536.05005, 599.806),
        Access(64, 0.0, 0.0),
    ),
}
"""pJ of a multiplication, and of accesses. Source: energy tables of the artefact (github.com/Accelergy-Project/
micro22-sparseloop-artifact, fig15_stc_related_setup), made with Accelergy, CACTI and Aladdin. The dense design's are of
65 nm: its energy is not to be compared with the others'."""


class Operand(NamedTuple):
    """How an operand is stored."""

    density: float = 1.0
    """Words stored, as a share of the dense ones: 1 where it is not compressed."""
    bits_per_word: int = 0
    """Metadata of each stored word, as an index has it."""
    bits_per_place: int = 0
    """Metadata of each place, stored or not, as a bitmask has it."""

    def word_bits(self, places: float) -> float:
        """Bits of the values of so many places."""
        return places * self.density * WORD_BITS

    def metadata_bits(self, places: float) -> float:
        """Bits of the metadata of so many places."""
        return places * (self.density * self.bits_per_word + self.bits_per_place)


DENSE_OPERAND = Operand()


def stored(form: str, metadata_bits: int, density: float) -> Operand:
    """An operand in a format: ``none``, ``CP`` or ``RLE`` (an index a word), or ``bitmask``.

    Indices are packed in widths that are powers of two: 3 bits take 4. Source: reconstructed from the published rows.
    """
    if form == "none":
        return DENSE_OPERAND
    if form == "bitmask":
        return Operand(density, bits_per_place=1)
    return Operand(density, bits_per_word=1 << index_bits(metadata_bits))


class Bandwidths(NamedTuple):
    """Words a cycle."""

    smem: float
    dram_read: float
    dram_write: float


@dataclass(frozen=True)
class Run:
    """One product on one design.

    Attributes
    ----------
    a, b : the operands as they are stored.
    dual : zeros of B are skipped too, and products are outer products.
    """

    nest: Nest
    a: Operand
    b: Operand
    dual: bool
    bandwidths: Bandwidths
    energy: EnergyTable


class Counts(NamedTuple):
    """Accesses of all copies of each memory, in words without metadata."""

    mac: float
    lrf_a_read: float
    lrf_a_fill: float
    lrf_b_read: float
    lrf_b_fill: float
    rf_z_read: float
    rf_z_fill: float
    rf_z_update: float
    smem_a_read: float
    smem_a_fill: float
    smem_b_read: float
    smem_b_fill: float
    dram_z_read: float
    dram_z_update: float


class Metadata(NamedTuple):
    """Bits of metadata that are read and written."""

    lrf_read: float
    lrf_fill: float
    smem_read: float
    smem_fill: float


class Cycles(NamedTuple):
    """Time of each level by itself."""

    mac: float
    smem: float
    dram: float

    @property
    def slowest(self) -> str:
        """``mac``, ``smem`` or ``dram``."""
        return max(zip(self, self._fields, strict=True), key=lambda level: level[0])[1]


class Energies(NamedTuple):
    """pJ of each component."""

    mac: float
    lrf: float
    rf: float
    smem: float
    dram: float


class VectorUse(NamedTuple):
    """How a fibre that keeps its nonzeros alone fills vectors."""

    slots: float
    """Vectors that are issued, as a share of those of a dense fibre."""
    full: float
    """Mean share of the lanes that work in a fibre's vectors, over the fibres that are not empty."""


@dataclass(frozen=True)
class Estimate:
    """What the model says of a run."""

    counts: Counts
    cycles: Cycles
    energies: Energies


def vector_use(places: int, width: int, density: float) -> VectorUse:
    """Vectors of some width that the nonzeros of a fibre take, where its places are nonzero independently.

    Notes
    -----
    ceil(nnz / width) with nnz binomial. The artefact draws from a whole tensor (hypergeometric); no row tells the two
    apart.

    Examples
    --------
    >>> vector_use(64, 16, 1.0)
    VectorUse(slots=1.0, full=1.0)
    """
    count = np.arange(places + 1)
    chance = binom.pmf(count, places, density)
    vectors = np.ceil(count / width)
    lanes = chance[1:] * count[1:] / (width * vectors[1:])
    return VectorUse(float((chance * vectors).sum() * width / places), float(lanes.sum() / chance[1:].sum()))


def evaluate(run: Run) -> Estimate:
    """What the model says of a run.

    Notes
    -----
    Cycles of the multipliers: steps of the mapping's loops in time. Where both sides are skipped, dA dB / (uA uB) of
    them, with u the mean use of a fibre's vectors (`vector_use`). Cycles of a memory: words and metadata read, or words
    written, at its bandwidth.

    Source: Sparseloop's artefact, reconstructed from the published rows.
    """
    places, counts, metadata = _places(run), access_counts(run), _metadata(run)
    bandwidths, table = run.bandwidths, run.energy
    from_dram = _bits(run, places.smem_a_fill, places.smem_b_fill)
    results = counts.dram_z_update
    cycles = Cycles(
        mac=_steps(run),
        smem=((counts.smem_a_read + counts.smem_b_read) + metadata.smem_read / WORD_BITS) / bandwidths.smem,
        dram=max((from_dram / WORD_BITS + counts.dram_z_read) / bandwidths.dram_read, results / bandwidths.dram_write),
    )
    bits = Counts(*(WORD_BITS * words for words in counts))
    lrf = table.lrf.energy_pj(bits.lrf_a_read + bits.lrf_b_read, bits.lrf_a_fill + bits.lrf_b_fill)
    smem = table.smem.energy_pj(bits.smem_a_read + bits.smem_b_read, bits.smem_a_fill + bits.smem_b_fill)
    energies = Energies(
        mac=counts.mac * table.mac_pj,
        lrf=lrf + table.lrf_metadata.energy_pj(metadata.lrf_read, metadata.lrf_fill),
        rf=table.rf.energy_pj(bits.rf_z_read, bits.rf_z_fill + bits.rf_z_update),
        smem=smem + table.smem_metadata.energy_pj(metadata.smem_read, metadata.smem_fill),
        dram=table.dram.energy_pj(bits.smem_a_fill + bits.smem_b_fill + bits.dram_z_read, bits.dram_z_update),
    )
    return Estimate(counts, cycles, energies)


class _Places(NamedTuple):
    """Places of A and B that are visited, stored or not."""

    lrf_a_read: int
    lrf_a_fill: int
    lrf_b_read: int
    lrf_b_fill: int
    smem_a_read: int
    smem_a_fill: int
    smem_b_read: int
    smem_b_fill: int


def _places(run: Run) -> _Places:
    """B passes the operand registers by where it is not skipped."""
    nest = run.nest
    a, b = nest.words("A", "LRF"), nest.words("B", "LRF" if run.dual else "MAC")
    return _Places(
        nest.macs // nest.spread("LRF", "N"),
        a.received,
        nest.macs // nest.spread("LRF", "M") if run.dual else 0,
        b.received if run.dual else 0,
        a.sent,
        nest.words("A", "SMEM").sent,
        b.sent,
        nest.words("B", "SMEM").sent,
    )


def access_counts(run: Run) -> Counts:
    """Accesses of every memory, from the loops of the mapping and the densities.

    Notes
    -----
    Sums in space are added before the accumulators; of each result the first sum reads nothing. Z goes from the
    accumulators to DRAM. Where both sides are skipped, a vector of one operand is read for each vector of the other
    that is issued, and every multiplication has a sum of its own.
    """
    nest, places, a, b = run.nest, _places(run), run.a.density, run.b.density
    drained, results = nest.words("Z", "RF").sent, nest.extent("MN")
    issued_a, issued_b, summed = 1.0, 1.0, 1.0
    if run.dual:
        issued_a, issued_b, summed = _use(run, "M").slots, _use(run, "N").slots, a * b
    return Counts(
        mac=nest.macs * (a * b if run.dual else a),
        lrf_a_read=places.lrf_a_read * a * issued_b,
        lrf_a_fill=places.lrf_a_fill * a,
        lrf_b_read=places.lrf_b_read * b * issued_a,
        lrf_b_fill=places.lrf_b_fill * b,
        rf_z_read=(nest.macs / nest.spread("RF", "K") - results) * summed,
        rf_z_fill=drained,
        rf_z_update=nest.macs / nest.spread("RF", "K") * summed,
        smem_a_read=places.smem_a_read * a,
        smem_a_fill=places.smem_a_fill * a,
        smem_b_read=places.smem_b_read * b,
        smem_b_fill=places.smem_b_fill * b,
        dram_z_read=drained - results,
        dram_z_update=drained,
    )


def _metadata(run: Run) -> Metadata:
    """Metadata is read of every place that is visited, skipped or not."""
    at, a, b = _places(run), run.a.metadata_bits, run.b.metadata_bits
    return Metadata(
        a(at.lrf_a_read) + b(at.lrf_b_read),
        a(at.lrf_a_fill) + b(at.lrf_b_fill),
        a(at.smem_a_read) + b(at.smem_b_read),
        a(at.smem_a_fill) + b(at.smem_b_fill),
    )


def _bits(run: Run, a: float, b: float) -> float:
    """Bits of so many places of A and of B, metadata included."""
    return run.a.word_bits(a) + run.a.metadata_bits(a) + run.b.word_bits(b) + run.b.metadata_bits(b)


def _steps(run: Run) -> float:
    steps = run.nest.steps
    if not run.dual:
        return steps
    return steps * run.a.density * run.b.density / (_use(run, "M").full * _use(run, "N").full)


def _use(run: Run, dim: str) -> VectorUse:
    """Use of the multipliers along M by A, or along N by B: the operand that is compressed along it."""
    operand = run.a if dim == "M" else run.b
    return vector_use(run.nest.tile("LRF", dim), run.nest.spread("LRF", dim), operand.density)

"""How a machine runs a product with sparse operands: what its matrix unit leaves out, or dense, and why.

A compressed operand lies compressed in every memory, with the index that its unit reads: as
`accsim.sparsity.formats.NMIndex` where n of each m are kept, as a bitmap where single zeros are skipped or where a
decompressor fills them in.
``docs/sparse_gemm.md`` has the model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil

from accsim.config.compute_units import SystolicArray
from accsim.config.machine import Accelerator
from accsim.kernels.matrix import Machine, kept_places
from accsim.mapping.format_run import matrix_dtype, stored_numbers
from accsim.mapping.stored import Stored, expanded, results_told, stored_results
from accsim.sparsity.bitstream import index_bits
from accsim.sparsity.imbalance import fullest_bank
from accsim.sparsity.legality import Eligibility, Way, legality
from accsim.sparsity.nm import VENOM_COLUMNS, VNM
from accsim.sparsity.patterns import Dense
from accsim.sparsity.skipping import (
    Lines,
    Packing,
    bitmap_bits,
    run_by_rows,
    skipped_by_lanes,
    skipped_by_outer_products,
)
from accsim.sparsity.sparse_unit import SparseUnit
from accsim.units import canonical_dtype, dtype_bits
from accsim.workload.op_sparsity import operand_patterns, operand_tensor
from accsim.workload.ops import Conv2d, Gemm, Op

_NOT_RUN = (None, Way.SMALLER, Way.BLOCKS)
_NO_MODE = "give the smaller product for its speed: "


@dataclass(frozen=True)
class SparseRun:
    """How a product with a pattern runs.

    Attributes
    ----------
    reason : in a sentence.
    mode : (n, m): of each m places along k the unit multiplies n; (1, 1) of a dense product.
    time, issued : shares of those places' steady cycles and multiplications that are left.
    added : share of the sums that are updated, times as long as they take where several meet in a bank.
    gated : share of the executed multiplications by a pruned value, where the unit holds those still, else 0.
    group : lines of the sparse operand that share gathered columns.
    stored : of A and B.
    sparse : False where nothing is left out or compressed.
    """

    reason: str
    mode: tuple[int, int] = (1, 1)
    time: float = 1.0
    issued: float = 1.0
    added: float = 1.0
    gated: float = 0.0
    group: int = 1
    stored: tuple[Stored, Stored] = (Stored(), Stored())
    sparse: bool = True


def _pairs(modes: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    return tuple((int(n), int(m)) for n, m in (mode.split(":") for mode in modes))


def sparse_unit(acc: Accelerator, dtype: str) -> SparseUnit:
    """The machine's matrix unit for a data type, as legality is asked of it."""
    sparse, modes = acc.matrix_unit.sparse, _pairs(acc.matrix_unit.sparse.modes.get(canonical_dtype(dtype), ()))
    rows = sparse.row_wise
    return SparseUnit(
        acc.matrix_unit.kind,
        modes=modes,
        gathered_rows=sparse.gathered_rows,
        row_wise=(rows.rows, rows.window) if rows is not None and modes else None,
        unstructured=sparse.lane_skipping is not None or sparse.outer_product is not None,
    )


@lru_cache(maxsize=1024)
def sparse_run(op: Gemm, acc: Accelerator) -> SparseRun:
    """How a machine runs a product that has a sparsity."""
    patterns, extents = operand_patterns(op), {"m": op.rows, "n": op.n, "k": op.k}
    unit = sparse_unit(acc, matrix_dtype(op, acc))
    entries = {name: legality(one, unit, name, extents)["forward"] for name, one in patterns.items()}
    sparser = min(entries, key=lambda name: (entries[name].way in _NOT_RUN, entries[name].executed_density))
    run = _run(op, acc, sparser, entries[sparser])
    if run.sparse and not _expands(run) and acc.matrix_unit.sparse.outer_product is None:
        run = _with_other(op, acc, sparser, run)
    if acc.matrix_unit.sparse.gated_energy == 1:
        return run
    executed = op.macs * kept_places(op.k, *run.mode) / op.k * run.issued
    gated = max(0.0, 1.0 - op.macs_effectual / executed) if executed else 0.0
    held = ", multiplications by its zeros gated" if gated else ""
    return replace(run, gated=gated, reason=run.reason.replace("runs dense", f"runs dense{held}", 1))


def _expands(run: SparseRun) -> bool:
    return any(own.expanded for own in run.stored)


def _run(op: Gemm, acc: Accelerator, operand: str, entry: Eligibility) -> SparseRun:
    """The run of what legality says of an operand's pattern."""
    pattern, why = operand_patterns(op)[operand], f"{entry.verdict.value}: {entry.reason}"
    what = f"{pattern} of {operand}"
    match entry.way if entry.legal else None:
        case Way.ZEROS if acc.matrix_unit.sparse.lane_skipping:
            return _by_lanes(op, acc, operand)
        case Way.ZEROS:
            return _by_outer_products(op, acc)
        case Way.ROWS:
            return _by_rows(op, acc, operand, f"{what} runs row by row: {why}")
        case Way.MODE if entry.mode:
            return _in_mode(operand, entry.mode, f"{what} runs in the mode {entry.mode[0]}:{entry.mode[1]}: {why}")
        case Way.GATHER if isinstance(pattern, VNM):
            return _gathered(operand, pattern, f"{what} runs with gathered columns: {why}")
    return _dense(op, acc, what, f"{_NO_MODE}{entry.reason}" if entry.legal else why)


def _dense(op: Gemm, acc: Accelerator, what: str, why: str) -> SparseRun:
    """Every place multiplied, of operands that a decompressor expands or that lie dense."""
    stored = expanded(op, acc, "A", Stored()), expanded(op, acc, "B", Stored())
    found = [operand for operand, own in zip("AB", stored, strict=True) if own.expanded]
    how = f", {' and '.join(found)} expanded from {'bitmaps' if found[1:] else 'a bitmap'}" if found else ""
    return SparseRun(f"{what} runs dense{how}: {why}", stored=stored, sparse=bool(found))


def _in_mode(operand: str, mode: tuple[int, int], reason: str) -> SparseRun:
    n, m = mode
    return SparseRun(reason, mode, stored=_both(operand, Stored(n / m, n / m * index_bits(m)), Stored(selected=1.0)))


def _gathered(operand: str, pattern: VNM, reason: str) -> SparseRun:
    n, m, share = pattern.n, pattern.m, VENOM_COLUMNS / pattern.m
    index = n / m * index_bits(VENOM_COLUMNS) + share * index_bits(m) / pattern.v
    stored = _both(operand, Stored(n / m, index), Stored(selected=share, gathered=share))
    return SparseRun(reason, (n, m), group=pattern.v, stored=stored)


def _both(operand: str, own: Stored, other: Stored) -> tuple[Stored, Stored]:
    """What is stored of A and B, of which one is the operand."""
    return (own, other) if operand == "A" else (other, own)


def _lines(op: Gemm, operand: str) -> Lines:
    (rows, cols), axes = operand_tensor(op, operand)
    lines, places = (rows, cols) if operand == "A" else (cols, rows)
    return Lines(operand_patterns(op).get(operand, Dense()), lines, places, axes)


def _side(acc: Accelerator, operand: str) -> int:
    """Lines of an operand that one unit works on side by side."""
    unit = acc.matrix_unit
    if isinstance(unit, SystolicArray):
        return unit.rows if operand == "A" else unit.cols
    return unit.m if operand == "A" else unit.n


def _with_other(op: Gemm, acc: Accelerator, operand: str, run: SparseRun) -> SparseRun:
    """The run with the other operand compressed too, if that has a pattern which the unit reads beside the first."""
    other = "B" if operand == "A" else "A"
    pattern = operand_patterns(op).get(other)
    if pattern is None:
        return run
    modes = _pairs(acc.matrix_unit.sparse.other_modes.get(canonical_dtype(matrix_dtype(op, acc)), ()))
    entry = legality(pattern, SparseUnit(acc.matrix_unit.kind, modes=modes), other, {"k": op.k})["forward"]
    own, held = run.stored if operand == "A" else run.stored[::-1]
    if entry.mode is not None and entry.legal:
        n, m = entry.mode
        held, how = Stored(n / m, n / m * index_bits(m), selected=n / m), f"is held as {n}:{m}"
    else:
        held = expanded(op, acc, other, held)
        how = f"{'is expanded from a bitmap' if held.expanded else 'lies dense'}: {entry.reason}"
    reason = f"{run.reason}; {pattern} of {other} {how}"
    return replace(run, reason=reason, stored=_both(operand, own, held))


def _by_rows(op: Gemm, acc: Accelerator, operand: str, reason: str) -> SparseRun:
    rows, modes = acc.matrix_unit.sparse.row_wise, sparse_unit(acc, matrix_dtype(op, acc)).modes
    assert rows is not None
    left = run_by_rows(_lines(op, operand), modes, rows.rows, rows.window)
    index = left.time * index_bits(modes[0][1]) + index_bits(len(modes) + 1) / rows.window
    stored = _both(operand, Stored(left.time, index, lines=left.time), Stored(selected=1.0))
    return SparseRun(reason, issued=left.issued, stored=stored)


def _by_lanes(op: Gemm, acc: Accelerator, operand: str) -> SparseRun:
    skipping, lanes, lines = acc.matrix_unit.sparse.lane_skipping, _side(acc, operand), _lines(op, operand)
    assert skipping is not None
    left = skipped_by_lanes(lines, lanes, skipping.window)
    if left.time >= 1:
        return _dense(op, acc, f"{lines.pattern} of {operand}", "the fullest lane of every window has no zeros")
    stored = _both(operand, Stored(lines.density, 1.0), Stored(selected=1.0))
    reason = (
        f"{lines.pattern} of {operand} runs with its zeros skipped: {left.time:.3g} of the cycles for "
        f"{left.issued:.3g} of the multiplications, {lanes} lanes wait every {skipping.window} places"
    )
    return SparseRun(reason, time=left.time, issued=left.issued, added=left.issued, stored=stored)


def _by_outer_products(op: Gemm, acc: Accelerator) -> SparseRun:
    outer, both = acc.matrix_unit.sparse.outer_product, (_lines(op, "A"), _lines(op, "B"))
    assert outer is not None
    tiles = (outer.tile_m, outer.tile_n)
    packing = Packing(tiles, (_side(acc, "A"), _side(acc, "B")), outer.window, acc.matrix_unit.count)
    left = skipped_by_outer_products(*both, packing)
    found = " and ".join(f"{pattern} of {operand}" for operand, pattern in operand_patterns(op).items())
    if left.time >= 1:
        return _dense(op, acc, found, f"packed tiles of {tiles[0]} and {tiles[1]} need every cycle")
    stored = [
        Stored(lines.density, bitmap_bits(lines, tile, outer.window)) if lines.density < 1 else Stored()
        for lines, tile in zip(both, tiles, strict=True)
    ]
    matched = op.macs_effectual / op.macs
    runs = "runs" if op.other_sparsity is None else "run"
    reason = (
        f"{found} {runs} as outer products of nonzeros: {left.time:.3g} of the cycles, {left.issued:.3g} of the "
        f"multiplications issued, {matched:.3g} of use"
    )
    added = matched * _bank_conflicts(acc)
    return SparseRun(reason, time=left.time, issued=left.issued, added=added, stored=(stored[0], stored[1]))


def _bank_conflicts(acc: Accelerator) -> float:
    """Times as long that accumulator banks take for sums at random places: the fullest of a queue over the mean."""
    banks, queue = acc.matrix_unit.sparse.accumulator_banks, acc.matrix_unit.sparse.accumulator_queue
    if banks is None or queue is None:
        return 1.0
    return fullest_bank(queue, banks) * banks / queue


def sparsity_told(op: Gemm, acc: Accelerator) -> str:
    """How a product's patterns are used, in a sentence; empty without any."""
    told = [sparse_run(op, acc).reason] if op.sparsity is not None else []
    return "; ".join([*told, results_told(op, acc)] if op.out_sparsity is not None else told)


@lru_cache(maxsize=1024)
def product_numbers(op: Gemm | Conv2d, acc: Accelerator) -> Machine:
    """Bare numbers of a machine for one product, its sparsity included.

    Raises
    ------
    InputError
        As `stored_numbers`.
    """
    machine = stored_numbers(op, acc)
    if not isinstance(op, Gemm):
        return machine
    machine = machine._replace(element_bytes=stored_results(op, acc).place_bytes(machine.element_bytes))
    if op.sparsity is None:
        return machine
    run = sparse_run(op, acc)
    if not run.sparse:
        return machine._replace(gated=run.gated)
    a, b = run.stored
    element = dtype_bits(matrix_dtype(op, acc)) / 8
    return machine._replace(
        kept=run.mode[0],
        run=run.mode[1],
        bytes_a=a.place_bytes(machine.bytes_a),
        bytes_b=b.place_bytes(machine.bytes_b),
        decoded_a=a.decoded,
        decoded_b=b.decoded,
        gated=run.gated,
        pace=run.time,
        issued=run.issued,
        added=run.added,
        selected_a=a.selected * element,
        selected_b=b.selected * element,
        gathered_a=a.gathered,
        gathered_b=b.gathered,
        group=run.group,
        lines_a=a.lines,
        lines_b=b.lines,
    )


def stored_weight_bytes(op: Op, acc: Accelerator) -> int:
    """Bytes of an op's parameters in the machine's memory: a sparse B that runs in a mode is compressed."""
    if not isinstance(op, Gemm) or not op.weights or "B" not in operand_patterns(op):
        return op.weight_bytes
    return ceil(op.products * op.k * op.n * product_numbers(op, acc).bytes_b)

"""Fidelity ``cycle``: the matrix work of a GEMM's tiles emulated processing element by processing element.

The tile program stays as it is; only the cycles of its matrix stage come from the emulation instead of the closed
form. For small cases: every element of the array is moved in every cycle.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from accsim.config.machine import Accelerator, SystolicArray
from accsim.engine.program import TICKS_PER_CYCLE, Varying, vary
from accsim.errors import InputError, MappingError
from accsim.kernels.systolic import gemm_fold_timing
from accsim.kernels.systolic_pe import emulate_gemm
from accsim.mapping.base import Dataflow, Step
from accsim.mapping.format_run import matrix_dtype
from accsim.mapping.gemm import FORMS, Stationary
from accsim.mapping.machine_numbers import OVERLAPS, STATIONARY
from accsim.mapping.sparse_run import sparse_run
from accsim.workload.ops import Gemm, Op

MOST_ELEMENT_CYCLES = 10**9


def cycle_steps(mapping: Dataflow, op: Op, acc: Accelerator) -> tuple[Step, ...]:
    """The programs of a complete GEMM mapping, with the ticks of their matrix stage emulated.

    Raises
    ------
    InputError
        When the op is not a GEMM in a stationary form, the machine is not one core with one systolic array, or the
        emulation is too large.
    MappingError
        When the emulation fails its own checks.
    """
    unit = acc.matrix_unit
    if not isinstance(op, Gemm):
        raise InputError(f"fidelity cycle emulates GEMMs, not the {op.kind} '{op.name}'; allowed for it is tile")
    if not isinstance(unit, SystolicArray) or acc.cores * unit.count > 1:
        raise InputError(f"fidelity cycle emulates one systolic array, which {acc.name} does not have; use tile")
    if not isinstance(mapping, Stationary):
        name = type(mapping).__name__
        raise InputError(
            f"fidelity cycle emulates {', '.join(FORMS)}, not {name} of '{op.name}'; allowed for it is tile"
        )
    if op.sparsity is not None and (run := sparse_run(op, acc)).sparse:
        raise InputError(f"fidelity cycle emulates dense products; {run.reason}; allowed for '{op.name}' is tile")
    form, overlap = STATIONARY[mapping.form], OVERLAPS[unit.fold_overlap]
    (step,) = mapping.steps(op, acc)
    matmul = step.program.stage("matmul")
    assert isinstance(matmul.ticks, Varying)
    ticks = matmul.ticks.values.copy()
    extents = {"m": op.rows, "n": op.n, "k": op.k}
    sizes = {"m": mapping.tile_m or op.rows, "n": mapping.tile_n or op.n, "k": mapping.tile_k or op.k}
    edges = {axis: extents[axis] % size or size for axis, size in sizes.items()}
    for classes in product((0, 1), repeat=len(matmul.ticks.levels)):
        if ticks[classes] == 0:
            continue
        tile = {
            axis: edges[axis] if edge else sizes[axis] for axis, edge in zip(matmul.ticks.levels, classes, strict=True)
        }
        shape = (tile["m"], tile["n"], tile["k"], unit.rows, unit.cols, form, overlap)
        folds, steady, overhead, once = gemm_fold_timing(*shape)
        if folds * (steady + overhead) * unit.rows * unit.cols > MOST_ELEMENT_CYCLES:
            raise InputError(
                f"fidelity cycle would move more than {MOST_ELEMENT_CYCLES:.0e} elements for a tile of '{op.name}': "
                "use smaller sizes, or tile"
            )
        run = emulate_gemm(*shape)
        if run.faults or run.lost_results:
            raise MappingError(
                f"the emulated array mixes {run.faults} operands and loses {run.lost_results} results of a tile of "
                f"'{op.name}', which is a defect of the emulation: use fidelity tile"
            )
        ticks[classes] = round((run.cycles - once) * TICKS_PER_CYCLE / unit.rate(matrix_dtype(op, acc)))
    emulated = replace(matmul, ticks=vary(matmul.ticks.levels, ticks))
    stages = tuple(emulated if stage is matmul else stage for stage in step.program.stages)
    return (replace(step, program=replace(step.program, stages=stages)),)

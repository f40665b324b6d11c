"""Make scalesim.csv and scalesim_sparse.csv again, or time SCALE-Sim on one layer of BERT-base.

Needs only SCALE-Sim, in an environment of its own (it fails with NumPy 2.4), whose Python runs this file::

    python3.11 -m venv /tmp/scalesim
    /tmp/scalesim/bin/pip install scalesim==3.0.0 numpy==1.26.4
    /tmp/scalesim/bin/python tests/golden/make_scalesim.py --jobs 2
    /tmp/scalesim/bin/python tests/golden/make_scalesim.py --sparse --jobs 2
    /tmp/scalesim/bin/python tests/golden/make_scalesim.py --bert 512
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

OUT = Path(__file__).with_name("scalesim.csv")
SPARSE_OUT = Path(__file__).with_name("scalesim_sparse.csv")
FORMS = {"ws": "weight_stationary", "os": "output_stationary", "is": "input_stationary"}
ARRAYS = [(8, 8), (16, 16), (32, 32), (64, 64), (128, 128), (8, 32), (32, 8), (16, 128), (128, 16), (24, 40)]
GEMMS = [  # (m, n, k)
    (1, 1, 1), (7, 5, 3), (8, 8, 1024), (64, 64, 64), (100, 70, 50), (128, 128, 128), (127, 129, 65), (256, 256, 256),
    (1, 1024, 1024), (1024, 1, 1024), (1024, 1024, 1), (1000, 10, 64), (10, 1000, 64), (300, 130, 77), (512, 512, 512),
    (1024, 1024, 1024),
]  # fmt: skip
MOST_CYCLES = 100_000
SPARSE_ARRAYS = [(8, 8), (128, 128), (24, 40)]
SPARSE_GEMMS = [  # (m, n, k); 4 and 8 do not divide the last four k
    (64, 64, 64), (128, 128, 128), (1, 256, 512), (100, 70, 48), (300, 40, 256), (127, 129, 65), (300, 130, 77),
    (100, 70, 50), (16, 96, 363),
]  # fmt: skip
PATTERNS = ("2:4", "1:4", "1:2", "2:8")
STORAGE = {
    "original_words": "Original Filter Storage",
    "stored_words": "New Storage (Filter+Metadata)",
    "metadata_words": "Filter Metadata Storage",
}
BLOCKS = (4, 8)
"""Of the row-wise mapping: runs that hold 1 to half as many nonzeros, drawn for each column."""
KB = 10240
CONFIG = """
[general]
run_name = run
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
[architecture_presets]
ArrayHeight: {rows}
ArrayWidth: {cols}
IfmapSramSzkB: {kb}
FilterSramSzkB: {kb}
OfmapSramSzkB: {kb}
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Dataflow: {form}
ReadRequestBuffer: 64
WriteRequestBuffer: 64
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: {sparse}
SparseRep: ellpack_block
OptimizedMapping: {row_wise}
BlockSize: {block}
RandomNumberGeneratorSeed: 40
"""
HEADER = """\
# GEMMs C[m,n] = A[m,k] B[k,n] on a rows x cols systolic array, as SCALE-Sim {version} counts them.
# Source: package scalesim {version} of PyPI, github.com/scalesim-project/SCALE-Sim; MIT License, (c) 2024 SCALE-Sim
# Project; Raj et al., "SCALE-Sim v3", ISPASS 2025. Made by tests/golden/make_scalesim.py with Python {python}, NumPy
# {numpy}: GEMM input, bandwidth mode CALC (operands are there on time), {kb} kB for each of the three SRAMs.
# total_cycles, stall_cycles, overall_util_percent, mapping_efficiency_percent, compute_util_percent: COMPUTE_REPORT.csv
# ifmap_stop_cycle, ofmap_start_cycle: cycles in which A is read last and C is written first; ifmap_reads, filter_reads,
# ofmap_writes: words of A, B, C through the array's edges; both from DETAILED_ACCESS_REPORT.csv
# trace_cycles: lines of SCALE-Sim's SRAM traces, one a cycle
"""
SPARSE_HEADER = """\
# pattern n:m of B[k,n], with the same n of each run of m along k in every column; or a row-wise pattern with 1 to m/2,
# drawn for each column, of each run (weight stationary alone has that mapping)
# original_words, stored_words, metadata_words: storage of B as block ELLPACK, words of 32 bits; from SPARSE_REPORT.csv
"""


class Case(NamedTuple):
    """A GEMM, an array and a stationary form."""

    form: str
    rows: int
    cols: int
    m: int
    n: int
    k: int


class SparseCase(NamedTuple):
    """A case whose B is sparse: n of each m, or, row-wise, at most half of each m."""

    form: str
    rows: int
    cols: int
    m: int
    n: int
    k: int
    pattern: str
    row_wise: bool


class Run(NamedTuple):
    """What SCALE-Sim reports: a dictionary a layer; and the run's wall time, processor time and peak memory."""

    layers: list[dict[str, str]]
    seconds: float
    cpu_seconds: float
    mib: float


def report(folder: Path, name: str) -> list[dict[str, str]]:
    """The rows of one of SCALE-Sim's reports, by column."""
    with (folder / "out" / "run" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, skipinitialspace=True))


def simulate(
    form: str, rows: int, cols: int, gemms: list[tuple[int, int, int]], pattern: str = "", row_wise: bool = False
) -> Run:
    """SCALE-Sim's numbers for GEMMs one after the other, each a layer, all with one pattern."""
    from scalesim.scale_sim import scalesim

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {
            "config": CONFIG.format(
                rows=rows,
                cols=cols,
                form=form,
                kb=KB,
                sparse=bool(pattern),
                row_wise=row_wise,
                block=pattern.partition(":")[2] or 4,
            ),
            "topology": "Layer,M,N,K,Sparsity,\n"
            + "".join(f"gemm{i},{m},{n},{k},{pattern or '1:1'},\n" for i, (m, n, k) in enumerate(gemms)),
            "layout": "Layer,\n",
        }
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
        start, cpu_start = time.perf_counter(), time.process_time()
        paths = {file: str(folder / file) for file in files}
        tool: Any = scalesim(save_disk_space=True, verbose=False, input_type_gemm=True, **paths)
        tool.run_scale(top_path=str(folder / "out"))
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        compute, detail = report(folder, "COMPUTE_REPORT.csv"), report(folder, "DETAILED_ACCESS_REPORT.csv")
        storage = report(folder, "SPARSE_REPORT.csv") if pattern else [{}] * len(gemms)
    layers = []
    for i, (cycles, accesses, words) in enumerate(zip(compute, detail, storage, strict=True)):
        traces = tool.runner.single_layer_sim_object_list[i].memory_system.get_sram_trace_matrices()
        (lines,) = {len(trace) for trace in traces}
        layers.append(
            {
                "total_cycles": cycles["Total Cycles"],
                "stall_cycles": cycles["Stall Cycles"],
                "trace_cycles": str(lines),
                "overall_util_percent": cycles["Overall Util %"],
                "mapping_efficiency_percent": cycles["Mapping Efficiency %"],
                "compute_util_percent": cycles["Compute Util %"],
                "ifmap_stop_cycle": str(int(float(accesses["SRAM IFMAP Stop Cycle"]))),
                "ofmap_start_cycle": str(int(float(accesses["SRAM OFMAP Start Cycle"]))),
                "ifmap_reads": accesses["SRAM IFMAP Reads"],
                "filter_reads": accesses["SRAM Filter Reads"],
                "ofmap_writes": accesses["SRAM OFMAP Writes"],
            }
            | {name: words[column] for name, column in STORAGE.items() if words}
        )
    return Run(layers, seconds, cpu_seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def simulate_case(case: Case | SparseCase) -> Run:
    """SCALE-Sim's numbers for one case."""
    form, rows, cols, m, n, k, *sparse = case
    return simulate(form, rows, cols, [(m, n, k)], *sparse)


def size(case: Case | SparseCase) -> int:
    """About the cycles of a case, to leave out those that take SCALE-Sim too long."""
    along_rows, along_cols, steps = {
        "ws": (case.k, case.n, case.m),
        "os": (case.m, case.n, case.k),
        "is": (case.k, case.m, case.n),
    }[case.form]
    folds = ceil(along_rows / case.rows) * ceil(along_cols / case.cols)
    return folds * (2 * case.rows + case.cols + steps)


def cases() -> list[Case]:
    """The dense ones."""
    return [Case(form, *array, *gemm) for array in ARRAYS for gemm in GEMMS for form in FORMS]


def sparse_cases() -> list[SparseCase]:
    """N:M in all forms, row-wise where weights are stationary."""
    found = []
    for array in SPARSE_ARRAYS:
        for gemm in SPARSE_GEMMS:
            found += [SparseCase(form, *array, *gemm, pattern, False) for form in FORMS for pattern in PATTERNS]
            found += [SparseCase("ws", *array, *gemm, f"{block // 2}:{block}", True) for block in BLOCKS]
    return found


def make(out: Path, jobs: int, cases: Sequence[Case | SparseCase], header: str) -> None:
    """Run every case that is not too long and write the CSV."""
    cases = [case for case in cases if size(case) <= MOST_CYCLES]
    start = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=1) as pool:
        runs = []
        for case, run in zip(cases, pool.imap(simulate_case, cases), strict=True):
            runs.append(run)
            sys.stderr.write(f"{len(runs)} of {len(cases)}: {tuple(case)} in {run.seconds:.1f} s\n")
    numbers = {name: metadata.version(name) for name in ("scalesim", "numpy")}
    with out.open("w", encoding="utf-8", newline="") as file:
        file.write(
            header.format(version=numbers["scalesim"], numpy=numbers["numpy"], python=platform.python_version(), kb=KB)
        )
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["version", *cases[0]._fields, *runs[0].layers[0]])
        for case, run in zip(cases, runs, strict=True):
            writer.writerow([numbers["scalesim"], FORMS[case.form], *case[1:], *run.layers[0].values()])
    seconds, cpu_seconds = time.perf_counter() - start, sum(run.cpu_seconds for run in runs)
    sys.stdout.write(
        f"{len(runs)} runs in {seconds:.0f} s, {jobs} at a time; processor time {cpu_seconds:.0f} s in all, "
        f"{max(r.cpu_seconds for r in runs):.1f} s at most; memory {max(r.mib for r in runs):.0f} MiB at most\n"
    )


def time_bert(seq: int) -> None:
    """Time the matrix products of one layer of BERT-base, one sequence, on 128 x 128, in each form."""
    heads, hidden, feed_forward = 12, 768, 3072
    gemms = [(seq, hidden, hidden)] * 4 + [(seq, feed_forward, hidden), (seq, hidden, feed_forward)]
    gemms += [(seq, seq, hidden // heads), (seq, hidden // heads, seq)] * heads
    for form in FORMS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            run = pool.apply(simulate, (form, 128, 128, gemms))
        cycles = sum(int(layer["total_cycles"]) for layer in run.layers)
        sys.stdout.write(
            f"{FORMS[form]}: {len(gemms)} GEMMs, {cycles:,} cycles, {run.seconds:.0f} s "
            f"({run.cpu_seconds:.0f} s of processor time), {run.mib:.0f} MiB\n"
        )
        sys.stdout.flush()


def main() -> None:
    """Read the command line and do one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sparse", action="store_true", help=f"make {SPARSE_OUT.name} instead of {OUT.name}")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--bert", type=int, metavar="SEQ", help="only time a layer of BERT-base with so many tokens")
    args = parser.parse_args()
    try:
        metadata.version("scalesim")
    except metadata.PackageNotFoundError:
        parser.error(f"{sys.executable} has no SCALE-Sim; run this file with an environment that has it")
    if args.bert:
        time_bert(args.bert)
    elif args.sparse:
        make(SPARSE_OUT, args.jobs, sparse_cases(), HEADER + SPARSE_HEADER)
    else:
        make(OUT, args.jobs, cases(), HEADER)


if __name__ == "__main__":
    main()

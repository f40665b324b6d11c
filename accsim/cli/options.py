"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Dataflow = Annotated[
    str | None, typer.Option(help="How to map the ops it serves: flat, flash, unfused, output_stationary, ...")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a number of the machine: memories.sg.capacity=1MiB."),
]
Objective = Annotated[str, typer.Option(help="What the search minimizes: latency, energy, edp, traffic or footprint.")]
Constraints = Annotated[
    list[str] | None,
    typer.Option("--constraint", metavar="LIMIT", help="What every op's mapping keeps: 'footprint <= 256 KiB'."),
]
Effort = Annotated[str, typer.Option(help="standard, or exhaustive: every tile size of a fine grid is searched.")]
MachineOrSlice = Annotated[
    str,
    typer.Argument(metavar="MACHINE", help="A machine that ships, the path of a file, or a slice: tpu_v4:4x4x8."),
]
Schedule = Annotated[
    str | None, typer.Option(help="Of a step on a slice: overlapped (the default), serial or pipelined.")
]
Dedup = Annotated[
    str | None,
    typer.Option(
        help="Where a step on a slice drops duplicate rows: owner, source or none; by default what is fastest."
    ),
]
Placing = Annotated[str | None, typer.Option("--placement", help="Of tables on a slice: rows (the default) or best.")]
Where = Annotated[
    str | None,
    typer.Option(help="What looks rows up on a slice: sparse_core (the default), tensor_core, host, ..."),
]
TraceFile = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="What a step on a slice looks up, instead of statistics: .npz, .parquet or .pt."),
]
WorkloadName = Annotated[
    str,
    typer.Argument(metavar="WORKLOAD", help="A workload that ships, a path, or an op: 'gemm?m=512&n=512&k=512'."),
]
PowerCap = Annotated[
    bool, typer.Option("--power-cap/--no-power-cap", help="Lower the clock as far as the machine's power cap asks for.")
]
Out = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Also write report files there: JSON, tables, figures, a trace.")
]
Program = Annotated[bool, typer.Option("--program", help="Print the mapped tile programs, loop by loop.")]
RunName = Annotated[str, typer.Argument(help="A folder that 'run --out' wrote, or MACHINE:WORKLOAD.")]
FileKind = Annotated[str, typer.Argument(metavar="KIND", help="machine, workload, sweep, energy or area.")]

"""Design-space sweeps: run a space, count one, put the parts of one together."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accsim.cli.options import Json
from accsim.errors import InputError, Problem
from accsim.report.terminal import console, say, write_json

if TYPE_CHECKING:
    from accsim.sweep.executors import Executor

Folder = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder of the table and its manifest.")]


def sweep(
    space: Annotated[
        str, typer.Argument(metavar="SPACE", help="A space that ships, or the path of its file; or 'merge'.")
    ],
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR]...", help="After 'merge': the folders of shards.")
    ] = None,
    out: Folder = None,
    jobs: Annotated[int, typer.Option(min=1, max=1024, help="Local processes; 1 runs here.")] = 1,
    dask: Annotated[
        str | None, typer.Option(metavar="WHERE", help="A Dask cluster: local, tcp://HOST:PORT, or a scheduler file.")
    ] = None,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Run part I of N, for job arrays; 'merge' joins them.")
    ] = "1/1",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the sweep in DIR: run only what is missing.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file, count points, show the first ten.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Simulate every point of a space of designs: a table in Parquet files, one row a point.

    'accsim sweep merge DIR DIR... --out DIR' puts the parts of --shard together.
    """
    if space == "merge":
        _merge(folders or [], out, as_json)
        return
    if folders:
        raise InputError(Problem("sweep", "", f"read '{folders[0]}' after the space; allowed is one space"))
    from accsim.sweep.groups import Shard
    from accsim.sweep.space import read_space

    read = read_space(space)
    part = Shard.parse(shard)
    if dry_run:
        from accsim.sweep.dry_run import dry_run as look

        found = look(read, part)
        write_json(found.to_dict()) if as_json else found.show(console())
        return
    if out is None:
        raise InputError(Problem("--out", "", "missing, needed is the folder for the table (or --dry-run)"))
    from accsim.sweep.idle_axes import idle_axes
    from accsim.sweep.progress import showing
    from accsim.sweep.run import sweep_into

    idle = idle_axes(read)
    if idle is not None:
        say(str(idle))
    with showing("J" if read.objective == "energy" else "s") as progress:
        sweep_into(
            out, read, executor_of(jobs, dask), resume=resume, shard=part, progress=progress,
            command=" ".join(["accsim", *sys.argv[1:]]),
        )  # fmt: skip
    _tell(out, read.objective, as_json)


def executor_of(jobs: int, dask: str | None) -> Executor | None:
    """Where points are run, as the options say; None for this process."""
    if dask is not None and jobs > 1:
        raise InputError(Problem("--jobs", "", "--jobs and --dask exclude each other, allowed is one of them"))
    if dask is not None:
        from accsim.sweep.executors.dask_cluster import DaskCluster

        return DaskCluster(dask)
    if jobs > 1:
        from accsim.sweep.executors.processes import Processes

        return Processes(jobs)
    return None


def _merge(folders: list[Path], out: Path | None, as_json: bool) -> None:
    from accsim.sweep.merge import merge

    if not folders or out is None:
        raise InputError(Problem("sweep merge", "", "needs folders of shards, and --out for the folder of the whole"))
    objective = merge(folders, out, " ".join(["accsim", *sys.argv[1:]]))
    _tell(out, objective, as_json)


def _tell(out: Path, objective: str, as_json: bool) -> None:
    """Say where the table is, the best of it, and how to see more."""
    from accsim.sweep.summary import summary_of

    say(f"wrote the table to {out}")
    summary = summary_of(out, objective)
    write_json(summary.to_dict()) if as_json else summary.show(console())
    say(f"charts and tables of it: accsim report {out}")

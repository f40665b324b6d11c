"""Searches of a space of designs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from accsim.cli.options import Json
from accsim.cli.sweep import executor_of
from accsim.report.terminal import console, say, write_json


def optimize(
    space: Annotated[str, typer.Argument(metavar="SPACE", help="A space that ships, or the path of its file.")],
    objective: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT",
            help="Minimized: a column of numbers or an expression; several give a front. [latency_s, energy_j]",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(help="Designs that are tried.")] = 200,
    sampler: Annotated[str, typer.Option(help="nsga2, nsga3, tpe, gp (needs torch) or random.")] = "nsga2",
    batch: Annotated[int, typer.Option(help="Designs asked for at once; the population of nsga2 and nsga3.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampler.")] = 0,
    baseline: Annotated[
        bool, typer.Option("--baseline/--no-baseline", help="Try as many designs at random, to compare.")
    ] = True,
    jobs: Annotated[int, typer.Option(min=1, max=1024, help="Local processes; 1 runs here.")] = 1,
    dask: Annotated[
        str | None, typer.Option(metavar="WHERE", help="A Dask cluster: local, tcp://HOST:PORT, or a scheduler file.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the journal, the table, the front and the figure.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the search in DIR, or take part in it from another process.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Search a space for the designs that no other beats: the Pareto front of some objectives."""
    from accsim.sweep.progress import showing
    from accsim.sweep.search import OBJECTIVES
    from accsim.sweep.search import optimize as search
    from accsim.sweep.summary import UNITS

    objectives = objective or OBJECTIVES
    with showing(UNITS.get(objectives[0], objectives[0])) as progress:
        found = search(
            space, objectives, trials=trials, sampler=sampler, batch=batch, seed=seed, baseline=baseline,
            executor=executor_of(jobs, dask), out=out, resume=resume, progress=progress,
            command=" ".join(["accsim", *sys.argv[1:]]),
        )  # fmt: skip
    if out is not None:
        say(f"wrote the table, the front and the figure to {out}")
    write_json(found.to_dict()) if as_json else found.show(console())

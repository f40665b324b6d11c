"""Questions to a space or a sweep: what its fields do, which of them matter, what would have to change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accsim.cli.options import Json
from accsim.cli.sweep import executor_of
from accsim.report.terminal import console, progress, write_json

SpaceName = Annotated[str, typer.Argument(metavar="SPACE", help="A space that ships, or the path of its file.")]
What = Annotated[str, typer.Option("--of", metavar="WHAT", help="A number of a design, or an expression of them.")]


def effects(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a sweep.")],
    column: Annotated[str, typer.Option("--of", metavar="COLUMN", help="A number of the table.")] = "latency_s",
    workload: Annotated[str | None, typer.Option(help="One workload; by default all together, weighted.")] = None,
    field: Annotated[list[str] | None, typer.Option(metavar="FIELD", help="Only this field; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """What each value of each field of a sweep goes with, and which share of the variance a field accounts for."""
    from accsim.sweep.sweep_effects import sweep_effects

    found = sweep_effects(folder, column, workload=workload, fields=field or ())
    write_json(found.to_dict()) if as_json else found.show(console())


def sensitivity(
    space: SpaceName,
    column: What = "latency_s",
    samples: Annotated[int, typer.Option(help="A power of two; times fields plus two designs are drawn.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, max=1024, help="Local processes; 1 runs here.")] = 1,
    dask: Annotated[
        str | None, typer.Option(metavar="WHERE", help="A Dask cluster: local, tcp://HOST:PORT, or a scheduler file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Which fields of a space matter: Sobol indices, the share of the variance alone and with the other fields."""
    from accsim.sweep.sensitivity import sensitivity as draw

    with progress():
        found = draw(space, column, samples=samples, seed=seed, executor=executor_of(jobs, dask))
    write_json(found.to_dict()) if as_json else found.show(console())


def crossover(
    space: SpaceName,
    first: Annotated[str, typer.Argument(metavar="A", help="A design: MACHINE?FIELD=VALUE&FIELD=VALUE.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The one that is to win.")],
    along: Annotated[str, typer.Option(metavar="FIELD", help="An axis of numbers: what may change.")],
    column: What = "latency_s",
    both: Annotated[bool, typer.Option("--both", help="Change it in both designs, not in B alone.")] = False,
    tolerance: Annotated[float, typer.Option(min=1e-9, max=1.0, help="How near the ends are at last.")] = 1e-3,
    as_json: Json = False,
) -> None:
    """What would have to change for B to beat A: the value of a field from which on it does."""
    from accsim.sweep.crossover import crossover as search
    from accsim.sweep.design_text import read_design
    from accsim.sweep.space import read_space

    read = read_space(space)
    one, other = read_design(read, first), read_design(read, second)
    with progress():
        found = search(read, one, other, along, objective=column, both=both, tolerance=tolerance)
    write_json(found.to_dict()) if as_json else found.show(console())

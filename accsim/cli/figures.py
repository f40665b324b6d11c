"""Published and measured numbers beside simulated ones: figures, errors against rows, constants fitted to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accsim.cli.options import Json
from accsim.errors import InputError, ToleranceError, check_choice
from accsim.report.terminal import console, progress, say, write_json

if TYPE_CHECKING:
    from accsim.figures.paper_figure import PaperFigure


def validate(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="What the rows are of: runs (your own), flat, stc or collective.")
    ],
    data: Annotated[Path, typer.Option(metavar="FILE", help="The rows: CSV, with comments after #, or Parquet.")],
    machine: Annotated[str | None, typer.Option(metavar="MACHINE", help="Only the rows of this machine.")] = None,
    as_json: Json = False,
) -> None:
    """Hold what accsim says against the rows of a file: errors in all and by regime. Exit code 4: beyond tolerance."""
    from accsim.validate.compare import compare as hold_against
    from accsim.validate.registry import KINDS

    check_choice("kind of validation", kind[:60], tuple(KINDS))
    found = hold_against(KINDS[kind], data, machine)
    if as_json:
        write_json(found.to_dict())
    else:
        from accsim.validate.render import print_comparison as print_errors

        print_errors(console(), found)
    if not found.passed:
        raise ToleranceError(f"beyond tolerance in {data}: {found.beyond}")


def calibrate(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What the rows are of: collective.")],
    machine: Annotated[str, typer.Option(metavar="MACHINE", help="Whose constants are fitted, to its rows.")],
    data: Annotated[Path, typer.Option(metavar="FILE", help="The rows: CSV, with comments after #, or Parquet.")],
    as_json: Json = False,
) -> None:
    """Fit constants of a machine file to the rows of a file; prints them beside those that the file has."""
    from accsim.validate.calibrate import calibrate as fit
    from accsim.validate.registry import FITS, KINDS

    check_choice("kind of calibration", kind[:60], tuple(FITS))
    with progress():
        found = fit(KINDS[kind], FITS[kind], data, machine)
    if as_json:
        write_json(found.to_dict())
        return
    from accsim.validate.render import print_calibration

    print_calibration(console(), found)


def figure(
    paper: Annotated[str | None, typer.Argument(metavar="PAPER", help="flat, sparse, tpuv4; --list has all.")] = None,
    name: Annotated[str | None, typer.Argument(metavar="FIGURE", help="speedup, ...; --list has all.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rows that a figure needs and that do not ship.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write PAPER_FIGURE.png and PAPER_FIGURE.csv there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a published figure again: published and simulated values, errors, and notes of what differs and why."""
    from accsim.figures.registry import find_figure, list_figures

    if listed:
        _list_figures(list_figures(paper), as_json)
        return
    if paper is None or name is None:
        raise InputError("needs a PAPER and a FIGURE: accsim figure flat speedup; accsim figure --list has all")
    from accsim.figures.make import make
    from accsim.report.folder import check_folder

    wanted = find_figure(paper, name)
    if out is not None:
        check_folder(out)
    with progress():
        made = make(wanted, data)
        files = [] if out is None else made.save(out)
    if as_json:
        write_json({**made.to_dict(), "files": [str(file) for file in files]})
    else:
        from accsim.figures.render import print_made

        print_made(console(), made)
    for file in files:
        say(f"wrote {file}")


def _list_figures(figures: Sequence[PaperFigure], as_json: bool) -> None:
    if as_json:
        fields = ("paper", "name", "title", "origin")
        write_json(
            [{key: getattr(one, key) for key in fields} | {"needs_data": one.data is not None} for one in figures]
        )
        return
    from accsim.figures.render import print_figures

    print_figures(console(), figures)

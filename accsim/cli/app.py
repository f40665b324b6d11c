"""The command line's application: the library's errors become a message on stderr and an exit code."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from accsim.errors import AccsimError, MappingError
from accsim.report.terminal import say, write_text

INTERRUPTED = 130


class _Commands(TyperGroup):
    """Turns the library's errors into a message on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AccsimError as error:
            say(str(error))
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except MemoryError as error:
            say("this needs more memory than there is: make the workload smaller, or its lengths less ragged")
            raise typer.Exit(MappingError.exit_code) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            say(str(error))
            raise typer.Exit(AccsimError.exit_code) from error


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        write_text(f"accsim {version('accsim')}")
        raise typer.Exit


def show_version(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Cycle-approximate simulator of machine-learning accelerators: latency, energy, utilization, and why."""
    del version

"""What the command line writes with: tables and JSON to stdout; messages and progress to stderr."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH = 120
"""Columns of a table where no terminal limits them."""

Progress = Callable[[str, int, int], None]
"""Called with (name of what is being done, steps done, steps in all)."""


def console() -> Console:
    """Where tables go; as wide as the terminal, or `PIPED_WIDTH` without colour in a pipe."""
    from rich.console import Console

    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=PIPED_WIDTH, color_system=None)


def printed(show: Callable[[Console], None]) -> str:
    """What a function prints to a console, as plain text of `PIPED_WIDTH` columns."""
    from rich.console import Console

    text = io.StringIO()
    show(Console(file=text, highlight=False, width=PIPED_WIDTH, color_system=None))
    return text.getvalue().strip()


def write_text(text: str) -> None:
    """Text and a line end to stdout."""
    sys.stdout.write(text + "\n")


def escape_what_cannot_be_shown() -> None:
    """Let stdout write an escape for a letter that its encoding lacks, as stderr does, instead of failing."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def write_json(plain: object) -> None:
    """Plain data as JSON to stdout; inf and nan are refused, since JSON has none."""
    write_text(json.dumps(plain, indent=2, allow_nan=False))


def say(message: str) -> None:
    """Lines to stderr, each marked as the command's."""
    sys.stderr.write("".join(f"accsim: {line}\n" for line in message.splitlines() or [""]))
    sys.stderr.flush()


@contextmanager
def progress(*of: str) -> Iterator[Progress | None]:
    """A bar on stderr where that is a terminal, else nothing; and one line when the engine has to be compiled first.

    ``of`` are the names of the machine and the workload of a run, for the process that compiles beside it.
    """
    from accsim.kernels import jit

    said: list[str] = []

    def announce(_: str) -> None:
        if not said:
            said.append(f"compiling the engine (once; kept in {jit.cache_folder()})")
            say(said[0])
            beside = [sys.executable, "-m", "accsim.report.warm", *of]
            subprocess.Popen(beside, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    jit.announce = announce
    try:
        if sys.stderr.isatty():
            with _bar() as advance:
                yield advance
        else:
            yield None
    finally:
        jit.announce = None


@contextmanager
def _bar() -> Iterator[Progress]:
    """A spinner with what is being done, a bar and the time; it refreshes by itself and leaves nothing behind."""
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.SpinnerColumn("line"),
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("reading", total=None)

        def advance(name: str, done: int, total: int) -> None:
            shown.update(task, description=name or "done", completed=done, total=total)

        yield advance

"""Compiles the engine with attribution: ``python -m accsim.engine.warm``.

The command line starts it beside itself when it finds no compiled kernels, so that the two halves of the engine
compile at the same time; the result is shared through the cache folder.
"""

from __future__ import annotations

from accsim.engine.builder import ProgramBuilder
from accsim.engine.program import Stage
from accsim.engine.run import run_program


def warm() -> None:
    """Run the smallest program there is, with attribution."""
    builder = ProgramBuilder("warm")
    builder.level("once", 1)
    builder.resource("unit")
    builder.stage(Stage("work", "unit", 1))
    run_program(builder.build())


if __name__ == "__main__":
    warm()

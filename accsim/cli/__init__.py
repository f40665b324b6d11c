"""The command line. ``accsim --help`` lists the commands; ``docs/cli.md`` has the guide.

Exit codes: 0 done, 2 bad input, 3 no feasible mapping, 4 beyond tolerance, 130 interrupted. Results go to stdout, all
else to stderr.
"""

from __future__ import annotations

import sys

from accsim.cli.app import INTERRUPTED, app, show_version
from accsim.cli.describe import describe, machines, schema, workloads
from accsim.cli.figures import calibrate, figure, validate
from accsim.cli.network import network
from accsim.cli.optimize import optimize
from accsim.cli.questions import crossover, effects, sensitivity
from accsim.cli.report import report
from accsim.cli.run import diff, run
from accsim.cli.sweep import sweep
from accsim.report.terminal import escape_what_cannot_be_shown, say

__all__ = ["app", "main"]

app.callback()(show_version)
app.command(short_help="Simulate a workload on a machine.")(run)
app.command(short_help="Write the HTML page of a saved run, sweep or search.")(report)
app.command(short_help="Explain why one run is faster than another.")(diff)
app.command(short_help="Simulate every point of a space of designs.")(sweep)
app.command(short_help="Search a space for the best designs.")(optimize)
app.command(short_help="Tell what each value of each field of a sweep goes with.")(effects)
app.command(short_help="Tell which fields of a space matter: Sobol indices.")(sensitivity)
app.command(short_help="Find what would have to change for one design to beat another.")(crossover)
app.command()(machines)
app.command()(workloads)
app.command(short_help="Explain a machine, workload, dataflow, op or mapped program.")(describe)
app.command(short_help="Hold results against measured or published rows.")(validate)
app.command(short_help="Fit constants of a machine to measured rows.")(calibrate)
app.command(short_help="Make a published figure again: published and simulated values.")(figure)
app.add_typer(network, name="network", short_help="Ask a network of chips: traffic, collectives, goodput.")
app.command(short_help="Print the JSON Schema of an input file.")(schema)


def main() -> None:
    """Entry point of the console script."""
    escape_what_cannot_be_shown()
    try:
        app()
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(INTERRUPTED)

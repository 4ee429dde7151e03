"""The command line, a module a group of commands; what they are called is in the list below.

Exit codes: 0 done, 2 the user's mistake (a message, no traceback), 1 ours, 130 stopped with Ctrl-C. A command
imports what it needs when it runs, so that ``edgesim --help`` answers at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from edgesim import __version__
from edgesim.cli.caching import cache
from edgesim.cli.comparing import compare
from edgesim.cli.differing import diff
from edgesim.cli.exporting import export
from edgesim.cli.listing import learners
from edgesim.cli.profiling import profile
from edgesim.cli.reporting import report
from edgesim.cli.running import run
from edgesim.cli.scenarios import new, schema, validate
from edgesim.cli.sweeping import sweep
from edgesim.cli.tracing import trace

app = typer.Typer(
    name="edgesim",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (run, compare, report, diff, sweep, trace, profile, validate, schema, learners, new):
    app.command()(_command)
app.add_typer(export, name="export")
app.add_typer(cache, name="cache")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"edgesim {__version__}")
        raise typer.Exit


@app.callback()
def edgesim(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Should a fleet of edge devices retrain in the cloud, on the device, or together?

    Start with `edgesim new NAME`, then `edgesim run NAME.yaml`.
    """


def main() -> None:
    """Run the command line."""
    app()


__all__ = ["app", "main"]

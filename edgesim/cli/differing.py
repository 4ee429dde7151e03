"""``edgesim diff``: what differs between two run folders."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edgesim.cli.failing import told


class DiffFormat(StrEnum):
    """What a difference is written as."""

    TABLE = "table"
    JSON = "json"


@told
def diff(
    old: Annotated[Path, typer.Argument(metavar="RUN1", help="A run folder.")],
    new: Annotated[Path, typer.Argument(metavar="RUN2", help="Another one.")],
    format_: Annotated[
        DiffFormat, typer.Option("--format", help="json holds every metric in SI units; table is for people.")
    ] = DiffFormat.TABLE,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Show this metric in the table. Repeatable.")
    ] = None,
) -> None:
    """Tell what differs from one run to another: scenario keys, versions, metrics.

    Metrics are compared seed by seed where both runs have the same seeds.
    """
    import analysis

    found = analysis.diff(old, new)
    typer.echo(found.to_json() if format_ is DiffFormat.JSON else found.to_text(metric), nl=False)

"""``edgesim report``: run folders as one HTML page to read, show and pass on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesim.cli.failing import told
from edgesim.cli.human import bytes_text


@told
def report(
    run_dirs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR", help="Run folders.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The HTML file.")] = Path("report.html"),
    baseline: Annotated[
        str | None, typer.Option(metavar="NAME", help="The learner to measure differences from.")
    ] = None,
) -> None:
    """Write one HTML page about run folders: the answer, tables, charts, devices, how to reproduce it.

    Folders of one scenario that differ in seeds or learners are taken together. The page needs no connection.
    """
    from analysis.report import write_report

    file = write_report(run_dirs, out, baseline=baseline)
    typer.echo(f"written: {file} ({bytes_text(file.stat().st_size)})")

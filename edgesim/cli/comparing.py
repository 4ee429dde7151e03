"""``edgesim compare``: the learners of run folders side by side, on screen or as a file."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgesim.cli.failing import told

if TYPE_CHECKING:
    from analysis import Comparison

FILE_WIDTH = 120
"""Characters a line, where a table is not for a terminal."""


class Format(StrEnum):
    """What a comparison is written as."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"
    LATEX = "latex"


@told
def compare(
    run_dirs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR", help="Run folders.")],
    format_: Annotated[
        Format, typer.Option("--format", help="csv and json hold every metric in SI units; the others are for people.")
    ] = Format.TABLE,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write there instead of on the screen.")] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="NAME", help="The learner to measure differences from.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Show this metric in tables. Repeatable.")
    ] = None,
) -> None:
    """Compare the learners of run folders.

    Folders of one scenario that differ in seeds or learners are taken together; others are shown one after another.
    """
    import analysis

    comparison = analysis.compare(run_dirs, baseline=baseline, metrics=metric or None)
    text = written(comparison, format_, FILE_WIDTH if out else screen_width())
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
        typer.echo(f"written: {out}")


def written(comparison: Comparison, format_: Format, width: int) -> str:
    """Write a comparison; ``width`` is that of a table in characters."""
    match format_:
        case Format.TABLE:
            return comparison.to_text(width)
        case Format.CSV:
            return comparison.to_csv()
        case Format.JSON:
            return comparison.to_json()
        case Format.MARKDOWN:
            return comparison.to_markdown()
        case Format.LATEX:
            return comparison.to_latex()


def screen_width() -> int:
    """Characters a line of the terminal; where there is none, those of a file."""
    return shutil.get_terminal_size((FILE_WIDTH, 24)).columns

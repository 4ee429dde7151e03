"""``edgesim compare``: the learners of run folders side by side, on screen or as a file."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgesim.cli.failing import told

if TYPE_CHECKING:
    import pandas as pd

    from analysis.run import Run


class Format(StrEnum):
    """What a comparison is written as."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"


@told
def compare(
    run_dirs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", help="Run folders.")],
    format_: Annotated[
        Format,
        typer.Option("--format", help="table and markdown: for people; csv and json: every metric, in SI units."),
    ] = Format.TABLE,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write there instead of on the screen.")] = None,
) -> None:
    """Compare the learners of run folders.

    Folders of one scenario that differ in seeds or learners are taken together; others are shown one after another.
    """
    import analysis

    runs = analysis.load_many(run_dirs)
    if format_ is Format.TABLE and out is None:
        for number, run in enumerate(runs):
            if len(runs) > 1:
                typer.echo(("\n" if number else "") + run.label)
            print_table(run.summary())
        return
    text = _text(runs, format_)
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
        typer.echo(f"written: {out}")


def _text(runs: list[Run], format_: Format) -> str:
    if format_ is Format.CSV:
        return _together(runs).to_csv(index=False)
    if format_ is Format.JSON:
        rows = [{str(name): _json(value) for name, value in row.items()} for row in _together(runs).to_dict("records")]
        return json.dumps(rows, indent=2) + "\n"
    parts = [_markdown(run.summary()) if format_ is Format.MARKDOWN else _plain(run.summary()) for run in runs]
    if len(runs) == 1:
        return parts[0]
    heading = "## " if format_ is Format.MARKDOWN else ""
    return "\n".join(f"{heading}{run.label}\n\n{part}" for run, part in zip(runs, parts, strict=True))


def _together(runs: list[Run]) -> pd.DataFrame:
    """All summaries, a row a run and learner, every metric in SI units."""
    import pandas as pd

    frames = []
    for run in runs:
        frame = run.summary().reset_index()
        frame.insert(0, "run", run.label)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _json(value: Any) -> Any:
    """Make a value that JSON has: null for what was not measured, "inf" for what was not reached."""
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, float) and not math.isfinite(number):
        return None if math.isnan(number) else "inf"
    return number


def print_table(summary: pd.DataFrame) -> None:
    """Print a summary on the screen."""
    from rich.console import Console

    from edgesim.cli.summary_table import show, summary_table

    console = Console(highlight=False, markup=False)
    show(summary_table(summary), console.print)


def _plain(summary: pd.DataFrame) -> str:
    """Write a summary as plain text, the way the screen shows it."""
    from rich.console import Console

    from edgesim.cli.summary_table import show, summary_table

    console = Console(highlight=False, markup=False, width=120, no_color=True, record=True, quiet=True)
    show(summary_table(summary), console.print)
    return console.export_text()


def _markdown(summary: pd.DataFrame) -> str:
    from edgesim.cli.summary_table import markdown, summary_table

    return markdown(summary_table(summary))

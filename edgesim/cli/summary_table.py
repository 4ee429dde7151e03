"""A run's summary as a table for people: units in the headers, oracles marked, a legend; on screen or in Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgesim.cli.human import decimals, scale

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

GAIN = (
    "accuracy",
    "worst_device_accuracy",
    "horizon_accuracy",
    "reaction_s",
    "deployment_s",
    "recovery_s",
    "unrecovered_ratio",
)
"""What a learner achieved: the columns of the first table."""
COST = (
    "up_bytes",
    "down_bytes",
    "wasted_bytes",
    "device_compute_s",
    "cloud_compute_s",
    "energy_j",
    "peak_memory_bytes",
    "out_of_memory",
)
"""What it took: the columns of the second table."""

_ORACLE = " *"
_NOT_MEASURED = "-"
_NEVER = "never"


@dataclass(frozen=True, slots=True)
class Grid:
    """A table as text: a header and cells, the first column being the learners."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class SummaryTable:
    """A summary ready to be shown."""

    grids: tuple[Grid, ...]
    legend: tuple[str, ...]


def summary_table(summary: pd.DataFrame) -> SummaryTable:
    """Lay out a summary.

    Parameters
    ----------
    summary
        As ``analysis.load(run_dir).summary()`` returns it: a row a learner, with ``oracle`` and ``seeds``, a column
        a metric, and its 95 % interval in ``<metric>_low`` and ``<metric>_high``.
    """
    unmeasured: list[str] = []
    grids = [
        _grid(title, summary, names, unmeasured)
        for title, names in (("What it achieved", GAIN), ("What it took", COST))
    ]
    return SummaryTable(tuple(grid for grid in grids if len(grid.header) > 1), tuple(_legend(summary, unmeasured)))


def _grid(title: str, summary: pd.DataFrame, names: Sequence[str], unmeasured: list[str]) -> Grid:
    from analysis.metrics import METRICS

    columns: list[list[str]] = [
        [f"{learner}{_ORACLE if oracle else ''}" for learner, oracle in summary["oracle"].items()]
    ]
    header = ["learner"]
    for name in names:
        metric = METRICS[name]
        values = [float(value) for value in summary[name]]
        if all(math.isnan(value) for value in values):
            unmeasured.append(metric.title)
            continue
        size, unit = scale(metric.unit, values)
        header.append(f"{metric.title} [{unit}]" if unit else metric.title)
        columns.append(_cells(summary, name, values, size, whole=metric.unit == "count"))
    return Grid(title, tuple(header), tuple(zip(*columns, strict=True)))


def _cells(summary: pd.DataFrame, name: str, values: Sequence[float], size: float, whole: bool) -> list[str]:
    places = 0 if whole and all(value == int(value) for value in values if math.isfinite(value)) else None
    if places is None:
        places = decimals(value / size for value in values)
    nothing = [math.nan] * len(values)
    low = [float(value) for value in summary.get(f"{name}_low", nothing)]
    high = [float(value) for value in summary.get(f"{name}_high", nothing)]
    return [
        _cell(value / size, start / size, end / size, places)
        for value, start, end in zip(values, low, high, strict=True)
    ]


def _cell(value: float, low: float, high: float, places: int) -> str:
    if math.isnan(value):
        return _NOT_MEASURED
    if math.isinf(value):
        return _NEVER
    text = f"{value:.{places}f}"
    if math.isnan(low) or math.isnan(high):
        return text
    if math.isclose(value - low, high - value, rel_tol=1e-6, abs_tol=1e-12):
        return f"{text} ±{high - value:.{places}f}"
    end = _NEVER if math.isinf(high) else f"{high:.{places}f}"
    return f"{text} ({low:.{places}f} to {end})"


def _legend(summary: pd.DataFrame, unmeasured: Sequence[str]) -> list[str]:
    seeds = int(summary["seeds"].max())
    lines = []
    if seeds > 1:
        lines.append(f"Means over {seeds} seeds (medians for times of adaptation), ± or ( ): 95 % interval over seeds.")
    else:
        lines.append("One seed: no intervals. Run with --seeds 0-4 to see how far chance goes.")
    lines.append(
        "reaction, deployment, recovery: median time from a drift to the first job on new data, to the first model "
        f"trained on it, to the accuracy of before; {_NEVER}: less than half got there."
    )
    if summary["oracle"].any():
        lines.append("* oracle: is told the true instant of each drift, which no real device is.")
    if not summary["finished"].all():
        lines.append("Not finished: numbers reach to where everything was computed.")
    if unmeasured:
        lines.append(f"Not measured: {', '.join(unmeasured)}.")
    return lines


def markdown(table: SummaryTable) -> str:
    """Write the tables in Markdown."""
    parts = []
    for grid in table.grids:
        rows = [grid.header, ("---", *("---:" for _ in grid.header[1:])), *grid.rows]
        parts.append(f"**{grid.title}**\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows))
    return "\n\n".join([*parts, "\n".join(table.legend)]) + "\n"


def show(table: SummaryTable, write: Callable[[Table | str], None]) -> None:
    """Hand rich tables and the legend to ``write``, in order."""
    from rich.table import Table as RichTable
    from rich.text import Text

    for grid in table.grids:
        shown = RichTable(title=grid.title, title_justify="left", title_style="bold", header_style="bold", box=None)
        for number, name in enumerate(grid.header):
            shown.add_column(Text(name), justify="right" if number else "left", no_wrap=not number, vertical="bottom")
        for row in grid.rows:
            shown.add_row(*(Text(cell) for cell in row))
        write(shown)
        write("")
    for line in table.legend:
        write(line)

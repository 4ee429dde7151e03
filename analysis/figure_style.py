"""What all figures share: axes, units, marks of drifts. No global state, no pyplot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from analysis.formatting import quantity
from analysis.metrics import Unit
from analysis.run import Run, load_many
from edgesim.tables import UserError

Runs = Run | Path | str | Sequence[Path | str]
"""What a figure is drawn from: a loaded run, a run folder, or several folders of one scenario."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")

DRIFT = "#404040"
UP, DOWN, PEER = "#0072b2", "#e69f00", "#882255"
IN_VAIN = "#000000"
NOT_MEASURED = "#d9d9d9"

FONT = 11
SMALL = 9


def one_scenario(runs: Runs) -> Run:
    """Load what a figure is drawn from.

    Raises
    ------
    UserError
        The folders are of different scenarios: one figure shows one.
    """
    if isinstance(runs, Run):
        return runs
    loaded = load_many([runs] if isinstance(runs, (str, Path)) else runs)
    if len(loaded) > 1:
        raise UserError(f"one figure shows one scenario, these are {', '.join(run.label for run in loaded)}")
    return loaded[0]


def markers(learners: Sequence[str]) -> dict[str, str]:
    """Return a marker for each learner, so that figures can be read without colour."""
    return {name: _MARKERS[place % len(_MARKERS)] for place, name in enumerate(learners)}


def widths(learners: Sequence[str]) -> dict[str, float]:
    """Return a line width for each learner, the first the widest: lines that lie on one another stay visible."""
    count = max(1, len(learners) - 1)
    return {name: 3.4 - 1.6 * place / count for place, name in enumerate(learners)}


def note(ax: Axes, text: str) -> None:
    """Write how to read the figure below its x axis, at the right."""
    ax.annotate(
        text,
        (1.0, 0.0),
        xycoords="axes fraction",
        xytext=(0, -38),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=SMALL,
        color=DRIFT,
    )


def canvas(ax: Axes | None, size: tuple[float, float] = (8.0, 4.5)) -> tuple[Figure, Axes]:
    """Return the axes to draw on and their figure: those given, or new ones (inches)."""
    if ax is not None:
        figure = ax.get_figure(root=True)
        assert figure is not None
        return figure, ax
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots()


def dress(ax: Axes, title: str, x: str, y: str) -> None:
    """Give axes their title and labels and a quiet look."""
    ax.set_title(title, loc="left", fontsize=FONT + 1, fontweight="bold")
    ax.set_xlabel(x, fontsize=FONT)
    ax.set_ylabel(y, fontsize=FONT)
    ax.tick_params(labelsize=SMALL + 1)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    ax.set_axisbelow(True)


def legend_above(ax: Axes, columns: int = 4) -> None:
    """Put the legend between title and plot, where it hides no data."""
    handles, _ = ax.get_legend_handles_labels()
    if not handles:
        return
    rows = -(-len(handles) // columns)
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        frameon=False,
        fontsize=SMALL + 1,
        borderaxespad=0.2,
        columnspacing=1.4,
        handlelength=1.6,
    )
    ax.set_title(ax.get_title(loc="left"), loc="left", fontsize=FONT + 1, fontweight="bold", pad=10 + 17 * rows)


def time_unit(horizon_s: float) -> tuple[float, str]:
    """Return the unit for a time axis of that length: its seconds and its name."""
    for seconds, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if horizon_s >= 3 * seconds:
            return seconds, name
    return 1.0, "s"


def percent(ax: Axes) -> None:
    """Show a share on the y axis in per cent."""
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))


def amounts(ax: Axes, unit: Unit, axis: str = "y") -> None:
    """Show an amount (bytes, joules, ...) on an axis with its unit at each tick."""
    chosen = ax.yaxis if axis == "y" else ax.xaxis
    chosen.set_major_formatter(FuncFormatter(lambda value, _: quantity(float(value), unit)))


def mark_drifts(ax: Axes, drifts: pd.DataFrame, unit_s: float, *, names: bool = True) -> None:
    """Draw a dashed line at every moment at which a drift opened, with its name while there is room."""
    opened = drifts.loc[drifts["opens_episode"], ["name", "time_s"]].drop_duplicates().sort_values("time_s")
    crowded = len(opened) > 12
    for name, time_s in zip(opened["name"], opened["time_s"], strict=True):
        ax.axvline(time_s / unit_s, color=DRIFT, linestyle=(0, (4, 3)), linewidth=0.6 if crowded else 1.0, zorder=1)
        if names and not crowded:
            ax.annotate(
                str(name),
                (time_s / unit_s, 0.02),
                xycoords=("data", "axes fraction"),
                xytext=(-3, 0),
                textcoords="offset points",
                rotation=90,
                ha="right",
                va="bottom",
                fontsize=SMALL,
                color=DRIFT,
            )

"""The page's figures, told apart by marker and line as well as by colour: accuracy over time, accuracy against size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import analysis
from analysis.figure_style import FONT, SMALL, dress, markers, percent, time_unit
from analysis.palette import colours
from analysis.worlds import Floats

from .cells import CELLS, Cell, loaded
from .variants import Sized, sized

CURVES, SIZES = "step_accuracy", "eclm_sizes"

_MOMENTS = 240
_LINES = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 3)))


def file_of(name: str, full: bool) -> str:
    """The file name of a figure."""
    return f"{name}{'_full' if full else ''}.png"


def draw(root: Path, out: Path, cells: Mapping[str, Cell] = CELLS) -> list[Path]:
    """Draw what has been run below ``root`` into the folder ``out``; the files written."""
    written = []
    for full in (False, True):
        found = {name: runs for name, cell in cells.items() if (runs := loaded(root, name, cell, full))}
        steps = {cells[name]["title"]: runs[""] for name, runs in found.items() if cells[name]["kind"] == "step"}
        figures = {CURVES: curves(steps)} if steps else {}
        for name, runs in found.items():
            if cells[name]["kind"] == "sizes":
                figures[SIZES] = against_size(cells[name]["title"], sized(cells[name], runs))
        for title, figure in figures.items():
            out.mkdir(parents=True, exist_ok=True)
            written.append(out / file_of(title, full))
            figure.savefig(written[-1], dpi=150, metadata={"Software": None})
    return written


def curves(runs: Mapping[str, analysis.Run]) -> Figure:
    """A panel a run: the mean accuracy over devices and seeds against time, a line a method."""
    learners = list(dict.fromkeys(learner for run in runs.values() for learner in run.learners))
    colour, marker = colours(learners), markers(learners)
    line = {learner: _LINES[place % len(_LINES)] for place, learner in enumerate(learners)} | {"eclm": "-"}
    columns = min(2, len(runs))
    rows = -(-len(runs) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.1 * rows + 0.7), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    drawn = {}
    for ax, (title, run) in zip(panels, runs.items(), strict=False):
        unit_s, unit = time_unit(run.horizon_s)
        times_s = np.linspace(0.0, run.horizon_s, _MOMENTS)
        for place, learner in enumerate(run.learners):
            (drawn[learner],) = ax.plot(
                times_s / unit_s,
                _mean(run, learner, times_s),
                color=colour[learner],
                marker=marker[learner],
                markevery=(4 * place, 40),
                markersize=5,
                linestyle=line[learner],
                linewidth=2.4 if learner == "eclm" else 1.5,
                drawstyle="steps-post",
                label=learner,
            )
        percent(ax)
        ax.set_xlim(0, run.horizon_s / unit_s)
        dress(ax, title, f"time ({unit})", "mean accuracy")
    for ax in panels[len(runs) :]:
        ax.remove()
    figure.legend(
        handles=[drawn[learner] for learner in learners],
        loc="outside lower center",
        ncols=2 * columns,
        frameon=False,
        fontsize=SMALL + 1,
        handlelength=3.2,
    )
    return figure


def against_size(title: str, found: Sequence[Sized]) -> Figure:
    """Accuracy of sub-models with and without ability-enhancing training: means over seeds, small marks the seeds."""
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    ax: Axes = figure.subplots()
    styles = (("with", "#0072b2", "o", "-"), ("without", "#d55e00", "s", "--"))
    for place, (label, colour, marker, line) in enumerate(styles):
        sizes = [one.sizes[place] / 1e3 for one in found]
        ax.plot(
            sizes,
            [one.accuracies[place].value for one in found],
            color=colour,
            marker=marker,
            markersize=7,
            linestyle=line,
            linewidth=2,
            label=f"{label} ability-enhancing training",
        )
        for size, one in zip(sizes, found, strict=True):
            seeds = one.of_seeds[place]
            ax.plot([size] * len(seeds), seeds, marker, color=colour, markersize=4, markerfacecolor="none")
    percent(ax)
    dress(ax, title, "size of a sub-model (thousand numbers)", "mean accuracy")
    ax.legend(frameon=False, fontsize=FONT - 1, loc="lower right")
    return figure


def _mean(run: analysis.Run, learner: str, times_s: Floats) -> Floats:
    """The mean over seeds of a learner's mean accuracy over devices. (time,)"""
    values = np.full((len(run.seeds), len(times_s)), np.nan)
    for row, seed in enumerate(run.seeds):
        own = run.fleet[(run.fleet["learner"] == learner) & (run.fleet["seed"] == seed)]
        place = np.searchsorted(own["time_s"].to_numpy(), times_s, side="right") - 1
        known = own["accuracy"].ffill().to_numpy(np.float64)  # the last row is the end
        values[row, place >= 0] = known[place[place >= 0]]
    mean: Floats = values.mean(axis=0)
    return mean

"""Figures of speed and price: survival curves of adaptation, accuracy against a cost."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.comparison import ScenarioComparison
from analysis.episodes import observations
from analysis.figure_style import (
    DRIFT,
    Runs,
    amounts,
    canvas,
    dress,
    legend_above,
    markers,
    note,
    one_scenario,
    percent,
    time_unit,
    widths,
)
from analysis.metrics import METRICS, axis_title
from analysis.palette import colours
from analysis.summary import wide
from analysis.survival import curve
from edgesim.tables import UserError

_DONE = {
    "detection": ("Detection", "not yet detected"),
    "reaction": ("Reaction", "not yet training"),
    "deployment": ("Deployment", "without an informed model"),
    "cohort_deployment": ("Deployment (cohort)", "without a model informed by its cohort"),
    "score_deployment": ("Deployment (scores)", "without a model informed or selected"),
    "recovery": ("Recovery", "not yet recovered"),
}


def plot_recovery(runs: Runs, ax: Axes | None = None, *, measure: str = "recovery") -> Figure:
    """Draw Kaplan-Meier curves: the share of drifted devices that have not recovered, by time since the drift.

    ``measure`` is one of ``analysis.episodes.MEASURES``. Ticks are episodes that were watched no longer. The band is
    95 % over seeds (from 3 seeds on), otherwise Greenwood's within the run, and the figure says which.
    """
    run = one_scenario(runs)
    figure, ax = canvas(ax)
    seen = observations(run.episodes, measure)
    longest_s = float(seen["duration_s"].max()) if len(seen) else run.horizon_s
    unit_s, unit = time_unit(longest_s)
    colour, width, bands = colours(run.learners), widths(run.learners), set()
    for learner in run.learners:
        own = seen[seen["learner"] == learner]
        if own.empty:
            continue
        steps = curve(own)
        times = steps["time_s"].to_numpy() / unit_s
        ax.step(
            times,
            steps["survival"],
            where="post",
            color=colour[learner],
            linewidth=width[learner],
            label=learner,
            zorder=3,
        )
        ax.fill_between(
            times, steps["low"], steps["high"], step="post", color=colour[learner], alpha=0.12, linewidth=0.6
        )
        bands |= set(steps["band"])
        lost_s = np.unique(own.loc[~own["observed"], "duration_s"].to_numpy())
        height = steps["survival"].to_numpy()[np.searchsorted(steps["time_s"], lost_s, side="right") - 1]
        ax.plot(lost_s / unit_s, height, "|", color=colour[learner], markersize=9, markeredgewidth=1.6, zorder=4)
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlim(left=0)
    percent(ax)
    title, share = _DONE[measure]
    dress(ax, f"{title} after a drift", f"time since the drift ({unit})", f"share {share}")
    legend_above(ax)
    band = {"seeds": "95 % over seeds", "within run": "95 % within the run (says nothing about other seeds)"}
    how = [f"band: {band[name]}" for name in sorted(bands)] + (["|: watched no longer"] if len(seen) else [])
    note(ax, "; ".join(how))
    return figure


def plot_pareto(runs: Runs, ax: Axes | None = None, *, cost: str = "both_ways_bytes") -> Figure:
    """Draw accuracy against a cost, a point a learner with its 95 % intervals; a line joins those that nobody beats.

    ``cost`` is the name of a metric of which less is better (docs/metrics.md).

    Raises
    ------
    UserError
        There is no such metric.
    """
    if cost not in METRICS:
        raise UserError(f"there is no metric {cost!r}; known are {', '.join(METRICS)}")
    run = one_scenario(runs)
    figure, ax = canvas(ax, (7.0, 4.8))
    table = wide(run.estimates)
    colour, marker = colours(run.learners), markers(run.learners)
    known = table[np.isfinite(table[cost]) & table["accuracy"].notna()]
    for learner in known.index:
        row = known.loc[learner]
        x, y = (_error(row, name) for name in (cost, "accuracy"))
        label = f"{learner} *" if learner in run.oracles else str(learner)
        ax.errorbar(
            row[cost],
            row["accuracy"],
            y,
            x,
            fmt=marker[learner],
            markersize=9,
            capsize=3,
            color=colour[learner],
            label=label,
            zorder=3,
        )
    front = ScenarioComparison(run, "").front(cost)  # oracles are bounds
    front = known.loc[[learner for learner in front if learner in known.index]].sort_values([cost, "accuracy"])
    ax.plot(front[cost], front["accuracy"], color=DRIFT, linestyle=":", linewidth=1.2, zorder=2)
    amounts(ax, METRICS[cost].unit, axis="x")
    percent(ax)
    positive = known.loc[known[cost] > 0, cost]
    if len(positive) > 1 and positive.max() > 50 * positive.min():
        ax.set_xscale("symlog", linthresh=float(positive.min()))
        amounts(ax, METRICS[cost].unit, axis="x")
    ax.margins(0.12)
    title = axis_title(METRICS[cost])
    dress(ax, f"Accuracy against {title}", title, "accuracy over time and devices")
    legend_above(ax)
    left_out = [learner for learner in table.index if learner not in known.index]
    how = [f"dotted: no other learner is better in both{', oracles apart' if run.oracles else ''}"]
    if left_out:
        how.append(f"not measured or not reached: {', '.join(left_out)}")
    note(ax, "; ".join(how))
    return figure


def _error(row: pd.Series[float], name: str) -> list[list[float]] | None:
    """The distances of an interval's ends from its number, for ``errorbar``."""
    below, above = row[name] - row[f"{name}_low"], row[f"{name}_high"] - row[name]
    return [[below], [above]] if math.isfinite(below) and math.isfinite(above) else None

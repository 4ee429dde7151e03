"""How the page writes numbers, differences and tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

import analysis
from analysis.intervals import Interval, mean_interval, verdict
from analysis.modules import load_entropy

from .cells import Cell

BYTES_PER_NUMBER = 4

TIED = 0.01
"""Two accuracies at most so far apart, whose difference may be chance, are tied."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; columns that are empty in every row are left out, the first is text, the others numbers."""
    kept = [place for place, name in enumerate(header) if place == 0 or any(row[place] for row in rows)]
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line[place] for place in kept) + " |" for line in lines)


def heading(name: str, cell: Cell, runs: Sequence[analysis.Run]) -> str:
    """The heading of a cell's section, which seeds it shows, and what its runs took."""
    seeds = sorted({seed for run in runs for seed in run.seeds})
    spent_s = [float(manifest["wall_s"]) for run in runs for manifest in run.manifests]
    told = f"{len(spent_s)} runs, {sum(spent_s) / 60:.0f} minutes in all"
    return f"## {cell['title']} (`{name}`)\n\nSeeds {', '.join(map(str, seeds))}: {told}."


def percent(found: Interval) -> str:
    """A share in per cent with its interval."""
    if not found.has_bounds:
        return f"{100 * found.value:.1f}"
    low, high = max(0.0, found.low), min(1.0, found.high)
    return f"{100 * found.value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def points(found: Interval) -> str:
    """A difference of shares in points with its interval."""
    bounds = f" ({100 * found.low:+.1f} to {100 * found.high:+.1f})" if found.has_bounds else ""
    return f"{100 * found.value:+.1f}{bounds}"


def word(difference: Interval) -> str:
    """What a difference of accuracies supports."""
    return {"higher": "better", "lower": "worse"}.get(found := verdict(difference, TIED), found)


def judged(difference: Interval) -> str:
    """A difference of accuracies, and what it supports."""
    return f"{points(difference)}: {word(difference)}"


def by_seed(run: analysis.Run, metric: str) -> pd.DataFrame:
    """A metric, a row a seed and a column a learner."""
    wide: pd.DataFrame = run.seed_metrics[metric].unstack("learner")
    return wide


def average(values: pd.Series[float]) -> str:
    """The mean over seeds of a share, in per cent, with its interval."""
    return percent(mean_interval(values.to_numpy(np.float64)))


def numbers_served(run: analysis.Run) -> dict[str, float]:
    """Numbers in the model that a device serves with at the end, by learner: mean over devices and seeds."""
    last = run.deployments.groupby(["learner", "seed", "device"])["size_bytes"].last()
    return {str(learner): float(size) / BYTES_PER_NUMBER for learner, size in last.groupby("learner").mean().items()}


def training_memory_bytes(run: analysis.Run) -> dict[str, float]:
    """The most memory that a device's training took, by learner: mean over devices and seeds."""
    jobs = run.computations
    trained = jobs[(jobs["kind"] == "train") & (jobs["node"] != "cloud") & (jobs["status"] == "done")]
    most = trained.groupby(["learner", "seed", "node"])["peak_memory_bytes"].max()
    return {str(learner): float(size) for learner, size in most.groupby("learner").mean().items()}


def offline_flops(run: analysis.Run) -> dict[str, float]:
    """Operations of a learner's work before the start, by learner: mean over seeds."""
    jobs = run.computations
    spent = jobs[jobs["status"] == "offline"].groupby(["learner", "seed"])["flops"].sum()
    return {str(learner): float(flops) for learner, flops in spent.groupby("learner").mean().items()}


def evenness(run: analysis.Run, learner: str) -> str:
    """The load entropy of each of a learner's module layers at the end, mean over seeds; empty without modules."""
    found = load_entropy(run.selections[run.selections["learner"] == learner])
    return ", ".join(f"{value:.2f}" for value in found.groupby("layer")["entropy"].mean())


EVENNESS = "load entropy a layer"

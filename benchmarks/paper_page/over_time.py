"""Cells that are about before and after: continuous adaptation, and ECAvg's update of edges."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

import analysis
from analysis.intervals import mean_interval, paired_difference

from .cells import Cell
from .text import EVENNESS, average, by_seed, evenness, heading, judged, percent, points, table


def continuous(name: str, cell: Cell, runs: Mapping[str, analysis.Run]) -> str:
    """Step after step: accuracy over all of them, and how long a device takes in each."""
    (run,) = runs.values()
    accuracy, taken = by_seed(run, "accuracy"), adaptation_s(run)
    paper, paper_s = cell["paper"], cell["paper_s"]
    rows = []
    for learner in run.learners:
        own = taken[taken["learner"] == learner]["seconds"]
        rows.append(
            [
                f"`{learner}`",
                average(accuracy[learner]),
                judged(paired_difference(accuracy, "eclm", learner)) if learner != "eclm" else "",
                f"{own.mean():.3g}" if len(own) else "",
                f"{paper[learner]:.2f}" if learner in paper else "",
                f"{paper_s[learner]:.3g}" if learner in paper_s else "",
                evenness(run, learner),
            ]
        )
    header = [
        "method",
        "accuracy over time, %",
        "ECLM's lead, points",
        "s a step",
        "paper, %",
        "paper, s a step",
        EVENNESS,
    ]
    return f"{heading(name, cell, [run])}\n\n{table(header, rows)}"


def adaptation_s(run: analysis.Run) -> pd.DataFrame:
    """Of each step on each device: seconds from the drift to the last model deployed before the next one."""
    world = ["learner", "seed", "device"]
    drifts = run.drifts[[*world, "time_s"]].sort_values("time_s")
    deployed = run.deployments[run.deployments["cause"] != "start"][[*world, "time_s"]].sort_values("time_s")
    steps = pd.merge_asof(
        deployed.rename(columns={"time_s": "deployed_s"}),
        drifts.rename(columns={"time_s": "drift_s"}),
        left_on="deployed_s",
        right_on="drift_s",
        by=world,
    ).dropna()
    last = steps.groupby([*world, "drift_s"], as_index=False)["deployed_s"].max()
    taken: pd.DataFrame = last.assign(seconds=last["deployed_s"] - last["drift_s"])
    return taken


def update(name: str, cell: Cell, runs: Mapping[str, analysis.Run]) -> str:
    """ECAvg: each edge's own model, and what the server sends back."""
    (run,) = runs.values()
    world = ["learner", "seed", "device"]
    rows = []
    for learner in run.learners:
        accuracy = run.accuracy[run.accuracy["learner"] == learner].sort_values("time_s")
        per_device = accuracy.groupby(world)["accuracy"]
        last = per_device.last().groupby("seed").mean()
        trained = per_device.nth(1).groupby(accuracy["seed"]).mean() if learner != "no_adaptation" else last
        gain = mean_interval((last - trained).to_numpy())
        rows.append(
            [
                f"`{learner}`",
                percent(mean_interval(trained)),
                percent(mean_interval(last)),
                "" if learner == "no_adaptation" else points(gain),
            ]
        )
    paper = (
        f"The paper: edges {cell['paper']['before']} % before, {cell['paper']['after']} % after."
        if "paper" in cell
        else "The paper reports a loss on server and edges, and no numbers."
    )
    header = ["method", "edges before the update, %", "after it, %", "gain, points"]
    return f"{heading(name, cell, [run])} {paper}\n\n{table(header, rows)}"

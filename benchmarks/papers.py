"""The papers' experiments, run cell by cell and set beside the papers' own numbers.

    EDGESIM_DATA=FOLDER python benchmarks/papers.py run [CELL...] [--seeds 0-2] [--jobs 2] [--full]
    python benchmarks/papers.py page > docs/results.md

``papers.yaml`` says what each cell is, what its small form (the default) changes, and what the paper reports. Each cell
and seed is a run folder of its own below ``runs/papers``; what is done there is not done again, so one can stop and
go on. ``page`` writes what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from ruamel.yaml import YAML

import analysis
from analysis.accuracy import fleet, time_to_target
from analysis.communication import bytes_to_target
from analysis.intervals import Interval, mean_interval, paired_difference, verdict
from edgesim.simulation import load_scenario, run

HERE = Path(__file__).parent
SCENARIOS = HERE.parent / "scenarios" / "papers"
CELLS: dict[str, dict[str, Any]] = YAML(typ="safe").load(HERE / "papers.yaml")["cells"]

TIED = 0.01
"""Two accuracies at most so far apart, whose difference may be chance, are tied."""


# Running --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """One cell at one point and seed."""

    cell: str
    point: str
    seed: int
    full: bool

    def folder(self, root: Path) -> Path:
        """Its run folder."""
        name = self.point.replace(" %", "pct") or "all"
        return root / ("full" if self.full else "small") / self.cell / name / f"seed-{self.seed}"

    def overrides(self) -> list[str]:
        """What it changes in the scenario, as for ``--set``."""
        cell = CELLS[self.cell]
        settings = {**cell.get("both", {}), **({} if self.full else cell["small"])}
        settings |= cell.get("points", {}).get(_number(self.point), {})
        return [f"{key}={json.dumps(value)}" for key, value in settings.items()]

    def command(self) -> str:
        """What one would type to run it alone."""
        sets = " ".join(f"--set {json.dumps(override)}" for override in self.overrides())
        return f"edgesim run scenarios/papers/{_scenario(self.cell).name} --seeds {self.seed} {sets}".rstrip()


def _number(point: str) -> str | int:
    return int(point) if point.isdigit() else point


def _scenario(cell: str) -> Path:
    return SCENARIOS / f"{CELLS[cell].get('scenario', cell)}.yaml"


def tasks(cells: Sequence[str], seeds: Sequence[int], full: bool) -> Iterator[Task]:
    """All tasks, seed by seed, so that every cell has something early."""
    for seed in seeds:
        for cell in cells:
            for point in CELLS[cell].get("points", {"": None}):
                yield Task(cell, str(point), seed, full)


def is_done(folder: Path) -> bool:
    """Whether a run finished there."""
    manifest = folder / "manifest.json"
    return manifest.is_file() and json.loads(manifest.read_text(encoding="utf-8")).get("status") == "done"


def play(task: Task, root: Path) -> str:
    """Run one task unless it is done; what to say of it."""
    folder = task.folder(root)
    if is_done(folder):
        return f"{folder}: was done"
    if folder.exists():
        shutil.rmtree(folder)  # it was stopped
    # A path that the scenario names and its small form replaces is never read.
    for name in ("EDGESIM_DATA", "EDGESIM_HAR"):
        os.environ.setdefault(name, "/nowhere")
    began = time.perf_counter()
    scenario = load_scenario(_scenario(task.cell), overrides=task.overrides())
    run(scenario, seeds=[task.seed], learners=CELLS[task.cell].get("learners"), out=folder)
    return f"{folder}: {time.perf_counter() - began:.0f} s"


# The page -------------------------------------------------------------------------------------------------------------


def page(root: Path) -> str:
    """``docs/results.md``: what has been run, beside the papers."""
    parts = [HEADER]
    for full, title in ((False, "Small form"), (True, "Full protocol")):
        cells = [(cell, loaded(root, cell, full)) for cell in CELLS]
        found = [(cell, runs) for cell, runs in cells if runs]
        if found:
            parts.append(f"# {title}\n\n{_machine([run for _, runs in found for run in runs.values()])}")
            for cell, runs in found:
                parts.append(_KINDS[CELLS[cell]["kind"]](cell, runs))
                parts += [CELLS[cell]["note"].strip()] if "note" in CELLS[cell] and not full else []
        missing = [cell for cell, runs in cells if not runs]
        if missing:
            parts.append(f"Not run ({title.lower()}): {', '.join(f'`{cell}`' for cell in missing)}.")
    return "\n\n".join(parts) + "\n"


HEADER = """<!-- written by `python benchmarks/papers.py page > docs/results.md`; run the cells first -->
# Measured against the papers

What comes out beside what the papers report, cell by cell. `benchmarks/papers.yaml` says what each cell changes in its
scenario of `scenarios/papers/`; a cell is run by

    EDGESIM_DATA=FOLDER python benchmarks/papers.py run CELL

Numbers are means over seeds with 95 % intervals (Student's t). "Tied" is a difference whose interval contains 0 and
that is at most a point. The small form has fewer devices, rounds and samples and narrower networks than the papers: its
accuracies are lower throughout, and it is the differences between methods that can be compared."""


def loaded(root: Path, cell: str, full: bool) -> dict[str, analysis.Run]:
    """The finished runs of a cell: a run over seeds for each point."""
    found = {}
    for point in map(str, CELLS[cell].get("points", {"": None})):
        folder = Task(cell, point, 0, full).folder(root).parent
        done = sorted(seed for seed in folder.glob("seed-*") if is_done(seed))
        if done:
            (found[point],) = analysis.load_many(done)
    return found


def _machine(runs: Sequence[analysis.Run]) -> str:
    manifests = [manifest for one in runs for manifest in one.manifests]
    cpu = {manifest["cpu_capability"] for manifest in manifests}
    wall_s = sum(float(manifest["wall_s"]) for manifest in manifests)
    return (
        f"{len(manifests)} runs, {wall_s / 60:.0f} minutes of wall time in all on {', '.join(sorted(cpu))}, "
        f"one thread a job; Python {platform.python_version()}."
    )


def _seeds(run: analysis.Run) -> str:
    return f"Seeds {', '.join(map(str, run.seeds))}."


def _percent(found: Interval) -> str:
    if not found.has_bounds:
        return f"{100 * found.value:.1f}"
    low, high = max(0.0, found.low), min(1.0, found.high)
    return f"{100 * found.value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def step(cell: str, runs: Mapping[str, analysis.Run]) -> str:
    """One adaptation step: accuracy at the end, and bytes until the lowest of the collaborative methods' best."""
    (run,) = runs.values()
    facts = CELLS[cell]
    at_end = run.seed_metrics["horizon_accuracy"]
    paper = facts["paper"]
    rows = []
    for learner in run.learners:
        values = at_end.xs(learner, level="learner")
        against = paired_difference(at_end, "eclm", learner) if learner != "eclm" else None
        rows.append(
            [
                f"`{learner}`",
                _percent(mean_interval(values)),
                "" if against is None else f"{_points(against)}: {_word(against)}",
                f"{paper[learner]:.2f}" if learner in paper else "",
                f"{paper['eclm'] - paper[learner]:+.2f}" if learner in paper and learner != "eclm" else "",
            ]
        )
    header = ["method", "accuracy at the end, %", "ECLM's lead, points", "paper, %", "its ECLM's lead"]
    return f"## {facts['title']} (`{cell}`)\n\n{_seeds(run)}\n\n{_table(header, rows)}\n\n{_bytes(run, facts)}"


def _points(found: Interval) -> str:
    bounds = f" ({100 * found.low:+.1f} to {100 * found.high:+.1f})" if found.has_bounds else ""
    return f"{100 * found.value:+.1f}{bounds}"


def _word(difference: Interval) -> str:
    return {"higher": "better", "lower": "worse"}.get(found := verdict(difference, TIED), found)


def _bytes(run: analysis.Run, facts: Mapping[str, Any]) -> str:
    """Bytes until a target that ECLM, FedAvg and HeteroFL all reach, at each seed the lowest of their best."""
    curves = fleet(run.spans, run.worlds)
    rivals = [learner for learner in ("fedavg", "heterofl", "eclm") if learner in run.learners]
    spent: dict[str, list[float]] = {learner: [] for learner in rivals}
    one_way: dict[str, list[float]] = {learner: [] for learner in rivals}
    targets = []
    for seed in run.seeds:
        own = curves[(curves["seed"] == seed) & curves["learner"].isin(rivals)]
        target = float(own.groupby("learner")["accuracy"].max().min())
        targets.append(target)
        seconds = time_to_target(curves, run.worlds, target)
        both = bytes_to_target(run.transfers, run.serving, run.worlds, seconds)
        up = bytes_to_target(run.transfers[run.transfers["direction"] == "up"], run.serving, run.worlds, seconds)
        for learner in rivals:
            spent[learner].append(both[learner, seed])
            one_way[learner].append(max(up[learner, seed], both[learner, seed] - up[learner, seed]))
    rows = []
    for learner in rivals:
        ratios = [
            np.divide(mine, eclm) if eclm else float("nan")
            for mine, eclm in zip(spent[learner], spent["eclm"], strict=True)
        ]
        rows.append(
            [
                f"`{learner}`",
                f"{np.mean(spent[learner]) / 1e6:.2f}",
                f"{np.mean(one_way[learner]) / 1e6:.2f}",
                ", ".join(f"{ratio:.2f}" for ratio in ratios) if learner != "eclm" else "",
                f"{facts['paper_bytes'][learner]:.2f}" if learner in facts["paper_bytes"] else "",
            ]
        )
    level = ", ".join(f"{100 * target:.1f} %" for target in targets)
    header = ["method", "MB up and down", "MB one way", "times ECLM's, a seed each", "paper"]
    return f"Bytes until a mean accuracy that all three reach ({level}; the lowest of their best):\n\n" + _table(
        header, rows
    )


def ablation(cell: str, runs: Mapping[str, analysis.Run]) -> str:
    """What each part of ECLM is worth."""
    (run,) = runs.values()
    at_end = run.seed_metrics["horizon_accuracy"]
    rows = []
    for learner in run.learners:
        against = paired_difference(at_end, learner, "eclm") if learner != "eclm" else None
        rows.append(
            [
                f"`{learner}`",
                _percent(mean_interval(at_end.xs(learner, level="learner"))),
                "" if against is None else f"{_points(against)}: {_word(against)}",
                f"{run.seed_metrics['both_ways_bytes'].xs(learner, level='learner').mean() / 1e6:.1f}",
            ]
        )
    header = ["method", "accuracy at the end, %", "against ECLM, points", "MB up and down"]
    return f"## {CELLS[cell]['title']} (`{cell}`)\n\n{_seeds(run)}\n\n{_table(header, rows)}"


def sensitivity(cell: str, runs: Mapping[str, analysis.Run]) -> str:
    """One number varied."""
    facts = CELLS[cell]
    rows = []
    for point, varied in runs.items():
        for learner in varied.learners:
            metrics = varied.seed_metrics.xs(learner, level="learner")
            rows.append(
                [
                    point,
                    f"`{learner}`",
                    _percent(mean_interval(metrics["horizon_accuracy"])),
                    f"{metrics['both_ways_bytes'].mean() / 1e6:.1f}",
                    f"{facts['paper'][_number(point)]:.2f}" if "paper" in facts else "",
                ]
            )
    header = ["value", "method", "accuracy at the end, %", "MB up and down", "paper, %"]
    return f"## {facts['title']} (`{cell}`)\n\n{_seeds(next(iter(runs.values())))}\n\n{_table(header, rows)}"


def continuous(cell: str, runs: Mapping[str, analysis.Run]) -> str:
    """Step after step: accuracy over all of them, and how long a device takes in each."""
    (run,) = runs.values()
    facts = CELLS[cell]
    accuracy = run.seed_metrics["accuracy"]
    taken = adaptation_s(run)
    rows = []
    for learner in run.learners:
        own = taken[taken["learner"] == learner]["seconds"]
        against = paired_difference(accuracy, "eclm", learner) if learner != "eclm" else None
        rows.append(
            [
                f"`{learner}`",
                _percent(mean_interval(accuracy.xs(learner, level="learner"))),
                "" if against is None else f"{_points(against)}: {_word(against)}",
                f"{own.mean():.3g}" if len(own) else "",
                f"{facts['paper'][learner]:.2f}",
                f"{facts['paper_s'][learner]:.3g}" if learner in facts["paper_s"] else "",
            ]
        )
    header = ["method", "accuracy over time, %", "ECLM's lead, points", "s a step", "paper, %", "paper, s a step"]
    return f"## {facts['title']} (`{cell}`)\n\n{_seeds(run)}\n\n{_table(header, rows)}"


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
    return last.assign(seconds=last["deployed_s"] - last["drift_s"])


def update(cell: str, runs: Mapping[str, analysis.Run]) -> str:
    """ECAvg: each edge's own model, and what the server sends back."""
    (run,) = runs.values()
    facts = CELLS[cell]
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
                _percent(mean_interval(trained)),
                _percent(mean_interval(last)),
                "" if learner == "no_adaptation" else _points(gain),
            ]
        )
    paper = (
        f"The paper: edges {facts['paper']['before']} % before, {facts['paper']['after']} % after."
        if "paper" in facts
        else "The paper reports a loss on server and edges, and no numbers."
    )
    header = ["method", "edges before the update, %", "after it, %", "gain, points"]
    return f"## {facts['title']} (`{cell}`)\n\n{_seeds(run)} {paper}\n\n{_table(header, rows)}"


_KINDS = {
    "step": step,
    "ablation": ablation,
    "sensitivity": sensitivity,
    "continuous": continuous,
    "update": update,
}


def main() -> None:
    """Run cells or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "page", "list"))
    parser.add_argument("cells", nargs="*", metavar="CELL", help="by default all")
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--jobs", type=int, default=1, help="cells and seeds at a time, a process each")
    parser.add_argument("--full", action="store_true", help="the published protocol instead of the small form")
    parser.add_argument("--root", type=Path, default=Path("runs/papers"))
    given = parser.parse_args()
    if unknown := set(given.cells) - set(CELLS):
        parser.error(f"no cell is called {', '.join(sorted(unknown))}; there are {', '.join(CELLS)}")
    if given.what == "page":
        sys.stdout.write(page(given.root))
        return
    first, _, last = given.seeds.partition("-")
    wanted = list(tasks(given.cells or list(CELLS), range(int(first), int(last or first) + 1), given.full))
    if given.what == "list":
        for task in wanted:
            print(task.command())
        return
    if "EDGESIM_DATA" not in os.environ:
        parser.error("set EDGESIM_DATA to the folder of the data")
    pool = joblib.Parallel(n_jobs=given.jobs, return_as="generator_unordered")
    for told in pool(joblib.delayed(play)(task, given.root) for task in wanted):
        print(told, flush=True)


if __name__ == "__main__":
    main()

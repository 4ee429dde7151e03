"""How each method's optimizer and step size were chosen: the same grid for all, on other seeds and other test samples.

    EDGESIM_DATA=FOLDER python benchmarks/tuning.py run [CELL...] [--seeds 10-11] [--jobs 2]
    python benchmarks/tuning.py page > docs/tuning.md

A cell of ``papers.yaml`` in its small form, each method of the paper with each setting of the grid, on seeds that the
cell is not measured with. Where the data have test samples of their own, these are not touched: a fifth of the training
samples is held out, and the methods have the rest. What is done below ``runs/tuning`` is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from paper_page import CELLS, DATA, Task, scenario_of, seeds_from
from paper_page.cells import finished_runs
from paper_page.text import by_seed, table
from ruamel.yaml import YAML

import analysis
from edgesim.run_folder import remove
from edgesim.seeds import stream
from edgesim.simulation import load_scenario, run

GRID: Mapping[str, Mapping[str, Any]] = {
    "sgd 0.001": {"optimizer": "sgd", "learning_rate": 0.001},
    "sgd 0.01": {"optimizer": "sgd", "learning_rate": 0.01},
    "momentum 0.001": {"optimizer": "momentum", "learning_rate": 0.001},
    "momentum 0.01": {"optimizer": "momentum", "learning_rate": 0.01},
    "adam 0.0003": {"optimizer": "adam", "learning_rate": 0.0003},
    "adam 0.001": {"optimizer": "adam", "learning_rate": 0.001},
}
"""0.001 is the paper's step size, for all methods; which optimizer it had it does not say."""
METHODS = ("on_device", "adaptive_net", "fedavg", "heterofl", "eclm")
"""Those of the paper that train on devices; others in the cells are variations of these."""
TUNED = ("eclm_har", "eclm_cifar10_m2", "eclm_cifar10_m5", "eclm_cifar100_m10", "eclm_cifar100_m20")
HELD_OUT = 0.2

INTRODUCTION = """<!-- written by `python benchmarks/tuning.py page > docs/tuning.md` -->
# How the methods' optimizers were chosen

The cells of `docs/results.md` give each method an optimizer; the papers name a step size, 0.001 for all, and no
optimizer. Here is what every method comes to with every setting of one grid: accuracy at the end in per cent, mean over
seeds that the cells are not measured with. Bold is what the cell has. Where the data have test samples of their own,
nothing here has seen them: a fifth of the training samples is held out, and the methods have the rest. (The people of
HAR are one pool, which each seed divides anew.)

    EDGESIM_DATA=FOLDER python benchmarks/tuning.py run CELL

What a method does in the cloud before the start is the same in all columns: the grid is for training on devices."""


@dataclass(frozen=True)
class Trial:
    """One world: a method of a cell with one setting, at one seed."""

    cell: str
    method: str
    setting: str
    seed: int

    def folder(self, root: Path) -> Path:
        """Its run folder."""
        return root / self.cell / self.method / self.setting.replace(" ", "-") / f"seed-{self.seed}"

    def play(self, root: Path) -> str:
        """Run it unless it is done; what to say of it."""
        folder = self.folder(root)
        if finished_runs(folder):
            return f"{folder}: was done"
        if folder.exists():
            remove(folder)  # it was stopped
        os.environ.setdefault("EDGESIM_HAR", "/nowhere")  # the small form has another source
        began = time.perf_counter()
        changes = Task(self.cell, "", self.method, self.seed, full=False).overrides()
        changes.append(f"learners.{self.method}.training={json.dumps(GRID[self.setting])}")
        held_out = without_tests(data_of(changes), root / "data")
        if held_out is not None:
            changes.append(f"data.path={json.dumps(str(held_out))}")
        scenario = load_scenario(scenario_of(self.cell), overrides=changes)
        run(scenario, seeds=[self.seed], learners=[self.method], out=folder)
        return f"{folder}: {time.perf_counter() - began:.0f} s"


def without_tests(data: Path, folder: Path) -> Path | None:
    """A file of the training samples alone, a fifth of them as its test samples; None where the file has none of its
    own that a cell is measured with."""
    with np.load(data) as arrays:
        if "subject_test" in arrays:  # people: all samples are one pool, divided anew for each seed
            return None
        x, y = arrays["x_train"], arrays["y_train"]
    file = folder / data.name
    if not file.exists():
        order = stream(0, "tuning", data.name).permutation(len(x))
        tests, rest = np.split(order, [int(HELD_OUT * len(x))])
        folder.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{os.getpid()}-{file.name}")
        np.savez(partial, x_train=x[rest], y_train=y[rest], x_test=x[tests], y_test=y[tests])
        partial.replace(file)
    return file


def trials(cells: Sequence[str], seeds: Sequence[int]) -> Iterator[Trial]:
    """All trials; settings one after the other, so that two at a time have not the same pretraining to do."""
    for cell in cells:
        for method in METHODS:
            for setting in GRID:
                for seed in seeds:
                    yield Trial(cell, method, setting, seed)


def data_of(changes: Sequence[str]) -> Path:
    """The file of data that a cell's small form reads."""
    settings = {key: json.loads(value) for key, _, value in (change.partition("=") for change in changes)}
    return Path(os.path.expandvars(settings.get("data.path") or settings["data"]["path"]))


def used_by(cell: str, method: str) -> str:
    """The setting that the cell has, in the words of the grid."""
    scenario = YAML(typ="safe").load(scenario_of(cell))
    training = {**scenario["training"], **scenario["learners"][method].get("training", {})}
    return f"{training['optimizer']} {training['learning_rate']:g}"


def page(root: Path) -> str:
    """The Markdown page: a table a cell, a row a method."""
    said = [INTRODUCTION]
    for cell in TUNED:
        rows = []
        for method in METHODS:
            means = {setting: _mean(root, cell, method, setting) for setting in GRID}
            if any(np.isnan(mean) for mean in means.values()):
                continue
            used, best = used_by(cell, method), max(means, key=lambda setting: means[setting])
            shown = [
                f"**{100 * mean:.1f}**" if setting == used else f"{100 * mean:.1f}" for setting, mean in means.items()
            ]
            rows.append([f"`{method}`", *shown, f"{100 * (means[best] - means[used]):.1f}"])
        if rows:
            header = ["method", *GRID, "best of the others ahead by"]
            said.append(f"## {CELLS[cell]['title']} (`{cell}`)\n\n{table(header, rows)}")
    return "\n\n".join(said) + "\n"


def _mean(root: Path, cell: str, method: str, setting: str) -> float:
    """Accuracy at the end, mean over the seeds that are done; NaN where none is."""
    folder = Trial(cell, method, setting, 0).folder(root).parent
    found = [by_seed(analysis.load(run), "horizon_accuracy")[method].iloc[0] for run in finished_runs(folder)]
    return float(np.mean(found)) if found else float("nan")


def main() -> None:
    """Run trials or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "page"))
    parser.add_argument("cells", nargs="*", metavar="CELL", help=f"by default {', '.join(TUNED)}")
    parser.add_argument("--seeds", default="10-11")
    parser.add_argument("--jobs", type=int, default=1, help="worlds at a time, a process each")
    parser.add_argument("--root", type=Path, default=Path("runs/tuning"))
    given = parser.parse_args()
    if unknown := set(given.cells) - set(TUNED):
        parser.error(f"no cell to tune is called {', '.join(sorted(unknown))}; there are {', '.join(TUNED)}")
    if given.what == "page":
        sys.stdout.write(page(given.root))
        return
    if DATA not in os.environ:
        parser.error(f"set {DATA} to the folder of the data")
    wanted = trials(given.cells or TUNED, seeds_from(given.seeds))
    pool = joblib.Parallel(n_jobs=given.jobs, return_as="generator_unordered")
    for told in pool(joblib.delayed(Trial.play)(trial, given.root) for trial in wanted):
        print(told, flush=True)


if __name__ == "__main__":
    main()

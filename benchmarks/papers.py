"""The papers' experiments, run cell by cell and set beside the papers' own numbers.

    EDGESIM_DATA=FOLDER python benchmarks/papers.py run [CELL...] [--seeds 0-2] [--jobs 2] [--full]
    EDGESIM_DATA=FOLDER python benchmarks/papers.py run CELL --learners ideal,fedavg
    python benchmarks/papers.py figures --out docs/figures
    python benchmarks/papers.py page > docs/results.md
    python benchmarks/papers.py keep [CELL...]      # finished runs as archives in benchmarks/papers_kept
    python benchmarks/papers.py restore             # and back, below runs/papers, what is not there

``papers.yaml`` says what each cell is, what its small form (the default) changes, and what the paper reports. Each
learner of a cell at a seed is a run folder of its own below ``runs/papers``; what is done there is not done again, so
one can stop and go on, and a learner that is added later is all that is run. The same world in two cells (an ablation's
whole method, a sensitivity's usual value) is played once and copied. They share pretraining by the user's cache.
``page`` writes what is there, ``figures`` draws the pictures that the page shows.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

import joblib
from paper_page import CELLS, DATA, LEFT_OUT, Task, draw, keep, page, restore, same_run, scenario_of, seeds_from, tasks

from edgesim.errors import RunningElsewhere, UserError
from edgesim.run_folder import identity, remove
from edgesim.simulation import load_scenario, prepare, run

KEPT = Path(__file__).with_name("papers_kept")
"""The runs that ``docs/results.md`` is written from."""


def play(task: Task, root: Path) -> tuple[bool, str]:
    """Run one task unless it is done; whether it is done now, and what to say of it."""
    folder = task.folder(root)
    if task.is_done(root):
        return True, f"{folder}: was done"
    if folder.exists():
        try:
            remove(folder)  # it was stopped
        except RunningElsewhere as error:
            return False, f"not run: {error}"
    # A path that the scenario names and its small form replaces is never read.
    for name in (DATA, "EDGESIM_HAR"):
        os.environ.setdefault(name, "/nowhere")
    began = time.perf_counter()
    try:  # the code is our own: paper_models
        scenario = load_scenario(scenario_of(task.cell), overrides=task.overrides())
        ready = prepare(scenario, seeds=[task.seed], learners=[task.learner], allow_code=True)
    except UserError as error:  # a file that not everybody has: the other cells go on
        return False, f"{folder}: not run: {error}"
    same = same_run(root, identity(ready.scenario, ready.seeds, ready.facts, timing_only=False))
    if same is not None:
        shutil.copytree(same, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
        return True, f"{folder}: is {same}"
    run(scenario, seeds=[task.seed], learners=[task.learner], out=folder, allow_code=True)
    return True, f"{folder}: {time.perf_counter() - began:.0f} s"


def main() -> None:
    """Run cells, draw figures or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "figures", "page", "list", "keep", "restore"))
    parser.add_argument("cells", nargs="*", metavar="CELL", help="by default all")
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--learners", help="of each cell, by default all: labels with commas between them")
    parser.add_argument("--jobs", type=int, default=1, help="worlds at a time, a process each")
    parser.add_argument("--full", action="store_true", help="the published protocol instead of the small form")
    parser.add_argument("--root", type=Path, default=Path("runs/papers"))
    parser.add_argument("--out", type=Path, default=Path("docs/figures"), help="where figures are written")
    given = parser.parse_args()
    if unknown := set(given.cells) - set(CELLS):
        parser.error(f"no cell is called {', '.join(sorted(unknown))}; there are {', '.join(CELLS)}")
    if given.what == "page":
        sys.stdout.write(page(given.root))
        return
    if given.what == "figures":
        for file in draw(given.root, given.out):
            print(file)
        return
    if given.what in ("keep", "restore"):
        for path in keep(given.root, given.cells or CELLS, KEPT) if given.what == "keep" else restore(KEPT, given.root):
            print(path)
        return
    wanted = list(tasks(given.cells or list(CELLS), seeds_from(given.seeds), given.full))
    if given.learners:
        labels = given.learners.split(",")
        if unknown := set(labels) - {task.learner for task in wanted}:
            parser.error(f"none of these cells has a learner {', '.join(sorted(unknown))}")
        wanted = [task for task in wanted if task.learner in labels]
    if given.what == "list":
        for task in wanted:
            print(task.command())
        return
    if DATA not in os.environ:
        parser.error(f"set {DATA} to the folder of the data")
    pool = joblib.Parallel(n_jobs=given.jobs, return_as="generator_unordered")
    all_done = True
    for is_run, told in pool(joblib.delayed(play)(task, given.root) for task in wanted):
        print(told, flush=True)
        all_done &= is_run
    if not all_done:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

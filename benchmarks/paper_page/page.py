"""The page itself: an overview, a section a cell, what has not been run."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import analysis

from .cells import CELLS, Cell, loaded
from .figures import CURVES, SIZES, file_of
from .over_time import continuous, update
from .step import mean_ratios, overview, step
from .variants import ablation, sensitivity, sizes

HEADER = """<!-- written by `python benchmarks/papers.py page > docs/results.md` after `papers.py restore` -->
# Measured against the papers

What comes out beside what the papers report, cell by cell. `benchmarks/papers.yaml` says what each cell changes in its
scenario of `scenarios/papers/`; a cell is run by

    EDGESIM_DATA=FOLDER python benchmarks/papers.py run CELL

and the tables that the runs here left are in `benchmarks/papers_kept/`, for other questions than these:
`python benchmarks/papers.py restore`, then `edgesim report runs/papers/small/CELL/all/seed-0/LEARNER`, or pandas.

Numbers are means over seeds with 95 % intervals (Student's t). "Tied" is a difference whose interval contains 0 and
that is at most a point. The small form has fewer devices, rounds and samples and narrower networks than the papers: its
accuracies are lower throughout, and it is the differences between methods that can be compared.

Bytes are those to and from the devices that take part in a round, both ways; what FedAvg and HeteroFL send to all other
devices to serve with stands apart. Where a method had the target at time 0, or was never better than then by two
standard errors of its test samples, there is no ratio (n/a). A model's numbers are the weights and running statistics
that a device serves with, ECLM's selector among them; what it takes to train is the most memory of a device's training,
with the share of its framework. A layer's load entropy is 1 where its modules are used alike and 0 where one of them
gets everything.

What favours or hinders a method, and is none of the papers' protocols: in the cells with images the classes of a
device are just those of one of ECLM's sub-tasks (classes drawn freely leave its modules less to specialise in). How
many modules are active, how many a sub-task gets, how large sub-models may be, and in CIFAR-100 whether shared parts
stay on devices, was chosen for ECLM cell by cell, and every method's optimizer: all on seeds 10 and 11 and images
held out (`docs/tuning.md` has the grid that all methods get, for HAR). Half of HeteroFL's devices have half the width,
though all could hold the whole. All devices are alike and have one limit to the size of sub-models (rows have drawn
ones, and HAR's `eclm_transfer_budget` has sizes by bandwidth), where ECLM's paper draws budgets from AI-Benchmark's
statistics. Before the start, on the cloud's data and besides what everybody's network has cost, ECLM
computes as much again or more (see the tables): it begins with two to four times of what devices alone, FedAvg and no
adaptation begin with. How many passes a device makes over its data differs, too: ten at once where devices are alone
and for AdaptiveNet, three a round for the others, which comes to 13 to 18 in the cells with images and to 30 in HAR;
the row `on_device_twenty_epochs` is there for that.

ECLM's sub-models save bytes more than memory or computation. By counted FLOPs a pass over a sub-model costs 0.7 (HAR),
1.2 to 1.5 (small VGG-16) and 0.9 to 1.6 times (full VGG-16 and ResNet-18) what the unmodularised network costs; with
the narrow networks of the small form training takes as much memory as that network's, and a third or more of the
numbers that a device serves with are the selector's."""

_KINDS: Mapping[str, Callable[[str, Cell, Mapping[str, analysis.Run]], str]] = {
    "step": step,
    "ablation": ablation,
    "sensitivity": sensitivity,
    "sizes": sizes,
    "continuous": continuous,
    "update": update,
}


def page(root: Path, cells: Mapping[str, Cell] = CELLS) -> str:
    """``docs/results.md``: what has been run below ``root``, beside the papers."""
    parts = [HEADER]
    for full, title in ((False, "Small form"), (True, "Full protocol")):
        found = {name: runs for name, cell in cells.items() if (runs := loaded(root, name, cell, full))}
        if found:
            machine = _machine([run for runs in found.values() for run in runs.values()])
            parts += [f"# {title}\n\n{machine}", *_sections(cells, found, full)]
        if missing := [name for name in cells if name not in found]:
            said = ", ".join(f"`{name}`" for name in missing)
            parts.append(f"Not run, or not with all learners at any seed ({title.lower()}): {said}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _sections(cells: Mapping[str, Cell], found: Mapping[str, Mapping[str, analysis.Run]], full: bool) -> list[str]:
    steps = [(name, cells[name], runs[""]) for name, runs in found.items() if cells[name]["kind"] == "step"]
    parts = [overview(steps)] if steps else []
    if steps:
        parts.append(f"![Accuracy over time in each of these cells](figures/{file_of(CURVES, full)})")
    for name, runs in found.items():
        parts.append(_KINDS[cells[name]["kind"]](name, cells[name], runs))
        if cells[name]["kind"] == "sizes":
            parts.append(f"![Accuracy of sub-models against their size](figures/{file_of(SIZES, full)})")
        if "note" in cells[name] and not full:
            parts.append(cells[name]["note"].strip())
    return [*parts, mean_ratios(steps)]


def _machine(runs: Sequence[analysis.Run]) -> str:
    manifests = [manifest for one in runs for manifest in one.manifests]
    cpu = {manifest["cpu_capability"] for manifest in manifests}
    wall_s = sum(float(manifest["wall_s"]) for manifest in manifests)
    return (
        f"{len(manifests)} runs, {wall_s / 60:.0f} minutes of wall time in all on {', '.join(sorted(cpu))}, "
        f"one thread a job; Python {platform.python_version()}."
    )

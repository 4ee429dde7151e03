"""ECLM against itself: parts left out, one number varied, sub-models of several sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import analysis
from analysis.intervals import Interval, mean_interval, paired_difference

from .cells import Cell
from .text import EVENNESS, average, by_seed, evenness, heading, judged, numbers_served, percent, points, table
from .traffic import bytes_of_rounds


def ablation(name: str, cell: Cell, runs: Mapping[str, analysis.Run]) -> str:
    """What each part of ECLM is worth."""
    (run,) = runs.values()
    at_end = by_seed(run, "horizon_accuracy")
    rows = [
        [
            f"`{learner}`",
            average(at_end[learner]),
            judged(paired_difference(at_end, learner, "eclm")) if learner != "eclm" else "",
            _megabytes(run, learner),
            evenness(run, learner),
        ]
        for learner in run.learners
    ]
    header = ["method", "accuracy at the end, %", "against ECLM, points", "MB up and down", EVENNESS]
    return f"{heading(name, cell, [run])}\n\n{table(header, rows)}"


def sensitivity(name: str, cell: Cell, runs: Mapping[str, analysis.Run]) -> str:
    """One number varied."""
    paper = {str(point): value for point, value in cell.get("paper", {}).items()}
    rows = [
        [
            point,
            f"`{learner}`",
            average(by_seed(run, "horizon_accuracy")[learner]),
            _megabytes(run, learner),
            f"{paper[point]:.2f}" if point in paper else "",
            evenness(run, learner),
        ]
        for point, run in runs.items()
        for learner in run.learners
    ]
    header = ["value", "method", "accuracy at the end, %", "MB up and down", "paper, %", EVENNESS]
    return f"{heading(name, cell, list(runs.values()))}\n\n{table(header, rows)}"


@dataclass(frozen=True)
class Sized:
    """Sub-models of one point: how large, and how accurate with and without ability-enhancing training.

    Attributes
    ----------
    point
        The most that a sub-model may have of all parameters.
    sizes
        Numbers in a device's sub-model at the end, mean over devices and seeds: with, without.
    accuracies
        At the end: with, without.
    of_seeds
        Those of each seed: with, without.
    gain
        With less without, paired by seeds.
    """

    point: str
    sizes: tuple[float, float]
    accuracies: tuple[Interval, Interval]
    of_seeds: tuple[list[float], list[float]]
    gain: Interval


def sized(cell: Cell, runs: Mapping[str, analysis.Run]) -> list[Sized]:
    """What a cell of sizes has shown, in the order of its points; its learners are ``with`` and ``without``."""
    learners = tuple(cell["learners"])
    with_it, without = learners
    found = []
    for point, run in runs.items():
        at_end, held = by_seed(run, "horizon_accuracy"), numbers_served(run)
        found.append(
            Sized(
                point,
                (held[with_it], held[without]),
                (mean_interval(at_end[with_it]), mean_interval(at_end[without])),
                (at_end[with_it].tolist(), at_end[without].tolist()),
                paired_difference(at_end, with_it, without),
            )
        )
    return found


def sizes(name: str, cell: Cell, runs: Mapping[str, analysis.Run]) -> str:
    """Accuracy of sub-models against their size, with and without ability-enhancing training."""
    found = sized(cell, runs)
    rows = [
        [
            one.point,
            f"{one.sizes[0] / 1e3:.1f}",
            percent(one.accuracies[0]),
            f"{one.sizes[1] / 1e3:.1f}",
            percent(one.accuracies[1]),
            judged(one.gain),
        ]
        for one in found
    ]
    header = [
        "at most",
        "thousand numbers with",
        "accuracy with, %",
        "thousand numbers without",
        "accuracy without, %",
        "gain, points",
    ]
    mean = points(mean_interval([one.gain.value for one in found])).split(" (")[0]
    return (
        f"{heading(name, cell, list(runs.values()))} Sub-models as they come from the cloud, not trained on devices, "
        "with and without ability-enhancing training. A sub-model's numbers are its weights, its running statistics "
        f"and the selector.\n\n{table(header, rows)}\n\nMean gain over the sizes: {mean} points."
        + (f" {str(cell['paper']).strip()}" if "paper" in cell else "")
    )


def _megabytes(run: analysis.Run, learner: str) -> str:
    return f"{bytes_of_rounds(run, learner) / 1e6:.1f}"

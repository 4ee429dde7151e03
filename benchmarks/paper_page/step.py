"""One adaptation step: accuracy at the end, bytes on the way, and the overview of all such cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

import analysis
from analysis.intervals import paired_difference

from .cells import Cell
from .text import (
    EVENNESS,
    average,
    by_seed,
    evenness,
    heading,
    judged,
    numbers_served,
    offline_flops,
    points,
    table,
    training_memory_bytes,
)
from .traffic import compare, compare_halfway, halfway_section, section


def step(name: str, cell: Cell, runs: Mapping[str, analysis.Run]) -> str:
    """Every method's accuracy at the end beside the paper's, and bytes until a common target."""
    (run,) = runs.values()
    at_end, paper, served = by_seed(run, "horizon_accuracy"), cell["paper"], numbers_served(run)
    memory, offline = training_memory_bytes(run), offline_flops(run)
    rows = []
    for learner in run.learners:
        reported = learner in paper
        rows.append(
            [
                f"`{learner}`",
                average(at_end[learner]),
                judged(paired_difference(at_end, "eclm", learner)) if learner != "eclm" else "",
                f"{paper[learner]:.2f}" if reported else "",
                f"{paper['eclm'] - paper[learner]:+.2f}" if reported and learner != "eclm" else "",
                f"{served[learner] / 1e3:.0f}" if learner in served else "",
                f"{memory[learner] / 1e6:.1f}" if learner in memory else "",
                f"{offline[learner] / 1e12:.2f}" if learner in offline else "",
                evenness(run, learner),
            ]
        )
    header = [
        "method",
        "accuracy at the end, %",
        "ECLM's lead, points",
        "paper, %",
        "its ECLM's lead",
        "thousand numbers a model",
        "MB to train",
        "TFLOP before the start",
        EVENNESS,
    ]
    said = [heading(name, cell, [run]), table(header, rows)]
    if "no_adaptation" in run.learners:
        said.append(halfway_section(compare_halfway(run)))
    said.append(section(compare(run), cell.get("paper_bytes", {})))
    return "\n\n".join(part for part in said if part)


def overview(cells: Sequence[tuple[str, Cell, analysis.Run]]) -> str:
    """A row a cell: ECLM against the best of the others and against no adaptation, here and in the paper."""
    rows = []
    for name, cell, run in cells:
        at_end, paper = by_seed(run, "horizon_accuracy"), cell["paper"]
        others = [learner for learner in run.learners if learner in paper and learner != "eclm"]
        best = str(at_end[others].mean().idxmax())
        theirs = max((learner for learner in paper if learner != "eclm"), key=lambda learner: float(paper[learner]))
        gained = paired_difference(at_end, "eclm", "no_adaptation") if "no_adaptation" in at_end else None
        rows.append(
            [
                f"`{name}`",
                average(at_end["eclm"]),
                f"`{best}` {average(at_end[best])}",
                judged(paired_difference(at_end, "eclm", best)),
                f"`{theirs}`: {paper['eclm'] - paper[theirs]:+.2f}",
                "" if gained is None else points(gained),
                f"{paper['eclm'] - paper['no_adaptation']:+.2f}",
            ]
        )
    header = [
        "cell",
        "ECLM, %",
        "best of the paper's others, %",
        "ECLM's lead, points",
        "paper: best of the others, ECLM's lead",
        "over no adaptation, points",
        "paper",
    ]
    return f"## Overview\n\n{table(header, rows)}"


def mean_ratios(cells: Sequence[tuple[str, Cell, analysis.Run]]) -> str:
    """How many times ECLM's bytes the others need, on average over the cells with images; empty without any."""
    images = [(name, cell, compare(run)) for name, cell, run in cells if _reads_images(run)]
    halfway = [compare_halfway(run) for _, _, run in cells if _reads_images(run) and "no_adaptation" in run.learners]
    said = []
    for learner, title in (("fedavg", "FedAvg"), ("heterofl", "HeteroFL")):
        of_cells = {name: found[learner].ratio(learner) for name, _, found in images if learner in found}
        known = {name: ratio for name, ratio in of_cells.items() if not math.isnan(ratio)}
        if not of_cells:
            continue
        theirs = [
            float(cell["paper_bytes"][learner]) for _, cell, _ in images if learner in cell.get("paper_bytes", {})
        ]
        whole = np.mean([found[learner].total_ratio(learner) for _, _, found in images if learner in found])
        least = [times for one in halfway if learner in one.spent for times in one.at_least(learner) if times > 0]
        seeds = sum(found[learner].seeds_with_ratio(learner) for name, _, found in images if name in known)
        without = [f"`{name}`" for name in of_cells if name not in known]
        common = "there is no accuracy that it and ECLM both came to from below"
        if known:
            mean = f"{np.mean(list(known.values())):.2f}"
            common = f"to an accuracy that both come to from below {mean} times ({seeds} seeds in all"
            common += f"; none in {', '.join(without)})" if without else ")"
        said.append(
            f"{title} needs, in the cells with images, "
            + (f"to half of ECLM's gain at least {min(least):.2f} times its bytes at each seed; " if least else "")
            + f"in whole runs of equally many rounds {whole:.2f} times; {common}"
            + (f". The paper in these cells: {np.mean(theirs):.2f} times." if theirs else ".")
        )
    return "\n\n".join(["## Bytes over the cells with images", *said]) if said else ""


def _reads_images(run: analysis.Run) -> bool:
    return str(run.manifest["scenario"]["model"]["name"]) != "mlp"

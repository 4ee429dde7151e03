"""What is ranked and set side by side: rivals only, at the seeds that all of them have."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from written_runs import WrittenRun

import analysis
from analysis.figures import plot_pareto

SEEDS = (0, 1, 2)


def stopped(folder: Path, accuracies: Mapping[tuple[str, int], int | None], **learners: bool) -> analysis.Run:
    """One device, some (learner, seed) worlds that are done and none of the others; all learners send alike."""
    names = dict.fromkeys((learner for learner, _ in accuracies), False) | learners
    run = WrittenRun(folder, learners=names, seeds=SEEDS)
    for (learner, seed), correct in accuracies.items():
        run[learner, seed].accuracy("x", 0, correct)
        run[learner, seed].send("x", 0, 1, 1000)
        run.manifest["worlds"].append({"learner": learner, "seed": seed, "frontier_s": 100.0})
    run._write_manifest()
    return analysis.load(run.kill())


EASY = {("a", 0): 50, ("a", 1): 50, ("a", 2): 90, ("b", 0): 60, ("b", 1): 61}
"""b is better at both seeds that it has; the third is easy, and only a has it."""


def test_the_most_accurate_learner_is_found_at_the_seeds_that_all_have(tmp_path: Path) -> None:
    comparison = analysis.compare([stopped(tmp_path, EASY)])
    said = comparison.sentences()
    assert any(sentence.startswith("b was the most accurate: right 60.5 %") for sentence in said)
    assert (
        "Not all learners have all seeds: which one is the most accurate, ranks and fronts go by the 2 seeds that all "
        "have, other numbers by every seed of a learner."
    ) in said
    assert "Accuracy against a: b +10.5 points (+4.1 to +16.9: better)." in said


def test_ranks_and_fronts_go_by_the_seeds_that_all_have(tmp_path: Path) -> None:
    run = stopped(tmp_path, EASY)
    comparison = analysis.compare([run])
    rows = comparison.table[comparison.table["metric"] == "accuracy"].set_index("learner")
    assert rows["rank"].to_dict() == {"a": 2, "b": 1}
    assert rows["value"].to_dict() == pytest.approx({"a": 190 / 300, "b": 0.605})  # of all seeds of each
    assert comparison.scenarios[0].pareto["both_ways_bytes"].to_dict() == {"a": False, "b": True}
    dotted = [line for line in plot_pareto(run).axes[0].get_lines() if line.get_linestyle() == ":"]
    assert np.asarray(dotted[0].get_ydata(), float).tolist() == [0.605]


def test_the_difference_that_a_sentence_tells_is_at_these_seeds_too(tmp_path: Path) -> None:
    # of the seeds that c has, b is better; at the third, a is by far
    three = {
        ("a", 0): 50,
        ("a", 1): 50,
        ("a", 2): 90,
        ("b", 0): 60,
        ("b", 1): 61,
        ("b", 2): 10,
        ("c", 0): 5,
        ("c", 1): 6,
    }
    said = analysis.compare([stopped(tmp_path, three)]).sentences()
    assert any("b was the most accurate" in sentence and "10.5 points" in sentence for sentence in said)


def test_a_seed_whose_accuracy_was_not_computed_is_not_one_that_all_have(tmp_path: Path) -> None:
    part = analysis.compare([stopped(tmp_path, {**EASY, ("b", 2): None})]).scenarios[0]
    assert part.common_seeds == [0, 1]


def test_learners_without_a_common_seed_are_said_to_have_none(tmp_path: Path) -> None:
    comparison = analysis.compare([stopped(tmp_path, {("a", 0): 50, ("b", 1): 60})])
    said = " ".join(comparison.sentences())
    assert "No seed is one of all learners" in said
    assert "b had the highest accuracy" in said
    assert comparison.scenarios[0].common_seeds == []


def test_learners_with_the_same_seeds_need_no_such_note(tmp_path: Path) -> None:
    same = {(learner, seed): 50 + seed for learner in ("a", "b") for seed in SEEDS}
    said = " ".join(analysis.compare([stopped(tmp_path, {**same, ("told", 0): 99}, told=True)]).sentences())
    assert "seeds that all have" not in said
    assert "No seed" not in said


def test_oracles_have_no_rank_and_are_no_default_baseline(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, learners={"told": True, "a": False, "b": False})
    for learner, correct in (("told", 99), ("a", 80), ("b", 70)):
        run[learner, 0].accuracy("x", 0, correct)
    comparison = analysis.compare([run.close()])
    rows = comparison.table[comparison.table["metric"] == "accuracy"].set_index("learner")
    assert math.isnan(rows.loc["told", "rank"])
    assert rows["rank"].dropna().to_dict() == {"a": 1, "b": 2}
    assert comparison.scenarios[0].baseline == "a"
    told = json.loads(comparison.to_json())["estimates"][0]
    assert (told["learner"], told["rank"]) == ("told", None)


def test_oracles_among_themselves_are_ranked(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, learners={"one": True, "two": True})
    for learner, correct in (("one", 80), ("two", 90)):
        run[learner, 0].accuracy("x", 0, correct)
    comparison = analysis.compare([run.close()])
    rows = comparison.table[comparison.table["metric"] == "accuracy"].set_index("learner")
    assert (rows["rank"].to_dict(), comparison.scenarios[0].baseline) == ({"one": 2, "two": 1}, "one")

"""Learners side by side: differences, ranks, fronts, and sentences that say no more than the numbers."""

from __future__ import annotations

import csv
import doctest
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest
from written_runs import WrittenRun

import analysis
from analysis import formatting, intervals
from analysis.comparison import pareto_front
from edgesim.errors import UserError


def run_of(
    folder: Path, accuracies: Mapping[str, Sequence[int]], *, sent: Mapping[str, int] | None = None, **options: object
) -> WrittenRun:
    """One device; each learner's accuracy (in %) at each seed, and the bytes that it sends."""
    seeds = range(len(next(iter(accuracies.values()))))
    options.setdefault("learners", list(accuracies))
    run = WrittenRun(folder, seeds=list(seeds), **options)  # type: ignore[arg-type]
    for learner, numbers in accuracies.items():
        for seed, correct in enumerate(numbers):
            run[learner, seed].accuracy("x", 0, correct)
            if sent:
                run[learner, seed].send("x", 0, 1, sent[learner])
    return run


FIVE = {
    "no_adaptation": (60, 50, 70, 40, 65),
    "better": (70, 61, 79, 51, 75),  # +10, +11, +9, +11, +10
    "tied": (61, 50, 69, 40, 65),  # +1, 0, -1, 0, 0
    "undecided": (90, 40, 95, 38, 60),  # +30, -10, +25, -2, -5
    "worse": (50, 39, 61, 29, 55),
}


def rows(comparison: analysis.Comparison, metric: str) -> pd.DataFrame:
    table = comparison.table
    return table[table["metric"] == metric].set_index("learner")


def test_learners_are_compared_with_the_baseline_at_the_same_seeds(tmp_path: Path) -> None:
    found = rows(analysis.compare([run_of(tmp_path, FIVE).close()]), "accuracy")
    assert found["verdict"].to_dict() == {name: name for name in FIVE} | {"no_adaptation": "baseline"}
    assert found.loc["better", "difference"] == pytest.approx(0.102)
    # t(4) = 2.7764, standard deviation of the five differences 0.00837
    assert found.loc["better", "difference_high"] == pytest.approx(0.102 + 2.7764451 * 0.0083666 / math.sqrt(5), 1e-5)
    assert math.isnan(found.loc["no_adaptation", "difference"])


def test_for_costs_less_is_better(tmp_path: Path) -> None:
    sent = {"a": 1000, "cheap": 10, "dear": 5000, "same": 1000}
    run = run_of(tmp_path, dict.fromkeys(sent, (80, 81, 82)), sent=sent)
    found = rows(analysis.compare([run.close()]), "up_bytes")
    assert found["verdict"].to_dict() == {"a": "baseline", "cheap": "better", "dear": "worse", "same": "tied"}
    assert found["rank"].to_dict() == {"cheap": 1, "a": 2, "same": 2, "dear": 4}


def test_the_baseline_is_no_adaptation_or_the_first_or_the_one_asked_for(tmp_path: Path) -> None:
    one = run_of(tmp_path / "one", {"a": (80,), "no_adaptation": (70,)}).close()
    two = run_of(tmp_path / "two", {"a": (80,), "b": (70,)}, name="other").close()
    assert [part.baseline for part in analysis.compare([one, two]).scenarios] == ["no_adaptation", "a"]
    assert [part.baseline for part in analysis.compare([two], baseline="b").scenarios] == ["b"]
    with pytest.raises(UserError, match="paper has no learner 'c'; it has a, no_adaptation"):
        analysis.compare([one], baseline="c")


def test_an_unknown_metric_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no metric 'speed'; known are accuracy, worst_device_accuracy"):
        analysis.compare([run_of(tmp_path, {"a": (80,)}).close()], metrics=["speed"])


def test_with_one_seed_nothing_is_called_better(tmp_path: Path) -> None:
    comparison = analysis.compare([run_of(tmp_path, {"a": (60,), "b": (90,)}).close()])
    assert rows(comparison, "accuracy")["verdict"].to_dict() == {"a": "baseline", "b": "one seed"}
    said = " ".join(comparison.sentences())
    assert "With one seed nothing can be said about chance" in said
    assert "b had the highest accuracy over time and devices at this seed, 90.0 %; a had 30.0 points less." in said
    assert "better" not in said
    assert "interval" not in said


def test_a_clear_winner_is_named_with_its_interval(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"a": (60, 61, 62), "b": (70, 72, 73)})
    said = analysis.compare([run.close()]).sentences()
    assert (
        "b was the most accurate: right 71.7 % (95 % interval 67.9 to 75.5 %) of the time over all devices, "
        "10.7 points (+9.2 to +12.1) more than a, the next."
    ) in said
    assert "Accuracy against a: b +10.7 points (+9.2 to +12.1: better)." in said


def test_a_tie_is_called_a_tie_and_an_open_question_undecided(tmp_path: Path) -> None:
    tie = analysis.compare([run_of(tmp_path / "tie", {n: FIVE[n] for n in ("no_adaptation", "tied")}).close()])
    assert any("are tied in accuracy: the difference is 0" in sentence for sentence in tie.sentences())
    open_ = {n: FIVE[n] for n in ("no_adaptation", "undecided")}
    undecided = analysis.compare([run_of(tmp_path / "open", open_).close()]).sentences()
    assert any("whether it is better than no_adaptation is undecided" in sentence for sentence in undecided)


def test_oracles_are_bounds_and_beat_nobody(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, learners={"told": True, "a": False, "b": False})
    for learner, level in (("told", 99), ("a", 80), ("b", 70)):
        run[learner, 0].accuracy("x", 0, level)
        run[learner, 0].send("x", 0, 1, level)
    comparison = analysis.compare([run.close()])
    part = comparison.scenarios[0]
    assert part.run.rivals == ["a", "b"]
    assert part.pareto["both_ways_bytes"].to_dict() == {"told": False, "a": True, "b": True}
    said = " ".join(comparison.sentences())
    assert "a had the highest accuracy" in said
    assert "By these estimates, oracles apart, no other learner is both more accurate and cheaper in bytes than" in said
    alone = WrittenRun(tmp_path / "alone", learners={"told": True})
    alone["told", 0].accuracy("x", 0, 99)
    assert analysis.load(alone.close()).rivals == ["told"]


def test_oracles_are_marked_wherever_they_are_shown(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"a": (60,), "told": (90,)}, learners={"a": False, "told": True})
    comparison = analysis.compare([run.close()])
    assert rows(comparison, "accuracy")["oracle"].to_dict() == {"a": False, "told": True}
    for text in (comparison.to_text(), comparison.to_markdown(), comparison.to_latex()):
        assert "told *" in text
        assert "oracle" in text
    assert any("told the true instant of every drift, which no detector is" in s for s in comparison.sentences())


def test_an_unfinished_learner_is_not_compared_in_silence(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"a": (60,), "b": (90,)})
    run["b", 0].accuracy("x", 30, 80, cause="deployment")
    said = analysis.compare([run.kill()]).sentences()
    assert "b is not finished: its numbers end at 30 s and do not compare with longer ones." in said


def test_without_test_samples_it_is_said_that_accuracy_was_not_measured(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, learners=("a", "b"))
    for learner in ("a", "b"):
        run[learner, 0].accuracy("x", 0, None)
    run.manifest["scenario"]["data"] = {"test_samples": 0}
    said = analysis.compare([run.close()]).sentences()
    assert "Without test samples (`data.test_samples: 0`), accuracy was not measured." in said


def test_timing_only_says_that_nothing_was_trained(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, timing_only=True, learners=("a", "b"))
    for learner in ("a", "b"):
        run[learner, 0].accuracy("x", 0, None)
    comparison = analysis.compare([run.close()])
    assert "Timing only: nothing was trained, so accuracy and recovery were not measured." in comparison.sentences()
    assert "-: not measured" in comparison.to_text()


def test_an_empty_run_is_shown_without_a_traceback(tmp_path: Path) -> None:
    for folder in (WrittenRun(tmp_path / "done").close(), WrittenRun(tmp_path / "killed").kill()):
        comparison = analysis.compare([folder])
        for text in (comparison.to_text(), comparison.to_markdown(), comparison.to_latex(), comparison.to_csv()):
            assert text
        assert json.loads(comparison.to_json())["sentences"] == comparison.sentences()
    assert comparison.sentences() == ["Nothing was run."]


def test_recovery_is_told_with_those_that_never_were(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, learners=("stays", "learns"))
    for learner, after in (("stays", 60), ("learns", 90)):
        world = run[learner, 0]
        world.accuracy("x", 0, 90)
        world.drift("x", 40, 1)
        world.accuracy("x", 40, 60, cause="drift")
        world.accuracy("x", 52, after, cause="deployment")
    said = " ".join(analysis.compare([run.close()]).sentences())
    assert "learns 12 s; stays less than half while watched, 100.0 % not while watched." in said


def test_trouble_is_reported(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"a": (60,), "b": (60,)})
    run["b", 0].job("x", 0, 0, status="out_of_memory")
    run["a", 0].send("x", 0, 1, 900, sent_bytes=450, status="cut")
    said = analysis.compare([run.close()]).sentences()
    assert "Jobs that did not fit into memory: b 1." in said
    assert "Bytes sent in vain: a 450 B." in said


def test_the_pareto_front_holds_what_nobody_beats_in_both() -> None:
    values = pd.DataFrame(
        {"gain": [0.9, 0.8, 0.8, 0.7, 0.9, math.nan], "cost": [9.0, 5.0, 6.0, 5.0, 9.0, 1.0]}, index=list("abcdef")
    )
    assert pareto_front(values, "gain", "cost") == [
        "a",
        "b",
        "e",
    ]  # equal ones stay; what is not measured takes no part


def test_the_front_of_a_cost_that_was_not_measured_is_empty(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"a": (60,), "b": (90,)}, sent={"a": 10, "b": 20})
    front = analysis.compare([run.close()]).scenarios[0].pareto
    assert front["both_ways_bytes"].tolist() == [True, True]
    assert not front["energy_j"].any()


def test_the_table_for_a_terminal_shows_intervals_below_the_numbers(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"a": (60, 61, 62), "b": (70, 72, 73)}, sent={"a": 10, "b": 2000})
    shown = analysis.compare([run.close()], metrics=["accuracy", "worst_device_accuracy", "up_bytes", "energy_j"])
    assert shown.to_text().splitlines()[:8] == [
        "paper: 3 seeds, 100 s",
        "",
        "                              worst",
        "learner      accuracy        device    up  energy",
        "a              61.0 %        61.0 %  10 B       -",
        "         58.5 to 63.5  58.5 to 63.5",
        "b              71.7 %        71.7 %  2 kB       -",
        "         67.9 to 75.5  67.9 to 75.5",
    ]


def test_a_wide_table_is_broken_to_the_width_of_the_terminal(tmp_path: Path) -> None:
    comparison = analysis.compare([run_of(tmp_path, {"a": (60,), "quite_a_long_label": (90,)}).close()])
    for width in (60, 80, 120):
        lines = comparison.to_text(width).splitlines()
        assert max(map(len, lines)) <= width
    assert sum(line.startswith("quite_a_long_label") for line in comparison.to_text(60).splitlines()) >= 3


def test_csv_holds_every_metric_of_every_learner(tmp_path: Path) -> None:
    comparison = analysis.compare([run_of(tmp_path, {"a": (60,), "b": (90,)}).close()])
    records = list(csv.DictReader(io.StringIO(comparison.to_csv())))
    assert len(records) == 2 * len(analysis.METRICS)
    assert {record["learner"] for record in records} == {"a", "b"}
    assert float(records[0]["value"]) == 0.6
    assert next(record["value"] for record in records if record["metric"] == "energy_j") == ""


def test_json_is_strict_and_tells_missing_from_not_reached(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"a": (60,)})
    run["a", 0].drift("x", 40, 1)
    run["a", 0].accuracy("x", 40, 10, cause="drift")
    document = json.loads(analysis.compare([run.close()]).to_json(), parse_constant=pytest.fail)
    values = {row["metric"]: row["value"] for row in document["estimates"]}
    assert values["recovery_s"] == "inf"
    assert values["energy_j"] is None
    assert values["up_bytes"] == 0.0


def test_markdown_is_a_table_with_intervals_in_brackets(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"a_b": (60, 61, 62), "b|c": (70, 72, 73)})
    text = analysis.compare([run.close()], metrics=["accuracy", "up_bytes"]).to_markdown()
    assert text.splitlines()[:6] == [
        "## paper: 3 seeds, 100 s",
        "",
        "| learner | accuracy | up |",
        "| --- | --- | --- |",
        "| a_b | 61.0 % [58.5 to 63.5] | 0 B |",
        "| b\\|c | 71.7 % [67.9 to 75.5] | 0 B |",
    ]


def test_latex_is_escaped_and_uses_booktabs(tmp_path: Path) -> None:
    text = analysis.compare([run_of(tmp_path, {"a_b": (60, 61, 62)}).close()], metrics=["accuracy"]).to_latex()
    assert text.splitlines()[1:8] == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"learner & accuracy \\",
        r"\midrule",
        r"a\_b & 61.0 \% [58.5 to 63.5] \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_scenarios_are_told_apart_in_every_format(tmp_path: Path) -> None:
    folders = [run_of(tmp_path / name, {"a": (60,)}, name=name).close() for name in ("hills", "plains")]
    comparison = analysis.compare(folders)
    assert set(comparison.table["scenario"]) == {"hills", "plains"}
    assert all(sentence.startswith(("hills: ", "plains: ")) for sentence in comparison.sentences())
    assert "hills: seed 0, 100 s" in comparison.to_text()
    assert "## plains: seed 0, 100 s" in comparison.to_markdown()


def test_loaded_runs_can_be_compared_too(tmp_path: Path) -> None:
    folder = run_of(tmp_path, {"a": (60,), "b": (90,)}).close()
    loaded = analysis.compare([analysis.load(folder)])
    pd.testing.assert_frame_equal(loaded.table, analysis.compare([folder]).table)


@pytest.mark.parametrize("module", [formatting, intervals])
def test_the_examples_in_docstrings_hold(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "bytes", "0 B"),
        (999.9, "bytes", "1 kB"),
        (1536.0, "bytes", "1.54 kB"),
        (119.0, "s", "119 s"),
        (150.0, "s", "2.5 min"),
        (0.0042, "s", "4.2 ms"),
        (3.5e9, "FLOP", "3.5 GFLOP"),
        (1234.5, "J", "1.23 kJ"),
        (1.0, "ratio", "100.0 %"),
        (2.5, "count", "2.5"),
        (0.000412345, "1/h", "0.000412 /h"),
        (1 / 7000, "count", "0.000143"),
        (0.25, "1/h", "0.25 /h"),
        (0.0, "s", "0 s"),
        (math.nan, "J", "-"),
        (math.inf, "s", "not reached"),
    ],
)
def test_numbers_are_written_in_units_that_people_read(value: float, unit: str, text: str) -> None:
    assert formatting.quantity(value, unit) == text  # type: ignore[arg-type]


def test_a_recovery_that_nobody_needed_is_told_from_one_that_nobody_measured(tmp_path: Path) -> None:
    for drift_s, said in (
        (40, "No drift cost any learner enough accuracy to recover from."),
        (0, "Accuracy before the drifts was not measured, so recovery was not either."),
    ):
        run = run_of(tmp_path / str(drift_s), {"a": (60,)})
        run["a", 0].drift("x", drift_s, 1)
        assert said in analysis.compare([run.close()]).sentences()

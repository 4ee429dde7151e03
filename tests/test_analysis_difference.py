"""Two runs side by side: which keys differ, which numbers, and what the seeds of both support."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from written_runs import WrittenRun

import analysis
from analysis.difference import SHOWN, Change, Difference, changes
from analysis.metrics import METRICS
from edgesim.cli import app
from edgesim.tables import TABLES, UserError

# -- documents -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}}, [("a.b", 1, 3)]),
        ({"a": 1}, {"b": 1}, [("a", 1, None), ("b", None, 1)]),
        ({"a": [64]}, {"a": [64, 32]}, [("a", [64], [64, 32])]),
        ({"a": {"steps": {"0 s": 1}}}, {"a": 5}, [("a", {"steps": {"0 s": 1}}, 5)]),
        (
            {"devices": [{"name": "hub", "count": 1}, {"name": "tiny", "count": 2}]},
            {"devices": [{"name": "tiny", "count": 3}, {"name": "new"}]},
            [
                ("devices.hub", {"name": "hub", "count": 1}, None),
                ("devices.tiny.count", 2, 3),
                ("devices.new", None, {"name": "new"}),
            ],
        ),
        ({"outages": [{"at": 1}, {"at": 2}]}, {"outages": [{"at": 1}, {"at": 3}]}, [("outages.1.at", 2, 3)]),
        ({"outages": []}, {"outages": [{"at": 1}]}, [("outages", [], [{"at": 1}])]),
        ({"a": 1}, {"a": True}, [("a", 1, True)]),
    ],
)
def test_keys_that_differ_are_told_by_the_paths_that_set_takes(old: Any, new: Any, found: list[Any]) -> None:
    assert list(changes(old, new)) == [Change(*change) for change in found]


# -- runs ----------------------------------------------------------------------------------------------------------

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a run in which a device has an accuracy a seed, and sends as many kilobytes as that."""

    def made(name: str, correct: Sequence[int], *, first_seed: int = 0, learners: Sequence[str] = ("a",)) -> Path:
        seeds = range(first_seed, first_seed + len(correct))
        run = WrittenRun(tmp_path / name, seeds=seeds, learners=learners)
        for learner in learners:
            for seed, level in zip(seeds, correct, strict=True):
                run[learner, seed].accuracy("d", 0.0, level)
                run[learner, seed].send("d", 0.0, 10.0, 1000 * level)
        return run.close()

    return made


def _metric(difference: Difference, name: str) -> dict[str, Any]:
    (row,) = difference.metrics[difference.metrics["metric"] == name].to_dict(orient="records")
    return dict(row)


def test_numbers_are_compared_seed_by_seed(make: Make) -> None:
    found = _metric(analysis.diff(make("one", [60, 70, 80]), make("two", [62, 74, 86])), "accuracy")
    assert found["old"] == pytest.approx(0.70)
    assert found["new"] == pytest.approx(0.74)
    assert found["difference"] == pytest.approx(0.04)
    half = 4.302653 * 0.02 / math.sqrt(3)  # Student's t, 2 degrees of freedom; the differences are 2, 4 and 6 points
    assert (found["low"], found["high"]) == pytest.approx((0.04 - half, 0.04 + half), abs=1e-6)
    assert (found["pairs"], found["verdict"]) == (3, "undecided")


def test_only_seeds_of_both_count_where_there_are_any(make: Make) -> None:
    """Seeds 1 and 2 are in both; the others are as they would be without them."""
    difference = analysis.diff(make("one", [0, 70, 80]), make("two", [72, 83, 100], first_seed=1))
    found = _metric(difference, "accuracy")
    assert difference.seeds == [1, 2]
    assert (found["old"], found["new"], found["difference"]) == pytest.approx((0.75, 0.775, 0.025))
    assert found["pairs"] == 2
    assert "at the 2 seeds that both runs have, paired" in difference.to_text()


def test_the_seeds_of_both_runs_are_those_of_each_learner(tmp_path: Path) -> None:
    """The second run was stopped: learner b lacks seed 1, where it had been far better."""
    one = WrittenRun(tmp_path / "one", learners=("a", "b"), seeds=(0, 1))
    two = WrittenRun(tmp_path / "two", learners=("a", "b"), seeds=(0, 1))
    for run, levels in (
        (one, {("a", 0): 50, ("a", 1): 60, ("b", 0): 50, ("b", 1): 90}),
        (two, {("a", 0): 50, ("a", 1): 60, ("b", 0): 55}),
    ):
        for (learner, seed), level in levels.items():
            run[learner, seed].accuracy("d", 0.0, level)
            run.manifest["worlds"].append({"learner": learner, "seed": seed, "frontier_s": 100.0})
        run._write_manifest()
    difference = analysis.diff(one.close(), two.kill())
    rows = difference.metrics[difference.metrics["metric"] == "accuracy"].set_index("learner")
    assert (rows.loc["a", "verdict"], rows.loc["a", "pairs"]) == ("same", 2)
    told = rows.loc["b", ["old", "new", "difference", "pairs"]].tolist()
    assert told == pytest.approx([0.5, 0.55, 0.05, 1])
    assert (difference.seeds, difference.seeds_of("b")) == ([0, 1], [0])
    lines = difference.to_text().splitlines()
    assert "a: at the 2 seeds that both runs have, paired" in lines
    assert "b: at the seed 0 that both runs have, paired" in lines


def test_without_a_common_seed_nothing_is_paired(make: Make) -> None:
    difference = analysis.diff(make("one", [60, 70]), make("two", [80, 90], first_seed=5))
    found = _metric(difference, "accuracy")
    assert found["difference"] == pytest.approx(0.2)
    assert math.isnan(found["low"])
    assert (found["pairs"], found["verdict"]) == (0, "not paired")
    assert "no seed in common: nothing is paired" in difference.to_text()


def test_what_is_better_goes_by_the_metric(make: Make) -> None:
    difference = analysis.diff(make("one", [60, 70]), make("two", [65, 75]))
    assert _metric(difference, "accuracy")["verdict"] == "better"
    assert _metric(difference, "up_bytes")["verdict"] == "worse"
    assert _metric(difference, "energy_j")["verdict"] == "not measured"
    assert _metric(difference, "flops")["verdict"] == "same"


def test_restricted_means_of_both_runs_have_one_limit(tmp_path: Path) -> None:
    """Recovered after 30 s, or not within 20 s, when the second run ends: 20 s is as far as both are known."""
    folders = []
    for name, horizon_s in (("one", 100.0), ("two", 40.0)):
        run = WrittenRun(tmp_path / name, horizon_s=horizon_s)
        run["a", 0].accuracy("d", 0.0, 80)
        run["a", 0].drift("d", 20.0, 1)
        run["a", 0].accuracy("d", 20.0, 0)
        if horizon_s > 50.0:
            run["a", 0].accuracy("d", 50.0, 80)
        folders.append(run.close())
    found = _metric(analysis.diff(*folders), "recovery_mean_s")
    assert (found["old"], found["new"], found["verdict"]) == (20.0, 20.0, "same")
    median = _metric(analysis.diff(*folders), "recovery_s")
    assert (median["old"], median["new"], median["verdict"]) == (30.0, math.inf, "not paired")


def test_a_run_does_not_differ_from_itself(make: Make) -> None:
    one, two = make("one", [60, 70]), make("two", [60, 70])
    difference = analysis.diff(one, two)
    assert difference.changed.empty
    assert difference.to_text().splitlines() == [
        f"{one} -> {two}",
        "",
        "the scenario: no difference",
        "the run: no difference",
        "versions: no difference",
        "tables: all the same to the byte",
        "",
        "metrics: no difference",
    ]


def _tell(run_dir: Path, **entries: Any) -> None:
    manifest = json.loads((run_dir / "manifest.json").read_text())
    (run_dir / "manifest.json").write_text(json.dumps(manifest | entries))


def test_the_text_tells_what_was_asked_and_what_came_out(make: Make) -> None:
    one, two = make("one", [60, 70], learners=["a", "b"]), make("two", [70, 80], learners=["a", "c"])
    _tell(
        one, scenario={"name": "paper", "devices": [{"name": "hub", "uplink": "1 Mbit/s"}]}, versions={"torch": "2.12"}
    )
    _tell(
        two, scenario={"name": "paper", "devices": [{"name": "hub", "uplink": "5 Mbit/s"}]}, versions={"torch": "2.13"}
    )
    assert analysis.diff(one, two).to_text().splitlines() == [
        f"{one} -> {two}",
        "",
        "the scenario:",
        "  devices.hub.uplink: 1 Mbit/s -> 5 Mbit/s",
        "the run:",
        '  learners: ["a", "b"] -> ["a", "c"]',
        "versions:",
        "  torch: 2.12 -> 2.13",
        f"tables: 2 of {len(TABLES)} differ: transfers, accuracy",
        "",
        "learner  metric           old     new    difference   95 % interval",
        "a        accuracy      65.0 %  75.0 %  +10.0 points  +10.0 to +10.0  better",
        "a        worst device  65.0 %  75.0 %  +10.0 points  +10.0 to +10.0  better",
        "a        up             65 kB   75 kB        +10 kB      +10 to +10  worse",
        "",
        "at the 2 seeds that both runs have, paired",
        "5 more numbers differ: --metric NAME shows others, --format json all",
    ]


def test_a_killed_run_is_compared_as_far_as_it_goes(make: Make, tmp_path: Path) -> None:
    killed = WrittenRun(tmp_path / "killed")
    killed["a", 0].accuracy("d", 0.0, 50)
    text = analysis.diff(make("one", [60]), killed.kill()).to_text()
    assert "  status: done -> running" in text
    assert "tables: not compared, since a run was not finished" in text


def test_runs_without_a_common_learner_have_no_common_numbers(make: Make) -> None:
    difference = analysis.diff(make("one", [60], learners=["a"]), make("two", [60], learners=["b"]))
    assert "no learner is in both runs" in difference.to_text()
    assert json.loads(difference.to_json())["metrics"] == []


def test_json_holds_everything(make: Make) -> None:
    told = json.loads(analysis.diff(make("one", [60]), make("two", [70])).to_json())
    assert [row["metric"] for row in told["metrics"]] == list(METRICS)
    accuracy = told["metrics"][0]
    assert (accuracy["old"], accuracy["new"], accuracy["low"], accuracy["verdict"]) == (0.6, 0.7, None, "one seed")
    assert told["same_tables"]["drifts"] is True
    assert told["same_tables"]["accuracy"] is False


def test_the_command_shows_a_table_or_json_and_tells_mistakes(make: Make, tmp_path: Path) -> None:
    runner = CliRunner()
    one, two = str(make("one", [60, 70])), str(make("two", [70, 80]))
    assert "a        accuracy" in runner.invoke(app, ["diff", one, two]).stdout
    only = runner.invoke(app, ["diff", one, two, "--metric", "weights_bytes"]).stdout
    assert "a        weights" in only
    assert "accuracy      " not in only
    assert json.loads(runner.invoke(app, ["diff", one, two, "--format", "json"]).stdout)["old"] == one
    for arguments, message in (
        ([one, str(tmp_path)], "is not a run folder"),
        ([one, two, "--metric", "x"], "no metric 'x'"),
    ):
        result = runner.invoke(app, ["diff", *arguments])
        assert result.exit_code == 2
        assert message in result.stderr


def test_all_metrics_shown_can_be_paired() -> None:
    assert all(METRICS[name].over != "median" for name in SHOWN)


def test_a_folder_that_is_no_run_is_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no run folder"):
        analysis.diff(make("one", [60]), tmp_path / "none")

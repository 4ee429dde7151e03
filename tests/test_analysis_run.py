"""Loading runs: one or many, finished or killed, full or empty."""

from __future__ import annotations

import math
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from written_runs import WrittenRun

import analysis
from analysis import RecoveryRule
from analysis.metrics import METRICS
from edgesim.errors import UserError
from edgesim.tables import TABLES


def adapted(
    folder: Path, *, seeds: Sequence[int] = (0,), learners: Sequence[str] = ("stays", "learns"), **options: str
) -> WrittenRun:
    """Two devices drift at 40 s; ``learns`` recovers on x after 10 s + its seed."""
    run = WrittenRun(folder, seeds=seeds, learners=learners, **options)  # type: ignore[arg-type]
    for learner in learners:
        for seed in seeds:
            world = run[learner, seed]
            for device in ("x", "y"):
                world.accuracy(device, 0, 90)
                world.drift(device, 40, 1)
                world.accuracy(device, 40, 60, cause="drift")
            if learner == "learns":
                world.send("x", 41, 42, 1000)
                world.accuracy("x", 50 + seed, 88, cause="deployment")
    return run


def test_every_table_is_an_attribute(tmp_path: Path) -> None:
    run = analysis.load(adapted(tmp_path).close())
    for name, table in TABLES.items():
        frame = getattr(run, name)
        assert list(frame.columns) == [column.name for column in table.all_columns]
    assert len(run.drifts) == 4


def test_learners_and_seeds_keep_the_order_of_the_run(tmp_path: Path) -> None:
    run = analysis.load(adapted(tmp_path, seeds=(7, 3)).close())
    assert run.learners == ["stays", "learns"]
    assert run.seeds == [7, 3]
    assert list(run.summary().index) == ["stays", "learns"]


def test_the_summary_of_one_seed_has_numbers_and_no_intervals(tmp_path: Path) -> None:
    found = analysis.load(adapted(tmp_path).close()).summary()
    # (0.9 * 40 + 0.6 * 60) / 100 for y; x is at 0.88 from 50 s on
    assert found.loc["stays", "accuracy"] == pytest.approx(0.72)
    assert found.loc["learns", "accuracy"] == pytest.approx((0.72 + 0.36 + 0.06 + 0.44) / 2)
    assert found.loc["learns", "recovery_s"] == 10
    assert found.loc["learns", "unrecovered_ratio"] == 0.5
    assert found.loc["stays", "recovery_s"] == math.inf
    assert found.loc["stays", "seeds"] == 1
    assert found.filter(regex="_(low|high)$").isna().to_numpy().all()


def test_the_summary_of_several_seeds_has_intervals_beside_the_numbers(tmp_path: Path) -> None:
    found = analysis.load(adapted(tmp_path, seeds=(0, 1, 2)).close()).summary()
    columns = list(found.columns)
    place = columns.index("accuracy")
    assert columns[place : place + 3] == ["accuracy", "accuracy_low", "accuracy_high"]
    row = found.loc["learns"]
    assert row["seeds"] == 3
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    assert row["recovery_s"] == 12  # half of six are back at 10, 11 and 12 s: all seeds together
    assert list(analysis.load(tmp_path).summary(intervals=False).columns)[4:] == list(METRICS)


def test_intervals_do_not_leave_the_range_of_their_metric(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, seeds=(0, 1, 2))
    for seed, correct in ((0, 100), (1, 100), (2, 70)):
        run["a", seed].accuracy("x", 0, correct)
        run["a", seed].send("x", 0, 10, 10 ** (3 + seed))
    found = analysis.load(run.close()).summary().loc["a"]
    assert found["accuracy_high"] == 1.0
    assert found["up_bytes_low"] == 0.0


def test_an_empty_run_is_summarised_as_not_measured(tmp_path: Path) -> None:
    found = analysis.load(WrittenRun(tmp_path).close()).summary().loc["a"]
    assert found["both_ways_bytes"] == 0
    assert found["episodes"] == 0
    assert math.isnan(found["accuracy"])
    assert math.isnan(found["recovery_s"])


def test_a_killed_run_is_summarised_up_to_its_frontier(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run["a", 0].accuracy("x", 0, 90)
    run["a", 0].accuracy("x", 30, 50, cause="drift")
    run["a", 0].send("x", 35, 40, 10)
    found = analysis.load(run.kill()).summary().loc["a"]
    assert found["until_s"] == 40
    assert not found["finished"]
    assert found["accuracy"] == pytest.approx((0.9 * 30 + 0.5 * 10) / 40)
    assert math.isnan(found["energy_j"])  # known at the end only


def test_a_run_killed_before_its_first_part_has_no_learners(tmp_path: Path) -> None:
    run = analysis.load(WrittenRun(tmp_path, learners=("a", "b")).kill())
    assert run.learners == []
    assert run.summary().empty
    assert not run.worlds["finished"].any()


def test_worlds_that_a_killed_run_never_began_are_not_there(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, learners=("a", "b"))
    run["a", 0].accuracy("x", 0, 90)
    run["a", 0].accuracy("x", 10, 90, cause="deployment")
    assert analysis.load(run.kill()).learners == ["a"]


def test_a_world_that_was_finished_before_the_run_was_killed_is_whole(tmp_path: Path) -> None:
    run = adapted(tmp_path)
    run.manifest["worlds"] = [{"learner": "stays", "seed": 0, "frontier_s": 100.0}]
    run._write_manifest()
    worlds = analysis.load(run.kill()).worlds.set_index("learner")
    assert worlds.loc["stays", ["until_s", "finished"]].tolist() == [100, True]
    assert worlds.loc["learns", ["until_s", "finished"]].tolist() == [50, False]


def test_what_was_salvaged_without_its_accuracy_does_not_count(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run["a", 0].accuracy("x", 0, 90)
    run["a", 0].accuracy("x", 30, None, cause="drift")
    run["a", 0].accuracy("x", 60, None, cause="deployment")
    assert analysis.load(run.kill()).worlds["until_s"].tolist() == [30]


def test_costs_of_what_was_salvaged_end_where_its_accuracy_ends(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, learners=("stopped", "done"))
    for learner in ("stopped", "done"):
        run[learner, 0].accuracy("x", 0, 90)
        for start_s in range(0, 80, 10):
            run[learner, 0].send("x", start_s, start_s + 10, 100)
        run[learner, 0].job("x", 20, 50, "x@0", flops=7.0, done_flops=7.0)
        run[learner, 0].add("serving", device="x", start_s=0.0, end_s=60.0, mode="cloud", up_bytes=1000.0)
    run["stopped", 0].accuracy("x", 30, None, cause="deployment")
    run.manifest["worlds"] = [{"learner": "done", "seed": 0, "frontier_s": 100.0}]
    run._write_manifest()
    found = analysis.load(run.kill()).summary()[["until_s", "up_bytes", "flops"]]
    assert found.loc["stopped"].tolist() == [30, 300, 0]
    assert found.loc["done"].tolist() == [100, 1800, 7]


def test_a_killed_run_without_test_samples_is_known_as_far_as_it_went(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.manifest["scenario"]["data"] = {"test_samples": 0}
    run._write_manifest()
    run["a", 0].accuracy("x", 0, None)
    run["a", 0].drift("x", 20, 1)
    run["a", 0].accuracy("x", 20, None, cause="drift")
    run["a", 0].deploy("x", 30, "x/1")
    run["a", 0].send("x", 30, 60, 1000)
    loaded = analysis.load(run.kill())
    assert loaded.worlds["until_s"].tolist() == [60]
    assert loaded.seed_metrics.loc[("a", 0), "deployment_s"] == 10


def test_a_run_without_drifts_has_no_adaptation_to_measure(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run["a", 0].accuracy("x", 0, 90)
    loaded = analysis.load(run.close())
    assert loaded.episodes.empty
    found = loaded.summary().loc["a"]
    assert found["episodes"] == 0
    assert [math.isnan(found[name]) for name in ("reaction_s", "recovery_mean_s", "unrecovered_ratio")] == [True] * 3


def test_runs_of_one_scenario_with_other_seeds_are_merged(tmp_path: Path) -> None:
    folders = [adapted(tmp_path / str(seed), seeds=(seed,)).close() for seed in (0, 1, 2)]
    runs = analysis.load_many(folders)
    assert len(runs) == 1
    together = analysis.load(adapted(tmp_path / "all", seeds=(0, 1, 2)).close())
    pd.testing.assert_frame_equal(runs[0].summary(), together.summary())


def test_runs_of_one_scenario_with_other_learners_are_merged(tmp_path: Path) -> None:
    folders = [adapted(tmp_path / name, learners=(name,)).close() for name in ("stays", "learns")]
    runs = analysis.load_many(folders)
    assert [run.learners for run in runs] == [["stays", "learns"]]


def test_runs_of_different_scenarios_are_told_apart(tmp_path: Path) -> None:
    folders = [adapted(tmp_path / name, name=name).close() for name in ("hills", "plains")]
    assert [run.label for run in analysis.load_many(folders)] == ["hills", "plains"]


def test_the_same_world_twice_is_not_counted_as_two_seeds(tmp_path: Path) -> None:
    folders = [adapted(tmp_path / name).close() for name in ("monday", "tuesday")]
    runs = analysis.load_many([*folders, folders[0]])
    assert [run.label for run in runs] == ["paper (monday)", "paper (tuesday)"]


def test_one_label_with_other_parameters_is_not_merged(tmp_path: Path) -> None:
    runs = [adapted(tmp_path / str(seed), seeds=(seed,)) for seed in (0, 1)]
    runs[1].manifest["learners"]["learns"]["params"] = {"epochs": 5}
    assert len(analysis.load_many([run.close() for run in runs])) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"files": {"/trace.csv": "a"}}, {"files": {"/trace.csv": "b"}}),
        ({"weights": "a"}, {"weights": "b"}),
        ({"data_fingerprint": "a"}, {"data_fingerprint": "b"}),
    ],
)
def test_runs_that_read_other_contents_are_not_merged(
    tmp_path: Path, one: dict[str, object], other: dict[str, object]
) -> None:
    runs = [adapted(tmp_path / str(seed), seeds=(seed,)) for seed in range(4)]
    for run, told in zip(runs, (one, {}, other, one), strict=True):  # the second is of an edgesim that told nothing
        run.manifest |= told
    found = analysis.load_many([run.close() for run in runs])
    assert [run.seeds for run in found] == [[0, 1, 3], [2]]


def test_the_rule_of_recovery_can_be_changed(tmp_path: Path) -> None:
    folder = adapted(tmp_path).close()
    strict = analysis.load(folder, RecoveryRule(epsilon=0.01))
    assert strict.summary().loc["learns", "unrecovered_ratio"] == 1.0


def test_a_folder_that_is_no_run_is_the_user_s_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run folder"):
        analysis.load(tmp_path)
    with pytest.raises(UserError, match="there is no run folder"):
        analysis.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no run folders: give at least one"):
        analysis.load_many([])


def test_a_run_says_what_it_is(tmp_path: Path) -> None:
    run = analysis.load(adapted(tmp_path, seeds=(0, 1)).close())
    assert repr(run) == "<Run paper: 2 learners, seeds 0, 1>"
    assert (run.horizon_s, run.finished, run.timing_only, run.oracles) == (100.0, True, False, [])


def test_importing_and_summarising_needs_neither_torch_nor_lifelines_nor_matplotlib(tmp_path: Path) -> None:
    folder = adapted(tmp_path, seeds=(0, 1, 2)).close()
    code = (
        f"import sys, analysis; analysis.compare([{str(folder)!r}]).to_text(); "
        "print({'torch', 'lifelines', 'matplotlib', 'edgesim.simulation'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_every_table_of_a_run_is_there_under_its_name(tmp_path: Path) -> None:
    run = analysis.load(WrittenRun(tmp_path / "run").close())
    for name, table in TABLES.items():
        assert list(run.tables[name].columns) == [column.name for column in table.all_columns]
    with pytest.raises(KeyError):
        run.tables["no_such_table"]


def test_the_benchmark_of_the_summary_writes_a_run_that_can_be_read(tmp_path: Path) -> None:
    file = Path(__file__).parent.parent / "benchmarks" / "summary_speed.py"
    written = runpy.run_path(str(file))["write"](tmp_path, 12_000)
    run = analysis.load(tmp_path)
    assert sum(len(table) for table in run.tables.values()) >= written >= 12_000
    assert run.summary()["accuracy"].between(0.5, 0.9).all()
    assert (run.summary()["deployment_s"] == 9.0).all()

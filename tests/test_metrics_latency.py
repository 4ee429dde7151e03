"""Adaptation latency: reaction and deployment against numbers computed by hand; see test_metrics_recovery.py."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_episodes import episodes, only
from written_runs import WrittenRun

import analysis
from analysis.episodes import observations

A0 = ("a", 0)


def test_reaction_is_the_start_of_the_first_job_on_samples_taken_after_the_drift(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run[A0].drift("x", 40, 1)
    run[A0].job("x", 41, 44, "x@0")  # old samples
    run[A0].job("cloud", 47, 60, "y@3;x@1")
    run[A0].job("x", 50, 55, "x@1")
    assert only(run)["reaction_s"] == 7


@pytest.mark.parametrize(
    "cells",
    [
        {"status": "killed"},
        {"status": "out_of_memory"},
        {"status": "offline"},
        {"kind": "score", "output_model_id": ""},
        {"input_data": "y@1"},
        {"input_data": ""},
    ],
)
def test_what_gives_no_model_from_own_samples_is_no_reaction(tmp_path: Path, cells: dict[str, Any]) -> None:
    run = WrittenRun(tmp_path)
    run[A0].drift("x", 40, 1)
    run[A0].job("x", 41, 44, **{"input_data": "x@1", **cells})
    assert math.isnan(only(run)["reaction_s"])


def test_a_job_still_running_at_the_horizon_is_a_reaction(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run[A0].drift("x", 40, 1)
    run[A0].job("x", 90, None, "x@1")
    assert only(run)["reaction_s"] == 50


def test_deployment_is_the_first_informed_model_that_serves_the_device(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run[A0].drift("x", 40, 1)
    run[A0].deploy("x", 45, "")
    run[A0].deploy("y", 46, "x/1")  # another device
    run[A0].deploy("x", 52, "x/1", cohort_informed_by="x/1")
    run[A0].deploy("x", 48, "", cohort_informed_by="x/1", score_informed_by="")
    run[A0].deploy("x", 47, "", score_informed_by="x/1")
    found = only(run)
    assert found[["deployment_s", "cohort_deployment_s", "score_deployment_s"]].tolist() == [12, 8, 7]


def test_a_model_informed_by_a_later_drift_is_informed_by_the_earlier_ones(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run[A0].drift("x", 40, 1)
    run[A0].drift("x", 45, 2, episode_id="x/1", opens_episode=False, step=2, steps=2)
    run[A0].deploy("x", 50, "x/2")
    run[A0].job("x", 47, 49, "x@2")
    found = only(run)
    assert found["deployment_s"] == 10
    assert found["reaction_s"] == 7


def test_what_happens_after_the_next_drift_of_the_device_is_censored_not_counted(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run[A0].drift("x", 40, 1)
    run[A0].drift("y", 50, 1)  # another device's drift censors nothing on x
    run[A0].drift("x", 60, 2)
    run[A0].job("x", 61, 65, "x@2")
    run[A0].deploy("x", 65, "x/2")
    found = episodes(run).set_index(["device", "time_s"])
    assert found.loc[("x", 40), ["until_s", "ends_by"]].tolist() == [60, "drift"]
    assert np.isnan(found.loc[("x", 40), ["reaction_s", "deployment_s"]].astype(float)).all()
    assert found.loc[("x", 60), ["reaction_s", "deployment_s", "until_s", "ends_by"]].tolist() == [1, 5, 100, "horizon"]
    assert found.loc[("y", 50), "until_s"] == 100


def test_two_drifts_at_one_instant_do_not_censor_each_other(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run[A0].accuracy("x", 0, 90)
    run[A0].drift("x", 40, 1)
    run[A0].drift("x", 40, 2)
    run[A0].accuracy("x", 40, 50, cause="drift")
    run[A0].accuracy("x", 50, 90, cause="deployment")
    found = episodes(run)
    assert found["until_s"].tolist() == [100, 100]
    assert found["recovery_s"].tolist() == [10, 10]


def test_a_job_that_costs_an_upper_bound_nothing_is_its_reaction(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, learners={"ideal": True})
    for device in ("x", "y"):
        run["ideal", 0].drift(device, 40, 1)
    run["ideal", 0].job("ideal", 40, 40, "x@1;y@1", status="ideal")
    assert episodes(run)["reaction_s"].tolist() == [0, 0]


def test_what_happens_at_the_instant_of_the_next_drift_belongs_to_that_one(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run[A0].drift("x", 40, 1)
    run[A0].drift("x", 60, 2)
    run[A0].job("x", 60, 65, "x@2")
    run[A0].deploy("x", 60, "x/2", cohort_informed_by="x/2")
    found = episodes(run).set_index("time_s")[["reaction_s", "deployment_s", "cohort_deployment_s"]]
    assert np.isnan(found.loc[40]).all()
    assert found.loc[60].tolist() == [0, 0, 0]


def test_what_happens_at_the_horizon_is_seen(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run[A0].drift("x", 40, 1)
    run[A0].deploy("x", 100, "x/1")
    assert only(run)["deployment_s"] == 60


def test_a_trained_model_is_at_least_as_well_informed_as_one_that_was_selected_by_scores(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run[A0].drift("x", 40, 1)
    run[A0].deploy("x", 50, "x/1", cohort_informed_by="x/1")  # it was trained; nothing was scored
    run[A0].deploy("x", 60, "x/1", score_informed_by="x/1")
    run[A0].drift("y", 40, 1)
    run[A0].deploy("y", 55, "", score_informed_by="y/1")
    found = episodes(run).set_index("device")
    assert found["score_deployment_s"].to_dict() == {"x": 10, "y": 15}


def test_a_model_deployed_to_a_device_whose_battery_is_dead_does_not_count(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    for device, dead_s in (("before", 30), ("within", 50), ("later", 70)):
        run[A0].online(device, dead_s, "offline", "battery")
        run[A0].drift(device, 40, 1)
        told = f"{device}/1"
        run[A0].deploy(device, 60, told, serving="cloud", cohort_informed_by=told, score_informed_by=told)
    found = episodes(run).set_index("device")[["deployment_s", "cohort_deployment_s", "score_deployment_s"]]
    assert np.isnan(found.loc[["before", "within"]]).all(axis=None)
    assert found.loc["later"].tolist() == [20, 20, 20]


def test_in_timing_only_runs_recovery_is_unmeasured_and_the_rest_is_not(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, timing_only=True)
    run[A0].accuracy("x", 0, None)
    run[A0].drift("x", 40, 1)
    run[A0].accuracy("x", 40, None, cause="drift")
    run[A0].job("x", 45, 50, "x@1")
    loaded = analysis.load(run.close())
    found = loaded.seed_metrics.loc[A0]
    assert loaded.episodes.iloc[0]["outcome"] == "unmeasured"
    assert found["reaction_s"] == 5
    assert [math.isnan(found[name]) for name in ("recovery_s", "unaffected", "relapses")] == [True] * 3


def test_a_drift_after_the_frontier_is_no_episode(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run[A0].drift("x", 30, 1)
    run[A0].drift("x", 40, 2)  # the last thing that is known
    found = analysis.load(run.kill()).episodes
    assert found["time_s"].tolist() == [30]
    assert found["until_s"].tolist() == [40]


def test_an_unknown_measure_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no measure 'speed': one of detection, reaction, deployment"):
        observations(episodes(WrittenRun(tmp_path)), "speed")

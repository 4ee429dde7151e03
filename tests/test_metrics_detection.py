"""Drift detectors: delay, misses and false alarms against numbers computed by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from written_runs import WrittenRun, WrittenWorld

import analysis
from analysis.episodes import observations

A0 = ("a", 0)


def alarm(
    world: WrittenWorld, device: str, time_s: float, event: str, drift_id: str = "", delay_s: float | None = None
) -> None:
    world.add(
        "detections", device=device, time_s=time_s, event=event, drift_id=drift_id, delay_s=delay_s, detector="adwin"
    )


def watching(folder: Path) -> WrittenRun:
    """x is watched from 0 s, y from 10 s, z from 50 s, u never; all but x drift at 40 s, x at 40 s and 70 s."""
    run = WrittenRun(folder, horizon_s=100)
    world = run[A0]
    for device, armed_s in (("x", 0), ("y", 10), ("z", 50)):
        alarm(world, device, armed_s, "armed")
    for device in ("x", "y", "z", "u"):
        world.drift(device, 40, 1)
    world.drift("x", 70, 2)
    alarm(world, "y", 20, "false_alarm")
    alarm(world, "y", 25, "false_alarm")
    alarm(world, "x", 48, "detection", "x/1", 8.0)
    alarm(world, "x", 55, "repeat", "x/1", 15.0)
    alarm(world, "z", 60, "detection", "z/1", 20.0)
    alarm(world, "x", 95, "armed")  # set up anew for another model
    return run


def test_the_delay_runs_from_the_drift_to_the_first_alarm_credited_to_it(tmp_path: Path) -> None:
    found = analysis.load(watching(tmp_path).close()).episodes.set_index(["device", "time_s"])
    assert found.loc[("x", 40), "detection_s"] == 8
    assert [math.isnan(found.loc[key, "detection_s"]) for key in (("x", 70), ("y", 40))] == [True, True]


def test_only_devices_that_were_watched_at_the_drift_count(tmp_path: Path) -> None:
    episodes = analysis.load(watching(tmp_path).close()).episodes
    watched = episodes.set_index(["device", "time_s"])["watched"].to_dict()
    assert watched == {("x", 40): True, ("x", 70): True, ("y", 40): True, ("z", 40): False, ("u", 40): False}
    seen = observations(episodes, "detection")
    assert sorted(zip(seen["duration_s"], seen["observed"], strict=True)) == [(8, True), (30, False), (60, False)]


def test_misses_are_episodes_without_an_alarm_before_the_next_drift(tmp_path: Path) -> None:
    found = analysis.load(watching(tmp_path).close()).seed_metrics.loc[A0]
    assert found["missed_ratio"] == pytest.approx(2 / 3)
    assert found["detection_s"] == math.inf


def test_false_alarms_are_per_hour_of_watching_before_the_first_drift(tmp_path: Path) -> None:
    # x: 40 s, y: 30 s, z: none before its drift; two alarms
    found = analysis.load(watching(tmp_path).close()).seed_metrics.loc[A0]
    assert found["false_alarms_per_h"] == pytest.approx(2 * 3600 / 70)


def test_a_device_that_never_drifts_is_watched_to_the_end(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, horizon_s=7200)
    alarm(run[A0], "x", 0, "armed")
    for time_s in (100, 200, 300):
        alarm(run[A0], "x", time_s, "false_alarm")
    found = analysis.load(run.close()).seed_metrics.loc[A0]
    assert found["false_alarms_per_h"] == 1.5
    assert math.isnan(found["missed_ratio"])


def test_without_a_detector_nothing_is_measured(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run[A0].drift("x", 40, 1)
    found = analysis.load(run.close()).seed_metrics.loc[A0]
    assert [math.isnan(found[name]) for name in ("detection_s", "missed_ratio", "false_alarms_per_h")] == [True] * 3


def test_a_mere_replacement_is_nothing_to_notice(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, horizon_s=3600)
    alarm(run[A0], "x", 0, "armed")
    run[A0].drift("x", 40, 1, kind="replacement")
    alarm(run[A0], "x", 60, "false_alarm")
    found = analysis.load(run.close()).seed_metrics.loc[A0]
    assert math.isnan(found["missed_ratio"])
    assert found["false_alarms_per_h"] == 1.0


def test_alarms_after_a_device_s_first_drift_are_no_false_ones(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, horizon_s=7200)
    alarm(run[A0], "x", 100, "armed")
    run[A0].drift("x", 3700, 1)
    for time_s in (50, 200, 3700, 3800):  # before it was set up, within its hour, at the drift, after it
        alarm(run[A0], "x", time_s, "false_alarm")
    assert analysis.load(run.close()).seed_metrics.loc[A0, "false_alarms_per_h"] == 1.0


def test_of_drifts_at_one_instant_each_is_noticed_by_the_alarm_credited_to_any(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    alarm(run[A0], "x", 0, "armed")
    for phase in (1, 2):
        run[A0].drift("x", 40, phase)
    alarm(run[A0], "x", 45, "detection", "x/2", 5.0)
    loaded = analysis.load(run.close())
    assert loaded.episodes["detection_s"].tolist() == [5, 5]
    assert loaded.seed_metrics.loc[A0, "missed_ratio"] == 0


def test_an_alarm_at_the_instant_of_the_next_drift_comes_too_late(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    alarm(run[A0], "x", 0, "armed")
    run[A0].drift("x", 40, 1)
    run[A0].drift("x", 60, 2)
    alarm(run[A0], "x", 60, "detection", "x/1", 20.0)
    assert analysis.load(run.close()).seed_metrics.loc[A0, "missed_ratio"] == 1

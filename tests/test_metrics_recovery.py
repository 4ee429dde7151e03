"""Recovery: when accuracy was back after a drift, against numbers computed by hand and a plain loop."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written_episodes import episodes, only
from written_runs import WrittenRun

import analysis
from analysis.episodes import RecoveryRule, observations
from analysis.recovery import recoveries

A0 = ("a", 0)


def dropping(folder: Path, *later: tuple[float, int], before: tuple[tuple[float, int], ...] = ((0, 90),)) -> WrittenRun:
    """A device x with a drift at 40 s; ``later`` are (time, correct of 100)."""
    run = WrittenRun(folder)
    for time_s, correct in before:
        run[A0].accuracy("x", time_s, correct)
    run[A0].drift("x", 40, 1)
    for time_s, correct in later:
        run[A0].accuracy("x", time_s, correct, cause="drift" if time_s == 40 else "deployment")
    return run


def test_recovery_is_the_first_time_back_at_95_percent_of_the_level_before(tmp_path: Path) -> None:
    # 0.95 * 0.90 = 0.855
    found = only(dropping(tmp_path, (40, 50), (55, 85), (62, 86)))
    assert found["outcome"] == "recovered"
    assert found["recovery_s"] == 22
    assert found["reference"] == pytest.approx(0.9)
    assert found["dropped_to"] == 0.5


def test_the_level_before_is_time_weighted_over_the_window(tmp_path: Path) -> None:
    # 20 s before 40 s: 15 s at 0.6, 5 s at 0.8 -> 0.65
    run = dropping(tmp_path, (40, 10), before=((0, 90), (10, 60), (35, 80)))
    assert only(run, window_s=20)["reference"] == pytest.approx(0.65, abs=1e-12)


def test_the_window_stops_at_the_device_s_previous_drift(tmp_path: Path) -> None:
    run = dropping(tmp_path, (40, 50))
    run[A0].drift("x", 70, 2)
    found = episodes(run, window_s=60)
    assert found["reference"].tolist() == pytest.approx([0.9, 0.5])


def test_a_drift_without_a_drop_is_unaffected_and_no_recovery_of_0_s(tmp_path: Path) -> None:
    run = dropping(tmp_path, (40, 86), (50, 20))  # the later fall is a bad deployment, not the drift
    loaded = analysis.load(run.close())
    found = loaded.episodes.iloc[0]
    assert found["outcome"] == "unaffected"
    assert math.isnan(found["recovery_s"])
    assert observations(loaded.episodes, "recovery").empty
    assert loaded.seed_metrics.loc[A0, "unaffected"] == 1
    assert math.isnan(float(loaded.seed_metrics.loc[A0, "unrecovered_ratio"]))  # type: ignore[arg-type]


def test_a_device_without_a_new_accuracy_row_at_the_drift_keeps_its_accuracy(tmp_path: Path) -> None:
    assert only(dropping(tmp_path))["outcome"] == "unaffected"


def test_not_back_by_the_end_is_censored(tmp_path: Path) -> None:
    run = dropping(tmp_path, (40, 50), (60, 80))
    loaded = analysis.load(run.close())
    assert loaded.episodes.iloc[0]["outcome"] == "censored"
    seen = observations(loaded.episodes, "recovery").iloc[0]
    assert (seen["duration_s"], seen["observed"]) == (60, False)
    assert loaded.seed_metrics.loc[A0, "unrecovered_ratio"] == 1.0


def test_not_back_by_the_next_drift_is_censored_there(tmp_path: Path) -> None:
    run = dropping(tmp_path, (40, 50))
    run[A0].drift("x", 55, 2)
    run[A0].accuracy("x", 55, 90, cause="drift")
    loaded = analysis.load(run.close())
    assert loaded.episodes["outcome"].tolist() == ["censored", "unaffected"]
    assert observations(loaded.episodes, "recovery")["duration_s"].tolist() == [15]


def test_falls_after_recovery_are_relapses(tmp_path: Path) -> None:
    run = dropping(tmp_path, (40, 50), (50, 90), (60, 70), (65, 60), (70, 90), (80, 40))
    found = only(run)
    assert found["recovery_s"] == 10
    assert found["relapses"] == 2


def test_a_recovery_must_be_held(tmp_path: Path) -> None:
    rows = ((40, 50), (50, 90), (60, 70), (70, 90), (75, 95))
    run = dropping(tmp_path, *rows)
    loaded = run.close()
    held = [analysis.load(loaded, RecoveryRule(hold_s=hold_s)).episodes.iloc[0] for hold_s in (10, 11, 30, 31)]
    assert [row["recovery_s"] for row in held[:3]] == [10, 30, 30]
    assert held[3]["outcome"] == "censored"
    assert held[1]["relapses"] == 0


def test_epsilon_sets_the_level(tmp_path: Path) -> None:
    run = dropping(tmp_path, (40, 50), (50, 72), (60, 90))
    folder = run.close()
    found = [analysis.load(folder, RecoveryRule(epsilon=e)).episodes.iloc[0]["recovery_s"] for e in (0.0, 0.05, 0.2)]
    assert found == [20, 20, 10]


def test_a_gradual_drift_that_bites_at_a_later_step_is_timed_from_its_opening(tmp_path: Path) -> None:
    run = dropping(tmp_path, (40, 88))
    run[A0].drift("x", 50, 2, episode_id="x/1", opens_episode=False, step=2, steps=2)
    run[A0].accuracy("x", 50, 60, cause="drift")
    run[A0].accuracy("x", 64, 90, cause="deployment")
    found = only(run)
    assert found["outcome"] == "recovered"
    assert found["recovery_s"] == 24


def test_recovery_can_be_measured_against_an_ideal_learner(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, learners=("a", "ideal"))
    for learner, after in (("a", (30, 60)), ("ideal", (50, 70))):
        world = run[learner, 0]
        world.accuracy("x", 0, 90)
        world.drift("x", 40, 1)
        world.accuracy("x", 40, after[0], cause="drift")
        world.accuracy("x", 70, after[1], cause="deployment")
    # the ideal's mean after the drift: (0.5 * 30 + 0.7 * 30) / 60 = 0.6
    found = episodes(run, ideal="ideal").set_index("learner")
    assert found.loc["a", "reference"] == pytest.approx(0.6)
    assert found.loc["a", "recovery_s"] == 30
    assert found.loc["ideal", "outcome"] == "recovered"


def test_a_dead_battery_is_a_competing_event_followed_to_the_episode_s_end(tmp_path: Path) -> None:
    run = dropping(tmp_path, (40, 50))
    run[A0].online("x", 0)
    run[A0].online("x", 70, "offline", "battery")
    loaded = analysis.load(run.close())
    found = loaded.episodes.iloc[0]
    assert (found["outcome"], found["battery_s"]) == ("battery", 70)
    seen = observations(loaded.episodes, "recovery").iloc[0]
    assert (seen["duration_s"], seen["observed"]) == (60, False)
    assert loaded.seed_metrics.loc[A0, "battery_deaths"] == 1


def test_a_device_that_comes_back_was_not_dead(tmp_path: Path) -> None:
    run = dropping(tmp_path, (40, 50))
    run[A0].online("x", 50, "offline", "battery")
    run[A0].online("x", 60)
    found = only(run)
    assert found["outcome"] == "censored"
    assert math.isnan(found["battery_s"])


def test_recovery_before_the_battery_died_counts(tmp_path: Path) -> None:
    run = dropping(tmp_path, (40, 50), (50, 90))
    run[A0].online("x", 70, "offline", "battery")
    assert only(run)["outcome"] == "recovered"


def test_a_drift_at_the_start_has_no_level_before_it(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run[A0].drift("x", 0, 1)
    run[A0].accuracy("x", 0, 50)
    found = only(run)
    assert found["outcome"] == "unmeasured"
    assert math.isnan(found["reference"])


def instant(folder: Path, dip: int, then: int, *, cause: str = "drift") -> WrittenRun:
    """x is at 90 %, ``dip`` after a drift at 40 s, and ``then`` after a deployment at that very instant."""
    run = WrittenRun(folder)
    run[A0].accuracy("x", 0, 90)
    run[A0].drift("x", 40, 1)
    run[A0].accuracy("x", 40, dip, cause=cause)
    run[A0].accuracy("x", 40, then, cause="deployment")
    return run


@pytest.mark.parametrize("cause", ["drift", "step", "replacement"])
def test_a_drop_that_a_deployment_at_the_same_instant_makes_good_is_recovered_after_0_s(
    tmp_path: Path, cause: str
) -> None:
    loaded = analysis.load(instant(tmp_path, 30, 86, cause=cause).close())
    found = loaded.episodes.iloc[0]
    assert (found["outcome"], found["recovery_s"], found["dropped_to"], found["relapses"]) == ("recovered", 0, 0.3, 0)
    assert observations(loaded.episodes, "recovery")["duration_s"].tolist() == [0]
    assert loaded.seed_metrics.loc[A0, "unrecovered_ratio"] == 0


def test_a_deployment_at_the_drift_s_instant_that_is_not_enough_is_no_recovery(tmp_path: Path) -> None:
    run = instant(tmp_path, 30, 60)
    run[A0].accuracy("x", 55, 90, cause="deployment")
    found = only(run)
    assert (found["outcome"], found["recovery_s"]) == ("recovered", 15)


def test_a_drift_that_costs_nothing_is_unaffected_whatever_is_deployed_at_its_instant(tmp_path: Path) -> None:
    found = only(instant(tmp_path, 88, 30))
    assert (found["outcome"], found["dropped_to"]) == ("unaffected", 0.3)


def test_a_recovery_at_the_drift_s_instant_must_be_held_too(tmp_path: Path) -> None:
    run = instant(tmp_path, 30, 90)
    run[A0].accuracy("x", 50, 60, cause="deployment")
    run[A0].accuracy("x", 70, 90, cause="deployment")
    folder = run.close()
    held = [analysis.load(folder, RecoveryRule(hold_s=hold_s)).episodes.iloc[0] for hold_s in (10, 11)]
    assert [(row["recovery_s"], row["relapses"]) for row in held] == [(0, 1), (30, 0)]


def test_each_step_that_drops_for_an_instant_after_recovery_is_a_relapse(tmp_path: Path) -> None:
    run = instant(tmp_path, 30, 90)
    for phase, time_s in ((2, 50.0), (3, 60.0)):
        run[A0].drift("x", time_s, phase, episode_id="x/1", opens_episode=False, step=phase, steps=3)
        run[A0].accuracy("x", time_s, 50 if phase == 2 else 88, cause="step")
        run[A0].accuracy("x", time_s, 90, cause="deployment")
    found = only(run)
    assert (found["recovery_s"], found["relapses"]) == (0, 1)


def test_what_serves_a_device_from_elsewhere_after_its_battery_died_is_no_recovery(tmp_path: Path) -> None:
    run = dropping(tmp_path, (40, 50))
    run[A0].online("x", 70, "offline", "battery")
    run[A0].accuracy("x", 80, 90, serving="cloud", cause="deployment")
    run[A0].accuracy("x", 90, 40, serving="cloud", cause="deployment")
    loaded = analysis.load(run.close())
    found = loaded.episodes.iloc[0]
    assert (found["outcome"], found["relapses"]) == ("battery", 0)
    assert math.isnan(found["recovery_s"])
    assert loaded.seed_metrics.loc[A0, "unrecovered_ratio"] == 1.0


def test_a_level_that_the_battery_s_death_cuts_short_was_not_held(tmp_path: Path) -> None:
    run = dropping(tmp_path, (40, 50), (60, 90))
    run[A0].online("x", 70, "offline", "battery")
    folder = run.close()
    found = [analysis.load(folder, RecoveryRule(hold_s=h)).episodes.iloc[0]["outcome"] for h in (10, 11)]
    assert found == ["recovered", "battery"]


def test_relapses_of_drifts_at_one_instant_are_counted_once(tmp_path: Path) -> None:
    run = dropping(tmp_path, (40, 50), (50, 90), (60, 50))
    run[A0].drift("x", 40, 2)
    loaded = analysis.load(run.close())
    assert len(loaded.episodes) == 2
    assert loaded.seed_metrics.loc[A0, "relapses"] == 1


def slow_recovery(
    rows: list[tuple[float, float]],
    dip: float | None,
    drift_s: float,
    until_s: float,
    epsilon: float,
    window_s: float,
    hold_s: float,
) -> tuple[str, float, int]:
    """The same definition for one episode on one device, in a loop over a fine grid of integer times."""

    def value(time_s: float) -> float:
        return [v for t, v in rows if t <= time_s][-1]

    before = [value(t) for t in range(int(max(0, drift_s - window_s)), int(drift_s))]
    if not before:
        return "unmeasured", math.nan, 0
    level = (1 - epsilon) * sum(before) / len(before) - 1e-9
    ok = [value(t) >= level for t in range(int(drift_s), int(until_s))]
    if ok[0] if dip is None else dip >= level:
        return "unaffected", math.nan, 0
    for place in range(len(ok)):
        if ok[place] and not (place and ok[place - 1]):
            length = next((n for n, good in enumerate(ok[place:]) if not good), len(ok) - place)
            if length >= hold_s:
                falls = sum(ok[n - 1] and not ok[n] for n in range(place + 1, len(ok)))
                return "recovered", float(place), falls
    return "censored", math.nan, 0


@settings(max_examples=50)
@given(
    changes=st.dictionaries(st.integers(1, 29), st.integers(0, 20), max_size=12),
    dip=st.none() | st.integers(0, 20),
    start=st.integers(0, 20),
    drift_s=st.integers(0, 28),
    epsilon=st.sampled_from([0.0, 0.1, 0.5]),
    window_s=st.integers(1, 30),
    hold_s=st.integers(0, 6),
)
def test_recovery_equals_a_plain_loop(
    changes: dict[int, int],
    dip: int | None,
    start: int,
    drift_s: int,
    epsilon: float,
    window_s: int,
    hold_s: int,
) -> None:
    """``dip`` is what the drift leaves before a deployment at its instant, in twentieths; None: no such row."""
    rows = [(float(t), v / 20) for t, v in sorted({0: start, **changes}.items())]
    key = {"learner": "a", "seed": 0, "device": "x"}
    same = {**key, "view": "current", "cause": "deployment"}
    accuracy = pd.DataFrame([{**same, "time_s": t, "accuracy": v} for t, v in rows])
    if dip is not None:
        then = next(v for t, v in reversed(rows) if t <= drift_s)
        instant = [("drift", dip / 20), ("deployment", then)]
        struck = pd.DataFrame([{**same, "time_s": float(drift_s), "cause": c, "accuracy": v} for c, v in instant])
        accuracy = pd.concat([accuracy, struck])
    drifts = pd.DataFrame([{**key, "time_s": float(drift_s)}])
    opened = drifts.assign(until_s=30.0, battery_s=np.nan, joined_s=0.0)
    worlds = pd.DataFrame([{"learner": "a", "seed": 0, "until_s": 30.0}])
    found = recoveries(opened, drifts, accuracy, worlds, epsilon, window_s, hold_s).iloc[0]
    left = None if dip is None else dip / 20
    outcome, seconds, relapses = slow_recovery(rows, left, drift_s, 30, epsilon, window_s, hold_s)
    assert found["outcome"] == outcome
    assert found["recovery_s"] == pytest.approx(seconds, nan_ok=True)
    assert found["relapses"] == relapses

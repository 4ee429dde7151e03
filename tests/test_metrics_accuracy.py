"""Accuracy metrics, each against a number computed by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from written_runs import WrittenRun

import analysis
from analysis import accuracy

A0 = ("a", 0)


def load(run: WrittenRun) -> analysis.Run:
    return analysis.load(run.close())


def metric(run: WrittenRun, name: str) -> float:
    return float(load(run).seed_metrics.loc[A0, name])  # type: ignore[arg-type]


def two_devices(folder: Path) -> WrittenRun:
    """x: 0.9 for 40 s, then 0.5 for 60 s. y: measured from 50 s on only, 0.8."""
    run = WrittenRun(folder)
    run[A0].accuracy("x", 0, 90)
    run[A0].accuracy("x", 40, 50, cause="drift")
    run[A0].accuracy("y", 50, 80)
    return run


def test_accuracy_is_integrated_over_the_time_during_which_each_device_is_measured(tmp_path: Path) -> None:
    # (0.9 * 40 + 0.5 * 60 + 0.8 * 50) / (100 + 50); before its first row y is undefined, not wrong
    assert metric(two_devices(tmp_path), "accuracy") == pytest.approx(106 / 150, abs=1e-12)


def test_the_worst_device_has_the_lowest_time_weighted_accuracy(tmp_path: Path) -> None:
    assert metric(two_devices(tmp_path), "worst_device_accuracy") == pytest.approx(0.66, abs=1e-12)


def test_accuracy_at_the_horizon_is_a_mean_over_devices(tmp_path: Path) -> None:
    assert metric(two_devices(tmp_path), "horizon_accuracy") == pytest.approx(0.65, abs=1e-12)


def test_the_worst_decile_of_eleven_devices_is_two_devices(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    for number in range(11):
        run[A0].accuracy(f"d{number}", 0, 50 + number)
    assert metric(run, "worst_decile_accuracy") == pytest.approx(0.505, abs=1e-12)


def test_of_several_rows_at_one_instant_the_last_holds(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run[A0].accuracy("x", 0, 10)
    run[A0].accuracy("x", 0, 90)
    run[A0].accuracy("x", 100, 0)  # at the horizon: no time left for it
    assert metric(run, "accuracy") == pytest.approx(0.9, abs=1e-12)


def test_time_without_a_connection_to_the_serving_cloud_is_left_out_and_reported(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    world = run[A0]
    world.online("x", 0)
    world.accuracy("x", 0, 90, serving="cloud")
    world.accuracy("x", 60, 40, serving="cloud")
    world.online("x", 50, "offline")
    world.online("x", 80)
    # An outage of the uplink from 70 to 90 overlaps the time offline: unserved from 50 to 90.
    for time_s, value in ((0, 1e6), (70, 0.0), (90, 1e6)):
        world.add("environment", device="x", resource="uplink", time_s=time_s, value=value)
    found = load(run).seed_metrics.loc[A0]
    assert found["accuracy"] == pytest.approx((0.9 * 50 + 0.4 * 10) / 60, abs=1e-12)
    assert found["unserved_ratio"] == pytest.approx(0.4, abs=1e-12)


def test_a_model_on_the_device_serves_without_a_connection(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run[A0].online("x", 0, "offline")
    run[A0].accuracy("x", 0, 90)
    found = load(run).seed_metrics.loc[A0]
    assert found["accuracy"] == pytest.approx(0.9)
    assert found["unserved_ratio"] == 0.0


def test_a_cloud_out_of_reach_at_the_horizon_is_not_counted_wrong(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run[A0].accuracy("x", 0, 90, serving="cloud")
    run[A0].accuracy("y", 0, 70, serving="cloud")
    run[A0].accuracy("y", 80, 60, serving="cloud")
    run[A0].online("y", 70, "offline")
    assert metric(run, "horizon_accuracy") == pytest.approx(0.9)


def test_outages_of_several_causes_are_joined(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    world = run[A0]
    for time_s, state in ((0, "online"), (10, "offline"), (20, "online"), (30, "offline")):
        world.online("x", time_s, state)
    for resource, start_s in (("uplink", 15), ("downlink", 20)):
        world.add("environment", device="x", resource=resource, time_s=0, value=5.0)
        world.add("environment", device="x", resource=resource, time_s=start_s, value=0.0)
        world.add("environment", device="x", resource=resource, time_s=start_s + 6, value=5.0)
    loaded = load(run)
    found = loaded.disconnected
    total_s = (found["end_s"] - found["start_s"]).sum()
    assert found["start_s"].min() == 10
    assert total_s == pytest.approx((26 - 10) + (100 - 30))


def test_a_device_is_cut_off_with_its_gateway_and_with_the_cloud(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, devices=[{"name": "cam", "gateway": "shop"}, {"name": "free"}])
    world = run[A0]
    for device in ("cam-0", "free-0"):
        world.online(device, 0)
    for node, resource, start_s in (("shop", "downlink", 10), ("cloud", "ingress", 25), ("cloud", "egress", 40)):
        world.add("environment", device=node, resource=resource, time_s=0, value=5.0)
        world.add("environment", device=node, resource=resource, time_s=start_s, value=0.0)
        world.add("environment", device=node, resource=resource, time_s=start_s + 10, value=5.0)
    found = load(run).disconnected
    spans = [(row.device, row.start_s, row.end_s) for row in found.itertuples()]
    cloud = [("free-0", 25, 35), ("free-0", 40, 50)]
    assert spans == [("cam-0", 10, 20), ("cam-0", 25, 35), ("cam-0", 40, 50), *cloud]


def forgetful(folder: Path) -> WrittenRun:
    """One device, two drifts; two old views are evaluated whenever the model changes."""
    run = WrittenRun(folder)
    world = run[A0]
    world.accuracy("x", 0, 70)
    world.accuracy("x", 10, 90, cause="deployment")  # phase 0: best 0.9, last 0.9
    world.accuracy("x", 20, 50, cause="drift")
    world.accuracy("x", 20, 90, cause="drift", view="previous-1")
    world.accuracy("x", 30, 85, cause="deployment")
    world.accuracy("x", 30, 60, cause="deployment", view="previous-1")
    world.accuracy("x", 40, 80, cause="deployment")  # phase 1: best 0.85, last 0.80
    world.accuracy("x", 40, 65, cause="deployment", view="previous-1")
    world.accuracy("x", 60, 40, cause="drift")
    world.accuracy("x", 60, 80, cause="drift", view="previous-1")
    world.accuracy("x", 60, 65, cause="drift", view="previous-2")
    world.accuracy("x", 70, 95, cause="deployment")
    world.accuracy("x", 70, 75, cause="deployment", view="previous-1")
    world.accuracy("x", 70, 92, cause="deployment", view="previous-2")
    return run


def test_forgetting_compares_the_best_on_an_old_view_with_the_end(tmp_path: Path) -> None:
    # view of phase 1: 0.85 - 0.75; of phase 0: 0.90 - 0.92
    assert metric(forgetful(tmp_path), "forgetting") == pytest.approx((0.10 - 0.02) / 2, abs=1e-12)


def test_backward_transfer_compares_the_end_with_the_last_time_that_view_was_current(tmp_path: Path) -> None:
    # phase 1: 0.75 - 0.80; phase 0: 0.92 - 0.90
    assert metric(forgetful(tmp_path), "backward_transfer") == pytest.approx((-0.05 + 0.02) / 2, abs=1e-12)


def test_an_old_view_of_a_gradual_drift_is_that_of_its_last_step(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    world = run[A0]
    world.accuracy("x", 0, 90)
    for time_s, correct, cause in ((20, 85, "drift"), (30, 50, "step"), (35, 55, "deployment"), (60, 40, "drift")):
        world.accuracy("x", time_s, correct, cause=cause)
    world.accuracy("x", 60, 52, cause="drift", view="previous-1")  # what was current from 30 s to 60 s
    world.accuracy("x", 60, 90, cause="drift", view="previous-2")  # what was current before 20 s
    loaded = load(run)
    found = accuracy.old_views(loaded.accuracy, loaded.worlds).set_index("view")
    assert found.loc["previous-1", ["then", "best", "now"]].tolist() == [0.55, 0.55, 0.52]
    assert found.loc["previous-2", ["then", "best", "now"]].tolist() == [0.9, 0.9, 0.9]


def test_an_old_view_is_current_while_samples_are_merely_replaced(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    world = run[A0]
    world.accuracy("x", 0, 90)
    world.accuracy("x", 20, 70, cause="replacement")
    world.accuracy("x", 60, 40, cause="drift")
    world.accuracy("x", 60, 65, cause="drift", view="previous-1")
    loaded = load(run)
    found = accuracy.old_views(loaded.accuracy, loaded.worlds).iloc[0]
    assert found[["then", "best", "now"]].tolist() == [0.7, 0.9, 0.65]


def test_forgetting_is_not_measured_without_old_views(tmp_path: Path) -> None:
    found = load(two_devices(tmp_path)).seed_metrics.loc[A0]
    assert math.isnan(found["forgetting"])
    assert math.isnan(found["backward_transfer"])


def test_the_mean_over_devices_is_a_step_function_of_those_measured(tmp_path: Path) -> None:
    steps = load(two_devices(tmp_path)).fleet
    assert steps["time_s"].tolist() == [0, 40, 50, 100]
    assert steps["accuracy"].tolist()[:3] == pytest.approx([0.9, 0.5, 0.65])
    assert steps["devices"].tolist() == [1, 1, 2, 0]
    assert math.isnan(steps["accuracy"].iloc[-1])


@pytest.mark.parametrize(
    ("target", "since_s", "seconds"),
    [(0.9, 0, 0), (0.6, 20, 0), (0.6, 45, 5), (0.65, 40, 10), (0.7, 45, math.inf)],
)
def test_time_to_a_target_is_when_the_mean_over_devices_first_reaches_it(
    tmp_path: Path, target: float, since_s: float, seconds: float
) -> None:
    run = load(two_devices(tmp_path))
    assert accuracy.time_to_target(run.fleet, run.worlds, target, since_s).loc[A0] == pytest.approx(seconds)


def test_accuracies_that_were_not_measured_are_nan_and_not_zero(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, timing_only=True)
    run[A0].accuracy("x", 0, None)
    loaded = load(run)
    found = loaded.seed_metrics.loc[A0]
    for name in ("accuracy", "worst_device_accuracy", "worst_decile_accuracy", "horizon_accuracy"):
        assert math.isnan(found[name])
    assert math.isnan(accuracy.time_to_target(loaded.fleet, loaded.worlds, 0.5).loc[A0])


def test_a_device_without_a_measurement_does_not_lower_the_others(tmp_path: Path) -> None:
    run = two_devices(tmp_path)
    run[A0].accuracy("z", 0, None)
    found = load(run).seed_metrics.loc[A0]
    assert found["accuracy"] == pytest.approx(106 / 150)
    assert found["worst_device_accuracy"] == pytest.approx(0.66)


def test_metrics_do_not_depend_on_the_order_of_rows_of_different_devices(tmp_path: Path) -> None:
    loaded = load(two_devices(tmp_path))
    shuffled = pd.concat([part for _, part in sorted(loaded.accuracy.groupby("device"), reverse=True)])
    one = accuracy.by_device(loaded.spans)
    current = analysis.spans.accuracy_spans(shuffled, loaded.worlds)
    nothing = loaded.disconnected
    other = accuracy.by_device(accuracy.served_spans(current, nothing, nothing, nothing))
    pd.testing.assert_frame_equal(one.sort_index(), other.sort_index())

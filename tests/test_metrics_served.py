"""Whose time counts: served, unserved, or not there; each number computed by hand."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from written_runs import WrittenRun

import analysis
from analysis.comparison import ScenarioComparison
from analysis.curves import devices_at
from analysis.figures import plot_device
from analysis.report.document import document
from analysis.spans import cut_at

A0 = ("a", 0)


def spans(run: analysis.Run) -> list[tuple[str, float, float, float, float]]:
    columns = ["device", "start_s", "end_s", "served_s", "unserved_s"]
    return [tuple(row) for row in run.spans[columns].itertuples(index=False)]  # type: ignore[misc]


def test_time_before_a_device_joins_and_after_it_left_is_neither_served_nor_unserved(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    world = run[A0]
    for device, serving in (("late", "device"), ("gone", "device"), ("late-cloud", "cloud"), ("gone-cloud", "cloud")):
        early = "offline" if device.startswith("late") else "online"
        world.online(device, 0, early, "joins" if early == "offline" else "start")
        world.accuracy(device, 0, 10 if early == "offline" else 90, serving=serving)
        world.online(
            device, 60, "online" if early == "offline" else "offline", "joins" if early == "offline" else "leaves"
        )
        world.accuracy(device, 60, 90 if early == "offline" else 10, serving=serving, cause="deployment")
    loaded = analysis.load(run.close())
    found = loaded.seed_metrics.loc[A0]
    assert (found["accuracy"], found["horizon_accuracy"]) == pytest.approx((0.9, 0.9))
    assert found["unserved_ratio"] == 0
    assert loaded.spans["served_s"].sum() == 40 + 60 + 40 + 60


def test_a_device_that_is_away_for_another_reason_before_it_joins_is_not_there_either(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run[A0].online("x", 0, "offline", "schedule")
    run[A0].online("x", 10, "offline", "joins")
    run[A0].online("x", 60, "online", "joins")
    run[A0].accuracy("x", 0, 90)
    assert spans(analysis.load(run.close())) == [("x", 0, 60, 0, 0), ("x", 60, 100, 40, 0)]


def test_a_drift_opens_no_episode_on_a_device_that_is_not_of_the_fleet(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    world = run[A0]
    world.online("late", 0, "offline", "joins")
    world.online("late", 30, "online", "joins")
    world.online("gone", 0, "online", "start")
    world.online("gone", 50, "offline", "leaves")
    world.online("stays", 0, "online", "start")
    for device in ("late", "gone", "stays"):
        world.accuracy(device, 0, 90)
        for phase, time_s in enumerate((20, 40, 70), start=1):
            world.drift(device, time_s, phase)
            world.accuracy(device, time_s, 10, cause="drift")
        world.accuracy(device, 60, 90, cause="deployment")
    found = analysis.load(run.close()).episodes
    told = found[["device", "time_s", "until_s", "ends_by", "outcome"]].sort_values(["device", "time_s"])
    assert told.to_records(index=False).tolist() == [
        ("gone", 20, 40, "drift", "censored"),
        ("gone", 40, 50, "leaves", "unaffected"),
        ("late", 40, 70, "drift", "unaffected"),
        ("late", 70, 100, "horizon", "censored"),
        ("stays", 20, 40, "drift", "censored"),
        ("stays", 40, 70, "drift", "unaffected"),
        ("stays", 70, 100, "horizon", "censored"),
    ]


@pytest.mark.parametrize("serving", ["device", "cloud"])
def test_time_with_an_empty_battery_is_unserved_wherever_the_model_is(tmp_path: Path, serving: str) -> None:
    run = WrittenRun(tmp_path)
    run[A0].online("x", 0, "online", "start")
    run[A0].accuracy("x", 0, 90, serving=serving)
    run[A0].accuracy("x", 50, 10, serving=serving)
    run[A0].online("x", 20, "offline", "battery")
    run[A0].online("x", 70, "online", "charged")
    loaded = analysis.load(run.close())
    found = loaded.seed_metrics.loc[A0]
    assert found["accuracy"] == pytest.approx((0.9 * 20 + 0.1 * 30) / 50)
    assert found["unserved_ratio"] == pytest.approx(0.5)


def test_a_device_whose_battery_is_dead_at_the_end_is_left_out_there(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    for device, correct in (("x", 90), ("y", 10)):
        run[A0].accuracy(device, 0, correct)
    run[A0].online("y", 20, "offline", "battery")
    assert analysis.load(run.close()).seed_metrics.loc[A0, "horizon_accuracy"] == pytest.approx(0.9)


def cut_off(folder: Path) -> analysis.Run:
    """The cloud serves x and y, one span each; y is out of its reach from 30 s to 50 s and from 80 s on."""
    run = WrittenRun(folder)
    for device, correct in (("x", 90), ("y", 10)):
        run[A0].online(device, 0, "online", "start")
        run[A0].accuracy(device, 0, correct, serving="cloud")
    for time_s, state in ((30, "offline"), (50, "online"), (80, "offline")):
        run[A0].online("y", time_s, state)
    return analysis.load(run.close())


def test_a_span_is_cut_where_the_connection_to_the_serving_cloud_is_lost_and_found(tmp_path: Path) -> None:
    own = [("y", 0, 30, 30, 0), ("y", 30, 50, 0, 20), ("y", 50, 80, 30, 0), ("y", 80, 100, 0, 20)]
    assert spans(cut_off(tmp_path)) == [("x", 0, 100, 100, 0), *own]


def test_a_device_out_of_the_cloud_s_reach_at_the_end_of_a_long_span_is_left_out_there(tmp_path: Path) -> None:
    assert cut_off(tmp_path).seed_metrics.loc[A0, "horizon_accuracy"] == pytest.approx(0.9)


def test_the_mean_over_devices_leaves_out_those_that_are_not_served_at_the_time(tmp_path: Path) -> None:
    steps = cut_off(tmp_path).fleet
    assert steps["time_s"].tolist() == [0, 30, 50, 80, 100]
    assert steps["accuracy"].tolist()[:4] == pytest.approx([0.5, 0.9, 0.5, 0.9])
    assert steps["devices"].tolist() == [2, 1, 2, 1, 0]


def test_curves_of_devices_have_gaps_where_these_are_not_served(tmp_path: Path) -> None:
    values = devices_at(cut_off(tmp_path).spans, [(0, "y")], np.array([0.0, 30.0, 60.0, 90.0]))
    assert values[0] == pytest.approx([0.1, math.nan, 0.1, math.nan], nan_ok=True)


def test_the_curves_of_a_report_leave_out_what_is_not_served(tmp_path: Path) -> None:
    found = document(ScenarioComparison(cut_off(tmp_path), "a"))
    shown = found["fleet"]["all"]["a"]
    assert (shown["t"], shown["v"]) == ([0, 30, 50, 80, 100], [0.5, 0.9, 0.5, 0.9, 0.9])
    own = found["drill"]["0"]["a"]["y"]["accuracy"]
    assert (own["t"], own["v"]) == ([0, 30, 50, 80], [0.1, None, 0.1, 0.1])  # it ends at 80 s


def test_the_figure_of_a_device_has_gaps_where_it_is_not_served(tmp_path: Path) -> None:
    figure = plot_device(cut_off(tmp_path), device="y")
    lines = [line for ax in figure.axes if ax.get_ylabel() == "accuracy" for line in ax.get_lines()]
    drawn = np.asarray(lines[0].get_ydata(), float)
    assert drawn[:4] == pytest.approx([0.1, math.nan, 0.1, math.nan], nan_ok=True)


def test_devices_keep_their_order_when_spans_are_cut(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    for device, serving in (("d2", "cloud"), ("d10", "device"), ("d1", "cloud")):
        run[A0].online(device, 0, "online", "start")
        run[A0].accuracy(device, 0, 90, serving=serving)
        run[A0].online(device, 50, "offline")
    assert analysis.load(run.close()).spans["device"].tolist() == ["d2", "d2", "d10", "d1", "d1"]


@pytest.mark.parametrize("seed", range(20))
def test_pieces_of_cut_spans_lie_wholly_within_the_others_or_wholly_outside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns = ["learner", "seed", "device", "start_s", "end_s"]

    def drawn(every: int) -> pd.DataFrame:
        found: list[tuple[str, int, str, float, float]] = []
        for device in rng.permutation(["d1", "d2", "d10"]):
            edges = sorted(rng.choice(30, int(rng.integers(0, 12)), replace=False).tolist())
            found += [("a", 0, str(device), start_s, end_s) for start_s, end_s in list(pairwise(edges))[::every]]
        return pd.DataFrame(found, columns=columns).astype({"start_s": "float64", "end_s": "float64"})

    rows, others = drawn(1), drawn(int(rng.integers(1, 3)))  # touching ones and ones apart
    pieces, inside = cut_at(rows, others)
    covered = {(s.device, second) for s in others.itertuples() for second in range(int(s.start_s), int(s.end_s))}
    whole = [(s.device, second) for s in rows.itertuples() for second in range(int(s.start_s), int(s.end_s))]
    told: list[tuple[str, int]] = []
    for piece, within in zip(pieces.itertuples(), inside, strict=True):
        seconds = [(piece.device, second) for second in range(int(piece.start_s), int(piece.end_s))]
        assert seconds
        assert {second in covered for second in seconds} == {bool(within)}
        told += seconds
    assert told == whole

"""Bytes, compute, memory, energy and requests against numbers computed by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from written_runs import WrittenRun

import analysis
from analysis import accuracy, communication
from analysis.metrics import METRICS, documentation

A0 = ("a", 0)


def numbers(run: WrittenRun) -> pd.Series[Any]:
    return analysis.load(run.close()).seed_metrics.loc[A0]


def sending(folder: Path) -> WrittenRun:
    run = WrittenRun(folder)
    world = run[A0]
    world.send("x", 0, 10, 1000)
    world.send("x", 10, 20, 500, direction="down")
    world.send("y", 0, 5, 300, kind="data")
    world.send("y", 5, 8, 300, kind="data", sent_bytes=120, status="cut")
    world.send("y", 90, None, 400, sent_bytes=50, direction="down", kind="control")
    world.send("x", 30, 40, 70, direction="peer", peer="y")
    world.add("serving", device="x", start_s=0, end_s=100, mode="cloud", requests=10, served=8, unserved=2,
              up_bytes=80, down_bytes=16)  # fmt: skip
    return run


def test_bytes_are_counted_by_direction_with_those_in_vain_and_those_of_requests(tmp_path: Path) -> None:
    found = numbers(sending(tmp_path))
    assert found["up_bytes"] == 1000 + 300 + 120 + 80
    assert found["down_bytes"] == 500 + 50 + 16
    assert found["peer_bytes"] == 70


def test_bytes_are_counted_by_kind(tmp_path: Path) -> None:
    found = numbers(sending(tmp_path))
    kinds = [found[f"{kind}_bytes"] for kind in ("weights", "data", "control", "request")]
    assert kinds == [1570, 420, 50, 96]
    assert sum(kinds) == found["both_ways_bytes"]


def test_wasted_bytes_are_those_sent_before_a_transfer_was_cut(tmp_path: Path) -> None:
    assert numbers(sending(tmp_path))["wasted_bytes"] == 120


def test_an_exchange_counts_twice_both_ways_and_once_one_way(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run[A0].send("x", 0, 10, 1000)
    run[A0].send("x", 10, 20, 1000, direction="down")
    found = numbers(run)
    assert (found["both_ways_bytes"], found["one_way_bytes"]) == (2000, 1000)


def test_traffic_is_tidy_and_adds_up(tmp_path: Path) -> None:
    run = analysis.load(sending(tmp_path).close())
    tidy = communication.traffic(run.transfers, run.serving)
    assert tidy["bytes"].sum() == run.seed_metrics.loc[A0, "both_ways_bytes"]
    by_fate = tidy.groupby("fate")["bytes"].sum().to_dict()
    assert by_fate == {"useful": 1000 + 500 + 300 + 70 + 96, "wasted": 120, "in flight": 50}
    assert tidy.loc[tidy["kind"] == "requests", "direction"].tolist() == ["up", "down"]


def test_a_learner_that_sent_nothing_sent_zero_bytes(tmp_path: Path) -> None:
    found = numbers(WrittenRun(tmp_path))
    assert found["both_ways_bytes"] == 0
    assert found["device_compute_s"] == 0
    assert found["peak_memory_bytes"] == 0


def test_bytes_to_a_target_are_those_sent_until_it_was_reached(tmp_path: Path) -> None:
    run = sending(tmp_path)
    run[A0].accuracy("x", 0, 50)
    run[A0].accuracy("x", 25, 80, cause="deployment")
    loaded = analysis.load(run.close())
    for since_s, target, expected in (
        (0, 0.8, 1000 + 500 + 300 + 120 + 96 / 4),
        (6, 0.8, 1000 + 500 + 120 + 96 * 19 / 100),
        (0, 0.5, 0.0),
        (0, 0.9, math.inf),
    ):
        seconds = accuracy.time_to_target(loaded.fleet, loaded.worlds, target, since_s)
        found = communication.bytes_to_target(loaded.transfers, loaded.serving, loaded.worlds, seconds, since_s)
        assert found.loc[A0] == pytest.approx(expected)


def test_bytes_to_a_target_are_not_measured_without_accuracy(tmp_path: Path) -> None:
    loaded = analysis.load(sending(tmp_path).close())
    seconds = accuracy.time_to_target(loaded.fleet, loaded.worlds, 0.5)
    found = communication.bytes_to_target(loaded.transfers, loaded.serving, loaded.worlds, seconds)
    assert math.isnan(found.loc[A0])


def working(folder: Path) -> WrittenRun:
    run = WrittenRun(folder)
    world = run[A0]
    world.job("x", 0, 10, busy_s=8.0, flops=100.0, done_flops=100.0)
    world.job("y", 0, 10, busy_s=2.5, flops=100.0, done_flops=40.0, status="killed")
    world.job("y", 20, 20, status="out_of_memory", flops=100.0)
    world.job("y", 95, None, busy_s=5.0, flops=100.0, done_flops=60.0)
    world.job("cloud", 0, 1, busy_s=1.0, flops=1000.0, done_flops=1000.0)
    world.job("cloud", 0, 0, flops=7000.0, done_flops=7000.0, status="offline", kind="pretrain")
    return run


def test_compute_seconds_of_devices_and_cloud_are_apart(tmp_path: Path) -> None:
    found = numbers(working(tmp_path))
    assert (found["device_compute_s"], found["cloud_compute_s"]) == (15.5, 1.0)


def test_flops_are_those_done_and_pretraining_is_told_apart(tmp_path: Path) -> None:
    found = numbers(working(tmp_path))
    assert (found["flops"], found["wasted_flops"], found["offline_flops"]) == (1200, 40, 7000)


def test_jobs_that_did_not_fit_and_jobs_that_were_killed_are_counted(tmp_path: Path) -> None:
    found = numbers(working(tmp_path))
    assert (found["out_of_memory"], found["killed"]) == (1, 1)


def test_peak_memory_is_what_jobs_held_at_once_on_any_device(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    for device, event, used, needed, available in (
        ("x", "start", 300.0, 300.0, 1000.0),
        ("x", "start", 700.0, 400.0, 1000.0),
        ("x", "end", 400.0, 300.0, 500.0),
        ("x", "refused", 400.0, 9000.0, 1000.0),
        ("y", "start", 90.0, 90.0, 100.0),
        ("cloud", "start", 1e9, 1e9, 1e9),
    ):
        run[A0].add("memory", device=device, time_s=1.0, event=event, used_bytes=used, needed_bytes=needed,
                    available_bytes=available)  # fmt: skip
    found = numbers(run)
    assert found["peak_memory_bytes"] == 700
    assert found["peak_memory_ratio"] == pytest.approx(0.9)


def test_energy_is_summed_over_devices(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    for device, joules in (("x", 3.0), ("y", 4.5)):
        run[A0].add("energy", device=device, online_s=100, total_j=joules)
    assert numbers(run)["energy_j"] == 7.5


def test_energy_is_not_measured_where_one_device_has_no_power_profile(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run[A0].add("energy", device="x", online_s=100, total_j=3.0)
    run[A0].add("energy", device="y", online_s=100)
    assert math.isnan(numbers(run)["energy_j"])


def test_requests_are_weighted_and_latencies_are_those_of_the_worst_stretch(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    for start_s, requests, unserved, latency_s in ((0, 10, 1, 0.2), (50, 90, 4, 0.4), (90, 20, 20, None)):
        run[A0].add("serving", device="x", start_s=start_s, end_s=start_s + 10, mode="cloud", requests=requests,
                    served=requests - unserved, unserved=unserved, latency_p95_s=latency_s)  # fmt: skip
    found = numbers(run)
    assert found["unserved_requests_ratio"] == pytest.approx(25 / 120)
    assert found["serving_latency_p95_s"] == 0.4
    assert math.isnan(found["serving_latency_p50_s"])


def test_without_requests_their_service_is_not_measured(tmp_path: Path) -> None:
    found = numbers(WrittenRun(tmp_path))
    assert math.isnan(found["unserved_requests_ratio"])
    assert math.isnan(found["serving_latency_p99_s"])


def test_every_metric_has_a_column_in_the_summary(tmp_path: Path) -> None:
    run = analysis.load(sending(tmp_path).close())
    assert list(run.seed_metrics.columns) == list(METRICS)
    assert set(METRICS) <= set(run.summary().columns)


def test_the_page_of_metrics_is_in_step_with_the_code() -> None:
    page = Path(__file__).parents[1] / "docs" / "metrics.md"
    assert page.read_text(encoding="utf-8") == documentation()


def test_names_of_metrics_end_in_their_unit() -> None:
    endings = {"s": "_s", "bytes": "_bytes", "J": "_j", "FLOP": "flops"}
    for name, metric in METRICS.items():
        assert metric.name == name
        assert name.endswith(endings.get(metric.unit, ""))

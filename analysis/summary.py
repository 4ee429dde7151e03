"""From tables to a row a learner: the number of each seed, and over seeds with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis import accuracy, communication, detection, modules, resources, survival
from analysis.episodes import observations
from analysis.intervals import Interval, mean_interval
from analysis.metrics import METRICS
from analysis.worlds import DEVICE, WORLD, index, ratio, total

TIMED = ("detection", "reaction", "deployment", "recovery")
"""The adaptation latencies of a summary."""


def seed_metrics(
    tables: Mapping[str, pd.DataFrame],
    worlds: pd.DataFrame,
    episodes: pd.DataFrame,
    spans: pd.DataFrame,
) -> pd.DataFrame:
    """Return every metric of every world.

    Parameters
    ----------
    tables
        The run's tables by name.
    worlds
        See :mod:`analysis.worlds`.
    episodes
        From :func:`analysis.episodes.episodes`.
    spans
        Accuracy spans of the current view with served time (:func:`analysis.accuracy.served_spans`).

    Returns
    -------
    DataFrame
        Indexed by (learner, seed), the columns are those of :data:`analysis.metrics.METRICS`.
    """
    columns = {
        **_accuracy(tables["accuracy"], worlds, spans),
        **_latency(worlds, episodes),
        "missed_ratio": detection.missed_ratio(episodes, worlds),
        "false_alarms_per_h": detection.false_alarms_per_h(tables["detections"], tables["drifts"], worlds),
        **_communication(tables["transfers"], tables["serving"], worlds),
        **_resources(tables, worlds),
        "load_entropy": modules.lowest_entropy(tables["selections"], worlds),
    }
    return pd.DataFrame({name: columns[name] for name in METRICS}, index(worlds))


def estimates(seeds: pd.DataFrame, episodes: pd.DataFrame) -> pd.DataFrame:
    """Return every metric of every learner over its seeds, tidy.

    Parameters
    ----------
    seeds
        From :func:`seed_metrics`.
    episodes
        The same episodes.

    Returns
    -------
    DataFrame
        ``learner, metric, value, low, high, seeds``: the last is at how many seeds it was measured.
    """
    learners = list(dict.fromkeys(seeds.index.get_level_values("learner")))
    timed = {
        f"{measure}{suffix}": _timed(episodes, measure, learners, bool(suffix == "_mean_s"))
        for measure in TIMED
        for suffix in ("_s", "_mean_s")
    }
    rows = []
    for learner in learners:
        own = seeds.xs(learner, level="learner")
        for name in METRICS:
            found = timed[name][learner] if name in timed else mean_interval(own[name].to_numpy(np.float64))
            low, high = np.clip([found.low, found.high], *METRICS[name].range)
            rows.append((learner, name, found.value, low, high, found.seeds))
    return pd.DataFrame(rows, columns=["learner", "metric", "value", "low", "high", "seeds"])


def wide(estimates: pd.DataFrame, *, intervals: bool = True) -> pd.DataFrame:
    """Turn tidy estimates into a row a learner: ``accuracy, accuracy_low, accuracy_high, worst_device_...``."""
    columns: dict[str, pd.Series[float]] = {}
    for name in METRICS:
        own = estimates[estimates["metric"] == name].set_index("learner")
        columns[name] = own["value"]
        if intervals:
            columns[f"{name}_low"], columns[f"{name}_high"] = own["low"], own["high"]
    return pd.DataFrame(columns, dtype="float64")


def _accuracy(rows: pd.DataFrame, worlds: pd.DataFrame, spans: pd.DataFrame) -> dict[str, pd.Series[float]]:
    devices = accuracy.by_device(spans)
    views = accuracy.old_views(rows, worlds)
    return {
        "accuracy": accuracy.time_weighted(devices, worlds),
        "worst_device_accuracy": accuracy.worst_device(devices, worlds),
        "worst_decile_accuracy": accuracy.worst_decile(devices, worlds),
        "horizon_accuracy": accuracy.at_horizon(spans, worlds),
        "forgetting": accuracy.forgetting(views, worlds),
        "backward_transfer": accuracy.backward_transfer(views, worlds),
        "unserved_ratio": accuracy.unserved_ratio(spans, worlds),
    }


def _latency(worlds: pd.DataFrame, episodes: pd.DataFrame) -> dict[str, pd.Series[float]]:
    columns = {}
    for measure in TIMED:
        seen = observations(episodes, measure)
        limit_s = survival.common_limit_s(seen)
        by_world = dict(iter(seen.groupby(WORLD)))
        nothing = seen.iloc[:0]
        medians = [survival.median(by_world.get(key, nothing)).value for key in index(worlds)]
        means = [survival.restricted_mean(by_world.get(key, nothing), limit_s).value for key in index(worlds)]
        columns[f"{measure}_s"] = pd.Series(medians, index(worlds), dtype="float64")
        columns[f"{measure}_mean_s"] = pd.Series(means, index(worlds), dtype="float64")
    count = {
        outcome: total(episodes[episodes["outcome"] == outcome], worlds)
        for outcome in ("recovered", "censored", "battery", "unaffected")
    }
    lost = count["censored"] + count["battery"]
    measured = count["unaffected"] + count["recovered"] + lost
    anything = (measured > 0) | (total(episodes, worlds) == 0)  # 0 of 0 is 0; of unmeasured ones we know nothing
    courses = episodes.drop_duplicates([*DEVICE, "time_s"])  # drifts at one instant share the accuracy that follows
    return columns | {
        "unrecovered_ratio": ratio(lost, count["recovered"] + lost),
        "episodes": total(episodes, worlds),
        "unaffected": count["unaffected"].where(anything),
        "relapses": total(courses, worlds, courses["relapses"].fillna(0.0)).where(anything),
    }


def _timed(episodes: pd.DataFrame, measure: str, learners: list[str], restricted: bool) -> dict[str, Interval]:
    seen = observations(episodes, measure)
    limit_s = survival.common_limit_s(seen)
    found = {}
    for learner in learners:
        own = seen[seen["learner"] == learner]
        found[learner] = survival.restricted_mean(own, limit_s) if restricted else survival.median(own)
    return found


def _communication(transfers: pd.DataFrame, serving: pd.DataFrame, worlds: pd.DataFrame) -> dict[str, pd.Series[float]]:
    def sent(**chosen: str) -> pd.Series[float]:
        return communication.sent_bytes(transfers, serving, worlds, **chosen)

    up, down, peer = sent(direction="up"), sent(direction="down"), sent(direction="peer")
    return {
        "up_bytes": up,
        "down_bytes": down,
        "peer_bytes": peer,
        "both_ways_bytes": communication.both_ways_bytes(up, down, peer),
        "one_way_bytes": communication.one_way_bytes(up, down, peer),
        "weights_bytes": sent(kind="weights"),
        "data_bytes": sent(kind="data"),
        "control_bytes": sent(kind="control"),
        "request_bytes": sent(kind="requests"),
        "wasted_bytes": sent(fate="wasted"),
    }


def _resources(tables: Mapping[str, pd.DataFrame], worlds: pd.DataFrame) -> dict[str, pd.Series[float]]:
    jobs, memory, serving = tables["computations"], tables["memory"], tables["serving"]
    return {
        "device_compute_s": resources.busy_s(jobs, worlds),
        "cloud_compute_s": resources.busy_s(jobs, worlds, cloud=True),
        "flops": resources.done_flops(jobs, worlds),
        "wasted_flops": resources.done_flops(jobs, worlds, wasted=True),
        "offline_flops": resources.offline_flops(jobs, worlds),
        "energy_j": resources.energy_j(tables["energy"], worlds),
        "peak_memory_bytes": resources.peak_memory_bytes(memory, worlds),
        "peak_memory_ratio": resources.peak_memory_ratio(memory, worlds),
        "out_of_memory": resources.job_count(jobs, worlds, "out_of_memory"),
        "killed": resources.job_count(jobs, worlds, "killed"),
        "diverged": resources.diverged(jobs, worlds),
        "battery_deaths": resources.battery_deaths(tables["availability"], worlds),
        "unserved_requests_ratio": resources.unserved_requests_ratio(serving, worlds),
        **{f"serving_latency_{q}_s": resources.serving_latency_s(serving, worlds, q) for q in ("p50", "p95", "p99")},
    }


def paired_values(seeds: pd.DataFrame, episodes: pd.DataFrame, name: str) -> pd.Series[float]:
    """Return one number a (learner, seed) whose paired differences compare learners by this metric.

    For restricted means these are pseudo-values (:func:`analysis.survival.pseudo_values`); medians have none.
    """
    metric = METRICS[name]
    if metric.over == "median":
        raise ValueError(f"{name} is a median: compare restricted means ({name.removesuffix('_s')}_mean_s)")
    if metric.over == "seeds":
        return seeds[name]
    seen = observations(episodes, name.removesuffix("_mean_s"))
    return survival.pseudo_values(seen, survival.common_limit_s(seen)).reindex(seeds.index, fill_value=math.nan)

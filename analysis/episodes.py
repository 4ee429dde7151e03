"""Drift episodes: one row a (device, drift), with how long it can be followed and when each thing happened.

An episode opens with the first step of a drift on a device that is of the fleet then: it has joined, and has not left
for good. It is followed until the next episode opens on that device, it leaves, or its world ends; what has not
happened by then is *right-censored*: it may happen later, we only know that it had not yet. What happens at the very
instant of the next drift belongs to that one. A device whose battery is dead will never recover: a *competing event*,
not a censoring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.recovery import recoveries
from analysis.spans import absent_spans
from analysis.worlds import DEVICE, Flags, Floats, per_row, shared_groups

MEASURES = ("detection", "reaction", "deployment", "cohort_deployment", "score_deployment", "recovery")
"""What is timed from a drift on, each in a column ``<measure>_s`` of :func:`episodes`."""


@dataclass(frozen=True, slots=True)
class RecoveryRule:
    """When a device counts as recovered: accuracy at least (1 - epsilon) x reference, held for ``hold_s``.

    Parameters
    ----------
    epsilon
        Allowed loss, as a share of the reference, in [0, 1).
    window_s
        The reference is the time-weighted accuracy over so long before the drift (less where the device's
        previous drift or the start is closer).
    hold_s
        How long the level must be held; 0 counts any touch, and falls below it later are counted as relapses.
    ideal
        The label of a learner: its time-weighted accuracy *after* the drift, until the episode ends, is the
        reference instead (same seed, same device).
    """

    epsilon: float = 0.05
    window_s: float = 60.0
    hold_s: float = 0.0
    ideal: str | None = None


def episodes(
    tables: Mapping[str, pd.DataFrame], worlds: pd.DataFrame, rule: RecoveryRule | None = None
) -> pd.DataFrame:
    """Time what followed each drift on each device.

    Parameters
    ----------
    tables
        By name: ``drifts``, ``computations``, ``deployments``, ``accuracy``, ``availability``, ``detections``.
    worlds
        See :mod:`analysis.worlds`.
    rule
        When a device counts as recovered.

    Returns
    -------
    DataFrame
        A row an episode, with ``learner, seed, device, episode_id, drift_id, cohort_id, name, kind, phase,
        time_s`` and

        - ``until_s``, ``ends_by`` ("drift", "leaves" or "horizon"): how far it is followed;
        - ``battery_s``: when the battery died for good within it, NaN if it did not;
        - ``watched``: whether a detector was set up on the device by then and there was something to notice (a mere
          replacement is nothing); ``detection_s``: from the drift to the first alarm credited to it or to another
          drift of the device at that instant, for an alarm does not tell them apart;
        - ``reaction_s``: from the drift to the start of the first job that trained on a sample of this device
        taken
          after it and gave a model (a killed job informs nothing);
        - ``deployment_s``: to the first model so informed that serves this device, before its battery died;
          ``cohort_deployment_s`` counts samples of any device that the same occurrence struck, ``score_deployment_s``
          also jobs that only scored samples;
        - ``recovery_s``, ``outcome``, ``relapses``, ``reference``, ``dropped_to``: see
          :func:`analysis.recovery.recoveries`.

        NaN in a time: not seen by ``until_s`` (of ``recovery_s``: see ``outcome``).
    """
    rule = rule or RecoveryRule()
    drifts = tables["drifts"]
    found = _openings(drifts, worlds, absent_spans(tables["availability"], worlds))
    found["battery_s"] = _battery_death(found, tables["availability"])
    over_s = _over(found)
    found["watched"], found["detection_s"] = _detected(found, tables["detections"], over_s)
    found["reaction_s"] = _first(found, _informing_jobs(tables["computations"]), over_s)
    dead_s = np.fmin(over_s, found["battery_s"].to_numpy())
    for column, name in (
        ("informed_by", "deployment_s"),
        ("cohort_informed_by", "cohort_deployment_s"),
        ("score_informed_by", "score_deployment_s"),
    ):
        found[name] = _first(found, _informed_models(tables["deployments"], drifts, column), dead_s)
    found["score_deployment_s"] = np.fmin(found["score_deployment_s"], found["deployment_s"])
    levels = recoveries(found, drifts, tables["accuracy"], worlds, rule.epsilon, rule.window_s, rule.hold_s, rule.ideal)
    found = found.drop(columns="joined_s")
    return found.merge(levels, on=[*DEVICE, "time_s"], how="left", validate="many_to_one")


def observations(episodes: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return the durations of one measure as survival data: what was seen, and what was censored.

    For ``detection`` only episodes on devices with a detector count. For ``recovery`` only episodes with a drop count
    (an unaffected one is no recovery of 0 s) and only those whose accuracy was measured. A device whose battery died
    stays among those that have not recovered until the episode's own end: that end is known in advance (the next drift,
    the horizon), so the Kaplan-Meier estimate on these data is the cumulative incidence under the competing event (Fine
    and Gray 1999, section 3.1, "censoring complete").

    Returns
    -------
    DataFrame
        ``learner, seed, device, duration_s, observed``.
    """
    if measure not in MEASURES:
        raise ValueError(f"no measure {measure!r}: one of {', '.join(MEASURES)}")
    rows = episodes
    if measure == "recovery":
        rows = rows[rows["outcome"].isin(["recovered", "censored", "battery"])]
    if measure == "detection":
        rows = rows[rows["watched"]]
    observed = rows[f"{measure}_s"].notna()
    duration = rows[f"{measure}_s"].fillna(rows["until_s"] - rows["time_s"])
    return rows[DEVICE].assign(duration_s=duration, observed=observed).reset_index(drop=True)


def _openings(drifts: pd.DataFrame, worlds: pd.DataFrame, absent: pd.DataFrame) -> pd.DataFrame:
    names = [*DEVICE, "episode_id", "drift_id", "cohort_id", "name", "kind", "phase", "time_s"]
    opened = drifts.loc[drifts["opens_episode"], names]
    opened = opened.assign(until_s=per_row(opened, worlds, "until_s"))
    opened = _while_there(opened[opened["time_s"] < opened["until_s"]], absent)
    moments = opened[[*DEVICE, "time_s"]].drop_duplicates().sort_values([*DEVICE, "time_s"])
    moments["next_s"] = moments.groupby(DEVICE)["time_s"].shift(-1)
    opened = opened.merge(moments, on=[*DEVICE, "time_s"])
    by_drift = opened["next_s"] < opened["until_s"]
    end = np.select([by_drift, opened["leaves"]], ["drift", "leaves"], "horizon")
    until_s = opened["until_s"].where(~by_drift, opened["next_s"])
    ends_by = pd.Series(end, opened.index, dtype="str")
    return opened.assign(until_s=until_s, ends_by=ends_by).drop(columns=["next_s", "leaves"])


def _while_there(opened: pd.DataFrame, absent: pd.DataFrame) -> pd.DataFrame:
    """Leave out drifts of devices that had not joined or had left for good; the others are followed until they leave.

    Adds ``leaves``, whether that ends it before its world does, and ``joined_s``, from when on the device was there.
    """
    opened = opened.reset_index(drop=True)
    pairs = opened[[*DEVICE, "time_s"]].reset_index().merge(absent, on=DEVICE)
    away = pairs.loc[(pairs["start_s"] <= pairs["time_s"]) & (pairs["time_s"] < pairs["end_s"]), "index"]
    leaves_s = pairs[pairs["start_s"] > pairs["time_s"]].groupby("index")["start_s"].min().reindex(opened.index)
    leaves = leaves_s < opened["until_s"]
    joined_s = pairs[pairs["end_s"] <= pairs["time_s"]].groupby("index")["end_s"].max().reindex(opened.index)
    until_s = opened["until_s"].where(~leaves, leaves_s)
    opened = opened.assign(until_s=until_s, leaves=leaves, joined_s=joined_s.fillna(0.0))
    there: pd.DataFrame = opened[~opened.index.isin(away)]
    return there


def _over(episodes: pd.DataFrame) -> Floats:
    """The first instant that is not an episode's any more: the next drift's, leaving, or just after its world's end."""
    until_s = episodes["until_s"].to_numpy(np.float64)
    return np.where(episodes["ends_by"] == "horizon", np.nextafter(until_s, np.inf), until_s)


def _battery_death(episodes: pd.DataFrame, availability: pd.DataFrame) -> pd.Series[float]:
    """When each episode's device was drained and not back by the episode's end; NaN if it was not."""
    one, other = shared_groups(episodes, availability, DEVICE)
    states = availability[["state", "cause"]].assign(since_s=availability["time_s"], device=other)
    ends = episodes[["until_s"]].assign(device=one, _row=np.arange(len(episodes)))
    last = pd.merge_asof(
        ends.sort_values("until_s", kind="stable"),
        states.sort_values("since_s", kind="stable"),
        left_on="until_s",
        right_on="since_s",
        by="device",
        allow_exact_matches=False,
    ).sort_values("_row")
    dead = ((last["state"] == "offline") & (last["cause"] == "battery")).to_numpy()
    return pd.Series(np.where(dead, np.maximum(last["since_s"], episodes["time_s"].to_numpy()), np.nan))


def _detected(episodes: pd.DataFrame, detections: pd.DataFrame, over_s: Floats) -> tuple[Flags, Floats]:
    """Whether each episode's device was watched when it opened, and after how long the alarm came (NaN: it did not)."""
    one, other = shared_groups(episodes, detections, DEVICE)
    armed_s = np.full(max(one.max(initial=-1), other.max(initial=-1)) + 1, np.inf)
    armed = (detections["event"] == "armed").to_numpy(bool)
    np.minimum.at(armed_s, other[armed], detections["time_s"].to_numpy()[armed])
    world = ["learner", "seed", "drift_id"]
    alarms = detections.loc[detections["event"] == "detection", [*world, "time_s"]].drop_duplicates(world)
    alarms = alarms.rename(columns={"time_s": "alarm_s"})
    alarm_s = episodes[[*DEVICE, "drift_id", "time_s"]].merge(alarms, on=world, how="left")
    first_s = alarm_s.groupby([*DEVICE, "time_s"])["alarm_s"].transform("min").to_numpy(np.float64)
    delay_s = np.where(first_s < over_s, first_s - episodes["time_s"].to_numpy(), np.nan)
    noticeable = (episodes["kind"] != "replacement").to_numpy()  # new samples of the same kind are nothing to notice
    return noticeable & (armed_s[one] <= episodes["time_s"].to_numpy()), delay_s


def _informing_jobs(computations: pd.DataFrame) -> pd.DataFrame:
    """Jobs that read samples and give a model, a row for each device whose samples they read."""
    gives = (computations["output_model_id"] != "") & (computations["input_data"] != "")
    jobs = computations.loc[gives & computations["status"].isin(["done", "running", "ideal"])]
    first = jobs.groupby(["learner", "seed", "input_data"])["start_s"].min().reset_index()  # only the first matters
    read = first["input_data"].str.split(";").explode()
    parts = read.str.rsplit("@", n=1)
    return pd.DataFrame(
        {
            "learner": first["learner"].reindex(read.index),
            "seed": first["seed"].reindex(read.index),
            "device": parts.str[0].astype("str"),
            "phase": parts.str[1].astype("int64"),
            "event_s": first["start_s"].reindex(read.index),
        }
    )


def _informed_models(deployments: pd.DataFrame, drifts: pd.DataFrame, column: str) -> pd.DataFrame:
    """Deployments of models informed by a drift of the device that they serve, with that drift's phase."""
    world = ["learner", "seed"]
    rows = deployments.loc[deployments[column] != "", [*DEVICE, "time_s", column]]
    rows = rows.rename(columns={"time_s": "event_s", column: "drift_id"})
    return rows.merge(drifts[[*world, "drift_id", "phase"]], on=[*world, "drift_id"])


def _first(episodes: pd.DataFrame, events: pd.DataFrame, over_s: Floats) -> pd.Series[float]:
    """Seconds from each drift to its device's first event of its phase or a later one; NaN: none before ``over_s``."""
    one, other = shared_groups(episodes, events, DEVICE)
    first = events[["phase", "event_s"]].assign(device=other)
    first = first.groupby(["device", "phase"])["event_s"].min().reset_index()
    first = first.sort_values("phase", ascending=False, kind="stable")
    first["event_s"] = first.groupby("device")["event_s"].cummin()  # of this phase or any later one
    wanted = episodes[["phase", "time_s"]].assign(device=one, over_s=over_s, _row=np.arange(len(episodes)))
    found = pd.merge_asof(
        wanted.sort_values("phase", kind="stable"),
        first.sort_values("phase", kind="stable"),
        on="phase",
        by="device",
        direction="forward",
    ).sort_values("_row", ignore_index=True)
    return (found["event_s"] - found["time_s"]).where(found["event_s"] < found["over_s"])

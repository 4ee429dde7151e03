"""Recovery: when a device's accuracy was back at its level before a drift, exact on the step function."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.spans import accuracy_spans
from analysis.worlds import DEVICE, Flags, Floats, Ints, groups

_TOLERANCE = 1e-12
"""Accuracies are ratios of small integers, references weighted sums of them: rounding is below this."""


def recoveries(
    episodes: pd.DataFrame,
    drifts: pd.DataFrame,
    accuracy: pd.DataFrame,
    worlds: pd.DataFrame,
    epsilon: float,
    window_s: float,
    hold_s: float,
    ideal: str | None = None,
) -> pd.DataFrame:
    """Find for each episode when accuracy was back, and what became of it otherwise.

    The level is (1 - epsilon) x the reference: time-weighted accuracy over ``window_s`` before the drift (cut at the
    device's previous episode, where it joined and at its first accuracy), or after the drift the learner ``ideal``'s. A
    drop is an accuracy below the level at the drift or at one of its later steps, even if a deployment at that very
    instant raises it again: then it is recovered from after 0 s. Recovery is the first time from the first drop on
    from which accuracy is at the level for at least ``hold_s``, before the episode ends and the battery dies.

    Parameters
    ----------
    episodes
        ``learner, seed, device, time_s, until_s, battery_s, joined_s``; several at one instant on one device are one
        here.

    accuracy
        ``learner, seed, device, time_s, view, cause, accuracy``.

    Returns
    -------
    DataFrame
        ``learner, seed, device, time_s`` (unique) and

        - ``outcome``: ``unmeasured`` (no accuracy before or at the drift), ``unaffected`` (no drop),
        ``recovered``,
          ``battery`` (the battery died first) or ``censored``;
        - ``recovery_s``: from the drift on; NaN unless recovered;
        - ``relapses``: how often accuracy fell below the level after recovery, within the episode;
        - ``reference``; ``dropped_to``: the lowest accuracy within the episode.
    """
    found = episodes[[*DEVICE, "time_s", "until_s", "battery_s", "joined_s"]].drop_duplicates([*DEVICE, "time_s"])
    found = found.sort_values([*DEVICE, "time_s"]).reset_index(drop=True)
    pieces = _pieces(found, drifts, accuracy, worlds, window_s)
    known = pieces["accuracy"].notna().to_numpy()
    weight = np.where(known, pieces["end_s"] - pieces["start_s"], 0.0)
    integral = weight * np.where(known, pieces["accuracy"], 0.0)

    after = pieces["episode"].to_numpy()
    before = pieces["reference_of"].to_numpy()
    if ideal is None:
        reference = _mean(before, integral, weight, len(found))
    else:
        reference = _of_ideal(found, _mean(after, integral, weight, len(found)), ideal)
    level = (1.0 - epsilon) * reference

    rows = pieces[known & (after >= 0)]
    episode = rows["episode"].to_numpy()
    return found[[*DEVICE, "time_s"]].assign(
        reference=reference, **_outcomes(found, rows, episode, level, reference, hold_s)
    )


def _outcomes(
    found: pd.DataFrame, rows: pd.DataFrame, episode: Ints, level: Floats, reference: Floats, hold_s: float
) -> dict[str, Floats | pd.Series[str]]:
    """Walk the pieces of each episode, all episodes at once: drop, recovery, relapses."""
    count = len(found)
    start_s, end_s = rows["start_s"].to_numpy(), rows["end_s"].to_numpy()
    ok: Flags = rows["accuracy"].to_numpy() >= level[episode] - _TOLERANCE
    place = np.arange(len(rows))
    struck = rows["struck_to"].to_numpy()
    dips = struck < level[episode] - _TOLERANCE  # if only for an instant
    drop = _first_place(episode, place, np.where(np.isnan(struck), rows["step"].to_numpy() & ~ok, dips), count)
    seen = np.bincount(episode, minlength=count) > 0

    # Runs: consecutive pieces of one episode on the same side of the level, with no gap or dip between them.
    broken = np.ones(len(rows), bool)
    broken[1:] = (episode[1:] != episode[:-1]) | (ok[1:] != ok[:-1]) | (start_s[1:] > end_s[:-1])
    was_ok = np.append(False, ok[:-1] & (episode[1:] == episode[:-1]))[: len(rows)]
    falls = (broken & ~ok) | (dips & was_ok)
    broken |= dips & ok
    run = np.cumsum(broken) - 1
    first = np.flatnonzero(broken)
    last = np.append(first[1:], len(rows)) - 1 if len(rows) else first
    dead_s = found["battery_s"].fillna(np.inf).to_numpy()[episode]
    held_s = np.minimum(end_s[last][run], dead_s) - start_s[first][run]
    recovers = broken & ok & (place >= drop[episode]) & (start_s < dead_s) & (held_s >= hold_s - _TOLERANCE)
    back = _first_place(episode, place, recovers, count)
    recovered = (back < len(rows)) & (drop < len(rows))
    falls &= (place > back[episode]) & (start_s < dead_s)

    measured = seen & ~np.isnan(reference)
    outcome = np.select(
        [~measured, drop == len(rows), recovered, found["battery_s"].notna()],
        ["unmeasured", "unaffected", "recovered", "battery"],
        "censored",
    )
    back_s = np.append(start_s, np.nan)[np.where(recovered & measured, back, len(rows))]
    lowest = np.full(count, np.inf)
    np.minimum.at(lowest, episode, np.fmin(rows["accuracy"].to_numpy(), struck))
    return {
        "dropped_to": np.where(seen, lowest, np.nan),
        "outcome": pd.Series(outcome, dtype="str"),
        "recovery_s": back_s - found["time_s"].to_numpy(),
        "relapses": np.bincount(episode[falls], minlength=count).astype(np.float64),
    }


def _first_place(episode: Ints, place: Ints, holds: Flags, count: int) -> Ints:
    """The first piece of each episode at which ``holds``; the number of pieces where there is none."""
    first = np.full(count, len(place), np.intp)
    np.minimum.at(first, episode[holds], place[holds])
    return first


def _mean(owner: Ints, integral: Floats, weight: Floats, count: int) -> Floats:
    owned = owner >= 0
    sums = np.bincount(owner[owned], integral[owned], count)
    times = np.bincount(owner[owned], weight[owned], count)
    mean: Floats = np.divide(sums, times, out=np.full(count, np.nan), where=times > 0)
    return mean


def _of_ideal(found: pd.DataFrame, after: Floats, ideal: str) -> Floats:
    key = ["seed", "device", "time_s"]
    theirs = found.assign(reference=after).loc[found["learner"] == ideal, [*key, "reference"]]
    return found[key].merge(theirs, on=key, how="left")["reference"].to_numpy(np.float64)


def _pieces(
    found: pd.DataFrame, drifts: pd.DataFrame, accuracy: pd.DataFrame, worlds: pd.DataFrame, window_s: float
) -> pd.DataFrame:
    """Cut the accuracy spans of the drifted devices at every moment that matters: each piece is whole.

    Returns ``start_s, end_s, accuracy, step, struck_to, episode, reference_of``: ``step`` where a step of a drift falls
    on the piece's start, the least accuracy that it left there (before any deployment at that instant; NaN where there
    is no such row), and the numbers (or -1) of the episodes to whose course and to whose reference it belongs.
    """
    spans = accuracy_spans(accuracy, worlds)[[*DEVICE, "start_s", "end_s", "accuracy"]]
    spans = spans.merge(found[DEVICE].drop_duplicates(), on=DEVICE)
    previous_s = found.groupby(DEVICE)["time_s"].shift(1).fillna(-np.inf)
    window_start_s = np.maximum(np.maximum(found["time_s"] - window_s, previous_s), found["joined_s"])
    steps = drifts[[*DEVICE, "time_s"]].rename(columns={"time_s": "start_s"})
    cuts = pd.concat(
        [
            steps.assign(step=True),
            found[DEVICE].assign(start_s=window_start_s, step=False),
            found[DEVICE].assign(start_s=found["until_s"], step=False),
        ]
    )
    edges = pd.concat([cuts.assign(order=0), spans.assign(step=False, order=1)], ignore_index=True)
    edges["device_number"] = groups(edges, DEVICE)
    edges = edges.sort_values(["device_number", "start_s", "order"], kind="stable", ignore_index=True)
    number, start_s = edges["device_number"].to_numpy(), edges["start_s"].to_numpy()

    # Each edge takes over the accuracy of the last span that began at or before it, while that span lasts.
    since = np.maximum.accumulate(np.where(edges["order"] == 1, np.arange(len(edges)), -1))
    valid = (since >= 0) & (number[since] == number)
    span_end_s = edges["end_s"].to_numpy()[since]
    valid &= span_end_s > start_s
    value = np.where(valid, edges["accuracy"].to_numpy()[since], np.nan)
    following_s = np.append(start_s[1:], np.inf)[: len(start_s)]
    following_s[:-1][number[1:] != number[:-1]] = np.inf
    end_s = np.minimum(following_s, np.where(valid, span_end_s, start_s))
    at_instant = [number, start_s]
    step = edges["step"].groupby(at_instant).transform("any").to_numpy(bool)
    columns = {"number": number, "start_s": start_s, "end_s": end_s, "accuracy": value, "step": step}
    pieces: pd.DataFrame = pd.DataFrame(columns)[end_s > start_s].copy()
    pieces["struck_to"] = _struck_to(edges.loc[pieces.index, [*DEVICE, "start_s"]], accuracy)

    openings = found.assign(opening=np.arange(len(found)), window_start_s=window_start_s)
    openings = openings.merge(edges[[*DEVICE, "device_number"]].drop_duplicates(DEVICE), on=DEVICE)
    pieces["episode"] = _owner(pieces, openings, "time_s", "until_s")
    pieces["reference_of"] = _owner(pieces, openings, "window_start_s", "time_s")
    return pieces


def _struck_to(moments: pd.DataFrame, accuracy: pd.DataFrame) -> Floats:
    by_drift = (accuracy["view"] == "current") & accuracy["cause"].isin(["drift", "step", "replacement"])
    rows = accuracy.loc[by_drift, [*DEVICE, "time_s", "accuracy"]].rename(columns={"time_s": "start_s"})
    least = rows.groupby([*DEVICE, "start_s"], as_index=False)["accuracy"].min()
    return moments.merge(least, on=[*DEVICE, "start_s"], how="left")["accuracy"].to_numpy(np.float64)


def _owner(pieces: pd.DataFrame, openings: pd.DataFrame, start: str, end: str) -> Ints:
    """The number of the opening in whose disjoint stretch [start, end) each piece lies, or -1."""
    moments = pieces[["number", "start_s"]].assign(_row=np.arange(len(pieces)))
    stretches = openings[["device_number", "opening", start, end]].sort_values(start)
    found = pd.merge_asof(
        moments.sort_values("start_s"),
        stretches,
        left_on="start_s",
        right_on=start,
        left_by="number",
        right_by="device_number",
    ).sort_values("_row")
    inside = found["start_s"] < found[end]
    return found["opening"].where(inside, -1).to_numpy(np.intp)

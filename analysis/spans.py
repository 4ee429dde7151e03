"""Step functions as spans: rows "from this time on" become rows "from, to, value".

Accuracy is a step function of time, so every integral over it is exact (for the drift as it was discretised).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.worlds import DEVICE, WORLD, Flags, groups, per_row, shared_groups


def to_spans(rows: pd.DataFrame, worlds: pd.DataFrame) -> pd.DataFrame:
    """Turn rows with a ``time_s`` into spans: until the device's next row, or its world's ``until_s``.

    Parameters
    ----------
    rows
        Rows of one step function a device (of ``accuracy``: of one view), with ``learner``, ``seed``,
        ``device``, ``time_s``, in order of recording. Of several rows at one instant the last holds.
    worlds
        See :mod:`analysis.worlds`.

    Returns
    -------
    DataFrame
        The rows with ``start_s`` and ``end_s`` instead of ``time_s``, sorted by device, then time; every span
        has a positive length. Before its first row a device has no span.
    """
    rows = rows.assign(_device=groups(rows, DEVICE), end_s=per_row(rows, worlds, "until_s"))
    rows = rows.rename(columns={"time_s": "start_s"}).sort_values(["_device", "start_s"], kind="stable")
    device, start_s = rows["_device"].to_numpy(), rows["start_s"].to_numpy()
    end_s = rows["end_s"].to_numpy(copy=True)
    same = device[1:] == device[:-1]
    end_s[:-1][same] = np.minimum(end_s[:-1], start_s[1:])[same]
    rows["end_s"] = end_s
    positive: pd.DataFrame = rows[end_s > start_s].drop(columns="_device")
    return positive.reset_index(drop=True)


def accuracy_spans(accuracy: pd.DataFrame, worlds: pd.DataFrame, view: str = "current") -> pd.DataFrame:
    """Return the spans of the ``accuracy`` table for one view of the data."""
    return to_spans(accuracy[accuracy["view"] == view], worlds)


def links_above(devices: pd.DataFrame, gateways: Mapping[str, str]) -> pd.DataFrame:
    """Return which nodes are between each device and its answers from the cloud.

    Parameters
    ----------
    devices
        ``learner, seed, device``.
    gateways
        The gateway of each group of devices that has one.

    Returns
    -------
    DataFrame
        ``learner, seed, device, node``: the cloud, and the gateway if any.
    """
    own = devices[DEVICE].drop_duplicates()
    behind = own.assign(node=own["device"].str.replace(r"-\d+$", "", regex=True).map(gateways)).dropna()
    return pd.concat([own.assign(node="cloud"), behind.astype({"node": "str"})], ignore_index=True)


def disconnected_spans(
    availability: pd.DataFrame, environment: pd.DataFrame, worlds: pd.DataFrame, above: pd.DataFrame
) -> pd.DataFrame:
    """Return when devices had no connection: offline, or a link between them and the cloud at zero.

    Without recorded signals (``environment`` empty) only the time offline is known.

    Parameters
    ----------
    availability, environment
        The tables.
    worlds
        See :mod:`analysis.worlds`.
    above
        Whose links the devices need besides their own: see :func:`links_above`.

    Returns
    -------
    DataFrame
        ``learner, seed, device, start_s, end_s``, disjoint and sorted within a device.
    """
    links = environment[environment["resource"].isin(["uplink", "downlink", "ingress", "egress"])]
    offline = _where(availability, worlds, availability["state"] == "offline")
    down = [_where(part, worlds, part["value"] == 0) for _, part in links.groupby("resource")]
    shared = [part.rename(columns={"device": "node"}).merge(above, on=[*WORLD, "node"]) for part in down]
    own = [part[~part["device"].isin(above["node"])] for part in down]
    apart = pd.concat([offline, *own, *shared], ignore_index=True)
    opens = apart[[*DEVICE, "start_s"]].rename(columns={"start_s": "time_s"}).assign(depth=1)
    closes = apart[[*DEVICE, "end_s"]].rename(columns={"end_s": "time_s"}).assign(depth=-1)
    steps = pd.concat([opens, closes]).groupby([*DEVICE, "time_s"], as_index=False, sort=True)["depth"].sum()
    steps["depth"] = steps.groupby(DEVICE)["depth"].cumsum()
    steps["end_s"] = steps.groupby(DEVICE)["time_s"].shift(-1)
    joined: pd.DataFrame = steps[steps["depth"] > 0].rename(columns={"time_s": "start_s"})
    return joined[[*DEVICE, "start_s", "end_s"]].reset_index(drop=True)


def _where(rows: pd.DataFrame, worlds: pd.DataFrame, holds: pd.Series[bool]) -> pd.DataFrame:
    table = to_spans(rows[[*DEVICE, "time_s"]].assign(_holds=holds), worlds)
    return table.loc[table["_holds"], [*DEVICE, "start_s", "end_s"]]


def empty_spans(availability: pd.DataFrame, worlds: pd.DataFrame) -> pd.DataFrame:
    """Return when devices had an empty battery: ``learner, seed, device, start_s, end_s``, disjoint within a device."""
    return _offline_by(availability, worlds, "battery")


def absent_spans(availability: pd.DataFrame, worlds: pd.DataFrame) -> pd.DataFrame:
    """Return when devices had not joined yet or had left for good, in the form of :func:`empty_spans`.

    A device that has not joined may be told to be away for another reason at first.
    """
    before = _offline_by(availability, worlds, "joins").groupby(DEVICE, as_index=False)["end_s"].max()
    after = _offline_by(availability, worlds, "leaves")
    absent: pd.DataFrame = pd.concat([before.assign(start_s=0.0), after], ignore_index=True)
    return absent[[*DEVICE, "start_s", "end_s"]]


def _offline_by(availability: pd.DataFrame, worlds: pd.DataFrame, cause: str) -> pd.DataFrame:
    return _where(availability, worlds, (availability["state"] == "offline") & (availability["cause"] == cause))


def cut_at(rows: pd.DataFrame, others: pd.DataFrame) -> tuple[pd.DataFrame, Flags]:
    """Cut spans at the edges of the disjoint spans ``others`` of their devices.

    Returns
    -------
    tuple
        The pieces, in the order of ``rows``, and whether each lies in one of ``others``; the rest lie outside.
    """
    one, other = shared_groups(rows, others, DEVICE)
    times_s = [frame[edge].to_numpy(np.float64) for frame in (rows, others) for edge in ("start_s", "end_s")]
    moments_s, place = np.unique(np.concatenate(times_s), return_inverse=True)
    device = np.concatenate([one, one, other, other])  # a key sorts by device, then by time
    start, end, opens, closes = np.split(device * len(moments_s) + place, np.cumsum([len(t) for t in times_s[:3]]))
    edges = np.setxor1d(opens, closes)  # where one ends and the next begins, nothing changes
    first, beyond = np.searchsorted(edges, start, side="right"), np.searchsorted(edges, end, side="left")

    count = beyond - first + 1
    row = np.repeat(np.arange(len(rows)), count)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    padded = np.append(edges, 0)
    begins = np.where(nth == 0, start[row], padded[first[row] + nth - 1])
    ends = np.where(nth == count[row] - 1, end[row], padded[first[row] + nth])
    pieces = rows.iloc[row].reset_index(drop=True)
    pieces = pieces.assign(start_s=moments_s[begins % len(moments_s)], end_s=moments_s[ends % len(moments_s)])

    order = np.argsort(opens)
    latest = np.searchsorted(opens[order], begins, side="right") - 1  # the last to open at or before each piece
    inside = np.append(closes[order], -1)[latest] > begins  # of an earlier device it has closed before
    return pieces, inside

"""Step functions as spans: rows "from this time on" become rows "from, to, value".

Accuracy is a step function of time, so every integral over it is exact (for the drift as it was discretised).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.worlds import DEVICE, WORLD, groups, per_row, shared_groups


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


def overlap_s(rows: pd.DataFrame, others: pd.DataFrame) -> pd.Series[float]:
    """Return for each span of ``rows`` how much of it the disjoint spans ``others`` of its device cover."""
    if others.empty or rows.empty:
        return pd.Series(0.0, rows.index)
    others = others.sort_values("start_s")
    length = others["end_s"] - others["start_s"]
    others = others.assign(_length=length, _before=length.groupby([others[k] for k in DEVICE]).cumsum() - length)
    covered = [_covered_until(rows[[*DEVICE]].assign(time_s=rows[edge]), others) for edge in ("start_s", "end_s")]
    return covered[1] - covered[0]


def _covered_until(moments: pd.DataFrame, others: pd.DataFrame) -> pd.Series[float]:
    order = moments["time_s"].to_numpy().argsort(kind="stable")
    one, other = shared_groups(moments, others, DEVICE)
    found = pd.merge_asof(
        moments[["time_s"]].assign(device=one).iloc[order],
        others[["start_s", "_length", "_before"]].assign(device=other),
        left_on="time_s",
        right_on="start_s",
        by="device",
    )
    inside = (found["time_s"] - found["start_s"]).clip(upper=found["_length"])
    covered = (found["_before"] + inside).fillna(0.0)
    return pd.Series(covered.to_numpy()[np.argsort(order)], moments.index)

"""How right the devices were: metrics on the ``accuracy`` table, exact on its step functions.

All take spans (:func:`served_spans`) and weigh a device by the time during which it was
served and measured. Time without a connection to a serving cloud, or with an empty battery, is *unserved*: left out
here and reported apart. Time before a device joins and after it has left for good is left out altogether.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.spans import accuracy_spans, cut_at, to_spans
from analysis.worlds import DEVICE, WORLD, codes, index, per_row, ratio, total


def served_spans(
    rows: pd.DataFrame, disconnected: pd.DataFrame, empty: pd.DataFrame, absent: pd.DataFrame
) -> pd.DataFrame:
    """Cut spans where service begins or ends, and add ``served_s`` and ``unserved_s``.

    Unserved is a device that the cloud is to serve and that has no connection, and one whose battery is empty, wherever
    the model is. A device that has not joined yet or has left for good is neither.

    Parameters
    ----------
    rows
        Spans of accuracy.
    disconnected, empty, absent
        When devices had no connection, an empty battery, and were not there at all; each disjoint within a device.

    Returns
    -------
    DataFrame
        Pieces of the spans, each wholly served (``served_s`` is its length), wholly unserved (``unserved_s`` is), or
        neither (both are 0).
    """
    rows = rows.assign(_row=np.arange(len(rows)))
    apart = rows["serving"] == "cloud"
    cloud, without = cut_at(rows[apart], disconnected)
    rows = pd.concat([rows[~apart].assign(_unserved=False), cloud.assign(_unserved=without)], ignore_index=True)
    rows, dead = cut_at(rows, empty)
    rows, away = cut_at(rows.assign(_unserved=rows["_unserved"] | dead), absent)
    length = (rows["end_s"] - rows["start_s"]).where(~away, 0.0)
    unserved = rows["_unserved"]
    rows = rows.assign(unserved_s=length.where(unserved, 0.0), served_s=length.where(~unserved, 0.0))
    return rows.sort_values(["_row", "start_s"], ignore_index=True).drop(columns=["_row", "_unserved"])


def by_device(spans: pd.DataFrame) -> pd.DataFrame:
    """Integrate accuracy over each device's served time.

    Returns
    -------
    DataFrame
        Indexed by (learner, seed, device): ``weighted_s`` (the integral), ``served_s`` (over how long,
        measured time only), ``accuracy`` (their ratio: the device's time-weighted accuracy).
    """
    measured = spans[spans["accuracy"].notna()]
    parts = measured[DEVICE].assign(
        weighted_s=measured["accuracy"] * measured["served_s"], served_s=measured["served_s"]
    )
    devices = parts.groupby(DEVICE, sort=False)[["weighted_s", "served_s"]].sum()
    return devices.assign(accuracy=ratio(devices["weighted_s"], devices["served_s"]))


def time_weighted(devices: pd.DataFrame, worlds: pd.DataFrame) -> pd.Series[float]:
    """Mean accuracy over all served device-seconds: sum of the integrals over sum of the times."""
    rows = devices.reset_index()
    return ratio(total(rows, worlds, "weighted_s"), total(rows, worlds, "served_s"))


def worst_device(devices: pd.DataFrame, worlds: pd.DataFrame) -> pd.Series[float]:
    """Time-weighted accuracy of the device that fared worst."""
    return devices.groupby(WORLD)["accuracy"].min().reindex(index(worlds))


def worst_decile(devices: pd.DataFrame, worlds: pd.DataFrame) -> pd.Series[float]:
    """Mean accuracy over the served device-seconds of the worst tenth of the devices (rounded up)."""
    ranked = devices[devices["accuracy"].notna()].sort_values("accuracy", kind="stable")
    place = ranked.groupby(WORLD).cumcount()
    size = ranked.groupby(WORLD)["accuracy"].transform("size")
    return time_weighted(ranked[place < np.ceil(size / 10)], worlds)


def at_horizon(spans: pd.DataFrame, worlds: pd.DataFrame) -> pd.Series[float]:
    """Mean over devices of the accuracy at the end (of the run, or of what is known of a killed one).

    A device that is not served at that moment is left out: it is unserved, not wrong.
    """
    known = _served(_last(spans, worlds))
    return ratio(total(known, worlds, "accuracy"), total(known, worlds))


def unserved_ratio(spans: pd.DataFrame, worlds: pd.DataFrame) -> pd.Series[float]:
    """Unserved over all device-seconds, those served on the device among them."""
    unserved, served = total(spans, worlds, "unserved_s"), total(spans, worlds, "served_s")
    return ratio(unserved, unserved + served)


def old_views(accuracy: pd.DataFrame, worlds: pd.DataFrame) -> pd.DataFrame:
    """Compare, for each device and each retained earlier view of its data, accuracy then and at the end.

    ``previous-1`` is the data just before the latest drift opened: of a gradual one before that, the data of its last
    step. What counts is the time from that step to that opening.

    Needs ``evaluation.forgetting_views`` in the scenario; without it there are no rows.

    Returns
    -------
    DataFrame
        ``learner, seed, device, view, then, best, now``: accuracy when the view was last current, the best
        while it was current, and at the end.
    """
    columns = [*DEVICE, "view", "then", "best", "now"]
    views = [view for view in accuracy["view"].unique() if view.startswith("previous-")]
    if not views:
        empty: pd.DataFrame = accuracy[[*DEVICE, "view"]].iloc[:0]
        return empty.assign(**dict.fromkeys(("then", "best", "now"), np.empty(0)))
    rows = accuracy[accuracy["view"] == "current"]
    changed = rows["cause"].isin(["drift", "step"]).astype(int)
    rows = rows.assign(phase=changed.groupby([rows[name] for name in DEVICE]).cumsum())
    phases = to_spans(rows, worlds).groupby([*DEVICE, "phase"])["accuracy"].agg(then="last", best="max").reset_index()
    opened = rows[(rows["cause"] == "drift") & (rows["time_s"] < per_row(rows, worlds, "until_s"))]
    back = opened.groupby(DEVICE).cumcount(ascending=False) + 1
    before = opened[DEVICE].assign(phase=opened["phase"] - 1, view="previous-" + back.astype(str))
    now = [_last(accuracy_spans(accuracy, worlds, view), worlds)[[*DEVICE, "view", "accuracy"]] for view in views]
    old = pd.concat(now, ignore_index=True).rename(columns={"accuracy": "now"})
    found: pd.DataFrame = old.merge(before, on=[*DEVICE, "view"]).merge(phases, on=[*DEVICE, "phase"])
    return found[columns]


def forgetting(views: pd.DataFrame, worlds: pd.DataFrame) -> pd.Series[float]:
    """Mean over devices and retained old views of (best accuracy while it was current - at the end).

    Chaudhry et al. 2018, "Riemannian walk for incremental learning", eq. 3, on devices and views.
    """
    return ratio(total(views, worlds, views["best"] - views["now"]), total(views, worlds))


def backward_transfer(views: pd.DataFrame, worlds: pd.DataFrame) -> pd.Series[float]:
    """Mean over devices and retained old views of (accuracy at the end - when it was last current).

    Lopez-Paz and Ranzato 2017, "Gradient episodic memory", section 2, on devices and views; above 0 is a
    gain.
    """
    return ratio(total(views, worlds, views["now"] - views["then"]), total(views, worlds))


def fleet(spans: pd.DataFrame, worlds: pd.DataFrame) -> pd.DataFrame:
    """Return the mean accuracy over devices as a step function of time.

    Returns
    -------
    DataFrame
        ``learner, seed, time_s, accuracy, devices``: a row a change, in order of time; ``devices`` is how
        many are measured and served then. Where there are none, as in a world's last row, accuracy is NaN.
    """
    known = _served(spans)
    begin = known[WORLD].assign(time_s=known["start_s"], gain=known["accuracy"], devices=1)
    end = known[WORLD].assign(time_s=known["end_s"], gain=-known["accuracy"], devices=-1)
    steps = pd.concat([begin, end], ignore_index=True)
    steps["world"] = codes(steps, worlds)
    steps = steps.groupby(["world", *WORLD, "time_s"], as_index=False, sort=True)[["gain", "devices"]].sum()
    running = steps.groupby("world")[["gain", "devices"]].cumsum()
    accuracy = ratio(running["gain"], running["devices"].astype(float))
    return steps[[*WORLD, "time_s"]].assign(accuracy=accuracy, devices=running["devices"])


def time_to_target(fleet: pd.DataFrame, worlds: pd.DataFrame, target: float, since_s: float = 0.0) -> pd.Series[float]:
    """Seconds from ``since_s`` until the mean accuracy over devices first is at least ``target``.

    Parameters
    ----------
    fleet
        From :func:`fleet`.
    target
        An accuracy in [0, 1].
    since_s
        Look from this time on, e.g. a drift's.

    Returns
    -------
    Series
        A number a world; infinite where the target was not reached, NaN where nothing was measured.
    """
    end_s = fleet.groupby(WORLD)["time_s"].shift(-1)
    reached = fleet[(fleet["accuracy"] >= target - 1e-12) & (end_s > since_s)]
    first = reached.groupby(WORLD)["time_s"].min().clip(lower=since_s) - since_s
    measured = fleet[fleet["accuracy"].notna()].groupby(WORLD).size()
    found = first.reindex(index(worlds)).fillna(np.inf)
    return found.where(measured.reindex(index(worlds)).notna())


def _last(spans: pd.DataFrame, worlds: pd.DataFrame) -> pd.DataFrame:
    """Return the spans that reach their world's end."""
    ends = worlds["until_s"].to_numpy()[codes(spans, worlds)] if len(spans) else np.empty(0)
    last: pd.DataFrame = spans[spans["end_s"].to_numpy() == ends]
    return last


def _served(spans: pd.DataFrame) -> pd.DataFrame:
    """Return the spans that are measured and served."""
    return spans[spans["accuracy"].notna() & (spans["served_s"] > 0)]

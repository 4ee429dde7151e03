"""How good drift detectors were: metrics on the ``detections`` table, judged by the true drifts."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.worlds import DEVICE, per_row, ratio, total

HOUR_S = 3600.0


def missed_ratio(episodes: pd.DataFrame, worlds: pd.DataFrame) -> pd.Series[float]:
    """Share of the watched episodes without an alarm before the device's next drift or the end; NaN without any."""
    watched = episodes[episodes["watched"]]
    return ratio(total(watched[watched["detection_s"].isna()], worlds), total(watched, worlds))


def false_alarms_per_h(detections: pd.DataFrame, drifts: pd.DataFrame, worlds: pd.DataFrame) -> pd.Series[float]:
    """Alarms before a device's first drift per hour of watching until then; NaN where nothing was watched.

    Drifts that merely replace samples by others of the same distribution are none here.
    """
    drifts = drifts[drifts["kind"] != "replacement"]
    armed = detections[detections["event"] == "armed"].groupby(DEVICE)["time_s"].min().rename("armed_s").reset_index()
    first = drifts.groupby(DEVICE)["time_s"].min().rename("drift_s").reset_index()
    watched = armed.merge(first, on=DEVICE, how="left")
    until_s = np.fmin(per_row(watched, worlds, "until_s"), watched["drift_s"].to_numpy(np.float64))
    watched_s = np.maximum(until_s - watched["armed_s"].to_numpy(np.float64), 0.0)
    alarms = detections[detections["event"] == "false_alarm"].merge(watched, on=DEVICE)
    early = (alarms["time_s"] >= alarms["armed_s"]) & ~(alarms["time_s"] >= alarms["drift_s"])
    return ratio(total(alarms[early], worlds) * HOUR_S, total(watched, worlds, watched_s))
